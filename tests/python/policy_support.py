# SPDX-License-Identifier: Apache-2.0
"""Compiles small policies for the tests: each in a forked process, since a policy host loads one
policy in its life. The schema is written by hand and stands for that of the engine."""

import json
import os
import pathlib
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import Zorp  # noqa: E402  (once, before the forks)
from sallyport import host, problems  # noqa: E402

CONFIG = ["config-read", "config-write", "run-read"]
BOTH = CONFIG + ["run-write"]
RUN = ["run-read", "run-write"]


def attribute(name, kind, access, default=None, **more):
    return dict({"name": name, "type": kind, "access": access, "home": "run" if access is RUN else "config",
                 "line": False, "effect": True, "default": default, "doc": ""}, **more)


def action(name, value, low=0, high=0, calls=False):
    return {"name": name, "value": value, "min_args": low, "max_args": high, "calls": calls}


def hook(name, arguments, stored=True, native=True):
    return {"name": name, "classes": ["SmtpProxy"], "arguments": arguments.split(), "native": native,
            "stored": stored, "doc": ""}


ACTIONS = [action("ACCEPT", 1), action("REJECT", 3, 0, 2), action("ABORT", 4), action("POLICY", 6, calls=True)]
SMTP = {
    "attributes": [
        attribute("timeout", "int", CONFIG, 600000, min=1, max=86400000),
        attribute("max_request_length", "int", CONFIG, 512, min=64, max=65536),
        attribute("require_crlf", "bool", CONFIG, True),
        attribute("append_domain", "string", BOTH, "", line=True),
        attribute("relay_check", "bool", CONFIG, True),
        attribute("relay_zones", "zones", CONFIG, []),
        attribute("relay_domains", "strings", CONFIG, []),
        attribute("relay_domains_matcher", "matcher", CONFIG),
        attribute("sender_matcher", "matcher", CONFIG),
        attribute("recipient_matcher", "matcher", CONFIG),
        attribute("request_stack", "stack", CONFIG),
        attribute("permit_percent_hack", "bool", CONFIG, False),
        attribute("permit_exclamation_mark", "bool", CONFIG, False),
        attribute("error_soft", "bool", CONFIG, False),
        attribute("helo_string", "string", ["config-read", "run-read"], "", home="run"),
        attribute("active_extensions", "int", ["run-read"], 0, home="run"),
        attribute("request_cmd", "string", RUN, "", line=True),
        attribute("request_param", "string", RUN, "", line=True),
        attribute("error_code", "string", RUN, "", line=True),
        attribute("error_info", "string", RUN, "", line=True),
        {"name": "request_command", "alias_of": "request_cmd"},
    ],
    "tables": [
        {"name": "request", "key_parts": 1, "lookup": "exact", "actions": ACTIONS, "doc": ""},
        {"name": "response", "key_parts": 2, "lookup": "verb-code", "actions": ACTIONS, "doc": ""},
        {"name": "extensions", "key_parts": 1, "lookup": "exact",
         "actions": [action("ACCEPT", 1), action("DROP", 5)], "doc": ""},
    ],
    "hooks": [hook("checkSender", "cmd param", False), hook("checkRecipient", "cmd param", False),
              hook("relayCheck", "email"), hook("sanitizeAddress", "path", False), hook("requestStack", "")],
}
PLUG = {
    "attributes": [
        attribute("timeout", "int", CONFIG, 600000, min=0, max=86400000),
        attribute("copy_to_client", "bool", CONFIG, True),
        attribute("copy_to_server", "bool", CONFIG, True),
        attribute("stack_proxy", "stack", CONFIG),
    ],
    "hooks": [hook("packetStats", "client_bytes client_pkts server_bytes server_pkts"), hook("requestStack", "")],
}
SCHEMA = {"proxies": {"smtp": SMTP, "plug": PLUG}}

HEAD = "from Zorp.Smtp import *\n"


class Result:
    def __init__(self, status, document, problem_lines, directory, stderr, secrets):
        self.status = status
        self.text = document
        self.document = json.loads(document) if document else None
        self.problems = [json.loads(line) for line in problem_lines.splitlines()]
        self.directory = directory
        self.stderr = stderr
        self.secrets = []           # octets, as the document numbers them
        while secrets:
            end = 4 + int.from_bytes(secrets[:4], "big")
            self.secrets.append(secrets[4:end])
            secrets = secrets[end:]

    def of(self, severity):
        return [p for p in self.problems if p["severity"] == severity]

    def named(self, kind, name):
        return next(x for x in self.document[kind] if x["name"] == name)


def compile_files(files, instances=(), schema=None):
    """files: {name: text}, policy.py is the policy."""
    with tempfile.TemporaryDirectory() as directory:
        directory = os.path.realpath(directory)
        for name, text in files.items():
            path = pathlib.Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, bytes):
                path.write_bytes(text)
            else:
                path.write_text(textwrap.dedent(text))
        schema_path = os.path.join(directory, "schema.json")
        pathlib.Path(schema_path).write_text(json.dumps(schema or SCHEMA))
        argv = ["compile", "--schema", schema_path, "--policy", os.path.join(directory, "policy.py")]
        for name in instances:
            argv += ["--instance", name]
        names = [os.path.join(directory, "." + n) for n in ("document", "problems", "stderr", "secrets")]
        fds = [os.open(n, os.O_RDWR | os.O_CREAT) for n in names]
        argv += ["--document-fd", str(fds[0]), "--problems-fd", str(fds[1]), "--secrets-fd", str(fds[3])]
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _child(argv, fds[2])
        _, status = os.waitpid(pid, 0)
        texts = [pathlib.Path(n).read_text() for n in names[:3]]
        secrets = pathlib.Path(names[3]).read_bytes()
        for fd in fds:
            os.close(fd)
        return Result(os.waitstatus_to_exitcode(status), texts[0], texts[1], directory, texts[2], secrets)


def _child(argv, stderr):
    status = 70
    try:
        os.dup2(stderr, 2)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        status = host.main(argv)
        sys.stderr.flush()
    except SystemExit as end:
        status = end.code
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(status)


def compile_policy(text, **more):
    return compile_files(dict({"policy.py": text}, **more.pop("files", {})), **more)


class PolicyTest(unittest.TestCase):
    maxDiff = None

    def good(self, text, warnings=0, **more):
        result = compile_policy(text, **more)
        self.assertEqual([p for p in result.of("error")], [], result.stderr)
        self.assertEqual(result.status, 0, result.stderr)
        if warnings is not None:
            self.assertEqual(len(result.of("warning")), warnings, result.of("warning"))
        return result

    def bad(self, text, *expected, **more):
        """expected: (line, part of the message[, part of the hint]) for each error, and no others."""
        result = compile_policy(text, **more)
        found = result.of("error")
        self.assertEqual(result.status, 1, (found, result.stderr))
        self.assertEqual(result.text, "")
        self.assertNotIn("Traceback", result.stderr)
        self.assertEqual(len(found), len(expected), json.dumps(found, indent=1))
        for problem, want in zip(sorted(found, key=lambda p: p["line"]), expected):
            self.assertEqual(problem["line"], want[0], problem)
            self.assertIn(want[1], problem["message"])
            if len(want) > 2:
                self.assertIn(want[2], problem["hint"] or "(no hint)", problem)
        return result

    def warned(self, text, *expected, **more):
        result = compile_policy(text, **more)
        self.assertEqual(result.status, 0, (result.problems, result.stderr))
        found = result.of("warning")
        self.assertEqual(len(found), len(expected), found)
        for problem, want in zip(found, expected):
            self.assertEqual(problem["line"], want[0], problem)
            self.assertIn(want[1], problem["message"])
        return result


def instance(body, head=HEAD):
    """A policy with an instance function of that body. The body starts at line 3 for HEAD."""
    return head + "def default_instance():\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n"


def smtp_class(body, services=True):
    """A policy whose class has that body, from line 3 on; and a service and a rule that use it."""
    text = HEAD + "class My(SmtpProxy):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n"
    if services:
        text += "def default_instance():\n    Service('mail', My)\n    Rule(service='mail', dst_port=25)\n"
    return text
