# SPDX-License-Identifier: Apache-2.0
"""Clients of the lab: sockets and smtplib on a host, and real programs."""
import contextlib
import smtplib
import socket
import time


def connect(host, address, port=25, timeout=10, source=None):
    with host.entered():
        return socket.create_connection((address, port), timeout, source_address=source)


def gets_service(host, address, port=25, timeout=3):
    """Does anybody greet there? Being refused, reset, closed or left waiting is no service."""
    try:
        with connect(host, address, port, timeout) as sock:
            return sock.recv(512).startswith(b'220')
    except OSError:
        return False


class Smtp(smtplib.SMTP):
    """smtplib from a host of the lab."""

    def __init__(self, host, address, port=25, timeout=30, source=None):
        self._lab_host = host
        self._source = source
        super().__init__(address, port, local_hostname='client.example', timeout=timeout)

    def _get_socket(self, host, port, timeout):
        return connect(self._lab_host, host, port, timeout, self._source)

    def send_octets(self, octets, sender='alice@client.example', recipients=('bob@example.com',), options=()):
        """A message exactly as these octets, whose lines end in CRLF; the dots are stuffed here.

        smtplib's data() makes CRLF of lone CR and LF, which would hide what it is about."""
        self.ehlo_or_helo_if_needed()
        for code, text in [self.mail(sender, options), *[self.rcpt(r) for r in recipients]]:
            if code // 100 != 2:
                raise smtplib.SMTPResponseException(code, text)
        self.putcmd('DATA')
        code, text = self.getreply()
        if code != 354:
            raise smtplib.SMTPResponseException(code, text)
        if octets.startswith(b'.'):
            octets = b'.' + octets
        self.send(octets.replace(b'\r\n.', b'\r\n..') + b'.\r\n')
        code, text = self.getreply()
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        return text


class Raw:
    """A conversation octet by octet."""

    def __init__(self, host, address, port=25, timeout=10):
        self.sock = connect(host, address, port, timeout)
        self.lines = self.sock.makefile('rb')

    def send(self, octets):
        self.sock.sendall(octets)

    def reply(self):
        """One whole reply: its code and its lines; (None, ...) at the end of the connection."""
        lines = []
        while True:
            try:
                line = self.lines.readline()
            except ConnectionResetError:
                line = b''
            if not line:
                return None, lines
            lines.append(line)
            if line[3:4] != b'-':
                return int(line[:3]), lines

    def command(self, line):
        self.send(line + b'\r\n')
        return self.reply()[0]

    def at_end(self, timeout=10):
        """Is the connection closed by the other side, and nothing more comes?"""
        self.sock.settimeout(timeout)
        try:
            return self.lines.read(1) == b''
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self):
        with contextlib.suppress(OSError):
            self.lines.close()
            self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def eventually_gets_service(host, address, port=25, timeout=10):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if gets_service(host, address, port, 1):
            return True
        time.sleep(0.05)
    return False
