# SPDX-License-Identifier: Apache-2.0
"""The networks of the user guide, out of network namespaces.

    clients   172.16.10.0/23  fd00:10::/64   host 172.16.10.10   firewall 172.16.10.254
    dmz       172.16.40.0/24  fd00:40::/64   host 172.16.40.10   firewall 172.16.40.1
    servers   172.16.20.0/23  fd00:20::/64   origin 172.16.20.254  firewall 172.16.21.254

The firewall routes between them (ip_forward is on), so whatever is not held back gets through:
that is what tests of holding back need. Names carry the process id, so that runs do not meet;
what a killed run left behind is removed by the next one.
"""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import threading
import time

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

NETWORKS = {
    # name: host's v4, firewall's v4, prefix length, host's v6, firewall's v6
    'clients': ('172.16.10.10', '172.16.10.254', 23, 'fd00:10::10', 'fd00:10::254'),
    'dmz': ('172.16.40.10', '172.16.40.1', 24, 'fd00:40::10', 'fd00:40::1'),
    'servers': ('172.16.20.254', '172.16.21.254', 23, 'fd00:20::254', 'fd00:20::1'),
}


def run(*command, check=True, **options):
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60, **options)


class Namespace:
    """One host of the lab."""

    def __init__(self, name):
        self.name = name

    def command(self, *command):
        return ['ip', 'netns', 'exec', self.name, *command]

    def run(self, *command, **options):
        return run(*self.command(*command), **options)

    @contextlib.contextmanager
    def entered(self):
        """Sockets that this thread makes inside belong to this host, and stay so."""
        with open(f'/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net') as home, \
                open(f'/run/netns/{self.name}') as there:
            if _libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), 'setns')
            try:
                yield self
            finally:
                if _libc.setns(home.fileno(), _CLONE_NEWNET) != 0:
                    os._exit(70)    # a thread in the wrong network would spoil every later test

    def pids(self):
        found = run('ip', 'netns', 'pids', self.name, check=False)
        return [int(pid) for pid in found.stdout.split()]


class Network:
    def __init__(self, prefix=None):
        self.prefix = prefix or f'sp{os.getpid()}'
        self.firewall = Namespace(f'{self.prefix}-fw')
        self.hosts = {name: Namespace(f'{self.prefix}-{name}') for name in NETWORKS}
        self.clients, self.dmz, self.servers = (self.hosts[name] for name in NETWORKS)

    def create(self):
        remove_stale()
        try:
            self._create()
        except BaseException:
            self.remove()
            raise
        return self

    def _create(self):
        fw = self.firewall.name
        run('ip', 'netns', 'add', fw)
        self._settle(self.firewall)
        for number, (name, (ip4, gw4, bits, ip6, gw6)) in enumerate(NETWORKS.items()):
            host = self.hosts[name]
            run('ip', 'netns', 'add', host.name)
            self._settle(host)
            cable = f'sp{os.getpid()}v{number}'
            run('ip', 'link', 'add', cable, 'netns', fw, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host.name)
            run('ip', '-n', fw, 'link', 'set', cable, 'name', name)
            self._batch(fw, f'addr add {gw4}/{bits} dev {name}', f'addr add {gw6}/64 dev {name} nodad',
                        f'link set {name} up')
            self._batch(host.name, f'addr add {ip4}/{bits} dev eth0', f'addr add {ip6}/64 dev eth0 nodad',
                        'link set eth0 up', f'route add default via {gw4}', f'route add default via {gw6}')
        self.firewall.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')

    @staticmethod
    def _batch(namespace, *lines):
        run('ip', '-n', namespace, '-batch', '-', input='\n'.join(lines) + '\n')

    @staticmethod
    def _settle(host):
        run('ip', '-n', host.name, 'link', 'set', 'lo', 'up')
        # Short lives of closed connections and enough ports for thousands of sessions.
        host.run('sysctl', '-qw', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0',
                 'net.ipv4.ip_local_port_range=10240 65000', 'net.core.somaxconn=4096')

    def clear_firewall(self):
        """As if it had been started anew; without any help of the program under test."""
        fw = self.firewall
        fw.run('nft', 'flush', 'ruleset', check=False)
        for family in ('-4', '-6'):
            fw.run('ip', family, 'rule', 'del', 'pref', '5353', check=False)
            fw.run('ip', family, 'route', 'flush', 'table', '5353', check=False)

    def kernel_state(self):
        """What of ours is in the firewall's kernel, as text; empty when nothing is."""
        fw = self.firewall
        parts = [fw.run('nft', 'list', 'ruleset').stdout]
        for family in ('-4', '-6'):
            parts.append(fw.run('ip', family, 'rule', 'show', 'pref', '5353', check=False).stdout)
            parts.append(fw.run('ip', family, 'route', 'show', 'table', '5353', check=False).stdout)
        return ''.join(parts).strip()

    def remove(self):
        for host in [*self.hosts.values(), self.firewall]:
            remove_namespace(host.name)


def remove_namespace(name):
    """End what runs in it (it is ours, and so is everything in it), then the namespace."""
    for _ in range(50):
        pids = Namespace(name).pids()
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    run('ip', 'netns', 'del', name, check=False)


def remove_stale():
    """Namespaces of runs whose process is gone."""
    for line in run('ip', 'netns', 'list', check=False).stdout.splitlines():
        name = line.split()[0] if line.split() else ''
        match = re.fullmatch(r'sp(\d+)-(fw|clients|dmz|servers)', name)
        if match and not os.path.exists(f'/proc/{match[1]}'):
            remove_namespace(name)
