# SPDX-License-Identifier: Apache-2.0
"""SMTP over TLS in Python: servers of every kind, and a client that says how far it came."""
import smtplib
import ssl

from . import client, origin


def reason(error):
    """What went wrong in a handshake, in words that do not change with the library."""
    text = (getattr(error, 'reason', None) or str(error)).lower().replace('_', ' ')
    if isinstance(error, (ConnectionError, EOFError)) or 'eof' in text:
        return 'connection closed'
    if 'timed out' in text:
        return 'silence'
    for version in ('tlsv13 ', 'tlsv1 ', 'sslv3 '):
        text = text.removeprefix(version)
    return text


class Server:
    """kind: plain, STARTTLS or implicit. What a connection came to is in outcomes, and its mail in mails."""

    def __init__(self, host, pki, kind, certificate, port):
        self.kind = kind
        self.outcomes = []
        self.mails = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki.path(f'{certificate}.pem'), pki.path(f'{certificate}.key'))
        self.scripted = origin.Scripted(host, self._serve, port)

    def _handshake(self, sock):
        sock.settimeout(3)
        try:
            return self.context.wrap_socket(sock, server_side=True)
        except (OSError, EOFError) as error:
            self.outcomes.append(f'handshake: {reason(error)}')
            raise EOFError from error

    def _serve(self, sock, lines):
        try:
            self._converse(sock, lines)
        finally:
            if not self.outcomes:
                self.outcomes.append('no mail')

    def _converse(self, sock, lines):
        secure = self.kind == 'implicit'
        if secure:
            sock = self._handshake(sock)
            lines = sock.makefile('rb')
        sock.sendall(b'220 mail.example ESMTP\r\n')
        while line := lines.readline():
            said = line.strip().upper()[:4]
            if line.strip().upper() == b'STARTTLS' and self.kind == 'STARTTLS' and not secure:
                sock.sendall(b'220 2.0.0 go ahead\r\n')
                sock = self._handshake(sock)
                lines = sock.makefile('rb')
                secure = True
            elif said == b'DATA':
                self._take(sock, lines, secure)
            else:
                sock.sendall(self._answer(said, secure))
            if said == b'QUIT':
                break
        sock.close()

    def _answer(self, said, secure):
        if said == b'EHLO' and self.kind == 'STARTTLS' and not secure:
            return b'250-mail.example\r\n250 STARTTLS\r\n'
        if said in (b'EHLO', b'HELO', b'MAIL', b'RCPT', b'RSET', b'NOOP'):
            return b'250 2.0.0 ok\r\n'
        return b'221 2.0.0 bye\r\n' if said == b'QUIT' else b'502 5.5.1 what?\r\n'

    def _take(self, sock, lines, secure):
        sock.sendall(b'354 go on\r\n')
        mail = b''
        while (line := lines.readline()) and line != b'.\r\n':
            mail += line
        self.mails.append(mail)
        self.outcomes.append('mail, TLS' if secure else 'mail, plain')
        sock.sendall(b'250 2.0.0 ok\r\n')

    def close(self):
        self.scripted.close()


class Smtp(client.Smtp):
    """With implicit TLS where a context is given."""

    def __init__(self, host, address, port, context=None):
        self._context = context
        super().__init__(host, address, port)

    def _get_socket(self, host, port, timeout):
        sock = super()._get_socket(host, port, timeout)
        return self._context.wrap_socket(sock) if self._context is not None else sock


def trusting(pki):
    context = ssl.create_default_context(cafile=pki.path('ca.pem'))
    context.check_hostname = False      # the lab connects to addresses
    return context


def send(host, address, port, context, way):
    """way: plain, STARTTLS (if it is offered) or implicit. How it went, in words."""
    try:
        with Smtp(host, address, port, context if way == 'implicit' else None) as smtp:
            code, _ = smtp.ehlo()
            if code != 250:
                return f'{code} to EHLO'
            secure = way == 'implicit'
            if way == 'STARTTLS' and smtp.has_extn('starttls'):
                smtp.starttls(context=context)
                secure = True
            smtp.send_octets(b'Subject: hello\r\n\r\nbody\r\n')
            return 'mail, TLS' if secure else 'mail, plain'
    except smtplib.SMTPConnectError as error:
        return f'{error.smtp_code} as greeting'
    except smtplib.SMTPServerDisconnected:
        return 'connection closed'
    except smtplib.SMTPResponseException as error:
        return f'{error.smtp_code} to a command'
    except (OSError, EOFError) as error:
        return f'handshake: {reason(error)}'
