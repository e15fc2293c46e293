# SPDX-License-Identifier: Apache-2.0
"""The program as its users run it, on policies of the test's own."""

import json
import os
import shutil
import subprocess
import tempfile
import textwrap
import unittest

SALLYPORT = os.environ["SALLYPORT"]

OK, NO, USAGE, REFUSED = 0, 1, 2, 3


class Case(unittest.TestCase):
    def setUp(self):
        # Policies run as an unprivileged user when the tests run as root.
        self.folder = tempfile.mkdtemp(prefix="sallyport-cli-")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, text, name="policy.py"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(textwrap.dedent(text))
        os.chmod(path, 0o644)
        return path

    def run_program(self, *arguments, stdin="", env=None, timeout=90):
        return subprocess.run([SALLYPORT, *arguments], input=stdin, capture_output=True, encoding="utf-8",
                              cwd=self.folder, env={**os.environ, **(env or {})}, timeout=timeout, check=False)

    def assertRuns(self, status, *arguments, **more):
        result = self.run_program(*arguments, **more)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        return result

    def problems(self, path, *arguments, status=NO):
        """What check --json says, each line parsed."""
        result = self.assertRuns(status, "check", "--json", *arguments, path)
        problems = [json.loads(line) for line in result.stdout.splitlines()]
        for problem in problems:
            self.assertEqual(sorted(problem), ["file", "hint", "line", "message", "severity"])
        return problems


GOOD = """\
    from Zorp.Smtp import *

    Zone('office', ['10.0.0.0/8'])
    Zone('office.dev', ['10.1.0.0/16'], admin_parent='office')
    Zone('dmz', ['172.16.40.0/24', '2001:db8:40::/64'])

    class RelaySmtp(SmtpProxy):
        def config(self):
            SmtpProxy.config(self)
            self.relay_domains = ('example.com',)

    def default_instance():
        Service(name='mail', proxy_class=RelaySmtp,
                router=DirectedRouter(dest_addr=SockAddrInet('172.16.20.254', 25), forge_addr=TRUE))
        Service(name='any', proxy_class=SmtpProxy, router=TransparentRouter(forced_port=2525))
        DenyService(name='no')
        Rule(service='mail', dst_port=25, src_zone=('dmz', ), dst_subnet=('172.16.40.1', ))
        Rule(service='any', dst_port=PortRange(1, 1024), src_zone='office.dev')
        Rule(service='any', src_zone='office', proto=6)
        Rule(service='no', dst_subnet='192.0.2.1')
        Rule(service='no', src_iface='eth7')
"""
