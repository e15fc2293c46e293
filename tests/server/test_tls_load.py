# SPDX-License-Identifier: Apache-2.0
"""TLS of many kinds at once, while certificates change: bridged sessions and mail, whole and resumed,
among peers that hang up, send rubbish or read nothing. Who is honest is served, and in the end nothing
is left. SALLYPORT_SOAK_MINUTES makes it as long, and says how much memory is used meanwhile."""

import collections
import contextlib
import glob
import itertools
import os
import random
import socket
import ssl
import struct
import sys
import threading
import time

from mail import Client, Sink
from support import LIMIT, ServerTest, free_port, receive, wait_for
from tls_support import Certificates, Site

SESSIONS = 400
THREADS = 6
MINUTES = float(os.environ.get("SALLYPORT_SOAK_MINUTES", 0))
TELL_S = 60

POLICY = """\
from Zorp.Core import *
from Zorp.Plug import *
from Zorp.Smtp import *

Zone('localhost', ['127.0.0.0/8'])
FOLDER = %(folder)r + "/"

def pair(name):
    return Certificate.fromFile(FOLDER + name + ".pem", PrivateKey.fromFile(FOLDER + name + ".key"))

EncryptionPolicy("bridge", TwoSidedEncryption(
    client_certificate_generator=DynamicCertificate(
        PrivateKey.fromFile(FOLDER + "leaf.key"), pair("trusted"), pair("untrusted"), cache_directory=FOLDER + "cache"),
    client_verify=ClientNoneVerifier(),
    server_verify=ServerCertificateVerifier(trusted=FALSE, verify_ca_directory=FOLDER + "ca", check_subject=FALSE)))
EncryptionPolicy("starttls", ClientOnlyStartTLSEncryption(StaticCertificate(pair("mail")), client_verify=ClientNoneVerifier()))
EncryptionPolicy("smtps", ClientOnlyEncryption(StaticCertificate(pair("mail")), client_verify=ClientNoneVerifier()))


class Mail(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_check = FALSE


class Plug(PlugProxy):
    def config(self):
        PlugProxy.config(self)
        self.timeout = 60000


def default_instance():
    Service("good", Plug, router=DirectedRouter(SockAddrInet("127.0.0.1", %(good)d)), encryption_policy="bridge")
    Service("bad", Plug, router=DirectedRouter(SockAddrInet("127.0.0.1", %(bad)d)), encryption_policy="bridge")
    Service("starttls", Mail, router=DirectedRouter(SockAddrInet("127.0.0.1", %(sink)d)), encryption_policy="starttls")
    Service("smtps", Mail, router=DirectedRouter(SockAddrInet("127.0.0.1", %(sink)d)), encryption_policy="smtps")
    Rule(service="good", dst_port=%(good_port)d, dst_subnet='127.0.0.1', src_zone='localhost')
    Rule(service="bad", dst_port=%(bad_port)d, dst_subnet='127.0.0.1', src_zone='localhost')
    Rule(service="starttls", dst_port=%(starttls_port)d, dst_subnet='127.0.0.1', src_zone='localhost')
    Rule(service="smtps", dst_port=%(smtps_port)d, dst_subnet='127.0.0.1', src_zone='localhost')
"""


class _Load:
    """One thread's clients. Each visit is one session, or one that is none."""

    def __init__(self, ports, seed):
        self._ports = ports
        self._random = random.Random(seed)
        self._contexts = [self._context(version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
        self._sessions = {}     # the last of each context and port, to be resumed

    @staticmethod
    def _context(version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = version
        return context

    def _connect(self, service):
        return socket.create_connection(("127.0.0.1", self._ports[service]), LIMIT)

    @contextlib.contextmanager
    def _tls(self, plain, service):
        context = self._random.choice(self._contexts)
        session = self._sessions.get((context, service)) if self._random.random() < 0.5 else None
        with context.wrap_socket(plain, server_hostname="mail.example", session=session) as tls:
            yield tls
            self._sessions[context, service] = tls.session

    def echo(self):
        service = self._random.choice(("good", "good", "bad"))
        octets = self._random.randbytes(self._random.choice((1, 1000, 70000)))
        with self._connect(service) as plain, self._tls(plain, service) as tls:
            tls.sendall(octets)
            assert receive(tls, len(octets)) == octets, "what came back is not what was sent"

    def smtps(self):
        with Client(self._ports["smtps"], start=False) as client, self._tls(client.socket, "smtps") as tls:
            client.take(tls)
            assert client.reply()[0] == 220
            self._deliver(client)

    def starttls(self):
        with Client(self._ports["starttls"]) as client:
            assert client.command("STARTTLS")[0] == 220
            with self._tls(client.socket, "starttls") as tls:
                client.take(tls)
                self._deliver(client)

    @staticmethod
    def _deliver(client):
        assert client.command("EHLO client.example")[0] == 250
        assert client.mail()[0] == 250
        assert client.rcpt("b@example.com")[0] == 250
        assert client.deliver()[0] == 250
        assert client.command("QUIT")[0] == 221

    def _hello(self):
        """The octets of a ClientHello."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        machine = self._random.choice(self._contexts).wrap_bio(incoming, outgoing, server_hostname="mail.example")
        with contextlib.suppress(ssl.SSLWantReadError):
            machine.do_handshake()
        return outgoing.read()

    def hang_up(self):
        """Somewhere in a handshake, with a reset or without."""
        hello = self._hello()
        with self._connect(self._random.choice(("good", "smtps"))) as plain:
            plain.sendall(hello[:self._random.randrange(len(hello) + 1)])
            if self._random.random() < 0.5:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def rubbish(self):
        hello = bytearray(self._hello())
        for _ in range(self._random.randrange(1, 8)):
            hello[self._random.randrange(len(hello))] = self._random.randrange(256)
        with self._connect(self._random.choice(("good", "smtps"))) as plain, contextlib.suppress(OSError):
            plain.sendall(hello)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass

    def cut_off(self):
        """A session that ends in the middle of a record."""
        with self._connect("good") as plain, self._tls(plain, "good") as tls:
            tls.sendall(b"x" * 1000)
            os.write(tls.fileno(), b"\x17\x03\x03\x40\x00" + b"x" * 100)
            tls.shutdown(socket.SHUT_RDWR)

    def injection(self):
        """Plain text behind STARTTLS is not taken for encrypted."""
        with Client(self._ports["starttls"]) as client:
            client.socket.sendall(b"STARTTLS\r\nNOOP\r\n")
            assert client.reply()[0] != 220

    def visit(self):
        self._random.choice((self.echo, self.echo, self.smtps, self.starttls, self.hang_up, self.rubbish, self.cut_off,
                             self.injection))()


class MixedLoad(Certificates, ServerTest):
    def setUp(self):
        super().setUp()
        for name in ("root", "trusted", "untrusted"):
            self.make(name, f"/CN={name} authority", None, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
        names = "subjectAltName=DNS:mail.example"
        self.make("good", "/CN=mail.example", "root", names)
        self.make("bad", "/CN=mail.example", None, names)
        self.make("mail", "/CN=mail.example", None, names)
        self.make("other", "/CN=mail.example", None, names)
        self.make("leaf", "/CN=leaf", None)
        os.mkdir(self.path("ca"))
        os.link(self.path("root.pem"), self.path("ca/root.pem"))
        os.mkdir(self.path("cache"))
        os.chmod(self.path("cache"), 0o777)     # for the unprivileged user, where this runs as root
        for key in glob.glob(self.path("*.key")):
            os.chmod(key, 0o644)
        self.good, self.bad = Site(self.directory, "good"), Site(self.directory, "bad")
        self.addCleanup(self.good.listener.close)
        self.addCleanup(self.bad.listener.close)
        self.sink = Sink()
        self.addCleanup(self.sink.stop)
        self.ports = {name: free_port() for name in ("good", "bad", "starttls", "smtps")}
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(POLICY % {"folder": self.directory, "good": self.good.port, "bad": self.bad.port, "sink": self.sink.port,
                              **{name + "_port": port for name, port in self.ports.items()}})

    def change_certificate(self, turn):
        """The mail server's, both files, and touched only by renaming."""
        for ending in (".key", ".pem"):
            with open(self.path(("other", "mail0")[turn % 2] + ending), "rb") as f, open(self.path("new"), "wb") as copy:
                copy.write(f.read())
            os.chmod(self.path("new"), 0o644)
            os.rename(self.path("new"), self.path("mail" + ending))

    def run_load(self, seed, until, faults):
        load = _Load(self.ports, seed)
        try:
            while until():
                load.visit()
        except Exception as problem:    # told by the main thread
            faults.append(problem)

    def test_who_is_honest_is_served(self):
        for ending in (".key", ".pem"):
            os.link(self.path("mail" + ending), self.path("mail0" + ending))
        firewall = self.run_firewall(workers=2).ready()
        warm = _Load(self.ports, 0)
        for visit in (warm.echo, warm.smtps, warm.starttls) * 4:
            visit()
        pids = [pid for pid in processes(firewall.process.pid)]
        wait_for(lambda: firewall.ask("status")["sessions"] == 0, "no session")
        before = descriptors(pids)
        visits, end = itertools.count(), time.monotonic() + MINUTES * 60
        until = (lambda: time.monotonic() < end and not faults) if MINUTES else (lambda: next(visits) < SESSIONS and not faults)
        faults = []
        threads = [threading.Thread(target=self.run_load, args=(seed, until, faults)) for seed in range(1, THREADS + 1)]
        for thread in threads:
            thread.start()
        for turn in itertools.count():
            if not any(thread.is_alive() for thread in threads):
                break
            self.change_certificate(turn)
            threads[0].join(TELL_S if MINUTES else 1)
            if MINUTES:
                print("# %.1f MiB, %d messages" % (memory(pids), self.sink.commands.count(b"DATA")), file=sys.stderr)
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]
        self.assertEqual(pids, processes(firewall.process.pid))     # none died
        wait_for(lambda: firewall.ask("status")["sessions"] == 0, "the sessions end")
        wait_for(lambda: descriptors(pids) <= before, lambda: "descriptors as before: %s, not %s" % (before, descriptors(pids)))
        self.assertGreater(self.sink.commands.count(b"DATA"), 20)


def processes(parent):
    """All below it."""
    found = []
    with open("/proc/%d/task/%d/children" % (parent, parent), encoding="ascii") as f:
        for pid in f.read().split():
            found += [int(pid), *processes(int(pid))]
    return found


def descriptors(pids):
    return collections.Counter(pid for pid in pids for _ in os.listdir("/proc/%d/fd" % pid))


def memory(pids):
    """MiB, of all: what they share is counted once."""
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024
