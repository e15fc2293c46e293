# SPDX-License-Identifier: Apache-2.0
"""Sallyport over loopback and without root, a server that takes mail, and a client that sees each
reply. What the tests of this folder share."""

import os
import pathlib
import shutil
import socket
import socketserver
import subprocess
import tempfile
import textwrap
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SALLYPORT", str(ROOT / "build" / "sallyport"))
WAIT_S = 20


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_until(condition, what, seconds=WAIT_S):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited %d s: %s" % (seconds, what))
        time.sleep(0.02)


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

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Mail)
        self.commands = []
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class Firewall:
    """`sallyport run` with a policy. {sink} and {ports[n]} in its text are filled in."""

    def __init__(self, policy, ports=1, workers=1, arguments=()):
        self.sink = Sink()
        self.ports = free_ports(ports)
        # A policy runs as an unprivileged user, who has to reach it.
        self.directory = tempfile.mkdtemp(prefix="sallyport-test-")
        os.chmod(self.directory, 0o755)
        self.policy = pathlib.Path(self.directory, "policy.py")
        self.policy.write_text(textwrap.dedent(policy) % {"sink": self.sink.port, **{
            "port%d" % n: port for n, port in enumerate(self.ports)}})
        self._log = open(os.path.join(self.directory, "log"), "w+b")
        self.process = subprocess.Popen(
            [PROGRAM, "run", str(self.policy), "--no-kernel", "--workers", str(workers), "--control",
             os.path.join(self.directory, "control"), *arguments], stderr=self._log, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: "\nready\n" in "\n" + self.log() or self.process.poll() is not None, "ready")
            assert self.process.poll() is None, self.log()
        except BaseException:
            self.stop()
            raise

    def log(self):
        return pathlib.Path(self.directory, "log").read_text(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.sink.stop()
        self._log.close()
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
        return sorted(pid for pid, name in self.processes().items() if name.startswith("python"))

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
        self._socket = socket.create_connection(("127.0.0.1", port), WAIT_S, (source, 0))
        self._file = self._socket.makefile("rb")
        if start:
            assert self.reply()[0] == 220
            assert self.command("EHLO client.example")[0] == 250

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self._file.close()
        self._socket.close()

    def send(self, line):
        self._socket.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")

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
