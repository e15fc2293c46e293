# SPDX-License-Identifier: Apache-2.0
"""Hooks of handshakes: what policy code gets, what it may answer, with the test as the worker."""

import unittest

from worker_support import INFO, WorkerTest

POLICY = """
from Zorp.Plug import *
from Zorp.Smtp import *

K = PrivateKey("-----BEGIN PRIVATE KEY-----k")
C = Certificate("-----BEGIN CERTIFICATE-----c", K)
seen = []

def old_setup(side):
    return SSL_HS_ACCEPT

def setup(side, peer, name, proxy):
    if name == "raise":
        proxy.tls.client_local_privatekey_passphrase = "left behind"
        raise RuntimeError("no name")
    if name == "half":
        proxy.tls.client_local_certificate = "-----BEGIN CERTIFICATE-----h"
    if name == "bad":
        proxy.tls.client_local_privatekey = "no PEM"
    if name == "wrong side":
        proxy.tls.server_local_certificate = "-----BEGIN CERTIFICATE-----h"
    if name == "own":
        proxy.tls.client_local_privatekey_passphrase = "sesame"
        proxy.tls.client_local_certificate = "-----BEGIN CERTIFICATE-----one-----BEGIN CERTIFICATE-----two"
        proxy.tls.client_local_privatekey = "-----BEGIN PRIVATE KEY-----own"
        assert len(proxy.tls.client_local_certificate.chain) == 2 and "can't" in proxy.tls.client_local_privatekey
    assert (peer is None) == (name != "peer")
    return SSL_HS_ACCEPT

def old_verify(side, result):
    return SSL_HS_VERIFIED if result == (0, 18) else SSL_HS_REJECT

def verify(side, result, peer, proxy):
    if peer.subject == "/CN=text":
        return "accept"
    if peer.subject == "/CN=match":
        import re
        return re.match("x", "x")
    assert result == (1, 0) and proxy.session.service.name == "mail0"
    assert (peer.issuer, peer.serial, len(peer.chain), peer.blob) == ("/CN=ca", 2 ** 80, 2, "leaf"), vars(peer)
    assert proxy.encryption.settings.client_connection_security == SSL_FORCE_SSL
    return SSL_HS_ACCEPT

class Own(AbstractMatcher):
    def checkMatch(self, name):
        return name.startswith("own")

new = TwoSidedEncryption(SNIBasedCertificate({Own(): StaticCertificate(C)}), client_verify=ClientCertificateVerifier())
new.settings.client_handshake["setup_key"] = (SSL_HS_POLICY, setup)
new.settings.client_handshake["verify_cert_ext"] = (SSL_HS_POLICY, verify)
new.settings.server_handshake["setup_key"] = (SSL_HS_POLICY, old_setup)
new.settings.server_handshake["verify_cert_ext"] = (SSL_HS_POLICY, old_verify)
EncryptionPolicy("new", new)
EncryptionPolicy("other", ServerOnlyEncryption())

class Seen(SmtpProxy):
    encryption_policy = "new"
    def config(self):
        SmtpProxy.config(self)
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.look)
    def look(self, command, param):
        t = self.tls
        self.error_info = "|".join(str(v) for v in (t.server_name, t.client_version, t.client_cipher, t.client_group, t.client_resumed,
            t.client_certificate_trusted, t.client_verify_error, t.alpn, t.alpn_client_list, t.ja4, t.server_version + t.server_group,
            t.server_certificate_trusted, t.client_peer_certificate and t.client_peer_certificate.subject, t.server_peer_certificate,
            t.client_local_certificate))
        return SMTP_REQ_ACCEPT

class Manager(X509KeyManager):
    def getKeypair(self, selector):
        if "bridge-trusted-key" in selector:
            return None, None
        return "-----BEGIN CERTIFICATE-----for " + selector["bridge-untrusted-key"], "-----BEGIN PRIVATE KEY-----m"

class OldForm(SmtpProxy):
    key_generator = Manager()
    def config(self):
        SmtpProxy.config(self)
        self.ssl.client_connection_security = SSL_FORCE_SSL
        self.ssl.server_connection_security = SSL_FORCE_SSL
        self.ssl.handshake_seq = SSL_HSO_SERVER_CLIENT
        self.ssl.client_keypair_generate = TRUE
        self.ssl.key_generator = self.key_generator
        self.ssl.client_verify_type = SSL_VERIFY_NONE
        self.ssl.server_handshake["verify_cert_ext"] = (SSL_HS_POLICY, self.check)
        self._seen = 0
    def check(self, side, result):
        self._seen += 1
        assert self.ssl.server_peer_certificate.subject == "/CN=s" and self.ssl.client_tlsext_server_name == "n"
        return self._seen

class PerSession(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        if self.session.client_address.port == 1:
            self.encryption_policy = "other"
        if self.session.client_address.port == 2:
            self.encryption_policy = "nosuch"
        if self.session.client_address.port == 3:
            self.ssl.server_connection_security = SSL_FORCE_SSL

class PerSessionOld(SmtpProxy):
    config_per_session = TRUE
    def config(self):
        SmtpProxy.config(self)
        self.ssl.server_connection_security = SSL_FORCE_SSL
        self.ssl.server_verify_ca_directory = "/ca"
        if self.session.client_address.port == 4:
            self.ssl.server_verify_ca_directory = "/other"

def default_instance():
    for number, cls in enumerate((Seen, OldForm, PerSession, PerSessionOld)):
        Service("mail%d" % number, cls)
        Rule(service="mail%d" % number, dst_port=25 + number)
"""

LEAF = {"pem": "leaf", "subject": "/CN=x", "issuer": "/CN=ca", "serial": str(2 ** 80)}
FACTS = {"server_name": "own.example", "client": {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "group": "x25519", "resumed": 1,
                                                  "alpn": "smtp", "alpn_offered": "smtp,x", "ja4": "t13d", "trusted": 1, "error": 0,
                                                  "peer": [LEAF, {**LEAF, "pem": "ca"}]},
         "server": {"version": "TLSv1.2", "group": None, "trusted": 0}}


class Handshakes(WorkerTest):
    policy = POLICY
    default_class = "Seen"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.encryptions = {e["name"]: e for e in cls.document["encryptions"]}

    def hook(self, encryption, side, name, *args, tls=None, cls=None):
        row = self.encryptions[encryption][side]
        number = (row["certificate"][name] if name == "setup_key" else row["verifier"][name])["callback"]
        more = {} if tls is None else {"tls": tls}
        return self.ask("call", cls, args=[0 if side == "client" else 1, *args], callback=number, **more)

    def test_facts_are_told(self):
        number = self.configs["Seen"]["tables"]["request"]
        number = [r for r in number if r["key"] == ["NOOP"]][0]["call"]["callback"]
        none = self.ask("call", callback=number, args=["NOOP", ""])["attributes"]["error_info"]
        self.assertEqual(none, "||||0|0|0||()|||0|None|None|None")
        told = "own.example|TLSv1.3|TLS_AES_128_GCM_SHA256|x25519|1|1|0|smtp|('smtp', 'x')|t13d|TLSv1.2|0|/CN=x|None|None"
        answer = self.ask("call", callback=number, args=["NOOP", ""], tls=FACTS)
        self.assertEqual(answer["attributes"]["error_info"], told)
        # They are kept until others come.
        answer = self.ask("call", callback=number, args=["NOOP", ""])
        self.assertEqual(answer["attributes"]["error_info"], told)
        self.session = 2
        self.assertEqual(self.ask("call", callback=number, args=["NOOP", ""])["attributes"]["error_info"], none)

    def test_verify(self):
        self.assertEqual(self.hook("new", "client", "verify", 1, 0, tls=FACTS), {"op": "done", "result": 1})
        self.assertEqual(self.hook("new", "server", "verify", 0, 18), {"op": "done", "result": 10})
        self.assertEqual(self.hook("new", "server", "verify", 1, 0), {"op": "done", "result": 3})

    def test_a_verdict_is_a_number(self):
        def about(subject):
            return self.hook("new", "client", "verify", 1, 0, tls={"client": {"peer": [{**LEAF, "subject": subject}]}})
        self.assertEqual(about("/CN=text")["result"], "accept")     # which the worker takes for a no
        self.assertEqual(about("/CN=match")["op"], "raised")

    def test_setup_key(self):
        def named(name, **more):
            return self.hook("new", "client", "setup_key", tls={"server_name": name, **more})
        self.assertEqual(named(""), {"op": "done", "result": 1})
        self.assertEqual(named("peer", server={"peer": [LEAF]}), {"op": "done", "result": 1})
        self.assertEqual(named("own"), {"op": "done", "result": 1, "tls": {
            "certificate": "-----BEGIN CERTIFICATE-----one-----BEGIN CERTIFICATE-----two", "key": "-----BEGIN PRIVATE KEY-----own",
            "passphrase": "sesame"}})
        for name, says in (("raise", "no name"), ("half", "without its key"), ("bad", "must be PEM text"),
                           ("wrong side", "in the setup_key hook of the server side only")):
            answer = named(name)
            self.assertEqual(answer["op"], "raised")
            self.assertIn(says, answer["message"])
            self.assertEqual(named(""), {"op": "done", "result": 1})     # nothing of it is left
        self.assertEqual(self.hook("new", "server", "setup_key"), {"op": "done", "result": 1})

    def test_matchers_of_names(self):
        matcher = self.encryptions["new"]["client"]["certificate"]["named"][0][0]["callback"]
        self.assertEqual(self.ask("call", callback=matcher, args=["own.example"])["result"], 1)
        self.assertEqual(self.ask("call", callback=matcher, args=["example"])["result"], 0)

    def test_hooks_of_the_old_form_belong_to_their_session(self):
        facts = {"server_name": "n", "server": {"peer": [{**LEAF, "subject": "/CN=s"}], "trusted": 0}}
        for session, result in ((1, 1), (2, 1), (1, 2)):
            self.session = session
            answer = self.hook("OldForm", "server", "verify", 1, 0, tls=facts, cls="OldForm")
            self.assertEqual(answer, {"op": "done", "result": result})

    def test_a_key_manager_of_the_policys_own(self):
        facts = {"server": {"peer": [LEAF], "trusted": 0}}
        answer = self.hook("OldForm", "client", "setup_key", tls=facts, cls="OldForm")
        self.assertEqual(answer, {"op": "done", "result": 1, "tls": {"certificate": "-----BEGIN CERTIFICATE-----for leaf",
                                                                     "key": "-----BEGIN PRIVATE KEY-----m"}})
        facts["server"]["trusted"] = 1
        self.assertEqual(self.hook("OldForm", "client", "setup_key", tls=facts, cls="OldForm"), {"op": "done", "result": 3})
        self.assertEqual(self.hook("OldForm", "client", "setup_key", tls={}, cls="OldForm"), {"op": "done", "result": 1})

    def configured(self, cls, port):
        self.session += 1
        return self.ask("hook", cls, name="config", session_info={**INFO, "client_address": ["192.0.2.9", port]})

    def test_a_session_chooses(self):
        names = [e["name"] for e in self.document["encryptions"]]
        self.assertEqual(self.configured("PerSession", 1)["encryption"], names.index("other"))
        self.assertNotIn("encryption", self.configured("PerSession", 9))
        answer = self.configured("PerSession", 2)
        self.assertEqual(answer["op"], "raised")
        self.assertIn("there is no EncryptionPolicy 'nosuch'", answer["message"])
        self.assertIn("was not known when the policy was loaded", self.configured("PerSession", 3)["message"])

    def test_a_session_says_again_what_was_known(self):
        names = [e["name"] for e in self.document["encryptions"]]
        self.assertEqual(self.configured("PerSessionOld", 9)["encryption"], names.index("PerSessionOld"))
        answer = self.configured("PerSessionOld", 4)
        self.assertEqual(answer["op"], "raised")
        self.assertIn("was not known when the policy was loaded", answer["message"])


if __name__ == "__main__":
    unittest.main()
