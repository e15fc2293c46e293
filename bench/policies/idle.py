# SPDX-License-Identifier: Apache-2.0
# bench/idle: several services, since the ports of one address are too few for all its connections.
from Zorp.Core import *
from Zorp.Smtp import *

Zone("clients", ["127.0.0.0/8"])


class IdleSmtp(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ("example.com",)


def default_instance():
    for n in range(4):
        router = DirectedRouter(SockAddrInet("127.0.0.1", 20055 + n))
        Service("smtp%d" % n, IdleSmtp, router=router)
        Rule(service="smtp%d" % n, src_zone="clients", dst_subnet="127.0.0.1", dst_port=20051 + n, proto=6)
