# SPDX-License-Identifier: Apache-2.0
"""Policy code that fails, hangs or hogs the interpreter: it costs its own command, nothing else."""
import os
import select
import signal

import pytest

from lab import client, policies, process

ORIGIN = '172.16.20.254'

CLASSES = '''
import re, time

class Odd(Mail):
    def config(self):
        Mail.config(self)
        self.request["RCPT"] = (SMTP_REQ_POLICY, self.rcpt)
        self.request["NOOP"] = (SMTP_REQ_POLICY, self.noop)

    def rcpt(self, command, param):
        if 'raise' in param:
            raise RuntimeError('policy code says ouch')
        if 'hang' in param or 'regex' in param:
            log(None, 'core.policy', 3, 'begins with %s', (param,))
        if 'hang' in param:
            time.sleep(3600)
        if 'regex' in param:
            re.match('(a+)+$', 'a' * 64 + 'b')
        if 'reject' in param:
            self.error_code = '551'
            self.error_info = 'not that one'
            return SMTP_REQ_REJECT
        return SMTP_REQ_ACCEPT

    def noop(self, command, param):
        return SMTP_REQ_ACCEPT
'''
ODD = policies.mail(proxy='Odd', classes=CLASSES)


class Session(client.Raw):
    def __init__(self, net, timeout=20):
        super().__init__(net.dmz, ORIGIN, timeout=timeout)
        assert self.reply()[0] == 220
        assert self.command(b'EHLO x.example') == 250
        assert self.command(b'MAIL FROM:<a@x.example>') == 250

    def rcpt(self, name):
        return self.command(b'RCPT TO:<%s@example.com>' % name.encode())

    def deliver(self):
        assert self.command(b'DATA') == 354
        self.send(b'x\r\n.\r\n')
        return self.reply()[0]


def test_callbacks_decide(net, sink, firewall):
    firewall(ODD)
    with Session(net) as s:
        assert s.rcpt('fine') == 250
        s.send(b'RCPT TO:<reject@example.com>\r\n')
        code, lines = s.reply()
        assert code == 551 and b'not that one' in lines[0]
        assert s.deliver() == 250
    assert sink.messages()[0]['recipients'] == ['fine@example.com']


@pytest.mark.parametrize('how', ['raise', 'hang', 'regex'])
def test_a_failing_callback_refuses_that_command_only(net, sink, firewall, how):
    fw = firewall(ODD)
    with Session(net) as s:
        assert s.rcpt('fine') == 250
        code = s.rcpt(how)
        assert code is not None and code // 100 == 4, fw.log
        assert s.rcpt('other') == 250
        assert s.deliver() == 250
    assert sink.messages()[0]['recipients'] == ['fine@example.com', 'other@example.com']
    if how == 'raise':
        fw.program.wait_line('policy code says ouch')


@pytest.mark.parametrize('how', ['hang', 'regex'])
def test_others_are_not_held_up(net, sink, firewall, how):
    """Others get their answers before one whose code is stuck, or when that is known to be so."""
    fw = firewall(ODD, workers=1)
    with Session(net) as stuck, Session(net) as s:
        stuck.send(b'RCPT TO:<%s@example.com>\r\n' % how.encode())
        fw.program.wait_line('begins with')
        for i in range(5):
            assert s.rcpt(f'r{i}') in ((250,) if how == 'hang' else (250, 450, 451)), i
        if how == 'hang':
            assert select.select([stuck.sock], [], [], 0)[0] == []
        assert stuck.reply()[0] // 100 == 4
    with Session(net) as s:     # and then all is as before
        assert s.rcpt('fine') == 250
        assert s.deliver() == 250


def test_a_killed_policy_host_costs_only_its_calls(net, sink, firewall):
    fw = firewall(ODD, workers=1)
    with Session(net) as s:
        assert s.rcpt('one') == 250
        hosts = fw.named('python')
        assert hosts
        # the deepest one serves calls; the zygote above it stays
        os.kill(hosts[-1], signal.SIGKILL)
        codes = []

        def again():
            codes.append(s.rcpt('two'))
            return codes[-1] == 250

        process.wait_until(again, 10, 'calls are answered again')
        assert all(code is not None and code // 100 in (2, 4) for code in codes)
        assert s.deliver() == 250


def test_a_killed_policy_program_is_started_again(net, sink, firewall):
    """Every Python process is gone: calls are refused for now, and answered again later."""
    fw = firewall(ODD, workers=1)
    for pid in fw.named('python'):
        os.kill(pid, signal.SIGKILL)
    with client.Raw(net.dmz, ORIGIN) as raw:      # what needs no policy code is served meanwhile
        assert raw.reply()[0] == 220

    def delivers():
        with Session(net) as s:
            return s.rcpt('again') == 250 and s.deliver() == 250

    process.wait_until(delivers, 20, 'calls are answered again')


def test_many_calls_at_once(net, sink, firewall):
    firewall(ODD)
    sessions = [Session(net) for _ in range(40)]
    for s in sessions:
        s.send(b''.join(b'RCPT TO:<r%d@example.com>\r\n' % i for i in range(10)))
    for s in sessions:
        assert [s.reply()[0] for _ in range(10)] == [250] * 10
        assert s.deliver() == 250
        s.close()
    assert len(sink.messages()) == 40


REWRITING = policies.mail(proxy='Rewriting', classes='''
class Rewriting(Mail):
    """Asks the standard check, then sends something else."""

    def checkRecipient(self, command, param):
        verdict = Mail.checkRecipient(self, command, param)
        if 'inside' in param:
            self.request_param = 'TO:<changed@example.com>'
        elif 'outside' in param:
            self.request_param = 'TO:<changed@elsewhere.example>'
        elif 'route' in param:
            self.request_param = 'TO:<@example.com:changed@elsewhere.example>'
        return verdict
''')


def test_a_rewritten_recipient_is_checked_again(net, sink, firewall):
    firewall(REWRITING)
    with Session(net) as s:
        assert s.rcpt('plain') == 250
        assert s.rcpt('inside') == 250
        assert s.rcpt('outside') == 554
        assert s.rcpt('route') == 554
        assert s.deliver() == 250
    assert sink.messages()[0]['recipients'] == ['plain@example.com', 'changed@example.com']


AUTH = policies.mail(proxy='Asked', classes='''
class Asked(Mail):
    def config(self):
        Mail.config(self)
        self.auth_requires_tls = FALSE
        self.permit_auth_mechanisms = ('PLAIN', 'LOGIN')
        self.request["AUTH"] = (SMTP_REQ_POLICY, self.auth)
        self.response["AUTH", "334"] = (SMTP_RSP_POLICY, self.reply)
        self.response["AUTH", "235"] = (SMTP_RSP_POLICY, self.reply)

    def auth(self, command, param):
        log(None, 'core.policy', 3, 'asked about %s', (repr((command, param, self.request_param)),))
        return SMTP_REQ_ACCEPT

    def reply(self, command, param, code, text):
        log(None, 'core.policy', 3, 'told of %s', (repr((command, param, code, text)),))
        return SMTP_RSP_ACCEPT
''')


def asking_origin(said):
    def script(sock, lines):
        sock.sendall(b'220 origin.example\r\n')
        while line := lines.readline():
            said.append(line)
            if line.startswith(b'EHLO'):
                sock.sendall(b'250-origin.example\r\n250 AUTH GSSAPI PLAIN LOGIN\r\n')
            elif line.startswith(b'AUTH LOGIN'):
                sock.sendall(b'334 VXNlcm5hbWU6\r\n')
            elif line == b'dXNlcg==\r\n':
                sock.sendall(b'334 UGFzc3dvcmQ6\r\n')
            else:
                sock.sendall(b'221 bye\r\n' if line.startswith(b'QUIT') else b'235 ok\r\n')
    return script


def test_policy_code_and_logs_see_no_passwords(net, scripted, firewall):
    said = []
    scripted(asking_origin(said))
    fw = firewall(AUTH, '--logspec', '*.*:9')
    for dialogue in ([(b'AUTH PLAIN AHVzZXIAc2VjcmV0', 235)], [(b'AUTH LOGIN', 334), (b'dXNlcg==', 334), (b'c2VjcmV0', 235)]):
        with client.Raw(net.dmz, ORIGIN) as raw:
            assert raw.reply()[0] == 220
            raw.send(b'EHLO x.example\r\n')
            assert raw.reply()[1][-1] == b'250 AUTH PLAIN LOGIN\r\n'
            for line, code in dialogue:
                assert raw.command(line) == code
                assert line + b'\r\n' == said[-1]
            assert raw.command(b'QUIT') == 221
    process.wait_until(lambda: fw.log.count('told of') == 4, 10, 'all calls are in the log')
    assert "asked about ('AUTH', 'PLAIN', 'PLAIN')" in fw.log
    assert "told of ('AUTH', 'LOGIN', '334', '')" in fw.log
    for secret in ('AHVzZXIAc2VjcmV0', 'dXNlcg', 'c2VjcmV0', 'VXNlcm5hbWU6', 'UGFzc3dvcmQ6'):
        assert secret not in fw.log
