# SPDX-License-Identifier: Apache-2.0
"""Zones by host name, with a name server whose answers change while the program runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import unittest

from support import LIMIT, ServerTest, receive, wait_for

PATIENCE = 180.0
DNS_SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "dns_server.py")

POLICY = """\
from Zorp.Plug import *

Zone('localhost', ['127.0.0.0/8'])
Zone('named', hostnames=['A.example.', 'b.example'])
Zone('others', hostnames=['c.example'])

class Plug(PlugProxy):
    def config(self):
        PlugProxy.config(self)
        self.timeout = %(timeout)d

def default_instance():
    Service(name='plug', proxy_class=Plug, max_instances=%(max_instances)d,
            router=DirectedRouter(dest_addr=SockAddrInet('127.0.0.1', %(server)d)))
    Rule(service='plug', dst_port=%(port)d, dst_subnet=('127.0.0.1', ), src_zone=('named', ))
"""


class DnsServer:
    def __init__(self, directory):
        self.path = os.path.join(directory, "hosts.json")
        self.port = 0
        self.process = None

    def write(self, **hosts):
        """a_example=["127.0.0.2"]: host a.example"""
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            json.dump({name.replace("_", "."): known for name, known in hosts.items()}, f)
        os.rename(self.path + ".new", self.path)

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-B", DNS_SERVER, "127.0.0.1", str(self.port), self.path],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def questions(self):
        """Those so far, of a server that has ended."""
        return self.process.stdout.read().splitlines()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self):
        self.stop()
        if self.process is not None:
            self.process.stdout.close()


class Names(ServerTest):
    def setUp(self):
        super().setUp()
        self.dns = DnsServer(self.directory)
        self.addCleanup(self.dns.close)
        self.dns.write(a_example=["127.0.0.5", "2001:db8::5"], b_example={"cname": "alias.example"},
                       alias_example=["127.0.0.6"], c_example=["192.0.2.7"])  # "no addresses" would hold for a minute
        self.dns.start()
        self.write_policy(POLICY)
        self.firewall = self.run_firewall("--resolver", "127.0.0.1:%d" % self.dns.port).ready()

    def connect_from(self, source):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT, source_address=(source, 0))
        self.addCleanup(sock.close)
        return sock

    def is_served(self, source):
        try:
            with self.connect_from(source) as sock:
                sock.sendall(b"hello")
                return receive(sock, 5) == b"hello"
        except ConnectionError:
            return False

    def assert_becomes(self, source, served):
        wait_for(lambda: self.is_served(source) == served,
                 lambda: "%s: served %s\n%s" % (source, served, self.firewall.log()), PATIENCE)

    def names(self):
        return {n["host"]: (n["state"], n["addresses"]) for n in self.firewall.ask("names")["names"]}

    def lookout_pid(self):
        return self.firewall.ask("status")["lookout_pid"]

    def test_addresses_are_there_when_it_is_ready(self):
        for source, served in (("127.0.0.5", True), ("127.0.0.6", True), ("127.0.0.7", False)):
            self.assertEqual(self.is_served(source), served, source)
        self.assertEqual(self.names(), {"a.example": ("known", ["127.0.0.5", "2001:db8::5"]),
                                        "b.example": ("known", ["127.0.0.6"]), "c.example": ("known", ["192.0.2.7"])})
        lines = [line.split("#")[0].strip() for line in self.firewall.ctl("names").stdout.splitlines()]
        self.assertEqual(lines, ["a.example 127.0.0.5 2001:db8::5", "b.example 127.0.0.6", "c.example 192.0.2.7"])

    def test_changes_reach_workers_and_leave_sessions_alone(self):
        session = self.connect_from("127.0.0.5")
        self.roundtrip(session)
        self.dns.write(a_example=["127.0.0.7"], b_example=[], c_example=[])
        self.assert_becomes("127.0.0.7", True)
        self.assert_becomes("127.0.0.5", False)
        self.assert_becomes("127.0.0.6", False)
        self.roundtrip(session, b"still here")
        self.firewall.wait_logged("A host name has other addresses; host='a.example', family='IPv4', addresses='127.0.0.7'")
        # A worker that is started now knows as much.
        for pid in self.firewall.worker_pids():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.firewall.ask("status")["worker_restarts"] == 2, "other workers")
        self.assert_becomes("127.0.0.7", True)
        self.assertFalse(self.is_served("127.0.0.5"))

    def test_no_such_host_has_no_addresses(self):
        self.dns.write(c_example=[])
        self.assert_becomes("127.0.0.5", False)
        self.assertEqual(self.names()["a.example"], ("known", []))

    def test_what_nobody_tells_stays(self):
        self.dns.write(a_example="fail", b_example="silent", c_example=[])
        wait_for(lambda: {self.names()[h][0] for h in ("a.example", "b.example")} == {"stale"}, "both to be stale", PATIENCE)
        self.assertTrue(self.is_served("127.0.0.5"))
        self.assertTrue(self.is_served("127.0.0.6"))
        self.dns.stop()
        # Neither a reload nor another lookout needs the name server for what is known.
        self.firewall.ctl("reload")
        self.assertTrue(self.is_served("127.0.0.5"))
        self.assertEqual(self.names()["a.example"][1], ["127.0.0.5", "2001:db8::5"])

    def test_another_lookout(self):
        session = self.connect_from("127.0.0.5")
        self.roundtrip(session)
        self.dns.stop()
        before = self.lookout_pid()
        self.assertGreater(before, 0)
        os.kill(before, signal.SIGKILL)
        self.assertTrue(self.is_served("127.0.0.5"))
        wait_for(lambda: self.lookout_pid() not in (0, before), "another lookout")
        wait_for(lambda: self.names()["a.example"] == ("stale", ["127.0.0.5", "2001:db8::5"]), self.firewall.log)
        self.assertTrue(self.is_served("127.0.0.5"))
        self.dns.write(a_example=["127.0.0.7"], b_example=[], c_example=[])
        self.dns.close()
        self.dns.start()
        self.assert_becomes("127.0.0.7", True)
        self.assert_becomes("127.0.0.5", False)
        self.roundtrip(session, b"still here")

    def test_two_zones(self):
        self.dns.write(a_example=["127.0.0.5"], b_example=[], c_example=["127.0.0.5"])
        self.assert_becomes("127.0.0.5", False)
        self.firewall.wait_logged("An address is in two zones by their host names: it is in neither until that ends; address='127.0.0.5', "
                                  "zone='named', other_zone='others'")
        self.dns.write(a_example=["127.0.0.5"], b_example=[], c_example=["127.0.0.8"])
        self.assert_becomes("127.0.0.5", True)
        self.firewall.wait_logged("An address is no longer in two zones")

    def test_many_addresses_of_two_zones_are_some_lines(self):
        many = ["127.1.0.%d" % i for i in range(1, 31)]
        self.dns.write(a_example=["127.0.0.5", *many], b_example=[], c_example=many)
        self.firewall.wait_logged("And others of the same kind; kind='An address is in two zones by their host names: it is in neither "
                                  "until that ends', addresses='10'")
        self.assertEqual(self.firewall.log().count("in neither until that ends; address="), 20)

    def test_a_reload_asks_for_what_is_new(self):
        self.dns.write(a_example=["127.0.0.5"], b_example=["127.0.0.6"], c_example=[], d_example=["127.0.0.9"])
        self.write_policy(POLICY.replace("'b.example'", "'d.example'"))
        self.firewall.ctl("reload")
        self.assertTrue(self.is_served("127.0.0.9"))        # from the first connection on
        self.assertTrue(self.is_served("127.0.0.5"))
        self.assertFalse(self.is_served("127.0.0.6"))
        wait_for(lambda: len(self.firewall.ask("status")["generations"]) == 1, "the end of the old generation")
        wait_for(lambda: sorted(self.names()) == ["a.example", "c.example", "d.example"], "the old name to be gone")

    def test_policy_code_sees_zones_by_host_name(self):
        """Zone.lookup() in a callback is the engine's: of a name's address, by prefix, of none, and of a subnet."""
        self.write_policy(POLICY.replace("def default_instance", """\
    def startup(self):
        found = [Zone.lookup(a) for a in (self.session.client_address, SockAddrInet('127.0.0.1', 1),
                                          SockAddrInet('192.0.2.8', 1), InetSubnet('127.0.0.5/32'))]
        log(None, 'core.policy', 3, 'zones: %%s', (' '.join(map(str, found)), ))

def default_instance""", 1))
        self.firewall.ctl("reload")
        self.assertTrue(self.is_served("127.0.0.5"))
        self.firewall.wait_logged("zones: Zone(named) Zone(localhost) None Zone(localhost)")


class WithoutNames(ServerTest):
    def test_no_lookout(self):
        self.write_policy()
        firewall = self.run_firewall("--resolver", "127.0.0.1:1").ready()
        self.assertEqual(firewall.ask("status")["lookout_pid"], 0)
        self.assertEqual(firewall.ask("names")["names"], [])

    def test_wrong_resolvers(self):
        for word in ("nonsense", "1.2.3.4:99999", ""):
            firewall = self.run_firewall("--resolver", word)
            self.assertEqual(firewall.wait(), 2)
            firewall.wait_logged("--resolver")


class NobodyAnswers(ServerTest):
    def test_it_starts_all_the_same(self):
        dns = DnsServer(self.directory)
        self.addCleanup(dns.close)
        dns.write(a_example="silent", b_example="silent", c_example="silent")
        dns.start()
        self.write_policy(POLICY)
        firewall = self.run_firewall("--resolver", "127.0.0.1:%d" % dns.port).ready()
        firewall.wait_logged("cannot be resolved; what was known of it stays")
        dns.write(a_example=["127.0.0.1"], b_example=[], c_example=[])
        wait_for(self.served, firewall.log, PATIENCE)

    def served(self):
        try:
            with self.connect() as sock:
                sock.sendall(b"hello")
                return receive(sock, 5) == b"hello"
        except ConnectionError:
            return False


if __name__ == "__main__":
    unittest.main()
