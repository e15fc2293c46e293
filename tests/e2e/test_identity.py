# SPDX-License-Identifier: Apache-2.0
"""Whom the origin takes for its client, and whom the firewall does: forged addresses, PROXY headers, XCLIENT.
The policies and settings are those of docs/guide/client-identity.md."""
import contextlib
import os
import shutil

import pytest

from lab import client, origin, policies, process
from lab.firewall import ROOT

GUIDE = os.path.join(ROOT, 'docs/guide/client-identity.md')


def policy_of(section):
    """The policy of a section of the guide."""
    with open(GUIDE) as f:
        text = f.read().split(f'\n## {section}\n', 1)[1].split('\n## ', 1)[0]
    return text.split('```python\n', 1)[1].split('```', 1)[0]


def setting_of(section):
    """The line for main.cf in a section of the guide."""
    with open(GUIDE) as f:
        text = f.read().split(f'\n## {section}\n', 1)[1].split('\n## ', 1)[0]
    return next(line.strip() + '\n' for line in text.splitlines() if line.startswith('    smtpd_'))


def changed(text, old, new):
    assert old in text
    return text.replace(old, new)


CLIENT = {4: '172.16.40.10', 6: 'fd00:40::10'}
ORIGIN = {4: '172.16.20.254', 6: 'fd00:20::254'}
families = pytest.mark.parametrize('family', [4, 6])


@pytest.fixture
def postfix_with(net):
    """postfix_with(settings): a Postfix at the origin with more lines in main.cf."""
    servers = []

    def start(settings=''):
        servers.append(origin.Postfix(net.servers, settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def deliver(host, address, subject):
    with client.Smtp(host, address) as smtp:
        smtp.send_octets(b'Subject: ' + subject + b'\r\n\r\nhello\r\n')


def names_client(postfix, address):
    """Postfix says so in its log, for each connection and each message."""
    process.wait_until(lambda: f'client=unknown[{address}]' in postfix.log(), 10, f'{address} in the log of Postfix')
    return f'connect from unknown[{address}]' in postfix.log()


@families
def test_forged_address(net, postfix_with, firewall, family):
    postfix = postfix_with()
    firewall(policy_of('Forged address'))
    deliver(net.dmz, ORIGIN[family], b'forged')
    assert names_client(postfix, CLIENT[family])


@families
@pytest.mark.parametrize('version', [1, 2])
def test_proxy_header_to_postfix(net, postfix_with, firewall, family, version):
    postfix = postfix_with(setting_of('PROXY header to the server'))
    firewall(changed(policy_of('PROXY header to the server'), 'proxy_protocol=2', f'proxy_protocol={version}'))
    deliver(net.dmz, ORIGIN[family], b'with a header')
    assert names_client(postfix, CLIENT[family])
    assert b'hello' in postfix.wait_mail(b'Subject: with a header')


@pytest.mark.parametrize('version', [1, 2])
def test_proxy_header_of_plug(net, scripted, firewall, version):
    """The header comes first and alone, whoever speaks first in the protocol behind it."""
    got = []

    def script(sock, lines):
        sock.sendall(b'server speaks\n')
        got.append(sock.recv(4096) if version == 2 else lines.readline())
        sock.sendall(lines.readline())

    scripted(script)
    firewall(policies.mail(f'TransparentRouter(proxy_protocol={version})', proxy='PlugProxy'))
    with client.connect(net.dmz, ORIGIN[4]) as sock:
        assert sock.recv(4096) == b'server speaks\n'
        port = sock.getsockname()[1]
        sock.sendall(b'echo\n')
        assert sock.recv(4096) == b'echo\n'
    if version == 1:
        assert got == [b'PROXY TCP4 172.16.40.10 172.16.20.254 %d 25\r\n' % port]
    else:
        assert got == [b'\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c' + bytes([172, 16, 40, 10, 172, 16, 20, 254])
                       + port.to_bytes(2, 'big') + b'\0\x19']


# ---- from clients ----

HAPROXY = '''
global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend mail
    bind {dmz}:2525
    default_backend firewall
backend firewall
    server firewall {origin}:25 {send}
'''

FAR = {4: '172.16.10.10', 6: 'fd00:10::10'}


@pytest.fixture
def haproxy(net):
    running = []

    def start(family, send):
        folder = origin.shared_folder('sp-haproxy-')
        brackets = '[%s]' if family == 6 else '%s'
        with open(f'{folder}/conf', 'w') as f:
            f.write(HAPROXY.format(dmz=brackets % CLIENT[family], origin=brackets % ORIGIN[family], send=send))
        program = process.Program(['haproxy', '-db', '-f', f'{folder}/conf'], net.dmz)
        running.append((program, folder))
        process.wait_until(lambda: ':2525' in net.dmz.run('ss', '-Hltn', 'sport', '=', ':2525').stdout, 10, 'haproxy is up')

    yield start
    for program, folder in running:
        program.kill()
        shutil.rmtree(folder, ignore_errors=True)


@families
@pytest.mark.parametrize('send', ['send-proxy', 'send-proxy-v2', 'send-proxy-v2-ssl-cn'])
def test_behind_haproxy(net, postfix_with, firewall, haproxy, family, send):
    """The client is haproxy's; the server sees it too, by the address that is forged."""
    postfix = postfix_with()
    # Here the firewall is also the way from the client to the balancer.
    fw = firewall(policy_of('Behind a load balancer') + "    PFService(name='way', router=TransparentRouter(forge_addr=TRUE))\n"
                  "    Rule(service='way', dst_port=2525)\n")
    haproxy(family, send)
    with client.Smtp(net.clients, CLIENT[family], 2525) as smtp:
        smtp.ehlo()
        sessions = fw.ctl_json('sessions')['sessions']     # haproxy may have had to try more than once
        assert sessions
        assert all(s['service'] == 'mail' and FAR[family] in str(s['client_address']) for s in sessions)
        smtp.send_octets(b'Subject: balanced\r\n\r\nhello\r\n')
    assert names_client(postfix, FAR[family])
    assert CLIENT[family] not in postfix.log()
    summary = fw.program.wait_line(lambda line: 'Connection summary' in line and "/mail:" in line)
    assert f"client_address='{FAR[family]}'" in summary and f"peer_address='{CLIENT[family]}'" in summary
    assert "client_from='proxy-header'" in summary


def test_the_balancer_without_a_header(net, postfix_with, firewall, haproxy):
    postfix = postfix_with()
    fw = firewall(policy_of('Behind a load balancer'))
    assert not client.gets_service(net.dmz, ORIGIN[4], timeout=8)
    fw.program.wait_line("No PROXY header from a peer that must send one; fault='client', reason='timeout'")
    haproxy(4, '')
    with pytest.raises(OSError):
        client.Smtp(net.clients, CLIENT[4], 2525, timeout=8)
    assert 'connect from unknown[172' not in postfix.log()


@pytest.mark.parametrize('header', [b'PROXY TCP4 172.16.10.99 172.16.20.254 40000 25\r\n',
                                    b'\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xac\x10\x0a\x63\xac\x10\x14\xfe\x9c\x40\0\x19'])
@pytest.mark.parametrize('when', ['first', 'after the greeting'])
def test_nobody_else_is_believed(net, postfix_with, firewall, header, when):
    postfix = postfix_with()
    fw = firewall(policy_of('Behind a load balancer'))
    with client.connect(net.clients, ORIGIN[4]) as sock, sock.makefile('rb') as lines:
        if when == 'first':
            sock.sendall(header)
            assert lines.readline().startswith((b'554', b'500', b'220'))
        else:
            assert lines.readline().startswith(b'220')
            sock.sendall(header)
            assert lines.readline().startswith(b'500')
        with contextlib.suppress(OSError):
            sock.sendall(b'QUIT\r\n')
            lines.read()
    assert '172.16.10.99' not in postfix.log()
    summary = fw.program.wait_line('Connection summary')
    assert "client_address='172.16.10.10'" in summary and "client_from='connection'" in summary


# ---- XCLIENT ----

AUTHORIZED = setting_of('XCLIENT to the server')


@families
def test_xclient_to_postfix(net, postfix_with, firewall, family):
    postfix = postfix_with(AUTHORIZED)
    firewall(policy_of('XCLIENT to the server'))
    with client.Smtp(net.dmz, ORIGIN[family]) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn('xclient')
        smtp.send_octets(b'Subject: one\r\n\r\nhello\r\n')
        smtp.send_octets(b'Subject: two\r\n\r\nhello\r\n')
    process.wait_until(lambda: postfix.log().count(f'client=unknown[{CLIENT[family]}]') == 2, 10, 'two mails of the client')
    assert b'Received: from client.example (unknown [' in postfix.wait_mail(b'Subject: two')


def test_xclient_over_one_connection(net, postfix_with, firewall):
    """Each mail is its own client's, though all of them come over few connections."""
    postfix = postfix_with(AUTHORIZED)
    fw = firewall(changed(policy_of('XCLIENT to the server'), 'self.send_xclient = TRUE',
                          'self.send_xclient = self.reuse_server_sessions = TRUE'), workers=1)
    addresses = ['172.16.40.101', '172.16.40.102']
    for address in addresses:
        net.dmz.run('ip', 'address', 'add', f'{address}/24', 'dev', 'eth0')
    try:
        for _ in range(3):
            for address in addresses:
                with client.Smtp(net.dmz, ORIGIN[4], source=(address, 0)) as smtp:
                    smtp.ehlo(f'of-{address}.example')
                    smtp.send_octets(f'Subject: of {address}\r\n\r\nhello\r\n'.encode())
    finally:
        for address in addresses:
            net.dmz.run('ip', 'address', 'del', f'{address}/24', 'dev', 'eth0')
    process.wait_until(lambda: len(postfix.mails()) == 6, 20, 'six mails')
    for address in addresses:
        mails = [mail for mail in postfix.mails() if f'Subject: of {address}'.encode() in mail]
        assert len(mails) == 3
        assert all(f'from of-{address}.example (unknown [{address}])'.encode() in mail for mail in mails)
    assert fw.ctl_json('stats')['servers_reused'] >= 4


def test_xclient_to_a_server_that_does_not_trust(net, postfix_with, firewall):
    postfix = postfix_with()
    fw = firewall(policy_of('XCLIENT to the server'))
    with client.Raw(net.dmz, ORIGIN[4]) as raw:
        assert raw.reply()[0] == 220
        assert raw.command(b'EHLO client.example') == 421
        assert raw.at_end()
    fw.program.wait_line("The server does not take the client's address by XCLIENT")
    assert 'client=' not in postfix.log()


@families
@pytest.mark.parametrize('router', ['forge_addr=TRUE', 'proxy_protocol=2'])
def test_xclient_from_a_filter(net, postfix_with, firewall, family, router):
    """A content filter in the dmz passes on who sent the mail; the server sees that client."""
    postfix = postfix_with(setting_of('PROXY header to the server') if 'proxy' in router else '')
    fw = firewall(changed(policy_of('Behind a mail filter'), 'forge_addr=TRUE', router))
    far = FAR[family]
    with client.Smtp(net.dmz, ORIGIN[family]) as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features['xclient'] == 'NAME ADDR PORT DESTADDR DESTPORT'
        assert smtp.docmd('XCLIENT', f'ADDR={"IPV6:" if family == 6 else ""}{far} PORT=4711')[0] == 220
        smtp.ehlo()
        session, = fw.ctl_json('sessions')['sessions']
        assert far in str(session['client_address']) and session['client_zone'] == 'clients'
        smtp.send_octets(b'Subject: filtered\r\n\r\nhello\r\n')
    assert names_client(postfix, far)
    assert b'hello' in postfix.wait_mail(b'Subject: filtered')


def test_xclient_from_nobody_else(net, postfix_with, firewall):
    postfix = postfix_with(AUTHORIZED)
    firewall(changed(changed(policy_of('Behind a mail filter'), "src_zone='dmz'", "src_zone=('dmz', 'clients')"), 'forge_addr=TRUE', ''))
    with client.Smtp(net.clients, ORIGIN[4]) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn('xclient')
        assert smtp.docmd('XCLIENT', 'ADDR=172.16.40.99')[0] == 502
        smtp.send_octets(b'Subject: own\r\n\r\nhello\r\n')
    assert '172.16.40.99' not in postfix.log()
