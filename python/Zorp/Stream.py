# SPDX-License-Identifier: Apache-2.0
"""Streams, as policy code sees them."""

G_IO_STATUS_ERROR = 0
G_IO_STATUS_NORMAL = 1
G_IO_STATUS_EOF = 2
G_IO_STATUS_AGAIN = 3


class StreamException(Exception):
    """args is (status, None)."""


class Stream:
    """A named descriptor. Policy code that reads and writes streams itself is not yet possible."""

    def __init__(self, fd, name):
        self.fd = fd
        self.name = name

    def _later(self, *args):
        from sallyport import problems
        problems.not_yet("reading and writing streams in policy code")

    read = readline = write = close = _later
