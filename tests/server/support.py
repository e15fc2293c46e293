# SPDX-License-Identifier: Apache-2.0
"""The real program on loopback: started, talked to, killed. No root needed; as root it changes
to the unprivileged user itself."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

PROGRAM = os.environ.get("SALLYPORT", "sallyport")
LIMIT = 20.0  # seconds, for anything that is waited for


def wait_for(condition, what, limit=LIMIT):
    """The first true value that condition() gives. what: the text for a failure, or a function that makes it."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %g s for %s" % (limit, what() if callable(what) else what))
        time.sleep(0.02)


_held = []


def free_port(family=socket.AF_INET):
    """A port that nobody else gets while this program runs: bound, but not listening, it is passed
    over when ports are chosen for others, and whoever sets SO_REUSEADDR may listen on it."""
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    _held.append(s)
    return s.getsockname()[1]


def receive(sock, n):
    """Exactly n octets, or what came before the end."""
    octets = b""
    while len(octets) < n:
        more = sock.recv(n - len(octets))
        if not more:
            break
        octets += more
    return octets


class Echo(threading.Thread):
    """A server that sends back what it gets; one thread a connection."""

    def __init__(self):
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.peers = []
        self.start()

    def run(self):
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _serve(connection):
        with connection, contextlib.suppress(OSError):
            while octets := connection.recv(65536):
                connection.sendall(octets)

    def close(self):
        with contextlib.suppress(OSError):  # it is closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


PLUG = """\
from Zorp.Plug import *

Zone('localhost', ['127.0.0.0/8'])

class Plug(PlugProxy):
    def config(self):
        PlugProxy.config(self)
        self.timeout = %(timeout)d

def default_instance():
    Service(name='plug', proxy_class=Plug, max_instances=%(max_instances)d,
            router=DirectedRouter(dest_addr=SockAddrInet('127.0.0.1', %(server)d)))
    Rule(service='plug', dst_port=%(port)d, dst_subnet=('127.0.0.1', ), src_zone=('localhost', ))
"""


class Firewall:
    """One `sallyport run` and its control socket."""

    def __init__(self, directory, policy, *arguments, workers=2, stdin=subprocess.DEVNULL):
        self.directory = directory
        self.control = os.path.join(directory, "control")
        self.log_path = os.path.join(directory, "log")
        self._log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [PROGRAM, "run", policy, "--no-kernel", "--control", self.control, "--workers", str(workers), *arguments],
            stdin=stdin, stdout=self._log, stderr=self._log)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_logged(self, text, times=1):
        """What a process logs comes some time after what it does."""
        wait_for(lambda: self.log().count(text) >= times, lambda: "'%s' in:\n%s" % (text, self.log()))

    def ready(self):
        def look():
            if self.process.poll() is not None:
                raise AssertionError("it ended with %d:\n%s" % (self.process.returncode, self.log()))
            return "\nready\n" in "\n" + self.log()

        wait_for(look, "ready")
        return self

    def ctl(self, *words, check=True):
        done = subprocess.run([PROGRAM, "ctl", "--control", self.control, *words], capture_output=True, text=True,
                              timeout=LIMIT * 3, check=False)
        if check and done.returncode != 0:
            raise AssertionError("ctl %r: %d %s" % (words, done.returncode, done.stderr))
        return done

    def ask(self, *words):
        return json.loads(self.ctl("--json", *words).stdout)

    def worker_pids(self):
        status = self.ask("status")
        current = [g["generation"] for g in status["generations"] if g["state"] == "current"]
        return [w["pid"] for w in status["worker_processes"] if w["generation"] in current and w["pid"]]

    def leader_pid(self):
        return next(g["leader_pid"] for g in self.ask("status")["generations"] if g["state"] == "current")

    def wait(self, limit=LIMIT):
        return self.process.wait(limit)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()
        found = [line for line in self.log().splitlines() if "Sanitizer" in line or "runtime error" in line]
        if found:
            raise AssertionError("a process reported: " + self.log()[self.log().index(found[0]):][:4000])


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="sallyport-test-")
        os.chmod(self.directory, 0o755)  # the policy is read by an unprivileged user
        self.addCleanup(shutil.rmtree, self.directory)
        self.echo = Echo()
        self.addCleanup(self.echo.close)
        self.port = free_port()
        self.policy_path = os.path.join(self.directory, "policy.py")

    def write_policy(self, text=PLUG, timeout=600000, max_instances=0):
        fields = {"port": self.port, "server": self.echo.port, "timeout": timeout, "max_instances": max_instances}
        with open(self.policy_path + ".new", "w", encoding="utf-8") as f:
            f.write(text % fields)
        os.rename(self.policy_path + ".new", self.policy_path)

    def run_firewall(self, *arguments, **options):
        firewall = Firewall(self.directory, self.policy_path, *arguments, **options)
        self.addCleanup(firewall.end)
        return firewall

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
        self.addCleanup(sock.close)
        return sock

    def roundtrip(self, sock, octets=b"hello"):
        sock.sendall(octets)
        self.assertEqual(receive(sock, len(octets)), octets)
