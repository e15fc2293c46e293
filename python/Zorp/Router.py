# SPDX-License-Identifier: Apache-2.0
"""Routers: which server a session goes to, and from which address."""

from sallyport import problems as _problems
from sallyport.declare import (Declaration as _Declaration, flag_argument as _flag_argument,
                               int_argument as _int_argument, is_poisoned as _is_poisoned)
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.SockAddr import SockAddrInet, SockAddrInet6, SockAddrInetRange
from Zorp.Zorp import FALSE, Z_PORT_ANY, Z_PORT_EXACT, Z_PORT_GROUP, Z_PORT_RANDOM


_NAMES_MAX = 1024       # as the engine's (src/policy/document_service.c)


def _forge_port(value):
    """Z_PORT_*, or a port. TRUE means Z_PORT_EXACT: that is what policies that write it want."""
    if not isinstance(value, int):
        raise _Refused("forge_port must be a number, not %s" % _shown(value),
                       "Z_PORT_ANY, Z_PORT_GROUP, Z_PORT_EXACT, Z_PORT_RANDOM or a port")
    if value == 1:
        return Z_PORT_EXACT
    if value in (Z_PORT_ANY, Z_PORT_GROUP, Z_PORT_EXACT, Z_PORT_RANDOM) or 1 < value <= 65535:
        return int(value)
    raise _Refused("forge_port is %d" % value, "Z_PORT_ANY, Z_PORT_GROUP, Z_PORT_EXACT, Z_PORT_RANDOM or a port")


class AbstractRouter(_Declaration):
    """The base of routers."""

    _not_yet = "a router class of the policy's own"

    def __init__(self, forge_addr=FALSE, forge_port=Z_PORT_ANY, proxy_protocol=0):
        self.forge_addr = _flag_argument("forge_addr", forge_addr)
        self.forge_port = _forge_port(forge_port)
        self.proxy_protocol = _int_argument("proxy_protocol", proxy_protocol, 0, 2)
        if self.proxy_protocol and self.forge_addr:
            raise _Refused("forge_addr and proxy_protocol both tell the server who the client is",
                           "proxy_protocol for a server that reads PROXY headers, else forge_addr")

    def routeConnection(self, session):
        raise NotImplementedError

    def _document(self, number_of):
        """number_of: the number of a matcher in the document, see matchers.Natives. Refused."""
        raise NotImplementedError

    def _common(self):
        return {"forge_addr": self.forge_addr, "forge_port": self.forge_port, "overrideable": self.overrideable,
                "proxy_protocol": self.proxy_protocol}


class TransparentRouter(AbstractRouter):
    """To where the client wanted to go."""

    _not_yet = None

    def __init__(self, forced_port=0, forge_addr=FALSE, overrideable=FALSE, forge_port=Z_PORT_ANY, proxy_protocol=0):
        super().__init__(forge_addr, forge_port, proxy_protocol)
        self.forced_port = _int_argument("forced_port", forced_port, 0, 65535)
        self.overrideable = _flag_argument("overrideable", overrideable)

    def _document(self, number_of):
        return dict({"type": "transparent", "forced_port": self.forced_port}, **self._common())


class DirectedRouter(AbstractRouter):
    """To a given address, or the first of several."""

    _not_yet = None

    def __init__(self, dest_addr, forge_addr=FALSE, overrideable=FALSE, forge_port=Z_PORT_ANY, proxy_protocol=0):
        super().__init__(forge_addr, forge_port, proxy_protocol)
        self.overrideable = _flag_argument("overrideable", overrideable)
        targets = list(dest_addr) if isinstance(dest_addr, (list, tuple)) else [dest_addr]
        if not targets:
            raise _Refused("DirectedRouter needs at least one address")
        for target in targets:
            if _is_poisoned(target):
                self._poisoned = True
            elif not isinstance(target, (SockAddrInet, SockAddrInet6)) or isinstance(target, SockAddrInetRange):
                raise _Refused("DirectedRouter: %s is not an address of a server" % _shown(target),
                               "dest_addr=SockAddrInet('172.16.20.254', 25)")
        self.dest_addr = targets

    def _document(self, number_of):
        return dict({"type": "directed", "targets": [[t.ip_s, t.port] for t in self.dest_addr]}, **self._common())


class SNIBasedRouter(AbstractRouter):
    """By the name that the client asks for in its TLS handshake: {matcher: address}, the first that fits."""

    _not_yet = None
    overrideable = FALSE

    def __init__(self, hostname_address_map, default=None, forge_addr=FALSE, forge_port=Z_PORT_ANY, proxy_protocol=0):
        super().__init__(forge_addr, forge_port, proxy_protocol)
        if not isinstance(hostname_address_map, dict) or not hostname_address_map:
            raise _Refused("SNIBasedRouter: %s is not a dictionary of servers" % _shown(hostname_address_map),
                           "{RegexpMatcher(('^mail[.]example[.]com$', )): SockAddrInet('172.16.20.254', 25)}")
        if len(hostname_address_map) > _NAMES_MAX:
            raise _Refused("SNIBasedRouter has more than %d names" % _NAMES_MAX)
        self.hostname_address_map = {}
        for matcher, address in hostname_address_map.items():
            self.hostname_address_map[self._matcher(matcher)] = self._address(address)
        self.default = None if default is None else self._address(default)

    def _matcher(self, matcher):
        from Zorp.Matcher import checked_matcher
        found = checked_matcher("SNIBasedRouter", matcher)
        if found is None:
            if not _is_poisoned(matcher):
                raise _Refused("SNIBasedRouter: %s is not a matcher" % _shown(matcher))
            self._poisoned = True
        return found

    def _address(self, address):
        if _is_poisoned(address):
            self._poisoned = True
        elif not isinstance(address, (SockAddrInet, SockAddrInet6)) or isinstance(address, SockAddrInetRange):
            raise _Refused("SNIBasedRouter: %s is not an address of a server" % _shown(address), "SockAddrInet('172.16.20.254', 25)")
        return address

    def _document(self, number_of):
        names = []
        for matcher, address in self.hostname_address_map.items():
            number = number_of(matcher, "SNIBasedRouter")
            if number is None:
                raise _Refused("SNIBasedRouter: the matcher %s is policy code, which can't choose a server" % type(matcher).__name__, "RegexpMatcher(...)")
            names.append([{"matcher": number}, [address.ip_s, address.port]])
        row = {"type": "by_name", "names": names, "forge_addr": self.forge_addr, "forge_port": self.forge_port,
               "proxy_protocol": self.proxy_protocol}
        if self.default is not None:
            row["targets"] = [[self.default.ip_s, self.default.port]]
        return row


class InbandRouter(AbstractRouter):
    """To where the protocol says."""

    _not_yet = "InbandRouter"

    def __init__(self, forge_addr=FALSE, forge_port=Z_PORT_ANY, proxy_protocol=0):
        super().__init__(forge_addr, forge_port, proxy_protocol)


def not_yet(router):
    """Why no service can use this router; None when it can."""
    if type(router).routeConnection is not AbstractRouter.routeConnection:
        return "a router with a routeConnection() of the policy's own"
    return router._not_yet
