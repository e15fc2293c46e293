# SPDX-License-Identifier: Apache-2.0
"""Server connections that serve several clients: fewer of them, no mail lost, and nobody under another's name."""
import re

import pytest

from lab import client, origin, policies, process

ORIGIN = '172.16.20.254'
TARGET = f'inet:{ORIGIN}:25'
REUSE = '''
class Reuse(Mail):
    def config(self):
        Mail.config(self)
        self.reuse_server_sessions = TRUE
'''


def policy(router):
    return policies.mail(router, proxy='Reuse', classes=REUSE)


OWN = policy('TransparentRouter(forge_addr=FALSE)')
FORGED = policy('TransparentRouter(forge_addr=TRUE)')


def send(net, count, source=None, greeting=None):
    for number in range(count):
        with client.Smtp(net.dmz, ORIGIN, source=source) as smtp:
            if greeting:
                smtp.ehlo(greeting)
            smtp.send_octets(b'Subject: %d\r\n\r\n' % number)


def test_a_hundred_clients_few_connections(net, sink, firewall):
    fw = firewall(OWN, workers=1)
    send(net, 100)
    assert [sink.content(m['number']) for m in sink.messages()] == [b'Subject: %d\r\n\r\n' % n for n in range(100)]
    assert len(sink.peers()) == 1
    assert fw.ctl_json('stats')['servers_reused'] >= 99
    def all_summaries():
        return [line for line in fw.log.splitlines() if 'Connection summary' in line]

    process.wait_until(lambda: len(all_summaries()) == 100, 5, 'all sessions are accounted')    # lines wait for company
    summaries = all_summaries()
    assert all(f"server_address='{ORIGIN}'" in line for line in summaries)
    assert sum("server_reused='yes'" in line for line in summaries) >= 99
    # The hundredth message used it up, as reuse_max_messages says.
    assert fw.ctl_json('stats')['servers_idle'] == 0
    send(net, 1)
    process.wait_until(lambda: fw.ctl_json('stats')['servers_idle'] == 1, 5, 'the next one is kept')


def test_postfix_takes_them_all(net, postfix, firewall):
    firewall(OWN, workers=1)
    send(net, 40)
    process.wait_until(lambda: len(postfix.mails()) == 40, 20, 'all mails are there')
    assert postfix.log().count(': connect from ') <= 4
    # It heard each client's own name, and no reply of it was a refusal.
    assert not re.search(r'improper|too many errors|lost connection after [DMR]', postfix.log())


def test_each_client_says_its_own_name(net, sink, firewall):
    firewall(policy('TransparentRouter(forge_addr=FALSE)').replace('Mail.config(self)\n        self.reuse',
             'Mail.config(self)\n        self.add_received_header = TRUE\n        self.reuse'), workers=1)
    for name in ('one.example', 'two.example', 'three.example'):
        send(net, 1, greeting=name)
    assert len(sink.peers()) == 1
    assert [re.search(rb'from (\S+)', sink.content(m['number']))[1] for m in sink.messages()] == \
        [b'one.example', b'two.example', b'three.example']


def test_restarts_of_the_origin_lose_nothing(net, firewall):
    firewall(OWN, workers=1)
    for number in range(5):
        server = origin.Sink(net.servers)
        try:
            send(net, 3)
            assert len(server.messages()) == 3 and len(server.peers()) == 1
        finally:
            server.close()


def test_forged_clients_share_nothing(net, sink, firewall):
    """Each client's mail comes from its own address, whatever is idle of the others."""
    firewall(FORGED, workers=1)
    addresses = [f'172.16.40.{n}' for n in range(101, 106)]
    for address in addresses:
        net.dmz.run('ip', 'address', 'add', f'{address}/24', 'dev', 'eth0')
    try:
        for _ in range(3):
            for address in addresses:
                send(net, 1, source=(address, 0))
    finally:
        for address in addresses:
            net.dmz.run('ip', 'address', 'del', f'{address}/24', 'dev', 'eth0')
    assert [m['peer'][0] for m in sink.messages()] == addresses * 3
    assert sorted(p[0] for p in sink.peers()) == addresses


@pytest.mark.parametrize('text', [OWN, FORGED], ids=['own address', 'forged'])
def test_reloads_under_load_lose_nothing(net, sink, firewall, text):
    fw = firewall(text)
    source = process.Program(['smtp-source', '-f', 'a@client.example', '-t', 'bob@example.com', '-s', '10', '-m', '2000',
                              '-l', '2000', '-c', TARGET], net.dmz)
    reloads = 0
    while source.is_running() and reloads < 15:
        fw.ctl('reload')
        reloads += 1
    assert source.wait(120) == 0, source.output
    assert reloads > 0
    assert len(sink.messages()) == 2000
    assert len(sink.peers()) < 1000
    process.wait_until(lambda: len(fw.ctl_json('status')['generations']) == 1, 20, 'old generations end')
