# SPDX-License-Identifier: Apache-2.0
"""Subnets. Host bits given in the text are cut."""

import socket as _socket
import struct as _struct

from sallyport.declare import Declaration as _Declaration, text_argument as _text_argument
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.SockAddr import SockAddrInet, SockAddrInet6


def _parse(text, family):
    """(network address as int, prefix length), or Refused."""
    _text_argument("a subnet", text)
    bits = 32 if family == _socket.AF_INET else 128
    address, slash, prefix = text.partition("/")
    try:
        packed = _socket.inet_pton(family, address)
    except (OSError, ValueError):
        raise _Refused("%s is not an %s subnet" % (_shown(text), "IPv4" if bits == 32 else "IPv6"),
                       "like '%s'" % ("10.0.0.0/8" if bits == 32 else "2001:db8::/32")) from None
    if not slash:
        length = bits
    elif prefix.isascii() and prefix.isdecimal() and int(prefix) <= bits:
        length = int(prefix)
    else:
        raise _Refused("%s: the prefix length must be from 0 to %d" % (_shown(text), bits),
                       "netmasks like 255.255.255.0 are written as /24")
    mask = ((1 << length) - 1) << (bits - length)
    return int.from_bytes(packed, "big") & mask, length


class Subnet(_Declaration):
    """Common to both families."""

    family = _socket.AF_UNSPEC
    _bits = 0

    @staticmethod
    def create(text):
        if isinstance(text, str) and ":" in text:
            return Inet6Subnet(text)
        if isinstance(text, str) and "." in text:
            return InetSubnet(text)
        return None

    def __init__(self, addr):
        self._address, self._length = _parse(addr, self.family)

    def __str__(self):
        return "%s/%d" % (self.addr_str(), self._length)

    def __eq__(self, other):
        return (isinstance(other, Subnet) and self.family == other.family
                and self._address == other._address and self._length == other._length)

    def __hash__(self):
        return hash((self.family, self._address, self._length))

    def get_family(self):
        return self.family

    def netmask_bits(self):
        return self._length

    def netmask_int(self):
        return ((1 << self._length) - 1) << (self._bits - self._length)

    def netmask_packed(self):
        return self.netmask_int().to_bytes(self._bits // 8, "big")

    def addr_int(self):
        return self._address

    def addr_packed(self):
        return self._address.to_bytes(self._bits // 8, "big")

    def addr_str(self):
        return _socket.inet_ntop(self.family, self.addr_packed())

    def contains(self, other):
        if isinstance(other, Subnet):
            return (other.family == self.family and other._length >= self._length
                    and other._address & self.netmask_int() == self._address)
        if getattr(other, "family", None) != self.family:
            return False
        return int.from_bytes(other.pack(), "big") & self.netmask_int() == self._address

    def getHostAddr(self, addr):
        """The host part of an address."""
        return int.from_bytes(addr.pack(), "big") & ~self.netmask_int() & ((1 << self._bits) - 1)

    def mapHostAddr(self, host):
        """The address in this network with that host part."""
        host &= ~self.netmask_int() & ((1 << self._bits) - 1)
        return _socket.inet_ntop(self.family, (self._address | host).to_bytes(self._bits // 8, "big"))

    @property
    def ip_range(self):
        last = self._address | (~self.netmask_int() & ((1 << self._bits) - 1))
        text = _socket.inet_ntop(self.family, last.to_bytes(self._bits // 8, "big"))
        return (self._sockaddr(self.addr_str(), 0), self._sockaddr(text, 0))


class InetSubnet(Subnet):
    """An IPv4 subnet, 'a.b.c.d/n'."""

    family = _socket.AF_INET
    _bits = 32
    _sockaddr = SockAddrInet

    def network(self):
        return _struct.unpack("=I", self.addr_packed())[0]

    def broadcast(self):
        return self.ip_range[1].ip


class Inet6Subnet(Subnet):
    """An IPv6 subnet, 'x::/n'."""

    family = _socket.AF_INET6
    _bits = 128
    _sockaddr = SockAddrInet6


_HOST_BITS = {str(n): (1 << (32 - n)) - 1 for n in range(33)}   # of an IPv4 prefix length as it is written


def subnet_text(what, value):
    """str(InetSubnet(value)), or of an Inet6Subnet, or of the Subnet that value is; or Refused. Zones and rules
    only need this text, and in a large policy most of them have one that is good as it stands."""
    if type(value) is str:
        address, slash, length = value.partition("/")
        host_bits = _HOST_BITS.get(length) if slash else 0
        if host_bits is not None:
            try:
                if not int.from_bytes(_socket.inet_pton(_socket.AF_INET, address), "big") & host_bits:
                    return value if slash else value + "/32"
            except (OSError, ValueError):
                pass    # of the other family, or wrong
    if isinstance(value, Subnet):
        return str(value)
    if not isinstance(value, str):
        raise _Refused("%s: %s is not a subnet" % (what, _shown(value)), "a string like '10.0.0.0/8', or InetSubnet(...)")
    cls = Inet6Subnet if ":" in value else InetSubnet
    made = cls.__new__(cls)
    cls.__init__(made, value)
    return str(made)


def networks_around(value):
    """The texts of all networks that contain a Subnet or an address, from the narrowest."""
    bits = {_socket.AF_INET: 32, _socket.AF_INET6: 128}.get(getattr(value, "family", None))
    if bits is None:
        return
    if isinstance(value, Subnet):
        address, narrowest = value._address, value._length
    else:
        octets = value.pack()
        if not octets:      # a host name
            return
        address, narrowest = int.from_bytes(octets, "big"), bits
    for length in range(narrowest, -1, -1):
        address = address >> (bits - length) << (bits - length)
        yield "%s/%d" % (_socket.inet_ntop(value.family, address.to_bytes(bits // 8, "big")), length)
