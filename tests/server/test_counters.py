# SPDX-License-Identifier: Apache-2.0
"""What `ctl stats` and `ctl sessions` show of mail: counters, and who speaks for whom."""

import unittest

from mail import HEAD, Client, Firewall
from support import wait_for

POLICY = HEAD + """
Zone("others", ["192.0.2.0/24"])

class Mail(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_check = FALSE
        self.request["VRFY"] = (SMTP_REQ_REJECT, "550", "no")

def default_instance():
    to_sink = DirectedRouter(dest_addr=SockAddrInet("127.0.0.1", %(sink)d))
    Service("mail", Mail, router=to_sink)
    Service("headed", Mail, router=to_sink, accept_proxy_protocol=("local", ))
    Rule(service="mail", dst_port=%(port0)d, dst_subnet="127.0.0.1")
    Rule(service="headed", dst_port=%(port1)d, dst_subnet="127.0.0.1")
"""


class Counters(unittest.TestCase):
    def setUp(self):
        self.firewall = Firewall(POLICY, ports=2, workers=2)
        self.addCleanup(self.firewall.stop)

    def client(self, *arguments, **options):
        client = Client(*arguments, **options)
        self.addCleanup(client.close)
        return client

    def counters(self, service="mail"):
        return self.firewall.ask("stats")["services"][service]["counters"]

    def message(self):
        with self.client(self.firewall.ports[0]) as client:
            self.assertEqual(client.command("VRFY a")[0], 550)
            self.assertEqual(client.command("MAIL FROM:<a@b.example>")[0], 250)
            self.assertEqual(client.command("RCPT TO:<c@d.example>")[0], 250)
            self.assertEqual(client.command("DATA")[0], 354)
            self.assertEqual(client.command("x\r\n.")[0], 250)
            self.assertEqual(client.command("QUIT")[0], 221)

    def test_counters_are_the_services_over_workers_and_reloads(self):
        for n in (1, 2):
            self.message()
            self.assertEqual({key: value for key, value in self.counters().items() if value},
                             {"servers_opened": n, "commands": 6 * n, "commands_refused": n, "messages_accepted": n,
                              "recipients_accepted": n, "message_octets": 6 * n})
        self.assertFalse(any(self.counters("headed").values()))
        self.firewall.ctl("reload")
        wait_for(lambda: len(self.firewall.ask("status")["generations"]) == 1, "the end of the old generation")
        self.assertEqual(self.counters()["commands"], 12)
        self.message()
        self.assertEqual(self.counters()["commands"], 18)
        self.assertIn("service.mail.counters.messages_accepted: 3\n", self.firewall.ctl("stats").stdout)

    def test_sessions_show_who_speaks_for_the_client(self):
        client = self.client(self.firewall.ports[1], start=False)
        client.socket.sendall(b"PROXY TCP4 192.0.2.9 127.0.0.1 4711 25\r\n")
        self.assertEqual(client.reply()[0], 220)
        plain = self.client(self.firewall.ports[0])
        peer, other = ("127.0.0.1:%d" % c.socket.getsockname()[1] for c in (client, plain))
        sessions = {s["service"]: s for s in self.firewall.ask("sessions")["sessions"]}
        self.assertEqual([sessions["headed"][k] for k in ("client_address", "client_zone", "peer_address", "client_from")],
                         ["192.0.2.9:4711", "others", peer, "proxy-header"])
        self.assertEqual([sessions["mail"][k] for k in ("client_address", "client_zone", "peer_address", "client_from")],
                         [other, "local", other, "connection"])
        shown = self.firewall.ctl("sessions").stdout
        self.assertIn("  192.0.2.9:4711 (by %s, proxy-header) -> 127.0.0.1:" % peer, shown)
        self.assertIn("  %s -> 127.0.0.1:" % other, shown)


if __name__ == "__main__":
    unittest.main()
