# SPDX-License-Identifier: Apache-2.0
"""Sessions, processes, and how all of it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest

from support import LIMIT, PLUG, PROGRAM, ServerTest, receive, wait_for


def fds(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def end_of(pid):
    if alive(pid):
        os.kill(pid, signal.SIGKILL)


class Sessions(ServerTest):
    def test_octets_cross_and_are_accounted(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        client = self.connect()
        octets = os.urandom(300000)
        client.settimeout(LIMIT)
        self.roundtrip(client, octets)
        port = client.getsockname()[1]
        client.close()
        summary = wait_for(lambda: re.search(r"core\.summary\(4\): \((.*?)\): Connection summary; (.*)", firewall.log()),
                           "the summary line")
        self.assertRegex(summary[1], r"^svc/default_instance#[01]/plug:0$")
        keys = re.findall(r"(\w+)='", summary[2])
        self.assertEqual(keys[:18], [
            "rule_id", "session_start", "session_end", "client_proto", "client_address", "client_port", "client_zone",
            "server_proto", "server_address", "server_port", "server_zone", "client_local", "client_local_port",
            "server_local", "server_local_port", "verdict", "info", "auth_user"])
        fields = dict(re.findall(r"(\w+)='(.*?)'", summary[2]))
        self.assertEqual(fields["client_port"], str(port))
        self.assertEqual(fields["server_port"], str(self.echo.port))
        self.assertEqual(fields["client_zone"], "localhost")
        self.assertEqual(fields["verdict"], "ACCEPTED")
        self.assertEqual(fields["octets_from_client"], "300000")
        self.assertEqual(fields["octets_to_client"], "300000")

    def test_no_rule_no_service(self):
        self.write_policy("""\
from Zorp.Plug import *
Zone('nowhere', ['192.0.2.0/24'])
def default_instance():
    Service(name='plug', proxy_class=PlugProxy, router=DirectedRouter(dest_addr=SockAddrInet('127.0.0.1', %(server)d)))
    Rule(service='plug', dst_port=%(port)d, dst_subnet=('127.0.0.1', ), src_zone=('nowhere', ))
""")
        firewall = self.run_firewall().ready()
        with self.assertRaises(ConnectionError):
            client = self.connect()
            if client.recv(1) == b"":
                raise ConnectionError
        self.assertEqual(self.echo.peers, [])
        firewall.wait_logged("no rule matches")

    def test_without_kernel_rules_nothing_is_forwarded_and_that_is_said(self):
        self.write_policy(PLUG + "    PFService(name='pf', router=TransparentRouter(forge_addr=TRUE))\n"
                          "    Rule(service='pf', dst_port=9, rule_id=77)\n")
        firewall = self.run_firewall().ready()
        firewall.wait_logged("rule 77 (service \\x27pf\\x27) is not served without kernel rules: the kernel would forward it")
        self.roundtrip(self.connect())

    def test_a_flood_of_refused_connections_does_not_flood_the_log(self):
        """Each is logged or counted; the rate of lines is bounded."""
        self.write_policy("""\
from Zorp.Plug import *
Zone('nowhere', ['192.0.2.0/24'])
def default_instance():
    Service(name='plug', proxy_class=PlugProxy, router=DirectedRouter(dest_addr=SockAddrInet('127.0.0.1', %(server)d)))
    Rule(service='plug', dst_port=%(port)d, dst_subnet=('127.0.0.1', ), src_zone=('nowhere', ))
""")
        firewall = self.run_firewall(workers=1).ready()

        self.check_flood(firewall, "Connection refused", "no rule matches")
        self.assertEqual(self.echo.peers, [])

    def check_flood(self, firewall, line, reason):
        """400 connections that are refused: few lines, and each is in a line's count at last."""
        begun = time.monotonic()
        for _ in range(400):
            with self.assertRaises(ConnectionError), socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as sock:
                if sock.recv(1) == b"":
                    raise ConnectionError

        def counts():
            logged = re.findall(line + r"; .*left_out='(\d+)'", firewall.log())
            told = re.findall("More connections were refused than lines are logged; reason='%s', left_out='(\\d+)'" % reason, firewall.log())
            return len(logged), sum(map(int, logged + told))

        wait_for(lambda: sum(counts()) == 400, lambda: "that each is logged or counted: %s" % (counts(), ))
        self.assertLessEqual(counts()[0], 50 + 10 * (time.monotonic() - begun) + 1)

    def test_a_service_at_its_limit_does_not_flood_the_log(self):
        self.write_policy(max_instances=1)
        firewall = self.run_firewall(workers=1).ready()
        client = self.connect()
        self.roundtrip(client)
        self.check_flood(firewall, "Service has reached its limit of sessions", "the service has reached its limit of sessions")
        self.roundtrip(client)

    def keepalive_timers(self):
        """Whether the firewall's two sockets of the only session have a keepalive timer: client side, server side."""
        found = {}
        with open("/proc/net/tcp", encoding="ascii") as f:
            for line in list(f)[1:]:
                local, remote, state, _, timer = line.split()[1:6]
                local, remote = (int(end.split(":")[1], 16) for end in (local, remote))
                if state == "01" and local == self.port:
                    found["client"] = timer.split(":")[0]
                elif state == "01" and remote == self.echo.port:
                    found["server"] = timer.split(":")[0]
        return found.get("client"), found.get("server")

    def test_keepalive_is_set_where_the_policy_says(self):
        for value, timers in (("NONE", ("00", "00")), ("CLIENT", ("02", "00")), ("SERVER", ("00", "02")), ("BOTH", ("02", "02"))):
            with self.subTest(value):
                self.write_policy(PLUG.replace("max_instances=", "keepalive=Z_KEEPALIVE_%s, max_instances=" % value))
                firewall = self.run_firewall(workers=1).ready()
                with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as client:
                    self.roundtrip(client)
                    wait_for(lambda: self.keepalive_timers() == timers, "the timers, which are %s" % (self.keepalive_timers(), ))
                firewall.end()
                os.truncate(firewall.log_path, 0)   # the next one says "ready" in it, too

    def test_limit_target_zones(self):
        """The server's zone must be named; the client is refused without a word, and the record says why."""
        self.write_policy(PLUG.replace("max_instances=", "limit_target_zones_to='elsewhere', max_instances=").replace(
            "class Plug", "Zone('elsewhere', ['192.0.2.0/24'])\nclass Plug"))
        firewall = self.run_firewall(workers=1).ready()
        self.assertEqual(self.connect().recv(1), b"")
        firewall.wait_logged("verdict='DENIED_BY_POLICY'")
        self.assertEqual(self.echo.peers, [])

    def test_limit_of_a_service_holds_over_all_workers(self):
        self.write_policy(max_instances=3)
        firewall = self.run_firewall(workers=3).ready()
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            self.roundtrip(client)
        with self.assertRaises(ConnectionError):
            if self.connect().recv(1) == b"":
                raise ConnectionError
        firewall.wait_logged("verdict='DENIED_BY_LIMIT'")
        clients.pop().close()
        wait_for(lambda: firewall.ask("status")["sessions"] == 2, "the end of a session")
        self.roundtrip(self.connect())

    def test_unreachable_server_is_a_verdict(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        self.echo.close()
        client = self.connect()
        self.assertEqual(client.recv(1), b"")
        firewall.wait_logged("verdict='DENIED_BY_CONNECTION_FAIL'")
        firewall.wait_logged("fault='server', reason='connect-failed'")

    def test_idle_timeout(self):
        self.write_policy(timeout=300)
        firewall = self.run_firewall().ready()
        client = self.connect()
        self.roundtrip(client)
        self.assertEqual(client.recv(1), b"")
        firewall.wait_logged("reason='timeout'")

    def test_no_descriptor_is_left(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        pids = firewall.worker_pids() + [firewall.process.pid, firewall.leader_pid()]
        with self.connect() as first:
            self.roundtrip(first)
        wait_for(lambda: firewall.ask("stats")["services"]["plug"]["ACCEPTED"] == 1, "the end of a session")
        before = [fds(p) for p in pids]
        for _ in range(20):
            clients = [self.connect() for _ in range(20)]
            for client in clients:
                self.roundtrip(client)
                client.close()
        wait_for(lambda: firewall.ask("status")["sessions"] == 0, "the end of all sessions")
        after = [fds(p) for p in pids]
        for b, a in zip(before, after):
            self.assertLessEqual(a, b + 4, (before, after))  # a few pipes may stay in a pool

    def test_standard_input_stays_with_the_supervisor(self):
        self.write_policy()
        firewall = self.run_firewall(stdin=subprocess.PIPE).ready()
        self.addCleanup(firewall.process.stdin.close)
        for pid in firewall.worker_pids() + [firewall.leader_pid()]:
            self.assertEqual(os.readlink("/proc/%d/fd/0" % pid), "/dev/null")

    def test_workers_do_not_interrupt_who_wakes_them(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        self.assertEqual({os.sched_getscheduler(pid) for pid in firewall.worker_pids()}, {os.SCHED_BATCH})
        self.assertEqual(os.sched_getscheduler(firewall.leader_pid()), os.SCHED_OTHER)

    def test_rules_that_never_win_are_told(self):
        self.write_policy(PLUG + "    Rule(service='plug', dst_port=%(port)d, dst_subnet=('127.0.0.1', ), src_zone=('localhost', ))\n")
        firewall = self.run_firewall().ready()
        firewall.wait_logged("rule 2 can never win: rule 1 has the same conditions, and comes first")

    def test_both_workers_serve(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        clients = [self.connect() for _ in range(100)]
        for client in clients:
            self.roundtrip(client)
        counts = [w["sessions"] for w in firewall.ask("status")["worker_processes"]]
        self.assertEqual(sum(counts), 100)
        self.assertGreater(min(counts), 0, counts)
        ids = [s["id"] for s in firewall.ask("sessions")["sessions"]]
        self.assertEqual(len(set(ids)), 100)


class Life(ServerTest):
    def test_a_killed_worker_costs_only_its_sessions(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        clients = [self.connect() for _ in range(60)]
        for client in clients:
            self.roundtrip(client)
        before = firewall.ask("status")["worker_processes"]
        victim = next(w for w in before if w["sessions"] > 0)
        os.kill(victim["pid"], signal.SIGKILL)
        lost = 0
        for client in clients:
            try:
                client.sendall(b"still there?")
                lost += receive(client, 12) != b"still there?"
            except ConnectionError:
                lost += 1
        self.assertEqual(lost, victim["sessions"])
        wait_for(lambda: len(firewall.worker_pids()) == 2 and victim["pid"] not in firewall.worker_pids(),
                 "another worker")
        wait_for(lambda: firewall.ask("status")["sessions"] == 60 - lost, "the counts")
        for _ in range(20):
            self.roundtrip(self.connect())
        firewall.wait_logged("A worker ended unexpectedly")
        ids = [s["id"] for s in firewall.ask("sessions")["sessions"]]
        self.assertEqual(len(set(ids)), len(ids))

    def test_a_killed_worker_gives_the_service_its_places_back(self):
        self.write_policy(max_instances=2)
        firewall = self.run_firewall(workers=1).ready()
        for _ in range(2):
            self.roundtrip(self.connect())
        os.kill(firewall.worker_pids()[0], signal.SIGKILL)
        wait_for(lambda: firewall.ask("status")["worker_restarts"] == 1, "another worker")
        for _ in range(2):
            self.roundtrip(self.connect())

    def test_a_killed_leader_is_replaced(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        workers = firewall.worker_pids()
        os.kill(firewall.leader_pid(), signal.SIGKILL)
        wait_for(lambda: not any(alive(p) for p in workers), "the end of its workers")
        self.roundtrip(self.connect())  # waits in the listen queue meanwhile

    def test_nothing_survives_a_killed_supervisor(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        self.roundtrip(self.connect())
        pids = firewall.worker_pids() + [firewall.leader_pid()]
        firewall.process.kill()
        firewall.process.wait()
        wait_for(lambda: not any(alive(p) for p in pids), "the end of the others")
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=2)

    def test_a_socket_left_by_a_killed_one_is_no_obstacle(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        pids = firewall.worker_pids()
        firewall.process.kill()
        firewall.process.wait()
        wait_for(lambda: not any(alive(p) for p in pids), "the end of the others")
        os.truncate(firewall.log_path, 0)
        self.run_firewall().ready()
        self.roundtrip(self.connect())

    def test_stop_lets_sessions_end(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        client = self.connect()
        self.roundtrip(client)
        firewall.process.send_signal(signal.SIGTERM)
        firewall.wait_logged("Stopping")

        def refused():
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                pass  # taken by a listener that was just closed
            return False

        wait_for(refused, "closed listeners")
        self.roundtrip(client, b"one more thing")
        self.assertIsNone(firewall.process.poll())
        client.close()
        self.assertEqual(firewall.wait(), 0)
        firewall.wait_logged("reason='closed'")

    def test_a_second_stop_is_at_once(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        client = self.connect()
        self.roundtrip(client)
        firewall.process.send_signal(signal.SIGTERM)
        firewall.wait_logged("Stopping")
        firewall.process.send_signal(signal.SIGTERM)
        self.assertEqual(firewall.wait(), 0)

    def test_verbosity_by_signal(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        firewall.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: firewall.ask("log")["verbose_level"] == 4, "level 4")
        firewall.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: firewall.ask("log")["verbose_level"] == 3, "level 3")

    def test_ready_fd(self):
        self.write_policy()
        r, w = os.pipe()
        process = subprocess.Popen([PROGRAM, "run", self.policy_path, "--no-kernel", "--control",
                                    os.path.join(self.directory, "control"), "--ready-fd", str(w)],
                                   pass_fds=(w,), stderr=subprocess.PIPE)
        os.close(w)
        with os.fdopen(r, "rb") as f:
            self.assertEqual(f.read(), b"ready\n")  # and the end of file: nobody else holds it
        process.terminate()
        lines = process.communicate(timeout=LIMIT)[1].decode().splitlines()
        self.assertEqual(lines.count("ready"), 1)
        self.assertEqual(process.returncode, 0)

    def test_nobody_reads_the_log(self):
        """Then lines are dropped and counted, and sessions go on."""
        self.write_policy()
        r, w = os.pipe()
        process = subprocess.Popen([PROGRAM, "run", self.policy_path, "--no-kernel", "--verbose", "6", "--workers", "1",
                                    "--control", os.path.join(self.directory, "control")], stderr=w)
        os.close(w)
        self.addCleanup(os.close, r)
        self.addCleanup(process.kill)

        def served():
            try:
                self.roundtrip(self.connect())
            except ConnectionError:
                return False
            return True

        wait_for(served, "service")
        start = time.monotonic()
        for _ in range(600):
            client = self.connect()
            self.roundtrip(client)
            client.close()
        self.assertLess(time.monotonic() - start, LIMIT)
        process.kill()
        process.wait()


class Drained(ServerTest):
    """Sessions, and workers, that go on when they should not."""

    def test_sessions_of_a_replaced_policy_have_a_limit(self):
        self.write_policy()
        firewall = self.run_firewall("--reload-drain", "0").ready()
        client = self.connect()
        self.roundtrip(client)
        firewall.ctl("reload")
        self.assertEqual(client.recv(1), b"")
        firewall.wait_logged("reason='stopped'")
        wait_for(lambda: len(firewall.ask("status")["generations"]) == 1, "the end of the old generation")

    def test_sessions_at_the_end_have_a_limit(self):
        self.write_policy()
        firewall = self.run_firewall("--stop-drain", "0").ready()
        client = self.connect()
        self.roundtrip(client)
        firewall.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.recv(1), b"")
        self.assertEqual(firewall.wait(), 0)


class Hanging(ServerTest):
    def hang(self, pid):
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(end_of, pid)

    def test_one_that_drains(self):
        self.write_policy()
        firewall = self.run_firewall("--reload-drain", "4", workers=1).ready()
        worker = firewall.worker_pids()[0]
        self.roundtrip(self.connect())
        firewall.ctl("reload")
        self.hang(worker)
        self.roundtrip(self.connect())
        wait_for(lambda: len(firewall.ask("status")["generations"]) == 1, "the end of the old generation", 3 * LIMIT)
        killed = "A worker hangs and is killed; slot='0', pid='%d', reason='it does not end'" % worker
        firewall.wait_logged(killed)

    def test_one_that_does_not_answer(self):
        self.write_policy()
        firewall = self.run_firewall(workers=2).ready()
        worker = firewall.worker_pids()[0]
        self.hang(worker)
        firewall.ctl("reload")
        killed = "A worker hangs and is killed; slot='0', pid='%d', reason='it does not answer'" % worker
        firewall.wait_logged(killed)
        self.roundtrip(self.connect())


class Refused(ServerTest):
    def refused(self, *arguments):
        done = subprocess.run([PROGRAM, "run", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False,
                              stdin=subprocess.DEVNULL)
        self.assertNotIn("ready", done.stderr.splitlines())
        return done

    def test_second_run(self):
        self.write_policy()
        first = self.run_firewall().ready()
        done = self.refused(self.policy_path, "--no-kernel", "--control", first.control)
        self.assertEqual(done.returncode, 3)
        self.assertIn(str(first.process.pid), done.stderr)
        self.roundtrip(self.connect())

    def test_control_path_is_a_file(self):
        self.write_policy()
        path = os.path.join(self.directory, "notes")
        with open(path, "w", encoding="ascii") as f:
            f.write("mine")
        done = self.refused(self.policy_path, "--no-kernel", "--control", path)
        self.assertEqual(done.returncode, 3)
        self.assertIn(path, done.stderr)
        with open(path, encoding="ascii") as f:
            self.assertEqual(f.read(), "mine")

    def test_port_in_use(self):
        self.write_policy()
        with socket.create_server(("127.0.0.1", self.port)):
            done = self.refused(self.policy_path, "--no-kernel", "--control", os.path.join(self.directory, "control"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("127.0.0.1:%d" % self.port, done.stderr)

    def test_broken_policy(self):
        self.write_policy(PLUG_WITH_MISTAKES)
        done = self.refused(self.policy_path, "--no-kernel", "--control", os.path.join(self.directory, "control"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("policy.py:5: ", done.stderr)
        self.assertIn("policy.py:8: ", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.directory, "control")))

    def test_wrong_usage(self):
        self.write_policy()
        for arguments in ([], [self.policy_path, "another"], [self.policy_path, "--workers", "0"],
                          [self.policy_path, "--workers", "x"], [self.policy_path, "--verbose", "11"],
                          [self.policy_path, "--log-format", "xml"], [self.policy_path, "--ready-fd", "77"],
                          [self.policy_path, "--reload-drain", "-1"], [self.policy_path, "--stop-drain", "86401"],
                          [self.policy_path, "--trust-anchor", "root.key"], [self.policy_path, "--dns-forwarder", "localhost"],
                          [self.policy_path, "--no-such-option"], [self.policy_path, "--logspec", "core_x:4"]):
            with self.subTest(arguments):
                done = self.refused(*arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertTrue(done.stderr)

    def test_missing_policy(self):
        done = self.refused(os.path.join(self.directory, "none.py"), "--no-kernel")
        self.assertEqual(done.returncode, 1)
        self.assertIn("none.py", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root can name a user")
    def test_names_beyond_ascii(self):
        """One zone, named in its declaration, in a rule and in an attribute."""
        self.write_policy(POLICY_IN_HUNGARIAN)
        done = subprocess.run([PROGRAM, "check", self.policy_path], capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = subprocess.run([PROGRAM, "explain", "--json", self.policy_path, "--proto", "tcp", "--from", "127.0.0.1",
                               "--to", "127.0.0.1:%d" % self.port], capture_output=True, text=True, timeout=LIMIT, check=True)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["service"], answer["src_zone"]), ("levél", "belső"))

    def test_user_must_exist_and_not_be_root(self):
        self.write_policy()
        for user in ("no-such-user-here", "root"):
            done = self.refused(self.policy_path, "--no-kernel", "--user", user,
                                "--control", os.path.join(self.directory, "control"))
            self.assertEqual(done.returncode, 3)


PLUG_WITH_MISTAKES = """\
from Zorp.Plug import *
class Plug(PlugProxy):
    def config(self):
        PlugProxy.config(self)
        self.time_out = 5
def default_instance():
    Service(name='plug', proxy_class=Plug, router=DirectedRouter(dest_addr=SockAddrInet('127.0.0.1', %(server)d)))
    Rule(service='no-such-service', dst_port=%(port)d, dst_subnet=('127.0.0.1', ))
"""

POLICY_IN_HUNGARIAN = """\
from Zorp.Smtp import *
Zone('belső', ['127.0.0.0/8'])
class Levél(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_zones = ('belső', )
def default_instance():
    Service(name='levél', proxy_class=Levél, router=DirectedRouter(dest_addr=SockAddrInet('127.0.0.1', %(server)d)))
    Rule(service='levél', dst_port=%(port)d, dst_subnet=('127.0.0.1', ), src_zone=('belső', ))
"""

if __name__ == "__main__":
    unittest.main()
