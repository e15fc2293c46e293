# SPDX-License-Identifier: Apache-2.0
"""Which log lines are wanted: the same answer as the engine's, so that what nobody reads is
neither formatted nor sent. The engine has checked the specification before it comes here."""


class LogSpec:
    def __init__(self, verbosity=3, spec=""):
        self._verbosity = verbosity
        self._entries = []
        self._levels = {}  # tag -> level; policies use few tags
        for item in spec.split(","):
            pattern, _, level = item.strip(" ").partition(":")
            if pattern:
                self._entries.append((pattern.split("."), _leading_number(level)))

    def wants(self, tag, level):
        effective = self._levels.get(tag)
        if effective is None:
            effective = self._level_of(tag)
            if len(self._levels) < 1000:
                self._levels[tag] = effective
        return level <= effective

    def _level_of(self, tag):
        parts = tag.split(".")
        for pattern, level in self._entries:
            if len(pattern) <= len(parts) and all(p in ("*", t) for p, t in zip(pattern, parts)):
                return level
        return self._verbosity


def _leading_number(text):
    digits = len(text) - len(text.lstrip("0123456789"))
    return int(text[:digits] or "0")
