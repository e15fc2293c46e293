# SPDX-License-Identifier: Apache-2.0
"""The policy host as the engine runs it, with the test as its leader and its worker."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest

from policy_support import ROOT, SCHEMA

from sallyport import wire

INFO = {"id": "svc/i/mail0:0/i/smtp", "service": "mail0", "number": 3, "rule_id": 1, "protocol": 1,
        "client_address": ["192.0.2.9", 1025], "client_local": ["203.0.113.1", 25], "client_zone": "office",
        "server_zone": None, "server_address": None, "server_local": None, "target_address": []}


class WorkerTest(unittest.TestCase):
    """One policy for all tests of a class, a new server for each test."""

    policy = None
    default_class = "Override"

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        policy, schema = (pathlib.Path(cls.directory.name, n) for n in ("policy.py", "schema.json"))
        policy.write_text(textwrap.dedent(cls.policy))
        schema.write_text(json.dumps(SCHEMA))
        cls.leader, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cls.leader.settimeout(20)
        document, problems = os.pipe(), os.pipe()
        cls.host = subprocess.Popen(
            [sys.executable, "-B", "-s", "-m", "sallyport.host", "serve", "--schema", schema, "--policy", policy,
             "--document-fd", str(document[1]), "--problems-fd", str(problems[1]), "--control-fd", str(theirs.fileno())],
            pass_fds=(document[1], problems[1], theirs.fileno()), env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
        theirs.close()
        os.close(document[1])
        os.close(problems[1])
        with os.fdopen(problems[0]) as pipe:
            cls.problems = pipe.read()
        with os.fdopen(document[0]) as pipe:
            document = pipe.read()
        assert document, cls.problems
        cls.document = json.loads(document)
        assert wire.receive(cls.leader) == {"op": "ready"}, cls.problems
        cls.configs = {c["class"]: c for c in cls.document["configs"]}

    @classmethod
    def tearDownClass(cls):
        cls.leader.close()
        cls.host.wait(20)
        cls.directory.cleanup()

    def setUp(self):
        ours, theirs = zip(*[socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)])
        wire.send(self.leader, {"op": "fork", "slot": 0}, [s.fileno() for s in theirs])
        self.control, self.talk = ours
        self.talk.settimeout(20)
        for sock in theirs:
            sock.close()
        pid = wire.receive(self.leader)["pid"]
        self.assertEqual(wire.receive(self.control), {"op": "serving", "pid": pid})
        self.session = 1

    def tearDown(self):
        self.control.close()
        self.talk.close()
        self.assertEqual(wire.receive(self.leader)["op"], "ended")

    def send(self, packet):
        wire.send(self.talk, packet)
        return wire.receive(self.talk)

    def ask(self, op, cls=None, args=(), attributes=None, **more):
        return self.send({"op": op, "session": self.session, "class": self.configs[cls or self.default_class]["class_number"],
                          "args": list(args), "attributes": attributes or {}, "session_info": INFO, **more})
