# SPDX-License-Identifier: Apache-2.0
"""A mail server that takes everything, an SMTP client that sees each reply, and the firewall with
a policy between them."""

import os
import pathlib
import shutil
import socket
import socketserver
import tempfile
import textwrap
import threading

import support
from support import LIMIT, free_port


HEAD = """
import re, time
from Zorp.Core import *
from Zorp.Smtp import *

Zone("local", ["127.0.0.0/8"])
"""


class _Mail(socketserver.StreamRequestHandler):
    """Takes all mail. Says what it was told in its replies."""

    def handle(self):
        self.wfile.write(b"220 sink ESMTP\r\n")
        for line in self.rfile:
            words = line.split(None, 1)
            verb = words[0].upper() if words else b""
            self.server.commands.append(line.rstrip(b"\r\n"))
            if verb == b"EHLO":
                self.wfile.write(b"250-sink\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.wfile.write(b"250 taken\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok %s\r\n" % line.strip()[:60])


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 256

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Mail)
        self.commands = []
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Firewall(support.Firewall):
    """Runs a policy in which %(sink)d and %(port0)d, %(port1)d ... stand for ports."""

    def __init__(self, policy, ports=1, workers=1, files=()):
        self.sink = Sink()
        self.ports = [free_port() for _ in range(ports)]
        directory = tempfile.mkdtemp(prefix="sallyport-test-")
        os.chmod(directory, 0o755)  # the policy is read by an unprivileged user
        self.policy = pathlib.Path(directory, "policy.py")
        for name in files:
            pathlib.Path(directory, name).write_text(files[name])
        fields = {"port%d" % n: port for n, port in enumerate(self.ports)}
        self.policy.write_text(textwrap.dedent(policy) % {"sink": self.sink.port, **fields})
        super().__init__(directory, str(self.policy), workers=workers)
        try:
            self.ready()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        try:
            self.end()
        finally:
            self.sink.stop()
            shutil.rmtree(self.directory, ignore_errors=True)

    def processes(self, parent=None):
        """{pid: command name} of everything below this program."""
        found = {}
        for pid in _children(parent or self.process.pid):
            found[pid] = _name(pid)
            found.update(self.processes(pid))
        return found

    def python(self):
        """The processes of the policy host: the zygote first."""
        return [pid for pid, name in self.processes().items() if name.startswith("python")]

    def zygote(self):
        return self.python()[0]

    def servers(self):
        return [pid for pid in _children(self.zygote()) if _name(pid)]


def _children(pid):
    try:
        text = pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _name(pid):
    try:
        return pathlib.Path("/proc/%d/comm" % pid).read_text().strip()
    except OSError:
        return ""


class Client:
    """One SMTP session. Each command returns (code, text) of the reply; (None, "") = closed."""

    def __init__(self, port, source="127.0.0.1", start=True):
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT, (source, 0))
        self._file = self.socket.makefile("rb")
        if start:
            assert self.reply()[0] == 220
            assert self.command("EHLO client.example")[0] == 250

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def take(self, sock):
        """Go on over this one, which has wrapped the other in TLS."""
        self._file.close()
        self.socket, self._file = sock, sock.makefile("rb")

    def close(self):
        self._file.close()
        self.socket.close()

    def send(self, line):
        self.socket.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")

    def reply(self):
        lines = []
        while True:
            try:
                line = self._file.readline()
            except ConnectionError:
                return None, ""
            if not line:
                return None, ""
            lines.append(line[4:].rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(lines)

    def command(self, line):
        self.send(line)
        return self.reply()

    def mail(self):
        return self.command("MAIL FROM:<a@client.example>")

    def rcpt(self, name):
        return self.command("RCPT TO:<%s>" % name)

    def deliver(self):
        assert self.command("DATA")[0] == 354
        return self.command("Subject: x\r\n\r\nx\r\n.")
