# SPDX-License-Identifier: Apache-2.0
# Mail that is encrypted on both sides of the firewall and read in between: STARTTLS on port 25 as
# the client asks for it, TLS from the first octet on port 465. `./certificates` makes the keys.
import os

from Zorp.Smtp import *

FOLDER = os.path.dirname(os.path.abspath(__file__)) + '/keys/'

Zone('internet', ['0.0.0.0/0', '::/0'])

# The names under which clients know us; one that asks for another gets the first one's certificate.
MAIL = StaticCertificate(Certificate.fromFile(FOLDER + 'mail.pem', PrivateKey.fromFile(FOLDER + 'mail.key')))
LISTS = StaticCertificate(Certificate.fromFile(FOLDER + 'lists.pem', PrivateKey.fromFile(FOLDER + 'lists.key')))
OURS = SNIBasedCertificate({RegexpMatcher(('^lists[.]example[.]com$', )): LISTS}, default=MAIL)

# The server is our own: its CA is the only one that counts.
SERVER = ServerCertificateVerifier(verify_ca_directory=FOLDER + 'cas')

EncryptionPolicy('starttls', ForwardStartTLSEncryption(
    client_certificate_generator=OURS, client_verify=ClientNoneVerifier(), server_verify=SERVER))
EncryptionPolicy('smtps', TwoSidedEncryption(
    client_certificate_generator=OURS, client_verify=ClientNoneVerifier(), server_verify=SERVER,
    client_ssl_options=ClientSSLOptions(preset='intermediate')))


class MailToExample(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domains = ('example.com', 'lists.example.com')


def default_instance():
    Service(name='mail', proxy_class=MailToExample, encryption_policy='starttls',
            router=DirectedRouter(dest_addr=SockAddrInet('172.16.20.254', 25)))
    Service(name='submission', proxy_class=MailToExample, encryption_policy='smtps',
            router=DirectedRouter(dest_addr=SockAddrInet('172.16.20.254', 465)))
    Rule(service='mail', dst_port=25, src_zone='internet', dst_subnet='172.16.40.1')
    Rule(service='submission', dst_port=465, src_zone='internet', dst_subnet='172.16.40.1')
