# SPDX-License-Identifier: Apache-2.0
"""Policies that must load, and the documents they become."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from policy_support import HEAD, ROOT, PolicyTest, compile_files, instance, smtp_class

TUTORIAL = """\
from Zorp.Smtp import *

Zone('dmz', ['172.16.40.0/24'])

def default_instance():
    Service(name='service_smtp_transparent_reverse',
            proxy_class=SmtpProxy,
            router=DirectedRouter(dest_addr=SockAddrInet('172.16.20.254', 25), forge_addr=TRUE))

    Rule(service='service_smtp_transparent_reverse',
         dst_port=25,
         src_zone=('dmz', ),
         dst_subnet=('172.16.40.1', ))
"""


class Documents(PolicyTest):
    def test_tutorial_compiles_without_callbacks(self):
        document = self.good(TUTORIAL).document
        self.assertEqual(document["callbacks"], 0)
        self.assertEqual(document["format"], "sallyport-policy")
        self.assertEqual(document["version"], 1)
        self.assertEqual(document["instances"], ["default_instance"])
        self.assertEqual(document["zones"], [{"name": "dmz", "addrs": ["172.16.40.0/24"], "hostnames": [],
                                              "parent": None, "at": [0, 3]}])
        service = document["services"][0]
        self.assertEqual(service["router"], {
            "type": "directed", "targets": [["172.16.20.254", 25]], "forge_addr": True, "forge_port": -1,
            "overrideable": False, "proxy_protocol": 0})
        self.assertEqual(service["chainer"], {"type": "connect", "protocol": 0, "timeout_connect": 30000})
        self.assertEqual(document["rules"], [{
            "id": 1, "instance": 0, "service": 0, "at": [0, 10], "dst_port": [[25, 25]], "src_zone": [0],
            "dst_subnet": ["172.16.40.1/32"]}])
        config = document["configs"][0]
        self.assertEqual(config["class_number"], -1)
        self.assertEqual(config["attributes"], {})
        self.assertEqual(config["hooks"], {})
        self.assertFalse(config["per_session"])

    def test_zones_by_host_name(self):
        load = self.good("from Zorp.Core import *\n"
                         "Zone('a', '10.0.0.0/8', hostnames='Mail.Example.')\n"
                         "Zone('b', hostnames=('mail2.example', '_x.xn--bcher-kva.example'), admin_parent='a')\n"
                         "Zone('c', hostnames=['mail2.example'])\n"
                         "assert Zone.lookupByHostname('MAIL.example') is Zone.lookupByName('a')\n"
                         "assert Zone.lookupByHostname('nosuch.example') is None\n"
                         "assert Zone.lookupByName('b').hostnames == ['mail2.example', '_x.xn--bcher-kva.example']\n"
                         "try:\n"
                         "    Zone.lookupByHostname('mail2.example')\n"
                         "except ValueError as problem:\n"
                         "    assert 'b, c' in str(problem)\n"
                         "else:\n"
                         "    assert False\n"
                         "def default_instance():\n"
                         "    DenyService('s')\n")
        self.assertEqual([z["hostnames"] for z in load.document["zones"]],
                         [["mail.example"], ["mail2.example", "_x.xn--bcher-kva.example"], ["mail2.example"]])

    def test_stock_smtp_tables(self):
        tables = self.good(TUTORIAL).document["configs"][0]["tables"]
        request = {tuple(e["key"]): e for e in tables["request"]}
        self.assertEqual(request["MAIL",], {"key": ["MAIL"], "action": 6, "call": {"native": "smtp.check_sender"}})
        self.assertEqual(request["RCPT",]["call"], {"native": "smtp.check_recipient"})
        self.assertEqual(sorted(k[0] for k in request), ["AUTH", "BDAT", "DATA", "EHLO", "ETRN", "HELO", "MAIL", "NOOP",
                                                        "QUIT", "RCPT", "RSET", "STARTTLS"])
        response = {tuple(e["key"]): e["action"] for e in tables["response"]}
        for verb, codes in {"Null": "220 554", "*": "421 500 501", "HELO": "250", "EHLO": "250", "MAIL": "250",
                            "RCPT": "250 251", "DATA": "354 250", "RSET": "250", "NOOP": "250", "QUIT": "221",
                            "AUTH": "235 334", "VRFY": "250 251 252", "EXPN": "250 252", "HELP": "211 214", "ETRN": "250 251 252 253", "STARTTLS": "220", "BDAT": "250"}.items():
            for code in codes.split():
                self.assertEqual(response[verb, code], 1, (verb, code))
        for verb in ("MAIL", "RCPT", "DATA", "BDAT", "EHLO", "AUTH"):
            self.assertNotIn((verb, "2"), response)
            self.assertNotIn((verb, "3"), response)
            self.assertEqual((response[verb, "4"], response[verb, "5"]), (1, 1))
        self.assertEqual(sorted(e["key"][0] for e in tables["extensions"]),
                         ["8BITMIME", "AUTH", "BINARYMIME", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "ETRN", "LIMITS",
                          "PIPELINING", "SIZE", "SMTPUTF8", "STARTTLS"])

    def test_presets_of_the_transcripts_are_those_of_the_classes(self):
        text = """\
from Zorp.Smtp import *
class Plain(AbstractSmtpProxy):
    def config(self):
        self.loadSMTP()
class Extended(AbstractSmtpProxy):
    def config(self):
        self.loadESMTP()
def default_instance():
    for number, proxy in enumerate((Plain, Extended, SmtpProxy)):
        Service(proxy.__name__, proxy, router=TransparentRouter())
        Rule(service=proxy.__name__, dst_port=25 + number)
"""
        configs = {c["class"]: c["tables"] for c in self.good(text).document["configs"]}
        for proxy, name in (("Plain", "smtp"), ("Extended", "esmtp"), ("SmtpProxy", "standard")):
            preset = json.loads((ROOT / "tests" / "transcripts" / "presets" / (name + ".json")).read_text())
            self.assertEqual(configs[proxy], preset["tables"], name + ".json")

    def test_examples_compile(self):
        for name in ("reverse-proxy", "loopback"):
            text = (ROOT / "examples" / name / "policy.py").read_text()
            document = self.good(text).document
            self.assertEqual(document["configs"][0]["attributes"], {"relay_domains": ["example.com"]})
            self.assertEqual(document["callbacks"], 0)

    def test_servers_by_name(self):
        document = self.good(instance("""
            K = PrivateKey('-----BEGIN PRIVATE KEY-----')
            EncryptionPolicy('e', ClientOnlyEncryption(StaticCertificate(Certificate('-----BEGIN CERTIFICATE-----', K)), None))
            MatcherPolicy('lists', RegexpMatcher(('^lists', )))
            Service('s', PlugProxy, encryption_policy='e', router=SNIBasedRouter({
                RegexpMatcher(('^b', )): SockAddrInet('10.0.0.2', 26), 'lists': SockAddrInet6('::1', 0)},
                default=SockAddrInet('10.0.0.1', 25), forge_addr=TRUE))
            Service('t', PlugProxy, encryption_policy='e', router=SNIBasedRouter({'lists': SockAddrInet('10.0.0.2', 26)}))
            """, "from Zorp.Plug import *\n")).document
        first, second = (s["router"] for s in document["services"])
        self.assertEqual(first, {"type": "by_name", "names": [[{"matcher": 0}, ["10.0.0.2", 26]], [{"matcher": 1}, ["::1", 0]]],
                                 "targets": [["10.0.0.1", 25]], "forge_addr": True, "forge_port": -1, "proxy_protocol": 0})
        self.assertEqual(second["names"], [[{"matcher": 1}, ["10.0.0.2", 26]]])
        self.assertNotIn("targets", second)

    def test_forge_forms(self):
        for text, addr, port in (("forge_addr=TRUE", True, -1), ("forge_port=TRUE", False, -3),
                                 ("forge_port=Z_PORT_EXACT", False, -3), ("forge_port=Z_PORT_GROUP", False, -2),
                                 ("forge_addr=TRUE, forge_port=Z_PORT_RANDOM", True, -4),
                                 ("forge_addr=True, forge_port=2025", True, 2025), ("", False, -1),
                                 ("forced_port=26, overrideable=TRUE", False, -1)):
            router = self.good(instance("Service('s', PlugProxy, TransparentRouter(%s))" % text, "from Zorp.Plug import *\n")
                               ).document["services"][0]["router"]
            self.assertEqual((router["type"], router["forge_addr"], router["forge_port"]), ("transparent", addr, port), text)
        self.assertEqual((router["forced_port"], router["overrideable"]), (26, True))

    def test_accept_proxy_protocol(self):
        for value, zones in (("'lb'", [1]), ("('lb', 'z')", [1, 0]), ("None", []), ("()", [])):
            service, = self.good(instance("Service('s', PlugProxy, accept_proxy_protocol=%s)" % value,
                                          "from Zorp.Plug import *\nZone('z', ['10.0.0.0/8'])\nZone('lb', ['10.1.0.0/16'])\n")
                                 ).document["services"]
            self.assertEqual(service["accept_proxy_protocol"], zones, value)

    def test_proxy_protocol_forms(self):
        for call, version in (("TransparentRouter(proxy_protocol=1)", 1), ("TransparentRouter(forge_port=TRUE, proxy_protocol=2)", 2),
                              ("DirectedRouter(SockAddrInet('1.2.3.4', 25), proxy_protocol=2)", 2), ("TransparentRouter()", 0)):
            router = self.good(instance("Service('s', PlugProxy, %s)" % call, "from Zorp.Plug import *\n")
                               ).document["services"][0]["router"]
            self.assertEqual(router["proxy_protocol"], version, call)

    def test_service_forms(self):
        document = self.good(instance("""
            Service('a', SmtpProxy)
            Service(name='b', proxy_class=SmtpProxy, router=TransparentRouter(), chainer=ConnectChainer(timeout_connect=5000),
                    max_instances=7, keepalive=Z_KEEPALIVE_BOTH, limit_target_zones_to='z')
            DenyService('c')
            DenyService('d', FALSE, DenyIPv4.TCP_RESET, DenyIPv6.ICMP_NO_ROUTE)
            PFService('e', TransparentRouter(forge_addr=TRUE))
            PFService('f', DirectedRouter(SockAddrInet6('2001:db8::1', 0)))
            """, HEAD + "Zone('z', '10.0.0.0/8')\n")).document
        a, b, c, d, e, f = document["services"]
        self.assertEqual(a["config"], b["config"])
        self.assertEqual((a["kind"], a["max_instances"], a["keepalive"], a["limit_target_zones_to"]), ("proxy", 0, 0, []))
        self.assertEqual((b["max_instances"], b["keepalive"], b["limit_target_zones_to"], b["chainer"]["timeout_connect"]),
                         (7, 3, [0], 5000))
        self.assertEqual([c[k] for k in ("kind", "logging", "ipv4_setting", "ipv6_setting")], ["deny", True, 0, 0])
        self.assertEqual([d[k] for k in ("kind", "logging", "ipv4_setting", "ipv6_setting")], ["deny", False, 1, 2])
        self.assertEqual((e["kind"], e["router"]["forge_addr"]), ("pf", True))
        self.assertEqual(f["router"]["targets"], [["2001:db8::1", 0]])

    def test_rule_dimensions(self):
        rule = self.good(instance("""
            DenyService('s')
            Rule(service='s', rule_id=9, iface='eth0', src_iface=('eth1',), ifgroup=1, src_ifgroup='2', reqid=[3, 4],
                 proto=(6, 17), icmp_type=8, proto_subtype=0, src_port=PortRange(1024, 65535),
                 dst_port=[80, '8080', PortRange(8000, 8010)], src_subnet=('10.1.2.3/8', '2001:db8::1/32'),
                 dst_subnet=InetSubnet('192.168.1.1'), src_zone='z', dst_zone=('z', 'z.a'), dst_iface='eth0', dst_ifgroup=5)
            """, HEAD + "Zone('z')\nZone('z.a', '1.0.0.0/8', admin_parent='z')\n")).document["rules"][0]
        del rule["at"]
        self.assertEqual(rule, {
            "id": 9, "instance": 0, "service": 0, "iface": ["eth0", "eth1"], "ifgroup": [1, 2], "reqid": [3, 4],
            "proto": [6, 17], "proto_type": [8], "proto_subtype": [0], "src_port": [[1024, 65535]],
            "dst_port": [[80, 80], [8080, 8080], [8000, 8010]], "src_subnet": ["10.0.0.0/8", "2001:db8::/32"],
            "dst_subnet": ["192.168.1.1/32"], "src_zone": [0], "dst_zone": [0, 1], "dst_iface": ["eth0"],
            "dst_ifgroup": [5]})

    def test_empty_dimension_is_any(self):
        rule = self.good(instance("DenyService('s')\nRule(service='s', src_zone=(), dst_port=[])")).document["rules"][0]
        self.assertEqual(set(rule), {"id", "instance", "service", "at"})

    def test_rule_ids(self):
        rules = self.good(instance("""
            DenyService('s')
            Rule(service='s', rule_id=2, dst_port=1)
            Rule(service='s', dst_port=2)
            Rule(service='s', rule_id=None, dst_port=3)
            """)).document["rules"]
        self.assertEqual([(r["id"], r["dst_port"][0][0]) for r in rules], [(1, 2), (2, 1), (3, 3)])

    def test_zone_tree(self):
        zones = self.good(instance("pass", HEAD + """\
Zone('all', ['0.0.0.0/0', '::/0'])
InetZone(name='office', addrs='10.1.0.9/16', admin_parent='all')
Zone('office.dev', ('10.1.2.0/24', '2001:db8::/32'), admin_parent='office')
""")).document["zones"]
        self.assertEqual([(z["name"], z["addrs"], z["parent"]) for z in zones], [
            ("all", ["0.0.0.0/0", "::/0"], None), ("office", ["10.1.0.0/16"], 0),
            ("office.dev", ["10.1.2.0/24", "2001:db8::/32"], 1)])

    def test_sibling_module_without_import(self):
        for head in ("", "from Zorp.Zone import Zone\n", "from Zorp.Core import *\n"):
            result = compile_files({"policy.py": "from Zorp.Core import *\nfrom zones import *\ndef one():\n    DenyService('s')\n"
                                                 "    Rule(service='s', src_zone='far')\n",
                                    "zones.py": head + "Zone('far', '10.0.0.0/8')\n"})
            self.assertEqual(result.status, 0, result.problems)
            self.assertEqual(result.document["zones"][0]["at"], [1, 1 + head.count("\n")])
            self.assertEqual([os.path.basename(f) for f in result.document["files"]], ["policy.py", "zones.py"])

    def test_modules_beside_the_policy(self):
        text = "from Zorp.Core import *\nfrom Zorp.Mine import *\nimport pack.inner\nassert pack.inner.deep == 5\n" \
            "def one():\n    DenyService(NAME)\n"
        result = self.good(text, files={
            "Zorp/Mine.py": "from Zorp.Core import *\nNAME = 'mine'\n", "pack/__init__.py": "", "pack/inner.py": "deep = 5\n"})
        self.assertEqual(result.document["services"][0]["name"], "mine")

    def test_several_instances(self):
        text = HEAD + """\
def zones():
    Zone('z', '10.0.0.0/8')
    MatcherPolicy('m', RegexpMatcher(['x']))
class My(SmtpProxy):
    recipient_matcher = 'm'
def intra():
    zones()
    Service('a', My)
    Rule(service='a', rule_id=1, src_zone='z')
def inter():
    zones()
    Service('b', SmtpProxy)
    Rule(service='b', rule_id=1, dst_zone='z')
"""
        document = self.good(text, instances=["intra", "inter"]).document
        self.assertEqual(document["instances"], ["intra", "inter"])
        self.assertEqual([(r["id"], r["instance"]) for r in document["rules"]], [(1, 0), (1, 1)])
        self.assertEqual(len(document["zones"]), 1)
        self.assertEqual(self.good(text, instances=["inter"]).document["instances"], ["inter"])

    def test_only_instance_is_chosen(self):
        document = self.good(HEAD + "def helper(x):\n    pass\ndef _private():\n    pass\ndef mail():\n    DenyService('s')\n").document
        self.assertEqual(document["instances"], ["mail"])

    def test_module_level_policies_of_all_kinds(self):
        self.good(HEAD + """\
from Zorp.AuthDB import *
NATPolicy('nat', GeneralNAT([(InetSubnet('10.0.0.0/8'), InetSubnet('0.0.0.0/0'), InetSubnet('192.168.0.0/16'))]))
NATPolicy('nat2', nat=StaticNAT(SockAddrInet('1.2.3.4', 0)), cacheable=FALSE)
NATPolicy('nat3', NAT64())
NATPolicy('nat4', NAT46(prefix_mask=64))
NATPolicy('nat5', OneToOneNAT(InetSubnet('10.0.0.0/24'), InetSubnet('10.0.1.0/24')))
ResolverPolicy('res', HashResolver({'a': '1.2.3.4', 'b': ['::1']}))
ResolverPolicy('dns', DNSResolver(multi=TRUE, family=AF_INET6))
MatcherPolicy('mat', CombineMatcher((Z_AND, 'later', (Z_NOT, 'mat2'))))
MatcherPolicy('mat2', RegexpMatcher(match_list=('^a',), ignore_list=['b'], ignore_case=FALSE))
MatcherPolicy('later', RegexpMatcher([]))
DetectorPolicy('det', HttpDetector())
EncryptionPolicy('enc', ServerOnlyEncryption(server_verify=ServerCertificateVerifier(verify_ca_directory='/x')))
EncryptionPolicy('enc2', ClientOnlyStartTLSEncryption(StaticCertificate(Certificate('-----BEGIN CERTIFICATE-----', PrivateKey('-----BEGIN PRIVATE KEY-----')))))
AuthenticationProvider('prov', AbstractAuthenticationBackend())
AuthenticationPolicy('auth', 'prov', InbandAuthentication())
StackingProvider('st', RemoteStackingBackend((SockAddrInet('1.2.3.4', 1),)))
def default_instance():
    DenyService('s')
""")

    def test_config_options(self):
        document = self.good(instance("""
            config.options.language = 'hu'
            config.options.timeout_server_connect = 1234
            config.options.kzorp_enabled = FALSE
            config.audit.encrypt = TRUE
            Config.blob.lowat = 5
            Service('s', SmtpProxy)
            """)).document
        self.assertEqual(document["options"], {"timeout_server_connect": 1234, "language": "hu", "keys_in_workers": False})
        self.assertEqual(document["services"][0]["chainer"]["timeout_connect"], 1234)

    def test_several_targets_warn(self):
        self.warned(instance("Service('s', SmtpProxy, DirectedRouter((SockAddrInet('1.1.1.1', 1), SockAddrInet('1.1.1.2', 1))))"),
                    (3, "only the first address"))

    def test_output_of_policy_code_goes_to_standard_error(self):
        result = self.good(instance("print('hello')\nimport sys\nsys.stdout.write('there')\nDenyService('s')"))
        self.assertIn("hello", result.stderr)
        self.assertIn("there", result.stderr)


class ProxyClasses(PolicyTest):
    def config(self, body, **more):
        return self.good(smtp_class(body, **more)).document["configs"][0]

    def test_standard_attributes_in_the_class_body(self):
        attributes = self.config("""
            relay_domains = ("example.com",)
            relay_zones = "*"
            permit_percent_hack = TRUE
            permit_exclamation_mark = TRUE
            error_soft = TRUE
            """)["attributes"]
        self.assertEqual(attributes, {"relay_domains": ["example.com"], "relay_zones": ["*"], "permit_percent_hack": True,
                                      "permit_exclamation_mark": True, "error_soft": True})

    def test_attributes(self):
        config = self.config("""
            def config(self):
                SmtpProxy.config(self)
                self.timeout = 1000
                self.relay_domains = ('example.com', '.example.com')
                self.relay_zones = '*'
                self.relay_check = FALSE
                self.require_crlf = TRUE
                self.append_domain = 'ex\\u00e4mple'
            """)
        self.assertEqual(config["attributes"], {
            "timeout": 1000, "relay_domains": ["example.com", ".example.com"], "relay_zones": ["*"],
            "relay_check": False, "append_domain": "ex\u00c3\u00a4mple"})

    def test_class_level_values_count(self):
        config = self.config("relay_domains = 'example.com'\ntimeout = 5")
        self.assertEqual(config["attributes"], {"relay_domains": ["example.com"], "timeout": 5})

    def test_inherited_class_level_values(self):
        text = HEAD + "class A(SmtpProxy):\n    timeout = 5\nclass B(A):\n    timeout = 6\nclass C(A):\n    pass\n" \
            "def i():\n    Service('b', B)\n    Service('c', C)\n"
        self.assertEqual([c["attributes"] for c in self.good(text).document["configs"]], [{"timeout": 6}, {"timeout": 5}])

    def test_relay_check_before_the_inherited_config_is_overwritten(self):
        self.assertEqual(self.config("def config(self):\n    self.relay_check = FALSE\n    SmtpProxy.config(self)")
                         ["attributes"], {})

    def test_abstract_class_refuses_everything(self):
        text = HEAD + "class X(AbstractSmtpProxy):\n    pass\ndef i():\n    Service('s', X)\n"
        config = self.good(text).document["configs"][0]
        self.assertEqual((config["tables"], config["class"], config["class_number"]), ({}, "X", -1))

    def test_table_forms(self):
        tables = self.config("""
            def config(self):
                SmtpProxy.config(self)
                self.request["ETRN"] = (SMTP_REQ_REJECT, "502", "no \\u20ac")
                self.request["VRFY"] = (SMTP_REQ_REJECT,)
                self.request["EXPN"] = SMTP_REQ_REJECT
                self.request["NOOP"] = [SMTP_REQ_ABORT]
                self.request["*"] = Z_ACCEPT
                self.request["SIZE"] = SMTP_EXT_ACCEPT
                self.response["*", ""] = SMTP_RSP_ACCEPT
                self.response["RCPT", 250] = (SMTP_RSP_REJECT, "550", "x")
                self.response["RCPT", "45"] = SMTP_RSP_ABORT
                self.extensions["*"] = SMTP_EXT_ACCEPT
                del self.extensions["AUTH"]
                assert self.request["*"] == 1 and "VRFY" in self.request and "*" in self.extensions and "AUTH" not in self.extensions
                try:
                    self.request["nosuch"]
                except KeyError:
                    self.request["KEYERROR"] = 1
            """)["tables"]
        request = {e["key"][0]: e for e in tables["request"]}
        self.assertEqual(request["ETRN"], {"key": ["ETRN"], "action": 3, "args": ["502", "no \u00e2\u0082\u00ac"]})
        self.assertEqual(request["VRFY"], {"key": ["VRFY"], "action": 3})
        self.assertEqual([request[k]["action"] for k in ("EXPN", "NOOP", "*", "SIZE", "KEYERROR")], [3, 4, 1, 1, 1])
        response = {tuple(e["key"]): e for e in tables["response"]}
        self.assertEqual(response["*", "*"]["action"], 1)
        self.assertEqual(response["RCPT", "250"]["args"], ["550", "x"])
        self.assertEqual(response["RCPT", "45"]["action"], 4)
        self.assertNotIn("AUTH", [e["key"][0] for e in tables["extensions"]])

    def test_callbacks_are_numbered(self):
        result = self.good(smtp_class("""
            def config(self):
                SmtpProxy.config(self)
                self.request["MAIL"] = (SMTP_REQ_POLICY, self.mail)
                self.response["EHLO", "250"] = (SMTP_RSP_POLICY, lambda verb, param, code, text: SMTP_RSP_ACCEPT)
            def mail(self, command, param):
                self.error_code = "550"
                self.request_command = "MAIL"
                return SMTP_REQ_REJECT
            def relayCheck(self, email):
                return SmtpProxy.relayCheck(self, email)
            """))
        document = result.document
        config = document["configs"][0]
        self.assertEqual((document["callbacks"], config["class_number"]), (3, 0))
        request = {e["key"][0]: e for e in config["tables"]["request"]}
        self.assertEqual(request["MAIL"]["call"], {"callback": 0})
        self.assertEqual(request["RCPT"]["call"], {"native": "smtp.check_recipient"})
        self.assertEqual([e["call"] for e in config["tables"]["response"] if "call" in e], [{"callback": 1}])
        self.assertEqual(config["hooks"], {"relayCheck": {"callback": 2}})

    def test_overridden_check_is_a_callback_in_the_table(self):
        config = self.config("def checkRecipient(self, cmd, param):\n    return SmtpProxy.checkRecipient(self, cmd, param)")
        request = {e["key"][0]: e for e in config["tables"]["request"]}
        self.assertEqual(request["RCPT"]["call"], {"callback": 0})
        self.assertEqual(request["MAIL"]["call"], {"native": "smtp.check_sender"})
        self.assertEqual(config["hooks"], {})

    def matchers(self, text, instances="", body=""):
        """The document of a policy whose class has these lines."""
        lines = "".join("    %s\n" % line for line in text.splitlines())
        return self.good(HEAD + instances + "class My(SmtpProxy):\n" + lines + "def i():\n" + body + "    Service('s', My)\n").document

    def test_stock_matchers_are_data(self):
        document = self.matchers("recipient_matcher = 'Later'\nsender_matcher = RegexpMatcher(['x'], ['y'], FALSE)", "",
                                 "    MatcherPolicy('Later', CombineMatcher((Z_OR, RegexpMatcher(['1']), 'B', (Z_NOT, 'B'))))\n"
                                 "    MatcherPolicy('B', RegexpMatcher(['2']))\n")
        config = document["configs"][0]
        self.assertEqual(config["attributes"], {"sender_matcher": {"matcher": 0}, "recipient_matcher": {"matcher": 4}})
        self.assertEqual((config["class_number"], document["callbacks"]), (-1, 0))
        rows = [{name: value for name, value in row.items() if name != "at"} for row in document["matchers"]]
        self.assertEqual(rows, [
            {"match": [["x", "x"]], "ignore": [["y", "y"]]}, {"match": [["1", "1"]], "ignore": []}, {"match": [["2", "2"]], "ignore": []},
            {"operator": "not", "operands": [2]}, {"operator": "or", "operands": [1, 2, 3]}])
        self.assertEqual(document["matchers"][0]["at"][1], 4)
        self.assertNotIn("characters", document)

    def test_matchers_by_name_object_policy_and_in_config(self):
        for text, instances in (("recipient_matcher = 'M'", ""), ("recipient_matcher = M", ""), ("recipient_matcher = M.matcher", ""),
                                ("recipient_matcher = RegexpMatcher(['m'])", ""),
                                ("def config(self):\n    SmtpProxy.config(self)\n    self.recipient_matcher = 'M'", ""),
                                ("def config(self):\n    SmtpProxy.config(self)\n    self.recipient_matcher = M", "")):
            document = self.matchers(text, instances + "M = MatcherPolicy('M', RegexpMatcher(['m']))\n")
            self.assertEqual(document["configs"][0]["attributes"]["recipient_matcher"], {"matcher": 0}, text)

    def test_operands_at_many_places_cost_nothing(self):
        """2 ** 60 of them, would each be looked at."""
        for levels, step in ((60, "(Z_AND, e, e)"), (60, "CombineMatcher((Z_AND, e, e))"), (30, "CombineMatcher((Z_OR, (Z_AND, e, e), (Z_AND, e, e)))")):
            result = self.good(HEAD + "e = RegexpMatcher(['x'])\nfor i in range(%d):\n    e = %s\n" % (levels, step) +
                               "MatcherPolicy('m', CombineMatcher((Z_NOT, e)))\nclass My(SmtpProxy):\n    sender_matcher = 'm'\n"
                               "def i():\n    Service('s', My)\n", warnings=1)
            self.assertIn("nested too deeply", result.of("warning")[0]["message"])
            self.assertEqual(result.document["configs"][0]["attributes"]["sender_matcher"], {"callback": 0})
        rows = self.matchers("sender_matcher = 'm'", "e = RegexpMatcher(['x'])\nfor i in range(12):\n    e = (Z_AND, e, e)\n"
                             "MatcherPolicy('m', CombineMatcher((Z_NOT, e)))\n")["matchers"]
        self.assertEqual([row.get("operands") for row in rows], [None] + [[n, n] for n in range(12)] + [[12]])

    def test_services_share_matchers(self):
        document = self.good(HEAD + "MatcherPolicy('M', RegexpMatcher([r'\\d']))\nclass A(SmtpProxy):\n    sender_matcher = 'M'\n"
                             "class B(SmtpProxy):\n    recipient_matcher = RegexpMatcher([r'\\d'])\n"
                             "def i():\n    Service('s', A)\n    Service('t', B)\n").document
        self.assertEqual(len(document["matchers"]), 1)
        self.assertIn([0x660, 0x669, 2], document["characters"])

    def test_file_matchers_are_data(self):
        result = self.good(HEAD + "import os\nclass A(SmtpProxy):\n    sender_matcher = RegexpFileMatcher(\n"
                            "        os.path.join(os.path.dirname(__file__), 'm'), os.path.join(os.path.dirname(__file__), 'i'))\n"
                            "def i():\n    Service('s', A)\n", files={"m": "one\n\ntwo\n", "i": "three\n"})
        (row,) = result.document["matchers"]
        self.assertEqual([[p[0] for p in row[n]] for n in ("match", "ignore")], [["one", "two"], ["three"]])
        self.assertEqual([os.path.basename(f) for f in row["files"]], ["m", "i"])

    def test_matchers_that_stay_callbacks(self):
        own = "class Own(AbstractMatcher):\n    def checkMatch(self, text):\n        return TRUE\n"
        for text, warned in (("sender_matcher = Own()", None), ("sender_matcher = CombineMatcher((Z_AND, RegexpMatcher(['x']), Own()))", None),
                             ("sender_matcher = RegexpMatcher([r'(a)\\1'])", "a backreference"),
                             ("sender_matcher = RegexpMatcher(['\u00e4'])", "a character beyond ASCII"),
                             ("sender_matcher = CombineMatcher((Z_NOT, RegexpMatcher([r'\\Ba'])))", "non boundary")):
            result = self.good(HEAD + own + "class My(SmtpProxy):\n    %s\ndef i():\n    Service('s', My)\n" % text,
                               warnings=0 if warned is None else 1)
            self.assertEqual(result.document["configs"][0]["attributes"]["sender_matcher"], {"callback": 0})
            self.assertNotIn("matchers", result.document)
            for warning in result.of("warning"):
                self.assertIn(warned, warning["message"])
                self.assertEqual(warning["line"], 6)

    def test_what_a_policy_replaces_is_not_native(self):
        for text in ("RegexpMatcher.checkMatch = lambda self, text: True\nM = RegexpMatcher(['a'])\n",
                     "M = RegexpMatcher(['a'])\nM.checkMatch = lambda text: True\n",
                     "class Own(RegexpMatcher):\n    pass\nM = Own(['a'])\n"):
            document = self.matchers("sender_matcher = M", text)
            self.assertEqual(document["configs"][0]["attributes"]["sender_matcher"], {"callback": 0}, text)

    def test_session_marks_the_class_per_session(self):
        for body in ("if self.session.client_zone: self.timeout = 5",
                     "try:\n            x = self.session\n        except Exception: pass\n        self.timeout = 5",
                     "try:\n            x = self.session.client_address\n        except: pass\n        self.timeout = 5",
                     "x = self.request_param", "x = self.active_extensions", "x = self.client_stream"):
            config = self.config("def config(self):\n        SmtpProxy.config(self)\n        " + body)
            self.assertEqual((config["per_session"], config["class_number"], config["tables"], config["attributes"]),
                             (True, 0, {}, {}), body)
        self.assertTrue(self.config("config_per_session = TRUE")["per_session"])
        self.assertTrue(self.config("def __init__(self, session):\n    SmtpProxy.__init__(self, session)\n"
                                    "    self._c = session.client_address")["per_session"])
        self.assertFalse(self.config("def config(self):\n    SmtpProxy.config(self)\n    x = self.helo_string + str(self.timeout)")
                         ["per_session"])

    def test_plug_hook(self):
        text = "from Zorp.Plug import *\nclass P(PlugProxy):\n    def packetStats(self, cb, cp, sb, sp):\n        return ZV_ACCEPT\n" \
            "def i():\n    Service('s', P)\n    Service('t', PlugProxy)\n"
        self.assertEqual([c["hooks"] for c in self.good(text).document["configs"]], [{"packetStats": {"callback": 0}}, {}])

    def test_own_attributes(self):
        self.config("""
            limit = 5
            def config(self):
                SmtpProxy.config(self)
                self._private = 1
                self.limit = 6
                self.seen_by_callback = 1
                self.asked = 2
                self.counted = 0
            def cb(self, command, param):
                self.counted += 1
                return self.seen_by_callback + getattr(self, 'asked')
            """)

    def test_closures_and_helpers(self):
        config = self.config("""
            def config(self):
                SmtpProxy.config(self)
                def answer(verb, param, *more):
                    return SMTP_REQ_ACCEPT
                self.request["NOOP"] = (SMTP_REQ_POLICY, answer)
            """)
        self.assertEqual([e["call"] for e in config["tables"]["request"] if e["key"] == ["NOOP"]], [{"callback": 0}])

    def test_time_and_files_in_config_warn(self):
        for body, what in (("import time; self._t = time.time()", "the time"),
                           ("import random; self._t = random.choice([1, 2])", "random numbers"),
                           ("import datetime; self._t = datetime.datetime.now()", "the time"),
                           ("self._t = open('/etc/passwd').read()", "files"),
                           ("import os; self._t = os.listdir('/')", "files"),
                           ("import socket; self._t = socket.gethostbyname('127.0.0.1')", "the network")):
            self.warned(smtp_class("def config(self):\n    SmtpProxy.config(self)\n    " + body), (5, what))
        self.good(smtp_class("config_per_session = TRUE\ndef config(self):\n    SmtpProxy.config(self)\n"
                             "    import time; self._t = time.time()"))
        self.good(smtp_class("def config(self):\n    SmtpProxy.config(self)\n    import json, base64\n    self._x = json.dumps(1)"))


class Imports(PolicyTest):
    NAMES = ("Core Zorp Proxy Smtp Http Ftp Pop3 Telnet Finger Whois Plug AnyPy APR Zone Service Rule Router Chainer NAT "
             "Resolver Matcher Detector Encryption Auth AuthDB Session Stream SockAddr Subnet Dispatch Stack Exceptions "
             "Globals Cache Config Common Keybridge Pssl").split()

    def test_every_module_brings_the_union(self):
        lines = []
        for name in self.NAMES:
            lines += ["names = {}", "exec('from Zorp.%s import *', names)" % name,
                      "for n in 'Service Rule Zone InetZone DirectedRouter InbandRouter SockAddrInet TRUE FALSE PortRange ConnectChainer "
                      "NATPolicy EncryptionPolicy SSL_FORCE_SSL ClientNoneVerifier DHParam NoneEncryption SidedEncryption "
                      "readPEM X509KeyBridge TLSEncryption getEncryptionPolicy MatcherPolicy log config Z_PORT_EXACT'.split():",
                      "    assert n in names, (%r, n)" % name]
        self.good("\n".join(lines) + "\nfrom Zorp.Core import *\ndef i():\n    DenyService('s')\n")

    def test_union_keeps_meanings(self):
        self.good("""\
from Zorp.Http import *
assert issubclass(HttpProxyNonTransparent, HttpProxy) and HTTP_HDR_REPLACE == 105 and HTTP_HDR_CHANGE_NAME == 100
from Zorp.Smtp import *
assert (SMTP_REQ_POLICY, SMTP_EXT_DROP, SMTP_EXT_ALL, SMTP_STK_NONE, SMTP_STK_MIME) == (6, 5, 15, 0, 1)
assert (ZV_UNSPEC, ZV_ERROR, Z_DROP, Z_NE, Z_KEEPALIVE_BOTH) == (0, 7, 5, "Z_XOR", 3)
assert (Z_PORT_ANY, Z_PORT_GROUP, Z_PORT_EXACT, Z_PORT_RANDOM) == (-1, -2, -3, -4)
assert Z_SZIG_CONNECTION_START == 12 and CORE_SUMMARY == "core.summary" and ZEndpoint.EP_SERVER == 1
assert str(ConnectionVerdict(5)) == "ABORTED_BY_POLICY_ACTION"
from Zorp.Telnet import *
assert TELNET_ENVIRONMENT == "39" and TELNET_NAWS == "31" and TELNET_EOR == "25" and TELNET_TERMINAL_TYPE == "24"
from Zorp.Ftp import *
from Zorp.Pop3 import *
assert POP3_REQ_ACCEPT_MLINE == 100 and FTP_STK_POLICY == 6
import Zorp.Service
assert Zorp.Service.DenyIPv4.to_string(8) == 'ICMP_ADMIN_PROHIBITED'
from Zorp.Core import *
assert Zorp.TRUE == 1
from Zorp.Exceptions import *
assert str(DACException('x')) == 'DAC policy violation: x'
def i():
    DenyService('s')
""")

    def test_addresses_and_subnets(self):
        self.good(instance("""
            from Zorp.Subnet import Subnet
            a = SockAddrInet('10.1.2.3', 80)
            assert (str(a), a.ip_s, a.port, a.family, a.type) == ('AF_INET(10.1.2.3:80)', '10.1.2.3', 80, AF_INET, 'inet')
            assert str(SockAddrInet6('::1', 80)) == 'AF_INET6(::1:80)' and str(SockAddrUnix('/x')) == 'AF_UNIX(/x)'
            assert a.equal(SockAddrInet(0x0a010203, 80)) and not a == SockAddrInet('10.1.2.3', 80)
            assert a.clone(TRUE).port == 0 and a.pack() == b'\\x0a\\x01\\x02\\x03'
            net = InetSubnet('10.1.2.3/8')
            assert net.contains(a) and str(net) == '10.0.0.0/8' and net.netmask_bits() == 8
            assert [str(x) for x in net.ip_range] == ['AF_INET(10.0.0.0:0)', 'AF_INET(10.255.255.255:0)']
            assert net.mapHostAddr(InetSubnet('192.0.0.0/8').getHostAddr(SockAddrInet('192.7.8.9', 0))) == '10.7.8.9'
            assert Inet6Subnet('2001:db8::/32').contains(Inet6Subnet('2001:db8:1::/48')) and not net.contains(SockAddrInet6('::1', 0))
            assert Subnet.create('x') is None and isinstance(Subnet.create('::1'), Inet6Subnet)
            assert Zone.lookup(a).name == 'b' and Zone.lookupByName('a').getDepth() == 0 and str(Zone.zones['b']) == 'Zone(b)'
            DenyService('s')
            """, HEAD + "Zone('a', '0.0.0.0/0')\nZone('b', '10.0.0.0/8')\n"))

    def test_zones_of_addresses_and_subnets(self):
        load = self.good("""
            from Zorp.Core import *
            from Zorp.Subnet import Subnet
            Zone('all', ['0.0.0.0/0', '::/0'])
            Zone('net', ('10.1.2.3/8', InetSubnet('172.16.0.0/12'), '2001:DB8:0::1/32', '192.168.0.0/016'), admin_parent='all')
            Zone('host', '10.1.2.3', admin_parent='net')
            Zone('empty')

            def found(address):
                zone = Zone.lookup(address)
                return zone and zone.name

            assert [found(SockAddrInet(a, 0)) for a in ('10.1.2.3', '10.1.2.4', '172.31.0.1', '172.32.0.1')] == ['host', 'net', 'net', 'all']
            assert [found(SockAddrInet6(a, 0)) for a in ('2001:db8::7', '::7')] == ['net', 'all']
            assert [found(Subnet.create(s)) for s in ('10.1.2.3/32', '10.0.0.0/8', '10.0.0.0/7', '2001:db8::/31')] == ['host', 'net', 'all', 'all']
            assert found(SockAddrUnix('/x')) is None
            exactly = Zone.lookupByStaticAddressExactly
            assert exactly(SockAddrInet('10.1.2.3', 0)).name == exactly(InetSubnet('10.1.2.3')).name == 'host'
            assert exactly(SockAddrInet('10.1.2.4', 0)) is None and exactly(InetSubnet('10.0.0.0/8')) is None
            net = Zone.lookupByName('net')
            assert net.subnets[:2] == [InetSubnet('10.0.0.0/8'), InetSubnet('172.16.0.0/12')] and isinstance(net.subnets[2], Inet6Subnet)
            assert len(net.admin_children) == 0 and [Zone.zones[z].getDepth() for z in ('all', 'net', 'host')] == [0, 1, 2]
            def i():
                DenyService('s')
                Rule(service='s', src_subnet=('10.1.2.3/8', '10.0.0.0/8', '1.2.3.4', '2001:DB8::1', InetSubnet('10.9.0.0/8')))
            """)
        self.assertEqual([z["addrs"] for z in load.document["zones"]],
                         [["0.0.0.0/0", "::/0"], ["10.0.0.0/8", "172.16.0.0/12", "2001:db8::/32", "192.168.0.0/16"], ["10.1.2.3/32"], []])
        self.assertEqual(load.document["rules"][0]["src_subnet"], ["10.0.0.0/8", "1.2.3.4/32", "2001:db8::1/128"])

    def test_places_in_a_long_function(self):
        """A function so long that its table of lines has all forms of entries; calls over several lines."""
        lines = ["from Zorp.Core import *", "def i():", "    DenyService('s')"]
        wanted = []
        for number in range(400):
            wanted.append(len(lines) + 1)
            lines += ["    Rule(service='s',", "         dst_port=%d," % number, ""] + ["\n" * (number % 200) + "         src_port=7)"]
            lines = "\n".join(lines).split("\n")
        document = self.good("\n".join(lines) + "\n").document
        self.assertEqual([r["at"] for r in document["rules"]], [[0, n] for n in wanted])

    def test_the_same_value_in_other_conditions(self):
        """What was checked for one condition says nothing of another, or of a value that only compares equal."""
        self.bad(instance("""
            DenyService('s')
            Rule(service='s', dst_port=(1, '1', 300), reqid=300)
            Rule(service='s', dst_port=True)
            Rule(service='s', dst_port=1.0)
            Rule(service='s', proto=300)
            Rule(service='s', src_port='300', proto_type=300)
            Rule(service='s', reqid='300')
            """), (5, "dst_port: True is not a port"), (6, "dst_port: 1.0 is not a port"), (7, "proto: 300 is not"),
            (8, "proto_type: 300 is not"), (9, "reqid: '300' is not"))

    def test_zone_lookup(self):
        """As a search through all subnets finds it."""
        self.good(instance("""
            import random
            from Zorp.Subnet import Subnet
            chance = random.Random(5)
            def prefix(family, length):
                text = SockAddrInet(chance.getrandbits(32) & 0x0f0f0f03, 0).ip_s
                return '%s/%d' % (text, length) if family == 4 else '2001:db8::%x/%d' % (chance.getrandbits(12), length + 96)
            subnets = {Subnet.create(prefix(family, chance.randrange(33))) for n in range(300) for family in (4, 6)}
            for n, subnet in enumerate(sorted(subnets, key=str)):
                Zone('z%d' % n, subnet)
            owned = [(s, z) for z in Zone.zones.values() for s in z.subnets]
            def slow(addr):
                found = [(s.netmask_bits(), z) for s, z in owned if s.contains(addr)]
                return max(found, key=lambda pair: pair[0])[1] if found else None
            for n in range(2000):
                addr = (SockAddrInet if n % 2 else SockAddrInet6)(prefix(4 if n % 2 else 6, 0).partition('/')[0], 1)
                assert Zone.lookup(addr) is slow(addr), addr
                subnet = Subnet.create(prefix(4 if n % 2 else 6, chance.randrange(33)))
                assert Zone.lookup(subnet) is slow(subnet), subnet
            Zone('late', '10.99.0.0/16')
            assert Zone.lookup(SockAddrInet('10.99.1.1', 1)) is Zone.lookupByName('late')
            Zone('host', '10.99.1.1')
            assert Zone.lookupByStaticAddressExactly(SockAddrInet('10.99.1.1', 1)).name == 'host'
            assert Zone.lookupByStaticAddressExactly(SockAddrInet('10.99.1.2', 1)) is None
            assert Zone.lookup(SockAddrUnix('/x')) is None
            DenyService('s')
            """, HEAD))


class Program(PolicyTest):
    def run_host(self, *argv, cwd="/", **more):
        return subprocess.run([sys.executable, "-B", "-s", "-m", "sallyport.host", *argv], cwd=cwd, timeout=30,
                              env={"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin"}, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, **more)

    def test_wrong_usage(self):
        for argv in ((), ("compile",), ("nosuch", "--schema", "x", "--policy", "y", "--document-fd", "1", "--problems-fd", "2"),
                     ("compile", "--schema", "/nonexistent", "--policy", "x", "--document-fd", "1", "--problems-fd", "2"),
                     ("compile", "--schema", "/dev/null", "--policy", "x", "--document-fd", "1", "--problems-fd", "2"),
                     ("compile", "--schema", "x", "--policy", "y", "--document-fd", "1", "--problems-fd", "2", "--control-fd", "3")):
            self.assertEqual(self.run_host(*argv).returncode, 2, argv)

    def test_compiles_from_any_directory_and_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as directory:
            here = pathlib.Path(directory, "policy")
            here.mkdir()
            (here / "policy.py").write_text("from Zorp.Core import *\nfrom zones import *\nimport here\nprint('noise')\ndef i():\n    DenyService('s')\n")
            (here / "zones.py").write_text("Zone('z', '10.0.0.0/8')\n")
            (here / "here.py").write_text("")
            pathlib.Path(directory, "here.py").write_text("raise RuntimeError('the current directory is not on the path')")
            from policy_support import SCHEMA
            import json
            schema = pathlib.Path(directory, "schema.json")
            schema.write_text(json.dumps(SCHEMA))
            done = self.run_host("compile", "--schema", str(schema), "--policy", "policy/policy.py", "--document-fd", "1",
                                 "--problems-fd", "2", cwd=directory)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["zones"][0]["name"], "z")
            self.assertIn(b"noise", done.stderr)
            self.assertEqual(sorted(p.name for p in here.iterdir()), ["here.py", "policy.py", "zones.py"])


if __name__ == "__main__":
    unittest.main()
