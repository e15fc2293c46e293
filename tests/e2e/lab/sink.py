# SPDX-License-Identifier: Apache-2.0
"""An origin that keeps everything: a program, run in the servers' network.

    sink.py FOLDER PORT [auth]

With "auth" it also lets alice log in, on a plain connection, and says what size it takes.
Listens on all addresses of both families. Each event is a line of JSON in FOLDER/events, each
message's octets (dots unstuffed, line ends as received) a file FOLDER/NUMBER.
"""
import asyncio
import json
import os
import socket
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Keeper:
    def __init__(self, folder):
        self.folder = folder
        self.events = open(os.path.join(folder, 'events'), 'a', buffering=1)
        self.count = 0

    def note(self, event, **fields):
        self.events.write(json.dumps({'event': event, **fields}) + '\n')

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        with open(os.path.join(self.folder, str(self.count)), 'wb') as f:
            f.write(envelope.original_content)
        self.note('message', number=self.count, peer=session.peer[:2], helo=session.host_name,
                  sender=envelope.mail_from, recipients=envelope.rcpt_tos, options=envelope.mail_options)
        return f'250 2.0.0 kept as {self.count}'


class Sink(SMTP):
    line_length_limit = 1 << 24     # what is too long is not for the origin to say here

    def __init__(self, keeper, **options):
        super().__init__(keeper, **options)
        self.keeper = keeper

    def connection_made(self, transport):
        peer = transport.get_extra_info('peername')
        self.keeper.note('connect', peer=peer[:2])
        super().connection_made(transport)

    def connection_lost(self, error):
        self.keeper.note('disconnect', error=repr(error) if error else None)
        super().connection_lost(error)


def listener(family, address, port):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    sock.listen(4096)
    return sock


def log_in(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b'alice', b'secret'))


AUTH = {'authenticator': log_in, 'auth_require_tls': False, 'auth_exclude_mechanism': ['LOGIN'], 'data_size_limit': 40000000}


async def main(folder, port, *words):
    keeper = Keeper(folder)
    loop = asyncio.get_running_loop()
    options = {'data_size_limit': None, 'decode_data': False, 'enable_SMTPUTF8': True, 'hostname': 'origin.example',
               **(AUTH if 'auth' in words else {})}

    def protocol():
        return Sink(keeper, **options)

    for family, address in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
        await loop.create_server(protocol, sock=listener(family, address, port), backlog=4096)
    print('sink is ready', flush=True)
    await asyncio.Event().wait()


if __name__ == '__main__':
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
