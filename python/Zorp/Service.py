# SPDX-License-Identifier: Apache-2.0
"""Services: what is done with the connections that a rule matches."""

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import (Declaration as _Declaration, flag_argument as _flag_argument, int_argument as _int_argument,
                               is_poisoned as _is_poisoned, name_argument as _name_argument, sequence as _sequence)
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp import Chainer as _Chainer, Globals as _Globals, NAT as _NAT, Router as _Router
from Zorp.Proxy import Proxy as _Proxy
from Zorp.Zorp import TRUE, Z_KEEPALIVE_NONE

Z_SESSION_LIMIT_NOT_REACHED, Z_SESSION_LIMIT_GRACEFULLY_REACHED, Z_SESSION_LIMIT_REACHED = range(3)

# A policy may assign these; services declared later without a value of their own use them.
default_snat = None
default_dnat = None
default_auth = None
default_router = None
default_chainer = None


class DenyIPv4:
    """What a DenyService answers to IPv4."""

    (DROP, TCP_RESET, ICMP_NET_UNREACHABLE, ICMP_HOST_UNREACHABLE, ICMP_PROTO_UNREACHABLE, ICMP_PORT_UNREACHABLE,
     ICMP_NET_PROHIBITED, ICMP_HOST_PROHIBITED, ICMP_ADMIN_PROHIBITED) = range(9)

    @classmethod
    def to_string(cls, value):
        return _enum_name(cls, value)


class DenyIPv6:
    """What a DenyService answers to IPv6."""

    DROP, TCP_RESET, ICMP_NO_ROUTE, ICMP_ADMIN_PROHIBITED, ICMP_ADDR_UNREACHABLE, ICMP_PORT_UNREACHABLE = range(6)

    @classmethod
    def to_string(cls, value):
        return _enum_name(cls, value)


def _enum_name(cls, value):
    for name, number in vars(cls).items():
        if number == value and name.isupper():
            return name
    raise ValueError("%s has no value %r" % (cls.__name__, value))


class AbstractService(_Declaration):
    """A service has a name, unique among all services of the host."""

    def __init__(self, name):
        self.name = _name_argument("the service's name", name)
        before = _Globals.services.get(name)
        if before is not None and not _is_poisoned(before):
            raise _Refused("service '%s' is already defined in %s, line %d"
                           % (name, _problems.relative(before._place[0]), before._place[1]),
                           "services of all instances need different names")
        self._place = _problems.here()
        self._instance = _Globals.instance_name
        _Globals.services[name] = self

    @classmethod
    def _remember_refused(cls, name, made):
        made.name = name
        _Globals.services.setdefault(name, made)

    def __str__(self):
        return self.name

    def startInstance(self, session):
        _problems.not_yet("startInstance()")

    def stopInstance(self, session):
        _problems.not_yet("stopInstance()")

    def _wrong(self, message, hint=None):
        _problems.report("service '%s': %s" % (self.name, message), hint, self._place)
        self._poisoned = True

    def _later(self, what):
        self._wrong("%s: not yet part of Sallyport" % what, "see \"Not yet\" in docs/reference/policy-language.md")

    def _check_router(self, router):
        if _is_poisoned(router):
            self._poisoned = True
        elif not isinstance(router, _Router.AbstractRouter):
            self._wrong("router: %s is not a router" % _shown(router), "TransparentRouter() or DirectedRouter(...)")
        elif _Router.not_yet(router) is not None:
            self._later(_Router.not_yet(router))

    def _named(self, kind, what, name):
        """The object of that name; None, and a problem, when there is none."""
        try:
            found = _registry.lookup(kind, what, name)
        except _Refused as refused:
            self._wrong(refused.message, refused.hint)
            return None
        if _is_poisoned(found):
            self._poisoned = True
        return found


class Service(AbstractService):
    """A service that a proxy carries."""

    num_instances = 0
    start_time = 0

    def __init__(self, name, proxy_class, router=None, chainer=None, snat_policy=None, snat=None, dnat_policy=None,
                 dnat=None, authentication_policy=None, authorization_policy=None, max_instances=0, max_sessions=0,
                 auth_name=None, resolver_policy=None, auth=None, auth_policy=None, keepalive=None,
                 encryption_policy=None, limit_target_zones_to=None, detector_config=None,
                 detector_default_service_name=None, accept_proxy_protocol=None):
        super().__init__(name)
        self.proxy_class = self._checked_class(proxy_class)
        self.router = router or default_router or _Router.TransparentRouter()
        self.chainer = chainer or default_chainer or _Chainer.ConnectChainer()
        self._check_router(self.router)
        self._check_chainer(self.chainer)
        self._check_nat("snat", snat_policy, snat or (default_snat if snat_policy is None else None))
        self._check_nat("dnat", dnat_policy, dnat or (default_dnat if dnat_policy is None else None))
        self._check_authentication(authentication_policy, auth, auth_policy, authorization_policy)
        if auth_name is not None:
            self._later("auth_name")
        self._check_other_policies(resolver_policy, encryption_policy, detector_config, detector_default_service_name)
        try:
            self.max_instances = _int_argument("max_instances", max_instances, 0, 2 ** 31 - 1)
            self.max_sessions = _int_argument("max_sessions", max_sessions, 0, 2 ** 31 - 1)
            if self.max_sessions > 0:
                _problems.warn("service '%s': max_sessions is no limit: all sessions of a worker share its thread" % name,
                               "max_instances limits the sessions of a service", self._place)
            self.auth_name = self.name
            if keepalive is None:
                keepalive = getattr(proxy_class, "keepalive", Z_KEEPALIVE_NONE)
            self.keepalive = _int_argument("keepalive", keepalive, 0, 3)
        except _Refused as refused:
            self._wrong(refused.message, refused.hint)
        self.limit_target_zones_to = self._checked_zones("limit_target_zones_to", limit_target_zones_to)
        self.accept_proxy_protocol = self._checked_zones("accept_proxy_protocol", accept_proxy_protocol)

    def _checked_class(self, proxy_class):
        if not isinstance(proxy_class, type) or not issubclass(proxy_class, _Proxy):
            hint = "proxy_class=SmtpProxy, a class and not an object of it or its name"
            self._wrong("proxy_class: %s is not a proxy class" % _shown(proxy_class), hint)
        elif proxy_class.name is None:
            self._wrong("proxy_class: %s is no class of a protocol" % proxy_class.__name__, "like SmtpProxy or PlugProxy")
        else:
            return proxy_class
        return None

    def _check_chainer(self, chainer):
        if _is_poisoned(chainer):
            self._poisoned = True
        elif not isinstance(chainer, _Chainer.AbstractChainer):
            self._wrong("chainer: %s is not a chainer" % _shown(chainer), "ConnectChainer()")
        elif _Chainer.not_yet(chainer) is not None:
            self._later(_Chainer.not_yet(chainer))
        elif len(getattr(self.router, "dest_addr", ())) > 1 and not _is_poisoned(self.router):
            _problems.warn("service '%s': only the first address of the router is used" % self.name,
                           "ConnectChainer tries one address", self._place)

    def _check_nat(self, side, policy, nat):
        if policy is not None and nat is not None:
            self._wrong("%s and %s_policy are given both" % (side, side))
        elif policy is not None:
            if self._named("nat_policies", "NATPolicy", policy) is not None:
                self._later("%s_policy" % side)
        elif nat is not None:
            if not isinstance(nat, _NAT.AbstractNAT):
                self._wrong("%s: %s is not an address translation" % (side, _shown(nat)))
            else:
                self._later(side)

    def _check_authentication(self, policy, auth, auth_policy, authorization):
        if policy is not None and (auth is not None or auth_policy is not None):
            self._wrong("authentication_policy and auth or auth_policy are given both")
        if policy is not None:
            if self._named("authentication_policies", "AuthenticationPolicy", policy) is not None:
                self._later("authentication_policy")
        named = auth if isinstance(auth, str) else auth_policy
        if named is not None:
            if self._named("auth_policies", "AuthPolicy", named) is not None:
                self._later("auth_policy")
        elif auth is not None or default_auth is not None:
            self._later("auth")
        if authorization is not None:
            self._later("authorization_policy")

    def _check_other_policies(self, resolver, encryption, detector_config, detector_default):
        if resolver is not None and self._named("resolver_policies", "ResolverPolicy", resolver) is not None:
            self._later("resolver_policy")
        self.encryption = None
        if encryption is not None:
            self.encryption = self._named("encryption_policies", "EncryptionPolicy", encryption)
        if detector_config is not None or detector_default is not None:
            self._later("detector_config")
        self.resolver_policy = resolver
        self.encryption_policy = encryption

    def _checked_zones(self, what, zones):
        if zones is None:
            return ()
        zones = _sequence(zones)
        for name in zones:
            if name not in _registry.zones():
                self._wrong("%s: there is no zone %s" % (what, _shown(name)),
                            _problems.did_you_mean(name, _registry.zones()))
        return tuple(zones)


class PFService(AbstractService):
    """A service that the kernel forwards, without a proxy."""

    def __init__(self, name, router=None, snat_policy=None, dnat_policy=None):
        super().__init__(name)
        if router is None:
            _problems.warn("service '%s': without a router its packets leave with this host's address" % name,
                           "write router=TransparentRouter(forge_addr=TRUE) to keep the client's")
            router = _Router.TransparentRouter()
        self.router = router
        self._check_router(router)
        if len(getattr(router, "dest_addr", ())) > 1 and not _is_poisoned(router):
            self._wrong("a PFService has one destination, not %d" % len(router.dest_addr))
        if isinstance(router, _Router.SNIBasedRouter):
            self._wrong("SNIBasedRouter: the kernel, which forwards for a PFService, reads no names", "Service")
        if getattr(router, "proxy_protocol", 0):
            self._wrong("proxy_protocol: the kernel forwards the client's own connection, which has no room for a header",
                        "TransparentRouter(forge_addr=TRUE) keeps the client's address")
        if getattr(router, "forced_port", 0):
            _problems.warn("service '%s': forced_port means nothing to a PFService" % self.name,
                           "DirectedRouter changes the destination", self._place)
        for side, policy in (("snat_policy", snat_policy), ("dnat_policy", dnat_policy)):
            self._check_nat(side, policy)

    def _check_nat(self, side, policy):
        if policy is None:
            return
        found = self._named("nat_policies", "NATPolicy", policy)
        if found is None or _is_poisoned(found):
            return
        if not isinstance(found.nat, _NAT.GeneralNAT):
            self._wrong("%s: a PFService takes GeneralNAT only, not %s" % (side, type(found.nat).__name__))
        else:
            self._later(side)


class DenyService(AbstractService):
    """A service that refuses."""

    def __init__(self, name, logging=TRUE, ipv4_setting=DenyIPv4.DROP, ipv6_setting=DenyIPv6.DROP):
        self.logging = _flag_argument("logging", logging)
        self.ipv4_setting = _int_argument("ipv4_setting", ipv4_setting, 0, 8)
        self.ipv6_setting = _int_argument("ipv6_setting", ipv6_setting, 0, 5)
        super().__init__(name)
