# SPDX-License-Identifier: Apache-2.0
"""Resolver policies: how names that a protocol brings along become addresses."""

import socket as _socket

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, flag_argument as _flag_argument, name_argument as _name_argument
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.Zorp import AF_INET, AF_INET6, AF_UNSPEC


class AbstractResolver(_Declaration):
    """The base of resolvers, also of a policy's own. Defines resolve(host, port)."""

    def resolve(self, host, port):
        raise NotImplementedError


class DNSResolver(AbstractResolver):
    def __init__(self, multi=0, family=AF_UNSPEC):
        self.multi = _flag_argument("multi", multi)
        if family not in (AF_UNSPEC, AF_INET, AF_INET6):
            raise _Refused("DNSResolver: %s is not an address family" % _shown(family), "AF_UNSPEC, AF_INET or AF_INET6")
        self.family = family


class HashResolver(AbstractResolver):
    def __init__(self, mapping):
        if not isinstance(mapping, dict):
            raise _Refused("HashResolver needs a dictionary, not %s" % _shown(mapping))
        for host, addresses in mapping.items():
            for address in [addresses] if isinstance(addresses, str) else addresses:
                _check_address(host, address)
        self.mapping = mapping


def _check_address(host, address):
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, address)
            return
        except (OSError, TypeError):
            pass
    raise _Refused("HashResolver: %s of host '%s' is not an address" % (_shown(address), host))


class ResolverPolicy(_Declaration):
    """ResolverPolicy(name, resolver)."""

    def __init__(self, name, resolver):
        if name is not None:
            _name_argument("the resolver policy's name", name)
        if not isinstance(resolver, AbstractResolver):
            raise _Refused("ResolverPolicy: %s is not a resolver" % _shown(resolver))
        self.name = name
        self.resolver = resolver
        self._place = _problems.here()
        if name is not None:
            _registry.register("resolver_policies", "ResolverPolicy", name, self)

    @classmethod
    def _remember_refused(cls, name, made):
        _registry.named("resolver_policies").setdefault(name, made)
