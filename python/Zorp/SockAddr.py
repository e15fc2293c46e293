# SPDX-License-Identifier: Apache-2.0
"""Addresses: IP address and port, or the path of a UNIX socket."""

import socket as _socket
import struct as _struct

from sallyport.declare import Declaration as _Declaration, int_argument as _int_argument, text_argument as _text_argument
from sallyport.problems import Refused as _Refused, shown as _shown

AF_INET = _socket.AF_INET
AF_INET6 = _socket.AF_INET6
AF_UNIX = _socket.AF_UNIX


def _packed(family, text):
    try:
        return _socket.inet_pton(family, text)
    except OSError:
        kind = "IPv4" if family == AF_INET else "IPv6"
        raise _Refused("%s is not an %s address" % (_shown(text), kind)) from None


class AbstractSockAddr(_Declaration):
    type = "inet"

    def format(self):
        return "%s(%s:%d)" % (self._label, self.ip_s, self.port)

    def __str__(self):
        return self.format()

    def pack(self):
        return _socket.inet_pton(self.family, self.ip_s)

    def equal(self, other):
        return self.family == other.family and self.pack() == other.pack() and self.port == other.port

    def clone(self, wild):
        return type(self)(self.ip_s, 0 if wild else self.port)


class SockAddrInet(AbstractSockAddr):
    """An IPv4 address and a port."""

    family = AF_INET
    _label = "AF_INET"

    def __init__(self, ip, port):
        if isinstance(ip, int) and not isinstance(ip, bool) and 0 <= ip < 2 ** 32:
            ip = _socket.inet_ntoa(_struct.pack("!I", ip))
        self.ip_s = _socket.inet_ntop(AF_INET, _packed(AF_INET, _text_argument("the address", ip)))
        self.port = _int_argument("the port", port, 0, 65535)

    @property
    def ip(self):
        return _struct.unpack("=I", self.pack())[0]

    @ip.setter
    def ip(self, value):
        self.ip_s = _socket.inet_ntoa(_struct.pack("=I", value))


class SockAddrInet6(AbstractSockAddr):
    """An IPv6 address and a port."""

    family = AF_INET6
    _label = "AF_INET6"

    def __init__(self, ip, port):
        self.ip_s = _socket.inet_ntop(AF_INET6, _packed(AF_INET6, _text_argument("the address", ip)))
        self.port = _int_argument("the port", port, 0, 65535)

    @property
    def ip(self):
        return _struct.unpack("!8H", self.pack())

    @ip.setter
    def ip(self, value):
        self.ip_s = _socket.inet_ntop(AF_INET6, _struct.pack("!8H", *value))


class SockAddrInetRange(SockAddrInet):
    """For binding: a port out of a range."""

    def __init__(self, ip, port_min, port_max):
        super().__init__(ip, port_min)
        self.port_min = self.port
        self.port_max = _int_argument("port_max", port_max, self.port_min, 65535)

    def clone(self, wild):
        return SockAddrInetRange(self.ip_s, self.port_min, self.port_max)


class SockAddrUnix(AbstractSockAddr):
    """The path of a UNIX socket."""

    family = AF_UNIX
    type = "unix"

    def __init__(self, path):
        self.path = _text_argument("the path", path)

    def format(self):
        return "AF_UNIX(%s)" % self.path

    def pack(self):
        return None

    def equal(self, other):
        return self.family == other.family and self.path == other.path

    def clone(self, wild):
        return SockAddrUnix(self.path)


def SockAddrInetHostname(host, port):
    """The IPv4 address that host has now, while the policy loads."""
    from sallyport import problems
    try:
        found = _socket.getaddrinfo(host, None, AF_INET, _socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        problems.report("the host name %s can't be resolved: %s" % (_shown(host), error))
        return SockAddrInet._poison(problems.here())
    return SockAddrInet(found[0][4][0], port)


SockAddrType = AbstractSockAddr
SockAddrInetType = SockAddrInet
SockAddrInet6Type = SockAddrInet6
SockAddrUnixType = SockAddrUnix
