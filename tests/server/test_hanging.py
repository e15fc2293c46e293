# SPDX-License-Identifier: Apache-2.0
"""Policy code that does not return, or takes its process with it: what that costs the session, and
that it costs nobody else. Each test has a firewall of its own; those that wait for deadlines are
in classes of their own, which run side by side (meson.build)."""

import contextlib
import os
import select
import signal
import time
import unittest

from mail import HEAD, Client, Firewall
from support import wait_for

TIMEOUT_S = 5       # of a callback
CONVERSATIONS = 8   # of a worker with its server

POLICY = HEAD + """
class Hanging(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_check = FALSE
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)

    def noop(self, command, param):
        if param in ("sleep", "spin", "regex"):
            log(None, "core.policy", 3, "begins to %%s", (param,))
        if param == "sleep":
            time.sleep(3600)
        elif param == "spin":
            while 1:
                pass
        elif param == "chat":
            for level in (5, 6):
                log(None, "core.policy", level, "chatting %%d", (level,))
        elif param == "regex":
            re.match("(a+)+$", "a" * 64 + "b")
        self.error_info = "asked"
        return SMTP_REQ_REJECT

def default_instance():
    Service("hanging", Hanging, router=DirectedRouter(dest_addr=SockAddrInet("127.0.0.1", %(sink)d)))
    Rule(service="hanging", dst_port=%(port0)d, dst_subnet="127.0.0.1")
"""

ASKED = (500, "asked")


class Hanging(unittest.TestCase):
    def setUp(self):
        self.firewall = Firewall(POLICY)
        self.addCleanup(self.firewall.stop)

    def evidence(self):
        return self.firewall.log()[-4000:]

    def client(self):
        client = Client(self.firewall.ports[0])
        self.addCleanup(client.close)
        return client

    def stuck(self, how, count=1):
        """Clients that wait for code that does not return: for as many as may run, it runs."""
        begun = "begins to " + how
        before = self.firewall.log().count(begun)
        clients = [self.client() for _ in range(count)]
        for client in clients:
            client.send("NOOP " + how)
        wait_for(lambda: self.firewall.log().count(begun) >= before + min(count, CONVERSATIONS), "code that runs")
        return clients


class Late(Hanging):
    def test_sleeping_code_delays_nobody(self):
        stuck = self.stuck("sleep", 3)
        client = self.client()
        for _ in range(5):
            self.assertEqual(client.command("NOOP"), ASKED)
        self.assertEqual(answered(stuck), [])     # later than others that came later
        for each in stuck:
            self.assertEqual(each.reply()[0], 451)
            self.assertEqual(each.command("NOOP"), ASKED)
        self.firewall.wait_logged("Callback is late")

    def test_more_hanging_calls_than_conversations(self):
        stuck = self.stuck("sleep", 12)
        start = time.monotonic()
        for client in stuck:
            self.assertEqual(client.reply()[0], 451)
        self.assertLess(time.monotonic() - start, 3 * TIMEOUT_S)
        self.assertEqual(self.client().command("NOOP"), ASKED)
        # Twelve threads sleep for an hour: the server was replaced, and the old one is gone.
        wait_for(lambda: len(self.firewall.servers()) == 1, "the old server ends")


class Spinning(Hanging):
    def test_spinning_code_ends(self):
        stuck = self.stuck("spin")
        server = self.firewall.servers()
        client = self.client()
        for _ in range(5):
            self.assertEqual(client.command("NOOP"), ASKED)
        self.assertEqual(answered(stuck), [])
        self.assertEqual(stuck[0].reply()[0], 451)
        self.assertEqual(self.firewall.servers(), server)      # its thread was stopped, not the process
        wait_for(lambda: is_idle(server[0]), "the thread stops")

    def test_no_descriptor_is_left(self):
        client = self.client()
        client.command("NOOP")
        worker = self.firewall.worker_pids()[0]
        server = self.firewall.servers()[0]
        before = [_descriptors(pid) for pid in (worker, server)]
        for _ in range(2):
            stuck = self.stuck("spin", 2)
            for each in stuck:
                self.assertEqual(each.reply()[0], 451)
                each.close()
        self.assertEqual(self.firewall.servers(), [server])
        wait_for(lambda: [len(_descriptors(pid)) for pid in (worker, server)] == [len(d) for d in before],
                 lambda: "as many descriptors as before: %s, not %s" % (before, list(map(_descriptors, (worker, server)))))


class Lost(Hanging):
    def test_backtracking_expression_is_killed(self):
        server = self.firewall.servers()
        stuck = self.stuck("regex")
        client = self.client()
        while not answered(stuck):      # others wait for the new server, and none of them is refused
            self.assertEqual(client.command("NOOP"), ASKED)
        self.assertEqual(stuck[0].reply()[0], 451)
        self.assertEqual(stuck[0].command("NOOP"), ASKED)
        self.assertNotEqual(self.firewall.servers(), server)
        self.firewall.wait_logged("Policy host does not answer")

    def test_killed_server(self):
        client = self.client()
        self.assertEqual(client.command("NOOP"), ASKED)
        stuck = self.stuck("sleep")[0]
        before = self.firewall.servers()
        os.kill(before[0], signal.SIGKILL)
        self.assertEqual(stuck.reply()[0], 451)
        self.assertEqual(client.command("NOOP"), ASKED)
        self.assertNotEqual(self.firewall.servers(), before)

    def test_killed_zygote(self):
        client = self.client()
        self.assertEqual(client.command("NOOP"), ASKED)
        before = self.firewall.python()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(self.firewall.python()) == 2 and not set(before) & set(self.firewall.python()),
                   "another zygote and another server")
        wait_for(lambda: client.command("NOOP") == ASKED, "calls are answered again")
        self.assertEqual(client.command("NOOP"), ASKED)

    def test_zygote_of_a_policy_that_changed_is_not_used(self):
        client = self.client()
        text = self.firewall.policy.read_text()
        self.firewall.policy.write_text(text.replace("relay_check = FALSE", "relay_check = TRUE"))
        os.kill(self.firewall.zygote(), signal.SIGKILL)
        self.firewall.wait_logged("not what it was when it was loaded")
        self.assertEqual(client.command("NOOP")[0], 451)
        self.firewall.policy.write_text(text)
        wait_for(lambda: client.command("NOOP") == ASKED, "calls are answered again", 30)

    def test_reload_takes_the_new_code_for_new_sessions(self):
        old = self.client()
        self.assertEqual(old.command("NOOP"), ASKED)
        text = self.firewall.policy.read_text()
        self.firewall.policy.write_text(text.replace('self.error_info = "asked"', 'self.error_info = "asked anew"'))
        self.firewall.ctl("reload")
        self.assertEqual(self.client().command("NOOP"), (500, "asked anew"))
        self.assertEqual(old.command("NOOP"), ASKED)
        self.assertEqual(len(self.firewall.python()), 4)       # two generations
        old.close()
        wait_for(lambda: len(self.firewall.python()) == 2, "the old policy host ends with its last session")

    def test_log_level_reaches_policy_code(self):
        client = self.client()
        client.command("NOOP chat")
        self.firewall.ctl("log", "level", "5")
        before = self.firewall.log()

        def chatted():      # ctl does not wait for the workers
            client.command("NOOP chat")
            return "chatting 5" in self.firewall.log()

        wait_for(chatted, "the line of level 5")
        self.assertNotIn("chatting", before)
        self.assertNotIn("chatting 6", self.firewall.log())

    def test_everything_ends_with_the_program(self):
        self.stuck("regex")
        pids = list(self.firewall.processes())
        self.firewall.process.kill()
        self.firewall.process.wait()
        wait_for(lambda: not any(_alive(pid) for pid in pids), "all processes end")


def _alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _descriptors(pid):
    """What each of them is: a socket, a pipe, a file."""
    found = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
    return sorted(found)


def answered(clients):
    """Those of them that have a reply waiting, or are closed."""
    return select.select([client.socket for client in clients], [], [], 0)[0]


def is_idle(pid):
    """Does no thread of it run, or want to, whenever one looks?"""
    for _ in range(20):
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, task)) as f:
                if f.read().rpartition(")")[2].split()[0] == "R":
                    return False
        time.sleep(0.005)
    return True


if __name__ == "__main__":
    unittest.main()
