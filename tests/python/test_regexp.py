# SPDX-License-Identifier: Apache-2.0
"""Patterns that run in the engine mean there what they mean in Python: each is asked both ways. The
engine's side is matcher_tool.c, the real document reader and the real matchers."""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest
import warnings

import policy_support  # noqa: F401  (finds the packages)
from sallyport import matchers, problems, regexp
from Zorp.Matcher import CombineMatcher, RegexpFileMatcher, RegexpMatcher

warnings.simplefilter("ignore")
TOOL = os.environ["MATCHER_TOOL"]

# Expressions that policies have been seen to use, and whatever the two languages spell or mean
# differently.
PATTERNS = r"""
a abc ^abc abc$ ^abc$ \Aabc\Z ^$ ^ $ . .. ^.$ ^..$ ^...$ a.c a\.c .*a .*a.* ^.*$ ^.+$ a* a+ a? ^a*$ ^a+$ ^a?$
a{2} a{2,} a{2,3} a{,2} ^a{2}$ ^a{2,}$ ^a{,2}$ ^a{2,3}?$ a*? a+? a?? a{2,3}? (?:ab)+ (ab)+ ^(?:ab){2}$ (a|b)+c (a|)b ^(|a)$
[abc] [^abc] [a-c] [^a-c] [-a] [a-] []a] [^]a] [\]a] [\\] [a\-c] [.] [$^] [^^] [\d] [\D] [\w] [\W] [\s] [\S] [\d.] [^\d.] [\w-] [^\w\s]
[^\s\S] [\s\S] [\w\W] \d \D \w \W \s \S ^\d+$ ^\w+$ ^\s+$ ^\D+$ ^\W+$ ^\S+$ \d{3} \w+@\w+ ^[\w.+-]+@[\w.-]+$
\bspam\b \bspam spam\b \b ^\b \b$ a\b. .\ba foo\b|bar\b
(?i)abc (?i)ABC (?i)k (?i)s (?i)i (?i)[k] (?i)[s] (?i)[i] (?i)[^k] (?i)[^s] (?i)[^i] (?i)[a-z] (?i)[^a-z] (?i)[j-l] (?i)[h-j] (?i)[A-Z]+$ (?i)\w (?i)\W
(?i:a)b a(?i:B)c (?-i:a)b (?s:.)+$ (?s).. (?m)^b (?m)a$ (?m)^$ (?m)^a$ (?sm)^.*$ (?a)\w (?a)\W (?a)\d (?a)\s (?a)\S (?a)\bspam (?ai)k (?ai)s (?ai)\w
(?x)a(?#comment)b a(?#comment)b (?=a)b (?=a). (?!a). (?<=a)b (?<!a)b (?<=ab)c (?<!ab)c (?<=[ab]c)d (?<!^)a (?<=^)a a(?=\d) a(?!\d) (?=.*\d)(?=.*[a-z])
(?<=\d)a (?<!\w)a (?<=@)example\.com$ ^(?!.*@example\.com$) @(?!example\.com)
@example\.com$ ^.*@.*\.example\.com$ ^[^@]+@([a-z0-9-]+\.)+example\.com$ ^(postmaster|abuse)@ \.(ru|cn)$ ^(root|admin|www)(-[a-z]+)?@ ^[0-9]+@ ^[^@]{3}@ ^.{3}@ @.{3}\.
^<>$ .*%.*@ ! @.*@ ^"[^"]*"@ [\x00-\x1f] \x41 \u0041 \101 \n \t \r\n [\n] \0 [^\x00-\x7f] [\x20-\x7e]
a|b|c ab|ac|ad abc|abd ^a|b$ ^(a|b)$ (a(b(c)?)?)?d ((a|b)(c|d))+ (a|aa)+$ (a+)+$ ([a-z]+\.)*[a-z]+$
a{0} a{0}b ^(?:a?){1}$ (?:a?)?b (?:a*)?b \Z \A$ \A\Z x*$ ^x*
\@ \- \_ \% \# \& \~ / = \{ \} { } a{ a{b a{1 a{1,b \[ \] \( \) \| \* \+ \? \. \^ \$
@b$|^a [a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,} ^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*)@
""".split() + ["", " ", "a b", "a $", "(?x) a b # words", "(?x)[ ]", "(?x)a\\ b", "[ab ]+$", "a|", "|a", "()", "()a", "(?:)"]

# What must stay with Python, and what is said of it.
OUTSIDE = [
    (r"(a)\1", "backreference"), (r"(?P<x>a)(?P=x)", "backreference"), (r"(a)?(?(1)b|c)", "condition"),
    (r"\Ba", "non boundary"), ("ä", "beyond ASCII"), ("[ä]", "beyond ASCII"), ("[a-ä]", "beyond ASCII"), ("[^ä]", "beyond ASCII"),
    (r"\u2028", "beyond ASCII"), (r"(?:a*)*", "can be empty"), (r"(?:a|)+", "can be empty"), (r"(?:a*)+?", "can be empty"),
    (r"(?:(?=a))*", "can be empty"), ("a{1001}", "repetitions"), ("(?:ab){1,1001}", "repetitions"),
    ("(?:[a-z]{1,9}@){900}", "hold"), ("(?:(?:abc){100}d){100}", "hold"), ("x" * 9000, "hold"), ("(" * 41 + "a" + ")" * 41, "nested"),
]
if sys.version_info >= (3, 11):
    OUTSIDE += [(r"(?>a+)b", "atomic"), (r"a++b", "possessive")]

TEXTS = [
    "", "a", "b", "A", "ab", "abc", "ABC", "aBc", "xabcx", "aa", "aaa", "aab", "abab", "ac", "a.c", "a\nc", "a\n", "\n", "\na", "a\nb\nc",
    "a\n\n", "abc\n", "abc\n\n", "b\na", " ", "a b", "a  b", "\t", "\r\n", "a1", "1", "123", "12a", "a-c", "]", "\\", "^", "$", "-", ".", "_", "{", "a{1,b",
    "spam", "spam!", "xspam", "spamx", "spam@b.example", "SPAM@B.EXAMPLE", "user@example.com", "USER@EXAMPLE.COM", "user@sub.example.com",
    "user@example.com\n", "user@example.comx", "a.b+c@d-e.example", "abc@x.ru", "postmaster@example.org", '"a b"@c.example', "a%b@c", "a!b",
    "k", "K", "s", "S", "i", "I", "j", "h", "\u212a", "\u017f", "\u0130", "\u0131", "\u0133", "\u2126", "\u00e9", "\u00c9", "\u00e4@b.example",
    "\u00e4\u00f6\u00fc@b.example", "abc@\u00e4\u00f6\u00fc.example", "\u00aa", "\u00b2", "\u0660", "1\u0660", "\u00a0", "\u2028", "\u0085", "\x1c", "\x1f",
    "\x00", "\x7f", "\x80", "\u20ac", "\u4e2d\u6587", "\U0001f600", "\U0001d7d8", "a\U0001f600c", "\udcff", "a\udcffc", "\udce4", "\udce4\udcb8", "spam\u00e9", "spam\u00d7",
    "\u00e9spam", "a\u0301", "\u02b0", "\u2160", "\u3007", "\u0345", "xxxxxxy", "a" * 20, "ab" * 20, "a" * 12 + "b", "1" * 200 + "@example.com",
    "cd", "acd", "bcd", "abcd", "abd", "b.example", "d", "ad", "<>", "a@b@c", "a\\c", "a#b", "ok", "A\n", "K\n", "aK", "e", "\x1b", "xX", "foo bar", "foobar",
]


def python_says(pattern, text):
    return pattern.search(text) is not None


class Engine:
    """Documents and what the engine says of them."""

    def __init__(self):
        self.natives = matchers.Natives(lambda place: [0, 1])

    def number(self, matcher):
        return self.natives.number(matcher, "it")

    def ask(self, texts):
        """For each text: {number: True, False or None}."""
        document = {"format": "sallyport-policy", "version": 1, "files": ["p"], "instances": ["i"], "zones": [], "configs": [],
                    "services": [], "rules": [], "callbacks": 0, "matchers": self.natives.rows, "characters": regexp.characters()}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(document, file)
            file.flush()
            lines = "".join(t.encode("utf-8", "surrogateescape").hex() + "\n" for t in texts)
            ran = subprocess.run([TOOL, file.name], input=lines, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return [[{"y": True, "n": False, "?": None}[c] for c in line] for line in ran.stdout.splitlines()]


def random_pattern(dice, depth=0):
    """An expression of what may be native, and a bit more."""
    atoms = ["a", "b", "k", "i", ".", r"\.", "@", "[ab]", "[^a@]", "[j-l]", r"\w", r"\d", r"[\w.-]", r"\s", r"\W", "1", "\\n", "[^\\n]", "(?i:k)", "(?s:.)"]
    parts = []
    for _ in range(dice.randint(1, 4)):
        kind = dice.random()
        if kind < 0.12 and depth < 3:
            part = "(%s)" % "|".join(random_pattern(dice, depth + 1) for _ in range(dice.randint(1, 3)))
        elif kind < 0.2 and depth < 3:
            part = dice.choice(("(?:%s)", "(?=%s)", "(?!%s)", "(?i:%s)")) % random_pattern(dice, depth + 1)
        elif kind < 0.25:
            part = dice.choice(("(?<=%s)", "(?<!%s)")) % "".join(dice.choice(atoms) for _ in range(dice.randint(1, 2)))
        elif kind < 0.33:
            parts.append(dice.choice(("^", "$", r"\b", r"\A", r"\Z")))
            continue
        else:
            part = dice.choice(atoms)
        parts.append(part + dice.choice(("", "", "", "*", "+", "?", "{2}", "{1,2}", "{2,}", "*?", "+?", "??")))
    return "".join(parts)


def random_text(dice):
    return "".join(dice.choice("aabbkKiI1@. \n_-\u00e9\u0660\u00a0\u212a\u0130\u0131\u20ac\udcc3") for _ in range(dice.randint(0, 12)))


class Patterns(unittest.TestCase):
    def compare(self, patterns, texts):
        engine, asked = Engine(), []
        for pattern in patterns:
            matcher = RegexpMatcher([])
            matcher.match = [pattern]
            number = engine.number(matcher)
            if number is not None:
                asked.append((pattern, number))
        wrong = []
        for text, answers in zip(texts, engine.ask(texts)):
            for pattern, number in asked:
                if answers[number] is not python_says(pattern, text):
                    wrong.append((pattern.pattern, pattern.flags, text, answers[number]))
        self.assertEqual(wrong[:10], [])
        return len(asked)

    def test_listed_patterns_and_texts(self):
        patterns = [re.compile(p, f) for p in PATTERNS for f in (0, re.IGNORECASE, re.MULTILINE, re.ASCII | re.IGNORECASE)
                    if not (f & re.ASCII and "(?i:" in p)]
        self.assertEqual(self.compare(patterns, TEXTS), len(patterns))

    def test_random_patterns_and_texts(self):
        dice = random.Random(20)
        patterns = []
        while len(patterns) < 1500:
            try:
                patterns.append(re.compile(random_pattern(dice), dice.choice((0, re.IGNORECASE, re.MULTILINE, re.DOTALL))))
            except re.error:
                continue
        texts = [random_text(dice) for _ in range(60)] + TEXTS[:30]
        self.assertGreater(self.compare(patterns, texts), 1000)

    def test_texts_that_are_not_utf8(self):
        """Truncated at each octet, and other octets: each that is none of UTF-8 is a character."""
        whole = "a\u00e9\u20ac\U0001f600b".encode()
        octets = [whole[:n] + rest for n in range(len(whole)) for rest in (b"", b"a", b"\xff", b"\xc3")]
        octets += [b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3(", b"\xe2(\xa1",
                   b"\xe2\x82(", b"\xf0(\x8c\xbc", b"\xf0\x90(\xbc", b"\x80\x80", b"\xfe\xff"]
        patterns = [re.compile(p % n) for p in ("^.{%d}$", r"^\w{%d}", r"^[^a]{%d}a", r"\W{%d}") for n in range(8)]
        self.compare(patterns, [o.decode("utf-8", "surrogateescape") for o in octets])

    def test_all_characters(self):
        """What one-character patterns say of every character there is: the kinds are enough."""
        everything = [chr(c) for c in range(0x110000) if not 0xd800 <= c < 0xdc80 and not 0xdcff < c <= 0xdfff]
        kinds = {c: kind for first, last, kind in regexp.characters() for c in range(first, last + 1)}
        special = {0x130: 4, 0x131: 5, 0x17f: 6, 0x212a: 7}
        groups = {}
        for c in everything:
            symbol = ord(c) if ord(c) < 0x80 else 0x80 + special.get(ord(c), kinds.get(ord(c), 0))
            groups.setdefault(symbol, []).append(c)
        groups = {symbol: "".join(group) for symbol, group in groups.items()}
        for expression in (".", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", "a", "[^a]", "k", "s", "i", "[^k]", "[j-l]", "[^i-s]", r"[\d.]", r"[^\w\s]"):
            for flags in (0, re.IGNORECASE, re.ASCII, re.ASCII | re.IGNORECASE):
                pattern = re.compile(expression, flags)
                (op, argument), = regexp._parser.parse(expression, pattern.flags)
                if isinstance(argument, list):
                    argument = tuple(argument)
                accepted = regexp._symbols(op, argument, pattern.flags & regexp._SEEN_BY_ONE)
                for symbol, group in groups.items():
                    if symbol in accepted:
                        self.assertTrue(re.fullmatch("(?:%s)*" % expression, group, flags), (expression, flags, symbol))
                    else:
                        self.assertIsNone(pattern.search(group), (expression, flags, symbol))

    def test_outside(self):
        for pattern, why in OUTSIDE:
            with self.subTest(pattern[:40]), self.assertRaisesRegex(regexp.Outside, why):
                regexp.translate(re.compile(pattern))

    def test_spelling(self):
        for pattern, flags, text in ((r"^a\.b$", 0, r"\Aa\.b\Z"), (r"a\Z", 0, r"a\z"), ("spam", re.I, r"(?i)[Ss\x86]pam"), ("x y", 0, r"x\x20y"),
                                     ("x", re.I, "(?i)x"), ("[^@]+", re.I, r"[^@]+"), (".", 0, "."), ("(?i:a)a", 0, "(?:[Aa])a"), ("a{3}", 0, "a{3}")):
            self.assertEqual(regexp.translate(re.compile(pattern, flags)).text, text)

    def test_characters_only_where_they_count(self):
        for pattern, needs in (("a.c", False), ("[^@]+", False), (r"\d", True), (r"\w+", True), (r"(?a)\w", False), (r"\b", True), (r"[\w\W]", False)):
            self.assertIs(regexp.translate(re.compile(pattern)).needs_characters, needs, pattern)


class Matchers(unittest.TestCase):
    def test_lists_and_combinations(self):
        t, f = RegexpMatcher(["."]), RegexpMatcher([])
        listed = RegexpMatcher(["^a.c", "X  "], ["bad"])
        made = [listed, RegexpMatcher(["a"], ignore_case=0), RegexpMatcher(["^ok$"], [""])]
        for expression in (("Z_AND", t, f), ("Z_AND", t, t), ("Z_OR", f, t), ("Z_OR", f, f), ("Z_NOT", t), ("Z_NOT", f), ("Z_XOR", t, t, t), ("Z_XOR", t, t),
                           ("Z_EQ", f, t), ("Z_EQ", t, f), ("Z_EQ", f, f), ("Z_EQ", t, t, t), ("Z_EQ", f), ("Z_AND", t, ("Z_NOT", ["Z_AND", f, t])),
                           ("Z_OR", listed, ("Z_NOT", listed))):
            made.append(CombineMatcher(expression))
        engine = Engine()
        numbers = [engine.number(m) for m in made]
        self.assertNotIn(None, numbers)
        texts = ["x", "", "abc", "ABC", "yabc", "a x", "abc bad", "ok", "A"]
        for text, answers in zip(texts, engine.ask(texts)):
            self.assertEqual([answers[n] for n in numbers], [bool(m.checkMatch(text)) for m in made], text)

    def test_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "list")
            path.write_bytes(b"first\n\n  \nsecond  \r\n")
            engine = Engine()
            engine.number(RegexpFileMatcher(str(path)))
            self.assertEqual(engine.ask(["FIRST", "a second one", "third"]), [[True], [True], [False]])

    def test_the_same_is_there_once(self):
        engine = Engine()
        self.assertEqual([engine.number(RegexpMatcher(["a"])), engine.number(RegexpMatcher(["a"])), engine.number(RegexpMatcher(["b"]))], [0, 0, 1])

    def test_what_stays_in_python(self):
        class Own(RegexpMatcher):
            pass

        class Other(RegexpMatcher):
            def checkMatch(self, str):
                return True

        engine = Engine()
        patched = RegexpMatcher(["a"])
        patched.checkMatch = lambda text: True
        for matcher in (Own(["a"]), Other(["a"]), patched, RegexpMatcher(["ä"]), CombineMatcher(("Z_AND", RegexpMatcher(["x"]), Own(["a"]))),
                        CombineMatcher(("Z_NOT", ("Z_OR", RegexpMatcher(["y"]), RegexpMatcher([r"(a)\1"]))))):
            self.assertIsNone(engine.number(matcher))
        self.assertEqual(engine.natives.rows, [])

    def test_patterns_that_explode_have_no_answer(self):
        engine = Engine()
        for pattern in ("^(a+)+$", "(x+x+)+y", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a|aa)+$", "(?:[a-z]+)*@@"):
            engine.number(RegexpMatcher([pattern], ignore_case=0))
        engine.number(CombineMatcher(("Z_NOT", RegexpMatcher(["^(a+)+$"], ignore_case=0))))
        engine.number(RegexpMatcher(["a"], ["^(a+)+$"], ignore_case=0))
        engine.number(RegexpMatcher(["b", "^(a+)+$", "a"], ignore_case=0))
        answers = engine.ask(["a" * 64 + "!", "x" * 64 + "!y", "b" + "a" * 5000 + "!"])
        self.assertEqual([answers[0][0], answers[1][1], answers[0][2]], [None, None, None])
        self.assertEqual(answers[0][5:], [None, None, None])
        self.assertIs(answers[2][0], False)

    def test_long_texts(self):
        """Deep repetitions, beyond the stack of the machine code; and over the limit of a text."""
        engine = Engine()
        numbers = [engine.number(RegexpMatcher([p])) for p in ("^(?:a|b)*$", "^(?:ab?)+c", "c$")]
        texts = ["ab" * 4000, "ab" * 4000 + "c", "a" * 65536, "a" * 65537]
        answers = engine.ask(texts)
        self.assertEqual(answers[0][:3], [True, False, False])
        self.assertEqual([answers[1][numbers[1]], answers[1][numbers[2]]], [True, True])
        self.assertEqual(answers[2][numbers[2]], False)
        self.assertEqual(answers[3], [None, None, None])


if __name__ == "__main__":
    problems.start(problems.Problems())
    unittest.main()
