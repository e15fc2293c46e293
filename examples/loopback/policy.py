# SPDX-License-Identifier: Apache-2.0
# The reverse proxy on one machine and without root: swaks or any other client talks to
# 127.0.0.1:2525, a mail sink of your choice listens on 127.0.0.1:2526.
#
#   sallyport run examples/loopback/policy.py --no-kernel
from Zorp.Smtp import *

Zone('localhost', ['127.0.0.0/8'])


class MailToExample(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ('example.com', )


def default_instance():
    Service(name='mail', proxy_class=MailToExample,
            router=DirectedRouter(dest_addr=SockAddrInet('127.0.0.1', 2526)))
    Rule(service='mail', dst_port=2525, src_zone=('localhost', ), dst_subnet=('127.0.0.1', ))
