# SPDX-License-Identifier: Apache-2.0
"""Matchers: does a string fit?

The stock ones are compiled into the policy document and run in the engine, where their patterns are
of the common ground of re and the engine (sallyport/regexp.py); what checkMatch does here is then
what the engine does there. All others run in the policy host, as callbacks."""

import os as _os
import re as _re

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, is_poisoned as _is_poisoned, name_argument as _name_argument
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.Exceptions import MatcherException
from Zorp.Zorp import CORE_POLICY, Z_AND, Z_EQ, Z_NOT, Z_OR, Z_XOR, log as _log


_DEPTH_MAX = 100    # of expressions in expressions, whether they are CombineMatchers of their own or not


class AbstractMatcher(_Declaration):
    """The base of matchers, also of a policy's own. Defines checkMatch(str)."""

    _not_yet = None

    def checkMatch(self, str):
        raise NotImplementedError

    def validateMatcher(self):
        """Called once after the instance function has run."""


class MatcherPolicy(_Declaration):
    """MatcherPolicy(name, matcher): a matcher with a name."""

    def __init__(self, name, matcher):
        self.name = _name_argument("the matcher policy's name", name)
        if not isinstance(matcher, AbstractMatcher):
            raise _Refused("MatcherPolicy '%s': %s is not a matcher" % (name, _shown(matcher)))
        self.matcher = matcher
        self._place = _problems.here()
        _registry.register("matchers", "MatcherPolicy", name, self)

    @classmethod
    def _remember_refused(cls, name, made):
        _registry.named("matchers").setdefault(name, made)

    def getMatcher(self):
        return self.matcher


def getMatcher(matcher):
    """The matcher behind a matcher, a MatcherPolicy or its name; MatcherException."""
    if isinstance(matcher, str):
        known = _registry.named("matchers")
        if matcher not in known:
            raise MatcherException("there is no MatcherPolicy '%s'" % matcher)
        matcher = known[matcher]
    if isinstance(matcher, MatcherPolicy):
        return matcher.matcher
    if isinstance(matcher, AbstractMatcher):
        return matcher
    raise MatcherException("%s is not a matcher" % _shown(matcher))


def checked_matcher(what, value):
    """The matcher behind a value of a matcher attribute, or Refused. None stays None."""
    if value is None or _is_poisoned(value):
        return None
    if isinstance(value, str):
        value = _registry.lookup("matchers", "MatcherPolicy", value)
        if _is_poisoned(value):
            return None
    try:
        matcher = getMatcher(value)
        if _is_poisoned(matcher):
            return None
        if isinstance(matcher, CombineMatcher):
            matcher.validateMatcher()   # first: one that contains itself has no end
        reason = _later(matcher)
    except MatcherException as error:
        raise _Refused("%s: %s" % (what, error.detail)) from None
    if reason is not None:
        raise _Refused("%s: %s is not yet part of Sallyport" % (what, reason))
    return matcher


def _later(matcher, seen=None):
    """The name of a part that does not exist yet; None when all do. Each part is looked at once,
    however often it is an operand."""
    seen = set() if seen is None else seen
    if isinstance(matcher, CombineMatcher) and matcher not in seen:
        seen.add(matcher)
        for operand in matcher._operands():
            found = _later(getMatcher(operand), seen)
            if found is not None:
                return found
    return matcher._not_yet


class RegexpMatcher(AbstractMatcher):
    """True when a pattern of match_list is found and none of ignore_list."""

    def __init__(self, match_list=None, ignore_list=None, ignore_case=1):
        flags = _re.IGNORECASE if ignore_case else 0
        self.match = self._compile("match_list", match_list, flags)
        self.ignore = self._compile("ignore_list", ignore_list, flags)

    def _compile(self, what, patterns, flags):
        if patterns is None:
            return []
        if isinstance(patterns, str) or not isinstance(patterns, (list, tuple, set, frozenset)):
            raise _Refused("%s: %s must be a list of patterns, not %s" % (type(self).__name__, what, _shown(patterns)))
        return [_compiled(p, flags) for p in patterns]

    def _lists(self):
        return self.match, self.ignore

    def checkMatch(self, str):
        return _search(*self._lists(), str)


def _search(match, ignore, text):
    for pattern in match:
        if pattern.search(text):
            if any(i.search(text) for i in ignore):
                return False
            _log(None, CORE_POLICY, 4, "Regexp matcher match; pattern='%s', str='%s'", (pattern.pattern, text))
            return True
    return False


def _compiled(pattern, flags):
    if not isinstance(pattern, str):
        raise _Refused("%s is not a pattern" % _shown(pattern))
    try:
        return _re.compile(pattern.rstrip(), flags)
    except (_re.error, RecursionError, OverflowError) as error:
        raise _Refused("the pattern %s is not a regular expression: %s" % (_shown(pattern), error)) from None


class RegexpFileMatcher(AbstractMatcher):
    """RegexpMatcher with its patterns in files, one per line. When they change, the policy is loaded
    again; where this runs in the policy host, they are read again here."""

    def __init__(self, match_fname=None, ignore_fname=None):
        self._files = {}
        for name in (match_fname, ignore_fname):
            if name is not None and not isinstance(name, str):
                raise _Refused("RegexpFileMatcher: %s is not a file name" % _shown(name))
        self.match_file = match_fname
        self.ignore_file = ignore_fname
        for name in (match_fname, ignore_fname):
            if name is not None and not _os.path.exists(name):
                raise _Refused("RegexpFileMatcher: there is no file %s" % _shown(name))
            try:
                self._patterns(name)
            except MatcherException as error:
                raise _Refused("RegexpFileMatcher: %s" % error.detail) from None

    def _patterns(self, name):
        if name is None:
            return []
        try:
            stamp = _os.stat(name)
        except FileNotFoundError:
            _log(None, CORE_POLICY, 3, "Matcher file is missing, its last content is used; filename='%s'", name)
            return self._files.get(name, (None, []))[1]
        except OSError as error:
            raise MatcherException("%s: %s" % (name, error.strerror)) from error
        key = (stamp.st_mtime_ns, stamp.st_size, stamp.st_ino)
        if name not in self._files or self._files[name][0] != key:
            self._files[name] = (key, self._read(name))
        return self._files[name][1]

    def _read(self, name):
        """A file with a pattern that is none is refused whole: half a list would open the gate."""
        try:
            with open(name, encoding="utf-8", errors="surrogateescape") as f:
                lines = [line.rstrip() for line in f]
            return [_compiled(line, _re.IGNORECASE) for line in lines if line]
        except OSError as error:
            raise MatcherException("%s: %s" % (name, error.strerror)) from error
        except _Refused as refused:
            raise MatcherException("%s: %s" % (name, refused.message)) from None

    def _lists(self):
        ignore = self._patterns(self.ignore_file)
        return self._patterns(self.match_file), ignore

    def checkMatch(self, str):
        return _search(*self._lists(), str)


class CombineMatcher(AbstractMatcher):
    """A logical expression (operator, operand, ...); operands are matchers, policies, names or
    further expressions.

    What is an operand at several places is built, checked and compiled once: a few lines of policy
    can name it at more places than there is time for."""

    _operators = (Z_NOT, Z_AND, Z_OR, Z_XOR, Z_EQ)
    _height = None      # levels of expressions in it; None: operands are not looked up yet

    def __init__(self, expr):
        self.expr = expr
        self._tree = self._build(expr, {}, 1)

    def _build(self, expr, built, depth):
        if id(expr) not in built:
            if depth > _DEPTH_MAX:
                raise _Refused("CombineMatcher: its expression is nested more than %d deep" % _DEPTH_MAX)
            built[id(expr)] = self._build_new(expr, built, depth)
        return built[id(expr)]

    def _build_new(self, expr, built, depth):
        if not isinstance(expr, (tuple, list)) or len(expr) < 2 or expr[0] not in self._operators:
            raise _Refused("CombineMatcher: %s is not an expression" % _shown(expr),
                           "(Z_AND, 'name1', 'name2'), with Z_NOT, Z_AND, Z_OR, Z_XOR, Z_EQ or Z_NE")
        if expr[0] == Z_NOT and len(expr) != 2:
            raise _Refused("CombineMatcher: Z_NOT takes one operand, not %d" % (len(expr) - 1))
        tree = [expr[0]]
        for operand in expr[1:]:
            if isinstance(operand, (tuple, list)):
                tree.append(self._build(operand, built, depth + 1))
            elif isinstance(operand, (str, AbstractMatcher, MatcherPolicy)):
                if _is_poisoned(operand):
                    self._poisoned = True
                tree.append(operand)
            else:
                raise _Refused("CombineMatcher: %s is not a matcher" % _shown(operand))
        return tree

    def _operands(self):
        lists, seen = [self._tree], {id(self._tree)}
        for tree in lists:      # which grows meanwhile
            for operand in tree[1:]:
                if not isinstance(operand, list):
                    yield operand
                elif id(operand) not in seen:
                    seen.add(id(operand))
                    lists.append(operand)

    def _resolve(self, tree, above, resolved):
        """A tree with matchers for operands, and its height. above: the trees and matchers that it is in."""
        if id(tree) not in resolved:
            if len(above) > 2 * _DEPTH_MAX:
                raise MatcherException("CombineMatcher: nested more than %d deep" % _DEPTH_MAX)
            operands = [self._resolve_operand(o, above + [tree], resolved) for o in tree[1:]]
            resolved[id(tree)] = [tree[0]] + [o for o, _ in operands], 1 + max(height for _, height in operands)
        return resolved[id(tree)]

    def _resolve_operand(self, operand, above, resolved):
        if isinstance(operand, list):
            return self._resolve(operand, above, resolved)
        matcher = getMatcher(operand)
        if any(matcher is a for a in above):
            raise MatcherException("a CombineMatcher contains itself")
        if not isinstance(matcher, CombineMatcher):
            return matcher, 0
        matcher._validate(above)
        return matcher, matcher._height

    def _validate(self, above=()):
        if self._height is None:
            tree, height = self._resolve(self._tree, [*above, self], {})
            if height > _DEPTH_MAX:
                raise MatcherException("CombineMatcher: nested more than %d deep" % _DEPTH_MAX)
            self._tree, self._height = tree, height

    def validateMatcher(self):
        """Names are looked up now, so that a matcher may be named before it is defined."""
        self._validate()

    def checkMatch(self, str):
        return self._value(self._tree, str)

    def _value(self, tree, text):
        operator = tree[0]
        results = (self._value(o, text) if isinstance(o, list) else bool(getMatcher(o).checkMatch(text))
                   for o in tree[1:])
        if operator == Z_NOT:
            return not next(results)
        if operator == Z_AND:
            return all(results)
        if operator == Z_OR:
            return any(results)
        values = list(results)
        if operator == Z_EQ:
            return len(set(values)) == 1
        return sum(values) % 2 == 1


# What of these a policy replaces, it means to run.
_stock = {cls: cls.checkMatch for cls in (RegexpMatcher, RegexpFileMatcher, CombineMatcher)}


class DNSMatcher(AbstractMatcher):
    """True when the tested IP address is one of the hosts' current addresses."""

    _not_yet = "DNSMatcher"

    def __init__(self, hosts, server=None):
        self.hosts = [hosts] if isinstance(hosts, str) else list(hosts)
        self.server = server


class WindowsUpdateMatcher(DNSMatcher):
    """DNSMatcher for the hosts of the update service."""

    _not_yet = "WindowsUpdateMatcher"

    def __init__(self, server=None):
        super().__init__(("v5.windowsupdate.microsoft.nsatc.net", "v4.windowsupdate.microsoft.nsatc.net",
                          "update.microsoft.com.nsatc.net"), server)


class SmtpInvalidRecipientMatcher(AbstractMatcher):
    """Asks an SMTP server; true when the recipient does not exist there."""

    _not_yet = "SmtpInvalidRecipientMatcher"

    def __init__(self, server_name, server_port=25, cache_timeout=60, attempt_delivery=0,
                 force_delivery_attempt=0, sender_address="<>", bind_name=""):
        self.server_name = server_name
        self.server_port = server_port
        self.cache_timeout = cache_timeout
        self.force_delivery_attempt = force_delivery_attempt
        self.sender_address = sender_address
        self.bind_name = bind_name
