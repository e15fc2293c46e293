# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates that change under a running firewall, and a keeper that ends meanwhile."""

import glob
import os
import signal
import socket
import ssl

from support import LIMIT, ServerTest, free_port, receive, wait_for
from tls_support import Certificates, Site, openssl

POLICY = """\
from Zorp.Core import *
from Zorp.Plug import *

Zone('localhost', ['127.0.0.0/8'])
FOLDER = %(folder)r + "/"

EncryptionPolicy("tls", ClientOnlyEncryption(
    StaticCertificate(Certificate.fromFile(FOLDER + "mail.pem", PrivateKey.fromFile(FOLDER + "mail.key"))),
    client_verify=ClientNoneVerifier()))


class Plug(PlugProxy):
    def config(self):
        PlugProxy.config(self)
        self.timeout = 60000


def default_instance():
    Service("plug", Plug, router=DirectedRouter(SockAddrInet("127.0.0.1", %(server)d)), encryption_policy="tls")
    Rule(service="plug", dst_port=%(port)d, dst_subnet='127.0.0.1', src_zone='localhost')
"""

REFUSED = "A changed file can't be used; what was in use stays"
IN_USE = "A changed certificate is in use"


class Rotation(Certificates, ServerTest):
    def setUp(self):
        super().setUp()
        for name in ("mail", "new"):
            self.make(name, "/CN=%s.example" % name, None)
        for name in ("weak", "weaker"):     # than the library's level permits
            openssl("req", "-x509", "-config", self.path("openssl.cnf"), "-nodes", "-newkey", "rsa:1024", "-days", "60", "-keyout",
                    self.path(name + ".key"), "-out", self.path(name + ".pem"), "-subj", "/CN=weak.example")
        for key in glob.glob(self.path("*.key")):
            os.chmod(key, 0o644)
        self.first, self.second = self.certificate("mail"), self.certificate("new")
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(POLICY % {"folder": self.directory, "server": self.echo.port, "port": self.port})
        self.firewall = self.run_firewall(workers=2).ready()

    def certificate(self, name):
        with open(self.path(name + ".pem"), encoding="ascii") as f:
            return ssl.PEM_cert_to_DER_cert(f.read())

    def replace(self, name, *endings):
        for ending in endings:
            os.rename(self.path(name + ending), self.path("mail" + ending))

    def visit(self):
        """The certificate that is shown; None: the handshake fails."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), LIMIT) as plain:
            try:
                with context.wrap_socket(plain) as tls:
                    tls.sendall(b"hello")
                    self.assertEqual(receive(tls, 5), b"hello")
                    return tls.getpeercert(True)
            except (ssl.SSLError, ConnectionError):
                return None

    def keeper_pid(self):
        leader = self.firewall.leader_pid()
        with open("/proc/%d/task/%d/children" % (leader, leader), encoding="ascii") as f:
            return next(iter({int(pid) for pid in f.read().split()} - set(self.firewall.worker_pids())))

    def wait_for_log(self, text, times=1):
        self.firewall.wait_logged(text, times)

    def test_what_is_refused_replaces_nothing(self):
        self.assertEqual(self.visit(), self.first)
        for turn, name in enumerate(("weak", "weaker"), 1):
            self.replace(name, ".key", ".pem")
            self.wait_for_log(REFUSED, turn)
            self.assertEqual(self.visit(), self.first)
        shown = self.firewall.ask("stats")["certificates"][0]
        self.assertEqual((shown["replaced"], shown["refused"]), (0, 2))
        self.replace("new", ".key", ".pem")
        self.wait_for_log(IN_USE)
        wait_for(lambda: self.visit() == self.second, "the new certificate")
        self.assertEqual(self.firewall.log().count(REFUSED), 2)

    def test_a_keeper_that_ends_within_a_rotation(self):
        self.replace("new", ".key")
        self.wait_for_log(REFUSED)      # the certificate is of the other key
        self.assertEqual(self.visit(), self.first)
        os.kill(self.keeper_pid(), signal.SIGKILL)
        self.wait_for_log("A certificate has no key now")
        self.assertIn("file='%s'" % self.path("mail.pem"), self.firewall.log())
        wait_for(lambda: self.visit() is None, "a handshake that fails")
        self.replace("new", ".pem")
        self.wait_for_log(IN_USE)
        wait_for(lambda: self.visit() == self.second, "the new certificate")
        os.kill(self.keeper_pid(), signal.SIGKILL)
        self.wait_for_log("There is a keeper of the private keys again", 2)
        wait_for(lambda: self.visit() == self.second, "a signature of the third keeper")
        self.assertEqual(self.firewall.log().count("A certificate has no key now"), 1)


REVOCATION = """\
from Zorp.Core import *
from Zorp.Plug import *

Zone('localhost', ['127.0.0.0/8'])
FOLDER = %(folder)r + "/"

EncryptionPolicy("tls", ServerOnlyEncryption(server_verify=ServerCertificateVerifier(
    verify_ca_directory=FOLDER + "ca", verify_crl_directory=FOLDER + "crl", permit_missing_crl=%(missing)s, trusted=FALSE,
    check_subject=FALSE)))


class Plug(PlugProxy):
    def config(self):
        PlugProxy.config(self)
        self.timeout = 60000


def default_instance():
    Service("plug", Plug, router=DirectedRouter(SockAddrInet("127.0.0.1", %(server)d)), encryption_policy="tls")
    Rule(service="plug", dst_port=%(port)d, dst_subnet='127.0.0.1', src_zone='localhost')
"""

CA = """\
[ca]
default_ca=this
[this]
database=%(folder)s/index
default_md=sha256
default_crl_days=30
"""


class Revocation(Certificates, ServerTest):
    def setUp(self):
        super().setUp()
        self.make("root", "/CN=root", None, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
        self.make("site", "/CN=site.example", "root")
        for name in ("ca", "crl"):
            os.mkdir(self.path(name))
        self.hash = openssl("x509", "-in", self.path("root.pem"), "-noout", "-hash").decode().strip()
        os.link(self.path("root.pem"), self.path("ca/" + self.hash + ".0"))
        self.serial = openssl("x509", "-in", self.path("site.pem"), "-noout", "-serial").decode().strip().split("=")[1]
        with open(self.path("ca.cnf"), "w", encoding="ascii") as f:
            f.write(CA % {"folder": self.directory})
        site = Site(self.directory, "site")
        self.addCleanup(site.listener.close)
        self.port = free_port()
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(REVOCATION % {"folder": self.directory, "missing": "TRUE", "server": site.port, "port": self.port})

    def revoke(self, serials):
        with open(self.path("index"), "w", encoding="ascii") as f:
            f.writelines("R\t400101000000Z\t250101000000Z\t%s\tunknown\t/CN=x\n" % serial for serial in serials)
        openssl("ca", "-config", self.path("ca.cnf"), "-gencrl", "-keyfile", self.path("root.key"), "-cert", self.path("root.pem"),
                "-out", self.path("new.crl"))
        os.chmod(self.path("new.crl"), 0o644)
        os.rename(self.path("new.crl"), self.path("crl/" + self.hash + ".r0"))

    def visit(self):
        """Is the server let in?"""
        with socket.create_connection(("127.0.0.1", self.port), LIMIT) as sock:
            try:
                sock.sendall(b"hello")
                return receive(sock, 5) == b"hello"
            except ConnectionError:
                return False

    def test_a_large_list(self):
        firewall = self.run_firewall(workers=2).ready()
        self.assertTrue(self.visit())
        session = self.connect()
        self.roundtrip(session)
        others = ["%08X" % (0x10000000 + i) for i in range(30000)]
        self.revoke(others)
        in_use = "Changed CAs, CRLs or pinned certificates are in use"
        firewall.wait_logged(in_use)
        self.assertTrue(self.visit())
        self.revoke([*others, self.serial])
        wait_for(lambda: not self.visit(), "a refusal")
        wait_for(lambda: not any(self.visit() for _ in range(8)), "refusals of both workers")
        self.roundtrip(session)
        self.assertEqual(firewall.log().count("Changed CAs, CRLs or pinned certificates cannot be used"), 0)
