# SPDX-License-Identifier: Apache-2.0
"""Which patterns of Python's re run in the engine, and how they are written for it.

The engine searches with PCRE2, whose language and characters differ from Python's. So a pattern is
not handed over as it is: it is taken apart by re's own parser and written anew in a small dialect
(docs/policy-document.md) that has no character classes by name, no flags of Unicode, no groups that
remember. What a part of a pattern that stands for one character accepts is found out by asking re,
for each character that patterns can tell apart; so case, \\w and all the rest mean what they mean
in this Python. What the dialect lacks stays with Python.
"""

import functools
import re
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        from re import _compiler, _parser       # since Python 3.11
    except ImportError:
        import sre_compile as _compiler
        import sre_parse as _parser

REPEAT_MAX = 1000
DEPTH_MAX = 40
TEXT_MAX = 8192         # as the engine's MATCHER_PATTERN_OCTETS
COMPILED_MAX = 48000    # of PCRE2's 65536, by a generous estimate

# The engine's enum matcher_symbol: what is beyond ASCII is one octet from 0x80, by what patterns can
# see of it. One character of each kind, in the order of the octets: another, a letter, a digit, a
# space; and those that equal an ASCII letter where case does not count.
_SAMPLES = "\u00d7\u00aa\u0660\u00a0\u0130\u0131\u017f\u212a"
_ALPHABET = "".join(map(chr, range(128))) + _SAMPLES
_SYMBOLS = {character: symbol for symbol, character in enumerate(_ALPHABET)}
_ALL = frozenset(_SYMBOLS.values())
_NEWLINE = frozenset((10,))
_KINDS = (0x80, 0x81, 0x82, 0x83)
_WORD, _DIGIT, _SPACE = 1, 2, 3
_ASSIGNED_END = 0x40000     # Unicode has no letter, digit or space from here on

# What is left out, as messages name it. \B has had two meanings for the empty text.
_NAMES = {"GROUPREF": "a backreference", "GROUPREF_EXISTS": "a condition", "ATOMIC_GROUP": "an atomic group",
          "POSSESSIVE_REPEAT": "a possessive repetition", "AT_NON_BOUNDARY": "\\B, a non boundary"}

_TYPES = re.ASCII | re.LOCALE | re.UNICODE
_SEEN_BY_ONE = re.IGNORECASE | re.DOTALL | re.ASCII | re.UNICODE


class Outside(Exception):
    """The pattern has something that the dialect can't say. The text names it."""


class Native:
    """A pattern in the dialect."""

    __slots__ = ("text", "needs_characters", "size")

    def __init__(self, text, needs_characters, size):
        self.text = text
        self.needs_characters = needs_characters    # it tells letters, digits or spaces beyond ASCII
        self.size = size                            # octets that it takes compiled, at most


def translate(pattern):
    """The Native of a compiled pattern of str, or Outside."""
    if pattern.flags & (re.LOCALE | re.DEBUG):
        raise Outside("the flag LOCALE or DEBUG")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = _parser.parse(pattern.pattern, pattern.flags)
    pieces, size = _Translation().sequence(parsed, pattern.flags, 0)
    sets = {p for p in pieces if not isinstance(p, str)}
    folds = any(_is_letter_of_both_cases(s) for s in sets) and all(map(_is_closed, sets))
    text = ("(?i)" if folds else "") + "".join(p if isinstance(p, str) else _set_text(p, folds) for p in pieces)
    if len(text) > TEXT_MAX or size > COMPILED_MAX:
        raise Outside("more than the engine can hold")
    return Native(text, any(len({k in s for k in _KINDS}) > 1 for s in sets), size)


class _Translation:
    """Walks a parsed pattern. Each part becomes a list of pieces (dialect, or a set of symbols for
    one character) and an estimate of what it takes compiled."""

    def sequence(self, parsed, flags, depth):
        if depth > DEPTH_MAX:
            raise Outside("nested too deeply")
        pieces, size = [], 0
        for op, argument in parsed:
            handler = self._HANDLERS.get(op)
            if handler is None:
                raise Outside(_NAMES.get(str(op), str(op)))
            more, taken = handler(self, op, argument, flags, depth)
            pieces += more
            size += taken
        if size > COMPILED_MAX:
            raise Outside("more than the engine can hold")
        return pieces, size

    def one(self, op, argument, flags, depth):
        """A part that stands for one character."""
        if isinstance(argument, list):
            argument = tuple(argument)
        symbols = _symbols(op, argument, int(flags) & _SEEN_BY_ONE)
        return [symbols], 40

    def branch(self, op, argument, flags, depth):
        pieces, size = ["(?:"], 20
        for number, alternative in enumerate(argument[1]):
            more, taken = self.sequence(alternative, flags, depth + 1)
            pieces += (["|"] if number else []) + more
            size += taken + 10
        return pieces + [")"], size

    def group(self, op, argument, flags, depth):
        _, added, removed, parsed = argument
        if added & _TYPES:
            flags &= ~_TYPES
        pieces, size = self.sequence(parsed, (flags | added) & ~removed, depth + 1)
        return ["(?:"] + pieces + [")"], size + 20

    def repeat(self, op, argument, flags, depth):
        low, high, parsed = argument
        forever = high == _parser.MAXREPEAT
        if low > REPEAT_MAX or (not forever and high > REPEAT_MAX):
            raise Outside("more than %d repetitions" % REPEAT_MAX)
        if parsed.getwidth()[0] == 0 and high != 1:
            # Where an empty round ends the repetition the two disagree.
            raise Outside("a repetition of what can be empty")
        pieces, size = self.sequence(parsed, flags, depth + 1)
        if len(parsed) != 1 or parsed[0][0] not in (*self._ONE, _parser.SUBPATTERN, _parser.BRANCH):
            pieces = ["(?:"] + pieces + [")"]
        times = {(0, True): "*", (1, True): "+"}.get((low, forever))
        if (low, high) == (0, 1):
            times = "?"
        elif times is None:
            times = "{%d,%s}" % (low, "" if forever else high) if low != high else "{%d}" % low
        lazy = "?" if op is _parser.MIN_REPEAT else ""
        copies = 1 if len(pieces) == 1 else low + 1 if forever else max(high, 1)
        return pieces + [times + lazy], (size + 30) * copies

    def look(self, op, argument, flags, depth):
        direction, parsed = argument
        sign = "=" if op is _parser.ASSERT else "!"
        pieces, size = self.sequence(parsed, flags, depth + 1)
        return ["(?" + ("<" if direction < 0 else "") + sign] + pieces + [")"], size + 30

    def never(self, op, argument, flags, depth):
        return ["(?!)"], 10

    def at(self, op, where, flags, depth):
        if where is _parser.AT_BEGINNING_STRING or (where is _parser.AT_BEGINNING and not flags & re.MULTILINE):
            return ["\\A"], 4
        if where is _parser.AT_BEGINNING:
            return ["(?<!", _ALL - _NEWLINE, ")"], 80
        if where is _parser.AT_END_STRING:
            return ["\\z"], 4
        if where is _parser.AT_END:
            return (["(?!", _ALL - _NEWLINE, ")"], 80) if flags & re.MULTILINE else (["\\Z"], 4)
        if where is _parser.AT_BOUNDARY:
            word = _symbols(_parser.IN, ((_parser.CATEGORY, _parser.CATEGORY_WORD),),
                            int(flags) & (re.ASCII | re.UNICODE))
            return ["(?:(?<=", word, ")(?!", word, ")|(?<!", word, ")(?=", word, "))"], 300
        raise Outside(_NAMES.get(str(where), str(where)))

    _ONE = (_parser.LITERAL, _parser.NOT_LITERAL, _parser.ANY, _parser.IN)
    _HANDLERS = dict.fromkeys(_ONE, one)
    _HANDLERS.update({
        _parser.BRANCH: branch, _parser.SUBPATTERN: group, _parser.MAX_REPEAT: repeat, _parser.MIN_REPEAT: repeat,
        _parser.ASSERT: look, _parser.ASSERT_NOT: look, _parser.FAILURE: never, _parser.AT: at,
    })


@functools.lru_cache(maxsize=65536)
def _symbols(op, argument, flags):
    """What a part for one character accepts, as re has it: a set of symbols."""
    _want_ascii(op, argument)
    state = _parser.State()
    state.flags = flags
    node = (op, list(argument) if isinstance(argument, tuple) else argument)
    accepts = _compiler.compile(_parser.SubPattern(state, [node]), flags)
    return frozenset(_SYMBOLS[c] for c in accepts.findall(_ALPHABET))


def _want_ascii(op, argument):
    """Characters beyond ASCII are told apart only by their kind: none may be named."""
    highest = 0
    if op in (_parser.LITERAL, _parser.NOT_LITERAL):
        highest = argument
    elif op is _parser.IN:
        for kind, value in argument:
            if kind is _parser.LITERAL:
                highest = max(highest, value)
            elif kind is _parser.RANGE:
                highest = max(highest, value[1])
    if highest > 127:
        raise Outside("a character beyond ASCII")


def _is_letter_of_both_cases(symbols):
    return len(symbols) == 2 and len({chr(s).lower() for s in symbols}) == 1 and max(symbols) < 128


def _is_closed(symbols):
    """Where a letter is, its other case is, too."""
    return all((s in symbols) == (s + 32 in symbols) for s in range(ord("A"), ord("Z") + 1))


def _set_text(symbols, folds):
    if len(symbols) == 1 or (folds and _is_letter_of_both_cases(symbols)):
        return _symbol_text(max(symbols))
    if symbols == _ALL - _NEWLINE:
        return "."
    if not symbols:
        return "(?!)"
    inside, outside = _ranges(symbols), _ranges(_ALL - symbols)
    if outside and len(outside) < len(inside):
        return "[^" + _ranges_text(outside) + "]"
    return "[" + _ranges_text(inside) + "]"


def _ranges(symbols):
    found = []
    for symbol in sorted(symbols):
        if found and found[-1][1] == symbol - 1:
            found[-1][1] = symbol
        else:
            found.append([symbol, symbol])
    return found


def _ranges_text(found):
    return "".join(_symbol_text(a) if a == b else _symbol_text(a) + "-" + _symbol_text(b) for a, b in found)


def _symbol_text(symbol):
    character = chr(symbol)
    if character.isascii() and (character.isalnum() or character in "_@"):
        return character
    if 0x20 < symbol < 0x7f:
        return "\\" + character
    return "\\x%02x" % symbol


@functools.lru_cache(maxsize=1)
def characters():
    """The document's "characters": [first, last, kind] of all letters, digits and spaces beyond ASCII."""
    beyond = "".join(map(chr, range(0x80, 0xd800))) + "".join(map(chr, range(0xe000, _ASSIGNED_END)))
    rows = []
    for expression, kind in ((r"[^\W\d]", _WORD), (r"\d", _DIGIT), (r"\s", _SPACE)):
        for found in re.compile(expression + "+").finditer(beyond):
            first, last = ord(found[0][0]), ord(found[0][-1])
            rows.append([first, last, kind])
    return sorted(rows)
