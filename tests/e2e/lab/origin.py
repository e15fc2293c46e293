# SPDX-License-Identifier: Apache-2.0
"""Mail servers of the lab: the recording sink, a real Postfix, and servers that follow a script."""
import contextlib
import json
import os
import pwd
import shutil
import socket
import struct
import tempfile
import threading

from . import client, process

HERE = os.path.dirname(os.path.abspath(__file__))


def shared_folder(prefix):
    """A folder that programs without our rights may enter."""
    folder = tempfile.mkdtemp(prefix=prefix)
    os.chmod(folder, 0o755)
    return folder


def maildir(folder):
    """All messages delivered so far, as octets."""
    found = []
    for name in sorted(os.listdir(f'{folder}/new')) if os.path.isdir(f'{folder}/new') else ():
        with open(f'{folder}/new/{name}', 'rb') as f:
            found.append(f.read())
    return found


class Sink:
    """The recording origin (sink.py), as a program on a host of the lab."""

    def __init__(self, host, port=25, *options):
        self.folder = shared_folder('sp-sink-')
        self.program = process.Program(['/usr/bin/python3', f'{HERE}/sink.py', self.folder, str(port), *options], host)
        self.program.wait_line('sink is ready')

    def events(self, kind=None):
        with open(f'{self.folder}/events') as f:
            found = [json.loads(line) for line in f]
        return [e for e in found if kind is None or e['event'] == kind]

    def peers(self):
        return [tuple(e['peer']) for e in self.events('connect')]

    def messages(self):
        return self.events('message')

    def mails(self):
        """All messages so far, as octets with LF, as a mailbox has them."""
        return [self.content(m['number']).replace(b'\r\n', b'\n') for m in self.messages()]

    def content(self, number):
        with open(f'{self.folder}/{number}', 'rb') as f:
            return f.read()

    def forget(self):
        """Earlier events, not the numbering of messages."""
        with open(f'{self.folder}/events', 'r+') as f:
            f.truncate()

    def close(self):
        self.program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


MAIN_CF = '''
compatibility_level = 3.6
myhostname = origin.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = all
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
smtpd_peername_lookup = no
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 40000000
line_length_limit = 65536
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 60
alias_maps =
local_recipient_maps =
smtputf8_enable = no
in_flow_delay = 0
smtpd_data_restrictions = reject_unauth_pipelining
'''

MASTER_CF = '''
smtp       inet  n - n - - smtpd
pickup     unix  n - n 60 1 pickup
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
defer      unix  - - n - 0 bounce
trace      unix  - - n - 0 bounce
verify     unix  - - n - 1 verify
flush      unix  n - n 1000? 0 flush
proxymap   unix  - - n - - proxymap
smtp       unix  - - n - - smtp
relay      unix  - - n - - smtp
showq      unix  n - n - - showq
error      unix  - - n - - error
retry      unix  - - n - - error
discard    unix  - - n - - discard
virtual    unix  - n n - - virtual
anvil      unix  - - n - 1 anvil
scache     unix  - - n - 1 scache
tlsmgr     unix  - - n 1000? 1 tlsmgr
postlog    unix-dgram n - n - 1 postlogd
'''


class Postfix:
    """A Postfix of its own, that takes mail for example.com into one maildir. settings: more of main.cf."""

    def __init__(self, host, settings='', port=25):
        self.host = host
        self.port = port
        self.folder = shared_folder('sp-postfix-')
        user = pwd.getpwnam('postfix')
        for name in ('queue', 'data', 'mail', 'conf'):
            os.mkdir(f'{self.folder}/{name}')
        for name in ('data', 'mail'):
            os.chown(f'{self.folder}/{name}', user.pw_uid, user.pw_gid)
        self._write('main.cf', MAIN_CF.format(folder=self.folder, uid=user.pw_uid, gid=user.pw_gid) + settings)
        self._write('master.cf', MASTER_CF.replace('smtp       inet', f'{port} inet', 1))
        env = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'MAIL_CONFIG': f'{self.folder}/conf'}
        self.program = process.Program(['postfix', '-c', f'{self.folder}/conf', 'start-fg'], host, env=env)
        process.wait_until(self._is_up, 15, 'Postfix is up')

    def _write(self, name, text):
        with open(f'{self.folder}/conf/{name}', 'w') as f:
            f.write(text.lstrip())

    def _is_up(self):
        if not self.program.is_running():
            raise AssertionError(f'Postfix ended:\n{self.program.output}\n{self.log()}')
        if 'daemon started' not in self.log():
            return False
        try:
            client.connect(self.host, '127.0.0.1', self.port).close()
        except ConnectionRefusedError:
            return False
        return True

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            with open(f'{self.folder}/mail.log', errors='replace') as f:
                return f.read()
        return ''

    def mails(self):
        return maildir(f'{self.folder}/mail/all')

    def wait_mail(self, wanted, timeout=15):
        def search():
            return next((mail for mail in self.mails() if wanted in mail), None)
        return process.wait_until(search, timeout, f'a mail with {wanted!r} at Postfix')

    def close(self):
        self.program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def reset(sock):
    """Close so that the other side gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


class Scripted:
    """A server whose every connection is one call of a function; it gets the socket and a file.

    Errors of the connection end the call quietly: hostile servers meet closed doors.
    """

    def __init__(self, host, script, port=25, address='172.16.20.254'):
        self.script = script
        self.peers = []
        self._open = set()
        with host.entered():
            self.listener = socket.create_server((address, port), family=socket.AF_INET6 if ':' in address else socket.AF_INET,
                                                 backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer[:2])
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        self._open.add(sock)
        sock.settimeout(60)
        with contextlib.suppress(OSError, EOFError), sock, sock.makefile('rb') as lines:
            self.script(sock, lines)
        self._open.discard(sock)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
