# SPDX-License-Identifier: Apache-2.0
"""A name server for tests: dns_server.py ADDRESS PORT FILE.

FILE is JSON, read again for each question: {"host": ["192.0.2.1", "2001:db8::1"]}. "fail" instead of a
list is a server that can't tell, "silent" one that does not answer, {"cname": "other"} another name's
addresses; a host that is not there does not exist. Each question is a line on standard output.
"""

import json
import socket
import struct
import sys

A, CNAME, AAAA = 1, 5, 28
SERVFAIL, NXDOMAIN = 2, 3
TTL = 1


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(owner, kind, data):
    return owner + struct.pack("!HHIH", kind, 1, TTL, len(data)) + data


def address_records(owner, kind, addresses):
    family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
    return [record(owner, kind, socket.inet_pton(family, a)) for a in addresses
            if kind in (A, AAAA) and (":" in a) == (kind == AAAA)]


def answer(query, hosts):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack("!H", query[at + 1:at + 3])[0]
    name = ".".join(labels).lower()
    known = hosts.get(name)
    print(name, kind, known, flush=True)
    code, records = 0, []
    if known == "silent":
        return None
    if known == "fail":
        code = SERVFAIL
    elif known is None:
        code = NXDOMAIN
    elif isinstance(known, dict):
        records = [record(b"\xc0\x0c", CNAME, wire_name(known["cname"]))]
        records += address_records(wire_name(known["cname"]), kind, hosts[known["cname"]])
    else:
        records = address_records(b"\xc0\x0c", kind, known)
    return (query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + query[12:at + 5] + b"".join(records))


def main():
    address, port, path = sys.argv[1:]
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, int(port)))
    print("ready", sock.getsockname()[1], flush=True)
    while True:
        query, peer = sock.recvfrom(4096)
        with open(path, encoding="utf-8") as f:
            reply = answer(query, json.load(f))
        if reply is not None:
            sock.sendto(reply, peer)


if __name__ == "__main__":
    main()
