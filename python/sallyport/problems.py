# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a policy, and where in the policy's own code.

A declaration that can't be meant so does not stop the load: it is reported with the place in
policy code, and the load goes on to find the rest. Outside of a load (in a callback of a running
session) the same mistake is a ValueError for the policy code that made it.
"""

import os
import sys
from bisect import bisect_right

ERROR = "error"
WARNING = "warning"
KEPT_MAX = 200


class Refused(ValueError):
    """A declaration said no. DeclarationMeta turns it into a problem while a policy loads."""

    def __init__(self, message, hint=None):
        super().__init__(message if hint is None else "%s (%s)" % (message, hint))
        self.message = message
        self.hint = hint


class Problems:
    """The problems of one load, in the order they were found, each once."""

    def __init__(self):
        self.items = []
        self.errors = 0
        self.left_out = 0
        self._seen = set()

    def add(self, severity, place, message, hint=None):
        key = (severity, place, message)
        if key in self._seen:
            return
        self._seen.add(key)
        if severity == ERROR:
            self.errors += 1
        if len(self.items) >= KEPT_MAX:
            self.left_out += 1
            return
        self.items.append({"file": place[0], "line": place[1], "severity": severity,
                           "message": message, "hint": hint})


# Places that are policy code: absolute file names, filled by the loader; and the load that runs.
policy_files = set()
_problems = None
_line_tables = {}       # id of a code object -> _line_table(), which keeps the code and so its id


def start(problems):
    global _problems
    _problems = problems


def stop():
    global _problems
    _problems = None


def loading():
    return _problems is not None


def is_policy_frame(frame):
    return frame.f_code.co_filename in policy_files


def _line_table(code):
    """(offsets where a line begins, those lines, the code)"""
    rows = [(start, line) for start, _, line in code.co_lines() if line is not None]
    return [start for start, _ in rows], [line for _, line in rows], code


def line_of(frame):
    """frame.f_lineno. That reads the function's table from its start, each time: an instance function
    of 10 000 rules, written one below the other, would spend its time there."""
    code = frame.f_code
    table = _line_tables.get(id(code))
    if table is None:
        table = _line_tables[id(code)] = _line_table(code)
    return table[1][bisect_right(table[0], frame.f_lasti) - 1]


def here():
    """The innermost line of policy code that runs now."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name in policy_files:
            return (name, line_of(frame))
        frame = frame.f_back
    return ("", 0)


def place_of_exception(error, fallback):
    """The innermost line of policy code that the exception passed through."""
    if isinstance(error, SyntaxError) and error.filename in policy_files:
        return (error.filename, error.lineno or 0)
    place = fallback
    trace = error.__traceback__
    while trace is not None:
        if is_policy_frame(trace.tb_frame):
            place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place


def report(message, hint=None, place=None, severity=ERROR):
    """A problem at place (default: here). Outside of a load an error is raised instead."""
    if _problems is None:
        if severity == ERROR:
            raise Refused(message, hint)
        return
    _problems.add(severity, place or here(), message, hint)


def warn(message, hint=None, place=None):
    report(message, hint, place, WARNING)


def not_yet(what, place=None):
    """Something of the policy language that the engine does not do yet: refused, not ignored."""
    report("%s: not yet part of Sallyport" % what,
           "see \"Not yet\" in docs/reference/policy-language.md", place)


def nearest(name, known, cutoff=0.6):
    import difflib
    found = difflib.get_close_matches(str(name), [str(k) for k in known], 1, cutoff)
    return found[0] if found else None


def did_you_mean(name, known):
    """A hint, or None."""
    found = nearest(name, known)
    return None if found is None else "did you mean '%s'?" % found


def plural(known):
    """"a, b and c" for messages; at most eight."""
    names = [str(k) for k in known]
    if len(names) > 8:
        names = names[:8] + ["..."]
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def shown(value):
    """A value in a message: short, on one line."""
    try:
        text = repr(value)
    except Exception:
        text = "<%s>" % type(value).__name__
    text = text.replace("\n", "\\n")
    return text if len(text) <= 60 else text[:57] + "..."


def describe_exception(error):
    text = str(error)
    name = type(error).__name__
    return "%s: %s" % (name, text) if text else name


def relative(path):
    return os.path.basename(path)
