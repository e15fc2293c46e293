# SPDX-License-Identifier: Apache-2.0
"""Who reaches what: through the firewall, past it, and when it is gone."""
import re
import shutil
import socket
import struct
import time

import pytest

from lab import client, flows, origin, policies, process
from lab.firewall import Firewall, PROGRAM, ROOT

ORIGIN = {4: '172.16.20.254', 6: 'fd00:20::254'}
DMZ = {4: '172.16.40.10', 6: 'fd00:40::10'}
families = pytest.mark.parametrize('family', [4, 6])


@families
def test_the_lab_lets_clients_through_without_a_firewall(net, sink, family):
    """The control: what the other tests find closed is open before."""
    assert client.gets_service(net.dmz, ORIGIN[family])
    assert client.gets_service(net.clients, ORIGIN[family])


@families
def test_a_client_of_the_zone_is_served(net, sink, firewall, family):
    fw = firewall(policies.mail())
    with client.Smtp(net.dmz, ORIGIN[family]) as smtp:
        smtp.send_octets(b'Subject: hello\r\n\r\nbody\r\n')
    message, = sink.messages()
    assert sink.content(message['number']) == b'Subject: hello\r\n\r\nbody\r\n'
    assert message['peer'][0] == DMZ[family]
    assert 'mail' in fw.log


def test_the_tutorial_policy_unchanged(net, sink, firewall):
    """Clients talk to an address of the firewall itself; the origin sees the client."""
    firewall(f'{ROOT}/examples/reverse-proxy/policy.py')
    with client.Smtp(net.dmz, '172.16.40.1') as smtp:
        smtp.send_octets(b'one\r\n')
    assert [m['peer'][0] for m in sink.messages()] == ['172.16.40.10']
    # Not outside the zone, not on another port, not at another address of the firewall or the origin.
    sink.forget()
    assert not client.gets_service(net.clients, '172.16.40.1')
    assert not client.gets_service(net.dmz, '172.16.40.1', 26)
    assert not client.gets_service(net.dmz, '172.16.40.1', 50080)
    assert not client.gets_service(net.dmz, '172.16.21.254')
    assert not client.gets_service(net.dmz, '172.16.40.2')
    assert sink.peers() == []


def test_another_rule_refuses_what_the_first_does_not_serve(net, sink, firewall):
    """What no rule matches is not forwarded, in silence; a denying rule does the same and may say so."""
    deny = policies.mail() + "    DenyService(name='no')\n    Rule(service='no')\n"
    firewall(deny)
    assert client.gets_service(net.dmz, ORIGIN[4])
    peers = len(sink.peers())
    assert not client.gets_service(net.clients, ORIGIN[4])
    assert not client.gets_service(net.clients, ORIGIN[6])
    assert not client.gets_service(net.dmz, ORIGIN[4], 24)
    assert len(sink.peers()) == peers


def test_what_no_rule_matches_is_not_forwarded(net, sink, firewall):
    """Counted, and logged at a limited rate. What is for the firewall itself is left to its own packet filter."""
    firewall(policies.mail())
    for family in (4, 6):
        assert not client.gets_service(net.clients, ORIGIN[family], timeout=1.5)
        assert not client.gets_service(net.dmz, ORIGIN[family], 26, timeout=1.5)
    echo = {'proto': 1, 'src': '172.16.10.10', 'icmp_type': 8, 'icmp_code': 0, 'id': 1}
    assert flows.send(net.clients, [dict(echo, dst=ORIGIN[4])], {0}) == [('silence',)]
    assert sink.peers() == []
    chain = net.firewall.run('nft', 'list', 'chain', 'inet', 'sallyport', 'unmatched').stdout
    assert 'limit rate 10/second burst 50 packets log prefix "sallyport unmatched: "' in chain
    assert int(re.search(r'counter packets (\d+)', chain)[1]) >= 5
    assert flows.send(net.clients, [dict(echo, dst='172.16.10.254', id=2)], set()) == [('echoed',)]
    with net.firewall.entered():
        listener = socket.create_server(('172.16.40.1', 22))
    with listener:
        client.connect(net.dmz, '172.16.40.1', 22).close()


def test_a_denying_rule_answers_as_it_says(net, sink, firewall):
    reset = "    DenyService(name='no', ipv4_setting=DenyIPv4.TCP_RESET, ipv6_setting=DenyIPv6.TCP_RESET)\n" \
            "    Rule(service='no', src_zone='clients', dst_port=25)\n" \
            "    DenyService(name='far', ipv4_setting=DenyIPv4.ICMP_HOST_UNREACHABLE)\n" \
            "    Rule(service='far', src_zone='clients', dst_port=26)\n"
    firewall(policies.mail() + reset)
    for family in (4, 6):
        with pytest.raises(ConnectionRefusedError):
            client.connect(net.clients, ORIGIN[family])
    with pytest.raises(OSError, match='No route to host'):
        client.connect(net.clients, ORIGIN[4], 26)
    assert sink.peers() == []


def assert_closed(net, sink):
    """Nobody whom a rule serves reaches the server past the proxy, whatever they try."""
    sink.forget()
    for family in (4, 6):
        assert not client.gets_service(net.dmz, ORIGIN[family], timeout=1.5)
    assert not client.gets_service(net.dmz, '172.16.40.1', timeout=1.5)
    assert sink.peers() == []


@pytest.mark.parametrize('end', ['stop', 'crash'])
def test_fails_closed(net, sink, firewall, end):
    fw = firewall(policies.mail())
    with client.Smtp(net.dmz, ORIGIN[4]) as smtp:
        smtp.send_octets(b'before\r\n')
        if end == 'crash':
            fw.crash()
    if end == 'stop':
        assert fw.stop() == 0
    assert not fw.program.is_running()
    assert_closed(net, sink)
    # Who is not mentioned does not get through either.
    assert not client.gets_service(net.clients, ORIGIN[4], timeout=1.5)
    # Open again on demand, without a supervisor; nothing of ours is left.
    assert net.kernel_state() != ''
    fw.ctl('stop', '--open')
    assert net.kernel_state() == ''
    assert client.gets_service(net.dmz, ORIGIN[4])


def test_without_its_supervisor_nothing_goes_on(net, sink, firewall):
    """The supervisor alone is killed: the others end by themselves, and all stays closed."""
    fw = firewall(policies.mail())
    family = fw.pids()
    fw.program.process.kill()
    process.wait_until(lambda: not any(process.name_of(pid) for pid in family), 10, 'all processes end')
    assert_closed(net, sink)


def test_stop_says_that_it_stays_closed(net, sink, firewall):
    fw = firewall(policies.mail())
    fw.ctl('stop')
    assert fw.program.wait() == 0
    assert 'stop --open' in fw.log
    assert_closed(net, sink)


def test_stop_open_of_a_running_firewall(net, sink, firewall):
    fw = firewall(policies.mail())
    fw.ctl('stop', '--open')
    assert fw.program.wait() == 0
    assert net.kernel_state() == ''
    assert client.gets_service(net.dmz, ORIGIN[4])


def test_a_service_of_the_firewall_itself_is_behind_the_proxy_too(net, firewall):
    """Mail to an address of the firewall, where a server listens: only through the proxy, never
    straight, also when the proxy is gone."""
    fw = firewall(policies.mail(policies.directed('127.0.0.1')))
    local = origin.Sink(net.firewall)
    try:
        with client.Smtp(net.dmz, '172.16.40.1') as smtp:
            smtp.send_octets(b'x\r\n')
        assert [m['peer'][0] for m in local.messages()] == ['127.0.0.1']
        fw.crash()
        assert not client.gets_service(net.dmz, '172.16.40.1', timeout=1.5)
        assert len(local.peers()) == 1
    finally:
        local.close()


def test_connections_to_the_firewall_that_were_there_before_stay(net, firewall):
    """An administrator's, say, when a wide rule is loaded."""
    with net.firewall.entered():
        listener = socket.create_server(('172.16.40.1', 25))
    with listener, client.connect(net.dmz, '172.16.40.1') as old:
        there, _ = listener.accept()
        with there:
            firewall(policies.mail())
            old.sendall(b'still here')
            there.settimeout(3)
            assert there.recv(100) == b'still here'


def test_no_listener_is_reachable_from_outside(net, sink, firewall):
    firewall(policies.mail())
    listening = net.firewall.run('ss', '-Hltn').stdout.split('\n')
    ports = set()
    for line in filter(None, listening):
        address, port = line.split()[3].rsplit(':', 1)
        assert address in ('127.0.0.1', '[::1]'), f'not on loopback: {line}'
        ports.add(int(port))
    assert ports, 'there must be transparent listeners'
    for port in ports:
        for address in ('172.16.40.1', 'fd00:40::1', '172.16.20.254'):
            assert not client.gets_service(net.dmz, address, port, timeout=1)
            with pytest.raises(OSError):
                client.connect(net.dmz, address, port, timeout=1).close()
        # From the firewall itself it is no door either: the listener's address is nobody's destination.
        assert not client.gets_service(net.firewall, '127.0.0.1', port, timeout=1)


def test_a_forged_answer_opens_no_way_around(net, sink, firewall):
    """A client that forges a packet of the server, so that its own look like answers to it."""
    address, port = 'fd00:40::77', 40000
    fw = firewall(policies.mail())
    fw.crash()
    # It does not want to see its own forgery again, which would look like a connection from there.
    net.dmz.run('nft', '-f', '-', input='table inet deaf { chain c { type filter hook input priority 0; '
                                        'tcp sport 25 tcp flags & (syn | ack) == syn drop; }; }')
    net.dmz.run('ip', '-6', 'route', 'add', address, 'via', 'fd00:40::1')
    with net.dmz.entered():
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP)
    with raw:
        raw.setsockopt(socket.IPPROTO_IPV6, 78, 1)      # IPV6_FREEBIND
        raw.setsockopt(socket.IPPROTO_IPV6, 7, 16)      # IPV6_CHECKSUM: where TCP has it
        raw.bind((ORIGIN[6], 0))
        raw.sendto(struct.pack('!HHIIBBHHH', 25, port, 1, 0, 5 << 4, 2, 1000, 0, 0), (address, 0))
    net.dmz.run('ip', '-6', 'route', 'del', address)
    net.dmz.run('ip', '-6', 'addr', 'add', f'{address}/64', 'dev', 'eth0', 'nodad')
    try:
        with pytest.raises(OSError):
            client.connect(net.dmz, ORIGIN[6], timeout=2, source=(address, port)).close()
    finally:
        net.dmz.run('ip', '-6', 'addr', 'del', f'{address}/64', 'dev', 'eth0')
        net.dmz.run('nft', 'delete', 'table', 'inet', 'deaf')
    assert sink.peers() == []


def test_a_second_supervisor_is_refused(net, firewall):
    fw = firewall(policies.mail())
    second = Firewall(net, policies.mail(), ready=False)
    try:
        assert second.program.wait(10) == 3
        assert str(fw.program.pid) in second.log
    finally:
        second.program.kill()
        shutil.rmtree(second.folder)
    assert client.gets_service(net.dmz, ORIGIN[4]) is False     # no origin, but also:
    assert fw.program.is_running() and net.kernel_state() != ''


def test_without_root_or_rules_it_serves_on_its_own_addresses(net, sink, firewall):
    policy = policies.mail(policies.directed('172.16.20.254')).replace(
        "dst_port=25, src_zone=('dmz', )", "dst_port=2525, src_zone=('dmz', ), dst_subnet='172.16.40.1'")
    fw = firewall(policy, '--no-kernel')
    assert net.kernel_state() == ''
    with client.Smtp(net.dmz, '172.16.40.1', 2525) as smtp:
        smtp.send_octets(b'x\r\n')
    assert [m['peer'][0] for m in sink.messages()] == ['172.16.21.254']
    assert not client.gets_service(net.clients, '172.16.40.1', 2525)
    assert fw.stop() == 0


def test_the_kernel_command_shows_what_run_loads(net, sink, firewall):
    fw = firewall(policies.mail())
    shown = net.firewall.run(PROGRAM, 'kernel', fw.policy).stdout
    assert 'goto serve' in shown and '172.16.40.0/24' in shown and 'tproxy' in shown
    net.firewall.run('nft', '-c', '-f', '-', input=shown)
    loaded = net.firewall.run('nft', 'list', 'table', 'inet', 'sallyport').stdout
    assert '172.16.40.0/24' in loaded
    assert loaded.count('goto serve') == shown.count('goto serve')


def test_start_to_ready_is_cheap(net, sink, firewall):
    """In seconds of the processor: what a busy machine makes of them is not for a test to say."""
    fw = firewall(policies.mail())
    assert sum(map(process.cpu_seconds, fw.pids())) < 3
    assert client.gets_service(net.dmz, ORIGIN[4], timeout=20)
