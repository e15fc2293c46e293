# SPDX-License-Identifier: Apache-2.0
"""Who may log in at the lab's Postfix: alice. It asks over a socket, in Dovecot's protocol."""
import base64
import os
import shutil
import socketserver
import threading

from .origin import shared_folder

CREDENTIALS = base64.b64encode(b'\0alice\0secret')


class _Answers(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b'VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n')
        for line in self.rfile:
            word, *fields = line.rstrip(b'\n').split(b'\t')
            answer = [f.removeprefix(b'resp=') for f in fields[1:] if word == b'CONT' or f.startswith(b'resp=')]
            if word == b'AUTH' and not answer:
                self.wfile.write(b'CONT\t%s\t\n' % fields[0])
            elif word in (b'AUTH', b'CONT'):
                good = answer == [CREDENTIALS]
                self.wfile.write(b'%s\t%s\tuser=alice\n' % (b'OK' if good else b'FAIL', fields[0]))


class Accounts(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self):
        self.folder = shared_folder('sp-accounts-')
        super().__init__(f'{self.folder}/socket', _Answers)
        os.chmod(self.server_address, 0o666)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
        shutil.rmtree(self.folder)
