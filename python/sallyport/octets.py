# SPDX-License-Identifier: Apache-2.0
"""Octets on their way between policy code and the engine.

Policy code works with str. What reaches a protocol line are octets: the UTF-8 form of the str,
where an octet that is not UTF-8 is a lone surrogate, as everywhere in Python. In the policy
document and in the callback conversation octets are JSON strings with one character U+0000 to
U+00FF per octet (docs/policy-document.md).
"""


import os


def path_to_wire(path):
    return os.fsencode(path).decode("latin-1")


def to_wire(text):
    """A policy's str as the document and the conversation write it. UnicodeEncodeError: it has
    surrogates that stand for no octet."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def from_wire(octets):
    """The str that policy code sees. UnicodeEncodeError: a character above U+00FF."""
    if octets.isascii():
        return octets
    return octets.encode("latin-1").decode("utf-8", "surrogateescape")
