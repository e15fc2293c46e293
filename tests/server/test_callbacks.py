# SPDX-License-Identifier: Apache-2.0
"""Policy code in running sessions: what it may decide and change, and what it costs when it fails,
hangs, or takes the interpreter with it. One firewall serves all the tests of a class."""

import os
import signal
import time
import unittest

from mail import Client, Firewall, Sink
from support import wait_for

TIMEOUT_S = 5       # of a callback

HEAD = """
import re, time
from Zorp.Core import *
from Zorp.Smtp import *

Zone("local", ["127.0.0.0/8"])
"""

DECIDING = HEAD + """
class Office(AbstractMatcher):
    def checkMatch(self, text):
        if text.startswith("unknown"):
            raise MatcherException("the list is away")
        return re.match("spam", text)

MatcherPolicy("spam", Office())

class Deciding(SmtpProxy):
    total = 0

    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ("ok.example",)
        self.recipient_matcher = "spam"
        self.request["MAIL"] = (SMTP_REQ_POLICY, self.mail)
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)
        self.response["MAIL", "250"] = (SMTP_RSP_POLICY, self.mailed)
        self.asked = 0

    def startup(self):
        log(None, SMTP_POLICY, 3, "hello %%s", (self.session.client_address.ip_s,))
        log(None, SMTP_POLICY, 3, "early %%s", (self.sanitizeAddress("<early@client.example>"),))
        SmtpProxy.checkRecipient(self, "RCPT", "To:<early@no.example>")

    def shutdown(self):
        log(None, SMTP_POLICY, 3, "goodbye after %%d", (self.asked,))

    def mail(self, command, param):
        print("mail with", param)
        if "reject" in param:
            self.error_code = "553"
            self.error_info = "not from you"
            return SMTP_REQ_REJECT
        if "abort" in param:
            return SMTP_REQ_ABORT
        if "rename" in param:
            self.request_param = "FROM:<renamed@client.example>"
        if "inject" in param:
            self.request_param = "FROM:<a@b.example>\\r\\nRCPT TO:<x@evil.example>"
        if "injinfo" in param:
            self.error_info = "first\\r\\n250 second"
            return SMTP_REQ_REJECT
        if "raise" in param:
            raise RuntimeError("ouch of the policy")
        if "exit" in param:
            raise SystemExit(0)
        if "list" in param:
            return [SMTP_REQ_ACCEPT]
        if "none" in param:
            return None
        if "text" in param:
            return "1"
        return SMTP_REQ_ACCEPT

    def mailed(self, command, param, code, text):
        self.response_param = "mailed: " + text
        return SMTP_RSP_ACCEPT

    def noop(self, command, param):
        if param == "close":
            self.request["RSET"] = (SMTP_REQ_REJECT, "502", "closed")
        elif param == "own":
            self.request["RSET"] = (SMTP_REQ_POLICY, lambda command, param: SMTP_REQ_REJECT)
        elif param == "open":
            del self.request["RSET"]
            self.request["RSET"] = SMTP_REQ_ACCEPT
        self.asked += 1
        Deciding.total += 1
        self.error_info = "asked %%d" %% self.asked
        return SMTP_REQ_REJECT

    def checkRecipient(self, command, param):
        if "shortcut" in param:
            return SMTP_REQ_ACCEPT
        if "bare" in param:
            self.error_info = self.sanitizeAddress(param[3:]) + " is the mailbox"
            return SMTP_REQ_REJECT
        if "nothing" in param:
            try:
                self.sanitizeAddress(">")
            except ValueError:
                self.error_info = "ValueError"
            return SMTP_REQ_REJECT
        return SmtpProxy.checkRecipient(self, command, param)

    def relayCheck(self, email):
        return email.endswith("@open.example") or SmtpProxy.relayCheck(self, email)

class Choosing(SmtpProxy):
    def startup(self):
        if self.session.client_address.ip_s == "127.0.0.2":
            found = self.setServerAddress("127.0.0.1", %(port3)d), self.setServerAddress("no.name.example", 25)
            log(None, SMTP_POLICY, 3, "chosen: %%s", (found,))

class PerSession(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)
        if self.session.client_address.ip_s == "127.0.0.1":
            self.relay_domains = ("one.example",)
        elif self.session.client_address.ip_s == "127.0.0.9":
            raise RuntimeError("not for nine")
        else:
            self.relay_domains = ("other.example",)

    def noop(self, command, param):
        if param == "hang":
            time.sleep(60)
        self.error_info = "%%s at %%d of %%s" %% (
            self.session.client_address.ip_s, self.session.client_local.port, self.session.service.name)
        return SMTP_REQ_REJECT

def default_instance():
    router = DirectedRouter(dest_addr=SockAddrInet("127.0.0.1", %(sink)d))
    Service("deciding", Deciding, router=router)
    Rule(service="deciding", dst_port=%(port0)d, dst_subnet="127.0.0.1")
    Service("per_session", PerSession, router=router)
    Rule(service="per_session", dst_port=%(port1)d, dst_subnet="127.0.0.1")
    Service("choosing", Choosing, router=DirectedRouter(dest_addr=SockAddrInet("127.0.0.1", %(sink)d), overrideable=TRUE))
    Rule(service="choosing", dst_port=%(port2)d, dst_subnet="127.0.0.1")
"""

HANGING = HEAD + """
class Hanging(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_check = FALSE
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)

    def noop(self, command, param):
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

PLAIN = HEAD + """
class Plain(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ("ok.example",)

def default_instance():
    Service("plain", Plain, router=DirectedRouter(dest_addr=SockAddrInet("127.0.0.1", %(sink)d)))
    Rule(service="plain", dst_port=%(port0)d, dst_subnet="127.0.0.1")
"""


class Deciding(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.firewall = Firewall(DECIDING, ports=4)

    @classmethod
    def tearDownClass(cls):
        cls.firewall.stop()

    def client(self, port=0, **more):
        client = Client(self.firewall.ports[port], **more)
        self.addCleanup(client.close)
        return client

    def logged(self, text):
        wait_for(lambda: text in self.firewall.log(), "'%s' in the log" % text, 5)
        return self.firewall.log()

    def mail(self, sender):
        client = self.client()
        return client, client.command("MAIL FROM:<%s@client.example>" % sender)

    def test_override_that_calls_its_base(self):
        client = self.client()
        client.mail()
        self.assertEqual(client.rcpt("a@ok.example")[0], 250)
        self.assertEqual(client.rcpt("a@open.example")[0], 250)
        self.assertEqual(client.rcpt("a@no.example")[0], 554)
        self.assertEqual(client.rcpt("shortcut@no.example")[0], 250)
        self.assertEqual(client.deliver()[0], 250)

    def test_natives_for_policy_code(self):
        client = self.client()
        client.mail()
        self.assertEqual(client.rcpt("bare@no.example")[1], "bare@no.example is the mailbox")
        self.assertEqual(client.rcpt("nothing@no.example")[1], "ValueError")

    def test_matcher_of_the_policy(self):
        client = self.client()
        client.mail()
        self.assertEqual(client.rcpt("spam@ok.example")[0], 554)
        self.assertEqual(client.rcpt("unknown@ok.example")[0], 450)     # it can't tell
        self.assertEqual(client.rcpt("ham@ok.example")[0], 250)
        self.logged("Matcher error; reason='the list is away'")

    def test_request_is_rejected_in_the_policys_words(self):
        client, reply = self.mail("reject")
        self.assertEqual(reply, (553, "not from you"))
        self.assertEqual(client.mail()[0], 250)

    def test_request_and_response_are_rewritten(self):
        client, reply = self.mail("rename")
        self.assertEqual(reply[0], 250)
        self.assertTrue(reply[1].startswith("mailed: ok MAIL"), reply)
        self.assertIn(b"<renamed@client.example>", b"".join(self.firewall.sink.commands))

    def test_abort(self):
        client, reply = self.mail("abort")
        self.assertIn(reply[0], (421, 500, None))
        self.assertEqual(client.command("NOOP")[0], None)

    def test_no_line_break_gets_through(self):
        for sender in ("inject", "injinfo"):
            before = len(self.firewall.sink.commands)
            client, reply = self.mail(sender)
            self.assertGreaterEqual(reply[0], 400)
            self.assertNotIn("second", reply[1])
            self.assertEqual(client.mail()[0], 250)
            self.assertFalse(any(b"evil" in c for c in self.firewall.sink.commands[before:]))
        log = self.logged("error_info must not contain CR, LF or NUL")
        self.assertNotIn("/sallyport/", log)        # a traceback shows the policy's code alone
        self.assertNotIn("During handling", log)

    def test_exception_refuses_that_command(self):
        for sender in ("raise", "exit", "list"):
            client, reply = self.mail(sender)
            self.assertEqual(reply[0], 451, sender)
            self.assertEqual(client.mail()[0], 250)
        log = self.logged("RuntimeError: ouch of the policy")
        self.assertRegex(log, r"core\.error\(3\): \(svc/.*/smtp\): RuntimeError: ouch of the policy")
        self.assertRegex(log, r"core\.error\(3\): .*policy\.py.*in mail")

    def test_results_that_are_no_verdict_end_the_session(self):
        for sender in ("none", "text"):
            client, reply = self.mail(sender)
            self.assertIn(reply[0], (421, 500, None), sender)
            self.assertEqual(client.command("NOOP")[0], None, sender)

    def test_table_changes_are_the_sessions(self):
        one, two = self.client(), self.client()
        self.assertEqual(one.command("NOOP close")[1], "asked 1")
        self.assertEqual(one.command("RSET"), (502, "closed"))
        self.assertEqual(two.command("RSET")[0], 250)
        one.command("NOOP own")
        self.assertEqual(one.command("RSET")[0], 500)
        self.assertEqual(one.command("NOOP open")[1], "asked 3")
        self.assertEqual(one.command("RSET")[0], 250)
        self.assertEqual(two.command("NOOP close")[1], "asked 1")

    def test_output_startup_and_shutdown(self):
        client, reply = self.mail("printed")
        client.command("NOOP")
        self.assertEqual(client.command("QUIT")[0], 221)
        log = self.logged("goodbye after 1")
        self.assertRegex(log, r"core\.stderr\(3\): \(svc/.*/smtp\): mail with .*<printed@client.example>")
        self.assertIn("smtp.policy(3): ", log)
        self.assertIn("hello 127.0.0.1", log)
        self.assertIn("early early@client.example", log)    # before the conversation began

    def test_configuration_for_each_session(self):
        one, two = self.client(1), self.client(1, source="127.0.0.2")
        for client, good in ((one, "one"), (two, "other")):
            client.mail()
            self.assertEqual(client.rcpt("a@one.example")[0], 250 if good == "one" else 554)
            self.assertEqual(client.rcpt("a@other.example")[0], 250 if good == "other" else 554)
        self.assertEqual(two.command("NOOP")[1], "127.0.0.2 at %d of per_session" % self.firewall.ports[1])

    def test_configuration_that_fails_ends_the_session(self):
        client = self.client(1, source="127.0.0.9", start=False)
        self.assertEqual(client.reply()[0], None)
        self.logged("RuntimeError: not for nine")

    def test_late_callback_of_a_session_with_its_own_configuration(self):
        client = self.client(1)
        self.assertEqual(client.command("NOOP hang")[0], 451)
        self.assertIn("127.0.0.1 at", client.command("NOOP")[1])

    def test_policy_code_chooses_the_server(self):
        other = Sink(self.firewall.ports[3])
        self.addCleanup(other.stop)
        self.client(2).command("MAIL FROM:<first@client.example>")
        self.client(2, source="127.0.0.2").command("MAIL FROM:<second@client.example>")
        self.assertTrue(any(b"first" in c for c in self.firewall.sink.commands))
        self.assertFalse(any(b"second" in c for c in self.firewall.sink.commands))
        self.assertTrue(any(b"second" in c for c in other.commands))
        self.logged("chosen: (1, 0)")
        self.logged("host='no.name.example'")

    def test_many_sessions(self):
        clients = [self.client() for _ in range(200)]
        for round_number in (1, 2, 3):
            for client in clients:
                client.send("NOOP")
            for client in clients:
                self.assertEqual(client.reply()[1], "asked %d" % round_number)


class Hanging(unittest.TestCase):
    def setUp(self):
        self.firewall = Firewall(HANGING)
        self.addCleanup(self.firewall.stop)

    def client(self):
        client = Client(self.firewall.ports[0])
        self.addCleanup(client.close)
        return client

    def timed(self, client, line):
        start = time.monotonic()
        reply = client.command(line)
        return reply, time.monotonic() - start

    def stuck(self, how, count=1):
        """Clients that are waiting for code that does not return, and a thread that collects."""
        clients = [self.client() for _ in range(count)]
        for client in clients:
            client.send("NOOP " + how)
        time.sleep(0.2)
        return clients

    def others_are_served(self, seconds, accept):
        end, slowest, replies = time.monotonic() + seconds, 0, []
        client = self.client()
        while time.monotonic() < end:
            reply, took = self.timed(client, "NOOP")
            replies.append(reply[1])
            slowest = max(slowest, took)
            self.assertIn(reply[0], accept)
            time.sleep(0.05)
        return slowest, replies

    def test_sleeping_code_delays_nobody(self):
        stuck = self.stuck("sleep", 3)
        slowest, replies = self.others_are_served(2, (500,))
        self.assertLess(slowest, 1)
        for client in stuck:
            self.assertEqual(client.reply()[0], 451)
            self.assertEqual(client.command("NOOP"), (500, "asked"))
        wait_for(lambda: "Callback is late" in self.firewall.log(), "the log line")

    def test_more_hanging_calls_than_conversations(self):
        stuck = self.stuck("sleep", 12)
        start = time.monotonic()
        for client in stuck:
            self.assertEqual(client.reply()[0], 451)
        self.assertLess(time.monotonic() - start, 3 * TIMEOUT_S)
        self.assertEqual(self.client().command("NOOP"), (500, "asked"))
        # Twelve threads sleep for an hour: the server was replaced, and the old one is gone.
        wait_for(lambda: len(self.firewall.servers()) == 1, "the old server ends")

    def test_spinning_code_ends(self):
        client = self.stuck("spin")[0]
        server = self.firewall.servers()
        slowest, _ = self.others_are_served(1, (500,))
        self.assertLess(slowest, 1)
        self.assertEqual(client.reply()[0], 451)
        self.assertEqual(self.firewall.servers(), server)      # its thread was stopped, not the process
        start = _cpu_seconds(server[0])
        time.sleep(1)
        self.assertLess(_cpu_seconds(server[0]) - start, 0.5)

    def test_backtracking_expression_is_killed(self):
        server = self.firewall.servers()
        client = self.stuck("regex")[0]
        slowest, replies = self.others_are_served(TIMEOUT_S + 1, (500,))
        self.assertLess(slowest, TIMEOUT_S)        # and all of them were answered, none refused
        self.assertTrue(all(text == "asked" for text in replies), replies)
        self.assertEqual(client.reply()[0], 451)
        self.assertEqual(client.command("NOOP"), (500, "asked"))
        self.assertNotEqual(self.firewall.servers(), server)
        wait_for(lambda: "Policy host does not answer" in self.firewall.log(), "the log line")

    def test_killed_server(self):
        client = self.client()
        self.assertEqual(client.command("NOOP"), (500, "asked"))
        stuck = self.stuck("sleep")[0]
        before = self.firewall.servers()
        os.kill(before[0], signal.SIGKILL)
        self.assertEqual(stuck.reply()[0], 451)
        self.assertEqual(client.command("NOOP"), (500, "asked"))
        self.assertNotEqual(self.firewall.servers(), before)

    def test_killed_zygote(self):
        client = self.client()
        self.assertEqual(client.command("NOOP"), (500, "asked"))
        before = self.firewall.python()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(self.firewall.python()) == 2 and not set(before) & set(self.firewall.python()),
                   "another zygote and another server")
        wait_for(lambda: client.command("NOOP") == (500, "asked"), "calls are answered again")
        self.assertEqual(client.command("NOOP"), (500, "asked"))

    def test_zygote_of_a_policy_that_changed_is_not_used(self):
        client = self.client()
        text = self.firewall.policy.read_text()
        self.firewall.policy.write_text(text.replace("relay_check = FALSE", "relay_check = TRUE"))
        os.kill(self.firewall.zygote(), signal.SIGKILL)
        wait_for(lambda: "not what it was when it was loaded" in self.firewall.log(), "the change is noticed")
        self.assertEqual(client.command("NOOP")[0], 451)
        self.firewall.policy.write_text(text)
        wait_for(lambda: client.command("NOOP") == (500, "asked"), "calls are answered again", 30)

    def test_reload_takes_the_new_code_for_new_sessions(self):
        old = self.client()
        self.assertEqual(old.command("NOOP"), (500, "asked"))
        text = self.firewall.policy.read_text()
        self.firewall.policy.write_text(text.replace('self.error_info = "asked"', 'self.error_info = "asked anew"'))
        self.firewall.ctl("reload")
        self.assertEqual(self.client().command("NOOP"), (500, "asked anew"))
        self.assertEqual(old.command("NOOP"), (500, "asked"))
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
        wait_for(lambda: [_descriptors(pid) for pid in (worker, server)] == before, "as many descriptors as before")

    def test_everything_ends_with_the_program(self):
        self.stuck("regex")
        pids = list(self.firewall.processes())
        self.firewall.process.kill()
        self.firewall.process.wait()
        wait_for(lambda: not any(_alive(pid) for pid in pids), "all processes end")


class Plain(unittest.TestCase):
    def test_no_python_runs_for_a_plain_policy(self):
        firewall = Firewall(PLAIN)
        self.addCleanup(firewall.stop)
        wait_for(lambda: firewall.python() == [], "the policy host ends")
        with Client(firewall.ports[0]) as client:
            client.mail()
            self.assertEqual(client.rcpt("a@ok.example")[0], 250)
            self.assertEqual(client.rcpt("a@no.example")[0], 554)
        self.assertEqual(firewall.python(), [])


def _alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def _cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    unittest.main()
