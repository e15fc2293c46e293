# SPDX-License-Identifier: Apache-2.0
"""sallyport explain: which rule a flow gets, by options and by lines of JSON; and compile."""

import json
import os
import subprocess

from support import GOOD, NO, OK, REFUSED, SALLYPORT, USAGE, Case


class Compile(Case):
    def test_document(self):
        result = self.assertRuns(OK, "compile", self.write(GOOD))
        document = json.loads(result.stdout)
        self.assertEqual(document["format"], "sallyport-policy")
        self.assertEqual(document["callbacks"], 0)
        self.assertEqual([s["name"] for s in document["services"]], ["mail", "any", "no"])
        self.assertEqual(result.stderr, "")

    def test_document_of_a_document_is_the_same(self):
        text = self.assertRuns(OK, "compile", self.write(GOOD)).stdout
        self.assertEqual(self.assertRuns(OK, "compile", self.write(text, "p.json")).stdout, text)

    def test_bad_policy_gives_no_document(self):
        result = self.assertRuns(NO, "compile", self.write("def default_instance():\n    x\n"))
        self.assertEqual(result.stdout, "")
        self.assertIn("policy.py:2: error:", result.stderr)

    def test_bad_document_is_not_passed_on(self):
        text = self.assertRuns(OK, "compile", self.write(GOOD)).stdout
        path = self.write(text.replace('"rules":[{"id":1', '"rules":[{"id":0'), "p.json")
        self.assertEqual(self.assertRuns(NO, "compile", path).stdout, "")

    def test_usage(self):
        self.assertRuns(USAGE, "compile")
        self.assertRuns(USAGE, "compile", "--json", self.write(GOOD))
        self.assertRuns(REFUSED, "compile", "nosuch.py")

    def test_full_disk(self):
        path = self.write(GOOD)
        with open("/dev/full", "w", encoding="ascii") as full:
            self.assertEqual(subprocess.run([SALLYPORT, "compile", path], stdout=full, stderr=subprocess.DEVNULL,
                                            check=False).returncode, REFUSED)


class OneFlow(Case):
    def explain(self, *arguments, status=OK):
        return self.assertRuns(status, "explain", self.write(GOOD), *arguments)

    def answer(self, *arguments):
        return json.loads(self.explain("--json", *arguments).stdout)

    def test_winner_in_json(self):
        answer = self.answer("--proto", "tcp", "--from", "172.16.40.9:4444", "--to", "172.16.40.1:25")
        self.assertEqual(answer["service"], "mail")
        self.assertEqual(answer["rule"], 1)
        self.assertEqual((answer["src_zone"], answer["dst_zone"]), ("dmz", "dmz"))
        self.assertEqual(answer["target"], "172.16.20.254:25")
        self.assertEqual(answer["source"], "172.16.40.9, any port")
        self.assertEqual([c["rule"] for c in answer["candidates"]], [1])
        self.assertEqual(answer["candidates"][0]["score"], {"dst_port": 2, "src": 1, "dst": 33 * 128})

    def test_proxy_header(self):
        flow = ("--proto", "tcp", "--from", "172.16.40.9:4444", "--to", "172.16.40.1:25")
        path = self.write(GOOD.replace("forge_addr=TRUE", "proxy_protocol=2"), "header.py")
        answer = json.loads(self.assertRuns(OK, "explain", "--json", path, *flow).stdout)
        self.assertEqual((answer["proxy_protocol"], answer["source"]), (2, "the firewall's own address, any port"))
        self.assertIn("with a PROXY header of version 2 that names the client", self.assertRuns(OK, "explain", path, *flow).stdout)
        self.assertNotIn("proxy_protocol", self.answer(*flow))

    def test_awaited_proxy_header(self):
        path = self.write(GOOD.replace("name='mail',", "name='mail', accept_proxy_protocol='dmz',"), "trusted.py")
        flow = ("--proto", "tcp", "--from", "172.16.40.9:4444", "--to", "172.16.40.1:25")
        answer = json.loads(self.assertRuns(OK, "explain", "--json", path, *flow).stdout)
        self.assertIs(answer["awaits_proxy_header"], True)
        self.assertIn("must begin with a PROXY header", self.assertRuns(OK, "explain", path, *flow).stdout)
        self.assertNotIn("awaits_proxy_header", self.answer(*flow))

    def test_no_rule(self):
        answer = self.answer("--proto", "tcp", "--from", "8.8.8.8:1", "--to", "9.9.9.9:25")
        self.assertEqual(answer, {"service": None, "rule": None, "src_zone": None, "dst_zone": None, "candidates": []})
        text = self.explain("--proto", "tcp", "--from", "8.8.8.8:1", "--to", "9.9.9.9:25").stdout
        self.assertIn("no rule matches: ", text)
        self.assertIn("rule 1 -> Service 'mail'", text)

    def test_text_says_who_lost_by_what(self):
        text = self.explain("--proto", "6", "--from", "10.1.2.3:4444", "--to", "192.0.2.1:80").stdout
        lines = [line.strip() for line in text.splitlines()]
        self.assertIn("source zone: office.dev, within office", lines)
        self.assertIn("destination zone: none (in no zone)", lines)
        self.assertIn("Service: any", lines)
        order = [line.split(" -> ")[0] for line in lines if line[:3] in ("1. ", "2. ", "3. ")]
        self.assertEqual(order, ["1. rule 3", "2. rule 2", "3. rule 4"])
        self.assertIn("loses on proto: it has no such condition, the winner has listed [1]", lines)
        self.assertIn("matches by dst_port: port range [1]; source address: zone office.dev (depth 2) [2]", lines)
        self.assertIn("matches by destination address: subnet /32 [4224]", lines)
        self.assertTrue(any(line.startswith("rule 1 -> ") and line.endswith(": dst_port") for line in lines))
        self.assertIn("Proxy smtp (class SmtpProxy) connects to 192.0.2.1:2525", lines)
        self.assertIn("from the firewall's own address, any port", lines)

    def test_host_names(self):
        path = self.write(GOOD.replace("Zone('office', ['10.0.0.0/8'])", "Zone('office', hostnames=['a.example'])"))
        flow = ("--proto", "tcp", "--from", "10.2.2.3", "--to", "192.0.2.9:80", "--json")
        names = self.write("# as ctl names says it\na.example 10.2.2.3  # known since yesterday\nb.example 10.2.2.4\n", "names")
        answer = json.loads(self.assertRuns(OK, "explain", path, "--names", names, *flow).stdout)
        self.assertEqual((answer["service"], answer["src_zone"]), ("any", "office"))
        result = self.assertRuns(OK, "explain", path, *flow)
        self.assertEqual(json.loads(result.stdout)["src_zone"], None)
        self.assertIn("zone 'office': the addresses of a.example are not known here: it counts as having none", result.stderr)
        wrong = self.write("a.example 10.2.2\n", "wrong")
        self.assertIn("%s:1: this is no address: '10.2.2'" % wrong, self.assertRuns(USAGE, "explain", path, "--names", wrong, *flow).stderr)
        self.assertRuns(REFUSED, "explain", path, "--names", path + ".not", *flow)
        rules = self.assertRuns(OK, "kernel", path, "--names", names).stdout
        self.assertIn("elements = { 10.1.0.0/16, 10.2.2.3 }", rules)

    def test_interfaces(self):
        flow = ("--proto", "tcp", "--from", "8.8.8.8:1", "--to", "9.9.9.9:25")
        self.assertEqual(self.answer(*flow, "--iface", "eth7")["rule"], 5)
        self.assertIsNone(self.answer(*flow, "--iface", "eth8")["rule"])

    def test_ipv6(self):
        answer = self.answer("--proto", "tcp", "--from", "[2001:db8:40::9]:4444", "--to", "2001:db8:40::1")
        self.assertEqual((answer["src_zone"], answer["rule"]), ("dmz", None))

    def test_not_tcp_goes_nowhere(self):
        answer = self.answer("--proto", "icmp", "--from", "8.8.8.8", "--to", "9.9.9.9", "--iface", "eth7")
        self.assertEqual((answer["kind"], answer["handled_by"], answer["refused"]), ("deny", "kernel", "dropped in silence"))
        self.assertNotIn("target", answer)

    def test_what_becomes_of_it(self):
        """Who carries it, where to, from where; or how it is refused. The same words that the kernel's rules are made from."""
        path = self.write("""\
            from Zorp.Plug import *
            Zone('in', ['10.0.0.0/8', 'fd00::/8'])
            def default_instance():
                PFService('plain', TransparentRouter(forge_addr=TRUE))
                PFService('to', DirectedRouter(SockAddrInet('192.0.2.7', 8080)))
                DenyService('far', ipv4_setting=DenyIPv4.ICMP_HOST_UNREACHABLE, ipv6_setting=DenyIPv6.TCP_RESET, logging=FALSE)
                Service('plug', PlugProxy, max_instances=7, limit_target_zones_to='in')
                Rule(service='plain', dst_port=21)
                Rule(service='to', dst_port=80)
                Rule(service='far', dst_port=443)
                Rule(service='plug', dst_port=25)
            """)
        for flow, words, members in (
                ("tcp 10.0.0.1:9 10.0.0.2:21", ["The kernel forwards it to 10.0.0.2:21", "  from the client's address"],
                 {"handled_by": "kernel", "target": "10.0.0.2:21", "source": "the client's address"}),
                ("udp 10.0.0.1:9 10.0.0.2:80", ["The kernel forwards it to 192.0.2.7:8080",
                                                "  from the address of the interface through which it leaves"],
                 {"handled_by": "kernel", "target": "192.0.2.7:8080"}),
                ("tcp [fd00::1]:9 [fd00::2]:80",
                 ["The PFService's target is of the other address family. The kernel refuses it: it is dropped in silence, and logged."],
                 {"handled_by": "kernel", "refused": "dropped in silence"}),
                ("tcp 10.0.0.1:9 10.0.0.2:443", ["The kernel refuses it: it is answered with ICMP host unreachable."],
                 {"refused": "answered with ICMP host unreachable"}),
                ("tcp [fd00::1]:9 [fd00::2]:443", ["The kernel refuses it: it is answered with a TCP reset."],
                 {"refused": "answered with a TCP reset"}),
                ("udp [fd00::1]:9 [fd00::2]:443", ["The kernel refuses it: it is dropped in silence."], {"refused": "dropped in silence"}),
                ("udp 10.0.0.1:9 10.0.0.2:25",
                 ["A Service serves only TCP. The kernel refuses it: it is dropped in silence, and logged."], {"handled_by": "kernel"}),
                ("tcp 10.0.0.1:9 10.0.0.2:25", ["Proxy plug (class PlugProxy) connects to 10.0.0.2:25",
                                                "  unless 7 sessions of this service run already",
                                                "  if the server is in zone in, or below it"],
                 {"handled_by": "proxy", "target": "10.0.0.2:25"}),
                ("tcp 10.0.0.1:9 10.0.0.2:26", ["The kernel does not forward it; if it is for this host, the host's own packet filter decides."],
                 {"service": None})):
            proto, source, target = flow.split()
            arguments = ("explain", path, "--proto", proto, "--from", source, "--to", target)
            with self.subTest(flow=flow):
                lines = self.assertRuns(OK, *arguments).stdout.splitlines()
                for line in words:
                    self.assertIn(line, lines)
                answer = json.loads(self.assertRuns(OK, *arguments, "--json").stdout)
                self.assertEqual({name: answer[name] for name in members}, members)

    def check_fate(self, path, flow, words, members, *more):
        proto, source, target, *interface = flow.split()
        arguments = ["explain", path, "--proto", proto, "--from", source, "--to", target, *more]
        for option, name in zip(("--iface", "--dst-iface"), interface):
            arguments += [option, name]
        with self.subTest(flow=flow, more=more):
            self.assertIn(words, self.assertRuns(OK, *arguments).stdout)
            answer = json.loads(self.assertRuns(OK, *arguments, "--json").stdout)
            self.assertEqual({name: answer.get(name) for name in members}, members)

    def test_what_is_for_this_host(self):
        """Forwarding means nothing there, but for what is sent on to another address; and of lo only rules that name it are asked."""
        path = self.write("""\
            from Zorp.Plug import *
            def default_instance():
                PFService('plain', TransparentRouter(forge_addr=TRUE))
                PFService('to', DirectedRouter(SockAddrInet('192.0.2.7', 8080)))
                Service('plug', PlugProxy)
                Rule(service='plain', dst_port=21)
                Rule(service='to', dst_port=80)
                Rule(service='plug', dst_port=25)
                Rule(service='plug', dst_port=26, iface='lo')
            """)
        for flow, words, members in (
                ("tcp 10.0.0.1:9 10.0.0.2:21 eth0", "The kernel forwards it to 10.0.0.2:21", {"handled_by": "kernel"}),
                ("tcp 10.0.0.1:9 10.0.0.2:21 eth0 eth0", "It is for this host itself, where nothing is forwarded", {"handled_by": "host"}),
                ("tcp 10.0.0.1:9 10.0.0.2:21 eth0 eth1", "It is for this host itself, where nothing is forwarded", {"handled_by": "host"}),
                ("tcp 10.0.0.1:9 10.0.0.2:80 eth0 eth0", "The kernel forwards it to 192.0.2.7:8080", {"handled_by": "kernel"}),
                ("tcp 10.0.0.1:9 10.0.0.2:25 eth0 eth0", "Proxy plug", {"handled_by": "proxy"}),
                ("tcp 10.0.0.1:9 10.0.0.2:99 eth0 eth0", "It is for this host itself: the host's own packet filter decides.", {"service": None}),
                ("tcp 127.0.0.1:9 127.0.0.1:25 lo lo", "where only rules that name lo apply", {"service": "plug", "handled_by": "host"}),
                ("tcp 127.0.0.1:9 127.0.0.1:26 lo lo", "Proxy plug", {"handled_by": "proxy"})):
            self.check_fate(path, flow, words, members)

    def test_wider_kernel_rules(self):
        """What no rule matches may be taken all the same, where there are too many different rules."""
        path = self.write("""\
            from Zorp.Plug import *
            def default_instance():
                Service('plug', PlugProxy)
                DenyService('no', ipv4_setting=DenyIPv4.TCP_RESET)
                for n in range(1100):
                    Rule(service=('plug', 'no')[n % 2], dst_port=1000 + n, src_subnet='10.%d.%d.0/24' % (n // 256, n % 256))
            """)
        path = self.write(self.assertRuns(OK, "compile", path).stdout, "wide.json")
        for flow, words, members in (
                ("tcp 10.0.0.9:9 10.9.9.9:1000", "Proxy plug", {"handled_by": "proxy", "service": "plug"}),
                ("tcp 10.0.1.9:9 10.9.9.9:1001", "it is delivered, and the proxy resets it",
                 {"handled_by": "proxy", "service": "no", "refused": "reset by the proxy"}),
                ("tcp 10.0.0.9:9 10.9.9.9:1001", "it is delivered, and the proxy resets it",
                 {"handled_by": "proxy", "service": None, "refused": "reset by the proxy"}),
                ("udp 10.0.0.9:9 10.9.9.9:1001", "wider. The kernel refuses it: it is dropped in silence, and logged.",
                 {"handled_by": "kernel", "service": None, "refused": "dropped in silence"}),
                ("tcp 11.0.0.9:9 10.9.9.9:1001", "The kernel does not forward it", {"service": None})):
            self.check_fate(path, flow, words, members)

    def test_a_policy_that_can_not_be_loaded(self):
        path = self.write("""\
            from Zorp.Plug import *
            def default_instance():
                PFService('plain', TransparentRouter(forge_addr=TRUE))
                Service('plug', PlugProxy)
                Rule(service='plug', dst_port=25, dst_subnet='127.0.0.1')
                for n in range(4100):
                    Rule(service='plain', proto=6, dst_port=1000 + n, src_subnet='10.%d.%d.0/24' % (n // 256, n % 256))
            """)
        path = self.write(self.assertRuns(OK, "compile", path).stdout, "many.json")
        flow, what = "tcp 10.0.0.9:9 127.0.0.1:25", "the kernel would need more than 4096 conditions for TCP over IPv4"
        self.check_fate(path, flow, "can't be loaded with kernel rules: " + what, {"handled_by": None, "not_loadable": what, "service": "plug"})
        self.check_fate(path, flow, "Proxy plug", {"handled_by": "proxy"}, "--no-kernel")
        self.assertIn("error: " + what, self.assertRuns(NO, "kernel", path).stderr)

    def test_without_kernel_rules(self):
        path = self.write("""\
            from Zorp.Plug import *
            def default_instance():
                Service('plug', PlugProxy, router=TransparentRouter(forge_addr=TRUE))
                PFService('plain', TransparentRouter(forge_addr=TRUE))
                DenyService('no')
                Rule(service='plug', dst_port=25, dst_subnet='127.0.0.0/8')
                Rule(service='no', dst_port=25, src_subnet='10.0.0.0/8')
                Rule(service='plain', dst_port=80)
            """)
        for flow, words, members in (
                ("tcp 192.0.2.1:9 127.0.0.1:25", "from the firewall's own address", {"handled_by": "proxy", "service": "plug"}),
                ("tcp 10.0.0.9:9 127.0.0.1:25", "A listener takes it, and the proxy resets it.",
                 {"handled_by": "proxy", "service": "no", "refused": "reset by the proxy"}),
                ("tcp 192.0.2.1:9 127.0.0.1:80", "there is none", {"handled_by": "host", "service": "plain"}),
                ("udp 10.0.0.9:9 127.0.0.1:25", "only TCP is served", {"handled_by": "host"}),
                ("tcp 192.0.2.1:9 127.0.0.1:99", "there is none", {"service": None})):
            self.check_fate(path, flow, words, members, "--no-kernel")
        self.check_fate(path, "tcp 192.0.2.1:9 127.0.0.1:25", "from 192.0.2.1", {"handled_by": "proxy"})

    def test_usage(self):
        for arguments in ((), ("--proto", "tcp"), ("--proto", "tcp", "--from", "1.1.1.1"),
                          ("--from", "1.1.1.1", "--to", "2.2.2.2"),
                          ("--proto", "tpc", "--from", "1.1.1.1", "--to", "2.2.2.2"),
                          ("--proto", "tcp", "--from", "1.1.1", "--to", "2.2.2.2"),
                          ("--proto", "tcp", "--from", "1.1.1.1:99999", "--to", "2.2.2.2"),
                          ("--proto", "tcp", "--from", "1.1.1.1", "--to", "::1"),
                          ("--proto", "tcp", "--from", "1.1.1.1", "--to", "2.2.2.2", "--iface", "eth0eth0eth0eth0"),
                          ("--proto", "tcp", "--from", "1.1.1.1", "--to", "2.2.2.2", "--flows", "-"),
                          ("--proto", "tcp", "--from", "1.1.1.1", "--to", "2.2.2.2", "--port", "5")):
            with self.subTest(arguments=arguments):
                self.assertIn("usage: sallyport explain", self.explain(*arguments, status=USAGE).stderr)

    def test_what_is_wrong_is_named_as_on_the_command_line(self):
        good = {"--proto": "tcp", "--from": "10.1.1.1:1000", "--to": "10.2.2.2:25"}
        for option, wrong in (("--from", "10.1.1.1:99999"), ("--to", "nobody"), ("--proto", "tpc"), ("--icmp-type", "none"),
                              ("--dst-iface", "a" * 16)):
            with self.subTest(option=option):
                arguments = [word for pair in {**good, option: wrong}.items() for word in pair]
                self.assertIn("sallyport explain: %s: must be" % option, self.explain(*arguments, status=USAGE).stderr)

    def test_bad_policy(self):
        self.assertRuns(NO, "explain", self.write("x"), "--proto", "tcp", "--from", "1.1.1.1", "--to", "2.2.2.2")


class Flows(Case):
    def answers(self, lines, status=OK):
        path = self.write(GOOD)
        flows = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
        result = self.assertRuns(status, "explain", path, "--flows", "-", stdin=flows)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def test_in_the_same_order(self):
        flows = [{"proto": "tcp", "src": "172.16.40.9", "sport": 4444, "dst": "172.16.40.1", "dport": 25},
                 {"proto": 17, "src": "172.16.40.9", "sport": 4444, "dst": "172.16.40.1", "dport": 26},
                 {"proto": "tcp", "src": "10.2.0.1", "dst": "1.2.3.4"},
                 {"proto": "tcp", "src": "10.1.0.1", "dst": "1.2.3.4", "iface": "eth7", "ifgroup": None}] * 50
        self.assertEqual([a["rule"] for a in self.answers(flows)], [1, None, 3, 5] * 50)

    def test_file(self):
        flows = self.write('{"proto":"tcp","src":"10.2.0.1","dst":"1.2.3.4"}', "flows")
        os.chmod(flows, 0o600)  # read before the program becomes another user
        result = self.assertRuns(OK, "explain", self.write(GOOD), "--flows", flows)
        self.assertEqual(json.loads(result.stdout)["rule"], 3)
        self.assertRuns(REFUSED, "explain", self.write(GOOD), "--flows", os.path.join(self.folder, "nosuch"))

    def test_a_wrong_line_is_answered_in_its_place(self):
        good = {"proto": "tcp", "src": "10.2.0.1", "dst": "1.2.3.4"}
        wrong = ["{\n", "[]\n", {"proto": "tcp", "src": "10.2.0.1"}, {**good, "dport": 65536}, {**good, "dport": -1},
                 {**good, "port": 1}, {**good, "src": "x"}, {**good, "proto": 256}, {**good, "iface": ""},
                 {**good, "sport": 1.5}, {**good, "dst": "::1"}]
        for line in wrong:
            with self.subTest(line=line):
                answers = self.answers([good, line, good], status=USAGE)
                self.assertEqual([a.get("rule") for a in answers], [3, None, 3])
                self.assertTrue(answers[1]["error"])

    def test_empty_lines_are_no_flows(self):
        self.assertEqual(self.answers(["\n", "  \n"]), [])

    def test_destination_interface_must_be_the_incoming_one(self):
        path = self.write("""\
            from Zorp.Smtp import *
            def default_instance():
                DenyService(name='no')
                Rule(service='no', dst_iface='eth0')
                Rule(service='no', dst_ifgroup=4)
            """)
        base = {"proto": "tcp", "src": "10.2.0.1", "dst": "1.2.3.4"}
        flows = [{**base, "iface": "eth0", "dst_iface": "eth0"}, {**base, "iface": "eth1", "dst_iface": "eth0"},
                 {**base, "dst_iface": "eth0"}, {**base, "iface": "eth2", "dst_iface": "eth2", "ifgroup": 4, "dst_ifgroup": 4},
                 {**base, "iface": "eth2", "dst_iface": "eth0", "ifgroup": 4, "dst_ifgroup": 4}]
        result = self.assertRuns(OK, "explain", path, "--flows", "-", stdin="".join(json.dumps(f) + "\n" for f in flows))
        self.assertEqual([json.loads(line)["rule"] for line in result.stdout.splitlines()], [1, None, None, 2, None])
