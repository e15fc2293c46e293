# SPDX-License-Identifier: Apache-2.0
"""Mail arrives as it was sent: octet by octet, by several clients, at two kinds of server."""
import os
import random
import re

import pytest

from lab import client, policies, process

ORIGIN = {4: '172.16.20.254', 6: 'fd00:20::254'}
families = pytest.mark.parametrize('family', [4, 6])


def large(size=10 << 20):
    rng = random.Random(4711)
    line = bytes(rng.randrange(32, 127) for _ in range(70)) + b'\r\n'
    return b'Subject: large\r\n\r\n' + line * (size // len(line))


BODIES = {
    'plain': b'Subject: plain\r\n\r\nhello\r\n',
    'first line is a dot': b'.\r\nmore\r\n',
    'first line starts with a dot': b'.first\r\n\r\nmore\r\n',
    'dots': b'Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.x\r\n. \r\n.\t\r\nx.\r\n\r\n.\r\n\r\n',
    'eight bits': b'Subject: \xc3\xa4\r\n\r\n' + bytes(c for c in range(1, 256) if c not in b'\r\n') + b'\r\n\xff\xfe\r\n',
    'empty': b'',
    'one empty line': b'\r\n',
    'header only': b'Subject: x\r\n',
    'long lines': b'\r\n' + b'x' * 998 + b'\r\n' + b'y' * 1000 + b'\r\n' + b'z' * 300000 + b'\r\n.' + b'.' * 70000 + b'\r\n',
    'dots at the edges of buffers': b'\r\n' + b''.join(b'x' * (16380 - i) + b'\r\n.' + b'y' * i + b'\r\n' for i in range(12)),
    'ten megabytes': large(),
}


@families
@pytest.mark.parametrize('body', BODIES, ids=lambda name: name.replace(' ', '-'))
def test_octet_by_octet(net, sink, firewall, family, body):
    firewall(policies.mail())
    with client.Smtp(net.dmz, ORIGIN[family], timeout=60) as smtp:
        smtp.send_octets(BODIES[body])
    message, = sink.messages()
    assert sink.content(message['number']) == BODIES[body]
    assert message['sender'] == 'alice@client.example' and message['recipients'] == ['bob@example.com']


def test_many_on_one_connection(net, sink, firewall):
    firewall(policies.mail())
    sent = list(BODIES[name] for name in BODIES if name != 'ten megabytes')
    with client.Smtp(net.dmz, ORIGIN[4]) as smtp:
        for octets in sent:
            smtp.send_octets(octets)
    assert [sink.content(m['number']) for m in sink.messages()] == sent
    assert len(sink.peers()) == 1


def test_a_body_in_pieces(net, sink, firewall):
    """Segment borders at every place around the dots: one octet a packet."""
    firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN[4]) as raw:
        raw.sock.setsockopt(6, 1, 1)    # TCP_NODELAY
        assert raw.reply()[0] == 220
        for line, code in ((b'EHLO x.example', 250), (b'MAIL FROM:<a@x.example>', 250),
                           (b'RCPT TO:<bob@example.com>', 250), (b'DATA', 354)):
            assert raw.command(line) == code
        for octet in b'..\r\n..a\r\n\r\n.b\r\n\r\n.\r\n':
            raw.send(bytes([octet]))
        assert raw.reply()[0] == 250
        assert raw.command(b'QUIT') == 221
    assert sink.content(1) == b'.\r\n.a\r\n\r\nb\r\n\r\n'


def test_pipelined(net, sink, firewall):
    """A whole transaction in one packet, but for what RFC 2920 wants to wait."""
    firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN[4]) as raw:
        assert raw.reply()[0] == 220
        assert raw.command(b'EHLO x.example') == 250
        recipients = b''.join(b'RCPT TO:<r%d@example.com>\r\n' % i for i in range(20))
        raw.send(b'MAIL FROM:<a@x.example>\r\n' + recipients + b'RCPT TO:<r@elsewhere.example>\r\nDATA\r\n')
        codes = [raw.reply()[0] for _ in range(23)]
        assert codes[:21] == [250] * 21
        assert codes[21] // 100 == 5      # not a relay for that one
        assert codes[22] == 354
        raw.send(b'x\r\n.\r\nQUIT\r\n')
        assert raw.reply()[0] == 250
        assert raw.reply()[0] == 221
        assert raw.at_end()
    message, = sink.messages()
    assert len(message['recipients']) == 20


def body_of(mail):
    """What the client sent, of a message that Postfix stored: behind the headers that it added."""
    end = mail.index(b'\n', mail.index(b'\tfor <')) + 1
    return mail[end:]


@families
def test_postfix_with_smtplib(net, postfix, firewall, family):
    firewall(policies.mail())
    sent = b'Subject: dots-%d\r\nFrom: a@client.example\r\nDate: x\r\nMessage-Id: <1@x>\r\n\r\n.\r\n..\r\n\xff.x\r\n' % family
    with client.Smtp(net.dmz, ORIGIN[family]) as smtp:
        smtp.send_octets(sent)
    mail = postfix.wait_mail(b'Subject: dots-')
    assert body_of(mail) == sent.replace(b'\r\n', b'\n')
    expected = {4: '172.16.40.10', 6: 'fd00:40::10'}[family]
    assert f'connect from unknown[{expected}]' in postfix.log()


@families
def test_postfix_with_swaks(net, postfix, firewall, family):
    firewall(policies.mail())
    done = net.dmz.run('swaks', '--server', f'[{ORIGIN[6]}]' if family == 6 else ORIGIN[4], '--port', '25',
                       '--from', 'alice@client.example', '--to', 'bob@example.com', '--helo', 'client.example',
                       '--header', 'Subject: from swaks', '--body', '.dot first\n\nlast', check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    mail = postfix.wait_mail(b'Subject: from swaks')
    assert b'\n\n.dot first\n\nlast\n' in mail
    # and what the policy does not allow, it is told
    done = net.dmz.run('swaks', '--server', f'[{ORIGIN[6]}]' if family == 6 else ORIGIN[4], '--port', '25',
                       '--from', 'alice@client.example', '--to', 'bob@elsewhere.example', '--quit-after', 'RCPT', check=False)
    assert done.returncode != 0
    assert re.search(r'<\*\* 5\d\d', done.stdout)


def in_chunks(octets, seed, largest, smallest=0):
    """octets as BDAT commands of random sizes, the last one marked and now and then empty."""
    rng = random.Random(seed)
    chunks = []
    while octets:
        size = rng.choice((smallest, 1, rng.randint(1, largest), rng.randint(1, largest)))
        chunks.append(octets[:size])
        octets = octets[size:]
    last = b'' if rng.random() < 0.5 else chunks.pop()
    return [b'BDAT %d\r\n' % len(c) + c for c in chunks] + [b'BDAT %d LAST\r\n' % len(last) + last]


def chunking_origin(received, pipelining):
    """A server with CHUNKING that keeps the octets of whole messages."""
    def script(sock, lines):
        message = b''
        sock.sendall(b'220 origin.example\r\n')
        while line := lines.readline():
            verb, *words = line.split()
            if verb.upper() == b'EHLO':
                sock.sendall(b'250-origin.example\r\n' + b'250-PIPELINING\r\n' * pipelining +
                             b'250-BINARYMIME\r\n250-8BITMIME\r\n250 CHUNKING\r\n')
            elif verb.upper() == b'BDAT':
                message += lines.read(int(words[0]))
                if len(words) > 1:
                    received.append(message)
                    message = b''
                sock.sendall(b'250 2.0.0 Ok: %d octets\r\n' % len(message))
            elif verb.upper() == b'QUIT':
                sock.sendall(b'221 bye\r\n')
                return
            else:
                sock.sendall(b'250 ok\r\n')
    return script


@pytest.mark.parametrize('pipelined', [False, True], ids=['one-by-one', 'pipelined'])
@pytest.mark.parametrize('seed,largest', [(1, 10), (2, 5000), (3, 300000)])
def test_in_chunks(net, scripted, firewall, seed, largest, pipelined):
    received = []
    scripted(chunking_origin(received, pipelined))
    firewall(policies.mail())
    rng = random.Random(seed)
    body = b'Subject: x\r\n\r\n' + b''.join(rng.choice((b'.\r\n', b'\r\n', b'RSET\r\n', rng.randbytes(20).hex().encode() + b'\r\n'))
                                        for _ in range(min(largest, 50000)))
    binary = rng.randbytes(len(body))
    with client.Raw(net.dmz, ORIGIN[4], timeout=60) as raw:
        assert raw.reply()[0] == 220
        raw.send(b'EHLO x.example\r\n')
        assert b'250 CHUNKING\r\n' in raw.reply()[1]
        for octets, parameter in ((body, b''), (binary, b' BODY=BINARYMIME')):
            commands = [b'MAIL FROM:<a@x.example>%s\r\n' % parameter, b'RCPT TO:<bob@example.com>\r\n',
                        *in_chunks(octets, seed, largest)]
            for at in range(0, len(commands), 40 if pipelined else 1):
                group = commands[at:at + 40 if pipelined else at + 1]
                raw.send(b''.join(group))
                assert [raw.reply()[0] for _ in group] == [250] * len(group)
        assert raw.command(b'QUIT') == 221
    assert received == [body, binary]


def test_in_chunks_to_postfix(net, postfix, firewall):
    firewall(policies.mail())
    sent = b'Subject: in chunks\r\nFrom: a@client.example\r\nDate: x\r\nMessage-Id: <1@x>\r\n\r\n.\r\n..\r\n\xff.x\r\n' + \
        b''.join(b'.%d\r\nRSET\r\n' % i for i in range(3000))
    with client.Raw(net.dmz, ORIGIN[4], timeout=30) as raw:
        assert raw.reply()[0] == 220
        raw.send(b'EHLO x.example\r\n')
        assert any(line[4:].strip() == b'CHUNKING' for line in raw.reply()[1])
        # it takes no empty ones but the last
        commands = [b'MAIL FROM:<a@x.example>\r\n', b'RCPT TO:<bob@example.com>\r\n', *in_chunks(sent, 5, 900, 1)]
        for at in range(0, len(commands), 30):
            raw.send(b''.join(commands[at:at + 30]))
            assert [raw.reply()[0] for _ in commands[at:at + 30]] == [250] * len(commands[at:at + 30])
        assert raw.command(b'QUIT') == 221
    mail = postfix.wait_mail(b'Subject: in chunks')
    assert body_of(mail) == sent.replace(b'\r\n', b'\n')


def test_no_chunks_for_a_server_without(net, sink, firewall):
    """aiosmtpd knows no CHUNKING: nobody is told of it, and what looks like a chunk is swallowed whole."""
    firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN[4]) as raw:
        assert raw.reply()[0] == 220
        raw.send(b'EHLO x.example\r\n')
        assert not any(b'CHUNKING' in line.upper() for line in raw.reply()[1])
        assert raw.command(b'MAIL FROM:<a@x.example>') == 250
        assert raw.command(b'RCPT TO:<bob@example.com>') == 250
        assert raw.command(b'BDAT 12 LAST\r\nDATA\r\nQUIT') == 502
        assert raw.command(b'RSET') == 250
        assert raw.command(b'QUIT') == 221
    assert sink.messages() == []


def smtp_source(net, family, *options):
    target = f'inet:[{ORIGIN[6]}]:25' if family == 6 else f'inet:{ORIGIN[4]}:25'
    return process.Program(['smtp-source', '-f', 'alice@client.example', '-t', 'bob@example.com',
                            *options, target], net.dmz)


@families
def test_smtp_source(net, sink, firewall, family):
    firewall(policies.mail())
    source = smtp_source(net, family, '-s', '10', '-m', '200', '-l', '5000', '-c')
    assert source.wait(30) == 0, source.output
    assert len(sink.messages()) == 200
    assert len(sink.peers()) == 200      # a connection each


def test_smtp_source_on_kept_connections_to_postfix(net, postfix, firewall):
    firewall(policies.mail())
    source = smtp_source(net, 4, '-s', '5', '-m', '50', '-l', '2000', '-d')
    assert source.wait(30) == 0, source.output
    process.wait_until(lambda: len(postfix.mails()) == 50, 20, 'fifty mails')


def test_the_client_is_told_when_there_is_no_server(net, firewall):
    firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN[4]) as raw:
        code, lines = raw.reply()
        assert code == 451, lines


def test_plug_passes_octets(net, scripted, firewall):
    """The other proxy: whatever the two sides say, both ways, each side ending by itself."""
    sent = os.urandom(3 << 20)

    def echo_all(sock, lines):
        octets = lines.read()
        sock.sendall(octets[::-1])

    scripted(echo_all)
    firewall(policies.mail(proxy='Soft', classes='''
class Soft(PlugProxy):
    def config(self):
        PlugProxy.config(self)
        self.shutdown_soft = TRUE
'''))
    with client.connect(net.dmz, ORIGIN[4]) as sock:
        sock.sendall(sent)
        sock.shutdown(1)
        with sock.makefile('rb') as lines:
            assert lines.read() == sent[::-1]
