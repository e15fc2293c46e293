# SPDX-License-Identifier: Apache-2.0
"""Caches for policy code."""

import time as _time


class AbstractCache:
    """A dictionary with a name and a bound on its size."""

    def __init__(self, name):
        self.name = name

    def lookup(self, key):
        raise NotImplementedError

    def store(self, key, value):
        raise NotImplementedError

    def clear(self):
        raise NotImplementedError


class ShiftCache(AbstractCache):
    """Two generations: when the young one is full, the old one is dropped."""

    def __init__(self, name, shift_threshold):
        super().__init__(name)
        self.shift_threshold = shift_threshold
        self.clear()

    def clear(self):
        self._young, self._old = {}, {}

    def lookup(self, key):
        if key in self._young:
            return self._young[key]
        return self._old.get(key)

    def store(self, key, value):
        if len(self._young) >= self.shift_threshold:
            self._old, self._young = self._young, {}
        self._young[key] = value
        return value


class TimedCache(AbstractCache):
    """Entries live for timeout seconds; a full cache drops what is over, then everything."""

    def __init__(self, name, timeout, update_stamp=1, cleanup_threshold=100):
        super().__init__(name)
        self.timeout = timeout
        self.update_stamp = update_stamp
        self.cleanup_threshold = cleanup_threshold
        self.clear()

    def clear(self):
        self._entries = {}

    def lookup(self, key):
        found = self._entries.get(key)
        now = _time.monotonic()
        if found is None or now - found[0] > self.timeout:
            self._entries.pop(key, None)
            return None
        if self.update_stamp:
            self._entries[key] = (now, found[1])
        return found[1]

    def store(self, key, value):
        now = _time.monotonic()
        if len(self._entries) >= self.cleanup_threshold:
            self._entries = {k: e for k, e in self._entries.items() if now - e[0] <= self.timeout}
            if len(self._entries) >= self.cleanup_threshold:
                self.clear()
        self._entries[key] = (now, value)
        return value
