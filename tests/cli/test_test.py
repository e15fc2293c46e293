# SPDX-License-Identifier: Apache-2.0
"""sallyport test: flows and the services that they must get."""

import json
import os
import unittest

from support import GOOD, NO, OK, REFUSED, USAGE, Case

FLOWS = """\
    # mail from the dmz, and from nowhere else
    tcp 172.16.40.10 -> 172.16.40.1:25              => mail
    tcp 172.16.40.10:1024 -> 172.16.40.1:26         => none   # no such port
    TCP 10.1.2.3 -> 192.0.2.9:80                    => any

    udp 192.0.2.9 -> 192.0.2.1:53                   => no
    tcp 2001:db8:40::10 -> [2001:db8::1]:25         => none
    6 192.0.2.7 -> 192.0.2.8:1 iface=eth7 ifgroup=0 => no
"""


class Test(Case):
    def test_flows_that_get_their_service(self):
        result = self.assertRuns(OK, "test", self.write(GOOD), self.write(FLOWS, "flows"))
        self.assertEqual(result.stdout, "6 passed, 0 failed\n")
        self.assertEqual(result.stderr, "")

    def test_a_failure_says_what_happened_instead(self):
        policy = self.write(GOOD)
        flows = self.write("tcp 10.1.2.3 -> 192.0.2.9:80 => mail\n"
                           "tcp 172.16.40.10 -> 172.16.40.1:26 => mail\n"
                           "tcp 172.16.40.10 -> 172.16.40.1:25 => none\n"
                           "tcp 172.16.40.10 -> 172.16.40.1:25 => mail\n", "flows")
        result = self.assertRuns(NO, "test", policy, flows)
        got = result.stdout.splitlines()
        self.assertEqual(len(got), 4, result.stdout)
        self.assertIn("%s:1: tcp 10.1.2.3 -> 192.0.2.9:80: expected mail, got any by rule 3 (%s:" % (flows, policy), got[0])
        self.assertEqual(got[1], "%s:2: tcp 172.16.40.10 -> 172.16.40.1:26: expected mail, no rule matches" % flows)
        self.assertIn("expected none, got mail by rule 1", got[2])
        self.assertEqual(got[3], "1 passed, 3 failed")

    def test_json(self):
        flows = self.write("tcp 10.1.2.3 -> 192.0.2.9:80 => mail\ntcp 172.16.40.10 -> 172.16.40.1:26 => none\n", "flows")
        result = self.assertRuns(NO, "test", "--json", self.write(GOOD), flows)
        first, second = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(first, {"file": flows, "line": 1, "flow": "tcp 10.1.2.3 -> 192.0.2.9:80", "expected": "mail",
                                 "service": "any", "rule": 3, "passed": False})
        self.assertEqual((second["service"], second["rule"], second["passed"]), (None, None, True))

    def test_host_names(self):
        policy = self.write(GOOD.replace("Zone('office', ['10.0.0.0/8'])", "Zone('office', hostnames=['A.example', 'b.example'])"))
        flows = "tcp 10.2.2.3 -> 192.0.2.9:80 => any\n"
        names = "name a.example. 10.2.2.3 2001:db8::1  # two\nname B.example\n"
        result = self.assertRuns(OK, "test", policy, self.write(names + flows, "flows"))
        self.assertEqual(result.stdout, "1 passed, 0 failed\n")
        result = self.assertRuns(NO, "test", policy, self.write(flows + names.replace("10.2.2.3", "10.2.2.4"), "flows"))
        self.assertIn("no rule matches", result.stdout)
        # Each host has its addresses in the file: nobody is asked.
        result = self.assertRuns(USAGE, "test", policy, self.write("name a.example 10.2.2.3\n" + flows, "flows"))
        self.assertIn("the policy has the host b.example in zone 'office': say its addresses in a line 'name b.example ADDRESS...'",
                      result.stderr)
        for line, message in (("name", "'=> SERVICE' is missing"), ("name a.example nowhere", "this is no address: 'nowhere'"),
                              ("name a..example 10.1.1.1", "this is no host name"), ("name 10.1.1.1", "this is no host name"),
                              ("name b.example\nname B.example", "this host is there twice")):
            result = self.assertRuns(USAGE, "test", policy, self.write(line + "\n" + flows, "flows"))
            self.assertIn(message, result.stderr)

    def test_standard_input(self):
        result = self.assertRuns(OK, "test", self.write(GOOD), "-", stdin="tcp 10.1.2.3 -> 192.0.2.9:80 => any\n")
        self.assertEqual(result.stdout, "1 passed, 0 failed\n")

    def test_every_mistake_is_told_and_nothing_is_tested(self):
        cases = (
            ("tcp 10.1.2.3 -> 192.0.2.9:80", "'=> SERVICE' is missing"),
            ("tcp 10.1.2.3 -> 192.0.2.9:80 =>", "which service is expected?"),
            ("tcp 10.1.2.3 192.0.2.9:80 => any", "'->' is expected"),
            ("tcp 10.1.2.3 -> => any", "a flow is written as"),
            ("=> any", "a flow is written as"),
            ("tpc 10.1.2.3 -> 192.0.2.9:80 => any", "proto: must be tcp"),
            ("tcp 10.1.2.300 -> 192.0.2.9:80 => any", "src: must be an IP address"),
            ("tcp 10.1.2.3 -> 192.0.2.9:99999 => any", "dst: must be an IP address"),
            ("tcp 10.1.2.3 -> ::1 => any", "not of the same family"),
            ("tcp 10.1.2.3 -> 192.0.2.9:80 iface => any", "'iface' is no PROPERTY=VALUE"),
            ("tcp 10.1.2.3 -> 192.0.2.9:80 face=eth0 => any", "face: a flow has no such property"),
            ("tcp 10.1.2.3 -> 192.0.2.9:80 iface=an-interface-too-long => any", "iface: must be the name"),
            ("tcp 10.1.2.3 -> 192.0.2.9:80 => any # " + "x" * 5000, "the line is too long"),
        )
        flows = self.write("".join(line + "\n" for line, _ in cases), "flows")
        result = self.assertRuns(USAGE, "test", self.write(GOOD), flows)
        self.assertEqual(result.stdout, "")
        told = result.stderr.splitlines()
        self.assertEqual(len(told), len(cases), result.stderr)
        for number, ((_, message), line) in enumerate(zip(cases, told), 1):
            self.assertTrue(line.startswith("%s:%d: " % (flows, number)), line)
            self.assertIn(message, line)

    def test_a_service_that_does_not_exist_is_a_mistake(self):
        flows = self.write("tcp 172.16.40.10 -> 172.16.40.1:26 => mial\n", "flows")
        result = self.assertRuns(USAGE, "test", self.write(GOOD), flows)
        self.assertIn("%s:1: the policy has no service 'mial'" % flows, result.stderr)

    def test_nothing_to_test_is_no_success(self):
        result = self.assertRuns(USAGE, "test", self.write(GOOD), self.write("# nothing\n\n", "flows"))
        self.assertIn("has no flow in it", result.stderr)

    def test_usage(self):
        for arguments in ((), ("policy.py",), ("a", "b", "c"), ("--wrong", "a", "b")):
            self.assertIn("usage: sallyport test POLICY TESTFILE", self.assertRuns(USAGE, "test", *arguments).stderr)
        self.assertIn("usage: sallyport test", self.assertRuns(OK, "test", "--help").stdout)
        self.assertIn("No such file", self.assertRuns(REFUSED, "test", self.write(GOOD), "not-there").stderr)

    def test_a_broken_policy(self):
        flows = self.write("tcp 10.1.2.3 -> 192.0.2.9:80 => any\n", "flows")
        result = self.assertRuns(NO, "test", self.write("def default_instance():\n    Rule()\n"), flows)
        self.assertIn("policy.py:2", result.stderr)
        self.assertEqual(result.stdout, "")

    def test_the_example(self):
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/reverse-proxy")
        result = self.assertRuns(OK, "test", os.path.join(folder, "policy.py"), os.path.join(folder, "flows"))
        self.assertRegex(result.stdout, r"\A[1-9]\d* passed, 0 failed\n\Z")


if __name__ == "__main__":
    unittest.main()
