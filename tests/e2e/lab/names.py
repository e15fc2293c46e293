# SPDX-License-Identifier: Apache-2.0
"""A name server of the lab, whose answers a test changes."""
import json
import os
import shutil
import sys

from . import process
from .origin import shared_folder

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'dns_server.py')


class NameServer:
    """On a host's address, port 53. hosts as in tests/dns_server.py."""

    def __init__(self, host, address, hosts):
        self.host = host
        self.address = address
        self.folder = shared_folder('sp-dns-')
        self.path = os.path.join(self.folder, 'hosts')
        self.write(hosts)
        self.start()

    def start(self):
        self.program = process.Program([sys.executable, '-B', PROGRAM, self.address, '53', self.path], self.host)
        self.program.wait_line('ready', 20)

    def write(self, hosts):
        with open(self.path + '.new', 'w') as f:
            json.dump(hosts, f)
        os.rename(self.path + '.new', self.path)

    def stop(self):
        if self.program.is_running():
            self.program.kill()

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
