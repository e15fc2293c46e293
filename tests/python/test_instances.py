# SPDX-License-Identifier: Apache-2.0
"""What the serving half does with a compiled policy: instances of sessions, their callables, what
they change, and up-calls. Each test loads its policy in a forked process."""

import json
import os
import pathlib
import sys
import tempfile
import traceback
import unittest

from policy_support import HEAD, SCHEMA, smtp_class

from sallyport import engine, problems, schema
from sallyport.loader import Load
from sallyport.octets import from_wire, to_wire


class FakeEngine(engine.Engine):
    def __init__(self, answers=None):
        self.calls = []
        self.lines = []
        self.answers = answers or {}

    def up(self, function, args):
        self.calls.append((function, args))
        answer = self.answers.get(function)
        return answer(*args) if callable(answer) else answer

    def log(self, session_id, tag, level, message):
        self.lines.append((session_id, tag, level, message))


def loaded(text, files=None):
    """The Compiled of a policy, in this process."""
    directory = tempfile.mkdtemp()
    for name, content in dict(files or {}, **{"policy.py": text, "schema.json": json.dumps(SCHEMA)}).items():
        pathlib.Path(directory, name).write_text(content)
    schema.load(os.path.join(directory, "schema.json"))
    found = problems.Problems()
    compiled = Load(os.path.join(directory, "policy.py"), [], found).run()
    assert compiled is not None, found.items
    return compiled


class InstanceTest(unittest.TestCase):
    """Runs each test method in a forked child, since a process loads one policy."""

    def run(self, result=None):
        reader, writer = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                getattr(self, self._testMethodName)()
                status = 0
            except BaseException:
                os.write(writer, traceback.format_exc().encode()[:60000])
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader) as f:
            text = f.read()
        _, status = os.waitpid(pid, 0)
        result.startTest(self)
        if status == 0:
            result.addSuccess(self)
        else:
            try:
                raise AssertionError("in the child:\n" + text)
            except AssertionError:
                result.addFailure(self, sys.exc_info())
        result.stopTest(self)
        return result


INFO = {"id": "svc/i/mail:7/i/smtp", "instance": "i", "service": "mail", "number": 7, "rule_id": 1, "protocol": 1,
        "client_address": ["10.1.2.3", 1025], "client_local": ["::1", 25], "client_zone": "inside", "server_zone": None,
        "target_address": [["172.16.20.254", 25]], "target_zone": ["inside"]}
CALLBACKS = """
def config(self):
    SmtpProxy.config(self)
    self._seen = []
    self.request["MAIL"] = (SMTP_REQ_POLICY, self.mail)
    self.request["NOOP"] = (SMTP_REQ_POLICY, lambda verb, param: self._seen.append(param) or SMTP_REQ_ACCEPT)
def mail(self, command, param):
    self._seen.append(param)
    if param == "bad":
        self.error_code, self.error_info = "550", "No \u20ac"
        self.request["VRFY"] = (SMTP_REQ_POLICY, self.other)
        self.request["EXPN"] = (SMTP_REQ_REJECT, "502", "no")
        del self.request["ETRN"]
        return SMTP_REQ_REJECT
    return SMTP_REQ_ACCEPT
def other(self, command, param):
    return 42
def relayCheck(self, email):
    return email == "me" or SmtpProxy.relayCheck(self, email)
"""


class Instances(InstanceTest):
    def start(self, body=CALLBACKS, head="Zone('inside', '10.0.0.0/8')\n"):
        self.compiled = loaded(smtp_class(body).replace(HEAD, HEAD + head, 1))
        self.document = json.loads(self.compiled.document)
        self.made = self.compiled.new_instance(0, INFO)
        self.state = self.compiled.state(self.made)

    def number(self, table, key):
        rows = self.document["configs"][0]["tables"][table]
        return next(r["call"]["callback"] for r in rows if r["key"] == key)

    def test_callables_belong_to_their_session(self):
        self.start()
        another = self.compiled.new_instance(0, INFO)
        for key in (["MAIL"], ["NOOP"]):
            number = self.number("request", key)
            self.assertEqual(self.compiled.function(self.made, number)("X", "one"), 1)
            self.assertEqual(self.compiled.function(another, number)("X", "two"), 1)
        self.assertEqual(self.made._seen, ["one", "one"])
        self.assertEqual(another._seen, ["two", "two"])

    def test_changes_are_reported_once(self):
        self.start()
        self.assertEqual(self.state.changes(), {"attributes": {}, "tables": []})
        self.assertEqual(self.compiled.function(self.made, self.number("request", ["MAIL"]))("MAIL", "bad"), 3)
        first = self.document["callbacks"]
        self.assertEqual(self.state.changes(), {
            "attributes": {"error_code": "550", "error_info": to_wire("No \u20ac")},
            "tables": [{"table": "request", "key": ["VRFY"], "action": 6, "call": {"callback": first}},
                       {"table": "request", "key": ["EXPN"], "action": 3, "args": ["502", "no"]},
                       {"table": "request", "key": ["ETRN"], "deleted": True}]})
        self.assertEqual(self.state.changes(), {"attributes": {}, "tables": []})
        self.assertEqual(self.compiled.function(self.made, first)("VRFY", ""), 42)
        with self.assertRaises(LookupError):
            self.compiled.function(self.compiled.new_instance(0, INFO), first)

    def test_received_attributes_are_no_changes(self):
        self.start()
        self.state.receive({"request_param": to_wire("<\u20ac@x>"), "active_extensions": 3})
        self.assertEqual((self.made.request_param, self.made.active_extensions), ("<\u20ac@x>", 3))
        self.assertEqual(self.state.changes()["attributes"], {})
        self.state.receive({"request_cmd": "MAIL"})
        self.assertEqual((self.made.request_cmd, self.made.request_command), ("MAIL", "MAIL"))
        self.made.request_command = "RCPT"
        self.assertEqual(self.state.changes()["attributes"], {"request_cmd": "RCPT"})
        with self.assertRaises(AttributeError):
            self.made.error_code

    def test_wrong_assignments_raise_in_a_callback(self):
        self.start()
        for name, value in (("error_code", 550), ("error_info", "a\r\nb"), ("timeout", 5), ("active_extensions", 1), ("request", {})):
            with self.assertRaises(ValueError, msg=name):
                setattr(self.made, name, value)
        with self.assertRaises(ValueError):
            self.made.request["X"] = 77
        self.assertEqual(self.state.changes(), {"attributes": {}, "tables": []})
        self.made.own = 5
        self.assertEqual((self.made.own, self.made.timeout), (5, 600000))

    def test_override_calls_its_base(self):
        self.start()
        hook = self.document["configs"][0]["hooks"]["relayCheck"]["callback"]
        fake = FakeEngine({"smtp.relay_check": lambda email: email == "you", "smtp.sanitize_address": "u@d"})
        with engine.using(fake):
            function = self.compiled.function(self.made, hook)
            self.assertEqual([bool(function(a)) for a in ("me", "you", "other")], [True, True, False])
            self.assertEqual(self.made.sanitizeAddress("<u@d>"), "u@d")
            with self.assertRaises(TypeError):
                self.made.checkSender("only one")
        self.assertEqual(fake.calls, [("smtp.relay_check", ["you"]), ("smtp.relay_check", ["other"]),
                                      ("smtp.sanitize_address", ["<u@d>"])])
        with self.assertRaises(RuntimeError):
            self.made.relayCheck("you")

    def test_session(self):
        self.start()
        session = self.made.session
        self.assertEqual((str(session.client_address), str(session.client_local)), ("AF_INET(10.1.2.3:1025)", "AF_INET6(::1:25)"))
        self.assertEqual((session.client_zone.getName(), session.server_zone, session.rule_id), ("inside", None, 1))
        self.assertEqual((session.service.name, session.session_id, session.protocol_name), ("mail", INFO["id"], "TCP"))
        self.assertEqual((session.auth_user, str(session.verdict), len(session.target_address)), ("", "ACCEPTED", 1))
        self.assertIs(session.getMasterSession(), session.owner)
        self.assertIs(session.owner.getMasterSession(), session.owner)
        self.assertEqual((session.owner.session_id, session.master_session_id, session.base_session_id),
                         (INFO["id"].rsplit("/", 2)[0], INFO["id"].rsplit("/", 2)[0], "svc"))
        self.assertEqual((session.instance_id, session.protocol, session.auth_groups, session.authorized, session.started),
                         (INFO["number"], 1, (), 0, 1))
        self.assertEqual([str(zone) for zone in session.target_zone], ["Zone(inside)"])
        self.assertEqual((session.server_address, session.server_local), (None, None))
        self.assertFalse(hasattr(session, "nosuch"))
        self.assertEqual(getattr(session, "nosuch", 5), 5)

    def test_session_methods(self):
        from Zorp.SockAddr import SockAddrInet, SockAddrInet6
        self.start()
        session, fake = self.made.session, FakeEngine({"session.set_server_address": 1, "session.set_target": 1})
        with engine.using(fake):
            session.setTargetAddress(SockAddrInet("10.9.9.9", 25))
            self.assertEqual((str(session.target_address[0]), session.target_zone[0].name), ("AF_INET(10.9.9.9:25)", "inside"))
            session.setServer((SockAddrInet6("2001:db8::1", 25), SockAddrInet("10.9.9.9", 26)))
            self.assertEqual(([str(a) for a in session.target_address], session.target_zone), (["AF_INET6(2001:db8::1:25)"], [None]))
            self.assertEqual(session.setTargetAddressByHostname("10.9.9.8", 25), 1)
            session.destroy()
            session.getMasterSession().destroy()
            for wrong in ("10.9.9.9", (), None, [SockAddrInet("10.9.9.9", 25), 5]):
                with self.assertRaises(ValueError):
                    session.setServer(wrong)
        self.assertEqual(fake.calls, [("session.set_target", ["10.9.9.9", 25]), ("session.set_target", ["2001:db8::1", 25]),
                                      ("session.set_server_address", ["10.9.9.8", 25]),
                                      ("session.destroy", []), ("session.destroy", [])])
        with self.assertRaises(RuntimeError):
            session.destroy()

    def test_what_sessions_do_not_have_yet(self):
        self.start()
        session = self.made.session
        for call in (lambda: session.setServerAddress(None), lambda: session.getMasterSession().logVerdict(),
                     lambda: setattr(session, "target_local", None), lambda: setattr(session.owner, "client_stream", None)):
            with self.assertRaisesRegex(ValueError, "not yet part of Sallyport"):
                call()
        for name in ("client_stream", "server_stream", "client_listen", "target_local", "target_address_inband"):
            with self.assertRaisesRegex(AttributeError, name + ".*not yet part of Sallyport"):
                getattr(session, name)

    def test_permitted_servers(self):
        """The zone, or one above it; no zone is in no list."""
        from Zorp.Zorp import ZV_ACCEPT, ZV_REJECT
        self.start()
        session = self.made.session
        inside = session.client_zone
        for allowed, zone, answer in (((), None, ZV_ACCEPT), (("inside", ), inside, ZV_ACCEPT), (("other", ), inside, ZV_REJECT),
                                      (("inside", ), None, ZV_REJECT)):
            session.service.limit_target_zones_to = allowed
            session.owner.server_zone = zone
            self.assertEqual(session.isServerPermitted(), answer)

    def test_configuration_per_session(self):
        self.start("""
def config(self):
    SmtpProxy.config(self)
    if self.session.client_zone.name == 'inside':
        self.relay_zones = ('inside',)
        self.request["HELP"] = (SMTP_REQ_POLICY, self.help)
def help(self, command, param):
    return 1
""")
        self.assertTrue(self.document["configs"][0]["per_session"])
        members = self.compiled.configuration(self.made)
        self.assertEqual(members["attributes"], {"relay_zones": ["inside"]})
        number = next(r["call"]["callback"] for r in members["tables"]["request"] if r["key"] == ["HELP"])
        self.assertGreaterEqual(number, self.document["callbacks"])
        self.assertEqual(self.compiled.function(self.made, number)("HELP", ""), 1)
        with self.assertRaises(AttributeError):
            self.compiled.new_instance(0, dict(INFO, client_zone=None))

    def test_an_entry_that_config_does_not_make_again(self):
        self.start("""
_times = []
def config(self):
    SmtpProxy.config(self)
    self._times.append(1)
    if len(self._times) == 1:
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.cb)
def cb(self, command, param):
    return 1
""")
        with self.assertRaises(LookupError):
            self.compiled.function(self.made, self.number("request", ["NOOP"]))
        for number in (-1, 5):
            with self.assertRaises(LookupError):
                self.compiled.function(self.made, number)

    def test_log(self):
        self.start()
        fake = FakeEngine()
        with engine.using(fake):
            from Zorp.Core import log, proxyLog
            proxyLog(self.made, "smtp.policy", 3, "x='%s'", ("y",))
            log("id", "core.info", 4, "100%")
            log("core.info", 5, "old form")
        self.assertEqual(fake.lines, [(None, "smtp.policy", 3, "x='y'"), ("id", "core.info", 4, "100%"),
                                      (None, "core.info", 5, "old form")])


class Matchers(InstanceTest):
    def matcher(self, expression, files=None):
        text = HEAD + "class My(SmtpProxy):\n    recipient_matcher = %s\ndef i():\n    T = RegexpMatcher(['.']); " \
            "MatcherPolicy('T', T); MatcherPolicy('F', RegexpMatcher([]))\n    Service('s', My)\n" % expression
        # As if the policy had replaced them: else they run in the engine.
        from Zorp import Matcher
        Matcher._stock.clear()
        compiled = loaded(text, files)
        call = json.loads(compiled.document)["configs"][0]["attributes"]["recipient_matcher"]
        return compiled.function(compiled.new_instance(0, None), call["callback"])

    def test_regexp(self):
        match = self.matcher("RegexpMatcher(['^a.c', 'X  '], ['bad'])")
        self.assertEqual([match(t) for t in ("abc", "ABC", "yabc", "a x", "abc bad", "")], [1, 1, 0, 1, 0, 0])

    def test_case(self):
        match = self.matcher("RegexpMatcher(['a'], ignore_case=FALSE)")
        self.assertEqual([match("a"), match("A")], [1, 0])

    def test_combine(self):
        values = []
        for expression in ("(Z_AND, 'T', 'F')", "(Z_OR, 'F', 'T')", "(Z_NOT, 'T')", "(Z_XOR, 'T', 'T', 'T')", "(Z_NE, 'T', 'T')",
                           "(Z_EQ, 'F', 'T')", "(Z_EQ, 'T', 'F')", "(Z_EQ, 'F', 'F')", "(Z_AND, 'T', (Z_NOT, [Z_AND, 'F', 'T']))"):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(writer, bytes([self.matcher("CombineMatcher(%s)" % expression)("x")]))
                os._exit(0)
            os.waitpid(pid, 0)
            os.close(writer)
            values.append(os.read(reader, 1))
        self.assertEqual(values, [b"\0", b"\1", b"\0", b"\1", b"\0", b"\0", b"\0", b"\1", b"\1"])

    def test_regexp_file_is_read_again(self):
        directory = tempfile.mkdtemp()
        path = pathlib.Path(directory, "list")
        path.write_text("first\n\nsecond\n")
        match = self.matcher("RegexpFileMatcher(%r)" % str(path))
        self.assertEqual([match(t) for t in ("FIRST", "second", "third")], [1, 1, 0])
        path.write_text("third, which is longer\n")
        self.assertEqual([match(t) for t in ("first", "the third, which is longer")], [0, 1])
        path.unlink()
        with engine.using(FakeEngine()):
            self.assertEqual(match("the third, which is longer"), 1)
        path.write_text("(\n")
        from Zorp.Exceptions import MatcherException
        with self.assertRaises(MatcherException):
            match("x")


class Octets(unittest.TestCase):
    def test_round_trip(self):
        for octets in (b"", b"abc", bytes(range(256)), "\u20ac".encode()):
            wire = octets.decode("latin-1")
            self.assertEqual(to_wire(from_wire(wire)), wire)
        with self.assertRaises(UnicodeEncodeError):
            from_wire("\u20ac")
        with self.assertRaises(UnicodeEncodeError):
            to_wire("\ud800")


if __name__ == "__main__":
    unittest.main()
