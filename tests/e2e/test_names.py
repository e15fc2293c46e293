# SPDX-License-Identifier: Apache-2.0
"""Zones by host name: what changes in DNS changes zones and the kernel's sets while sessions run."""
import os
import pwd
import shutil
import signal
import time

import pytest

from lab import client, policies, process
from lab.names import NameServer

SERVER = '172.16.20.254'
DMZ, CLIENTS, CLIENTS6 = '172.16.40.10', '172.16.10.10', 'fd00:10::10'
ELSEWHERE, ELSEWHERE6 = '192.0.2.77', '2001:db8::77'     # nobody's; "no addresses" would hold for a minute
PATIENCE = 180

# Who is in the zone is served; whom the kernel does not know as such is refused by it, with a reset.
POLICY = policies.HEAD + '''
Zone('named', hostnames=['mail.example', 'other.example'])

def default_instance():
    Service(name='mail', proxy_class=Mail, router=TransparentRouter(forge_addr=TRUE))
    DenyService(name='no', ipv4_setting=DenyIPv4.TCP_RESET, ipv6_setting=DenyIPv6.TCP_RESET)
    Rule(service='mail', dst_port=25, src_zone='named')
    Rule(service='no', dst_port=25, src_zone=('dmz', 'clients'))
'''


@pytest.fixture
def names(net):
    server = NameServer(net.servers, SERVER, {'mail.example': [DMZ, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    yield server
    server.close()


def fate(host, address=SERVER):
    """Of a connection: served, by whoever refuses it, or nothing."""
    try:
        with client.connect(host, address, timeout=5) as sock:
            return 'served' if sock.recv(512).startswith(b'220') else 'closed'
    except ConnectionRefusedError:
        return 'refused'
    except OSError as error:
        return repr(error)


def becomes(fw, host, want, address=SERVER):
    end = time.monotonic() + PATIENCE
    while (got := fate(host, address)) != want:
        assert time.monotonic() < end, f'{host.name} -> {address}: {got}, not {want}\n{fw.log}'
        time.sleep(0.2)


def lookout_pid(fw):
    return fw.ctl_json('status')['lookout_pid']


def test_names_move_zones_and_kernel_sets(net, sink, firewall, names):
    fw = firewall(POLICY, '--resolver', SERVER)
    assert fate(net.dmz) == 'served'
    assert fate(net.clients) == 'refused'
    with client.Smtp(net.dmz, SERVER) as session:
        # An address more: elements of sets, nothing else; both families.
        names.write({'mail.example': [DMZ, CLIENTS, CLIENTS6], 'other.example': [ELSEWHERE]})
        becomes(fw, net.clients, 'served')
        becomes(fw, net.clients, 'served', 'fd00:20::254')
        assert fate(net.dmz) == 'served'
        # Another instead.
        names.write({'mail.example': [CLIENTS, ELSEWHERE6], 'other.example': [ELSEWHERE]})
        becomes(fw, net.dmz, 'refused')
        assert fate(net.clients) == 'served'
        becomes(fw, net.clients, 'refused', 'fd00:20::254')
        # The other way round, by an alias and another name.
        names.write({'mail.example': {'cname': 'alias.example'}, 'alias.example': [DMZ], 'other.example': [CLIENTS]})
        becomes(fw, net.dmz, 'served')
        becomes(fw, net.clients, 'served')
        # No such names, no members.
        names.write({})
        becomes(fw, net.clients, 'refused')
        becomes(fw, net.dmz, 'refused')
        # Sessions under way keep what they have.
        session.send_octets(b'one\r\n')
    assert [m['peer'][0] for m in sink.messages()] == [DMZ]
    assert 'The kernel rules stay behind' not in fw.log


def users_of(pid):
    with open(f'/proc/{pid}/status') as f:
        return next(line for line in f if line.startswith('Uid:')).split()[1:]


def test_the_lookout_is_another_user(net, sink, firewall, names):
    """What the workers can read, such as keys of their user, is not for whom anybody may send answers."""
    fw = firewall(POLICY, '--resolver', SERVER, '--user', 'daemon')
    lookout = lookout_pid(fw)
    assert users_of(lookout) == [str(pwd.getpwnam('nobody').pw_uid)] * 4
    others = [pid for pid in fw.pids() if pid not in (lookout, fw.program.pid)]
    assert others and all(users_of(pid) == [str(pwd.getpwnam('daemon').pw_uid)] * 4 for pid in others)
    # It goes on asking.
    names.write({'mail.example': [CLIENTS, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    becomes(fw, net.clients, 'served')
    assert 'not confined' not in fw.log or not os.path.exists('/sys/kernel/security/landlock')


def test_elements_alone_change(net, sink, firewall, names):
    """A rule set's counters and handles survive what is only a change of addresses."""
    fw = firewall(POLICY, '--resolver', SERVER)

    def chains():
        text = net.firewall.run('nft', '-a', 'list', 'table', 'inet', 'sallyport').stdout
        return [line for line in text.splitlines() if 'chain' in line or 'goto' in line]

    before = chains()
    assert before
    names.write({'mail.example': [DMZ, CLIENTS, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    becomes(fw, net.clients, 'served')
    assert chains() == before


# In place of nft: what changes elements of sets waits, or fails, while there is a file that says so.
NFT = """\
#!/bin/sh
input=%(folder)s/input.$$
cat > $input
if grep -q '^[a-z]* element ' $input; then
    if test -e %(folder)s/hang; then
        touch %(folder)s/hangs
        while test -e %(folder)s/hang; do sleep 0.1; done
    fi
    test -e %(folder)s/fail && touch %(folder)s/failed && echo no such luck && exit 1
fi
exec %(folder)s/nft "$@" < $input
"""


class Nft:
    def __init__(self, folder):
        self.folder = folder
        shutil.copy('/usr/sbin/nft', folder / 'nft')
        (folder / 'fake').write_text(NFT % {'folder': folder})
        (folder / 'fake').chmod(0o755)
        self.within = ('sh', '-c', 'mount --bind "$0" /usr/sbin/nft && exec "$@"', str(folder / 'fake'))

    def will(self, word, yes=True):
        (self.folder / word).touch() if yes else (self.folder / word).unlink()

    def wait(self, word):
        process.wait_until((self.folder / word).exists, PATIENCE, f'nft {word}')


def test_nobody_waits_for_a_change_of_addresses(net, sink, firewall, names, tmp_path):
    nft = Nft(tmp_path)
    fw = firewall(POLICY, '--resolver', SERVER, within=nft.within)
    nft.will('hang')
    names.write({'mail.example': [DMZ, CLIENTS, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    nft.wait('hangs')
    # The supervisor goes on; a reload ends the change, and loads what it would have led to.
    assert len(fw.ctl_json('status')['generations']) == 1
    assert fate(net.dmz) == 'served'
    fw.ctl('reload')
    assert fate(net.clients) == 'served'
    nft.will('hang', False)
    names.write({'mail.example': [DMZ, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    becomes(fw, net.clients, 'refused')


def test_a_change_that_waits_is_no_hindrance_to_the_end(net, firewall, names, tmp_path):
    nft = Nft(tmp_path)
    fw = firewall(POLICY, '--resolver', SERVER, within=nft.within)
    nft.will('hang')
    names.write({'mail.example': [DMZ, CLIENTS, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    nft.wait('hangs')
    assert fw.stop() == 0
    assert 'addresses_' in net.firewall.run('nft', 'list', 'table', 'inet', 'sallyport').stdout


def test_where_elements_do_not_do_the_table_does(net, sink, firewall, names, tmp_path):
    nft = Nft(tmp_path)
    fw = firewall(POLICY, '--resolver', SERVER, within=nft.within)
    nft.will('fail')
    names.write({'mail.example': [DMZ, CLIENTS, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    nft.wait('failed')
    becomes(fw, net.clients, 'served')
    assert 'The kernel rules stay behind' not in fw.log
    nft.will('fail', False)
    names.write({'mail.example': [DMZ, ELSEWHERE6], 'other.example': [ELSEWHERE]})
    becomes(fw, net.clients, 'refused')


def test_without_the_name_server_all_stays(net, sink, firewall, names):
    fw = firewall(POLICY, '--resolver', SERVER)
    names.stop()
    end = time.monotonic() + PATIENCE
    while fw.ctl_json('names')['names'][0]['state'] != 'stale':
        assert time.monotonic() < end, fw.log
        time.sleep(0.2)
    assert fate(net.dmz) == 'served'
    assert fate(net.clients) == 'refused'
    fw.ctl('reload')
    assert fate(net.dmz) == 'served'
    assert fate(net.clients) == 'refused'


def test_without_its_lookout_all_stays(net, sink, firewall, names):
    fw = firewall(POLICY, '--resolver', SERVER)
    before = lookout_pid(fw)
    with client.Smtp(net.dmz, SERVER) as session:
        names.stop()
        os.kill(before, signal.SIGKILL)
        assert fate(net.dmz) == 'served'
        end = time.monotonic() + PATIENCE
        while lookout_pid(fw) in (0, before):
            assert time.monotonic() < end, fw.log
            time.sleep(0.1)
        assert fate(net.dmz) == 'served'
        assert fate(net.clients) == 'refused'
        names.write({'mail.example': [CLIENTS], 'other.example': [ELSEWHERE]})
        names.start()
        becomes(fw, net.clients, 'served')
        becomes(fw, net.dmz, 'refused')
        session.send_octets(b'one\r\n')
    assert [m['peer'][0] for m in sink.messages()] == [DMZ]
