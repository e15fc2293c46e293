# SPDX-License-Identifier: Apache-2.0
"""Servers by the policies of mail domains (MTA-STS): a name server and a web server of the test's own, mail servers that
speak TLS, and what the firewall makes of what the domains say. The web server needs port 443 of a loopback address:
without the right to that the test is skipped."""

import collections
import contextlib
import os
import socket
import socketserver
import ssl
import struct
import threading
import unittest

import support
from support import LIMIT, free_port, wait_for
from tls_support import Certificates, MailServer, openssl

POLICY = """
from Zorp.Smtp import *

Zone("local", ["127.0.0.0/8"])

class Mail(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_zones = ("*", )
        self.server_name = "mx.mail.example"
        self.unconnected_response_code = 554

def serve(name, domain, required, server, port):
    EncryptionPolicy(name, SidedEncryption(SSL_NONE, SSL_FORCE_SSL, server_verify=ServerCertificateVerifier(
        trusted=FALSE, verify_ca_directory=%(cas)r, mta_sts=domain, mta_sts_required=required)))
    Service(name, Mail, router=DirectedRouter(SockAddrInet("127.0.0.1", server)), encryption_policy=name)
    Rule(service=name, dst_port=port, dst_subnet=("127.0.0.1", ))

def default_instance():
    for service in %(services)r:
        serve(*service)
"""

TXT, A = 16, 1
GOOD = "mx: mx.mail.example\n"
OTHER = "mx: mx.other.example\n"


def policy(mode, servers=GOOD, max_age=86400):
    return "version: STSv1\r\nmode: %s\r\nmax_age: %d\r\n%s" % (mode, max_age, servers)


class Page:
    def __init__(self, body, status="200 OK", *headers):
        self.octets = ("HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n" % (
            status, len(body), "".join(line + "\r\n" for line in headers or ("Content-Type: text/plain; charset=utf-8", )))
            + body).encode()


class Web(threading.Thread):
    """HTTPS on port 443 of an address of this process's own."""

    def __init__(self, certificate, key):
        super().__init__(daemon=True)
        self.pages = {}             # domain -> Page
        self.asked = collections.Counter()
        self.address = "127.%d.%d.%d" % (64 + (os.getpid() >> 16) % 64, os.getpid() >> 8 & 255, os.getpid() & 255 or 1)
        self.listener = socket.create_server((self.address, 443), backlog=64)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ssl.SSLError), connection:
            connection.settimeout(LIMIT)
            with self.context.wrap_socket(connection, server_side=True) as tls:
                lines = tls.makefile("rb")
                request = lines.readline()
                if not request:
                    return          # it does not like the certificate
                host = next(line.split(b":")[1].strip().decode() for line in lines if line.lower().startswith(b"host:"))
                assert request == b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n" and host.startswith("mta-sts."), request
                domain = host[len("mta-sts."):]
                self.asked[domain] += 1
                tls.sendall(self.pages[domain].octets)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Names(socketserver.ThreadingUDPServer):
    """Answers for _mta-sts.DOMAIN and mta-sts.DOMAIN."""

    daemon_threads = True

    def __init__(self, web_address):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.port = self.server_address[1]
        self.web = socket.inet_aton(web_address)
        self.records = {}           # domain -> list of texts; None: SERVFAIL
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            query, sock = self.request
            end, labels = 12, []
            while query[end]:
                labels.append(query[end + 1:end + 1 + query[end]].decode().lower())
                end += 1 + query[end]
            kind = struct.unpack(">H", query[end + 1:end + 3])[0]
            records = self.server.records.get(".".join(labels[1:]), [])
            code, answers = 0, []
            if records is None:
                code = 2
            elif (labels[0], kind) == ("_mta-sts", TXT):
                # In two strings each: what belongs together is put together.
                answers = [b"".join(bytes([len(part)]) + part for part in (text[:5].encode(), text[5:].encode())) for text in records]
            elif (labels[0], kind) == ("mta-sts", A):
                answers = [self.server.web]
            head = struct.pack(">2sHHHHH", query[:2], 0x8180 | code, 1, len(answers), 0, 0)
            body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(a)) + a for a in answers)
            sock.sendto(head + query[12:end + 5] + body, self.client_address)


def record(version):
    return ["v=STSv1; id=%s;" % version]


class MtaSts(support.ServerTest, Certificates):
    def setUp(self):
        super().setUp()
        self.make("ca", "/CN=CA", None, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
        os.mkdir(self.path("cas"))
        name = openssl("x509", "-in", self.path("ca.pem"), "-noout", "-subject_hash").decode().strip()
        os.link(self.path("ca.pem"), self.path("cas/%s.0" % name))

    def begin(self, domains, *more):
        """domains: domain -> (records, page); more: domains whose host the web server's certificate is not of."""
        self.make("web", "/CN=web", "ca", "subjectAltName=" + ",".join("DNS:mta-sts." + d for d in domains if d not in more))
        self.make("mail", "/CN=mail", "ca", "subjectAltName=DNS:mx.mail.example")
        self.make("stranger", "/CN=mail", None, "subjectAltName=DNS:mx.mail.example")
        try:
            self.web = Web(self.path("web.pem"), self.path("web.key"))
        except PermissionError:
            self.skipTest("port 443 can't be listened on")
        self.addCleanup(self.web.stop)
        self.dns = Names(self.web.address)
        self.addCleanup(self.dns.stop)
        self.servers = {name: MailServer(self.path(name + ".pem"), self.path(name + ".key"), False) for name in ("mail", "stranger")}
        for server in self.servers.values():
            self.addCleanup(server.stop)
        self.ports, services = {}, []
        for domain, (records, page) in domains.items():
            self.dns.records[domain] = records
            self.web.pages[domain] = page
            for required in (False, True):
                for server in self.servers:
                    port = self.ports[domain, required, server] = free_port()
                    services.append(("%s-%d-%s" % (domain, required, server), domain, required, self.servers[server].port, port))
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(POLICY % {"cas": self.path("cas"), "services": services})
        self.firewall = self.run_firewall("--verbose", "4", "--resolver", "127.0.0.1:%d" % self.dns.port, workers=1).ready()

    def send(self, domain, required=False, server="mail"):
        """The code of MAIL, or of the greeting if it is none."""
        before = self.servers[server].mails
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.ports[domain, required, server]), LIMIT)) as sock:
            sock.settimeout(3 * LIMIT)
            lines = sock.makefile("rb")
            code = lines.readline()[:3]
            for command in (b"HELO client", b"MAIL FROM:<a@b.example>") if code == b"220" else ():
                sock.sendall(command + b"\r\n")
                code = lines.readline()[:3]
        self.assertEqual(self.servers[server].mails - before, int(code == b"250"))
        return code.decode()

    def wait_verdict(self, domain, verdict, required=False, server="mail"):
        service = "/%s-%d-%s:" % (domain, required, server)
        wait_for(lambda: any(service in line and "verdict='%s'" % verdict in line for line in self.firewall.log().splitlines()),
                 lambda: "'%s' of %s in:\n%s" % (verdict, service, self.firewall.log()))

    def test_what_domains_say(self):
        domains = {
            # domain: (records, page), verdict, whom it lets pass: without and with mta_sts_required, and who is not verified
            "enforce.example": (record(1), Page(policy("enforce")), "enforce", "250", "250", "451"),
            "wildcard.example": (record(1), Page(policy("enforce", "mx: *.mail.example\n")), "enforce", "250", "250", "451"),
            "other.example": (record(1), Page(policy("enforce", OTHER)), "enforce", "451", "451", "451"),
            "testing.example": (record(1), Page(policy("testing")), "testing", "250", "250", "250"),
            "tested.example": (record(1), Page(policy("testing", OTHER)), "testing", "250", "451", "250"),
            "none.example": (record(1), Page(policy("none", "")), "none", "250", "451", "250"),
            "brief.example": (record(1), Page(policy("enforce", GOOD, 0)), "enforce", "250", "250", "451"),
            "absent.example": ([], Page(policy("enforce", OTHER)), "absent", "250", "451", "250"),
            "spf.example": (["v=spf1 -all"] + record(1), Page(policy("enforce")), "enforce", "250", "250", "451"),
            "two.example": (record(1) + record(2), Page(policy("enforce", OTHER)), "absent", "250", "451", "250"),
            "wrong.example": (["v=STSv1; id=?;"], Page(policy("enforce", OTHER)), "absent", "250", "451", "250"),
            "servfail.example": (None, Page(policy("enforce", OTHER)), "failed", "250", "451", "250"),
            "missing.example": (record(1), Page("", "404 Not Found"), "failed", "250", "451", "250"),
            "moved.example": (record(1), Page(policy("enforce", OTHER), "301 Moved", "Content-Type: text/plain",
                                              "Location: https://mta-sts.enforce.example/.well-known/mta-sts.txt"), "failed", "250", "451", "250"),
            "html.example": (record(1), Page(policy("enforce", OTHER), "200 OK", "Content-Type: text/html"), "failed", "250", "451", "250"),
            "typeless.example": (record(1), Page(policy("enforce", OTHER), "200 OK", "X: y"), "failed", "250", "451", "250"),
            "large.example": (record(1), Page(policy("enforce", OTHER) + "x: " + "y" * 65536), "failed", "250", "451", "250"),
            "nonsense.example": (record(1), Page(policy("enforcing", OTHER)), "failed", "250", "451", "250"),
            "uncertified.example": (record(1), Page(policy("enforce", OTHER)), "failed", "250", "451", "250"),
        }
        self.begin({domain: row[:2] for domain, row in domains.items()}, "uncertified.example")
        for domain, (_, _, verdict, opportunistic, required, stranger) in domains.items():
            with self.subTest(domain=domain):
                self.assertEqual(self.send(domain), opportunistic)
                self.wait_verdict(domain, verdict)
                self.assertEqual(self.send(domain, required=True), required)
                self.assertEqual(self.send(domain, server="stranger"), stranger)
        for domain in ("enforce.example", "missing.example", "moved.example", "nonsense.example", "testing.example"):
            self.assertEqual(self.web.asked[domain], 1, domain)     # good or not, it is not asked for again at once
        self.assertEqual(self.web.asked["uncertified.example"], 0)
        for domain, reason in (("missing", "the status is 404"), ("moved", "the status is 301"), ("html", "the file is not text/plain"),
                               ("typeless", "the file is not text/plain"), ("large", "the file is too large"),
                               ("nonsense", "the mode is none of")):
            self.firewall.wait_logged("domain='%s.example', id='1', reason='%s" % (domain, reason))
        self.firewall.wait_logged("The server does not meet the mail domain's policy")

    def test_changes(self):
        """A new id brings the new policy; what is known stays while nothing better can be had, and over a reload."""
        domain = "enforce.example"
        self.begin({domain: (record(1), Page(policy("enforce")))})
        self.assertEqual(self.send(domain), "250")
        self.web.pages[domain] = Page(policy("enforce", OTHER))
        self.assertEqual(self.send(domain), "250")          # nobody says that it is another one
        self.dns.records[domain] = record(2)
        self.assertEqual(self.send(domain), "451")
        self.assertEqual(self.web.asked[domain], 2)
        for version, page in ((3, Page("", "500 Broken")), (4, Page("Not a policy\n")), (5, Page(policy("none", ""), "302 Found"))):
            self.web.pages[domain] = page
            self.dns.records[domain] = record(version)
            for _ in range(2):
                self.assertEqual(self.send(domain), "451")
            self.assertEqual(self.web.asked[domain], version)
        self.firewall.wait_logged("can't be fetched; what was known of it stays", 3)
        for records in ([], None):
            self.dns.records[domain] = records
            self.assertEqual(self.send(domain), "451")
        self.firewall.ctl("reload")
        self.assertEqual(self.send(domain), "451")
        self.web.pages[domain] = Page(policy("none", ""))
        self.dns.records[domain] = record(6)
        self.assertEqual(self.send(domain, server="stranger"), "250")
        self.assertEqual(self.web.asked[domain], 6)
        self.wait_verdict(domain, "none", server="stranger")

    def test_nobody_answers(self):
        """Neither the name server nor the web server is there: without a policy that is known, what is required is not had."""
        domain = "enforce.example"
        self.begin({domain: (record(1), Page(policy("enforce")))})
        self.web.stop()
        self.assertEqual(self.send(domain, required=True), "451")
        self.wait_verdict(domain, "failed", required=True)
        self.assertEqual(self.send(domain), "250")
        self.dns.stop()
        self.assertEqual(self.send(domain, required=True), "451")


if __name__ == "__main__":
    unittest.main()
