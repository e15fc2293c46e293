# SPDX-License-Identifier: Apache-2.0
"""Policies of the tests, as text."""

HEAD = '''
from Zorp.Smtp import *
from Zorp.Plug import *

Zone('dmz', ['172.16.40.0/24', 'fd00:40::/64'])
Zone('clients', ['172.16.10.0/23', 'fd00:10::/64'])
Zone('servers', ['172.16.20.0/23', 'fd00:20::/64'])

class Mail(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ('example.com', )
'''

MAIL = HEAD + '''
def default_instance():
    Service(name='mail', proxy_class={proxy}, router={router})
    Rule(service='mail', dst_port=25, src_zone=('dmz', ))
'''


def mail(router='TransparentRouter(forge_addr=TRUE)', proxy='Mail', classes=''):
    """Mail from the dmz, to wherever it was addressed unless the router says otherwise."""
    return MAIL.replace('{proxy}', proxy).replace('{router}', router).replace('def default_instance', classes + '\ndef default_instance', 1)


def directed(address, **router):
    options = ''.join(f', {name}={value}' for name, value in router.items())
    kind = 'SockAddrInet6' if ':' in address else 'SockAddrInet'
    return f"DirectedRouter(dest_addr={kind}('{address}', 25){options})"
