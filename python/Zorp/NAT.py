# SPDX-License-Identifier: Apache-2.0
"""NAT policies. Checked when they are declared; services that use one are refused for now."""

import socket as _socket

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import (Declaration as _Declaration, flag_argument as _flag_argument, is_poisoned as _is_poisoned,
                               name_argument as _name_argument, sequence as _sequence)
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.SockAddr import AbstractSockAddr as _AbstractSockAddr
from Zorp.Subnet import Subnet as _Subnet

NAT_SNAT = 0
NAT_DNAT = 1


class AbstractNAT(_Declaration):
    """The base of address translations, also of a policy's own."""

    def performTranslation(self, session, addrs, nat_type):
        raise NotImplementedError


class NATPolicy(_Declaration):
    """NATPolicy(name, nat, cacheable=TRUE)."""

    def __init__(self, name, nat, cacheable=1):
        self.name = _name_argument("the NAT policy's name", name)
        if not isinstance(nat, AbstractNAT):
            raise _Refused("NATPolicy '%s': %s is not an address translation" % (name, _shown(nat)))
        self.nat = nat
        self.cacheable = _flag_argument("cacheable", cacheable)
        self._place = _problems.here()
        _registry.register("nat_policies", "NATPolicy", name, self)

    @classmethod
    def _remember_refused(cls, name, made):
        _registry.named("nat_policies").setdefault(name, made)


def _subnet(what, value):
    if not isinstance(value, _Subnet):
        raise _Refused("%s: %s is not a subnet object" % (what, _shown(value)), "InetSubnet('10.0.0.0/8')")
    return value


def _sockaddr(what, value):
    if not isinstance(value, _AbstractSockAddr):
        raise _Refused("%s: %s is not an address" % (what, _shown(value)), "SockAddrInet('10.0.0.1', 0)")
    return value


class GeneralNAT(AbstractNAT):
    """A sequence of (source subnet, destination subnet, mapped subnet)."""

    def __init__(self, mapping):
        rows = list(mapping) if isinstance(mapping, (list, tuple)) else [mapping]
        if len(rows) == 3 and all(isinstance(r, _Subnet) for r in rows):
            rows = [tuple(rows)]
        for row in rows:
            if not isinstance(row, (list, tuple)) or len(row) != 3:
                raise _Refused("GeneralNAT: %s is not a triple" % _shown(row),
                               "(source subnet, destination subnet, mapped subnet)")
            for item in row:
                if not _is_poisoned(item):
                    _subnet("GeneralNAT", item)
        self.mapping = rows


class StaticNAT(AbstractNAT):
    def __init__(self, addr):
        self.addr = _sockaddr("StaticNAT", addr)


class ForgeClientSourceNAT(AbstractNAT):
    """The client's address; forge_addr of the router says the same."""


class RandomNAT(AbstractNAT):
    def __init__(self, addresses):
        self.addresses = [_sockaddr("RandomNAT", a) for a in _sequence(addresses)]
        if not self.addresses:
            raise _Refused("RandomNAT needs at least one address")


class HashNAT(AbstractNAT):
    def __init__(self, ip_hash, default_reject=1):
        if not isinstance(ip_hash, dict):
            raise _Refused("HashNAT needs a dictionary, not %s" % _shown(ip_hash))
        self.ip_hash = ip_hash
        self.default_reject = _flag_argument("default_reject", default_reject)


class OneToOneMultiNAT(AbstractNAT):
    """A list of (from subnet, to subnet) of equal size."""

    def __init__(self, mapping, default_reject=1):
        for row in mapping:
            if not isinstance(row, (list, tuple)) or len(row) != 2:
                raise _Refused("%s: %s is not a pair of subnets" % (type(self).__name__, _shown(row)))
            sizes = {(s.family, s.netmask_bits()) for s in (_subnet(type(self).__name__, r) for r in row)}
            if len(sizes) != 1:
                raise _Refused("%s: %s and %s are not of one size" % (type(self).__name__, row[0], row[1]))
        self.mapping = list(mapping)
        self.default_reject = _flag_argument("default_reject", default_reject)


class OneToOneNAT(OneToOneMultiNAT):
    def __init__(self, from_domain, to_domain, default_reject=1):
        super().__init__([(from_domain, to_domain)], default_reject)


def _check_mask(what, mask):
    if mask not in (32, 40, 48, 56, 64, 96) or isinstance(mask, bool):
        raise _Refused("%s: prefix_mask is %s; it must be 32, 40, 48, 56, 64 or 96" % (what, _shown(mask)))
    return mask


def _check_ipv6(what, text):
    try:
        return _socket.inet_pton(_socket.AF_INET6, text)
    except (OSError, TypeError):
        raise _Refused("%s: %s is not an IPv6 address" % (what, _shown(text))) from None


class NAT64(AbstractNAT):
    def __init__(self, prefix_mask=96):
        self.prefix_mask = _check_mask("NAT64", prefix_mask)


class NAT46(AbstractNAT):
    def __init__(self, prefix="64:ff9b::", prefix_mask=96, suffix="::"):
        self.prefix_mask = _check_mask("NAT46", prefix_mask)
        self.prefix = _check_ipv6("NAT46: prefix", prefix)
        self.suffix = _check_ipv6("NAT46: suffix", suffix)
        if any(self.suffix[:(128 - prefix_mask) // 8]):
            raise _Refused("NAT46: suffix must begin with %d zero octets" % ((128 - prefix_mask) // 8))
