# SPDX-License-Identifier: Apache-2.0
"""The matchers of a policy document: those of the stock classes whose patterns the engine can search
for. All others stay callbacks."""

import os

from sallyport import problems, regexp
from sallyport.declare import is_poisoned
from sallyport.octets import path_to_wire, to_wire

# As the engine's ceilings (src/policy/matcher.h), with room to spare.
MATCHERS_MAX = 4000
PATTERNS_MAX = 60000
SIZE_MAX = 60 << 20
OPERANDS_MAX = 1024
DEPTH_MAX = 16

_OPERATORS = {"Z_NOT": "not", "Z_AND": "and", "Z_OR": "or", "Z_XOR": "xor", "Z_EQ": "eq"}


class NotNative(Exception):
    """This matcher runs in Python. reason: worth telling; None: it was meant so."""

    def __init__(self, reason=None):
        super().__init__(reason)
        self.reason = reason


class Natives:
    def __init__(self, at):
        self.rows = []              # "matchers" of the document
        self.needs_characters = False
        self._at = at               # place -> [file index, line]
        self._numbers = {}          # what a row says -> its number
        self._costs = []            # of each row: (depth, patterns that a test may try)
        self._seen = {}             # id of a matcher -> (it, number or None)
        self._known = {}            # id of an operand, or a list of a tree -> (it, number)
        self._patterns = 0
        self._size = 0

    def number(self, matcher, what):
        """The number of a matcher in the document; None: it is a callback. what: who uses it."""
        if id(matcher) not in self._seen:
            self._seen[id(matcher)] = (matcher, self._compiled(matcher, what))
        return self._seen[id(matcher)][1]

    def _compiled(self, matcher, what):
        from Zorp.Exceptions import MatcherException
        before = len(self.rows)
        try:
            return self._row_of(matcher)
        except NotNative as error:
            self._forget_from(before)
            if error.reason is not None:
                problems.warn("%s runs in Python, for each address: %s" % (what, error.reason),
                              "see \"Patterns\" in docs/compatibility.md", matcher._place)
            return None
        except MatcherException as error:       # a file that went bad since it was checked
            problems.report("%s: %s" % (what, error.detail), None, matcher._place)
            return None

    def _forget_from(self, number):
        """Operands of a combination that is not native after all."""
        del self.rows[number:], self._costs[number:]
        self._numbers = {key: n for key, n in self._numbers.items() if n < number}
        self._known = {key: known for key, known in self._known.items() if known[1] < number}

    def _once(self, what, compiled):
        """An operand is compiled once, at however many places it stands."""
        if id(what) not in self._known:
            self._known[id(what)] = (what, compiled(what))
        return self._known[id(what)][1]

    def _row_of(self, matcher):
        from Zorp import Matcher
        cls = type(matcher)
        if cls.checkMatch is not Matcher._stock.get(cls) or "checkMatch" in vars(matcher):
            raise NotNative()       # the policy's own
        if cls is Matcher.CombineMatcher:
            return self._combination(matcher._tree, matcher._place)
        match, ignore = matcher._lists()
        row = {"match": [self._pattern(p) for p in match], "ignore": [self._pattern(p) for p in ignore]}
        if cls is Matcher.RegexpFileMatcher:
            row["files"] = [path_to_wire(os.path.abspath(f)) for f in (matcher.match_file, matcher.ignore_file) if f is not None]
        return self._add(row, matcher._place, 1, 1 + len(match) + len(ignore))

    def _pattern(self, pattern):
        try:
            native = regexp.translate(pattern)
            source = to_wire(pattern.pattern)
        except regexp.Outside as error:
            raise NotNative("the pattern %s has %s" % (problems.shown(pattern.pattern), error)) from None
        except UnicodeEncodeError:
            raise NotNative("the pattern %s has a lone surrogate" % problems.shown(pattern.pattern)) from None
        self._patterns += 1
        self._size += native.size
        if self._patterns > PATTERNS_MAX or self._size > SIZE_MAX or len(source) > regexp.TEXT_MAX:
            raise NotNative("there are too many patterns, or too large ones")
        self.needs_characters = self.needs_characters or native.needs_characters
        return [source, native.text]

    def _combination(self, tree, place):
        """tree: [operator, operand, ...], operands resolved."""
        operands = [self._once(o, lambda o: self._combination(o, place)) if isinstance(o, list) else self._operand(o)
                    for o in tree[1:]]
        if len(operands) > OPERANDS_MAX:
            raise NotNative("CombineMatcher has more than %d operands" % OPERANDS_MAX)
        depth = 1 + max(self._costs[o][0] for o in operands)
        tries = 1 + sum(self._costs[o][1] for o in operands)
        if depth > DEPTH_MAX or tries > PATTERNS_MAX:
            raise NotNative("CombineMatcher is nested too deeply, or has too many patterns")
        return self._add({"operator": _OPERATORS[tree[0]], "operands": operands}, place, depth, tries)

    def _operand(self, operand):
        from Zorp.Matcher import getMatcher
        if is_poisoned(operand):
            raise NotNative()
        return self._once(getMatcher(operand), self._row_of)

    def _add(self, row, place, depth, tries):
        key = repr(row)
        if key not in self._numbers:
            if len(self.rows) == MATCHERS_MAX:
                raise NotNative("there are more than %d matchers" % MATCHERS_MAX)
            self._numbers[key] = len(self.rows)
            self.rows.append(dict(row, at=self._at(place)))
            self._costs.append((depth, tries))
        return self._numbers[key]
