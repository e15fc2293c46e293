# SPDX-License-Identifier: Apache-2.0
"""Policy code in running sessions: what it may decide and change, and what it costs when it fails.
One firewall serves all the tests of a class. Code that hangs is in test_hanging.py."""

import unittest

from mail import HEAD, Client, Firewall, Sink
from support import wait_for

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

class Setting(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)
        if self.session.client_address.ip_s == "127.0.0.2":
            self.session.setServer(SockAddrInet("127.0.0.1", %(port3)d))

    def startup(self):
        log(None, SMTP_POLICY, 3, "target: %%s of %%s", (self.session.target_address[0], self.session.target_zone[0]))

    def noop(self, command, param):
        self.session.destroy()
        return SMTP_REQ_ACCEPT

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
    Service("setting", Setting, router=router)
    Rule(service="setting", dst_port=%(port4)d, dst_subnet="127.0.0.1")
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
        cls.firewall = Firewall(DECIDING, ports=5)

    @classmethod
    def tearDownClass(cls):
        cls.firewall.stop()

    def client(self, port=0, **more):
        client = Client(self.firewall.ports[port], **more)
        self.addCleanup(client.close)
        return client

    def logged(self, text):
        self.firewall.wait_logged(text)
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

    def test_policy_code_sets_the_target(self):
        other = Sink(self.firewall.ports[3])
        self.addCleanup(other.stop)
        self.client(4).command("MAIL FROM:<third@client.example>")
        self.client(4, source="127.0.0.2").command("MAIL FROM:<fourth@client.example>")
        self.assertTrue(any(b"third" in c for c in self.firewall.sink.commands))
        self.assertFalse(any(b"fourth" in c for c in self.firewall.sink.commands))
        self.assertTrue(any(b"fourth" in c for c in other.commands))
        for port in self.firewall.sink.port, self.firewall.ports[3]:
            self.logged("target: AF_INET(127.0.0.1:%d) of Zone(local)" % port)

    def test_policy_code_ends_the_session(self):
        client = self.client(4)
        self.assertEqual((client.command("NOOP")[0], client.reply()), (421, (None, "")))
        self.logged("reason='destroyed'")

    def test_many_sessions(self):
        clients = [self.client() for _ in range(200)]
        for round_number in (1, 2, 3):
            for client in clients:
                client.send("NOOP")
            for client in clients:
                self.assertEqual(client.reply()[1], "asked %d" % round_number)


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


if __name__ == "__main__":
    unittest.main()
