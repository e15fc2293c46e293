# SPDX-License-Identifier: Apache-2.0
"""Key bridging with the real program: two workers, two sites, one with a certificate that verifies."""

import glob
import os
import socket
import ssl

from support import LIMIT, ServerTest, free_port
from tls_support import Certificates, Site, openssl

POLICY = """\
from Zorp.Core import *
from Zorp.Plug import *
from Zorp.Proxy import *

Zone('localhost', ['127.0.0.0/8'])
FOLDER = %(folder)r

def ca(name):
    return Certificate.fromFile(FOLDER + "/%%s.pem" %% name, PrivateKey.fromFile(FOLDER + "/%%s.key" %% name))

EncryptionPolicy("bridge", TwoSidedEncryption(
    client_certificate_generator=DynamicCertificate(
        PrivateKey.fromFile(FOLDER + "/bridge.key"), ca("trusted"), ca("untrusted"), cache_directory=FOLDER + "/cache"%(more)s),
    client_verify=ClientNoneVerifier(),
    server_verify=ServerCertificateVerifier(trusted=FALSE, verify_ca_directory=FOLDER + "/ca", check_subject=FALSE)))

def default_instance():
    Service("good", PlugProxy, router=DirectedRouter(SockAddrInet("127.0.0.1", %(good)d)), encryption_policy="bridge")
    Service("bad", PlugProxy, router=DirectedRouter(SockAddrInet("127.0.0.1", %(bad)d)), encryption_policy="bridge")
    Rule(service="good", dst_port=%(port)d, dst_subnet='127.0.0.1', src_zone='localhost')
    Rule(service="bad", dst_port=%(bad_port)d, dst_subnet='127.0.0.1', src_zone='localhost')
"""


class Bridge(Certificates, ServerTest):
    def setUp(self):
        super().setUp()
        for name in ("root", "trusted", "untrusted"):
            self.make(name, f"/CN={name} authority", None, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
        names = "subjectAltName=DNS:www.site.example"
        self.make("good", "/O=Example/CN=www.site.example", "root", names, "keyUsage=critical,digitalSignature",
                  "extendedKeyUsage=serverAuth", "certificatePolicies=2.23.140.1.2.1")
        self.make("bad", "/CN=www.site.example", None, names)
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.path("bridge.key"))
        os.mkdir(self.path("ca"))
        os.link(self.path("root.pem"), self.path("ca/root.pem"))
        openssl("rehash", self.path("ca"))
        os.mkdir(self.path("cache"))
        os.chmod(self.path("cache"), 0o777)     # for the unprivileged user, where this runs as root
        for key in glob.glob(self.path("*.key")):
            os.chmod(key, 0o644)
        self.good, self.bad = Site(self.directory, "good"), Site(self.directory, "bad")
        self.addCleanup(self.good.listener.close)
        self.addCleanup(self.bad.listener.close)
        self.bad_port = free_port()
        self.write()

    def write(self, more=""):
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(POLICY % {"folder": self.directory, "good": self.good.port, "bad": self.bad.port, "port": self.port,
                              "bad_port": self.bad_port, "more": more})

    def visit(self, port, context=None):
        """A session; the certificate that the client saw (DER)."""
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as plain, \
                context.wrap_socket(plain, server_hostname="www.site.example") as tls:
            tls.sendall(b"hello")
            self.assertEqual(tls.recv(5), b"hello")
            return tls.getpeercert(True)

    @staticmethod
    def text(der):
        return openssl("x509", "-inform", "DER", "-noout", "-text", data=der).decode()

    def trusting(self):
        context = ssl.create_default_context(cafile=self.path("trusted.pem"))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def test_two_authorities(self):
        self.run_firewall().ready()
        # Who trusts the one CA gets to the site that is what it says, and is warned of the other.
        good = self.text(self.visit(self.port, self.trusting()))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.visit(self.bad_port, self.trusting())
        bad = self.text(self.visit(self.bad_port))
        self.assertIn("Issuer: CN = trusted authority", good)
        self.assertIn("Issuer: CN = untrusted authority", bad)
        self.assertIn("Subject: O = Example, CN = www.site.example", good)
        self.assertIn("DNS:www.site.example", good)
        self.assertIn("TLS Web Server Authentication", good)
        self.assertIn("Digital Signature, Key Encipherment", good)
        self.assertIn("X509v3 Authority Key Identifier", good)
        self.assertNotIn("Policies", good)
        # The server was asked for the name that the client asked for.
        self.assertEqual(set(self.good.names), {"www.site.example"})
        self.assertEqual(set(self.bad.names), {"www.site.example"})

    def test_one_certificate_for_all_workers_and_generations(self):
        firewall = self.run_firewall(workers=3).ready()
        seen = {self.visit(self.port) for _ in range(30)}
        firewall.ctl("reload")
        seen |= {self.visit(self.port) for _ in range(6)}
        firewall.end()
        os.unlink(firewall.log_path)    # whose "ready" would count again
        self.run_firewall().ready()
        seen |= {self.visit(self.port) for _ in range(6)}
        self.assertEqual(len(seen), 1)
        kept = glob.glob(self.path("cache/trusted-*.crt"))
        self.assertEqual(len(kept), 1)
        with open(kept[0], encoding="ascii") as f:
            self.assertEqual(ssl.PEM_cert_to_DER_cert(f.read()), seen.pop())

    def test_list_of_extensions(self):
        self.write(', extension_whitelist=("certificatePolicies",)')
        self.run_firewall().ready()
        text = self.text(self.visit(self.port))
        self.assertIn("2.23.140.1.2.1", text)
        self.assertNotIn("Alternative", text)

    def test_directory_that_is_not_there(self):
        os.rmdir(self.path("cache"))
        firewall = self.run_firewall().ready()
        self.assertIn("Issuer: CN = trusted authority", self.text(self.visit(self.port)))
        firewall.wait_logged("Cannot use the directory of bridged certificates")
