# SPDX-License-Identifier: Apache-2.0
"""Files of RegexpFileMatcher that change while the firewall runs."""

import os
import unittest

from mail import HEAD, Client, Firewall
from support import wait_for

POLICY = HEAD + """
import os

class Mail(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_check = FALSE
        self.sender_matcher = RegexpFileMatcher(os.path.join(os.path.dirname(__file__), "senders"))

def default_instance():
    Service("mail", Mail, router=DirectedRouter(dest_addr=SockAddrInet("127.0.0.1", %(sink)d)))
    Rule(service="mail", dst_port=%(port0)d, dst_subnet="127.0.0.1")
"""


class MatcherFiles(unittest.TestCase):
    def setUp(self):
        self.firewall = Firewall(POLICY, files={"senders": "one\n"})
        self.addCleanup(self.firewall.stop)

    def write(self, text):
        path = os.path.join(self.firewall.directory, "senders")
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def refused(self, sender):
        with Client(self.firewall.ports[0]) as client:
            return client.command("MAIL FROM:<%s@x.example>" % sender)[0] >= 500

    def generation(self):
        return max(g["generation"] for g in self.firewall.ask("status")["generations"] if g["state"] == "current")

    def logged(self, text, times=1):
        self.firewall.wait_logged(text, times)

    def test_they_are_read_again(self):
        self.assertEqual((self.refused("one"), self.refused("two")), (True, False))
        self.write("two\n")
        wait_for(lambda: self.refused("two"), "the new pattern")
        self.assertFalse(self.refused("one"))
        # A broken file changes nothing, and a mended one counts.
        self.write("one\n(\n")
        self.logged("is not a regular expression")
        self.logged("The policy stays as it was")
        self.assertEqual((self.refused("one"), self.refused("two")), (False, True))
        before = self.generation()
        self.write("three\n")
        wait_for(lambda: self.refused("three"), "the mended file")
        self.assertGreater(self.generation(), before)

    def test_what_is_not_read_again(self):
        before = self.generation()
        os.utime(os.path.join(self.firewall.directory, "senders"))
        self.logged("The matchers are as they were")
        os.rename(os.path.join(self.firewall.directory, "senders"), os.path.join(self.firewall.directory, "away"))
        self.logged("Matcher file cannot be looked at")
        self.assertTrue(self.refused("one"))
        # Nobody has asked for the policy that is being written.
        text = self.firewall.policy.read_text()
        self.firewall.policy.write_text(text.replace("relay_check = FALSE", "relay_check = TRUE"))
        self.write("two\n")
        self.logged("files of matchers have changed, and more of the policy than that")
        self.assertEqual(self.generation(), before)
        self.assertEqual((self.refused("one"), self.refused("two")), (True, False))
        self.firewall.ctl("reload")
        self.assertEqual((self.refused("one"), self.refused("two")), (False, True))


if __name__ == "__main__":
    unittest.main()
