# SPDX-License-Identifier: Apache-2.0
"""The policy host as the engine runs it: `sallyport.host serve` with a policy, its zygote, a server
forked from it, and the test as the worker behind the conversation."""

import unittest

from worker_support import INFO, WorkerTest

from sallyport import wire

POLICY = """
from Zorp.Core import *
from Zorp.Smtp import *
from Zorp.Matcher import *

Zone("clients", ["192.0.2.0/24"])
Zone("office", ["198.51.100.0/24"], admin_parent="clients")
Zone("named", hostnames="mail.example")

class DataMatcher(AbstractMatcher):
    def checkMatch(self, text):
        if text == "unknown":
            raise MatcherException("the list is away")
        return text.startswith("bad")

MatcherPolicy("bad", DataMatcher())

class Override(SmtpProxy):
    seen = 0

    def config(self):
        SmtpProxy.config(self)
        self.count = 0
        self.recipient_matcher = "bad"
        self.request["MAIL"] = (SMTP_REQ_POLICY, self.mail)
        self.request["VRFY"] = (SMTP_REQ_POLICY, lambda command, param: self.remember(param))

    def startup(self):
        log(self.session.session_id, "core.policy", 3, "starting for %s", (self.session.client_address,))

    def __pre_shutdown__(self):
        self.count = 1 / 0

    def relayCheck(self, email):
        Override.seen += 1
        return email.endswith("@open.example") or SmtpProxy.relayCheck(self, email)

    def mail(self, command, param):
        self.error_code = "553"
        self.error_info = "no mail from %s (%s)" % (self.session.client_zone.getName(), self.request_cmd)
        self.request["ETRN"] = (SMTP_REQ_POLICY, self.later)
        del self.request["VRFY"]
        return SMTP_REQ_REJECT

    def later(self, command, param):
        self.count += 1
        return SMTP_REQ_ACCEPT

    def remember(self, param):
        self.count += 1
        self.request_param = "%s %d" % (param, self.count)
        return SMTP_REQ_ACCEPT

class PerSession(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        if self.session.client_address.ip_s == "192.0.2.9":
            self.relay_domains = ("nine.example",)
            self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)

    def noop(self, command, param):
        return SMTP_REQ_ABORT

class Setting(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.session.setServer(SockAddrInet("203.0.113.9", 25))
        self.zone = Zone.lookup(self.session.client_address)

    def startup(self):
        log(None, "core.policy", 3, "going to %s from %s", (self.session.target_address[0], self.zone))

class Failing(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        if self.session.client_address.port == 1:
            raise RuntimeError("no session for port 1")

def default_instance():
    router = DirectedRouter(dest_addr=SockAddrInet("203.0.113.1", 25))
    for number, cls in enumerate((Override, PerSession, Failing, Setting)):
        Service("mail%d" % number, cls, router=router)
        Rule(service="mail%d" % number, dst_port=25 + number)
"""


class Conversation(WorkerTest):
    policy = POLICY

    def entry(self, cls, verb):
        rows = [r for r in self.configs[cls]["tables"]["request"] if r["key"] == [verb]]
        return rows[0]["call"]["callback"]

    def test_override_that_calls_its_base(self):
        number = self.configs["Override"]["hooks"]["relayCheck"]["callback"]
        self.assertEqual(self.ask("call", callback=number, args=["a@open.example"]), {"op": "done", "result": True})
        self.assertEqual(self.ask("call", callback=number, args=["a@b"]),
                         {"op": "up", "function": "smtp.relay_check", "args": ["a@b"]})
        self.assertEqual(self.send({"op": "value", "result": 0}), {"op": "done", "result": 0})

    def test_request_callback_changes_attributes_and_tables(self):
        answer = self.ask("call", callback=self.entry("Override", "MAIL"), args=["MAIL", "<a@b>"],
                          attributes={"request_cmd": "MAIL"})
        self.assertEqual((answer["op"], answer["result"]), ("done", 3))
        self.assertEqual(answer["attributes"], {"error_code": "553", "error_info": "no mail from office (MAIL)"})
        changed = {row["key"][0]: row for row in answer["tables"]}
        self.assertEqual(changed["VRFY"], {"table": "request", "key": ["VRFY"], "deleted": True})
        own = changed["ETRN"]["call"]["callback"]
        self.assertGreaterEqual(own, self.document["callbacks"])
        self.assertEqual(self.ask("call", callback=own, args=["ETRN", "x"]), {"op": "done", "result": 1})
        self.session = 2
        gone = self.ask("call", callback=own, args=["ETRN", "x"])
        self.assertEqual(gone["op"], "raised")      # this session's table has no such entry

    def test_a_closure_over_self_belongs_to_its_session(self):
        number = self.entry("Override", "VRFY")
        for session, expected in ((1, "x 1"), (2, "x 1"), (1, "x 2")):
            self.session = session
            answer = self.ask("call", callback=number, args=["VRFY", "x"])
            self.assertEqual(answer["attributes"], {"request_param": expected})

    def test_matchers(self):
        number = self.configs["Override"]["attributes"]["recipient_matcher"]["callback"]
        self.assertEqual(self.ask("call", callback=number, args=["bad@x"])["result"], 1)
        self.assertEqual(self.ask("call", callback=number, args=["good@x"])["result"], 0)
        self.assertEqual(self.ask("call", callback=number, args=["unknown"]),
                         {"op": "raised", "message": "Matcher error; reason='the list is away'"})

    def test_startup_and_shutdown(self):
        config = self.configs["Override"]
        self.assertEqual((config["startup"], config["shutdown"]), (True, True))
        self.assertNotIn("startup", self.configs["PerSession"])
        line = self.ask("hook", name="startup")
        self.assertEqual((line["op"], line["message"]), ("log", "starting for AF_INET(192.0.2.9:1025)"))
        self.assertEqual(wire.receive(self.talk), {"op": "done", "result": None})
        self.assertEqual(self.ask("hook", name="shutdown")["message"], "ZeroDivisionError: division by zero")

    def test_configuration_of_a_session(self):
        self.assertTrue(self.configs["PerSession"]["per_session"])
        answer = self.ask("hook", "PerSession", name="config")
        self.assertEqual(answer["attributes"]["relay_domains"], ["nine.example"])
        noop = [r for r in answer["tables"]["request"] if r["key"] == ["NOOP"]][0]
        number = noop["call"]["callback"]
        self.assertEqual(self.ask("call", "PerSession", callback=number, args=["NOOP", ""])["result"], 4)
        # Another client's session has another configuration, and not that callable.
        self.session = 2
        other = {**INFO, "client_address": ["192.0.2.10", 1025]}
        answer = self.ask("hook", "PerSession", name="config", session_info=other)
        self.assertNotIn("relay_domains", answer["attributes"])
        self.assertEqual(self.ask("call", "PerSession", callback=number, args=["NOOP", ""])["op"], "raised")
        # The first one's, made again after a late call, is found under the same number.
        self.session = 3
        self.assertEqual(self.ask("call", "PerSession", callback=number, args=["NOOP", ""])["result"], 4)

    def test_configuration_that_fails(self):
        info = {**INFO, "client_address": ["192.0.2.9", 1]}
        answer = self.ask("hook", "Failing", name="config", session_info=info)
        self.assertEqual((answer["op"], answer["message"]), ("raised", "RuntimeError: no session for port 1"))
        self.assertTrue(any("policy.py" in line for line in answer["traceback"]))

    def test_configuration_that_sets_the_target(self):
        self.assertEqual(self.ask("hook", "Setting", name="config"),
                         {"op": "up", "function": "session.set_target", "args": ["203.0.113.9", 25]})
        self.assertEqual(self.send({"op": "value", "result": 1}),
                         {"op": "up", "function": "policy.zone_of", "args": ["203.0.113.9"]})
        self.assertEqual(self.send({"op": "value", "result": None})["function"], "policy.zone_of")
        answer = self.send({"op": "value", "result": "named"})
        self.assertEqual((answer["op"], answer["result"]), ("done", None))
        startup = {"op": "hook", "session": 1, "class": self.configs["Setting"]["class_number"], "name": "startup"}
        self.assertEqual(self.send(startup)["message"], "going to AF_INET(203.0.113.9:25) from Zone(named)")
        self.assertEqual(wire.receive(self.talk), {"op": "done", "result": None})
        # An instance that is made again, for another server, does not set it anew: a callback may have since.
        self.session = 2
        there = {**INFO, "target_address": [["203.0.113.8", 25]], "target_zone": [None]}
        answer = self.ask("hook", "Setting", name="startup", session_info=there)
        while answer.get("function") == "policy.zone_of":
            answer = self.send({"op": "value", "result": "named"})
        self.assertEqual(answer["message"], "going to AF_INET(203.0.113.8:25) from Zone(named)")
        wire.receive(self.talk)

    def test_what_the_session_shows_is_kept_up_to_date(self):
        self.ask("hook", name="config")
        self.ask("hook", name="config", session_info={**INFO, "client_address": ["192.0.2.77", 5]})
        line = self.send({"op": "hook", "session": 1, "class": self.configs["Override"]["class_number"], "name": "startup"})
        self.assertIn("192.0.2.77", line["message"])
        wire.receive(self.talk)


if __name__ == "__main__":
    unittest.main()
