# SPDX-License-Identifier: Apache-2.0
"""Whom the origin takes for its client, and whom the firewall does: forged addresses, PROXY headers, XCLIENT.
The policies and settings are those of docs/guide/client-identity.md."""
import pytest

from lab import client, origin, policies, process

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
    firewall(policies.mail('TransparentRouter(forge_addr=TRUE)'))
    deliver(net.dmz, ORIGIN[family], b'forged')
    assert names_client(postfix, CLIENT[family])


@families
@pytest.mark.parametrize('version', [1, 2])
def test_proxy_header_to_postfix(net, postfix_with, firewall, family, version):
    postfix = postfix_with('smtpd_upstream_proxy_protocol = haproxy\n')
    firewall(policies.mail(f'TransparentRouter(proxy_protocol={version})'))
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
