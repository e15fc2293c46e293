# SPDX-License-Identifier: Apache-2.0
"""What an origin sees: a relay before it that changes nothing, and keeps what went by."""
import socket
import threading

from . import client
from .origin import Scripted


class Talk:
    """One connection: the octets of both sides in the order in which they went by."""

    def __init__(self):
        self.parts = []     # of (side, octets); side is 'C' or 'S'
        self.over = threading.Event()

    def read(self):
        """(commands, messages, replies): lines without their end, messages with dots unstuffed."""
        return _Reading(self.parts).run()


class _Reading:
    """Takes a dialogue apart: what is a command depends on what the server said before."""

    def __init__(self, parts):
        self.parts = parts
        self.commands, self.messages, self.replies = [], [], []
        self.rest = {'C': b'', 'S': b''}
        self.body = None        # octets of a message under way
        self.chunk = None       # octets of the chunk that comes
        self.chunked = b''      # chunks so far
        self.last = False       # is it the last one?

    def run(self):
        for side, octets in self.parts:
            self.rest[side] += octets
            take = self.client if side == 'C' else self.server
            while take():
                pass
        return self.commands, self.messages, self.replies

    def server(self):
        line, end, rest = self.rest['S'].partition(b'\r\n')
        if not end:
            return False
        self.rest['S'] = rest
        self.replies.append(line)
        if line.startswith(b'354'):
            self.body = b''
        return True

    def client(self):
        if self.chunk is not None:
            return self.chunk_octets()
        line, end, rest = self.rest['C'].partition(b'\r\n')
        if not end:
            return False
        self.rest['C'] = rest
        if self.body is not None:
            self.body_line(line)
            return True
        self.commands.append(line)
        if line.upper().startswith(b'BDAT '):
            self.chunk = int(line.split()[1])
            self.last = line.upper().endswith(b' LAST')
        return True

    def body_line(self, line):
        if line == b'.':
            self.messages.append(self.body)
            self.body = None
        else:
            self.body += (line[1:] if line.startswith(b'.') else line) + b'\r\n'

    def chunk_octets(self):
        if len(self.rest['C']) < self.chunk:
            return False
        self.chunked += self.rest['C'][:self.chunk]
        self.rest['C'] = self.rest['C'][self.chunk:]
        self.chunk = None
        if self.last:
            self.messages.append(self.chunked)
            self.chunked = b''
        return True


class Wire:
    """Listens at an address of a host, port 25, and relays to a port of that host's loopback."""

    def __init__(self, host, address, port):
        self.host = host
        self.port = port
        self.talks = []
        self.server = Scripted(host, self._relay, address=address)

    def _relay(self, sock, _lines):
        talk = Talk()
        self.talks.append(talk)
        try:
            with client.connect(self.host, '127.0.0.1', self.port, timeout=60) as origin:
                back = threading.Thread(target=self._pump, args=(talk, 'S', origin, sock), daemon=True)
                back.start()
                self._pump(talk, 'C', sock, origin)
                back.join()
        finally:
            talk.over.set()

    @staticmethod
    def _pump(talk, side, source, target):
        try:
            while octets := source.recv(65536):
                talk.parts.append((side, octets))
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass    # a reset on one side ends the other as well
        for sock in (source, target) if side == 'S' else ():
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def last(self, timeout=20):
        """The talk of the newest connection, when it is over."""
        talk = self.talks[-1]
        assert talk.over.wait(timeout), f'the connection to the origin stays: {talk.parts[-3:]}'
        return talk

    def close(self):
        self.server.close()
