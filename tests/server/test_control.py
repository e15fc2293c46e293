# SPDX-License-Identifier: Apache-2.0
"""Reload, and everything that ctl can say."""

import json
import os
import signal
import socket
import subprocess
import threading
import unittest

from support import LIMIT, PLUG, PROGRAM, ServerTest, free_port, receive, wait_for


class Load(threading.Thread):
    """Connects, says something, hears it, closes; again and again until told to end."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.done = 0
        self.failed = []
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as s:
                    s.sendall(b"x" * 1000)
                    if receive(s, 1000) != b"x" * 1000:
                        raise ConnectionError("short answer")
                self.done += 1
            except OSError as problem:
                self.failed.append(repr(problem))

    def end(self):
        self.over.set()
        self.join(LIMIT)


def cont(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


class Reload(ServerTest):
    def test_under_load_loses_nothing(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        kept = self.connect()
        self.roundtrip(kept)
        loads = [Load(self.port) for _ in range(4)]
        for i in range(12):
            self.write_policy(timeout=600000 + i)
            firewall.ctl("reload")
        self.roundtrip(kept)  # the old policy's session goes on
        for load in loads:
            load.end()
        self.assertEqual([f for load in loads for f in load.failed], [])
        self.assertGreater(sum(load.done for load in loads), 50)
        wait_for(lambda: [g["state"] for g in firewall.ask("status")["generations"]] == ["current", "draining"],
                 "only the generations that have sessions")
        kept.close()
        wait_for(lambda: len(firewall.ask("status")["generations"]) == 1, "the end of the old generation")
        stats = firewall.ask("stats")
        wait_for(lambda: firewall.ask("status")["sessions"] == 0, "the end of all sessions")
        total = sum(load.done for load in loads) + 1
        self.assertEqual(stats["services"]["plug"]["session_number"], total)
        self.assertEqual(firewall.ask("stats")["services"]["plug"]["ACCEPTED"], total)
        ids = [line.split("): (")[1].split(")")[0] for line in firewall.log().splitlines() if "Connection summary" in line]
        self.assertEqual(len(ids), len(set(ids)))

    def test_broken_policy_changes_nothing(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        kept = self.connect()
        self.roundtrip(kept)
        workers = firewall.worker_pids()
        for text in ("def default_instance():\n    raise ValueError('no')\n", "this is no python %%\n",
                     PLUG + "    Rule(service='nobody', dst_port=1)\n"):
            self.write_policy(text)
            done = firewall.ctl("reload", check=False)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn("policy.py:", done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            self.roundtrip(self.connect())
        self.assertEqual(firewall.worker_pids(), workers)
        self.roundtrip(kept)
        status = firewall.ask("status")
        self.assertFalse(status["last_load"]["ok"])
        self.assertIn("nobody", status["last_load"]["error"])
        self.assertEqual(len(status["generations"]), 1)
        firewall.wait_logged("The policy stays as it was")
        self.write_policy()
        firewall.ctl("reload")
        self.assertTrue(firewall.ask("status")["last_load"]["ok"])

    def test_reason_that_is_cut_within_a_character(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        for shift in range(2):
            self.write_policy("def default_instance():\n    raise ValueError('%s')\n" % ("x" * shift + "é" * 2000))
            self.assertEqual(firewall.ctl("reload", check=False).returncode, 1)
            self.assertIn("éééé", firewall.ask("status")["last_load"]["error"])

    def test_service_name_that_is_cut_within_a_character(self):
        for shift in range(2):
            self.write_policy(PLUG.replace("'plug'", "'%s'" % ("x" * shift + "é" * 100)))
            if shift == 0:
                firewall = self.run_firewall().ready()
            else:
                firewall.ctl("reload")
            self.roundtrip(self.connect())
            wait_for(lambda: len(firewall.ask("sessions")["sessions"]) == shift + 1, "the session")
            for _ in range(3):
                found = [s for s in firewall.ask("stats")["services"] if s.startswith("x" * shift + "éééé")]
                self.assertEqual(len(found), 1)
        self.assertNotIn("The control process ended", firewall.log())

    def test_other_address(self):
        """The listener that is not wanted any more is closed, the new one opened."""
        self.write_policy()
        firewall = self.run_firewall().ready()
        old = self.port
        self.port = free_port()
        self.write_policy()
        firewall.ctl("reload")
        self.roundtrip(self.connect())

        def closed():
            try:
                socket.create_connection(("127.0.0.1", old), timeout=LIMIT).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_for(closed, "the old listener's end")

    def test_address_in_use_keeps_the_old(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        old = self.port
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
            self.write_policy()
            done = firewall.ctl("reload", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn(str(self.port), done.stderr)
        self.port = old
        self.roundtrip(self.connect())

    def reload_that_waits_for(self, firewall, *workers):
        """A reload under way: the workers, which are stopped, don't say that they accept no more."""
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
            self.addCleanup(cont, pid)
        reload = subprocess.Popen([PROGRAM, "ctl", "--control", firewall.control, "reload"],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(reload.wait)
        wait_for(lambda: "ready" in [g["state"] for g in firewall.ask("status")["generations"]],
                 "the new generation, ready")
        return reload

    def test_log_level_set_during_a_reload(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        stopped = firewall.worker_pids()[1]
        reload = self.reload_that_waits_for(firewall, stopped)
        for level in ("4", "5"):
            firewall.ctl("log", "level", level)
        cont(stopped)
        self.assertEqual(reload.wait(LIMIT * 3), 0)     # what the other worker had answered is still known

    def test_worker_that_is_started_again_during_a_reload(self):
        self.write_policy()
        firewall = self.run_firewall().ready()
        stopped = firewall.worker_pids()
        reload = self.reload_that_waits_for(firewall, *stopped)
        os.kill(stopped[0], signal.SIGKILL)
        wait_for(lambda: len(firewall.worker_pids()) == 2 and stopped[0] not in firewall.worker_pids(), "another worker")
        cont(stopped[1])
        self.assertEqual(reload.wait(LIMIT * 3), 0)     # it accepts nothing yet, and nobody waits for it

    def test_too_many_generations(self):
        self.write_policy()
        firewall = self.run_firewall(workers=1).ready()
        clients = []
        for _ in range(7):
            clients.append(self.connect())
            self.roundtrip(clients[-1])
            firewall.ctl("reload")
        done = firewall.ctl("reload", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("stop-session", done.stderr)
        for client in clients:
            self.roundtrip(client)
            client.close()
        wait_for(lambda: len(firewall.ask("status")["generations"]) == 1, "the end of the old ones")
        firewall.ctl("reload")


class Ctl(ServerTest):
    def setUp(self):
        super().setUp()
        self.write_policy()
        self.firewall = self.run_firewall().ready()

    def test_status(self):
        status = self.firewall.ask("status")
        self.assertEqual(status["pid"], self.firewall.process.pid)
        self.assertEqual(status["policy"], os.path.realpath(self.policy_path))
        self.assertEqual(status["workers"], 2)
        self.assertFalse(status["kernel_rules"])
        text = self.firewall.ctl("status").stdout
        self.assertIn(str(self.firewall.process.pid), text)
        self.assertIn("policy.py", text)

    def test_sessions_and_stop_session(self):
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            self.roundtrip(client)
        port = clients[1].getsockname()[1]

        def mine_relaying():
            sessions = self.firewall.ask("sessions")["sessions"]
            self.assertEqual(len(sessions), 3)
            found = next(s for s in sessions if s["client_address"] == "127.0.0.1:%d" % port)
            return found if found["doing"] == "relaying" else None

        mine = wait_for(mine_relaying, "what the session is doing")  # is brought up to date once a second
        self.assertEqual(mine["server_address"], "127.0.0.1:%d" % self.echo.port)
        self.assertEqual(mine["service"], "plug")
        self.assertEqual(mine["client_zone"], "localhost")
        self.assertIn(mine["id"], self.firewall.ctl("sessions").stdout)
        self.firewall.ctl("stop-session", mine["id"])
        try:
            self.assertEqual(clients[1].recv(1), b"")
        except ConnectionError:
            pass
        self.roundtrip(clients[0])
        self.roundtrip(clients[2])
        self.firewall.wait_logged("fault='admin'")
        done = self.firewall.ctl("stop-session", mine["id"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such session", done.stderr)

    def test_octets_of_a_running_session(self):
        client = self.connect()
        self.roundtrip(client, b"x" * 5000)
        wait_for(lambda: self.firewall.ask("sessions")["sessions"][0]["octets_from_client"] == 5000, "the count")

    def test_log(self):
        self.assertEqual(self.firewall.ask("log")["verbose_level"], 3)
        self.firewall.ctl("log", "level", "5", "spec", "core.debug:0")
        log = self.firewall.ask("log")
        self.assertEqual((log["verbose_level"], log["logspec"]), (5, "core.debug:0"))
        for words in (("level", "11"), ("spec", "a_b:1"), ("level",), ("louder", "1")):
            self.assertNotEqual(self.firewall.ctl("log", *words, check=False).returncode, 0, words)
        self.assertEqual(self.firewall.ask("log")["verbose_level"], 5)
        self.roundtrip(self.connect())
        self.firewall.wait_logged("Proxy starting")

    def test_stop(self):
        done = self.firewall.ctl("stop")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(self.firewall.wait(), 0)
        self.assertFalse(os.path.exists(self.firewall.control))
        done = self.firewall.ctl("status", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("sallyport run", done.stderr)

    def test_usage(self):
        for words in ((), ("nonsense",), ("status", "now"), ("stop-session",), ("reload", "--open"), ("--odd",)):
            done = self.firewall.ctl(*words, check=False)
            self.assertEqual(done.returncode, 2, (words, done.stderr))
            self.assertIn("usage", done.stderr)

    def test_the_socket_is_the_owners(self):
        self.assertEqual(os.stat(self.firewall.control).st_mode & 0o777, 0o600)

    def raw(self, *lines):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(LIMIT)
            s.connect(self.firewall.control)
            s.sendall(b"".join(lines))
            with s.makefile("rb") as f:
                return [json.loads(f.readline()) for _ in lines]

    def test_several_requests_on_one_connection(self):
        answers = self.raw(b'{"command":"status"}\n', b'{"command":"reload"}\n', b'{"command":"log"}\n')
        self.assertEqual([a["ok"] for a in answers], [True, True, True])

    def test_hostile_requests(self):
        bad = [b"\n", b"nonsense\n", b"[]\n", b'{"command":7}\n', b'{"command":"stop-session","id":"a\\u0000b"}\n',
               b'{"command":"log","level":99999999999999999999}\n', b'{"command":"log","level":-1}\n',
               b'{"command":"stop-session"}\n', b'{"command":"stop-session","id":"' + b"x" * 2000 + b'"}\n',
               b"[" * 5000 + b"\n", b"\xff\xfe\n"]
        for answer in self.raw(*bad):
            self.assertFalse(answer["ok"])
            self.assertTrue(answer["error"])
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(LIMIT)
            s.connect(self.firewall.control)
            try:
                s.sendall(b"x" * 200000)  # a line without end
                self.assertEqual(s.recv(1), b"")
            except ConnectionError:
                pass
        self.assertTrue(self.firewall.ask("status")["ok"])

    def test_many_clients_that_say_nothing(self):
        idle = []
        for _ in range(20):
            s = socket.socket(socket.AF_UNIX)
            self.addCleanup(s.close)
            s.connect(self.firewall.control)
            idle.append(s)
        self.assertTrue(self.firewall.ask("status")["ok"])

    def test_a_killed_control_process_comes_back(self):
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.firewall.process.pid)], capture_output=True,
                                  text=True, check=True).stdout.split()
        control = next(p for p in children if int(p) != self.firewall.leader_pid())
        client = self.connect()
        self.roundtrip(client)
        os.kill(int(control), 9)
        self.firewall.wait_logged("The control process ended")
        self.roundtrip(client)
        wait_for(lambda: self.firewall.ctl("status", check=False).returncode == 0, "an answer")
        self.assertEqual(len(self.firewall.ask("sessions")["sessions"]), 1)

    def test_stop_open_without_a_supervisor(self):
        self.firewall.ctl("stop")
        done = subprocess.run([PROGRAM, "ctl", "--control", self.firewall.control, "stop", "--open"],
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        if os.geteuid() == 0:
            self.assertIn(done.returncode, (0, 3))
        else:
            self.assertEqual(done.returncode, 3)
        self.assertTrue(done.stderr)


if __name__ == "__main__":
    unittest.main()
