# SPDX-License-Identifier: Apache-2.0
"""Many flows at once, and what became of each.

A flow is a dict as `explain --flows` reads it, with a source port of its own for TCP and UDP. Its outcome is one of

    ('answered', source that the server saw, port that it was reached at)     TCP, UDP
    ('echoed',)                                                              ICMP
    ('reset',)
    ('icmp', type, code)
    ('silence',)
"""
import errno
import selectors
import socket
import struct
import threading
import time

ICMP, ICMP6 = 1, 58
TRANSPORTS = {6: socket.SOCK_STREAM, 17: socket.SOCK_DGRAM}


class Answering:
    """A host that tells whoever comes, by TCP or UDP, who it is and where it arrived."""

    def __init__(self, host, ports):
        self._selector = selectors.DefaultSelector()
        self._ending = False
        with host.entered():
            for port in ports:
                for kind in TRANSPORTS.values():
                    self._listen(port, kind)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _listen(self, port, kind):
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # A datagram is answered from where it went to.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.bind(('::', port))
        if kind == socket.SOCK_STREAM:
            sock.listen(1000)
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, port)

    def _run(self):
        while not self._ending:
            for key, _ in self._selector.select(0.1):
                if key.fileobj.type == socket.SOCK_STREAM:
                    self._greet(key.fileobj, key.data)
                else:
                    self._reply(key.fileobj, key.data)

    @staticmethod
    def _greet(sock, port):
        try:
            connection, peer = sock.accept()
        except OSError:
            return
        with connection:
            connection.sendall(_story(peer[0], port))

    @staticmethod
    def _reply(sock, port):
        try:
            _, control, _, peer = sock.recvmsg(100, 200)
        except OSError:
            return
        sock.sendmsg([_story(peer[0], port)], [c for c in control if c[1] == socket.IPV6_PKTINFO], 0, peer)

    def close(self):
        self._ending = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


def _story(peer, port):
    return f'{peer.removeprefix("::ffff:")} {port}\n'.encode()


def _outcome(octets):
    peer, port = octets.decode().split()
    return 'answered', peer, int(port)


class _Errors:
    """The ICMP errors and echo replies that reach a host."""

    def __init__(self, host):
        self.of = {}        # (protocol, source port or echo id) -> outcome
        with host.entered():
            self._socks = [socket.socket(family, socket.SOCK_RAW, protocol)
                           for family, protocol in ((socket.AF_INET, ICMP), (socket.AF_INET6, ICMP6))]
        for sock in self._socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            sock.setblocking(False)

    def read(self):
        for sock, parse in zip(self._socks, (self._parse4, self._parse6)):
            while True:
                try:
                    parse(sock.recv(2000))
                except BlockingIOError:
                    break

    def _parse4(self, packet):
        packet = packet[(packet[0] & 15) * 4:]
        if packet[0] == 0:
            self.of[ICMP, struct.unpack('!H', packet[4:6])[0]] = ('echoed',)
        elif packet[0] == 3:
            inner = packet[8:]
            self._note(packet, inner[9], inner[(inner[0] & 15) * 4:])

    def _parse6(self, packet):
        if packet[0] == 129:
            self.of[ICMP6, struct.unpack('!H', packet[4:6])[0]] = ('echoed',)
        elif packet[0] == 1:
            self._note(packet, packet[8 + 6], packet[48:])

    def _note(self, packet, protocol, inner):
        where = 4 if protocol in (ICMP, ICMP6) else 0
        self.of[protocol, struct.unpack('!H', inner[where:where + 2])[0]] = ('icmp', packet[0], packet[1])

    def close(self):
        for sock in self._socks:
            sock.close()


def tcp_segment(src, dst, sport, dport, bits):
    """One with these flags, for IPv4."""
    addresses = socket.inet_aton(src) + socket.inet_aton(dst)
    segment = struct.pack('!HHIIBBHHH', sport, dport, 1000, 0, 5 << 4, bits, 1024, 0, 0)
    checksum = _checksum(addresses + struct.pack('!HH', 6, len(segment)) + segment)
    return segment[:16] + checksum + segment[18:]


def start(flow):
    """The socket of a flow that was sent."""
    family = socket.AF_INET6 if ':' in flow['src'] else socket.AF_INET
    if flow['proto'] in TRANSPORTS:
        sock = socket.socket(family, TRANSPORTS[flow['proto']])
        sock.setblocking(False)
        sock.bind((flow['src'], flow['sport']))
        # An ICMP error must not end it before the sniffer has told which one it was; it does, and that is fine.
        if sock.connect_ex((flow['dst'], flow['dport'])) not in (0, errno.EINPROGRESS):
            sock.close()
            return None
        if flow['proto'] == 17:
            sock.send(b'hello')
        return sock
    sock = socket.socket(family, socket.SOCK_RAW, flow['proto'])
    sock.bind((flow['src'], 0))
    octets = struct.pack('!BBHHH', flow['icmp_type'], flow['icmp_code'], 0, flow['id'], 1)
    if flow['proto'] == ICMP:
        octets = octets[:2] + _checksum(octets) + octets[4:]
    sock.sendto(octets, (flow['dst'], 0))
    sock.close()
    return None


def _checksum(octets):
    total = sum(struct.unpack(f'!{len(octets) // 2}H', octets))
    total = (total & 0xffff) + (total >> 16)
    return struct.pack('!H', ~(total + (total >> 16)) & 0xffff)


def _read(sock):
    """What a ready socket knows: an outcome, or None."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error == errno.ECONNREFUSED and sock.type == socket.SOCK_STREAM:
        return ('reset',)       # or an ICMP error, which then has been noted, too
    if error != 0:
        return None
    try:
        octets = sock.recv(200)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return ('reset',)
    except OSError:
        return None
    return _outcome(octets) if octets else ('closed',)


def _key(flow):
    return flow['proto'], flow['sport'] if flow['proto'] in TRANSPORTS else flow['id']


def send(host, flows, silent, patience=30, silence=1.5):
    """All flows of one host; their outcomes in order. silent: a set of the indices of which nothing will be heard:
    when all others have an outcome, these are given that many seconds more to prove it wrong."""
    outcomes = [None] * len(flows)
    errors = _Errors(host)
    try:
        with host.entered():
            socks = {index: sock for index, flow in enumerate(flows) if (sock := start(flow)) is not None}
        end = time.monotonic() + patience
        quiet = None
        while time.monotonic() < end and (quiet is None or time.monotonic() < quiet):
            time.sleep(0.02)
            for index, sock in list(socks.items()):
                outcome = _read(sock)
                if outcome is not None:
                    outcomes[index] = outcome
                    sock.close()
                    del socks[index]
            errors.read()
            for index, flow in enumerate(flows):
                outcomes[index] = errors.of.get(_key(flow), outcomes[index])
            if quiet is None and all(outcome or index in silent for index, outcome in enumerate(outcomes)):
                quiet = time.monotonic() + silence
        for sock in socks.values():
            sock.close()
    finally:
        errors.close()
    return [outcome or ('silence',) for outcome in outcomes]
