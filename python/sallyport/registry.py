# SPDX-License-Identifier: Apache-2.0
"""Named objects of a policy, by kind. The dictionaries are those of Zorp.Globals.

What an instance function declares belongs to that instance, as if each instance were a program of
its own; services and zones are the host's, common to all instances.
"""

import threading

from sallyport import problems

KINDS = ("nat_policies", "resolver_policies", "authentication_providers", "authentication_policies",
         "authorization_policies", "auth_policies", "auth_caches", "stacking_providers", "matchers",
         "encryption_policies", "detectors")

_scope = threading.local()


class Scope:
    """The named objects that one instance sees."""

    def __init__(self):
        from Zorp import Globals
        self.kinds = {kind: dict(getattr(Globals, kind)) for kind in KINDS}

    def restore(self):
        from Zorp import Globals
        for kind, names in self.kinds.items():
            getattr(Globals, kind).clear()
            getattr(Globals, kind).update(names)


class using:
    """`with using(scope):` names are looked up there, on this thread."""

    def __init__(self, scope):
        self._new = scope

    def __enter__(self):
        self._before = getattr(_scope, "now", None)
        _scope.now = self._new

    def __exit__(self, *exception):
        _scope.now = self._before


class RuleSet(list):
    """The rules of an instance, in the order of their declaration."""

    def __init__(self):
        super().__init__()
        self.by_id = {}
        self._lowest = 1    # every number below is taken

    def append(self, rule):
        super().append(rule)
        self.by_id[rule.rule_id] = rule

    def free_id(self):
        while self._lowest in self.by_id:
            self._lowest += 1
        return self._lowest


def named(kind):
    from Zorp import Globals
    scope = getattr(_scope, "now", None)
    return getattr(Globals, kind) if scope is None else scope.kinds[kind]


def zones():
    from Zorp.Zone import Zone
    return Zone.zones


def register(kind, what, name, made):
    """Refused when the name is taken."""
    known = named(kind)
    if name in known and getattr(known[name], "_poisoned", False):
        del known[name]
    if name in known:
        before = known[name]._place
        raise problems.Refused("%s '%s' is already defined in %s, line %d"
                               % (what, name, problems.relative(before[0]), before[1]))
    known[name] = made


def lookup(kind, what, name):
    """The object of that name, or Refused with the nearest one."""
    known = named(kind)
    if not isinstance(name, str):
        raise problems.Refused("%s is given by its name, a string, not %s" % (what, problems.shown(name)))
    if name not in known:
        names = [n for n in known if isinstance(n, str)]
        raise problems.Refused("there is no %s '%s'" % (what, name),
                               problems.did_you_mean(name, names)
                               or ("define it before it is used" if not names else "there are " + problems.plural(names)))
    return known[name]
