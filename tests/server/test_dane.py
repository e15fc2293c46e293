# SPDX-License-Identifier: Apache-2.0
"""Servers by their TLSA records: a signed zone on a name server of its own, servers that speak TLS, and
what the firewall makes of what the zone says."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import unittest

import support
from support import LIMIT, free_port, wait_for
from tls_support import Certificates, MailServer, openssl

ZONE = "dane.example"

POLICY = """
from Zorp.Smtp import *

Zone("local", ["127.0.0.0/8"])

def encrypt(name, dane, **more):
    EncryptionPolicy(name, SidedEncryption(SSL_NONE, SSL_%(security)s, server_verify=ServerCertificateVerifier(dane=dane, **more)))

encrypt("opportunistic", DANE_OPPORTUNISTIC, trusted=FALSE)
encrypt("required", DANE_REQUIRED, trusted=FALSE)

class Mail(SmtpProxy):
    relay_zones = ("*", )
    def config(self):
        SmtpProxy.config(self)
        self.relay_zones = ("*", )
        self.unconnected_response_code = 554

%(classes)s
def default_instance():
%(services)s
"""

CLASS = """
class Mail%(number)d(Mail):
    def config(self):
        Mail.config(self)
        self.server_name = "%(name)s"
"""

SERVICE = """
    Service("s%(number)d", Mail%(number)d, router=DirectedRouter(SockAddrInet("127.0.0.1", %(server)d)), encryption_policy="%(encryption)s")
    Rule(service="s%(number)d", dst_port=%(port)d, dst_subnet=("127.0.0.1", ))
"""

# name of the server -> (verdict, does it get mail if DANE is opportunistic, and if it is required?)
SERVERS = {
    "right." + ZONE: ("secure", True, True),
    "issuer." + ZONE: ("secure", True, True),
    "wrong." + ZONE: ("secure", False, False),
    "one-of-three." + ZONE: ("secure", True, True),
    "nothing." + ZONE: ("denied", True, False),
    "useless." + ZONE: ("unusable", True, False),
    "changed." + ZONE: ("bogus", False, False),
    "alias." + ZONE: ("secure", True, True),
    # Aliases of the host's name: the records of what it stands for, checked by that one's name; else its own.
    "followed." + ZONE: ("secure", True, True),
    "follows-issuer." + ZONE: ("secure", True, True),
    "fallback." + ZONE: ("secure", True, True),
    "leaves." + ZONE: ("secure", True, True),
    "leaves-bare." + ZONE: ("denied", True, False),
    "leaves-oddly." + ZONE: ("secure", True, True),     # by what is signed to what nobody signed, and that to no host's name
    "follows-wrong." + ZONE: ("secure", False, False),
    "enters.plain.example": ("unsigned", True, False),
    "plain.example": ("unsigned", True, False),
    # Nobody can say whether it has records, but nobody could have signed them either.
    "broken.plain.example": ("unsigned", True, False),
}


class NameServer:
    """nsd with ZONE, signed, and plain.example, not signed. Nobody's but the test's."""

    def __init__(self, records):
        self.directory = tempfile.mkdtemp(prefix="sallyport-dns-")
        self.port = free_port()
        os.chmod(self.directory, 0o755)
        self.write("plain.example.zone", self.zone("plain.example", "@ A 127.0.0.1\nbroken A 127.0.0.1\n_tcp.broken NS ns\n"
                                                   f"enters CNAME right.{ZONE}.\nodd CNAME *.nowhere\n"))
        self.write("zone", self.zone(ZONE, records))
        self.keys = [self.tool("ldns-keygen", "-a", "ECDSAP256SHA256", *flags, ZONE).strip() for flags in (["-k"], [])]
        self.tool("ldns-signzone", "-f", "signed", "zone", *self.keys)
        self.change("changed." + ZONE)
        self.anchor = self.path(self.keys[0] + ".key")
        self.write("nsd.conf", f"""
server:
    ip-address: 127.0.0.1
    port: {self.port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{self.directory}"
    database: ""
    pidfile: "{self.path('pid')}"
    xfrdfile: ""
    zonelistfile: "{self.path('zone.list')}"
    xfrdir: "{self.directory}"
remote-control:
    control-enable: no
zone:
    name: {ZONE}
    zonefile: signed
zone:
    name: plain.example
    zonefile: plain.example.zone
zone:
    name: _tcp.broken.plain.example
    zonefile: missing
""")
        self.log = open(self.path("log"), "wb")
        self.process = subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", self.path("nsd.conf")], stdout=self.log, stderr=self.log)
        try:
            wait_for(self.answers, lambda: "nsd: " + self.read("log"))
        except BaseException:
            self.stop()
            raise

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), encoding="ascii", errors="replace") as f:
            return f.read()

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(text)

    def tool(self, *words):
        return subprocess.run(words, cwd=self.directory, capture_output=True, check=True, text=True, timeout=60).stdout

    @staticmethod
    def zone(name, records):
        return f"$ORIGIN {name}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{records}"

    def change(self, name):
        """The records of that name, behind the back of their signature."""
        lines = self.read("signed").splitlines()
        changed = [line.replace("00", "11").replace("aa", "bb") + ("" if "00" in line or "aa" in line else "11")
                   if name in line and "\tTLSA\t" in line else line for line in lines]
        assert changed != lines, "there was nothing to change"
        self.write("signed", "\n".join(changed) + "\n")

    def answers(self):
        """Does it? A question of its own, for the zone's SOA."""
        query = b"\0\1\0\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(w)]) + w.encode() for w in ZONE.split(".")) + b"\0\0\6\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, contextlib.suppress(OSError):
            s.settimeout(0.5)
            s.connect(("127.0.0.1", self.port))
            s.send(query)
            return len(s.recv(4096)) > len(query)
        return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory)


class Dane(support.ServerTest, Certificates):
    def setUp(self):
        super().setUp()
        self.make("ca", "/CN=CA", None, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
        self.make("mail", "/CN=mail", "ca", "subjectAltName=DNS:issuer." + ZONE)
        with open(self.path("chain.pem"), "wb") as f:
            for name in ("mail", "ca"):
                f.write(open(self.path(name + ".pem"), "rb").read())

    def digest(self, name):
        """Of a certificate's key."""
        key = openssl("x509", "-in", self.path(name + ".pem"), "-pubkey", "-noout")
        return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", data=key)).hexdigest()

    def begin(self, starttls, *arguments, anchor=None):
        """Two services a server: one where DANE is opportunistic, one where it is required."""
        self.server = MailServer(self.path("chain.pem"), self.path("mail.key"), starttls)
        self.addCleanup(self.server.stop)
        right, ca, wrong = self.digest("mail"), self.digest("ca"), "ab" * 32
        records = "".join(f"_{self.server.port}._tcp.{name} TLSA {data}\n" for name, data in (
            ("right", "3 1 1 " + right), ("issuer", "2 1 1 " + ca), ("wrong", "3 1 1 " + wrong),
            ("one-of-three", "3 1 1 " + wrong), ("one-of-three", "3 1 1 " + right), ("one-of-three", "0 1 1 " + ca),
            ("useless", "1 1 1 " + right), ("changed", "3 1 1 " + right)))
        records += f"_{self.server.port}._tcp.alias CNAME _{self.server.port}._tcp.right\n"
        aliases = {"followed": "right", "follows-issuer": "issuer", "fallback": "nothing", "follows-wrong": "wrong",
                   "leaves": "plain.example.", "leaves-bare": "plain.example.", "leaves-oddly": "odd.plain.example."}
        records += "".join(f"{name} CNAME {target}\n" for name, target in aliases.items())
        records += "".join(f"_{self.server.port}._tcp.{name} TLSA 3 1 1 {right}\n" for name in ("fallback", "leaves", "leaves-oddly", "follows-wrong"))
        records += "".join(f"{name.split('.')[0]} A 127.0.0.1\n" for name in SERVERS
                           if name.endswith(ZONE) and name.split(".")[0] not in aliases)
        self.dns = NameServer(records)
        self.addCleanup(self.dns.stop)
        self.services = [(name, encryption, free_port()) for name in SERVERS for encryption in ("opportunistic", "required")]
        rows = [{"number": n, "name": name, "server": self.server.port, "encryption": encryption, "port": port}
                for n, (name, encryption, port) in enumerate(self.services)]
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(POLICY % {"classes": "".join(CLASS % row for row in rows), "services": "".join(SERVICE % row for row in rows),
                              "security": "FORWARD_STARTTLS" if starttls else "FORCE_SSL"})
        arguments = arguments or ("--trust-anchor", anchor or self.dns.anchor, "--dns-forwarder", "127.0.0.1:%d" % self.dns.port)
        self.firewall = self.run_firewall("--verbose", "4", *arguments, workers=1).ready()

    def port_of(self, name, encryption):
        return next(p for n, e, p in self.services if (n, e) == (name, encryption))

    def send(self, name, encryption):
        """The codes of the greeting, and of MAIL if it came to that."""
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port_of(name, encryption)), LIMIT)) as sock:
            lines = sock.makefile("rb")
            greeting = lines.readline()[:3]
            codes = [greeting]
            for command in (b"HELO client", b"MAIL FROM:<a@b.example>") if greeting == b"220" else ():
                try:
                    sock.sendall(command + b"\r\n")
                    codes.append(lines.readline()[:3])
                except ConnectionError:     # it was closed before this command
                    codes.append(b"")
            return codes

    def verdict(self, name, encryption):
        """As it was logged; the log comes when it comes."""
        service = "/s%d:" % self.services.index((name, encryption, self.port_of(name, encryption)))
        owner = f"name='_{self.server.port}._tcp.{name}'"

        def look():
            return [line for line in self.firewall.log().splitlines() if owner in line and service in line]
        return wait_for(look, "a verdict on " + name)[-1].split("verdict='")[1].split("'")[0]

    def check(self, refusal):
        for name, (verdict, opportunistic, required) in SERVERS.items():
            for encryption, passes in (("opportunistic", opportunistic), ("required", required)):
                with self.subTest(name=name, encryption=encryption):
                    before = self.server.mails
                    codes = self.send(name, encryption)
                    self.assertEqual(codes, [b"220", b"250", b"250"] if passes else refusal(verdict))
                    self.assertEqual(self.server.mails - before, int(passes))
                    self.assertEqual(self.verdict(name, encryption), verdict)

    def test_tls_from_the_first_octet(self):
        self.begin(False)
        self.check(lambda verdict: [b"451"])

    def test_starttls(self):
        """The client is plain; whether the server's connection may be, the zone says."""
        self.begin(True)
        self.check(lambda verdict: [b"220", b"421", b""] if verdict == "secure" else [b"451"])
        self.assertEqual(self.server.plain_mails, 0)

    def test_nobody_answers(self):
        """The name server is gone: temporary refusals, and afterwards all is well again."""
        self.begin(False)
        self.dns.process.kill()
        self.dns.process.wait()
        self.assertEqual(self.send("right." + ZONE, "opportunistic"), [b"451"])
        self.assertEqual(self.verdict("right." + ZONE, "opportunistic"), "failed")

    def test_no_trust_anchor(self):
        """Then nothing is signed, and all would be believed to be as it is."""
        self.begin(False, "--trust-anchor", "/nonexistent/anchor")
        self.assertEqual(self.send("right." + ZONE, "opportunistic"), [b"451"])
        self.assertEqual(self.verdict("right." + ZONE, "opportunistic"), "failed")
        self.firewall.wait_logged("the trust anchor /nonexistent/anchor can")

    def test_trust_anchor_without_a_key(self):
        anchor = os.path.join(self.directory, "anchor")
        with open(anchor, "w", encoding="ascii") as f:
            f.write("; . IN DS 20326 8 2 E06D44B8\n. IN NS a.root-servers.net.\n")
        self.begin(False, "--trust-anchor", anchor)
        self.assertEqual(self.send("right." + ZONE, "opportunistic"), [b"451"])
        self.firewall.wait_logged("has no DS or DNSKEY record")

    def greeting(self, expected):
        wait_for(lambda: self.send("right." + ZONE, "opportunistic")[0] == expected, "the greeting " + str(expected))

    def test_trust_anchor_that_comes_and_changes(self):
        anchor = os.path.join(self.directory, "anchor")

        def put(text):
            with open(anchor + ".new", "w", encoding="ascii") as f:
                f.write(text)
            os.chmod(anchor + ".new", 0o644)
            os.rename(anchor + ".new", anchor)
        self.begin(False, anchor=anchor)
        self.greeting(b"451")
        with open(self.dns.anchor, encoding="ascii") as f:
            right = f.read()
        put(right)
        self.greeting(b"220")
        put(f"{ZONE}. IN DS 12345 13 2 " + "ab" * 32 + "\n")
        self.greeting(b"451")
        put("; nothing that could be believed\n")
        self.greeting(b"451")
        put(right)
        self.greeting(b"220")


if __name__ == "__main__":
    unittest.main()
