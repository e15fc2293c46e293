# SPDX-License-Identifier: Apache-2.0
"""Certificates, and servers that speak TLS."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading

from support import LIMIT


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True, timeout=60).stdout


class Site(threading.Thread):
    """A TLS server that sends back what it gets; remembers the names that it was asked for."""

    def __init__(self, folder, name):
        super().__init__(daemon=True)
        self.names = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
        self.context.sni_callback = lambda _socket, asked, _context: self.names.append(asked)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError), self.context.wrap_socket(connection, server_side=True) as tls:
            while octets := tls.recv(4096):
                tls.sendall(octets)


class MailServer(threading.Thread):
    """SMTP in TLS from the first octet, or behind STARTTLS; takes all mail."""

    def __init__(self, certificate, key, starttls):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.starttls = starttls
        self.plain_mails = self.mails = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ssl.SSLError), connection:
            connection.settimeout(LIMIT)
            encrypted = not self.starttls
            if encrypted:
                connection = self.context.wrap_socket(connection, server_side=True)
            connection.sendall(b"220 mail ESMTP\r\n")
            while self.converse(connection, encrypted) and not encrypted:
                connection.sendall(b"220 go\r\n")
                connection = self.context.wrap_socket(connection, server_side=True)
                encrypted = True

    def converse(self, connection, encrypted):
        """True: a STARTTLS came."""
        lines = connection.makefile("rb")
        for line in lines:
            verb = line.split()[0].upper()
            if verb == b"STARTTLS":
                return True
            if verb == b"MAIL":
                self.mails += 1
                self.plain_mails += not encrypted
            connection.sendall(b"250-mail\r\n250 STARTTLS\r\n" if verb == b"EHLO" and not encrypted else b"250 fine\r\n")
        return False

    def stop(self):
        self.listener.close()


class Certificates:
    """For a ServerTest: files in its directory."""

    def path(self, name):
        return os.path.join(self.directory, name)

    def make(self, name, subject, issuer, *extensions):
        more = [word for extension in extensions for word in ("-addext", extension)]
        if issuer:
            more += ["-CA", self.path(issuer + ".pem"), "-CAkey", self.path(issuer + ".key")]
        config = self.path("openssl.cnf")
        with open(config, "w", encoding="ascii") as f:
            f.write("[req]\ndistinguished_name=name\n[name]\n")
        openssl("req", "-x509", "-config", config, "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "60",
                "-keyout", self.path(name + ".key"), "-out", self.path(name + ".pem"), "-subj", subject, *more)
