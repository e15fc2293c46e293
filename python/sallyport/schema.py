# SPDX-License-Identifier: Apache-2.0
"""What the engine's proxies know: attributes, tables and hooks, as `sallyport schema` prints them."""

import json

from sallyport import problems
from sallyport.problems import Refused

TYPES = ("int", "bool", "string", "strings", "zones", "matcher", "stack")


class SchemaError(Exception):
    """The schema file is not one."""


class Attribute:
    __slots__ = ("name", "type", "access", "home", "line", "effect", "min", "max", "default", "doc")

    def __init__(self, row):
        self.name = row["name"]
        self.type = row["type"]
        if self.type not in TYPES:
            raise SchemaError("attribute %s has the unknown type %s" % (self.name, self.type))
        self.access = frozenset(row.get("access", ()))
        self.home = row.get("home", "config")
        self.line = row.get("line", False)
        self.effect = row.get("effect", True)
        self.min = row.get("min")
        self.max = row.get("max")
        self.default = _default(row)
        self.doc = row.get("doc", "")

    def check(self, value):
        """The value as the instance keeps it. Refused: it can't be one of this attribute."""
        return _CHECKS[self.type](self, value)


def _default(row):
    default = row.get("default")
    kind = row["type"]
    if kind == "int":
        return 0 if default is None else default
    if kind == "bool":
        return bool(default)
    if kind == "string":
        return "" if default is None else default
    if kind in ("strings", "zones"):
        return () if default is None else tuple(default)
    return None


def _check_int(attribute, value):
    if not isinstance(value, int):
        raise Refused("%s must be a number, not %s" % (attribute.name, problems.shown(value)))
    low = -2 ** 63 if attribute.min is None else attribute.min
    high = 2 ** 63 - 1 if attribute.max is None else attribute.max
    if not low <= value <= high:
        raise Refused("%s is %d; it must be from %d to %d" % (attribute.name, value, low, high))
    return int(value)


def _check_bool(attribute, value):
    if not isinstance(value, int) or value not in (0, 1):
        raise Refused("%s must be TRUE or FALSE, not %s" % (attribute.name, problems.shown(value)))
    return int(value)


def check_text(what, value, line):
    """A str that can go over the wire; with line, on a protocol line."""
    if not isinstance(value, str):
        raise Refused("%s must be a string, not %s" % (what, problems.shown(value)))
    if line and any(c in value for c in "\r\n\0"):
        raise Refused("%s must not contain CR, LF or NUL: %s" % (what, problems.shown(value)),
                      "it ends up on a protocol line")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Refused("%s contains a lone surrogate: %s" % (what, problems.shown(value))) from None
    return value


def _check_string(attribute, value):
    return check_text(attribute.name, value, attribute.line)


def _check_strings(attribute, value):
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise Refused("%s must be a string or a sequence of strings, not %s"
                      % (attribute.name, problems.shown(value)))
    for item in items:
        check_text("each item of " + attribute.name, item, True)
    return value


def _check_zones(attribute, value):
    from sallyport import registry
    _check_strings(attribute, value)
    for name in [value] if isinstance(value, str) else value:
        if name != "*" and name not in registry.zones():
            raise Refused("%s names the unknown zone '%s'" % (attribute.name, name),
                          problems.did_you_mean(name, registry.zones()))
    return value


def _check_matcher(attribute, value):
    if value is None:
        return None
    from Zorp.Matcher import checked_matcher
    return checked_matcher(attribute.name, value)


def _check_stack(attribute, value):
    if value is None or value == {}:
        return None
    raise Refused("%s: stacking is not yet part of Sallyport" % attribute.name)


_CHECKS = {"int": _check_int, "bool": _check_bool, "string": _check_string, "strings": _check_strings,
           "zones": _check_zones, "matcher": _check_matcher, "stack": _check_stack}


class Action:
    __slots__ = ("name", "value", "min_args", "max_args", "calls")

    def __init__(self, row):
        self.name = row["name"]
        self.value = row["value"]
        self.min_args = row.get("min_args", 0)
        self.max_args = row.get("max_args", 0)
        self.calls = bool(row.get("calls", False))


class TableSchema:
    __slots__ = ("name", "key_parts", "lookup", "upper", "actions", "doc")

    def __init__(self, row):
        self.name = row["name"]
        self.key_parts = row["key_parts"]
        self.lookup = row["lookup"]
        self.upper = bool(row.get("upper_case_keys", False))
        self.actions = {a.value: a for a in (Action(r) for r in row["actions"])}
        self.doc = row.get("doc", "")


class Hook:
    __slots__ = ("name", "classes", "arguments", "native", "stored", "doc")

    def __init__(self, row):
        self.name = row["name"]
        self.classes = _words(row.get("classes", ()))
        self.arguments = _words(row.get("arguments", ()))
        self.native = bool(row.get("native", False))
        self.stored = bool(row.get("stored", True))     # it has a place in the configuration
        self.doc = row.get("doc", "")


def _words(value):
    return tuple(value.split()) if isinstance(value, str) else tuple(value)


class ProxySchema:
    def __init__(self, name, row):
        self.name = name
        self.attributes = {}
        self.aliases = {}
        for r in row["attributes"]:
            if r.get("alias_of"):
                self.aliases[r["name"]] = r["alias_of"]
            else:
                self.attributes[r["name"]] = Attribute(r)
        for alias, target in self.aliases.items():
            if target not in self.attributes:
                raise SchemaError("%s is an alias of the unknown %s" % (alias, target))
        self.tables = {t.name: t for t in (TableSchema(r) for r in row.get("tables", ()))}
        self.hooks = {h.name: h for h in (Hook(r) for r in row.get("hooks", ()))}

    def names(self):
        return list(self.attributes) + list(self.aliases) + list(self.tables)


_proxies = {}


def load(path):
    """Read the schema; afterwards proxy() knows it. OSError, SchemaError."""
    with open(path, encoding="utf-8") as f:
        try:
            document = json.load(f)
            proxies = {n: ProxySchema(n, r) for n, r in document["proxies"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SchemaError("%s: not a schema: %s" % (path, problems.describe_exception(error))) from error
    _proxies.clear()
    _proxies.update(proxies)


def proxy(name):
    """The schema of a proxy; None: the engine has no such proxy (yet)."""
    return _proxies.get(name)


def proxies():
    return sorted(_proxies)
