# SPDX-License-Identifier: Apache-2.0
"""A good policy with pieces exchanged at random: whatever it says, it loads, or is refused with a
place and without a traceback."""

import random
import re
import unittest

from policy_support import PolicyTest, compile_policy

POLICY = """\
from Zorp.Smtp import *
from Zorp.Plug import *
Zone('a', ['10.0.0.0/8', '::/0'])
Zone('b', '10.1.0.0/16', admin_parent='a')
MatcherPolicy('m', RegexpMatcher(['x'], ['y']))
MatcherPolicy('c', CombineMatcher((Z_AND, 'm', (Z_NOT, 'm'))))
NATPolicy('n', GeneralNAT([(InetSubnet('10.0.0.0/8'), InetSubnet('0.0.0.0/0'), InetSubnet('1.0.0.0/8'))]))
class My(SmtpProxy):
    recipient_matcher = 'c'
    timeout = 5
    def config(self):
        SmtpProxy.config(self)
        self.relay_zones = ('a',)
        self.relay_domains = ['x.example', '.y']
        self.request['MAIL'] = (SMTP_REQ_POLICY, self.cb)
        self.response['RCPT', 250] = (SMTP_RSP_REJECT, '550', 'no')
        del self.extensions['AUTH']
    def cb(self, command, param):
        self.error_code = '550'
        return SMTP_REQ_REJECT
def default_instance():
    Service(name='s', proxy_class=My, router=DirectedRouter(dest_addr=SockAddrInet('1.2.3.4', 25), forge_addr=TRUE,
            forge_port=Z_PORT_EXACT), max_instances=3, keepalive=1, limit_target_zones_to=['a'])
    Service('p', PlugProxy, TransparentRouter(forced_port=5), ConnectChainer(timeout_connect=5))
    DenyService('d', TRUE, DenyIPv4.DROP)
    PFService('f', TransparentRouter(forge_addr=TRUE))
    Rule(service='s', rule_id=4, dst_port=[25, PortRange(1, 5)], src_zone=('a', 'b'), dst_subnet='1.2.3.4', proto=6)
    Rule(service='d', iface='eth0', ifgroup=1, src_subnet=('::/0',), icmp_type=8, dst_iface='eth1', dst_zone='b')
    config.options.language = 'en'
"""
TOKEN = re.compile(r"'[^']*'|\w+|[^\w\s]")
PIECES = ("None", "''", "'\\ud800'", "'a\\0'", "5", "-1", "10**40", "()", "[]", "{}", "[[]]", "(1, 2)", "object()", "lambda: 1",
          "self", "Zone", "SmtpProxy", "Service", "True", "1.5", "b'x'", "'x' * 5000", "PortRange(1, 2)", "float('nan')",
          "InetSubnet('1.0.0.0/8')", "SockAddrInet('1.1.1.1', 1)", "(x for x in ())", "type", "Proxy", "")
# The values of the policy, where an exchange leaves the rest in force. Other tokens mostly give
# syntax errors.
VALUE = re.compile(r"'[^']*'|\b\d+\b|\bTRUE\b|\b[A-Z][A-Z_]{4,}\b")


class Mutants(PolicyTest):
    def check(self, text):
        result = compile_policy(text)
        self.assertIn(result.status, (0, 1), result.stderr + text)
        self.assertNotIn("Traceback", result.stderr, text)
        self.assertNotIn("defect of Sallyport", str(result.problems), text)
        self.assertEqual(result.status == 1, bool(result.of("error")), text)
        self.assertEqual(result.status == 0, bool(result.text), text)
        for problem in result.problems:
            self.assertGreater(problem["line"], 0, (problem, text))
        return result.status

    def mutate(self, pattern, seed, count):
        chance = random.Random(seed)
        statuses = set()
        for _ in range(count):
            text = POLICY
            for _ in range(chance.randint(1, 2)):
                piece = chance.choice(list(pattern.finditer(text)))
                text = text[:piece.start()] + chance.choice(PIECES) + text[piece.end():]
            statuses.add(self.check(text))
        return statuses

    def test_the_policy_itself_is_good(self):
        self.good(POLICY)

    def test_exchanged_values(self):
        self.assertEqual(self.mutate(VALUE, 1, 150), {0, 1})

    def test_exchanged_tokens(self):
        self.assertIn(1, self.mutate(TOKEN, 2, 60))


if __name__ == "__main__":
    unittest.main()
