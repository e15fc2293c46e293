# SPDX-License-Identifier: Apache-2.0
"""What policy code can ask of the engine while one of its callbacks runs.

The policy classes call current().up(...) and current().log(...). The serving half makes one
Engine for each connection to a worker and runs each callback inside `with using(engine):`, on a
thread of its own or not: the current engine belongs to the thread. At load there is none.
"""

import threading

_here = threading.local()


class EngineError(ValueError):
    """The engine refused an up-call: wrong arguments, or nothing to do it with."""


class Engine:
    """The interface. A subclass of the serving half talks to the worker."""

    def up(self, function, args):
        """Call a native function ("smtp.check_recipient") with a list of None, int, bool, str.
        Before it is sent, the instance's changes go along (instance.changes()); what the
        worker sends back is taken over (instance.receive()) before this returns.
        Returns None, int, bool or str. EngineError: the engine answered "error"."""
        raise NotImplementedError

    def log(self, session_id, tag, level, message):
        """Write one log line. Never raises, never waits for an answer. session_id may be None."""
        raise NotImplementedError


def current():
    """The engine of the callback that runs on this thread; None at load."""
    return getattr(_here, "engine", None)


class using:
    """`with using(engine):` makes it the current one of this thread, and restores the last."""

    def __init__(self, engine):
        self._engine = engine

    def __enter__(self):
        self._before = current()
        _here.engine = self._engine
        return self._engine

    def __exit__(self, *exception):
        _here.engine = self._before
