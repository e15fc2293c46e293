# SPDX-License-Identifier: Apache-2.0
"""The zygote and its host servers, over real socketpairs and processes, with a policy whose
compiled form is made by hand: what is tested is the serving half alone."""

import os
import pathlib
import re
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))

from sallyport import engine, serve, wire
from sallyport.logspec import LogSpec
from sallyport.octets import from_wire, to_wire

WAIT_S = 10


class State:
    """What sallyport.instance.State is to the serving half."""

    def __init__(self):
        self.attributes = {}
        self.pending = {"attributes": {}, "tables": []}

    def receive(self, attributes):
        self.attributes.update({k: from_wire(v) if isinstance(v, str) else v for k, v in attributes.items()})

    def set(self, name, value):
        self.attributes[name] = value
        self.pending["attributes"][name] = to_wire(value) if isinstance(value, str) else value

    def changes(self):
        changed, self.pending = self.pending, {"attributes": {}, "tables": []}
        return changed


class PolicyProblem(Exception):
    what, detail = "Matcher error", "no such list"


class Instance:
    """The policy: one method a callback."""

    def __init__(self, number, info):
        if info and info.get("broken"):
            raise RuntimeError("config() failed")
        self.state, self.info, self.count = State(), info, 0

    def counter(self):
        self.count += 1
        return self.count

    def change(self, text):
        self.state.set("error_info", text + " " + self.state.attributes["request_cmd"])
        self.state.pending["tables"].append({"table": "request", "key": ["X"], "action": 1})
        return True

    def fail(self):
        self.state.set("error_code", "599")
        return {}["missing"]

    def fail_known(self):
        raise PolicyProblem()

    def leave(self):
        sys.exit(3)

    def wrong_type(self):
        return [1]

    def base(self, text):
        self.state.set("error_code", "550")
        return engine.current().up("smtp.check_recipient", ["RCPT", text]) + 1

    def caught(self):
        try:
            return engine.current().up("smtp.sanitize_address", ["<"])
        except ValueError as problem:
            return "caught " + str(problem)

    def pause(self, tenths):
        for _ in range(tenths * 10):
            time.sleep(0.01)
        return tenths

    def pause_aloud(self, tenths):
        engine.current().log("me", "core.policy", 2, "begins")
        return self.pause(tenths)

    def backtrack(self):
        engine.current().log("me", "core.policy", 2, "begins")
        return re.match(r"(a+)+$", "a" * 60 + "b") is None

    def speak(self):
        print("printed")
        sys.stderr.write("un")
        sys.stderr.write("finished")
        os.system("echo child")
        engine.current().log("me", "core.policy", 2, "wanted")
        engine.current().log("me", "core.policy", 7, "unwanted")

    def long(self):
        return "x" * (2 * wire.PACKET_MAX)

    def huge(self):
        return 1 << 80

    def echo(self, value):
        return value

    def truth(self):
        return re.match("a", "abc")


CALLBACKS = ["counter", "change", "fail", "fail_known", "leave", "wrong_type", "base", "caught", "pause", "pause_aloud",
             "backtrack", "speak", "long", "huge", "echo", "truth"]


class Callback:
    def __init__(self, kind):
        self.kind = kind


class Compiled:
    callbacks = [Callback("hook" if name == "truth" else "table") for name in CALLBACKS]

    def new_instance(self, class_number, info):
        return Instance(class_number, info)

    def update_session(self, made, info):
        made.info = info

    def state(self, made):
        return made.state

    def function(self, made, number):
        return getattr(made, CALLBACKS[number])

    def configuration(self, made):
        return {"attributes": {"timeout": 1000}, "tables": {}, "hooks": {}, **({"seen": made.info} if made.info else {})}


def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(WAIT_S)
    return ours, theirs


class Host(unittest.TestCase):
    """A zygote, one server with two conversations."""

    def setUp(self):
        self.leader, theirs = pair()
        sys.stdout.flush()
        self.zygote = os.fork()
        if self.zygote == 0:
            self.leader.close()
            serve.serve(Compiled(), theirs.detach())
            os._exit(0)
        theirs.close()
        self.assertEqual(wire.receive(self.leader), {"op": "ready"})
        self.pid, (self.control, self.one, self.two) = self.fork_server()

    def tearDown(self):
        self.leader.close()
        os.waitpid(self.zygote, 0)
        for sock in (self.control, self.one, self.two):
            sock.close()

    def fork_server(self, waiting=None):
        """Its pid, our ends of the connections. waiting: a callback that was called before it lives."""
        ours, theirs = zip(*[pair() for _ in range(3)])
        if waiting is not None:
            self.call(waiting, sock=ours[1])
        wire.send(self.leader, {"op": "fork", "slot": 4}, [s.fileno() for s in theirs])
        for sock in theirs:
            sock.close()
        answer = wire.receive(self.leader)
        self.assertEqual((answer["op"], answer["slot"]), ("forked", 4))
        self.assertGreater(answer["pid"], 0)
        self.assertEqual(wire.receive(ours[0]), {"op": "serving", "pid": answer["pid"]})
        return answer["pid"], ours

    def call(self, name, *args, sock=None, session=1, **members):
        packet = {"op": "call", "session": session, "class": 0, "callback": CALLBACKS.index(name), "args": list(args)}
        wire.send(sock or self.one, {**packet, **members})

    def answer(self, name, *args, sock=None, **members):
        self.call(name, *args, sock=sock, **members)
        return wire.receive(sock or self.one)

    def ping(self):
        wire.send(self.control, {"op": "ping", "number": 9})
        return wire.receive(self.control)


class Calls(Host):
    def test_values(self):
        for value in (None, True, 0, -5, (1 << 63) - 1, "", "plain", "\x00\xff\xc3\xa9"):
            self.assertEqual(self.answer("echo", value), {"op": "done", "result": value})

    def test_a_session_keeps_its_instance_on_every_connection(self):
        self.assertEqual(self.answer("counter")["result"], 1)
        self.assertEqual(self.answer("counter", sock=self.two)["result"], 2)
        self.assertEqual(self.answer("counter", session=2)["result"], 1)

    def test_forget_drops_the_instance(self):
        self.assertEqual(self.answer("counter")["result"], 1)
        wire.send(self.control, {"op": "forget", "session": 1})
        self.ping()
        self.assertEqual(self.answer("counter")["result"], 1)

    def test_changes_come_with_the_answer_once(self):
        answer = self.answer("change", "über".encode().decode("latin-1"), attributes={"request_cmd": "RCPT"})
        self.assertEqual(answer, {"op": "done", "result": True,
                                  "attributes": {"error_info": to_wire("über RCPT")},
                                  "tables": [{"table": "request", "key": ["X"], "action": 1}]})
        self.assertEqual(self.answer("counter"), {"op": "done", "result": 1})

    def test_exceptions_carry_the_traceback_of_policy_code_alone(self):
        answer = self.answer("fail")
        self.assertEqual((answer["op"], answer["message"]), ("raised", "KeyError: 'missing'"))
        self.assertEqual(answer["attributes"], {"error_code": "599"})
        self.assertTrue(any("in fail" in line for line in answer["traceback"]))
        self.assertFalse(any("server.py" in line for line in answer["traceback"]))
        self.assertEqual(self.answer("fail_known"), {"op": "raised", "message": "Matcher error; reason='no such list'"})
        self.assertEqual(self.answer("leave")["op"], "raised")
        self.assertEqual(self.answer("counter")["result"], 1)

    def test_unusable_results(self):
        self.assertIn("list, where an integer", self.answer("wrong_type")["message"])
        self.assertIn("64 bits", self.answer("huge")["message"])
        self.assertIn("too long", self.answer("long")["message"])
        self.assertEqual(self.answer("counter")["result"], 1)

    def test_a_hook_may_answer_with_anything_true(self):
        self.assertIs(self.answer("truth")["result"], True)

    def test_failing_configuration(self):
        answer = self.answer("counter", session=7, session_info={"broken": True})
        self.assertEqual((answer["op"], answer["message"]), ("raised", "RuntimeError: config() failed"))
        self.assertEqual(self.answer("counter", session=7, session_info={})["result"], 1)

    def test_config_hook(self):
        wire.send(self.one, {"op": "hook", "session": 3, "class": 0, "name": "config", "session_info": {"id": "s"}})
        self.assertEqual(wire.receive(self.one), {"op": "done", "result": None, "attributes": {"timeout": 1000},
                                                  "tables": {}, "hooks": {}, "seen": {"id": "s"}})

    def test_unknown_callback_and_packet(self):
        wire.send(self.one, {"op": "call", "session": 1, "class": 0, "callback": 999})
        self.assertEqual(wire.receive(self.one)["op"], "raised")
        wire.send(self.one, {"op": "dance"})
        with self.assertRaises(wire.Closed):
            wire.receive(self.one)
        self.assertEqual(wire.receive(self.control), {"op": "ended", "connection": 1})
        self.assertEqual(self.answer("counter", sock=self.two)["result"], 1)


class UpCalls(Host):
    def test_up_and_value(self):
        up = self.answer("base", "<a@b>")
        self.assertEqual(up, {"op": "up", "function": "smtp.check_recipient", "args": ["RCPT", "<a@b>"],
                              "attributes": {"error_code": "550"}})
        wire.send(self.one, {"op": "value", "result": 2, "attributes": {"request_cmd": "RCPT"}})
        self.assertEqual(wire.receive(self.one), {"op": "done", "result": 3})

    def test_error_is_a_value_error_for_policy_code(self):
        self.assertEqual(self.answer("caught")["op"], "up")
        wire.send(self.one, {"op": "error", "message": "not an address"})
        self.assertEqual(wire.receive(self.one)["result"], "caught not an address")

    def test_nested_call_inside_up(self):
        self.assertEqual(self.answer("base", "x")["op"], "up")
        self.assertEqual(self.answer("counter"), {"op": "done", "result": 1})
        self.assertEqual(self.answer("fail")["op"], "raised")
        wire.send(self.one, {"op": "value", "result": 1})
        self.assertEqual(wire.receive(self.one)["result"], 2)

    def test_nonsense_inside_up_ends_the_conversation(self):
        self.assertEqual(self.answer("base", "x")["op"], "up")
        wire.send(self.one, {"op": "done", "result": 1})
        with self.assertRaises(wire.Closed):
            wire.receive(self.one)

    def test_output_and_log(self):
        wire.send(self.control, {"op": "hello", "verbosity": 3, "spec": ""})
        self.ping()
        packets = [self.answer("speak")]
        while packets[-1]["op"] == "log":
            packets.append(wire.receive(self.one))
        told = [(p["tag"], p["level"], p["message"]) for p in packets[:-1]]
        self.assertEqual(told, [("core.stderr", 3, "printed"), ("core.policy", 2, "wanted"),
                                ("core.stderr", 3, "unfinished")])
        self.assertEqual(packets[1]["session"], "me")
        self.assertEqual(wire.receive(self.control)["message"], "child")

    def test_what_a_call_prints_that_was_waiting_for_the_server(self):
        for _ in range(20):
            pid, connections = self.fork_server(waiting="speak")
            self.assertEqual(wire.receive(connections[1])["message"], "printed")
            for sock in connections:
                sock.close()
            self.assertEqual(wire.receive(self.leader)["pid"], pid)     # it ended


class Retirement(Host):
    def test_a_closed_conversation_ends_its_thread(self):
        self.call("pause_aloud", 100)
        self.assertEqual(wire.receive(self.one)["message"], "begins")
        self.one.close()
        wire.send(self.control, {"op": "retire", "connection": 1})
        self.assertEqual(wire.receive(self.control), {"op": "ended", "connection": 1})
        self.assertEqual(self.answer("counter", sock=self.two)["result"], 1)

    def test_a_new_conversation_is_adopted(self):
        ours, theirs = pair()
        wire.send(self.control, {"op": "adopt", "connection": 3}, [theirs.fileno()])
        theirs.close()
        self.assertEqual(self.answer("counter", sock=ours)["result"], 1)
        ours.close()
        self.assertEqual(wire.receive(self.control), {"op": "ended", "connection": 3})

    def test_sleeping_callback_leaves_the_server_answering(self):
        self.call("pause", 3)
        self.assertEqual(self.ping(), {"op": "pong", "number": 9})
        self.assertEqual(self.answer("counter", sock=self.two)["result"], 1)
        self.assertEqual(wire.receive(self.one)["result"], 3)

    def test_backtracking_expression_is_killed_and_forked_again(self):
        self.call("backtrack")
        self.assertEqual(wire.receive(self.one)["message"], "begins")
        self.control.settimeout(0.3)
        with self.assertRaises(wire.Closed):
            for _ in range(100):    # a ping may still slip in before the expression
                self.ping()
        wire.send(self.leader, {"op": "kill", "pid": self.pid})
        self.assertEqual(wire.receive(self.leader), {"op": "ended", "pid": self.pid, "status": signal.SIGKILL})
        pid, connections = self.fork_server()
        self.assertEqual(self.answer("counter", sock=connections[1])["result"], 1)
        for sock in connections:
            sock.close()

    def test_a_server_ends_with_its_control_connection(self):
        self.call("pause", 100)
        self.control.close()
        ended = wire.receive(self.leader)
        self.assertEqual((ended["op"], ended["pid"]), ("ended", self.pid))

    def test_servers_end_with_their_zygote(self):
        os.kill(self.zygote, signal.SIGKILL)
        self.assertEqual(self.one.recv(1), b"")

    def test_a_foreign_process_is_not_killed(self):
        wire.send(self.leader, {"op": "kill", "pid": os.getpid()})
        self.assertEqual(self.answer("counter")["result"], 1)


class LogSpecs(unittest.TestCase):
    def test_first_match_wins(self):
        spec = LogSpec(3, "core.debug:6,*.debug:2,core:5")
        for tag, level in (("core.debug", 6), ("smtp.debug", 2), ("core.session", 5), ("smtp.policy", 3)):
            self.assertTrue(spec.wants(tag, level))
            self.assertFalse(spec.wants(tag, level + 1))


if __name__ == "__main__":
    unittest.main()
