# SPDX-License-Identifier: Apache-2.0
"""Encryption policies: what the classes make of their arguments, and what they refuse."""

import json
import unittest

from policy_support import HEAD, PolicyTest, compile_policy, instance

TOP = HEAD + """\
K = PrivateKey('-----BEGIN PRIVATE KEY-----\\nkey\\n', 'sesame')
C = Certificate('text before\\n-----BEGIN CERTIFICATE-----\\nleaf\\n', K)
CA = CertificateCA('-----BEGIN CERTIFICATE-----\\nca\\n', K)
S = StaticCertificate(C)
"""
BODY = 7        # the line of the first statement in the instance
SECURITY = {
    "ClientOnlyEncryption(S)": (1, 0), "ServerOnlyEncryption()": (0, 1), "TwoSidedEncryption(S)": (1, 1),
    "ClientOnlyStartTLSEncryption(S)": (2, 0), "FakeStartTLSEncryption(S)": (2, 1), "ForwardStartTLSEncryption(S)": (2, 3),
}


class EncryptionTest(PolicyTest):
    def compiled(self, body, **more):
        return self.good(instance(body + "\nDenyService('no')", TOP), **more)

    def encryption(self, expression, **more):
        return self.compiled("EncryptionPolicy('e', %s)" % expression, **more).document["encryptions"][0]

    def refused(self, expression, *expected):
        self.bad(instance("EncryptionPolicy('e', %s)\nDenyService('no')" % expression, TOP), (BODY,) + expected)


class Scenarios(EncryptionTest):
    def test_security_pairs(self):
        for expression, (client, server) in SECURITY.items():
            row = self.encryption(expression)
            self.assertEqual((row["client"]["security"], row["server"]["security"]), (client, server), expression)
            self.assertFalse(row["server_first"])
            self.assertEqual(row["handshake_timeout"], 30000)
            if not client:
                self.assertEqual(row["client"], {"security": 0})
            if not server:
                self.assertEqual(row["server"], {"security": 0})

    def test_default_verifiers_are_strict(self):
        row = self.encryption("TwoSidedEncryption(S)")
        self.assertEqual(row["client"]["verifier"], {"type": 4, "depth": 4, "permit_invalid": False, "permit_missing_crl": False})
        self.assertEqual(row["server"]["verifier"], {"type": 4, "depth": 4, "permit_invalid": False, "permit_missing_crl": False,
                                                     "check_subject": True})

    def test_none_is_no_verification_and_default_options(self):
        row = self.encryption("TwoSidedEncryption(S, None, None, None, None, None)")
        other = self.encryption("TwoSidedEncryption(S, client_verify=ClientNoneVerifier(), server_verify=ServerNoneVerifier(), "
                                "client_ssl_options=ClientSSLOptions(), server_ssl_options=ServerSSLOptions())")
        self.assertEqual(row, other)
        self.assertEqual(row["client"]["verifier"]["type"], 0)
        self.assertEqual(row["server"]["verifier"]["type"], 0)
        self.assertFalse(row["server"]["verifier"]["check_subject"])

    def test_default_options(self):
        row = self.encryption("TwoSidedEncryption(S)")
        self.assertEqual(row["client"]["options"], {"versions": ["TLSv1.2", "TLSv1.3"], "ciphers": "HIGH:!aNULL:@STRENGTH",
                                                    "session_seconds": 300, "server_preference": False, "tickets": True})
        self.assertEqual(row["server"]["options"], {"versions": ["TLSv1.2", "TLSv1.3"], "ciphers": "HIGH:!aNULL:@STRENGTH",
                                                    "session_seconds": 300})

    def test_order_of_handshakes(self):
        dynamic = "DynamicCertificate(K, CA, CA)"
        self.assertTrue(self.encryption("TwoSidedEncryption(%s)" % dynamic)["server_first"])
        self.assertFalse(self.encryption("TwoSidedEncryption(S, %s)" % dynamic)["server_first"])
        document = self.compiled("t = TwoSidedEncryption(S)\nt.settings.handshake_seq = SSL_HSO_SERVER_CLIENT\n"
                                 "EncryptionPolicy('e', t)").document
        self.assertTrue(document["encryptions"][0]["server_first"])

    def test_a_bridge_has_the_other_sides_certificate_first(self):
        dynamic = "DynamicCertificate(K, CA, CA)"
        for expression in ("FakeStartTLSEncryption(%s)", "ForwardStartTLSEncryption(%s)", "SidedEncryption(1, 3, S, %s)"):
            self.encryption(expression % dynamic)
        for expression, seq, hint in (
                ("TwoSidedEncryption(%s)", "CLIENT_SERVER", "SSL_HSO_SERVER_CLIENT"),
                ("ForwardStartTLSEncryption(%s)", "CLIENT_SERVER", "SSL_HSO_SERVER_CLIENT"),
                ("TwoSidedEncryption(S, %s)", "SERVER_CLIENT", "SSL_HSO_CLIENT_SERVER"),
                ("SidedEncryption(1, 3, %s)", "SERVER_CLIENT", "TwoSidedEncryption"),
                ("SidedEncryption(2, 1, S, %s)", "CLIENT_SERVER", "TwoSidedEncryption")):
            text = "t = %s\nt.settings.handshake_seq = SSL_HSO_%s\nEncryptionPolicy('e', t)\nDenyService('no')"
            self.bad(instance(text % (expression % dynamic, seq), TOP), (BODY + 2, "whose handshake comes later", hint))

    def test_constants(self):
        self.good(instance("DenyService('no')", TOP + """\
assert (SSL_VERIFY_NONE, SSL_VERIFY_OPTIONAL, SSL_VERIFY_OPTIONAL_UNTRUSTED, SSL_VERIFY_OPTIONAL_TRUSTED) == (0, 1, 1, 2)
assert (SSL_VERIFY_REQUIRED_UNTRUSTED, SSL_VERIFY_REQUIRED_TRUSTED) == (3, 4)
assert (SSL_NONE, SSL_FORCE_SSL, SSL_ACCEPT_STARTTLS, SSL_FORWARD_STARTTLS) == (0, 1, 2, 3)
assert (SSL_HSO_CLIENT_SERVER, SSL_HSO_SERVER_CLIENT) == (0, 1)
assert (SSL_HS_ACCEPT, SSL_HS_REJECT, SSL_HS_POLICY, SSL_HS_VERIFIED) == (1, 3, 6, 10)
assert SSL_CIPHERS_ALL == "ALL:!aNULL:@STRENGTH" and SSL_CIPHERS_HIGH == "HIGH:!aNULL:@STRENGTH"
assert SSL_CIPHERS_MEDIUM == "HIGH:MEDIUM:!aNULL:@STRENGTH" and SSL_CIPHERS_CUSTOM == ""
assert SSL_CIPHERS_LOW == "HIGH:MEDIUM:LOW:EXPORT:!aNULL:@STRENGTH" and SSL_METHOD_ALL == SSL_METHOD_SSLV23 == "SSLv23"
assert (SSL_ERROR, SSL_DEBUG, SSL_INFO, SSL_VIOLATION) == ("core.error", "core.debug", "core.info", "core.violation")
"""))

    def test_a_scenario_of_the_policys_own(self):
        row = self.encryption("SidedEncryption(SSL_FORCE_SSL, SSL_FORWARD_STARTTLS, S)")
        self.assertEqual((row["client"]["security"], row["server"]["security"]), (1, 3))
        self.assertEqual((row["client"]["verifier"]["type"], row["server"]["verifier"]["type"]), (0, 0))

    def test_refused(self):
        for expression, message in (
                ("TwoSidedEncryption(None)", "needs a client_certificate_generator"),
                ("TwoSidedEncryption()", "missing"), ("ClientOnlyEncryption(C)", "client_certificate_generator can't be"),
                ("TwoSidedEncryption(DynamicCertificate(K, CA, CA), DynamicCertificate(K, CA, CA))", "only one side"),
                ("TwoSidedEncryption(S, client_verify=ServerCertificateVerifier())", "client_verify can't be"),
                ("TwoSidedEncryption(S, server_verify=ClientNoneVerifier())", "server_verify can't be"),
                ("FakeStartTLSEncryption(S, server_verify='x')", "server_verify can't be"),
                ("FakeStartTLSEncryption(S, server_certificate_generator=S)", "no parameter 'server_certificate_generator'"),
                ("ServerOnlyEncryption(server_ssl_options=ClientSSLOptions())", "server_ssl_options can't be"),
                ("ServerOnlyEncryption(SNIBasedCertificate({}, S))", "for the client side"),
                ("TwoSidedEncryption(S, SNIBasedCertificate({}, S))", "for the client side"),
                ("ClientOnlyEncryption(None)", "there is no certificate to show to clients"),
                ("ClientOnlyEncryption(SNIBasedCertificate({}))", "has no certificate"),
                ("ClientOnlyEncryption(DynamicCertificate(K, CA, CA))", "which is not encrypted"),
                ("Encryption(SSL_FORWARD_STARTTLS)", "client_security is 3"),
                ("Encryption(0, SSL_ACCEPT_STARTTLS)", "for the client side"), ("Encryption('x')", "must be a number")):
            self.refused(expression, message)

    def test_names(self):
        self.bad(instance("EncryptionPolicy('e', ServerOnlyEncryption())\nEncryptionPolicy('e', ServerOnlyEncryption())", TOP),
                 (BODY + 1, "EncryptionPolicy 'e' is already defined in policy.py, line 7"))
        self.bad(instance("EncryptionPolicy('mail', ServerOnlyEncryption())\nService('s', SmtpProxy, encryption_policy='mial')", TOP),
                 (BODY + 1, "there is no EncryptionPolicy 'mial'", "did you mean 'mail'?"))
        self.bad(instance("Service('s', SmtpProxy, encryption_policy=ServerOnlyEncryption())", TOP), (BODY, "given by its name"))
        self.good(instance("p = EncryptionPolicy('e', ServerOnlyEncryption())\nassert getEncryptionPolicy('e') is p\n"
                           "assert getEncryptionPolicy('f') is None and p.getEncryption() is p.encryption\nDenyService('no')", TOP))

    def test_one_mistake_is_one_problem(self):
        self.bad(instance("EncryptionPolicy('e', ClientOnlyEncryption(StaticCertificate(Certificate('x', K))))\n"
                          "Service('s', SmtpProxy, encryption_policy='e')\nRule(service='s', dst_port=25)", TOP),
                 (BODY, "there is no -----BEGIN CERTIFICATE-----"))


class Services(EncryptionTest):
    def test_service_and_class(self):
        document = self.good(instance("""
            class My(SmtpProxy):
                encryption_policy = 'a'
            class Other(SmtpProxy):
                def config(self):
                    SmtpProxy.config(self)
                    self.encryption_policy = 'b'
            EncryptionPolicy('a', ServerOnlyEncryption())
            EncryptionPolicy('b', ClientOnlyEncryption(S))
            Service('one', My)
            Service('two', Other)
            Service('three', Other, encryption_policy='a')
            Service('four', SmtpProxy)
            """, TOP)).document
        names = [e["name"] for e in document["encryptions"]]
        self.assertEqual(names, ["a", "b"])
        configs = [document["configs"][s["config"]].get("encryption") for s in document["services"]]
        self.assertEqual(configs, [0, 1, 1, None])
        self.assertEqual([s.get("encryption") for s in document["services"]], [None, None, 0, None])
        self.assertTrue(all(c["class_number"] == -1 for c in document["configs"]))

    def test_names_belong_to_an_instance(self):
        document = self.good(TOP + "def a():\n    EncryptionPolicy('e', ServerOnlyEncryption())\n    Service('sa', SmtpProxy, "
                             "encryption_policy='e')\ndef b():\n    EncryptionPolicy('e', ClientOnlyEncryption(S))\n    Service('sb', "
                             "SmtpProxy, encryption_policy='e')\n", instances=("a", "b")).document
        self.assertEqual([s["encryption"] for s in document["services"]], [0, 1])

    def test_without_tls_the_document_says_nothing_of_it(self):
        document = self.good(instance("Service('s', SmtpProxy)")).document
        for member in ("tls_keys", "tls_certificates", "encryptions", "secrets"):
            self.assertNotIn(member, document)

    def test_hooks_give_the_class_a_number(self):
        document = self.good(instance("""
            t = TwoSidedEncryption(S)
            t.settings.client_handshake["setup_key"] = (SSL_HS_POLICY, lambda side: SSL_HS_ACCEPT)
            t.settings.server_handshake["verify_cert_ext"] = (SSL_HS_POLICY, lambda side, v, cert, proxy: SSL_HS_VERIFIED)
            EncryptionPolicy('e', t)
            EncryptionPolicy('f', t)
            Service('hooked', SmtpProxy, encryption_policy='e')
            Service('plain', SmtpProxy)
            """, TOP)).document
        hooked, plain = (document["configs"][s["config"]] for s in document["services"])
        self.assertEqual((hooked["class_number"], plain["class_number"]), (0, -1))
        row = document["encryptions"][0]
        self.assertEqual(row["client"]["certificate"], {"static": 0, "setup_key": {"callback": 0}})
        self.assertEqual(row["server"]["verifier"]["verify"], {"callback": 1})
        self.assertEqual(document["callbacks"], 4)


class Certificates(EncryptionTest):
    def test_secrets_go_apart(self):
        result = self.compiled("EncryptionPolicy('e', ClientOnlyEncryption(S))")
        document = result.document
        self.assertEqual(document["tls_keys"], [{"secret": 0, "passphrase": 1, "at": [0, 2]}])
        self.assertEqual(document["tls_certificates"],
                         [{"pem": "-----BEGIN CERTIFICATE-----\nleaf\n", "key": 0, "at": [0, 3]}])
        self.assertEqual(document["secrets"], 2)
        self.assertEqual(result.secrets, [b"-----BEGIN PRIVATE KEY-----\nkey\n", b"sesame"])
        self.assertNotIn("PRIVATE KEY", result.text)
        self.assertNotIn("sesame", result.text)

    def test_a_key_beside_its_certificate_does_not_get_into_the_document(self):
        leaf, root = ("-----BEGIN %s-----\n%s\n-----END %s-----\n" % (kind, body, kind)
                      for kind, body in (("CERTIFICATE", "leaf"), ("X509 CERTIFICATE", "root")))
        key = "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\n"
        for text in (leaf + key + root, key + leaf + "Bag: x\n" + root + key, leaf + root + key[:40]):
            result = self.good(instance("""
                import os
                k = PrivateKey.fromFile(os.path.dirname(__file__) + '/all.pem')
                c = Certificate.fromFile(os.path.dirname(__file__) + '/all.pem', k)
                EncryptionPolicy('e', ClientOnlyEncryption(StaticCertificate(c)))
                DenyService('no')
                """), files={"all.pem": text})
            self.assertEqual(result.document["tls_certificates"][0]["pem"], leaf + root)
            self.assertNotIn("hunter2", result.text)

    def test_files(self):
        result = self.good(instance("""
            import os
            here = os.path.dirname(__file__)
            os.chdir(here)
            k = PrivateKey.fromFile('nosuch.key', 'word')
            for name in ('a', 'b'):
                EncryptionPolicy(name, ClientOnlyEncryption(StaticCertificate(Certificate.fromFile(here + '/c.pem', k))))
            assert Certificate.fromFile('c.pem', k).getCertificate() == '-----BEGIN CERTIFICATE-----\\nz'
            DenyService('no')
            """), files={"c.pem": "-----BEGIN CERTIFICATE-----\nz"})
        document = result.document
        self.assertEqual(document["tls_keys"], [{"file": result.directory + "/nosuch.key", "passphrase": 0, "at": [0, 6]}])
        self.assertEqual(document["tls_certificates"], [{"file": result.directory + "/c.pem", "key": 0, "at": [0, 8],
                                                         "pem": "-----BEGIN CERTIFICATE-----\nz"}])
        self.assertEqual(result.secrets, [b"word"])

    def test_the_key_is_read_when_it_is_asked_for(self):
        self.good(instance("""
            import os
            k = PrivateKey.fromFile(os.path.dirname(__file__) + '/k.pem', 'word')
            assert k.getKey() == '-----BEGIN PRIVATE KEY-----' and k.getPassPhrase() == 'word'
            c = Certificate('-----BEGIN CERTIFICATE-----', k)
            assert c.getPrivateKey() == k.getKey() and c.getPassPhrase() == 'word'
            DenyService('no')
            """), files={"k.pem": "-----BEGIN PRIVATE KEY-----"})
        self.bad(instance("PrivateKey.fromFile('/nonexistent').getKey()"), (3, "'/nonexistent' can't be read"))

    def test_by_name_in_order(self):
        document = self.compiled("""
m = [RegexpMatcher(('^b[.]',)), RegexpMatcher(('^a[.]',))]
MatcherPolicy('named', RegexpMatcher(('^n',)))
class Odd(AbstractMatcher):
    def checkMatch(self, str):
        return TRUE
other = StaticCertificate(CA)
EncryptionPolicy('e', ClientOnlyEncryption(SNIBasedCertificate({m[0]: other, m[1]: S, 'named': S, Odd(): other}, default=S)))
EncryptionPolicy('f', ClientOnlyEncryption(SNIBasedCertificate({m[1]: S})))
""").document
        first, second = (e["client"]["certificate"] for e in document["encryptions"])
        self.assertEqual(first, {"named": [[{"matcher": 0}, 0], [{"matcher": 1}, 1], [{"matcher": 2}, 1], [{"callback": 0}, 0]],
                                 "static": 1})
        self.assertEqual(second, {"named": [[{"matcher": 1}, 1]]})
        self.assertEqual(document["matchers"][0]["match"][0][0], "^b[.]")

    def test_dynamic(self):
        document = self.compiled("EncryptionPolicy('e', TwoSidedEncryption(DynamicCertificate(K, CA, C)))\n"
                                 "EncryptionPolicy('f', TwoSidedEncryption(DynamicCertificate(K, CA, C, '/cache', ['keyUsage'])))").document
        first, second = (e["client"]["certificate"]["bridge"] for e in document["encryptions"])
        self.assertEqual(first, {"key": 0, "trusted_ca": 0, "untrusted_ca": 1,
                                 "extensions": ["keyUsage", "subjectAltName", "extendedKeyUsage"]})
        self.assertEqual(second, {"key": 0, "trusted_ca": 0, "untrusted_ca": 1, "extensions": ["keyUsage"], "cache_directory": "/cache"})

    def test_mistakes_do_not_tell_secrets(self):
        for expression in ("PrivateKey('hunter2')", "PrivateKey('-----BEGIN PRIVATE KEY-----', ('hunter2',))",
                           "Certificate('-----BEGIN CERTIFICATE-----', 'hunter2')", "DynamicCertificate('hunter2', CA, CA)",
                           "X509KeyBridge(key_pem='hunter2', trusted_ca_files=('a', 'hunter2', 5), untrusted_ca_files=('hunter2',))",
                           "X509KeyBridge(key_pem='-----BEGIN PRIVATE KEY-----', key_passphrase=['hunter2'])",
                           "TLSEncryption().client_local_privatekey = 'hunter2'",
                           "TLSEncryption().client_local_privatekey_passphrase = ['hunter2']"):
            result = compile_policy(instance(expression, TOP))
            self.assertEqual(result.status, 1, expression)
            self.assertNotIn("hunter2", json.dumps(result.problems) + result.stderr)

    def test_refused(self):
        for expression, message in (
                ("PrivateKey(5)", "PrivateKey must be PEM text"), ("PrivateKey('/etc/key.pem')", "there is no -----BEGIN PRIVATE KEY-----"),
                ("PrivateKey('-----BEGIN PRIVATE KEY-----', 5)", "the passphrase of a key"), ("PrivateKey.fromFile('')", "is not the name"),
                ("PrivateKey.fromFile(5)", "must be the name"), ("Certificate('-----BEGIN CERTIFICATE-----', 'key')", "is not a PrivateKey"),
                ("Certificate('-----BEGIN PRIVATE KEY-----', K)", "no -----BEGIN CERTIFICATE-----"),
                ("Certificate.fromFile('/nonexistent', K)", "can't be read"), ("StaticCertificate('x')", "is not a Certificate"),
                ("SNIBasedCertificate({'nosuch': S})", "there is no MatcherPolicy 'nosuch'"), ("SNIBasedCertificate([S])", "not a dictionary"),
                ("SNIBasedCertificate({RegexpMatcher([]): C})", "is not a StaticCertificate"), ("SNIBasedCertificate({5: S})", "is not a matcher"),
                ("SNIBasedCertificate({}, C)", "is not a StaticCertificate"), ("DynamicCertificate(C, CA, CA)", "is not a PrivateKey"),
                ("DynamicCertificate(K, CA, K)", "untrusted_ca"), ("DynamicCertificate(K, CA, CA, None, 'keyUsage')", "extension_whitelist"),
                ("DynamicCertificate(K, CA, CA, 5)", "cache_directory"), ("DHParam('x')", "DH PARAMETERS"),
                ("DHParam.fromFile('/nonexistent')", "can't be read")):
            self.bad(instance(expression, TOP), (BODY, message))


class Verifiers(EncryptionTest):
    def client(self, arguments, **more):
        return self.encryption("ClientOnlyEncryption(S, ClientCertificateVerifier(%s))" % arguments, **more)["client"]["verifier"]

    def server(self, arguments, **more):
        return self.encryption("ServerOnlyEncryption(server_verify=ServerCertificateVerifier(%s))" % arguments, **more)["server"]["verifier"]

    def test_types(self):
        for required in (0, 1):
            for trusted in (0, 1):
                self.assertEqual(self.client("required=%r, trusted=%r" % (bool(required), trusted))["type"], 1 + 2 * required + trusted)
        self.assertEqual(self.server("trusted=FALSE")["type"], 3)

    def test_all_in_order(self):
        self.assertEqual(self.client("'/pin', FALSE, FALSE, 2, '/ca', '/crl', TRUE, TRUE, '/hint'"), {
            "type": 1, "depth": 2, "permit_invalid": True, "permit_missing_crl": True, "ca_directory": "/ca", "crl_directory": "/crl",
            "pinned_directory": "/pin", "hint_directory": "/hint"})
        self.assertEqual(self.server("'/pin', FALSE, 2, '/ca', '/crl', TRUE, TRUE, FALSE"), {
            "type": 3, "depth": 2, "permit_invalid": True, "permit_missing_crl": True, "ca_directory": "/ca", "crl_directory": "/crl",
            "pinned_directory": "/pin", "check_subject": False})

    def test_dane(self):
        self.assertNotIn("dane", self.server("dane=DANE_OFF"))
        self.assertEqual(self.server("dane=DANE_OPPORTUNISTIC")["dane"], 1)
        self.assertEqual(self.server("dane=DANE_REQUIRED, trusted=FALSE")["dane"], 2)

    def test_mta_sts(self):
        row = self.server("mta_sts=None")
        self.assertFalse({"mta_sts", "mta_sts_required", "ca_directory"} & set(row))
        row = self.server("mta_sts='Example.COM.', verify_ca_directory='/ca'")
        self.assertEqual((row["mta_sts"], row["mta_sts_required"], row["ca_directory"]), ("example.com", False, "/ca"))
        row = self.server("mta_sts='a.' + 'b' * 63, mta_sts_required=TRUE, trusted=FALSE")
        self.assertEqual((row["mta_sts_required"], row["ca_directory"]), (True, "/etc/ssl/certs"))

    def test_directories_of_older_policies(self):
        row = self.client("ca_directory='/ca', crl_directory='/crl'")
        self.assertEqual((row["ca_directory"], row["hint_directory"], row["crl_directory"]), ("/ca", "/ca", "/crl"))
        row = self.server("ca_directory='/ca', crl_directory='/crl'")
        self.assertEqual((row["ca_directory"], row["crl_directory"]), ("/ca", "/crl"))

    def test_permit_invalid_needs_untrusted(self):
        self.assertTrue(self.server("permit_invalid_certificates=TRUE", warnings=1)["permit_invalid"])

    def test_refused(self):
        for call, message in (
                ("ClientCertificateVerifier('/ca', '/crl')", "required must be TRUE or FALSE"), ("ClientCertificateVerifier(trusted=2)", "trusted must be"),
                ("ServerCertificateVerifier(trusted=None)", "trusted must be"), ("ServerCertificateVerifier(verify_depth=-1)", "verify_depth is -1"),
                ("ServerCertificateVerifier(verify_depth='4')", "verify_depth must be"), ("ServerCertificateVerifier(verify_ca_directory=5)", "must be the name"),
                ("ServerCertificateVerifier(ca_hint_directory='/x')", "no parameter 'ca_hint_directory'"),
                ("ServerCertificateVerifier(ca_directory='/x', verify_ca_directory='/y')", "given both"),
                ("ServerCertificateVerifier(check_subject='yes')", "check_subject must be"),
                ("ServerCertificateVerifier(dane=3)", "dane is 3"), ("ServerCertificateVerifier(dane='required')", "dane must be"),
                ("ClientCertificateVerifier(dane=DANE_REQUIRED)", "no parameter 'dane'"),
                ("ServerCertificateVerifier(mta_sts=5)", "is not a string"), ("ServerCertificateVerifier(mta_sts=True)", "is not a string"),
                ("ServerCertificateVerifier(mta_sts='192.0.2.1')", "is an address"),
                ("ServerCertificateVerifier(mta_sts='b\xfccher.example')", "is not ASCII"),
                ("ServerCertificateVerifier(mta_sts='*.example.com')", "is not a host name"),
                ("ServerCertificateVerifier(mta_sts='example.com/x')", "is not a host name"),
                ("ServerCertificateVerifier(mta_sts='.'.join(['x' * 60] * 4) + '.xx')", "is not a host name"),
                ("ServerCertificateVerifier(mta_sts_required=TRUE)", "mta_sts_required needs mta_sts"),
                ("ServerCertificateVerifier(mta_sts='a.example', mta_sts_required='yes')", "mta_sts_required must be"),
                ("ClientCertificateVerifier(mta_sts='a.example')", "no parameter 'mta_sts'")):
            self.bad(instance(call, TOP), (BODY, message))

    def test_dane_of_a_plain_server(self):
        self.bad(instance("EncryptionPolicy('e', SidedEncryption(SSL_ACCEPT_STARTTLS, SSL_NONE, S,"
                          " server_verify=ServerCertificateVerifier(dane=DANE_REQUIRED)))", TOP),
                 (BODY, "dane needs a server side that is encrypted"))
        self.bad(instance("EncryptionPolicy('e', SidedEncryption(SSL_ACCEPT_STARTTLS, SSL_NONE, S,"
                          " server_verify=ServerCertificateVerifier(mta_sts='a.example')))", TOP),
                 (BODY, "mta_sts needs a server side that is encrypted"))


class Options(EncryptionTest):
    def client(self, arguments, **more):
        return self.encryption("ClientOnlyEncryption(S, None, ClientSSLOptions(%s))" % arguments, **more)["client"]["options"]

    def test_ciphers(self):
        for given in ("cipher='ECDHE+AESGCM'", "cipher=(SSL_CIPHERS_CUSTOM, 'ECDHE+AESGCM')", "SSL_METHOD_ALL, 'ECDHE+AESGCM'"):
            self.assertEqual(self.client(given)["ciphers"], "ECDHE+AESGCM")

    def test_all_in_order(self):
        row = self.client("SSL_METHOD_ALL, SSL_CIPHERS_ALL, TRUE, 60, TRUE, TRUE, FALSE, FALSE, FALSE, TRUE, DHParam('-----BEGIN DH PARAMETERS-----'), TRUE")
        self.assertEqual(row, {"versions": ["TLSv1", "TLSv1.3"], "ciphers": "ALL:!aNULL:@STRENGTH", "session_seconds": 60,
                               "server_preference": True, "tickets": True, "dh": "-----BEGIN DH PARAMETERS-----"})
        row = self.encryption("ServerOnlyEncryption(None, None, ServerSSLOptions(SSL_METHOD_ALL, SSL_CIPHERS_ALL, 60, TRUE, TRUE, FALSE, FALSE, "
                              "FALSE, TRUE))")["server"]["options"]
        self.assertEqual(row, {"versions": ["TLSv1", "TLSv1.3"], "ciphers": "ALL:!aNULL:@STRENGTH", "session_seconds": 60})

    def test_versions(self):
        for given, versions in (("", "1.2 1.3"), ("disable_tlsv1=TRUE", "1.2 1.3"), ("disable_tlsv1=FALSE", "1 1.3"),
                                ("disable_tlsv1_1=FALSE", "1.1 1.3"), ("disable_tlsv1_3=TRUE", "1.2 1.2"), ("disable_tlsv1_2=TRUE", "1.3 1.3"),
                                ("method=SSL_METHOD_TLSV1_2", "1.2 1.2"), ("preset='modern'", "1.3 1.3"), ("preset='intermediate'", "1.2 1.3"),
                                ("preset='legacy'", "1 1.3"), ("preset='modern', disable_tlsv1_2=FALSE", "1.2 1.3"),
                                ("preset='legacy', disable_tlsv1=TRUE", "1.1 1.3")):
            self.assertEqual(self.client(given)["versions"], ["TLSv" + v for v in versions.split()], given)

    def test_new_ones(self):
        row = self.client("ciphersuites='TLS_AES_256_GCM_SHA384', groups=('X25519', 'P-256'), alpn=('h2', 'http/1.1'), tickets=FALSE, "
                          "ocsp_file='/o.der', dh_params='-----BEGIN DH PARAMETERS-----'")
        self.assertEqual((row["ciphersuites"], row["groups"], row["alpn"], row["tickets"], row["ocsp_file"], row["dh"]),
                         ("TLS_AES_256_GCM_SHA384", "X25519:P-256", ["h2", "http/1.1"], False, "/o.der", "-----BEGIN DH PARAMETERS-----"))
        self.assertEqual(self.client("preset='intermediate'")["groups"], "X25519:P-256:P-384")
        self.assertEqual(self.client("preset='intermediate', groups='P-521', cipher='ECDHE+AESGCM'")["groups"], "P-521")

    def test_without_effect(self):
        for given in ("disable_sslv2=FALSE", "disable_sslv3=FALSE", "method=SSL_METHOD_SSLV3", "disable_renegotiation=FALSE", "timeout=700000"):
            self.client(given, warnings=1)
        self.assertEqual(self.client("timeout=700000", warnings=1)["session_seconds"], 604800)

    def test_refused(self):
        for call, message in (
                ("ClientSSLOptions(dh_params=5)", "dh_params must be a DHParam"), ("ClientSSLOptions(dh_params='x')", "DH PARAMETERS"),
                ("ClientSSLOptions(cipher='')", "must not be empty"), ("ClientSSLOptions(cipher=5)", "must be a string"),
                ("ClientSSLOptions(cipher=('a',))", "is not a pair"), ("ClientSSLOptions(timeout='1')", "timeout must be"),
                ("ClientSSLOptions(preset='strong')", "there is no preset 'strong'"), ("ServerSSLOptions(dh_params=None)", "no parameter 'dh_params'"),
                ("ServerSSLOptions(tickets=TRUE)", "no parameter 'tickets'"), ("SSLOptions()", "is for no side"),
                ("ServerSSLOptions(disable_tlsv1_2=TRUE, disable_tlsv1_3=TRUE)", "all versions"),
                ("ServerSSLOptions(disable_tlsv1=FALSE, disable_tlsv1_2=TRUE)", "TLSv1.2 is disabled, but versions below and above"),
                ("ServerSSLOptions(alpn=('',))", "is not the name of a protocol"), ("ServerSSLOptions(alpn=5)", "must be a sequence"),
                ("ServerSSLOptions(groups=('X25519', 5))", "must be a string"), ("ServerSSLOptions(disable_tlsv1='no')", "TRUE or FALSE")):
            self.bad(instance(call, TOP), (BODY, message))

    def test_exceptions_of_the_original(self):
        """Outside of a load, where mistakes are exceptions."""
        from Zorp import Encryption as E
        with self.assertRaises(TypeError):
            E.ClientSSLOptions(dh_params=5)
        for wrong in (lambda: E.ClientCertificateVerifier(required="x"), lambda: E.SNIBasedCertificate({}, 5), lambda: E.TwoSidedEncryption(None)):
            with self.assertRaises(ValueError):
                wrong()


class Settings(EncryptionTest):
    def settings(self, lines, **more):
        body = "t = TwoSidedEncryption(S, client_verify=None, server_verify=None)\ns = t.settings\n" + lines + "\nEncryptionPolicy('e', t)"
        return self.compiled(body, **more).document["encryptions"][0]

    def test_every_one(self):
        row = self.settings("""
s.handshake_timeout = 1000
s.client_verify_type = SSL_VERIFY_OPTIONAL_TRUSTED
s.server_verify_type = SSL_VERIFY_REQUIRED_UNTRUSTED
s.client_max_verify_depth = 1
s.server_verify_depth = 2
assert (s.client_verify_depth, s.server_max_verify_depth) == (1, 2)
s.client_verify_ca_directory = '/a'; s.server_verify_ca_directory = '/b'
s.client_verify_crl_directory = '/c'; s.server_verify_crl_directory = '/d'
s.client_trusted_certs_directory = '/e'; s.server_trusted_certs_directory = '/f'
s.client_ca_hint_directory = '/g'
s.client_permit_invalid_certificates = TRUE; s.server_permit_invalid_certificates = TRUE
s.client_permit_missing_crl = TRUE; s.server_permit_missing_crl = FALSE
s.client_disable_proto_tlsv1_1 = FALSE; s.server_disable_proto_tlsv1_2 = TRUE
s.client_disable_compression = TRUE
s.client_ssl_cipher = 'A'; s.server_ssl_cipher = 'B'
s.cipher_server_preference = TRUE
s.dh_params = '-----BEGIN DH PARAMETERS-----'
s.server_check_subject = TRUE
s.client_session_timeout = 5
""")
        self.assertEqual(row["handshake_timeout"], 1000)
        self.assertEqual(row["client"]["verifier"], {
            "type": 2, "depth": 1, "ca_directory": "/a", "crl_directory": "/c", "pinned_directory": "/e", "hint_directory": "/g",
            "permit_invalid": True, "permit_missing_crl": True})
        self.assertEqual(row["server"]["verifier"], {
            "type": 3, "depth": 2, "ca_directory": "/b", "crl_directory": "/d", "pinned_directory": "/f", "permit_invalid": True,
            "permit_missing_crl": False, "check_subject": True})
        self.assertEqual(row["client"]["options"], {
            "versions": ["TLSv1.1", "TLSv1.3"], "ciphers": "A", "session_seconds": 5, "server_preference": True,
            "tickets": True, "dh": "-----BEGIN DH PARAMETERS-----"})
        self.assertEqual(row["server"]["options"], {"versions": ["TLSv1.3", "TLSv1.3"], "ciphers": "B", "session_seconds": 300})

    def test_what_they_say(self):
        self.compiled("""
t = TwoSidedEncryption(DynamicCertificate(K, CA, CA), client_verify=None)
s = t.settings
assert (s.client_connection_security, s.server_connection_security, s.handshake_seq, s.handshake_timeout) == (1, 1, 1, 30000)
assert (s.client_verify_type, s.server_verify_type, s.server_check_subject, s.client_keypair_generate) == (0, 4, TRUE, TRUE)
assert (s.client_ssl_cipher, s.client_verify_ca_directory, s.server_keypair_generate) == (SSL_CIPHERS_HIGH, "", FALSE)
s = Encryption(1, 1).settings
assert (s.client_verify_type, s.client_max_verify_depth, s.client_permit_missing_crl, s.client_permit_invalid_certificates) == (4, 4, TRUE, FALSE)
assert t.setup() is True
""")

    def test_refused(self):
        for line, message in (
                ("s.client_verify_typ = 1", "there is no setting 'client_verify_typ'"), ("s.client_verify_type = 5", "client_verify_type is 5"),
                ("s.client_connection_security = 0", "can only be read"), ("s.server_keypair_generate = TRUE", "can only be read"),
                ("s.client_handshake = {}", "can only be read"), ("s.handshake_timeout = 0", "handshake_timeout is 0"),
                ("s.handshake_seq = 2", "handshake_seq is 2"), ("s.dh_params = 'x'", "must be PEM"),
                ("s.client_disable_proto_tlsv1 = FALSE", "TLSv1 is enabled for the client, TLSv1.1 not"),
                ("s.client_handshake['x'] = 1", "there is no hook 'x'"), ("s.client_handshake['setup_key'] = 1", "is no hook"),
                ("s.client_handshake['setup_key'] = (SSL_HS_ACCEPT, len)", "is no hook"),
                ("s.client_handshake['verify_cert'] = (SSL_HS_POLICY, len)", "nothing calls 'verify_cert'"),
                ("s.client_handshake['setup_key'] = (SSL_HS_POLICY, lambda a, b: 1)", "the function takes 2 arguments"),
                ("s.client_handshake['verify_cert_ext'] = (SSL_HS_POLICY, lambda a: 1)", "the function takes 1 arguments")):
            text = instance("t = TwoSidedEncryption(S); s = t.settings; %s; EncryptionPolicy('e', t)\nDenyService('no')" % line, TOP)
            self.bad(text, (BODY, message))

    def test_a_generator_of_the_policys_own(self):
        document = self.compiled("""
class Mine(AbstractCertificateGenerator):
    def setup(self, encryption):
        encryption.settings.client_handshake['setup_key'] = (SSL_HS_POLICY, self.choose)
    def choose(self, side, peer, name, proxy):
        return SSL_HS_ACCEPT
EncryptionPolicy('e', ClientOnlyEncryption(Mine()))
""").document
        self.assertEqual(document["encryptions"][0]["client"]["certificate"], {"setup_key": {"callback": 0}})

    def test_the_stock_hook_can_be_wrapped(self):
        self.compiled("""
t = TwoSidedEncryption(S, client_verify=None)
kind, stock = t.settings.server_handshake['verify_cert_ext']
assert kind == SSL_HS_POLICY and stock(1, (0, 18), None, None) == SSL_HS_ACCEPT and 'verify_cert_ext' not in t.settings.server_handshake
t.settings.server_handshake['verify_cert_ext'] = (SSL_HS_POLICY, lambda side, result, cert, proxy: stock(side, result, cert, proxy))
del t.settings.server_handshake['verify_cert_ext']
EncryptionPolicy('e', t)
""")

    def test_nothing_changes_when_sessions_run(self):
        from Zorp import Encryption as E
        settings = E.ServerOnlyEncryption().settings
        with self.assertRaisesRegex(ValueError, "can't be set any more"):
            settings.handshake_timeout = 5
        with self.assertRaisesRegex(ValueError, "can't be changed any more"):
            settings.server_handshake["setup_key"] = (E.SSL_HS_POLICY, lambda side: 1)
        with self.assertRaisesRegex(ValueError, "can't be changed any more"):
            del settings.server_handshake["setup_key"]
        with self.assertRaises(KeyError):
            settings.server_handshake["setup_key"]
        self.assertEqual(settings.handshake_timeout, 30000)


if __name__ == "__main__":
    unittest.main()
