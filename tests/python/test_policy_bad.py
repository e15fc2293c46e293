# SPDX-License-Identifier: Apache-2.0
"""Policies that must be refused: each mistake with its line and a sentence that helps, and only
that mistake."""

import unittest

from policy_support import HEAD, PolicyTest, compile_files, instance, smtp_class


class Declarations(PolicyTest):
    def test_rules(self):
        head = HEAD + "Zone('clients', '10.0.0.0/8')\n"
        for arguments, message, hint in (
                ("service='nosuch'", "there is no service 'nosuch'", "define it before the rule"),
                ("service='mial'", "there is no service 'mial'", "did you mean 'mail'?"),
                ("", "a rule needs a service", "Rule(service="),
                ("service=m", "service is given by its name", ""),
                ("service='mail', src_zone='client'", "there is no zone 'client'", "did you mean 'clients'?"),
                ("service='mail', dst_zone=('clients', 'x')", "dst_zone: there is no zone 'x'", ""),
                ("service='mail', src_zone=Zone.zones['clients']", "a zone is given by its name", "write 'clients'"),
                ("service='mail', dst_prot=25", "Rule has no parameter 'dst_prot'", "did you mean 'dst_port'?"),
                ("service='mail', src_subnet6='::/0'", "Rule has no parameter 'src_subnet6'", "src_subnet"),
                ("service='mail', dst_port='80,443'", "'80,443' is not a port", "[80, 443]"),
                ("service='mail', dst_port='1-10'", "'1-10' is not a port", "PortRange"),
                ("service='mail', dst_port=(80, (100, 200))", "(100, 200) is not a port", "PortRange(100, 200)"),
                ("service='mail', dst_port=99999", "port 99999 does not exist", "0 to 65535"),
                ("service='mail', dst_port=-1", "port -1 does not exist", ""),
                ("service='mail', dst_port=25.0", "25.0 is not a port", ""),
                ("service='mail', dst_port=None", "dst_port is None", "leave it out"),
                ("service='mail', src_zone=None", "src_zone is None", "leave it out"),
                ("service='mail', dst_port=PortRange(10, 1)", "PortRange(10, 1) contains no port", ""),
                ("service='mail', dst_port=PortRange(1, 70000)", "the higher port is 70000", ""),
                ("service='mail', src_subnet='10.0.0.0/33'", "prefix length", ""),
                ("service='mail', src_subnet='10.0.0.0/255.0.0.0'", "prefix length", "/24"),
                ("service='mail', src_subnet='10.0.0'", "not an IPv4 subnet", ""),
                ("service='mail', src_subnet='fe80::x/10'", "not an IPv6 subnet", ""),
                ("service='mail', dst_subnet=SockAddrInet('1.2.3.4', 5)", "is not a subnet", ""),
                ("service='mail', dst_subnet=5", "is not a subnet", ""),
                ("service='mail', proto='tcp'", "not a protocol number", "write 6"),
                ("service='mail', proto=17", "not yet part of Sallyport", "proto=6"),
                ("service='mail', proto=(6, 17)", "not yet part of Sallyport", ""),
                ("service='mail', proto=256", "256 is not a protocol number", ""),
                ("service='mail', iface='eth*'", "no wildcards", ""),
                ("service='mail', iface='interface-too-long'", "is not the name of an interface", ""),
                ("service='mail', iface=3", "is not the name of an interface", ""),
                ("service='mail', src_ifgroup='nosuchgroup'", "there is no interface group", ""),
                ("service='mail', dst_ifgroup=[]and(), ifgroup=1.5", "not an interface group", ""),
                ("service='mail', icmp_type=300", "not an ICMP type", ""),
                ("service='mail', rule_id=-1", "not a rule number", ""),
                ("service='mail', rule_id='one'", "not a rule number", ""),
                ("service='mail', detect=[('nosuch', 'mail')]", "not yet", "")):
            text = instance("m = Service('mail', SmtpProxy)\nRule(%s)" % arguments, head)
            if "detect" in arguments:
                self.bad(text, (5, "no DetectorPolicy 'nosuch'"), (5, message))
            else:
                self.bad(text, (5, message, hint) if hint else (5, message))

    def test_positional_rule(self):
        self.bad(instance("Service('mail', SmtpProxy)\nRule('mail')"), (4, "keywords only", "service='mail'"))

    def test_rule_ids(self):
        self.bad(instance("DenyService('s')\nRule(service='s', rule_id=2, dst_port=1)\nRule(service='s', rule_id=2, dst_port=2)"),
                 (5, "rule_id 2 is already used in policy.py, line 4"))
        self.bad(instance("DenyService('s')\nRule(service='s', dst_port=1)\nRule(service='s', rule_id=1, dst_port=2)"),
                 (5, "rule_id 1 is already used"))

    def test_rule_outside_of_an_instance(self):
        self.bad(HEAD + "DenyService('s')\nRule(service='s')\ndef i():\n    pass\n", (3, "outside of an instance function"))

    def test_zones(self):
        for arguments, message in (
                ("'a', '10.0.0.0/33'", "prefix length"), ("'a', 'host'", "not an IPv4 subnet"), ("'a', [5]", "is not a subnet"),
                ("'a', admin_parent='nosuch'", "there is no zone 'nosuch'"), ("'a', inbound_services=['x']", "no longer say"),
                ("'a', outbound_services=[]", "no longer say"), ("'a', hostnames=['x.example', 'X.Example.']", "the host x.example is listed twice"),
                ("'a', hostnames='10.1.2.3'", "is an address, not a host name"), ("'a', hostnames='::1'", "is an address, not a host name"),
                ("'a', hostnames='x..example'", "is not a host name"), ("'a', hostnames='x example'", "is not a host name"),
                ("'a', hostnames='x\\n'", "is not a host name"), ("'a', hostnames='x' * 64", "is not a host name"),
                ("'a', hostnames='.'.join(['x' * 60] * 5)", "is not a host name"), ("'a', hostnames='b\xfccher.example'", "is not ASCII"),
                ("'a', hostnames=[5]", "is not a string"), ("'a', hostnames=['h%d' % i for i in range(4097)]", "more than 4096 host names"),
                ("'a', ['10.0.0.0/8', '10.9.9.9/8']", "listed twice"), ("'b', '192.168.77.1/16'", "already belongs to zone 'known'"),
                ("'known', '1.0.0.0/8'", "zone 'known' is already defined"), ("5", "must be a string"), ("''", "must not be empty"),
                ("'a\\n'", "control character"), ("'a\\udc80'", "lone surrogate"), ("'a', umbrella=TRUE", "Zone has no parameter 'umbrella'"), ("", "missing")):
            self.bad(instance("DenyService('s')", HEAD + "Zone('known', '192.168.0.0/16')\nZone(%s)\n" % arguments), (3, message))

    def test_zone_tree_is_not_too_deep(self):
        self.bad(HEAD + "Zone('z0')\nfor n in range(1, 32):\n    Zone('z%d' % n, admin_parent='z%d' % (n - 1))\ndef i():\n    DenyService('s')\n",
                 (4, "deeper than 31"))

    def test_services(self):
        for call, message in (
                ("Service('s')", "missing 1 required"), ("Service('s', SmtpProxy, nosuch=1)", "no parameter 'nosuch'"),
                ("Service('s', SmtpProxy, rooter=None)", "no parameter 'rooter'"),
                ("Service('s', 'SmtpProxy')", "is not a proxy class"), ("Service('s', DenyService)", "is not a proxy class"),
                ("Service('', SmtpProxy)", "must not be empty"), ("Service('x' * 1024, SmtpProxy)", "longer than 1023"),
                ("Service('s', SmtpProxy, 'router')", "is not a router"),
                ("Service('s', SmtpProxy, chainer=TransparentRouter())", "is not a chainer"),
                ("Service('s', SmtpProxy, max_instances=-1)", "max_instances is -1"),
                ("Service('s', SmtpProxy, max_instances='many')", "must be a number"),
                ("Service('s', SmtpProxy, keepalive=4)", "keepalive is 4"),
                ("Service('s', SmtpProxy, limit_target_zones_to=('x',))", "there is no zone 'x'"),
                ("Service('s', SmtpProxy, accept_proxy_protocol=('x',))", "accept_proxy_protocol: there is no zone 'x'"),
                ("Service('s', SmtpProxy, snat_policy='x')", "there is no NATPolicy 'x'"),
                ("Service('s', SmtpProxy, dnat_policy='x')", "there is no NATPolicy 'x'"),
                ("Service('s', SmtpProxy, resolver_policy='x')", "there is no ResolverPolicy 'x'"),
                ("Service('s', SmtpProxy, authentication_policy='x')", "there is no AuthenticationPolicy 'x'"),
                ("Service('s', SmtpProxy, auth_policy='x')", "there is no AuthPolicy 'x'"),
                ("Service('s', SmtpProxy, encryption_policy='x')", "there is no EncryptionPolicy 'x'"),
                ("Service('s', SmtpProxy, snat_policy='N', snat=StaticNAT(SockAddrInet('1.1.1.1', 0)))", "given both"),
                ("DenyService('s', ipv4_setting=9)", "ipv4_setting is 9"), ("DenyService('s', logging=5)", "TRUE or FALSE"),
                ("DenyService('s', ipv6_setting=DenyIPv6.TCP_RST)", "TCP_RST"),
                ("PFService('s', InbandRouter())", "InbandRouter"),
                ("PFService('s', DirectedRouter((SockAddrInet('1.1.1.1', 1), SockAddrInet('1.1.1.2', 1))))", "one destination"),
                ("PFService('s', TransparentRouter(), snat_policy='N')", "takes GeneralNAT only"),
                ("Service('old', SmtpProxy)", "service 'old' is already defined")):
            self.bad(instance(call, HEAD + "NATPolicy('N', StaticNAT(SockAddrInet('1.1.1.1', 0)))\nDenyService('old')\n"),
                     (5, message))

    def test_not_yet(self):
        for call, what in (
                ("Service('s', SmtpProxy, InbandRouter())", "InbandRouter"),
                ("Service('s', SmtpProxy, chainer=RoundRobinChainer())", "RoundRobinChainer"),
                ("Service('s', SmtpProxy, chainer=FailoverChainer(timeout_state=5))", "FailoverChainer"),
                ("Service('s', SmtpProxy, chainer=MultiTargetChainer())", "MultiTargetChainer"),
                ("Service('s', SmtpProxy, chainer=SideStackChainer(SmtpProxy))", "SideStackChainer"),
                ("Service('s', SmtpProxy, chainer=ConnectChainer(protocol=ZD_PROTO_UDP))", "UDP"),
                ("Service('s', SmtpProxy, snat_policy='N')", "snat_policy"),
                ("Service('s', SmtpProxy, dnat=NAT64())", "dnat"),
                ("Service('s', SmtpProxy, resolver_policy='R')", "resolver_policy"),
                ("Service('s', SmtpProxy, authorization_policy='x')", "authorization_policy"),
                ("PFService('s', TransparentRouter(), dnat_policy='N')", "dnat_policy"),
                ("PFService('s', TransparentRouter(), snat_policy='N')", "snat_policy"),
                ("Service('s', SmtpProxy, auth=InbandAuthentication())", "auth"),
                ("Service('s', SmtpProxy, auth_name='mail')", "auth_name"),
                ("Service('s', SmtpProxy, detector_config=5)", "detector_config"),
                ("Service('s', SmtpProxy, detector_default_service_name='x')", "detector_config"),
                ("Service('s', HttpProxy)", "the http proxy"), ("Service('s', AnyPyProxy)", "the anypy proxy"),
                ("Dispatcher(1, service='s')", "Dispatcher"), ("DBIface('eth0', 25)", "DBIface"),
                ("class R(TransparentRouter):\n    def routeConnection(self, session): pass\nService('s', SmtpProxy, R())", "routeConnection")):
            head = HEAD + "from Zorp.Http import *; from Zorp.AnyPy import *; NATPolicy('N', GeneralNAT([])); " \
                "ResolverPolicy('R', DNSResolver())\n"
            self.bad(instance(call, head), (4 + call.count("\n"), "not yet part of Sallyport"))
            self.assertIn(what, self.bad(instance(call, head), (4 + call.count("\n"), "")).problems[0]["message"])

    def test_policy_code_chooses_no_server(self):
        self.bad(instance("class M(AbstractMatcher):\n    def checkMatch(self, str): return TRUE\n"
                          "Service('s', SmtpProxy, SNIBasedRouter({M(): SockAddrInet('1.2.3.4', 25)}))"),
                 (5, "service 's': SNIBasedRouter: the matcher M is policy code, which can't choose a server"))

    def test_routers_and_addresses(self):
        for call, message in (
                ("SockAddrInet('1.2.3', 25)", "not an IPv4 address"), ("SockAddrInet('1.2.3.4', 99999)", "the port is 99999"),
                ("SockAddrInet('1.2.3.4')", "missing"), ("SockAddrInet6('1.2.3.4', 25)", "not an IPv6 address"),
                ("SockAddrInet('1.2.3.4', '25')", "must be a number"), ("SockAddrInetRange('1.2.3.4', 5, 4)", "port_max is 4"),
                ("DirectedRouter(())", "at least one"), ("DirectedRouter('1.2.3.4')", "is not an address of a server"),
                ("DirectedRouter(SockAddrUnix('/x'))", "is not an address of a server"),
                ("SNIBasedRouter({})", "is not a dictionary of servers"), ("SNIBasedRouter([])", "is not a dictionary of servers"),
                ("SNIBasedRouter({5: SockAddrInet('1.2.3.4', 25)})", "is not a matcher"),
                ("SNIBasedRouter({RegexpMatcher(('x', )): '1.2.3.4'})", "is not an address of a server"),
                ("SNIBasedRouter({RegexpMatcher(('x', )): SockAddrInet('1.2.3.4', 25)}, default=25)", "is not an address of a server"),
                ("PFService('p', SNIBasedRouter({RegexpMatcher(('x', )): SockAddrInet('1.2.3.4', 25)}))", "reads no names"),
                ("TransparentRouter(forge_port=0)", "forge_port is 0"), ("TransparentRouter(forge_port=65536)", "forge_port is 65536"),
                ("TransparentRouter(forge_port='x')", "forge_port must be a number"),
                ("TransparentRouter(proxy_protocol=3)", "proxy_protocol is 3"), ("TransparentRouter(proxy_protocol='v2')", "must be a number"),
                ("TransparentRouter(proxy_protocol=2, forge_addr=TRUE)", "both tell the server who the client is"),
                ("PFService('p', TransparentRouter(proxy_protocol=1))", "no room for a header"),
                ("TransparentRouter(forge_addr='yes')", "TRUE or FALSE"), ("TransparentRouter(forge_adr=TRUE)", "no parameter 'forge_adr'"),
                ("TransparentRouter(forced_port=70000)", "forced_port is 70000"), ("ConnectChainer(protocol=3)", "protocol is 3"),
                ("ConnectChainer(timeout_connect=-1)", "timeout_connect is -1"), ("InetSubnet('10.0.0.0/40')", "prefix length")):
            self.bad(instance(call), (3, message))

    def test_named_policies(self):
        for call, message in (
                ("NATPolicy('n', 'nat')", "is not an address translation"),
                ("GeneralNAT([(InetSubnet('10.0.0.0/8'), InetSubnet('11.0.0.0/8'))])", "is not a triple"),
                ("GeneralNAT([('10.0.0.0/8', '11.0.0.0/8', '12.0.0.0/8')])", "is not a subnet object"),
                ("NAT46(prefix_mask=33)", "prefix_mask is 33"), ("NAT64(5)", "prefix_mask is 5"), ("NAT46(prefix='x')", "IPv6"),
                ("NAT46(prefix_mask=64, suffix='ff::')", "zero octets"),
                ("OneToOneNAT(InetSubnet('10.0.0.0/8'), InetSubnet('11.0.0.0/9'))", "not of one size"),
                ("MatcherPolicy('m', 'x')", "is not a matcher"), ("RegexpMatcher(['('])", "not a regular expression"),
                ("RegexpMatcher('abc')", "must be a list"), ("RegexpFileMatcher('/nonexistent/list')", "there is no file"),
                ("CombineMatcher(('Z_MAYBE', 'x'))", "is not an expression"), ("CombineMatcher((Z_NOT, 'a', 'b'))", "one operand"),
                ("CombineMatcher((Z_AND, 5))", "is not a matcher"), ("DetectorPolicy('d', 5)", "is not a detector"),
                ("EncryptionPolicy('e', 5)", "is not an encryption scenario"), ("ResolverPolicy('r', 5)", "is not a resolver"),
                ("HashResolver({'a': 'b'})", "is not an address"), ("AuthenticationPolicy('a', 'nosuch', None)", "no AuthenticationProvider"),
                ("Certificate.fromFile('/nonexistent', None)", "can't be read")):
            self.bad(instance(call), (3, message))
        self.bad(instance("MatcherPolicy('m', RegexpMatcher([]))\nMatcherPolicy('m', RegexpMatcher([]))"),
                 (4, "MatcherPolicy 'm' is already defined in policy.py, line 3"))
        for wrong, says in (("RegexpMatcher(['('])", "not a regular expression"), ("CombineMatcher((Z_NOT, 5))", "is not a matcher")):
            self.bad(smtp_class("sender_matcher = CombineMatcher((Z_AND, RegexpMatcher(['x']), %s))" % wrong), (3, says))
        self.bad(instance("MatcherPolicy('m', CombineMatcher((Z_AND, 'nosuch')))"), (3, "there is no MatcherPolicy 'nosuch'"))
        self.bad(instance("MatcherPolicy('m', CombineMatcher((Z_AND, 'm')))"), (3, "contains itself"))
        self.bad(instance("MatcherPolicy('m', CombineMatcher((Z_AND, (Z_NOT, 'n'))))\nMatcherPolicy('n', CombineMatcher((Z_AND, 'm')))"),
                 (3, "contains itself"), (4, "contains itself"))
        deep = "e = RegexpMatcher(['x'])\nfor i in range(%d):\n    e = "
        for levels, step, line in ((101, "(Z_NOT, e)", 6), (101, "CombineMatcher((Z_NOT, e))", 6), (5000, "CombineMatcher((Z_NOT, e))", 6),
                                   (51, "CombineMatcher((Z_NOT, (Z_NOT, e)))", 6)):
            self.bad(instance(deep % levels + step + "\nMatcherPolicy('m', CombineMatcher((Z_AND, e)))"), (line, "nested more than 100 deep"))

    def test_config_options(self):
        self.bad(instance("config.options.langauge = 'hu'"), (3, "no option config.options.langauge", "did you mean 'language'?"))
        self.bad(instance("config.options.language = 'fr'"), (3, "language must be"))
        self.bad(instance("config.options.timeout_server_connect = 'soon'"), (3, "must be a number"))
        self.bad(instance("config.nosuch = 1"), (3, "config.nosuch can't be assigned"))

    def test_one_mistake_is_one_problem_and_all_are_found(self):
        self.bad(instance("""
            Zone('b', '10.0.0.0/99')
            Zone('c', '10.1.0.0/16', admin_parent='b')
            Service('s', SmtpProxy, DirectedRouter(SockAddrInet('1.2.3', 25)), limit_target_zones_to=['b'])
            Rule(service='s', src_zone='b', dst_port=25)
            Rule(service='s', src_zone='nosuch', dst_port='x')
            MatcherPolicy('m', RegexpMatcher(['(']))
            Service('t', HttpProxy)
            """), (3, "prefix"), (5, "not an IPv4 address"), (7, "nosuch"), (7, "'x' is not a port"), (8, "regular"),
            (9, "name 'HttpProxy' is not defined"))


class Code(PolicyTest):
    def test_syntax_errors(self):
        self.bad(HEAD + "def i():\n    Service('s'\n", (3, "syntax error"))
        self.bad(HEAD + "def i():\npass\n", (3, "syntax error"))

    def test_octets_that_are_no_source(self):
        for octets in (b"x = '\xff'\n", b"x = 1\n\0\n", b"# -*- coding: nosuch -*-\n"):
            result = compile_files({"policy.py": octets})
            self.assertEqual((result.status, len(result.problems)), (1, 1), result.stderr)
            self.assertNotIn("Traceback", result.stderr)
            self.assertNotIn("defect", str(result.problems))

    def test_python_2(self):
        for line, message, hint in (
                ("print 'hello'", "the print statement", "print(...)"), ("raise ValueError, 'x'", "raise with a comma", 'raise Class("text")'),
                ("x = 0777", "octal number", "0o"), ("x = `5`", "backticks", "repr(...)"),
                ("if 1 <> 2: pass", "operator <>", "!="), ("exec 'x'", "exec statement", "exec(...)"),
                ("x = 10L", "long integer", "leave the L out")):
            self.bad(HEAD + "def i():\n    %s\n" % line, (3, message, hint))
        self.bad(HEAD + "def i():\n    try:\n        pass\n    except ValueError, e:\n        pass\n", (5, "except with a comma", "as name"))
        self.bad(HEAD + "print 'a'\nx = 0755  # `no`\ny = \"it's <> `fine`\"\ndef i():\n    print 'b'\n",
                 (2, "print"), (3, "octal"), (6, "print"))

    def test_python_2_at_run_time(self):
        self.bad(instance("x = {}\nx.has_key('a')"), (4, "has_key", "key in dictionary"))
        self.bad(instance("x = unicode('a')"), (3, "unicode", "str"))
        self.bad(instance("import ConfigParser"), (3, "ConfigParser", "configparser"))

    def test_exceptions(self):
        self.bad(instance("helper()", HEAD + "def helper(n=0):\n    return 1 / n\n"), (3, "ZeroDivisionError: division by zero"))
        self.bad(HEAD + "raise ValueError('bad day')\n", (2, "ValueError: bad day"))
        self.bad(HEAD + "import sys\nsys.exit(3)\n", (3, "SystemExit"))
        self.bad(instance("def f(): f()\nf()"), (3, "RecursionError"))
        self.bad(instance("Servcie('s', SmtpProxy)"), (3, "name 'Servcie' is not defined", "did you mean 'Service'?"))
        self.bad("def i():\n    Service('s', 1)\n", (2, "name 'Service' is not defined", "from Zorp.Core import *"))
        self.bad(instance("import nosuchmodule"), (3, "No module named 'nosuchmodule'"))
        self.bad(instance("'a' + 5"), (3, "TypeError"))

    def test_mistakes_in_sibling_modules(self):
        for text, line, message in (("Zone('z', '10.0.0.0/99')\n", 1, "prefix"), ("x = = 1\n", 1, "syntax error"),
                                    ("def f():\n    raise KeyError('k')\nf()\n", 2, "KeyError"), ("print 'x'\n", 1, "print")):
            result = compile_files({"policy.py": HEAD + "from zones import *\ndef i():\n    DenyService('s')\n", "zones.py": text})
            self.assertEqual(result.status, 1)
            self.assertEqual([(p["file"], p["line"]) for p in result.problems], [(result.directory + "/zones.py", line)])
            self.assertIn(message, result.problems[0]["message"])

    def test_instances(self):
        self.bad(HEAD + "x = 1\n", (0, "no instance function"))
        self.bad(HEAD + "def a(): pass\ndef b(): pass\n", (0, "several instances", "a and b"))
        self.bad(HEAD + "def mail(): pass\n", (0, "no instance function 'mial'", "did you mean 'mail'?"), instances=["mial"])
        self.bad(HEAD + "def init(names, virtual_name, is_master):\n    return 1\ndef i(): pass\n", (2, "init()"))
        self.bad(HEAD + "def a():\n    DenyService('s')\ndef b():\n    DenyService('s')\n", (5, "service 's' is already defined"),
                 instances=["a", "b"])
        self.bad(HEAD + "def a():\n    Zone('z', '1.0.0.0/8')\ndef b():\n    Zone('z', '2.0.0.0/8')\n", (5, "zone 'z' is already defined"),
                 instances=["a", "b"])

    def test_unreadable_policy(self):
        result = compile_files({"policy.py/x": ""})
        self.assertEqual((result.status, len(result.problems)), (1, 1))
        self.assertIn("can't be read", result.problems[0]["message"])


class ProxyClasses(PolicyTest):
    def bad_config(self, body, message, hint=None, line=5):
        text = smtp_class("def config(self):\n    SmtpProxy.config(self)\n    " + body)
        self.bad(text, (line, message) if hint is None else (line, message, hint))

    def test_attributes(self):
        for body, message, hint in (
                ("self.relay_domain = ('x',)", "no attribute 'relay_domain'", "did you mean 'relay_domains'?"),
                ("setattr(self, 'time_out', 5)", "no attribute 'time_out'", "did you mean 'timeout'?"),
                ("self.zzz = 1", "no attribute 'zzz'", "begin with _"),
                ("self.timeout = 'soon'", "timeout must be a number, not 'soon'", None),
                ("self.timeout = 0", "timeout is 0; it must be from 1", None),
                ("self.timeout = 10 ** 30", "it must be from 1", None),
                ("self.timeout = None", "must be a number", None),
                ("self.require_crlf = 2", "must be TRUE or FALSE", None),
                ("self.require_crlf = 'no'", "must be TRUE or FALSE", None),
                ("self.append_domain = 5", "must be a string", None),
                ("self.append_domain = b'x'", "must be a string", None),
                ("self.append_domain = 'a\\r\\nb'", "must not contain CR, LF or NUL", None),
                ("self.append_domain = '\\ud800'", "lone surrogate", None),
                ("self.relay_domains = 5", "a string or a sequence of strings", None),
                ("self.relay_domains = ['x', 5]", "must be a string, not 5", None),
                ("self.relay_zones = ('nosuch',)", "the unknown zone 'nosuch'", None),
                ("self.recipient_matcher = 'nosuch'", "there is no MatcherPolicy 'nosuch'", None),
                ("self.recipient_matcher = 5", "is not a matcher", None),
                ("self.recipient_matcher = SmtpInvalidRecipientMatcher('x')", "not yet", None),
                ("self.recipient_matcher = CombineMatcher((Z_OR, DNSMatcher('x')))", "DNSMatcher is not yet", None),
                ("self.recipient_matcher = CombineMatcher((Z_OR, 'nosuch'))", "there is no MatcherPolicy 'nosuch'", None),
                ("self.error_code = '550'", "error_code can't be set in config()", "in a callback"),
                ("self.helo_string = 'x'", "helo_string can't be set in config()", "only be read"),
                ("self.encryption_policy = 'x'", "there is no EncryptionPolicy 'x'", None),
                ("self.session = None", "session can only be read", None),
                ("self.request = {}", "request can't be replaced", "fill it"),
                ("self.nosuch.x = 1", "AttributeError: My has no attribute 'nosuch'", None),
                ("self.relay_zonez", "AttributeError: My has no attribute 'relay_zonez'; did you mean 'relay_zones'?", None),
                ("SmtpProxy(None)", "is started by a service", None),
                ("self.checkSender('a', 'b')", "can only be called in a callback", None)):
            self.bad_config(body, message, hint)

    def test_tables(self):
        for body, message, hint in (
                ("self.request['X'] = 2", "there is no action 2", "SMTP_REQ_ACCEPT"),
                ("self.request['X'] = 'ACCEPT'", "is not an action", None),
                ("self.request['X'] = ()", "is not an action", None),
                ("self.request['X'] = (SMTP_REQ_POLICY,)", "SMTP_REQ_POLICY needs a function", None),
                ("self.request['X'] = (SMTP_REQ_POLICY, 'cb')", "SMTP_REQ_POLICY needs a function", None),
                ("self.request['X'] = (SMTP_REQ_POLICY, self.config, 1)", "SMTP_REQ_POLICY needs a function", None),
                ("self.request['X'] = (SMTP_REQ_POLICY, self.config)", "config() is called with 2 arguments, and takes 0", None),
                ("self.request['X'] = (SMTP_REQ_POLICY, lambda a: 1)", "is called with 2 arguments, and takes 1", None),
                ("self.response['X', '250'] = (SMTP_RSP_POLICY, lambda a, b: 1)", "with 4 arguments", None),
                ("self.request['X'] = (SMTP_REQ_ACCEPT, '250')", "SMTP_REQ_ACCEPT takes 0 more items", None),
                ("self.request['X'] = (SMTP_REQ_REJECT, '550', 'x', 'y')", "0 to 2 more items, not 3", None),
                ("self.request['X'] = (SMTP_REQ_REJECT, 550, 'x')", "are strings", 'write "550"'),
                ("self.request['X'] = (SMTP_REQ_REJECT, '550', 'a\\nb')", "CR, LF or NUL", None),
                ("self.request['X', 'Y'] = 1", "a key of one part", None),
                ("self.request[''] = 1", "must not be empty", None),
                ("self.request[None] = 1", "is not a string", None),
                ("self.response['RCPT'] = 1", "a key of two parts", None),
                ("self.response['RCPT', '2x'] = 1", "'2x' is not a reply code", None),
                ("self.response['RCPT', 2500] = 1", "'2500' is not a reply code", None),
                ("self.extensions['SIZE'] = SMTP_EXT_ALL", "there is no action 15", None),
                ("del self.request['nosuch']", "KeyError", None)):
            self.bad_config(body, message, hint)
        self.warned(smtp_class("def config(self):\n    self.request['Mail'] = 1"), (4, "matches nothing"))

    def test_assignments_in_callbacks(self):
        self.bad(smtp_class("""
            def config(self):
                SmtpProxy.config(self)
                self.request["MAIL"] = (SMTP_REQ_POLICY, self.mail)
            def mail(self, command, param):
                self.eror_code = "550"
                return SMTP_REQ_REJECT
            """), (7, "no attribute 'eror_code'", "did you mean 'error_code'?"))

    def test_class_bodies(self):
        self.bad(smtp_class("timeout = 'soon'"), (3, "timeout must be a number"))
        self.bad(smtp_class("x = 1\nrelay_zones = ('nosuch',)"), (4, "unknown zone 'nosuch'"))
        self.bad(smtp_class("error_code = '550'"), (3, "can't be set in config()"))
        self.bad(smtp_class("request = {}"), (3, "can't be set in the class body"))
        self.bad(smtp_class("encryption_policy = 'x'"), (3, "there is no EncryptionPolicy 'x'"))
        self.bad(smtp_class("recipent_matcher = 'x'"), (3, "recipent_matcher", "did you mean 'recipient_matcher'?"))

    def test_overrides_that_nothing_calls(self):
        for body, what in (("def requestStack(self):\n    pass", "requestStack()"), ("def connectServer(self):\n    pass", "connectServer()"),
                           ("def generateReceived(self):\n    return ''", "generateReceived()"), ("def zoneCheck(self, zone):\n    pass", "zoneCheck()"),
                           ("def __destroy__(self):\n    pass", "__destroy__()")):
            self.bad(smtp_class(body), (3, "overriding " + what))

    def test_exception_in_config(self):
        self.bad_config("raise RuntimeError('x')", "RuntimeError: x")
        self.bad(smtp_class("def config(self, more):\n    pass"), (2, "TypeError"))

    def test_abstract_proxy(self):
        self.bad(instance("Service('s', Proxy)", HEAD + "from Zorp.Proxy import Proxy\n"), (4, "no class of a protocol"))

    def test_stacking(self):
        self.bad_config("self.request_stack['DATA'] = (SMTP_STK_MIME, (Z_STACK_PROGRAM, 'x'))", "stacking (request_stack): not yet")
        self.bad_config("self.request_stack = {'DATA': 1}", "stacking is not yet")
        self.good(smtp_class("def config(self):\n    SmtpProxy.config(self)\n    self.request_stack = {}\n    self.request_stack.get('DATA')"))
        self.bad("from Zorp.Plug import *\nclass P(PlugProxy):\n    def config(self):\n        self.stack_proxy = (Z_STACK_PROGRAM, 'x')\n"
                 "def i():\n    Service('s', P)\n", (4, "stacking is not yet"))


class RequestIds(PolicyTest):
    def test_of_a_proxy(self):
        self.bad(instance("Service('s', SmtpProxy)\nRule(service='s', reqid=5)"), (4, "rule with reqid on a Service is not yet"))
        self.good(instance("DenyService('s')\nRule(service='s', reqid=5)"))


class Warnings(PolicyTest):
    def test_warnings(self):
        self.warned(instance("Service('s', SmtpProxy, max_sessions=3)"), (3, "max_sessions is no limit"))
        self.warned(instance("PFService('s')"), (3, "leave with this host's address"))
        self.warned(instance("PFService('s', TransparentRouter(forced_port=25))"), (3, "forced_port means nothing"))
        self.warned(instance("DenyService('s')\nRule(service='s', dst_port=[80, PortRange(1, 100)])"), (4, "overlap"))
        self.warned(instance("Service('s', SmtpProxy)\nRule(service='s', proto=1)"), (4, "carries TCP"))


if __name__ == "__main__":
    unittest.main()
