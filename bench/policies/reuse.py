# SPDX-License-Identifier: Apache-2.0
# bench/smtp: as smtp.py, with server connections that serve several clients.
from Zorp.Core import *
from Zorp.Smtp import *

Zone("clients", ["127.0.0.0/8"])


class BenchReuse(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ("example.com",)
        self.reuse_server_sessions = TRUE
        self.reuse_max_idle = 64


def default_instance():
    Service("reuse", BenchReuse, router=DirectedRouter(SockAddrInet("127.0.0.1", 20025)))
    Rule(service="reuse", src_zone="clients", dst_subnet="127.0.0.1", dst_port=20030, proto=6)
