# SPDX-License-Identifier: Apache-2.0
"""self.ssl, TLSEncryption, X509KeyBridge and PsslProxy: what older policies say becomes the scenario that a
new policy would name."""

import textwrap
import unittest

from policy_support import HEAD, PolicyTest, compile_policy

CERT = "-----BEGIN CERTIFICATE-----\n%s\n"
FILES = {"c.pem": CERT % "c", "ca.pem": CERT % "ca", "un.pem": CERT % "un", "k.pem": "-----BEGIN PRIVATE KEY-----\nk\n"}
TOP = HEAD + """\
from Zorp.Pssl import *
import os
D = os.path.dirname(__file__) + "/"
"""
FIRST = 9       # the line of the first statement behind config()


class LegacyTest(PolicyTest):
    def policy(self, body, base="SmtpProxy", head="", service="", proxy=""):
        text = TOP + "class My(%s):\n    def config(self):\n        %s.config(self)\n        pass\n" % (base, base)
        text += textwrap.indent(textwrap.dedent(body).strip("\n"), "        ") + "\n"
        if proxy:
            text += textwrap.indent(textwrap.dedent(proxy).strip("\n"), "    ") + "\n"
        return text + textwrap.dedent(head) + "\ndef default_instance():\n    Service('s', My%s)\n    Rule(service='s', dst_port=25)\n" % service

    def row(self, body, warnings=0, **more):
        self.result = self.good(self.policy(body, **more), warnings, files=FILES)
        document = self.result.document
        index = document["configs"][0].get("encryption")
        return None if index is None else document["encryptions"][index]

    def refused(self, body, *expected, **more):
        self.bad(self.policy(body, **more), *expected, files=FILES)


STATIC = """
self.ssl.client_cert_file = D + "c.pem"
self.ssl.client_key_file = D + "k.pem"
self.ssl.client_verify_type = SSL_VERIFY_NONE
"""


class Attributes(LegacyTest):
    def test_pairs(self):
        for client, server in ((0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 3), (0, 3), (1, 3)):
            row = self.row(STATIC + "self.ssl.client_connection_security = %d\nself.ssl.server_connection_security = %d" % (client, server))
            self.assertEqual((row["client"]["security"], row["server"]["security"]), (client, server))
            self.assertEqual(row["name"], "My")
        self.assertIsNone(self.row(STATIC))
        self.assertIsNone(self.row(STATIC + "self.ssl.client_connection_security = SSL_NONE"))

    def test_a_side_without_security_is_not_looked_at(self):
        self.row("self.ssl.client_cert_file = '/nonexistent'\nself.ssl.server_connection_security = SSL_FORCE_SSL")

    def test_defaults(self):
        row = self.row(STATIC.replace("self.ssl.client_verify_type = SSL_VERIFY_NONE", "") +
                       "self.ssl.client_connection_security = 1\nself.ssl.server_connection_security = 1")
        verifier = {"type": 4, "depth": 4, "permit_invalid": False, "permit_missing_crl": True}
        self.assertEqual(row["client"]["verifier"], verifier)
        self.assertEqual(row["server"]["verifier"], dict(verifier, check_subject=True))
        self.assertEqual(row["server"]["options"], {"versions": ["TLSv1.2", "TLSv1.3"], "ciphers": "HIGH:!aNULL:@STRENGTH", "session_seconds": 300})
        self.assertEqual((row["handshake_timeout"], row["server_first"]), (30000, False))

    def test_every_one(self):
        row = self.row(STATIC + textwrap.dedent("""
            self.ssl.client_connection_security = SSL_ACCEPT_STARTTLS
            self.ssl.server_connection_security = SSL_FORWARD_STARTTLS
            self.ssl.handshake_timeout = 1000
            self.ssl.handshake_seq = SSL_HSO_SERVER_CLIENT
            self.ssl.permit_invalid_certificates = TRUE
            self.ssl.permit_missing_crl = FALSE
            self.ssl.client_verify_type = SSL_VERIFY_OPTIONAL
            self.ssl.server_verify_type = SSL_VERIFY_REQUIRED_UNTRUSTED
            self.ssl.client_verify_depth = 1
            self.ssl.server_max_verify_depth = 2
            assert self.ssl.server_verify_depth == 2 and self.ssl.client_max_verify_depth == 1
            self.ssl.client_ca_directory = "/a"
            self.ssl.client_crl_directory = "/b"
            self.ssl.server_verify_ca_directory = "/c"
            self.ssl.server_verify_crl_directory = "/d"
            self.ssl.client_trusted_certs_directory = "/e"
            self.ssl.server_trusted_certs_directory = "/f"
            self.ssl.server_ssl_method = SSL_METHOD_TLSV1_2
            self.ssl.client_disable_proto_sslv2 = TRUE
            self.ssl.client_disable_proto_sslv3 = TRUE
            self.ssl.client_disable_proto_tlsv1 = FALSE
            self.ssl.client_ssl_cipher = (SSL_CIPHERS_CUSTOM, "A")
            self.ssl.server_ssl_cipher = "B"
            self.ssl.server_check_subject = FALSE
            self.ssl.client_handshake["verify_cert_ext"] = (SSL_HS_POLICY, lambda side, result: SSL_HS_ACCEPT)
            """))
        self.assertEqual((row["handshake_timeout"], row["server_first"]), (1000, True))
        self.assertEqual(row["client"], {
            "security": 2, "certificate": {"static": 0},
            "verifier": {"type": 1, "depth": 1, "permit_invalid": True, "permit_missing_crl": False, "ca_directory": "/a",
                         "hint_directory": "/a", "crl_directory": "/b", "pinned_directory": "/e", "verify": {"callback": 0}},
            "options": {"versions": ["TLSv1", "TLSv1.3"], "ciphers": "A", "session_seconds": 300, "server_preference": False,
                        "tickets": True}})
        self.assertEqual(row["server"], {
            "security": 3,
            "verifier": {"type": 3, "depth": 2, "permit_invalid": True, "permit_missing_crl": False, "ca_directory": "/c",
                         "crl_directory": "/d", "pinned_directory": "/f", "check_subject": False},
            "options": {"versions": ["TLSv1.2", "TLSv1.2"], "ciphers": "B", "session_seconds": 300}})

    def test_groups_of_directories(self):
        row = self.row("""
            self.ssl.server_connection_security = 1
            self.ssl.server_ca_directory = "/not this"
            self.ssl.server_cagroup_directories = ("/ca", "/crl")
            """)
        self.assertEqual((row["server"]["verifier"]["ca_directory"], row["server"]["verifier"]["crl_directory"]), ("/ca", "/crl"))
        self.assertEqual(self.row("self.ssl.server_connection_security = 1\nself.ssl.server_verify_cagroup_directories = ('/ca', '/crl')"), row)

    def test_certificates(self):
        on = "self.ssl.client_connection_security = 1\nself.ssl.client_verify_type = 0\n"
        rows = [self.row(on + body)["client"]["certificate"] for body in (
            "self.ssl.client_cert_file = D + 'c.pem'; self.ssl.client_key_file = D + 'k.pem'",
            "self.ssl.client_cert = D + 'c.pem'; self.ssl.client_key = D + 'k.pem'",
            "self.ssl.client_cert_file = '/x'; self.ssl.client_keypair_files = (D + 'c.pem', D + 'k.pem')",
            "self.ssl.client_local_privatekey_passphrase = 'p'; self.ssl.client_local_certificate = %r; self.ssl.client_local_privatekey = %r"
            % (FILES["c.pem"], FILES["k.pem"]))]
        self.assertEqual(rows, [{"static": 0}] * 4)
        self.assertEqual(self.result.secrets, [FILES["k.pem"].encode(), b"p"])
        self.assertEqual(self.result.document["tls_certificates"][0]["pem"], FILES["c.pem"])
        self.row(on + "self.ssl.client_cert_file = D + 'c.pem'; self.ssl.client_key_file = D + 'k.pem'")
        self.assertEqual(self.result.document["tls_keys"], [{"file": self.result.directory + "/k.pem", "at": [0, FIRST + 2]}])
        row = self.row("self.ssl.server_connection_security = 1\nself.ssl.server_keypair_files = (D + 'c.pem', D + 'k.pem')")
        self.assertEqual(row["server"]["certificate"], {"static": 0})

    def test_refused(self):
        on = "self.ssl.client_connection_security = 1; self.ssl.server_connection_security = 1; self.ssl.handshake_seq = 1; "
        for line, place, message in (
                ("self.ssl.client_connection_security = SSL_FORWARD_STARTTLS", FIRST, "can't be 3"),
                ("self.ssl.server_connection_security = SSL_ACCEPT_STARTTLS", FIRST, "can't be 2"),
                ("self.ssl.client_verify_type = 5", FIRST, "client_verify_type is 5"), ("self.ssl.client_cert_file = 5", FIRST, "must be the name"),
                ("self.ssl.client_keypair_files = 'x'", FIRST, "must be a pair"), ("self.ssl.client_local_certificate = 'x'", FIRST, "must be PEM"),
                ("self.ssl.client_local_ca_list[0] = 'x'", FIRST, "not part of Sallyport"), ("self.ssl.client_peer_certificate = 1", FIRST, "only be read"),
                ("self.ssl.client_handshake = {}", FIRST, "only be read"), ("self.ssl = 5", FIRST, "ssl can only be read"),
                ("self.ssl.key_generator = 5", FIRST, "is not an X509KeyManager"),
                ("self.ssl.client_handshake['setup_ca_list'] = (SSL_HS_POLICY, len)", FIRST, "nothing calls 'setup_ca_list'"),
                ("x = self.ssl.nosuch", FIRST, "has no attribute 'nosuch'"),
                (on + "self.ssl.handshake_seq = 0", 5, "no certificate to show to clients"),
                (on + "self.ssl.client_cert_file = D + 'c.pem'", 5, "has a certificate, but no key"),
                (on + "self.ssl.client_keypair_generate = TRUE", 5, "needs a key_generator"),
                (on + "self.ssl.client_keypair_generate = TRUE; self.ssl.handshake_seq = 0", 5, "needs the other side's certificate first"),
                (on + "self.ssl.client_keypair_generate = self.ssl.server_keypair_generate = TRUE", 5, "only one side"),
                (on + "self.ssl.client_keypair_files = ('/nonexistent', '/x')", 5, "can't be read"),
                ("self.ssl.server_connection_security = 1; self.ssl.server_ca_directory = '/a'; self.ssl.server_verify_ca_directory = '/b'", 5,
                 "are two folders")):
            self.refused(line, (place, message))

    def test_unknown_names_warn_once(self):
        self.row("for i in (1, 2):\n    self.ssl.client_cert_fiel = '/x'\nassert self.ssl.client_cert_fiel == '/x'", warnings=1)
        for line in ("self.ssl.client_ssl_method = SSL_METHOD_TLSV1", "self.ssl.client_disable_proto_sslv3 = FALSE"):
            self.row(line, warnings=1)

    def test_with_an_encryption_policy(self):
        head = "EncryptionPolicy('e', ServerOnlyEncryption())"
        on = "self.ssl.server_connection_security = SSL_FORCE_SSL"
        self.refused(on, (12, "My sets self.ssl, and the service has an encryption_policy"), head=head, service=", encryption_policy='e'")
        self.refused(on + "\nself.encryption_policy = 'e'", (5, "self.ssl and encryption_policy are given both"), head=head)
        self.good(self.policy("self.ssl.client_cert_file = '/x'", head=head, service=", encryption_policy='e'"))

    def test_methods_as_hooks(self):
        row = self.row("self.ssl.server_connection_security = 1\nself.ssl.server_handshake['verify_cert_ext'] = (SSL_HS_POLICY, self.check)",
                       proxy="def check(self, side, result):\n    return SSL_HS_ACCEPT")
        self.assertEqual(row["server"]["verifier"]["verify"], {"callback": 0})
        self.assertEqual(self.result.document["configs"][0]["class_number"], 0)


BRIDGE = "X509KeyBridge(key_file=D + 'k.pem', trusted_ca_files=(D + 'ca.pem', D + 'k.pem'%s), untrusted_ca_files=(D + 'un.pem', D + 'k.pem'%s))"


class Bridges(LegacyTest):
    BODY = """
        self.ssl.client_connection_security = SSL_FORCE_SSL
        self.ssl.server_connection_security = SSL_FORCE_SSL
        self.ssl.handshake_seq = SSL_HSO_SERVER_CLIENT
        self.ssl.client_keypair_generate = TRUE
        self.ssl.key_generator = self.bridge
        self.ssl.client_verify_type = SSL_VERIFY_NONE
        self.ssl.server_verify_type = SSL_VERIFY_REQUIRED_UNTRUSTED
        self.ssl.server_ca_directory = "/cas"
        """

    def test_the_typical_policy_is_its_scenario(self):
        for more in ("", ", ''"):
            row = self.row(self.BODY, proxy="bridge = " + BRIDGE % (more, more))
            keys = self.result.document["tls_keys"]
            self.assertEqual(len(keys), 1)
            new = self.good(TOP + textwrap.dedent("""
                k = PrivateKey.fromFile(D + 'k.pem')
                EncryptionPolicy('My', TwoSidedEncryption(
                    client_certificate_generator=DynamicCertificate(k, CertificateCA.fromFile(D + 'ca.pem', k), CertificateCA.fromFile(D + 'un.pem', k)),
                    client_verify=None,
                    server_verify=ServerCertificateVerifier(trusted=False, verify_ca_directory="/cas", permit_missing_crl=True)))
                def default_instance():
                    DenyService('no')
                """), files=FILES).document["encryptions"][0]
            self.assertEqual({**row, "at": None}, {**new, "at": None})
            self.assertEqual(row["client"]["certificate"]["bridge"], {"key": 0, "trusted_ca": 0, "untrusted_ca": 1,
                                                                      "extensions": ["keyUsage", "subjectAltName", "extendedKeyUsage"]})

    def test_passphrases_and_texts(self):
        self.row(self.BODY, proxy="bridge = " + BRIDGE % (", 'one'", ", 'two'"))
        self.assertEqual(self.result.secrets, [b"one", b"two"])
        text = "X509KeyBridge(key_pem=%r, key_passphrase='three', trusted_ca_files=(%r, %r), untrusted_ca_files=(%r, %r, 'four'), " \
               "cache_directory='/cache', extension_whitelist=('keyUsage',))" % (FILES["k.pem"], FILES["ca.pem"], FILES["k.pem"], FILES["un.pem"],
                                                                               FILES["k.pem"])
        row = self.row(self.BODY, proxy="bridge = " + text)
        self.assertEqual(self.result.secrets, [FILES["k.pem"].encode(), b"three", b"four"])
        bridge = row["client"]["certificate"]["bridge"]
        self.assertEqual((bridge["cache_directory"], bridge["extensions"]), ("/cache", ["keyUsage"]))

    def test_refused(self):
        for call, message in (
                ("X509KeyBridge()", "either key_file or key_pem"), ("X509KeyBridge('/k', trusted_ca_files=('a', 'b'))", "can't be read"),
                ("X509KeyBridge(D + 'k.pem', '', ('a',), ('a', 'b'))", "trusted_ca_files must be"),
                ("X509KeyBridge(D + 'k.pem', '', None, (D + 'ca.pem', D + 'k.pem'))", "trusted_ca_files must be"),
                ("X509KeyBridge(D + 'k.pem', '', (D + 'ca.pem', D + 'k.pem', '', ''), (D + 'ca.pem', D + 'k.pem'))", "trusted_ca_files must be"),
                ("X509KeyBridge(key_pem='x', trusted_ca_files=('a', 'b'), untrusted_ca_files=('a', 'b'))", "no -----BEGIN PRIVATE KEY-----")):
            found = compile_policy(TOP + call + "\ndef default_instance():\n    DenyService('no')\n", files=FILES)
            self.assertEqual(found.status, 1)
            self.assertEqual(found.problems[0]["line"], 5)
            self.assertIn(message, found.problems[0]["message"])
            self.assertNotIn("Traceback", found.stderr)


class Policies(LegacyTest):
    OLD = """
class Old(TLSEncryption):
    def config(self):
        TLSEncryption.config(self)
        self.client_connection_security = SSL_FORCE_SSL
        self.client_cert_file = D + "c.pem"
        self.client_key_file = D + "k.pem"
        self.client_verify_type = SSL_VERIFY_NONE
        self.handshake_timeout = 1000
EncryptionPolicy("old", Old())
"""

    def test_below_the_proxys_own(self):
        row = self.row("assert self.ssl.handshake_timeout == 1000\nself.ssl.handshake_timeout = 2000", head=self.OLD,
                       service=", encryption_policy='old'")
        self.assertEqual((row["client"]["security"], row["handshake_timeout"]), (1, 2000))
        self.assertNotIn("encryption", self.result.document["services"][0])

    def test_named_by_the_class(self):
        for name in ("self.encryption_policy = 'old'", ""):
            row = self.row(name, head=self.OLD, proxy="" if name else "encryption_policy = 'old'")
            self.assertEqual((row["client"]["security"], row["handshake_timeout"]), (1, 1000))

    def test_key_bridge(self):
        head = """
            class Old(TLSKeyBridgeEncryption):
                def config(self):
                    self.client_connection_security = self.server_connection_security = SSL_FORCE_SSL
                    self.handshake_seq = SSL_HSO_SERVER_CLIENT
                    self.client_keypair_generate = TRUE
                    self.keybridge_key_file = D + "k.pem"
                    self.keybridge_key_passphrase = "p"
                    self.keybridge_cache_directory = "/cache"
                    %s
            EncryptionPolicy("old", Old())
            """
        for cas in ("self.keybridge_trusted_ca_files = (D + 'ca.pem', D + 'k.pem'); self.keybridge_untrusted_ca_files = (D + 'un.pem', D + 'k.pem', '')",
                    "self.keybridge_trusted_ca_cert_file = D + 'ca.pem'; self.keybridge_trusted_ca_key_file = D + 'k.pem'; "
                    "self.keybridge_untrusted_ca_cert_file = D + 'un.pem'; self.keybridge_untrusted_ca_key_file = D + 'k.pem'"):
            row = self.row("", head=head % cas, service=", encryption_policy='old'")
            self.assertEqual(row["client"]["certificate"]["bridge"]["cache_directory"], "/cache")
            self.assertEqual(self.result.secrets, [b"p"])

    def test_two_services_with_one_class(self):
        document = self.good(self.policy("", head=self.OLD, service=", encryption_policy='old')\n    Service('t', My"), files=FILES).document
        configs = [document["configs"][s["config"]].get("encryption") for s in document["services"]]
        self.assertEqual(configs, [0, None])


class Pssl(LegacyTest):
    def test_both_sides_by_default(self):
        row = self.row("self.client_cert_file = D + 'c.pem'\nself.client_key_file = D + 'k.pem'\nself.server_verify_type = PSSL_VERIFY_NONE",
                       base="PsslProxy", proxy="client_verify_type = PSSL_VERIFY_NONE")
        self.assertEqual((row["client"]["security"], row["server"]["security"]), (1, 1))
        self.assertEqual((row["client"]["verifier"]["type"], row["server"]["verifier"]["type"]), (0, 0))
        self.assertEqual(self.result.document["configs"][0]["proxy"], "plug")

    def test_one_side(self):
        row = self.row("self.client_need_ssl = FALSE\nassert not self.client_need_ssl and self.server_verify_depth == 4", base="PsslProxy")
        self.assertEqual((row["client"]["security"], row["server"]["security"]), (0, 1))
        self.assertIsNone(self.row("self.client_need_ssl = self.server_need_ssl = FALSE", base="PsslProxy"))

    def test_plug_attributes_are_still_there(self):
        self.row("self.client_need_ssl = FALSE\nself.timeout = 5", base="PsslProxy")
        self.assertEqual(self.result.document["configs"][0]["attributes"], {"timeout": 5})
        self.refused("self.client_need_ssl = FALSE\nself.tiemout = 5", (FIRST + 1, "no attribute 'tiemout'"), base="PsslProxy")
        self.refused("self.client_need_ssl = FALSE\nself.stack_proxy = SmtpProxy", (FIRST + 1, "not yet part of Sallyport"), base="PsslProxy")

    def test_constants(self):
        self.good(TOP + "assert (PSSL_VERIFY_REQUIRED_TRUSTED, PSSL_HSO_SERVER_CLIENT, PSSL_HS_VERIFIED) == (4, 1, 10)\n"
                  "assert (PSSL_ERROR, PSSL_VIOLATION, PSSL_METHOD_ALL) == ('pssl.error', 'pssl.violation', 'SSLv23')\n"
                  "def default_instance():\n    DenyService('no')\n")


if __name__ == "__main__":
    unittest.main()
