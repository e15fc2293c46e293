# SPDX-License-Identifier: Apache-2.0
"""What policy code prints goes to the log, line by line, with the tag core.stderr."""

import os
import sys
import threading

from sallyport import engine

TAG, LEVEL = "core.stderr", 3
LINE_MAX = 4096


class Output:
    """sys.stdout and sys.stderr of a host server. Each thread writes lines of its own."""

    encoding = "utf-8"
    errors = "replace"
    _pending = threading.local()
    _server = None

    @classmethod
    def install(cls, server):
        cls._server = server
        sys.stdout = sys.stderr = cls()
        read_end, write_end = os.pipe()
        os.dup2(write_end, 1)  # what is written past Python: child processes, C libraries
        os.dup2(write_end, 2)
        os.close(write_end)
        threading.Thread(target=cls._pump, args=(read_end,), daemon=True).start()

    @classmethod
    def _pump(cls, fd):
        with open(fd, "rb", buffering=LINE_MAX) as source:
            for line in iter(lambda: source.readline(LINE_MAX), b""):
                cls._server.log(None, TAG, LEVEL, line.decode("utf-8", "replace").rstrip("\n"))

    @classmethod
    def flush_thread(cls):
        """The call ended: an unfinished line is a line too."""
        rest = getattr(cls._pending, "text", "")
        if rest:
            cls._pending.text = ""
            cls._emit(rest)

    @classmethod
    def _emit(cls, line):
        conversation = engine.current()
        target = conversation if conversation is not None else cls._server
        if line and target is not None:
            target.log(None, TAG, LEVEL, line)

    def write(self, text):
        *lines, rest = (getattr(self._pending, "text", "") + text).split("\n")
        while len(rest) > LINE_MAX:
            lines.append(rest[:LINE_MAX])
            rest = rest[LINE_MAX:]
        self._pending.text = rest
        for line in lines:
            self._emit(line)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        pass

    def isatty(self):
        return False

    def fileno(self):
        return 2
