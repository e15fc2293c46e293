# SPDX-License-Identifier: Apache-2.0
# What bench/callback compares: the same refusals, by the table and by policy code.
from Zorp.Core import *
from Zorp.Smtp import *


class Bench(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        # One session sends all commands of a kind, and all of them are refused.
        self.max_commands = self.max_idle_commands = self.max_errors = 1000000


class Table(Bench):
    def config(self):
        Bench.config(self)
        self.request["NOOP"] = (SMTP_REQ_REJECT, "500", "no")


class Code(Bench):
    def config(self):
        Bench.config(self)
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)

    def noop(self, command, param):
        if param == "change":
            self.error_code = "500"
            self.error_info = "no"
        return SMTP_REQ_REJECT

    def relayCheck(self, email):
        return SmtpProxy.relayCheck(self, email)


PATTERNS = ["^(root|admin%d)@" % i for i in range(19)] + [r"@([a-z0-9-]+\.)*b\.example$"]


class Matcher(Bench):
    recipient_matcher = RegexpMatcher(PATTERNS)

    def config(self):
        Bench.config(self)
        self.relay_check = FALSE


class Own(RegexpMatcher):
    """Not the stock class, so it stays in Python."""


class PythonMatcher(Matcher):
    recipient_matcher = Own(PATTERNS)


def default_instance():
    router = DirectedRouter(dest_addr=SockAddrInet("127.0.0.1", 20035))
    for name, cls, port in (("table", Table, 20036), ("code", Code, 20037), ("matcher", Matcher, 20038),
                            ("python", PythonMatcher, 20039)):
        Service(name, cls, router=router)
        Rule(service=name, dst_port=port, dst_subnet="127.0.0.1")
