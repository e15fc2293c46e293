# SPDX-License-Identifier: Apache-2.0
"""Packets of the callback conversation (docs/policy-document.md): one JSON object in one
SOCK_SEQPACKET packet, sometimes with descriptors."""

import json
import os
import socket

from sallyport.octets import from_wire, to_wire

PACKET_MAX = 128 * 1024
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


class Closed(Exception):
    """The other side is gone, or sends what is no packet."""


class TooLong(Exception):
    """A packet over PACKET_MAX octets."""


# Made once: a call of policy code costs about as much as making them.
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode


def encode(packet):
    data = _to_json(packet).encode("ascii")
    if len(data) > PACKET_MAX:
        raise TooLong("an answer of %d octets; at most %d are carried" % (len(data), PACKET_MAX))
    return data


def send(sock, packet, fds=()):
    """Waits for room. Closed; TooLong (nothing was sent)."""
    data = encode(packet)
    try:
        if fds:
            socket.send_fds(sock, [data], list(fds))
        else:
            sock.send(data)
    except OSError as problem:
        raise Closed(str(problem)) from None


def _decode(data):
    try:
        packet = _from_json(data.decode("utf-8"))
    except ValueError as problem:
        raise Closed("not a packet: %s" % problem) from None
    if not isinstance(packet, dict) or not isinstance(packet.get("op"), str):
        raise Closed("not a packet: no operation")
    return packet


def room():
    """A buffer for receive(): a new one for each packet costs more than the packet."""
    return memoryview(bytearray(PACKET_MAX + 1))


def receive(sock, buffer=None):
    """Waits for one packet."""
    buffer = buffer or room()
    try:
        length = sock.recv_into(buffer)
    except OSError as problem:
        raise Closed(str(problem)) from None
    if not 0 < length <= PACKET_MAX:
        raise Closed("end of file" if length == 0 else "a packet that is too long")
    return _decode(bytes(buffer[:length]))


def receive_with_fds(sock, max_fds):
    """Waits for one packet; returns it and the descriptors that came along, now the caller's."""
    try:
        data, fds, flags, _ = socket.recv_fds(sock, PACKET_MAX + 1, max_fds)
    except OSError as problem:
        raise Closed(str(problem)) from None
    try:
        if not data or len(data) > PACKET_MAX or flags & socket.MSG_CTRUNC:
            raise Closed("end of file" if not data else "a packet that is too long")
        return _decode(data), fds
    except Closed:
        for fd in fds:
            os.close(fd)
        raise


def value_to_wire(value):
    """None, int, bool or str as the conversation carries it. TypeError; ValueError."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise ValueError("%d does not fit into 64 bits" % value)
        return int(value)
    if isinstance(value, str):
        return to_wire(value)
    if callable(getattr(value, "getName", None)):  # a zone, for a native function
        return to_wire(value.getName())
    raise TypeError("%s, where an integer, a string or None was expected" % type(value).__name__)


def value_from_wire(value):
    return from_wire(value) if isinstance(value, str) else value
