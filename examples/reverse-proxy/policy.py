# SPDX-License-Identifier: Apache-2.0
from Zorp.Smtp import *

Zone('dmz', ['172.16.40.0/24'])


class MailToExample(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ('example.com', )


def default_instance():
    Service(name='mail', proxy_class=MailToExample,
            router=DirectedRouter(dest_addr=SockAddrInet('172.16.20.254', 25), forge_addr=TRUE))
    Rule(service='mail', dst_port=25, src_zone=('dmz', ), dst_subnet=('172.16.40.1', ))
