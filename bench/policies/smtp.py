# SPDX-License-Identifier: Apache-2.0
# bench/smtp: mail to the mail sink, every command and reply inspected.
from Zorp.Core import *
from Zorp.Smtp import *

Zone("clients", ["127.0.0.0/8"])


class BenchSmtp(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ("example.com",)


def default_instance():
    Service("smtp", BenchSmtp, router=DirectedRouter(SockAddrInet("127.0.0.1", 20025)))
    Rule(service="smtp", src_zone="clients", dst_subnet="127.0.0.1", dst_port=20029, proto=6)
