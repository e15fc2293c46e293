# SPDX-License-Identifier: Apache-2.0
"""Rules: which connections get which service."""

from json.encoder import encode_basestring_ascii as _json_text

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, int_argument as _int_argument, is_poisoned as _is_poisoned
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp import Globals as _Globals
from Zorp.Service import Service as _Service
from Zorp.Subnet import subnet_text as _subnet_text
from Zorp.Zone import Zone as _Zone

_GROUPS_FILE = "/etc/iproute2/group"


class PortRange(_Declaration):
    """PortRange(low, high), both included."""

    def __init__(self, low, high):
        self.low = _int_argument("the lower port", low, 0, 65535)
        self.high = _int_argument("the higher port", high, 0, 65535)
        if self.low > self.high:
            raise _Refused("PortRange(%d, %d) contains no port" % (self.low, self.high), "the lower port comes first")

    def getTuple(self):
        return (self.low, self.high)


_ranges = {}    # ports as the document has them -> (low, high)


def _port(value):
    if isinstance(value, PortRange):
        return _port_text(value.low, value.high)
    if isinstance(value, str):
        if not (value.isascii() and value.isdecimal()):
            raise _Refused("%s is not a port" % _shown(value), "several ports are written as [80, 443], ranges as PortRange(1, 10)")
        value = int(value)
    if isinstance(value, (list, tuple)):
        raise _Refused("%s is not a port" % _shown(value), "ranges are written as PortRange(%s, %s)" % tuple(value)
                       if len(value) == 2 else None)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Refused("%s is not a port" % _shown(value))
    if not 0 <= value <= 65535:
        raise _Refused("port %d does not exist" % value, "ports are 0 to 65535")
    return _port_text(value, value)


def _port_text(low, high):
    text = "[%d,%d]" % (low, high)
    _ranges[text] = (low, high)
    return text


def _subnet(value):
    return '"%s"' % _subnet_text("a subnet", value)


def _zone(value):
    """Of a name that is none of a good zone."""
    zones = _Zone.zones
    if not isinstance(value, str):
        hint = "write '%s'" % value.name if hasattr(value, "admin_parent") else None
        raise _Refused("a zone is given by its name, not as %s" % _shown(value), hint)
    if value not in zones:
        raise _Refused("there is no zone '%s'" % value,
                       _problems.did_you_mean(value, zones) or "define it before the rule")
    return _Zone._numbers.get(value, "null")    # refused, so there will be no document


def _interface(value):
    if not isinstance(value, str) or not value:
        raise _Refused("%s is not the name of an interface" % _shown(value))
    if len(value.encode("utf-8", "surrogateescape")) > 15 or any(c in "/:" or c.isspace() or not c.isprintable() for c in value):
        raise _Refused("%s is not the name of an interface" % _shown(value), "at most 15 octets, no / and no blank")
    if value[-1] in "*+":
        raise _Refused("%s: interface names have no wildcards" % _shown(value), "list the interfaces, or use a group: src_ifgroup=1")
    return _json_text(value)


def _group(value):
    if isinstance(value, str):
        if value.isascii() and value.isdecimal():
            value = int(value)
        else:
            names = _group_names()
            if value not in names:
                raise _Refused("there is no interface group '%s' in %s" % (value, _GROUPS_FILE),
                               _problems.did_you_mean(value, names))
            value = names[value]
    return _number(value, 2 ** 31 - 1, "an interface group")


def _group_names():
    """Lines "number alias"; others are no reason to forget the good ones."""
    names = {}
    try:
        with open(_GROUPS_FILE, encoding="utf-8", errors="surrogateescape") as f:
            for line in f:
                words = line.split()
                if len(words) >= 2 and words[0].isdecimal() and not line.startswith("#"):
                    names[words[1]] = int(words[0])
    except OSError:
        pass
    return names


def _number(value, high, what):
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Refused("%s is not %s" % (_shown(value), what), "a number")
    if not 0 <= value <= high:
        raise _Refused("%d is not %s" % (value, what), "from 0 to %d" % high)
    return "%d" % value


def _protocol(value):
    if isinstance(value, str):
        number = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58}.get(value.lower())
        raise _Refused("proto: %s is not a protocol number" % _shown(value), number and "write %d" % number)
    return _number(value, 255, "a protocol number")


# keyword -> (name in the document, check of one value, which returns it as the document has it)
_DIMENSIONS = {
    "iface": ("iface", _interface), "src_iface": ("iface", _interface),
    "ifgroup": ("ifgroup", _group), "src_ifgroup": ("ifgroup", _group),
    "reqid": ("reqid", lambda v: _number(v, 2 ** 32 - 1, "a request id")),
    "proto": ("proto", _protocol),
    "proto_type": ("proto_type", lambda v: _number(v, 255, "an ICMP type")),
    "icmp_type": ("proto_type", lambda v: _number(v, 255, "an ICMP type")),
    "proto_subtype": ("proto_subtype", lambda v: _number(v, 255, "an ICMP code")),
    "icmp_code": ("proto_subtype", lambda v: _number(v, 255, "an ICMP code")),
    "src_port": ("src_port", _port), "dst_port": ("dst_port", _port),
    "src_subnet": ("src_subnet", _subnet), "dst_subnet": ("dst_subnet", _subnet),
    "src_zone": ("src_zone", _zone), "dst_zone": ("dst_zone", _zone),
    "dst_iface": ("dst_iface", _interface), "dst_ifgroup": ("dst_ifgroup", _group),
}
_KEYWORDS = ("service", "rule_id", "detect")

# What the checks said, or would say, of plain values, str and int: the same ones come again and again.
_known_good = {keyword: _Zone._numbers if check is _zone else {} for keyword, (_, check) in _DIMENSIONS.items()}


class Rule(_Declaration):
    """Rule(service=..., ...). Every condition takes one value or a sequence of values."""

    def __init__(self, *args, **keywords):
        if args:
            raise _Refused("Rule takes keywords only", "Rule(service='%s', ...)" % args[0])
        self._place = _problems.here()
        if not _Globals.instance_name:
            raise _Refused("a rule outside of an instance function", "move it into the function of its instance: def default_instance():")
        if _Globals.rules is None:
            raise _Refused("rules can only be made while an instance function runs")
        self.conditions = {}    # name in the document -> values as they are there
        for keyword, value in keywords.items():
            if keyword in _DIMENSIONS:
                self._add_condition(keyword, value)
            elif keyword not in _KEYWORDS:
                self._wrong("Rule has no parameter '%s'" % keyword, _keyword_hint(keyword))
        for name in ("src_port", "dst_port"):
            if len(self.conditions.get(name, ())) > 1:
                self._check_overlaps(name)
        self.service = self._find_service(keywords.get("service"), "detect" in keywords)
        if "detect" in keywords:
            self._check_detect(keywords["detect"])
        if isinstance(self.service, _Service):
            self._check_carried()
        self.rule_id = self._find_id(keywords.get("rule_id"))
        _Globals.rules.append(self)

    def _wrong(self, message, hint=None):
        _problems.report(message, hint, self._place)
        self._poisoned = True

    def _add_condition(self, keyword, value):
        if value is None:
            self._wrong("%s is None" % keyword, "leave it out when any value will do")
            return
        name, check = _DIMENSIONS[keyword]
        good = _known_good[keyword]
        texts = []
        for one in value if isinstance(value, (list, tuple, set, frozenset)) else (value,):
            plain = type(one) is str or type(one) is int
            text = good.get(one) if plain else None
            if text is None:
                if not plain and _is_poisoned(one):
                    self._poisoned = True
                    continue
                try:
                    text = check(one)
                except _Refused as refused:
                    self._wrong("%s: %s" % (keyword, refused.message), refused.hint)
                    continue
                if plain:
                    good[one] = text
            texts.append(text)
        if name in self.conditions:     # by its other keyword
            texts = self.conditions[name] + texts
        self.conditions[name] = list(dict.fromkeys(texts)) if len(texts) > 1 else texts

    def _check_overlaps(self, name):
        ranges = sorted(_ranges[text] for text in self.conditions[name])
        for before, after in zip(ranges, ranges[1:]):
            if after[0] <= before[1]:
                _problems.warn("%s: the ranges %d-%d and %d-%d overlap" % (name, *before, *after),
                               "of those that contain a port the best counts: a single port before a range", self._place)

    def _find_service(self, name, detects):
        if name is None and detects:
            return None
        if name is None:
            self._wrong("a rule needs a service", "Rule(service='...', ...)")
            return None
        if not isinstance(name, str):
            self._wrong("service is given by its name, not as %s" % _shown(name))
            return None
        found = _Globals.services.get(name)
        if found is None:
            self._wrong("there is no service '%s'" % name,
                        _problems.did_you_mean(name, _Globals.services) or "define it before the rule")
        return found

    def _check_detect(self, detect):
        if not detect:
            return
        pairs = detect.items() if isinstance(detect, dict) else detect
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                self._wrong("detect: %s is not a pair (detector policy, service)" % _shown(pair))
                continue
            try:
                _registry.lookup("detectors", "DetectorPolicy", pair[0])
            except _Refused as refused:
                self._wrong("detect: " + refused.message, refused.hint)
            if pair[1] not in _Globals.services:
                self._wrong("detect: there is no service %s" % _shown(pair[1]), _problems.did_you_mean(pair[1], _Globals.services))
        self._wrong("Rule(detect=...): not yet part of Sallyport", "see \"Not yet\" in docs/reference/policy-language.md")

    def _check_carried(self):
        """What a service that a proxy carries can't have."""
        if self.conditions.get("reqid"):
            self._wrong("service '%s' is carried by a proxy, which can't see IPsec request ids: a rule with reqid on a Service is not"
                        " yet part of Sallyport" % self.service.name, "use iface or ifgroup; a PFService or DenyService can have reqid")
        protocols = self.conditions.get("proto", ())
        if "17" in protocols:
            self._wrong("service '%s' carries TCP; a rule with protocol UDP on a Service is not yet part of Sallyport"
                        % self.service.name, "proto=6")
        others = [p for p in protocols if p not in ("6", "17")]
        if others:
            _problems.warn("service '%s' carries TCP; packets of protocol %s get no service" % (self.service.name, others[0]),
                           "a DenyService or PFService can have them", self._place)

    def _find_id(self, wanted):
        used = _Globals.rules.by_id
        if wanted is None or wanted == 0:
            return _Globals.rules.free_id()
        if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted < 2 ** 31:
            self._wrong("rule_id: %s is not a rule number" % _shown(wanted), "1 or more")
            return -1 - len(_Globals.rules)
        if wanted in used:
            before = used[wanted]._place
            self._wrong("rule_id %d is already used in %s, line %d" % (wanted, _problems.relative(before[0]), before[1]),
                        "rules without rule_id take the smallest free number")
            return -1 - len(_Globals.rules)
        return int(wanted)

    def _document(self, instance, service, at):
        """Its text in the document: the numbers of its instance and service, and its place there."""
        conditions = "".join([',"%s":[%s]' % (name, ",".join(texts)) for name, texts in self.conditions.items() if texts])
        return '{"id":%d,"instance":%d,"service":%d,"at":%s%s}' % (self.rule_id, instance, service, at, conditions)

    def __str__(self):
        return "Rule(%d)" % self.rule_id


def _keyword_hint(keyword):
    if keyword in ("src_subnet6", "dst_subnet6"):
        return "IPv6 subnets go into %s" % keyword[:-1]
    return _problems.did_you_mean(keyword, list(_DIMENSIONS) + list(_KEYWORDS))
