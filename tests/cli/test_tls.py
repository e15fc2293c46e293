# SPDX-License-Identifier: Apache-2.0
"""What check says of keys, certificates and options of encryptions, and where secrets do not go."""

import json
import os
import shutil
import subprocess
import unittest

from support import NO, OK, Case

POLICY = """\
from Zorp.Smtp import *
def default_instance():
    K = PrivateKey.fromFile('%(folder)s/key.pem')
    EncryptionPolicy('mail', TwoSidedEncryption(
        StaticCertificate(Certificate.fromFile('%(folder)s/cert.pem', K)),
        client_verify=None, server_verify=ServerCertificateVerifier(verify_ca_directory='%(folder)s/cas')))
    DenyService('no')
    Rule(service='no')
"""


class Tls(Case):
    def setUp(self):
        super().setUp()
        self.certificate("key.pem", "cert.pem")
        os.mkdir(self.path("cas"))
        os.chmod(self.path("cas"), 0o755)

    def path(self, name):
        return os.path.join(self.folder, name)

    def certificate(self, key, certificate, passphrase=None):
        hidden = ["-nodes"] if passphrase is None else ["-passout", "pass:" + passphrase]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *hidden, "-keyout", self.path(key),
                        "-out", self.path(certificate), "-days", "2", "-subj", "/CN=mail.example"], check=True, capture_output=True)
        os.chmod(self.path(key), 0o644)

    def text(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read()

    def policy(self, *changes):
        text = POLICY % {"folder": self.folder}
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        return self.write(text)

    def says(self, line, message, *changes):
        found = self.problems(self.policy(*changes))
        self.assertEqual({p["line"] for p in found}, {line}, found)
        self.assertIn(message, found[0]["message"])

    def test_all_is_well(self):
        result = self.assertRuns(OK, "check", self.policy())
        self.assertEqual(result.stdout + result.stderr, "")

    def test_a_key_that_is_not_there(self):
        os.remove(self.path("key.pem"))
        self.says(3, "can't be read: No such file")

    @unittest.skipUnless(os.geteuid() == 0, "only root can make a file that policies can't read")
    def test_a_key_that_may_not_be_read(self):
        os.chmod(self.path("key.pem"), 0o600)
        self.says(3, "can't be read: Permission denied")

    def test_a_key_of_another_certificate(self):
        self.certificate("key.pem", "other.pem")
        self.says(5, "does not belong to the private key")

    def test_passphrases(self):
        self.certificate("key.pem", "cert.pem", "sesame")
        self.says(3, "passphrase")
        self.says(3, "passphrase", ("key.pem'", "key.pem', 'wrong'"))
        self.assertRuns(OK, "check", self.policy(("key.pem'", "key.pem', 'sesame'")))

    def test_no_certificate_in_the_file(self):
        os.rename(self.path("key.pem"), self.path("cert.pem"))
        found = self.problems(self.policy())
        self.assertIn("there is no -----BEGIN CERTIFICATE-----", found[0]["message"])

    def test_a_damaged_certificate(self):
        damaged = self.text("cert.pem").replace("M", "N", 3)
        with open(self.path("cert.pem"), "w", encoding="ascii") as f:
            f.write(damaged)
        found = self.problems(self.policy())
        self.assertEqual([p["line"] for p in found], [5], found)

    def test_ciphers_that_are_none(self):
        found = self.problems(self.policy(("client_verify=None", "client_verify=None, client_ssl_options=ClientSSLOptions(cipher='NOSUCH')")))
        self.assertIn("NOSUCH", found[0]["message"])

    def test_a_folder_that_is_not_there(self):
        os.rmdir(self.path("cas"))
        found = self.problems(self.policy())
        self.assertIn("/cas", found[0]["message"])

    def secret_policy(self):
        key = self.text("key.pem")
        return self.policy(("PrivateKey.fromFile('%s/key.pem')" % self.folder, "PrivateKey(%r, 'sesame')" % key)), key

    def test_secrets_are_in_no_document(self):
        self.certificate("key.pem", "cert.pem", "sesame")
        path, key = self.secret_policy()
        self.assertRuns(OK, "check", path)
        text = self.assertRuns(OK, "compile", path).stdout
        self.assertNotIn("PRIVATE KEY", text)
        self.assertNotIn(key.splitlines()[1], text)
        self.assertNotIn("sesame", text)
        self.assertEqual(json.loads(text)["secrets"], 2)

    def test_a_document_has_lost_its_secrets(self):
        path, _ = self.secret_policy()
        document = self.write(self.assertRuns(OK, "compile", path).stdout, "policy.json")
        result = self.assertRuns(NO, "check", document)
        self.assertIn("needs private keys or passphrases that are not in it", result.stderr)
        result = self.assertRuns(NO, "run", document, "--no-kernel", "--control", self.path("control"))
        self.assertIn("needs private keys or passphrases that are not in it", result.stderr)

    def test_a_document_with_files_is_a_policy(self):
        document = self.write(self.assertRuns(OK, "compile", self.policy()).stdout, "policy.json")
        self.assertRuns(OK, "check", document)

    def test_the_example(self):
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/tls")
        for name in ("policy.py", "certificates"):
            shutil.copy(os.path.join(folder, name), self.folder)
        subprocess.run([self.path("certificates")], check=True, capture_output=True)
        for name in ("mail", "lists"):
            os.chmod(self.path("keys/%s.key" % name), 0o644)
        os.chmod(self.path("policy.py"), 0o644)
        document = json.loads(self.assertRuns(OK, "compile", self.path("policy.py")).stdout)
        self.assertEqual([e["name"] for e in document["encryptions"]], ["starttls", "smtps"])
        self.assertRuns(OK, "check", self.path("policy.py"))

    def test_tls_that_can_not_be(self):
        service = "DenyService('no')\n    class Strict(SmtpProxy):\n        require_server_tls = TRUE\n    Service('s', Strict%s)"
        for encryption, message in (
                ("", "service 's': encryption 'none': require_server_tls needs one that has TLS with the server"),
                (", encryption_policy='mail'", None)):
            found = self.problems(self.policy(("DenyService('no')", service % encryption)), status=NO if message else OK)
            self.assertEqual([p["message"] for p in found if p["severity"] == "error"], [message] if message else [], encryption)

    def test_nobody_to_ask_about(self):
        """Of a server without a name neither its zone nor a mail domain says anything; found before the first mail."""
        policy = """\
from Zorp.Smtp import *
EncryptionPolicy('dane', SidedEncryption(SSL_NONE, SSL_FORCE_SSL, server_verify=ServerCertificateVerifier(verify_ca_directory='/', %s)))
class Named(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_zones = ('*', )
        self.server_name = %r
def default_instance():
    Service('mail', Named, encryption_policy='dane')
    Rule(service='mail', dst_port=25)
"""
        for what, word in (("dane=DANE_OPPORTUNISTIC", "(dane)"), ("mta_sts='example.com'", "(mta_sts)")):
            self.assertRuns(OK, "check", self.write(policy % (what, "mx.example.com")))
            found = self.problems(self.write(policy % (what, "")))
            self.assertEqual([(p["line"], "but the server has no name" in p["message"], word in p["message"]) for p in found],
                             [(9, True, True)], found)

    def test_an_unknown_name(self):
        found = self.problems(self.policy(("DenyService('no')", "DenyService('no'); Service('s', SmtpProxy, encryption_policy='mial')")))
        self.assertEqual((found[0]["line"], found[0]["message"], found[0]["hint"]),
                         (7, "service 's': there is no EncryptionPolicy 'mial'", "did you mean 'mail'?"))


if __name__ == "__main__":
    unittest.main()
