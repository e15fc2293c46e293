# SPDX-License-Identifier: Apache-2.0
"""TLS with programs that people use, and every mode with every kind of server: who sees what.

docs/reference/tls-matrix.md shows the outcome of the latter. It is written from what was seen here,
with SALLYPORT_WRITE_TLS=1 in the environment, and compared with it otherwise.
"""
import os

import pytest

from lab import mailers, origin, pki as lab_pki, policies, process, tls, unpacked
from lab.firewall import ROOT, Firewall

ORIGIN = '172.16.20.254'
FRONT = '172.16.40.1'       # the firewall, towards the dmz

# class of the policy: what the client does, what the server's connection is
MODES = {
    'ClientOnlyStartTLSEncryption': 'STARTTLS',
    'FakeStartTLSEncryption': 'STARTTLS',
    'ForwardStartTLSEncryption': 'STARTTLS',
    'SidedEncryption, server forwards': 'plain',
    'ServerOnlyEncryption': 'plain',
    'ClientOnlyEncryption': 'implicit',
    'TwoSidedEncryption': 'implicit',
}
# servers whose certificate is not good are tried with the kind that the mode can reach
CERTIFICATES = {'expired': 'expired', 'wrong name': 'wrong', 'unknown CA': 'unknown', 'revoked': 'revoked'}
SERVERS = ('plain', 'STARTTLS', 'implicit', *CERTIFICATES)

HEAD = '''
CLIENT = StaticCertificate(Certificate.fromFile("{pki}/firewall.pem", PrivateKey.fromFile("{pki}/firewall.key")))

def server():
    return ServerCertificateVerifier(verify_ca_directory="{pki}/ca", verify_crl_directory="{pki}/crl")

EncryptionPolicy("ClientOnlyStartTLSEncryption", ClientOnlyStartTLSEncryption(CLIENT, client_verify=None))
EncryptionPolicy("FakeStartTLSEncryption", FakeStartTLSEncryption(CLIENT, client_verify=None, server_verify=server()))
EncryptionPolicy("ForwardStartTLSEncryption", ForwardStartTLSEncryption(CLIENT, client_verify=None, server_verify=server()))
EncryptionPolicy("SidedEncryption, server forwards", SidedEncryption(SSL_NONE, SSL_FORWARD_STARTTLS, server_verify=server()))
EncryptionPolicy("ServerOnlyEncryption", ServerOnlyEncryption(server_verify=server()))
EncryptionPolicy("ClientOnlyEncryption", ClientOnlyEncryption(CLIENT, client_verify=None))
EncryptionPolicy("TwoSidedEncryption", TwoSidedEncryption(CLIENT, client_verify=None, server_verify=server()))

class Named(Mail):
    def config(self):
        Mail.config(self)
        self.auth_requires_tls = TRUE
        self.server_name = "mail.example"
'''


@pytest.fixture(scope='module')
def pki():
    made = lab_pki.Pki()
    try:
        yield made
    finally:
        made.remove()


def policy(pki, services, more=''):
    """services: (name of the encryption, port of the firewall, port of the server); more: of their proxy's config()."""
    text = policies.HEAD + HEAD.replace('{pki}', pki.folder) + more + '\ndef default_instance():\n'
    for number, (encryption, front, back) in enumerate(services):
        text += (f'    Service("s{number}", Named, router=DirectedRouter(SockAddrInet("{ORIGIN}", {back})),\n'
                 f'            encryption_policy="{encryption}")\n'
                 f'    Rule(service="s{number}", dst_port={front}, dst_subnet=("{FRONT}/32", ))\n')
    return text


# ---- every mode with every kind of server ----

def kind_for(mode, server):
    """How a server of that name is made: kind and certificate."""
    if server not in CERTIFICATES:
        return server, 'good'
    forced = mode in ('FakeStartTLSEncryption', 'ServerOnlyEncryption', 'TwoSidedEncryption')
    return 'implicit' if forced else 'STARTTLS', CERTIFICATES[server]


@pytest.fixture(scope='module')
def matrix(net, pki):
    """{(mode, server): (what the client saw, what the server saw)}"""
    cells = [(mode, server) for mode in MODES for server in SERVERS]
    servers, seen, running = {}, {}, None
    try:
        for number, cell in enumerate(cells):
            kind, certificate = kind_for(*cell)
            servers[cell] = tls.Server(net.servers, pki, kind, certificate, 3000 + number)
        running = Firewall(net, policy(pki, [(mode, 2000 + n, 3000 + n) for n, (mode, _) in enumerate(cells)]))
        for number, (mode, server) in enumerate(cells):
            client = tls.send(net.dmz, FRONT, 2000 + number, tls.trusting(pki), MODES[mode])
            outcomes = servers[mode, server].outcomes
            process.wait_until(lambda: outcomes, 10, f'{mode}, {server}: the server is through')
            seen[mode, server] = client, outcomes[0]
        running.end_orderly()
    finally:
        if running is not None:
            running.close()
        for server in servers.values():
            server.close()
    return seen


@pytest.mark.parametrize('mode', MODES)
def test_a_bad_certificate_gets_no_mail(matrix, mode):
    """Where the mode looks at it at all: then the server gets nothing, and the client is not told that it did."""
    looks = mode not in ('ClientOnlyStartTLSEncryption', 'ClientOnlyEncryption')
    for server in CERTIFICATES:
        client, origin_saw = matrix[mode, server]
        assert ('mail' in client) == (origin_saw.startswith('mail')) == (not looks), (server, client, origin_saw)


@pytest.mark.parametrize('mode', MODES)
def test_each_side_has_what_the_mode_says(matrix, mode):
    for server in SERVERS:
        client, origin_saw = matrix[mode, server]
        assert ('mail' in client) == origin_saw.startswith('mail,'), (server, client, origin_saw)
        if MODES[mode] != 'plain' and mode != 'ForwardStartTLSEncryption' and 'mail' in client:
            assert client == 'mail, TLS', server
        if mode in ('FakeStartTLSEncryption', 'ServerOnlyEncryption', 'TwoSidedEncryption',
                    'SidedEncryption, server forwards') and origin_saw.startswith('mail'):
            assert origin_saw == 'mail, TLS', server


PAGE = os.path.join(ROOT, 'docs', 'reference', 'tls-matrix.md')

PAGE_HEAD = '''# TLS: every mode with every kind of server

Written by `tests/e2e/test_tls.py` from what it saw, and compared with it whenever the tests run
(`SALLYPORT_WRITE_TLS=1` in the environment writes it anew). An SMTP client that uses what it is offered sends a
message through the firewall; each cell says what the *client* saw, and below it what the *server* saw. The firewall
verifies servers by a CA and its list of revocations and knows the server's name (`server_name`); the client knows the firewall's CA. Servers with a bad certificate speak
implicit TLS where the mode has the server's side forced, else they offer STARTTLS.

*451 as greeting*: there is no server for this client. *421*: the session ended with this reply. *silence*: a server that
waits for TLS on a connection where it does not come. A mode that does not
encrypt the server's side does not look at its certificate.

'''


def page(matrix):
    lines = [['mode', *SERVERS], ['---'] * (len(SERVERS) + 1)]
    for mode in MODES:
        lines.append([f'`{mode}`' if ',' not in mode else mode, *(f'{matrix[mode, s][0]}<br>*{matrix[mode, s][1]}*' for s in SERVERS)])
    return PAGE_HEAD + ''.join('| ' + ' | '.join(line) + ' |\n' for line in lines)


def test_the_page_is_true(matrix):
    if os.environ.get('SALLYPORT_WRITE_TLS'):
        with open(PAGE, 'w') as f:
            f.write(page(matrix))
    with open(PAGE) as f:
        assert f.read() == page(matrix)


# ---- programs ----

POSTFIX_TLS = '''
smtpd_tls_security_level = may
smtpd_tls_cert_file = {pki}/good.pem
smtpd_tls_key_file = {pki}/good.key
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
'''


class EximTls(unpacked.Exim):
    """On the origin's address, and it offers STARTTLS."""

    def __init__(self, host, pki, port):
        self.config = (unpacked.Exim.config.replace('local_interfaces = 127.0.0.1', f'local_interfaces = 127.0.0.1 : {ORIGIN}')
                       .replace('tls_advertise_hosts =', f'tls_advertise_hosts = *\ntls_certificate = {pki.path("good.pem")}\n'
                                f'tls_privatekey = {pki.path("good.key")}'))
        super().__init__(host, port)


def letter(folder, name):
    path = f'{folder}/{name}.eml'
    with open(path, 'wb') as f:
        f.write(f'Subject: by {name}\r\n\r\nhello\r\n'.encode())
    return path


# how each of them is told to use TLS, to port 25 (STARTTLS) and 465
def swaks(pki, folder, implicit):
    return ('swaks', '--server', FRONT, '--port', '465' if implicit else '25', '--tlsc' if implicit else '--tls', '--tls-verify',
            '--tls-ca-path', pki.path('ca.pem'), '--helo', 'client.example', '--from', 'a@client.example', '--to', 'bob@example.com',
            '--header', f'Subject: by swaks {implicit}')


def curl(pki, folder, implicit):
    url = f'smtps://fw.example:465/client.example' if implicit else f'smtp://fw.example:25/client.example'
    return ('curl', '-s', '-S', '--ssl-reqd', '--cacert', pki.path('ca.pem'), '--resolve', f'fw.example:{465 if implicit else 25}:{FRONT}',
            url, '--mail-from', 'a@client.example', '--mail-rcpt', 'bob@example.com', '--upload-file', letter(folder, f'curl {implicit}'))


def msmtp(pki, folder, implicit):
    return ('sh', '-c', f'exec msmtp --host={FRONT} --port={465 if implicit else 25} --tls=on --tls-starttls={"off" if implicit else "on"} '
            f'--tls-trust-file={pki.path("ca.pem")} --tls-host-override=fw.example --domain=client.example -f a@client.example bob@example.com '
            f'< "{letter(folder, f"msmtp {implicit}")}"')


def s_client(pki, folder, implicit, name='fw.example'):
    starttls = '' if implicit else '-starttls smtp'
    return ('sh', '-c', f'(sleep 1; printf "EHLO client.example\\n"; sleep 1; printf "QUIT\\n"; sleep 1) | openssl s_client -connect '
            f'{FRONT}:{465 if implicit else 25} {starttls} -CAfile {pki.path("ca.pem")} -verify_return_error -verify_hostname fw.example '
            f'-servername {name} -quiet -crlf')


PROGRAMS = {'swaks': swaks, 'curl': curl, 'msmtp': msmtp}


@pytest.fixture(scope='class')
def through_postfix(net, pki):
    """A Postfix that offers STARTTLS behind a firewall with STARTTLS on 25 (forwarded) and implicit TLS on 465."""
    server = origin.Postfix(net.servers, POSTFIX_TLS.format(pki=pki.folder))
    running = None
    try:
        running = Firewall(net, policy(pki, [('ForwardStartTLSEncryption', 25, 25), ('ClientOnlyEncryption', 465, 25)]))
        yield server, running
        running.end_orderly()
    finally:
        if running is not None:
            running.close()
        server.close()


class TestPrograms:
    @pytest.mark.parametrize('implicit', [False, True], ids=['starttls', 'implicit'])
    @pytest.mark.parametrize('name', PROGRAMS)
    def test_programs_send(self, net, pki, through_postfix, tmp_path, name, implicit):
        server, _ = through_postfix
        done = mailers.program(net.dmz, *PROGRAMS[name](pki, str(tmp_path), implicit))
        assert done.returncode == 0, done.stdout + done.stderr
        mail = server.wait_mail(f'by {name} {implicit}'.encode())
        # The second half is Postfix's own word on it.
        assert (b'using TLSv1.3 with cipher' in mail) == (not implicit)

    @pytest.mark.parametrize('implicit', [False, True], ids=['starttls', 'implicit'])
    def test_openssl_s_client(self, net, pki, through_postfix, tmp_path, implicit):
        done = mailers.program(net.dmz, *s_client(pki, str(tmp_path), implicit))
        assert done.returncode == 0, done.stdout + done.stderr
        assert '221 ' in done.stdout
        # The reply behind TLS offers no STARTTLS.
        assert 'STARTTLS' not in done.stdout.partition('250-')[2]

    @pytest.mark.parametrize('way', ['STARTTLS', 'implicit'])
    def test_python_smtplib(self, net, pki, through_postfix, way):
        server, running = through_postfix
        before = len(server.mails())
        assert tls.send(net.dmz, FRONT, 465 if way == 'implicit' else 25, tls.trusting(pki), way) == 'mail, TLS'
        process.wait_until(lambda: len(server.mails()) > before, 15, 'it arrives')
        assert "tls.accounting(4)" in running.log and "SSL handshake done; side='client', version='TLSv1.3'" in running.log


def test_a_client_that_must_not_be_without_tls(net, pki, postfix, firewall):
    """The server offers nothing; the policy wants TLS from the client."""
    running = firewall(policy(pki, [('ClientOnlyStartTLSEncryption', 25, 25)], '''
class Named(Mail):
    def config(self):
        Mail.config(self)
        self.require_client_tls = TRUE
        self.add_received_header = TRUE
        self.domain_name = "fw.example"
'''))
    assert tls.send(net.dmz, FRONT, 25, tls.trusting(pki), 'plain') == '530 to a command'
    assert tls.send(net.dmz, FRONT, 25, tls.trusting(pki), 'STARTTLS') == 'mail, TLS'
    assert b'by fw.example with ESMTPS id' in postfix.wait_mail(b'hello')
    assert running.program.is_running()


@pytest.mark.parametrize('mode', ['ForwardStartTLSEncryption', 'SidedEncryption, server forwards', 'ClientOnlyStartTLSEncryption'])
def test_exim(net, pki, firewall, mode):
    """Its STARTTLS, asked for by the client, by the firewall, and not at all."""
    server = EximTls(net.servers, pki, 25)
    try:
        running = firewall(policy(pki, [(mode, 25, 25)]))
        way = MODES[mode]
        assert tls.send(net.dmz, FRONT, 25, tls.trusting(pki), way) == ('mail, plain' if way == 'plain' else 'mail, TLS')
        process.wait_until(server.mails, 15, 'it arrives')
        protocol = 'esmtp' if mode == 'ClientOnlyStartTLSEncryption' else 'esmtps'
        assert f'with {protocol} '.encode() in server.mails()[0]
        assert ("SSL handshake done; side='server'" in running.log) == (protocol == 'esmtps')
    finally:
        server.close()


def test_plug_with_tls(net, pki, firewall):
    """A protocol that knows nothing of it: TLS is ended on one side and begun on the other."""
    server = tls.Server(net.servers, pki, 'implicit', 'good', 3000)
    try:
        text = policies.HEAD + HEAD.replace('{pki}', pki.folder) + f'''
def default_instance():
    Service("plug", PlugProxy, router=DirectedRouter(SockAddrInet("{ORIGIN}", 3000)), encryption_policy="TwoSidedEncryption")
    Rule(service="plug", dst_port=2000, dst_subnet=("{FRONT}/32", ))
'''
        firewall(text)
        assert tls.send(net.dmz, FRONT, 2000, tls.trusting(pki), 'implicit') == 'mail, TLS'
        assert server.outcomes == ['mail, TLS']
    finally:
        server.close()


@pytest.mark.parametrize('implicit', [False, True], ids=['starttls', 'implicit'])
def test_the_name_chooses_the_server(net, pki, firewall, tmp_path, implicit):
    """SNIBasedRouter, with openssl s_client as the client: before the server is connected, or instead of the one that is."""
    servers = [tls.Server(net.servers, pki, 'plain', 'good', port) for port in (3000, 3001)]
    try:
        encryption = 'ClientOnlyEncryption' if implicit else 'ClientOnlyStartTLSEncryption'
        running = firewall(policies.HEAD + HEAD.replace('{pki}', pki.folder) + f'''
def default_instance():
    Service("mail", Named, encryption_policy="{encryption}", router=SNIBasedRouter(
        {{RegexpMatcher(("^lists[.]", )): SockAddrInet("{ORIGIN}", 3001)}}, default=SockAddrInet("{ORIGIN}", 3000)))
    Rule(service="mail", dst_port={465 if implicit else 25}, dst_subnet=("{FRONT}/32", ))
''')

        def reached():
            lines = [line for line in running.log.splitlines() if 'Server connection established' in line]
            return sorted(port for port in (3000, 3001) for line in lines if f"server_address='AF_INET({ORIGIN}:{port})'" in line)
        for name, ports in (('mail.example', [3000]), ('lists.example', [3000, 3001] if implicit else [3000, 3000, 3001])):
            done = mailers.program(net.dmz, *s_client(pki, str(tmp_path), implicit, name))
            assert done.returncode == 0 and '221 ' in done.stdout, done.stdout + done.stderr
            process.wait_until(lambda: reached() == ports, 20, f'{name} gets to its server: {reached()}')
    finally:
        for server in servers:
            server.close()


HOOKS = '''
def judge(side, verdict, certificate, proxy):
    # The client asked for no name; the one that the policy has for the server is not the client's.
    good = certificate.subject == "/CN=mail.example" and not proxy.tls.server_name
    return SSL_HS_VERIFIED if good else SSL_HS_REJECT

def give(side, other, name, proxy):
    proxy.tls.client_local_certificate = open("{pki}/good.pem").read()
    proxy.tls.client_local_privatekey = open("{pki}/good.key").read()
    return SSL_HS_ACCEPT

scenario = TwoSidedEncryption(CLIENT, client_verify=None, server_verify=server())
scenario.settings.server_handshake["verify_cert_ext"] = (SSL_HS_POLICY, judge)
scenario.settings.client_handshake["setup_key"] = (SSL_HS_POLICY, give)
EncryptionPolicy("hooked", scenario)
'''


def test_policy_code_has_its_say(net, pki, firewall):
    """It lets an expired certificate pass, refuses one that a CA vouches for, and shows another one to the client."""
    servers = [tls.Server(net.servers, pki, 'implicit', certificate, 3000 + n) for n, certificate in enumerate(('expired', 'wrong'))]
    try:
        firewall(policy(pki, [('hooked', 2000, 3000), ('hooked', 2001, 3001)], HOOKS.replace('{pki}', pki.folder)))
        context = tls.trusting(pki)
        with tls.Smtp(net.dmz, FRONT, 2000, context) as smtp:
            assert ((('commonName', 'mail.example'), ), ) == smtp.sock.getpeercert()['subject']
            smtp.send_octets(b'Subject: hello\r\n\r\nbody\r\n')
        assert servers[0].outcomes == ['mail, TLS']
        assert tls.send(net.dmz, FRONT, 2001, context, 'implicit') == '451 as greeting'
        assert not servers[1].mails
    finally:
        for server in servers:
            server.close()
