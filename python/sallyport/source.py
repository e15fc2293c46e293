# SPDX-License-Identifier: Apache-2.0
"""A policy's source text: which attributes it reads, what its classes assign, and spellings of
Python 2 that Python 3 does not take."""

import ast
import re

# (pattern in a line without strings and comments, what it is, what to write instead)
_PYTHON2 = (
    (re.compile(r"^\s*print\s+[^=\s(]|^\s*print\s*$|^\s*print\s*>>|^\s*print\s+\("), "the print statement", "write print(...)"),
    (re.compile(r"^\s*raise\s+[\w.]+\s*,"), "raise with a comma", "write raise Class(\"text\")"),
    (re.compile(r"^\s*except\s+[\w.(), ]+?,\s*\w+\s*:"), "except with a comma", "write except Class as name:"),
    (re.compile(r"^\s*exec\s+[^(=\s]"), "the exec statement", "write exec(...)"),
    (re.compile(r"(?<![\w.])0[0-7]+(?![\w.])"), "an octal number with a leading zero", "write 0o before the digits"),
    (re.compile(r"(?<![\w.])(0[xX][0-9a-fA-F]+|\d+)[lL]\b"), "a long integer", "leave the L out"),
    (re.compile(r"`"), "backticks", "write repr(...)"),
    (re.compile(r"<>"), "the operator <>", "write !="),
    (re.compile(r"\b[uU][rR](?=[\"'])"), "the string prefix ur", "write r"),
)
_STRING = re.compile(r"([rRbBuU]{0,2})(\"\"\"|'''|\"|')")

_NAMES = {"unicode": "str", "basestring": "str", "long": "int", "xrange": "range", "raw_input": "input",
          "unichr": "chr", "file": "open", "execfile": "exec(open(...).read())", "reduce": "functools.reduce",
          "cmp": "(a > b) - (a < b)", "apply": "function(*args)"}
_METHODS = {"has_key": "write key in dictionary", "iteritems": "write items()", "iterkeys": "write keys()",
            "itervalues": "write values()"}
_MODULES = {"ConfigParser": "configparser", "Queue": "queue", "urllib2": "urllib.request", "urlparse": "urllib.parse",
            "StringIO": "io", "cPickle": "pickle", "commands": "subprocess", "sets": "the type set",
            "new": "types", "httplib": "http.client", "thread": "_thread"}


def _without_text(lines):
    """Lines with the contents of strings and the comments blanked out; roughly right is enough."""
    blanked = []
    closing = None
    for line in lines:
        out = []
        at = 0
        while at < len(line):
            if closing is not None:
                end = line.find(closing, at)
                while len(closing) == 1 and end > 0 and line[end - 1] == "\\":
                    end = line.find(closing, end + 1)
                if end < 0:
                    at = len(line)
                    if len(closing) == 1:
                        closing = None
                    break
                out.append(closing)
                at = end + len(closing)
                closing = None
                continue
            if line[at] == "#":
                break
            quote = _STRING.match(line, at)
            if quote:
                out.append(quote.group(0))
                closing = quote.group(2)
                at = quote.end()
                continue
            out.append(line[at])
            at += 1
        blanked.append("".join(out))
    return blanked


def python2_lines(text):
    """[(line number, what, remedy)] of Python 2 spellings."""
    found = []
    for number, line in enumerate(_without_text(text.splitlines()), 1):
        for pattern, what, remedy in _PYTHON2:
            if pattern.search(line):
                found.append((number, what, remedy))
                break
    return found


def python2_hint(error):
    """A remedy if a run-time error comes from a habit of Python 2; or None."""
    text = str(error)
    quoted = re.findall(r"'([^']*)'", text)
    if isinstance(error, NameError) and quoted and quoted[0] in _NAMES:
        return "this is Python 3: write %s" % _NAMES[quoted[0]]
    if isinstance(error, AttributeError) and quoted and quoted[-1] in _METHODS:
        return "this is Python 3: %s" % _METHODS[quoted[-1]]
    if isinstance(error, ImportError) and quoted and quoted[0] in _MODULES:
        return "this is Python 3: it is %s now" % _MODULES[quoted[0]]
    return None


class Source:
    """One policy file."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self._tree = None

    def tree(self):
        if self._tree is None:
            self._tree = ast.parse(self.text, self.path)
        return self._tree

    def attributes_read(self):
        """Every name that is read as an attribute, or named in getattr() and its like."""
        names = set()
        for node in ast.walk(self.tree()):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
                names.add(node.target.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("getattr", "hasattr") and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                    names.add(node.args[1].value)
        return names

    def attributes_assigned(self, line):
        """[(name, line number)] of self.name = ... in the methods of the class that stands at line."""
        found = []
        for node in ast.walk(self.tree()):
            if isinstance(node, ast.ClassDef) and node.lineno <= line <= node.body[0].lineno and _begins(node, line):
                for method in node.body:
                    if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) and method.args.args:
                        found += _assigned_in(method, method.args.args[0].arg)
        return found


def _begins(node, line):
    first = min([node.lineno] + [d.lineno for d in node.decorator_list])
    return first <= line


def _assigned_in(method, me):
    found = []
    for node in ast.walk(method):
        if (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name) and node.value.id == me):
            found.append((node.attr, node.lineno))
    return found
