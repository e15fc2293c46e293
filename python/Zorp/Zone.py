# SPDX-License-Identifier: Apache-2.0
"""Zones: names for sets of addresses, in an administrative tree."""

import struct
import types
from json.encoder import encode_basestring_ascii as _json_text
from socket import htonl, ntohl
from traceback import print_exc

from sallyport import engine as _engine, problems as _problems
from sallyport.declare import (Declaration as _Declaration, host_argument as _host_argument, is_poisoned as _is_poisoned,
                               name_argument as _name_argument, sequence as _sequence)
from sallyport.problems import Refused as _Refused
from Zorp import Globals as _Globals
from Zorp.Exceptions import ZoneException
from Zorp.Subnet import (Inet6Subnet, InetSubnet, Subnet, networks_around as _networks_around,
                         subnet_text as _subnet_text)

ZONES_MAX = 262144
DEPTH_MAX = 31
HOSTS_MAX = 4096        # host names of all zones


class BaseZone(_Declaration):
    """For isinstance()."""


class Zone(BaseZone):
    """Zone(name, addrs=(), hostnames=(), admin_parent=None)."""

    zones = {}          # name -> Zone
    _all = []           # every zone once, in the order of definition
    _numbers = {}       # name -> its place there, as the document has it; without zones that were refused
    _owners = {}        # network as subnet_text() has it -> Zone
    _n_hosts = 0        # host names of all
    admin_children = ()

    def __init__(self, name, addrs=(), hostnames=(), admin_parent=None, inbound_services=None,
                 outbound_services=None):
        self.name = _name_argument("the zone's name", name)
        if inbound_services is not None or outbound_services is not None:
            raise _Refused("zone '%s': zones no longer say which services may be used" % name,
                           "use rules, and Service(limit_target_zones_to=...)")
        what = "zone '%s'" % name
        self.hostnames = [] if hostnames == () else [
            _host_argument(what, h, instead="addresses go into addrs") for h in _sequence(hostnames)]
        self._networks = [_subnet_text(what, a) for a in _sequence(addrs)]
        self.admin_parent = parent = None if admin_parent is None else self._find_parent(admin_parent)
        self._depth = 0 if parent is None else parent._depth + 1
        if self._depth >= DEPTH_MAX:
            raise _Refused("zone '%s': the tree is deeper than %d zones" % (name, DEPTH_MAX))
        self._index = self._find_index()

    def _find_parent(self, parent):
        if isinstance(parent, Zone):
            if _is_poisoned(parent):
                return None
            raise _Refused("zone '%s': admin_parent is given by its name" % self.name, "write '%s'" % parent.name)
        if parent not in Zone.zones:
            raise _Refused("zone '%s': there is no zone '%s' to be its admin_parent" % (self.name, parent),
                           _problems.did_you_mean(parent, Zone.zones) or "define the parent first")
        found = Zone.zones[parent]
        return None if _is_poisoned(found) else found

    def _find_index(self):
        """A new place among all zones; or that of the same zone, declared by another instance."""
        before = Zone.zones.get(self.name)
        if before is not None and not _is_poisoned(before):
            if before._instance != _Globals.instance_name and before._same(self):
                return before._index
            raise _Refused("zone '%s' is already defined in %s, line %d"
                           % (self.name, _problems.relative(before._place[0]), before._place[1]))
        self._check_networks()
        for host in self.hostnames:
            if self.hostnames.count(host) > 1:
                raise _Refused("zone '%s': the host %s is listed twice" % (self.name, host))
        if Zone._n_hosts + len(self.hostnames) > HOSTS_MAX:
            raise _Refused("the zones have more than %d host names" % HOSTS_MAX)
        if len(Zone._all) >= ZONES_MAX:
            raise _Refused("there are more than %d zones" % ZONES_MAX)
        self._instance = _Globals.instance_name
        self._place = _problems.here()
        for network in self._networks:
            Zone._owners[network] = self
        Zone.zones[self.name] = self
        Zone._numbers[self.name] = str(len(Zone._all))
        Zone._all.append(self)
        Zone._n_hosts += len(self.hostnames)
        return len(Zone._all) - 1

    def _check_networks(self):
        seen = set()
        for network in self._networks:
            owner = Zone._owners.get(network)
            if owner is not None:
                raise _Refused("zone '%s': %s already belongs to zone '%s'" % (self.name, network, owner.name),
                               "a subnet belongs to one zone")
            if network in seen:
                raise _Refused("zone '%s': %s is listed twice" % (self.name, network))
            seen.add(network)

    def _document(self, at):
        """Its text in the document, and its place there."""
        addresses = '"%s"' % '","'.join(self._networks) if self._networks else ""
        hosts = '"%s"' % '","'.join(self.hostnames) if self.hostnames else ""
        parent = "null" if self.admin_parent is None else self.admin_parent._index
        return '{"name":%s,"addrs":[%s],"hostnames":[%s],"parent":%s,"at":%s}' % (_json_text(self.name), addresses, hosts, parent, at)

    def _same(self, other):
        parents = [z.name if z else None for z in (self.admin_parent, other.admin_parent)]
        return (set(self._networks) == set(other._networks) and set(self.hostnames) == set(other.hostnames)
                and parents[0] == parents[1])

    @classmethod
    def _remember_refused(cls, name, made):
        made.name = name
        Zone.zones.setdefault(name, made)

    def getName(self):
        return self.name

    def getDepth(self):
        """0 for a root."""
        return self._depth

    @property
    def subnets(self):
        return [Subnet.create(network) for network in self._networks]

    def __str__(self):
        return "Zone(%s)" % self.name

    @classmethod
    def lookup(cls, addr):
        """The zone of an address: in a callback the engine's answer where zones have host names, whose addresses only
        the engine knows; else as lookupByStaticAddress()."""
        engine = _engine.current() if cls._n_hosts > 0 and getattr(addr, "ip_s", None) is not None else None
        if engine is None:
            return cls.lookupByStaticAddress(addr)
        return cls.zones.get(engine.up("policy.zone_of", [addr.ip_s]))

    @classmethod
    def lookupByStaticAddress(cls, addr):
        """The zone with the longest prefix that contains the address or subnet; or None."""
        for network in _networks_around(addr):
            if network in cls._owners:
                return cls._owners[network]
        return None

    @classmethod
    def lookupByStaticAddressExactly(cls, addr):
        """The zone that lists just this address; or None."""
        wider = isinstance(addr, Subnet) and addr.netmask_bits() < addr._bits
        return None if wider else cls._owners.get(next(_networks_around(addr), None))

    @classmethod
    def lookupByName(cls, name):
        return cls.zones.get(name)

    @classmethod
    def lookupByHostname(cls, host):
        """The zone that lists it; or None. A host of several zones is in none of them."""
        plain = host.lower()[:-1] if host.endswith(".") else host.lower()
        found = [z for z in cls._all if plain in z.hostnames]
        if len(found) > 1:
            raise ValueError("the host %s is in more than one zone: %s" % (host, ", ".join(z.name for z in found)))
        return found[0] if found else None


InetZone = Zone
