# SPDX-License-Identifier: Apache-2.0
"""Peers that break the rules, on either side: how each ends, whose fault the log says it was, and
that the next session is served."""
import socket
import threading
import time

import pytest

from lab import client, origin, policies, process

ORIGIN = '172.16.20.254'
QUICK = policies.mail(classes='''
class Quick(Mail):
    def config(self):
        Mail.config(self)
        self.timeout = 1500
''', proxy='Quick')


def hello(raw):
    assert raw.reply()[0] == 220
    assert raw.command(b'EHLO x.example') == 250


def envelope(raw):
    hello(raw)
    assert raw.command(b'MAIL FROM:<a@x.example>') == 250
    assert raw.command(b'RCPT TO:<bob@example.com>') == 250


def in_data(raw):
    envelope(raw)
    assert raw.command(b'DATA') == 354


def ended(fw, fault, reason, start=0):
    """The line that says whose fault the end of a session was."""
    def wanted(line):
        return f"fault='{fault}'" in line and (f"reason='{reason}'" in line)
    return fw.program.wait_line(wanted, 10, start)


def next_session_is_served(net, sink):
    before = len(sink.messages())
    with client.Smtp(net.dmz, ORIGIN) as smtp:
        smtp.send_octets(b'next\r\n')
    assert len(sink.messages()) == before + 1


@pytest.mark.parametrize('how', ['close', 'reset', 'vanish'])
def test_a_client_that_is_gone_in_mid_data_leaves_no_message(net, sink, firewall, how):
    fw = firewall(QUICK)
    raw = client.Raw(net.dmz, ORIGIN)
    in_data(raw)
    raw.send(b'Subject: half\r\n\r\n' + b'half of it\r\n' * 5000 + b'.\r')
    time.sleep(0.2)
    if how == 'close':
        raw.close()
    elif how == 'reset':
        raw.lines.close()
        origin.reset(raw.sock)
    ended(fw, 'client', 'timeout' if how == 'vanish' else 'client-closed')
    process.wait_until(lambda: sink.events('disconnect'), 5, 'the origin is left')
    assert sink.messages() == []
    raw.close()
    next_session_is_served(net, sink)


def test_a_client_that_sends_no_more_in_mid_data_is_told(net, sink, firewall):
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        in_data(raw)
        raw.send(b'Subject: half\r\n\r\nhalf of it\r\n.')
        raw.sock.shutdown(socket.SHUT_WR)
        assert raw.reply()[0] == 421
        assert raw.at_end()
    ended(fw, 'client', 'client-closed')
    process.wait_until(lambda: sink.events('disconnect'), 5, 'the origin is left')
    assert sink.messages() == []
    next_session_is_served(net, sink)


# octets of the body, what ends the session
BODY_FLAWS = {
    'bare LF': (b'a\nb\r\n.\r\n', 'body-bare-lf'),
    'bare CR': (b'a\rb\r\n.\r\n', 'body-bare-cr'),
    'NUL': (b'a\0b\r\n.\r\n', 'body-nul'),
    'LF . LF': (b'a\n.\nMAIL FROM:<evil@x>\r\n.\r\n', 'body-bare-lf'),
    'LF . CRLF': (b'a\n.\r\nMAIL FROM:<evil@x>\r\n.\r\n', 'body-bare-lf'),
    'CRLF . LF': (b'a\r\n.\nMAIL FROM:<evil@x>\r\n.\r\n', 'body-bare-lf'),
    'CRLF . CR': (b'a\r\n.\rMAIL FROM:<evil@x>\r\n.\r\n', 'body-bare-cr'),
    'CR . CR': (b'a\r.\rMAIL FROM:<evil@x>\r\n.\r\n', 'body-bare-cr'),
    'CR . CRLF': (b'a\r.\r\nMAIL FROM:<evil@x>\r\n.\r\n', 'body-bare-cr'),
}


@pytest.mark.parametrize('flaw', BODY_FLAWS, ids=lambda name: name.replace(' ', '-'))
def test_a_flawed_body_is_refused(net, sink, firewall, flaw):
    octets, reason = BODY_FLAWS[flaw]
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        in_data(raw)
        raw.send(octets)
        code, _ = raw.reply()
        assert code is not None and code // 100 in (4, 5)
        assert raw.at_end()
    ended(fw, 'client', reason)
    process.wait_until(lambda: sink.events('disconnect'), 5, 'the origin is left')
    assert sink.messages() == []
    next_session_is_served(net, sink)


@pytest.mark.parametrize('line', [b'NOOP\n', b'NO\rOP\r\n', b'NOOP\0\r\n', b'NOOP \x7f\r\n'],
                         ids=['bare-LF', 'bare-CR', 'NUL', 'DEL'])
def test_a_flawed_command_is_refused(net, sink, firewall, line):
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        hello(raw)
        raw.send(line)
        code, _ = raw.reply()
        assert code is None or code // 100 in (4, 5)
    fw.program.wait_line('smtp.violation')
    next_session_is_served(net, sink)


def test_an_overlong_command_is_refused(net, sink, firewall):
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        hello(raw)
        assert raw.command(b'NOOP ' + b'x' * 600) // 100 == 5       # a long line: refused
        raw.send(b'x' * 100000)                                     # a line without end: over
        assert raw.reply()[0] // 100 in (4, 5)
        assert raw.at_end()
    fw.program.wait_line("fault='client'")
    next_session_is_served(net, sink)


def test_an_early_talker_is_refused(net, sink, firewall, scripted):
    sink.close()

    spoken = threading.Event()

    def slow(sock, lines):
        spoken.wait(20)
        sock.sendall(b'220 late\r\n')
        lines.readline()

    scripted(slow)
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        raw.send(b'EHLO x.example\r\n')
        spoken.set()
        code, _ = raw.reply()
        assert code == 554
        assert raw.at_end()
    fw.program.wait_line("fault='client'")


def greet(sock, lines, *after):
    """A server that greets, answers EHLO, and then says these, one a command."""
    sock.sendall(b'220 here\r\n')
    lines.readline()
    sock.sendall(b'250 here\r\n')
    for octets in after:
        lines.readline()
        sock.sendall(octets)
    lines.readline()


SERVER_FLAWS = {
    'code changes': (b'250-one\r\n251 two\r\n', 'reply-code-changed'),
    'bare LF': (b'250 one\n', 'reply-bare-lf'),
    'bare CR': (b'250 o\rne\r\n', 'reply-bare-cr'),
    'NUL': (b'250 o\0ne\r\n', 'reply-control'),
    'no number': (b'hello\r\n', 'reply-not-numeric'),
    'long line': (b'250 ' + b'x' * 5000 + b'\r\n', 'reply-line-too-long'),
    'endless': (b'250-x\r\n' * 3000, 'reply-too-many-lines'),
}


@pytest.mark.parametrize('flaw', SERVER_FLAWS, ids=lambda name: name.replace(' ', '-'))
def test_a_lying_server(net, firewall, scripted, flaw):
    octets, reason = SERVER_FLAWS[flaw]
    scripted(lambda sock, lines: greet(sock, lines, octets))
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        hello(raw)
        assert raw.command(b'MAIL FROM:<a@x.example>') == 421
        assert raw.at_end()
    ended(fw, 'server', reason)


def test_garbage_before_the_greeting(net, firewall, scripted):
    scripted(lambda sock, lines: (sock.sendall(b'\x15\x03\x01 garbage\r\n220 hello\r\n'), lines.readline()))
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        assert raw.reply()[0] == 421
        assert raw.at_end()
    fw.program.wait_line("fault='server'")


def test_a_reply_that_nobody_asked_for(net, firewall, scripted):
    heard = threading.Event()

    def chatty(sock, lines):
        sock.sendall(b'220 here\r\n')
        lines.readline()
        sock.sendall(b'250 here\r\n')
        heard.wait(20)
        sock.sendall(b'250 and more\r\n')
        lines.readline()

    scripted(chatty)
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        hello(raw)
        heard.set()
        assert raw.reply()[0] in (421, None)
    fw.program.wait_line("fault='server'")


@pytest.mark.parametrize('where', ['greeting', 'command', 'data', 'final dot'])
def test_a_silent_server(net, firewall, scripted, where):
    def silent(sock, lines):
        if where == 'greeting':
            lines.read()    # until the other side gives up
        sock.sendall(b'220 here\r\n')
        for line in lines:
            verb = line[:4].upper()
            if verb == b'DATA':
                if where == 'data':
                    lines.read()
                sock.sendall(b'354 go\r\n')
                while lines.readline() not in (b'.\r\n', b''):
                    pass
                lines.read()
            if verb == b'MAIL' and where == 'command':
                lines.read()
            sock.sendall(b'250 ok\r\n')

    scripted(silent)
    fw = firewall(QUICK)
    start = time.monotonic()
    with client.Raw(net.dmz, ORIGIN) as raw:
        if where == 'greeting':
            assert raw.reply()[0] == 421
        elif where == 'command':
            hello(raw)
            assert raw.command(b'MAIL FROM:<a@x.example>') == 421
        else:
            envelope(raw)
            code = raw.command(b'DATA')
            if where == 'final dot':
                assert code == 354
                raw.send(b'x\r\n.\r\n')
                code, _ = raw.reply()
            assert code // 100 == 4
    assert time.monotonic() - start > 1
    ended(fw, 'server', 'timeout')


@pytest.mark.parametrize('how', ['close', 'reset'])
@pytest.mark.parametrize('where', ['greeting', 'command', 'data'])
def test_a_server_that_is_gone(net, firewall, scripted, where, how):
    def leave(sock, lines):
        time.sleep(0.2)     # so that the connection stands
        if where != 'greeting':
            sock.sendall(b'220 here\r\n')
            lines.readline()
            sock.sendall(b'250 ok\r\n')
            lines.readline()
        if where == 'data':
            sock.sendall(b'250 ok\r\n')
            lines.readline()
            sock.sendall(b'250 ok\r\n')
            lines.readline()
            sock.sendall(b'354 go\r\n')
            lines.readline()
        if how == 'reset':
            lines.close()
            origin.reset(sock)

    scripted(leave)
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        if where == 'greeting':
            code, _ = raw.reply()
        elif where == 'command':
            hello(raw)
            code = raw.command(b'MAIL FROM:<a@x.example>')
        else:
            in_data(raw)
            raw.send(b'x\r\n')
            time.sleep(0.3)
            try:
                raw.send(b'y\r\n.\r\n')
            except (BrokenPipeError, ConnectionResetError):
                pass
            code, _ = raw.reply()
        assert code is not None and code // 100 == 4
        assert raw.at_end()
    fw.program.wait_line("fault='server'")
    if where != 'greeting':
        fw.program.wait_line(lambda line: 'smtp.accounting' in line and "result='failure'" in line, 5)


def test_a_client_that_floods_refused_commands(net, sink, firewall):
    firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        hello(raw)
        raw.send(b'EVIL x\r\n' * 2000)
        codes = [raw.reply()[0] for _ in range(2000)]
        refused = codes[:codes.index(421)]      # max_errors
        assert refused and all(code // 100 == 5 for code in refused)
        assert not any(codes[len(refused) + 1:])
    next_session_is_served(net, sink)


def test_many_half_open_sessions_do_not_hold_up_others(net, sink, firewall):
    firewall(policies.mail())
    idle = [client.connect(net.dmz, ORIGIN) for _ in range(200)]
    try:
        next_session_is_served(net, sink)
    finally:
        for sock in idle:
            origin.reset(sock)


def test_a_log_line_cannot_be_forged(net, sink, firewall):
    fw = firewall(policies.mail(), '--verbose', '7')
    with client.Raw(net.dmz, ORIGIN) as raw:
        assert raw.reply()[0] == 220
        raw.command(b"EHLO x'; fault='none\x1b[2J")
        raw.command(b"FOO a\tb'\\ ready")
    fw.program.wait_line('Connection summary')
    assert '\x1b' not in fw.log
    for line in fw.program.lines:
        assert not line.startswith(' ready') and "fault='none\x1b" not in line


LIMITED = policies.mail(proxy='Limited', classes='''
class Limited(Mail):
    max_message_size = 65536
''')


@pytest.mark.parametrize('octets', [200_000, 17 << 20])
def test_a_message_over_the_limit_is_cut(net, sink, firewall, octets):
    """Refused at its end; one that does not end is refused in the middle."""
    firewall(LIMITED)
    with client.Raw(net.dmz, ORIGIN, timeout=60) as raw:
        envelope(raw)
        assert raw.command(b'DATA') == 354
        raw.send((b'x' * 98 + b'\r\n') * (octets // 100))
        if octets < 1 << 20:
            raw.send(b'.\r\n')
        assert raw.reply()[0] == 552
        assert raw.at_end()
    assert sink.messages() == []
