# SPDX-License-Identifier: Apache-2.0
"""Clients that people use, through the firewall, to servers that people use: each with each.

What must hold is a rule, not a list of cases: an extension reaches the client when the server
offers it and the proxy polices it. A client that can use it then does, and the server sees that
it does; without it the client falls back or gives up, as is its way. Whatever is taken arrives
octet by octet, with the envelope that the client gave.

docs/reference/smtp-peers.md shows the outcome. It is written from what was seen here, with
SALLYPORT_WRITE_PEERS=1 in the environment, and compared with it otherwise.
"""
import concurrent.futures
import os
import shutil

import pytest

from lab import client, origin, policies, process, sasl, unpacked, wire
from lab.firewall import ROOT, Firewall
from lab.mailers import CLIENTS, Letter, keywords

# One row an extension: does the proxy police it? What it does not is kept from the client.
POLICED = {
    'PIPELINING': True,
    'SIZE': True,
    '8BITMIME': True,
    'SMTPUTF8': True,
    'DSN': True,
    'CHUNKING': True,
    'AUTH': True,
    'ENHANCEDSTATUSCODES': True,
    'ETRN': True,
    'VRFY': True,
    'EXPN': True,
    'HELP': True,
    'PIPECONNECT': False,   # Exim's own: commands before the greeting
}

# What shows, in the commands that the server got, that an extension was used.
TRACE = {
    'SIZE': b' SIZE=',
    '8BITMIME': b' BODY=8BITMIME',
    'SMTPUTF8': b' SMTPUTF8',
    'DSN': b' NOTIFY=',
    'CHUNKING': b'BDAT ',
    'AUTH': b'AUTH PLAIN',
}

VERBS = ('VRFY bob@example.com', 'EXPN bob@example.com', 'HELP', 'ETRN example.com', 'NOOP', 'RSET')

# Accepted by the policy without exception: what is kept back then is the proxy's own doing.
POLICY = policies.mail(proxy='Peers', classes=f'''
class Peers(Mail):
    def config(self):
        Mail.config(self)
        self.auth_requires_tls = FALSE
        for keyword in {sorted(POLICED)}:
            self.extensions[keyword] = SMTP_EXT_ACCEPT
        for verb in ("VRFY", "EXPN", "HELP"):
            self.request[verb] = SMTP_REQ_ACCEPT
            self.response[verb, "*"] = SMTP_RSP_ACCEPT
''')

TEXT = b'.\r\n..\r\n.dot first\r\n\r\n. \r\nQUIT\r\n.\r\n' + b'x' * 900 + b'\r\n' + b'0123456789\r\n' * 9000 + b'last\r\n'
EIGHT_BITS = 'Zoë – naïve café\r\n'.encode() + bytes(range(128, 256)) + b'\r\n'


class Postfix(origin.Postfix):
    """With accounts, and addresses beyond ASCII."""

    SETTINGS = 'smtputf8_enable = yes\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\n'

    def __init__(self, host, port):
        self.accounts = sasl.Accounts()
        super().__init__(host, self.SETTINGS + f'smtpd_sasl_path = {self.accounts.server_address}\n', port)

    def close(self):
        super().close()
        self.accounts.close()


SERVERS = {
    'postfix': Postfix,
    'exim': unpacked.Exim,
    'opensmtpd': unpacked.OpenSmtpd,
    'aiosmtpd': lambda host, port: origin.Sink(host, port, 'auth'),
}


class Peer:
    """One server, the wire before it, and what it offers to whom asks it directly."""

    def __init__(self, net, number, name):
        self.address = f'172.16.20.{11 + number}'
        self.port = 2500 + number
        self.server = SERVERS[name](net.servers, self.port)
        try:
            net.servers.run('ip', 'addr', 'add', f'{self.address}/23', 'dev', 'eth0')
            self.wire = wire.Wire(net.servers, self.address, self.port)
            with client.Raw(net.servers, '127.0.0.1', self.port) as raw:
                raw.reply()
                raw.send(b'EHLO client.example\r\n')
                self.offers = keywords([line.decode() for line in raw.reply()[1]])
        except BaseException:
            self.server.close()
            raise

    def stored(self, letter):
        def search():
            mark = f'Subject: {letter.name}\n'.encode()        # reports of delivery quote it in their body
            return [mail for mail in self.server.mails() if mark in mail.partition(b'\n\n')[0] + b'\n']
        return process.wait_until(search, 20, f'the message {letter.name} at the server')

    def close(self):
        self.wire.close()
        self.server.close()


class Peers:
    def __init__(self, net):
        self.folder = origin.shared_folder('sp-peers-')
        self.by_name = {}
        self.running = []
        self.seen = {}      # what the page shows: (client, server, extension) -> a word
        try:
            self._start(net)
        except BaseException:
            self.close()
            raise

    def _start(self, net):
        """All at once: each of them mostly waits."""
        with concurrent.futures.ThreadPoolExecutor() as threads:
            starting = {name: threads.submit(Peer, net, n, name) for n, name in enumerate(SERVERS)}
            self.running.append(Firewall(net, POLICY))
        for name, peer in starting.items():
            if peer.exception() is None:
                self.by_name[name] = peer.result()
        for peer in starting.values():
            peer.result()

    def close(self):
        for one in [*self.running, *self.by_name.values()]:
            one.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope='module')
def peers(net):
    all_of_them = Peers(net)
    try:
        yield all_of_them
    finally:
        all_of_them.close()


def path(mailbox):
    return f'<{mailbox}>'.encode()


def check_envelope(commands, letter):
    """MAIL and RCPT as the client gave them, each once; parameters are others' business."""
    paths = [line[:line.index(b'>') + 1].split(b':', 1) for line in commands if line[:4].upper() in (b'MAIL', b'RCPT')]
    assert [p[1].strip() for p in paths] == [path(letter.sender), *map(path, letter.recipients)]
    assert [p[0].upper() for p in paths] == [b'MAIL FROM', *[b'RCPT TO'] * len(letter.recipients)]


def check_arrival(peer, letter, commands, messages):
    check_envelope(commands, letter)
    assert messages == [letter.octets]
    for mail in peer.stored(letter):
        assert mail.endswith(letter.octets.replace(b'\r\n', b'\n'))


def was_used(extension, report, commands):
    if extension == 'PIPELINING':   # the client's own account: on the wire packets may have joined
        return report.pipelined()
    return any(TRACE[extension] in line for line in commands)


def letter_for(mailer, server, extension):
    name = f'{mailer.name}-{server}-{(extension or "plain").lower()}'
    if extension == 'SMTPUTF8':
        return Letter(name, EIGHT_BITS, 'älice@example.com', ['bób@example.com'])
    return Letter(name, EIGHT_BITS if extension == '8BITMIME' else TEXT)


TRIALS = [pytest.param(mailer, server, extension, id=f'{mailer.name}-{server}-{extension or "plain"}')
          for server in SERVERS for mailer in CLIENTS for extension in [None, *mailer.uses]]


@pytest.mark.parametrize('mailer,server,extension', TRIALS)
def test_each_with_each(net, peers, mailer, server, extension):
    peer = peers.by_name[server]
    letter = letter_for(mailer, server, extension)
    report = mailer.send(net.dmz, peer.address, letter, extension, peers.folder)
    commands, messages, _ = peer.wire.last().read()

    # What the client was offered, by its own account: of those that ask.
    through = {keyword for keyword in peer.offers if POLICED.get(keyword, False)}
    if mailer.name != 'smtp-source':
        assert report.offered() == through, report.account

    if extension is None:
        assert report.taken, report.account
        check_arrival(peer, letter, commands, messages)
        return
    if extension in through:
        assert report.taken and was_used(extension, report, commands), (report.account, commands)
        outcome = 'used'
    else:
        assert not was_used(extension, report, commands), (report.account, commands)
        assert report.taken == (mailer.uses[extension] == 'sends'), report.account
        outcome = 'sends without' if report.taken else 'gives up'
    if report.taken:
        check_arrival(peer, letter, commands, messages)
    else:
        assert messages == []
    peers.seen[mailer.name, server, extension] = outcome


def codes_of(host, address, port, lines):
    """Code of the reply to each line, in a session that said EHLO."""
    with client.Raw(host, address, port) as raw:
        assert raw.reply()[0] == 220
        assert raw.command(b'EHLO client.example') == 250
        codes = [raw.command(line.encode()) for line in lines]
        assert raw.command(b'QUIT') == 221
        return codes


@pytest.mark.parametrize('server', SERVERS)
def test_verbs_are_answered_by_the_server(net, peers, server):
    peer = peers.by_name[server]
    lines = [line for line in VERBS if not line.startswith('ETRN') or 'ETRN' in peer.offers]
    assert codes_of(net.dmz, peer.address, 25, lines) == codes_of(net.servers, '127.0.0.1', peer.port, lines)
    commands, _, _ = peer.wire.last().read()
    assert [line.decode() for line in commands[1:-1]] == lines


def test_what_was_not_offered_is_refused(net, peers):
    """To whom does not mind what was offered: by the proxy, and the server does not hear of it."""
    tried = {'ETRN': 'ETRN example.com', 'AUTH': 'AUTH PLAIN AGFsaWNlAHNlY3JldA==', 'DSN': 'MAIL FROM:<a@example.com> RET=HDRS',
             'SMTPUTF8': 'MAIL FROM:<a@example.com> SMTPUTF8', 'SIZE': 'MAIL FROM:<a@example.com> SIZE=1'}
    for name, peer in peers.by_name.items():
        lines = [line for keyword, line in tried.items() if keyword not in peer.offers or not POLICED[keyword]]
        codes = codes_of(net.dmz, peer.address, 25, lines)
        assert all(code // 100 == 5 for code in codes), (name, lines, codes)
        assert peer.wire.last().read()[0] == [b'EHLO client.example', b'QUIT'], name


PAGE = os.path.join(ROOT, 'docs', 'reference', 'smtp-peers.md')

PAGE_HEAD = '''# SMTP: clients and servers that were tried

Written by `tests/e2e/test_peers.py` from what it saw, and compared with it whenever the tests run
(`SALLYPORT_WRITE_PEERS=1` in the environment writes it anew). Each client sends messages through the firewall to each
server, on plain connections, with a policy that accepts all of these extensions and commands. Every
message that was taken arrived octet by octet, with the envelope that the client gave.

## What reaches the client

An extension is offered to the client when the server offers it *and* the proxy polices it.

'''

PAGE_CLIENTS = '''
## What the clients do with it

*used*: the server saw that it was. *sends without* and *gives up*: the extension was not offered, and that is the
client's way then. smtp-source says HELO and asks for nothing; its messages arrive at all of them.

'''


def table(head, rows):
    lines = [head, ['---'] * len(head), *rows]
    return ''.join('| ' + ' | '.join(line) + ' |\n' for line in lines)


def page(peers):
    offered = sorted(set(POLICED).union(*(peer.offers for peer in peers.by_name.values())))

    def passed(keyword, name):
        if keyword not in peers.by_name[name].offers:
            return '–'
        return 'offered' if POLICED.get(keyword, False) else 'held back'

    text = PAGE_HEAD + table(['extension', *SERVERS], [[k, *(passed(k, name) for name in SERVERS)] for k in offered])
    rows = [[mailer.name, extension, *(peers.seen[mailer.name, name, extension] for name in SERVERS)]
            for mailer in CLIENTS for extension in mailer.uses]
    return text + PAGE_CLIENTS + table(['client', 'extension', *SERVERS], rows)


def test_the_page_is_true(peers):
    """The last one: of what the others saw."""
    if len(peers.seen) < sum(len(mailer.uses) for mailer in CLIENTS) * len(SERVERS):
        pytest.skip('wants the outcome of all the others')
    if os.environ.get('SALLYPORT_WRITE_PEERS'):
        with open(PAGE, 'w') as f:
            f.write(page(peers))
    with open(PAGE) as f:
        assert f.read() == page(peers)
