# SPDX-License-Identifier: Apache-2.0
"""Clients that people use, each with one way to be told what to send, and its own account of what
the server offered and which commands it sent before which reply."""
import os
import random
import re
import smtplib
import subprocess

from . import client

NAME = 'client.example'


class Letter:
    def __init__(self, name, text, sender='alice@example.com', recipients=('bob@example.com', 'carol@example.com')):
        self.name = name
        self.sender = sender
        self.recipients = list(recipients)
        # Complete, so that no server has a header to add below the line of its own.
        self.octets = (f'From: <{sender}>\r\nDate: Tue, 24 Nov 2026 20:00:00 +0000\r\n'
                       f'Message-ID: <{name}@{NAME}>\r\nSubject: {name}\r\n\r\n').encode() + text

    def file(self, folder, octets):
        path = os.path.join(folder, self.name)
        with open(path, 'wb') as f:
            f.write(octets)
        return path


class Report:
    """What a client says of its session: was the message taken, what was offered, the dialogue as
    ('C' or 'S', line)."""

    def __init__(self, taken, lines, account=''):
        self.taken = taken
        self.lines = lines
        self.account = account

    @classmethod
    def of(cls, done, sent, received):
        """From a program's output, whose lines of the dialogue have these marks."""
        output = done.stdout + done.stderr
        lines = []
        for line in output.splitlines():
            match = re.match(f'(?:({sent})|({received}))(.*)', line)
            if match:
                lines.append(('C' if match[1] else 'S', match[3].rstrip('\r')))
        return cls(done.returncode == 0, lines, output)

    def offered(self):
        """Keywords of the reply to the last EHLO."""
        words, listening = [], False
        for side, line in self.lines:
            if side == 'C':
                listening = line.upper().startswith('EHLO')
                words = [] if listening else words
                if not listening and words:
                    break
            elif listening:
                words.append(line)
        return keywords(words)

    def pipelined(self):
        """Was RCPT sent before MAIL was answered?"""
        return any(a[0] == b[0] == 'C' and a[1].startswith('MAIL') and b[1].startswith('RCPT')
                   for a, b in zip(self.lines, self.lines[1:]))


def keywords(reply_lines):
    """The extensions of an EHLO reply: all lines but the first, without code and arguments."""
    found = set()
    for line in reply_lines[1:]:
        word = line[4:].split()
        if word:
            found.add(word[0].upper().split('=')[0])
    return found


def program(host, *command, octets=None):
    with open(os.devnull if octets is None else octets, 'rb') as f:
        done = subprocess.run(host.command(*command), stdin=f, capture_output=True, timeout=60, check=False)
    done.stdout = done.stdout.decode('utf-8', 'replace')
    done.stderr = done.stderr.decode('utf-8', 'replace')
    return done


class Swaks:
    name = 'swaks'
    uses = {'PIPELINING': 'sends', 'AUTH': 'gives up'}

    def send(self, host, address, letter, extension, folder):
        options = {'PIPELINING': ['--pipeline'],
                   'AUTH': ['--auth', 'PLAIN', '--auth-user', 'alice', '--auth-password', 'secret']}.get(extension, [])
        # it ends the last line itself
        path = letter.file(folder, letter.octets.replace(b'\r\n', b'\n').removesuffix(b'\n'))
        done = program(host, 'swaks', '--server', address, '--helo', NAME, '--from', letter.sender,
                       '--to', ','.join(letter.recipients), '--data', f'@{path}', *options)
        return Report.of(done, r' [-~*]> ', r'<[-~*][-~*]? +')


class Curl:
    name = 'curl'
    uses = {'SIZE': 'sends', 'AUTH': 'sends', 'SMTPUTF8': 'gives up'}

    def send(self, host, address, letter, extension, folder):
        options = {'AUTH': ['--user', 'alice:secret']}.get(extension, [])
        recipients = [word for recipient in letter.recipients for word in ('--mail-rcpt', recipient)]
        done = program(host, 'curl', '-s', '-v', f'smtp://{address}/{NAME}', '--mail-from', letter.sender, *recipients,
                       '--upload-file', letter.file(folder, letter.octets), *options)
        return Report.of(done, '> ', '< ')


class Msmtp:
    name = 'msmtp'
    uses = {'PIPELINING': 'sends', 'DSN': 'gives up', 'AUTH': 'gives up'}

    def send(self, host, address, letter, extension, folder):
        options = {'DSN': ['--dsn-notify=success', '--dsn-return=headers'],
                   'AUTH': ['--auth=plain', '--user=alice', '--passwordeval=echo secret']}.get(extension, [])
        done = program(host, 'msmtp', '--debug', f'--host={address}', '--port=25', '--tls=off', f'--domain={NAME}', *options,
                       '-f', letter.sender, *letter.recipients,
                       octets=letter.file(folder, letter.octets.replace(b'\r\n', b'\n')))
        return Report.of(done, '--> ', '<-- ')


class SmtpSource:
    """It says HELO."""

    name = 'smtp-source'
    uses = {}

    def send(self, host, address, letter, extension, folder):
        letter.recipients = letter.recipients[:1]       # several are made by numbering one
        path = letter.file(folder, letter.octets.replace(b'\r\n', b'\n'))
        letter.octets += b'\r\n'        # it puts an empty line behind a file
        done = program(host, 'smtp-source', '-v', '-F', path, '-M', NAME, '-f', letter.sender, '-t', letter.recipients[0],
                       f'inet:{address}:25')
        # it marks what it receives; what it sends stands there bare
        return Report.of(done, 'smtp-source: (?=HELO|MAIL|RCPT|DATA|QUIT|[.])', 'smtp-source: <<< ')


class Smtplib:
    name = 'smtplib'
    uses = {'SIZE': 'sends', '8BITMIME': 'sends', 'SMTPUTF8': 'gives up', 'DSN': 'sends', 'AUTH': 'gives up',
            'CHUNKING': 'gives up'}

    def send(self, host, address, letter, extension, folder):
        lines = []
        smtp = _Telling(host, address, lines)
        try:
            with smtp:
                smtp.ehlo()
                if extension == 'AUTH':
                    smtp.login('alice', 'secret')
                if extension == 'CHUNKING' and not smtp.has_extn('CHUNKING'):
                    raise smtplib.SMTPNotSupportedError('no CHUNKING')
                if extension == 'SMTPUTF8' and not smtp.has_extn('SMTPUTF8'):
                    raise smtplib.SMTPNotSupportedError('no SMTPUTF8')
                send = smtp.in_chunks if extension == 'CHUNKING' else smtp.sendmail
                send(letter.sender, letter.recipients, letter.octets, *self.parameters(smtp, extension))
            taken = True
        except smtplib.SMTPException as problem:
            lines.append(('!', repr(problem)))
            taken = False
        return Report(taken, lines, '\n'.join(f'{side} {line}' for side, line in lines))

    @staticmethod
    def parameters(smtp, extension):
        """Of MAIL, of RCPT."""
        wanted = {'8BITMIME': (['BODY=8BITMIME'], []), 'SMTPUTF8': (['SMTPUTF8', 'BODY=8BITMIME'], []),
                  'DSN': (['RET=HDRS', 'ENVID=QQ314159'], ['NOTIFY=SUCCESS,FAILURE', 'ORCPT=rfc822;b+2Bob@example.com'])}
        return wanted.get(extension, ([], [])) if smtp.has_extn(extension or '') else ([], [])


class _Telling(client.Smtp):
    """Writes down its dialogue."""

    def __init__(self, host, address, lines):
        self.told = lines
        super().__init__(host, address)

    def putcmd(self, cmd, args=''):
        self.told.append(('C', f'{cmd} {args}'.rstrip()))
        super().putcmd(cmd, args)

    def getreply(self):
        code, text = super().getreply()
        *most, last = text.split(b'\n')
        self.told += [('S', f'{code}-{line.decode()}') for line in most] + [('S', f'{code} {last.decode()}')]
        return code, text

    def in_chunks(self, sender, recipients, octets, mail_options, rcpt_options):
        """By BDAT, in pieces of all sizes, the commands in the same write as their chunk."""
        for code, text in [self.mail(sender, mail_options), *[self.rcpt(r, rcpt_options) for r in recipients]]:
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
        rng = random.Random(len(octets))
        while octets:
            size = min(len(octets), rng.choice((1, 2, 17, 1000, 70000)))
            line = f'BDAT {size}' + (' LAST' if size == len(octets) else '')
            self.told.append(('C', line))
            self.send(line.encode() + b'\r\n' + octets[:size])
            octets = octets[size:]
            code, text = self.getreply()
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)


CLIENTS = [Swaks(), Curl(), Msmtp(), Smtplib(), SmtpSource()]
