# SPDX-License-Identifier: Apache-2.0
"""What the kernel does for a policy: forwarding, refusing, and which of them when. The last test says all of it at once:
real packets of a policy of hundreds of rules meet exactly what `explain` says."""
import json
import random

import pytest

from lab import client, flows, policies, process
from lab.firewall import PROGRAM, sallyport

HEAD = policies.HEAD
PORTS = [21, 25, 80, 443, 1000, 1001, 2000]
PROXIED, TARGET = 7777, 7070        # where proxies connect to, where translated flows go

DENY4 = [('silence',), ('reset',), *[('icmp', 3, code) for code in (0, 1, 2, 3, 9, 10, 13)]]
DENY6 = [('silence',), ('reset',), *[('icmp', 1, code) for code in (0, 1, 3, 4)]]

EXTRA = {
    'clients': ['172.16.10.11/23', '172.16.11.12/23', 'fd00:10::11/64', 'fd00:10::1:12/64'],
    'dmz': ['172.16.40.11/24', '172.16.40.140/24', 'fd00:40::11/64', 'fd00:40::1:12/64'],
    'servers': ['172.16.20.1/23', '172.16.20.2/23', '172.16.21.3/23', 'fd00:20::2/64', 'fd00:20::1:3/64'],
}
OWN = {'clients': ['172.16.10.254', 'fd00:10::254'], 'dmz': ['172.16.40.1', 'fd00:40::1']}
FIREWALL = {4: '172.16.21.254', 6: 'fd00:20::1'}


@pytest.fixture
def many_addresses(net):
    for name, addresses in EXTRA.items():
        for address in addresses:
            net.hosts[name].run('ip', 'addr', 'add', address, 'dev', 'eth0', *(['nodad'] if ':' in address else []))
    net.firewall.run('sysctl', '-qw', 'net.ipv4.icmp_ratemask=0', 'net.ipv6.icmp.ratelimit=0')
    yield
    for name, addresses in EXTRA.items():
        for address in addresses:
            net.hosts[name].run('ip', 'addr', 'del', address, 'dev', 'eth0')


@pytest.fixture
def answering(net):
    server = flows.Answering(net.servers, [*PORTS, PROXIED, TARGET])
    yield server
    server.close()


def services():
    """Declarations of a policy, and what becomes of the flows of each: family, protocol, flow -> outcome."""
    lines, fates = [], {}

    def declare(name, text, fate):
        lines.append(f'    {text}')
        fates[name] = fate

    declare('proxied', f"Service(name='proxied', proxy_class=PlugProxy, router=TransparentRouter(forced_port={PROXIED}))",
            lambda family, flow: ('answered', FIREWALL[family], PROXIED) if flow['proto'] == 6 else ('silence',))
    declare('forward', "PFService(name='forward', router=TransparentRouter(forge_addr=TRUE))",
            lambda family, flow: reached(flow, flow['src'], flow.get('dport')))
    declare('masquerade', "PFService(name='masquerade', router=TransparentRouter())",
            lambda family, flow: reached(flow, FIREWALL[family], flow.get('dport')))
    declare('to4', f"PFService(name='to4', router=DirectedRouter(dest_addr=SockAddrInet('172.16.21.3', {TARGET}), forge_addr=TRUE))",
            lambda family, flow: reached(flow, flow['src'], TARGET) if family == 4 else ('silence',))
    declare('to6', f"PFService(name='to6', router=DirectedRouter(dest_addr=SockAddrInet6('fd00:20::1:3', {TARGET})))",
            lambda family, flow: reached(flow, FIREWALL[6], TARGET) if family == 6 else ('silence',))
    declare('same', "PFService(name='same', router=DirectedRouter(dest_addr=SockAddrInet('172.16.20.2', 0), forge_addr=TRUE))",
            lambda family, flow: reached(flow, flow['src'], flow.get('dport')) if family == 4 else ('silence',))
    for kind in range(len(DENY4)):
        declare(f'deny{kind}', f"DenyService(name='deny{kind}', ipv4_setting={kind}, ipv6_setting={kind % len(DENY6)})",
                lambda family, flow, kind=kind: denied(DENY4[kind] if family == 4 else DENY6[kind % len(DENY6)], flow))
    return lines, fates


def reached(flow, source, port):
    return ('answered', source, port) if flow['proto'] in flows.TRANSPORTS else ('echoed',)


def denied(outcome, flow):
    return ('silence',) if outcome == ('reset',) and flow['proto'] != 6 else outcome


def policy_of(rules):
    return HEAD + '\ndef default_instance():\n' + '\n'.join([*services()[0], *[f'    Rule({rule})' for rule in rules]]) + '\n'


def explain(policy, asked):
    text = ''.join(json.dumps({k: v for k, v in flow.items() if k != 'id'}) + '\n' for flow in asked)
    done = sallyport('explain', policy, '--flows', '-', '--json', input=text)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(net, fw, sent):
    """Send them, and see that what comes is what explain says."""
    fates, said, wrong, seen = services()[1], explain(fw.policy, sent), [], {}
    expected = []
    for flow, answer in zip(sent, said):
        family = 6 if ':' in flow['src'] else 4
        expected.append(('silence',) if answer['service'] is None else fates[answer['service']](family, flow))
    for name in ('clients', 'dmz'):
        mine = [i for i, flow in enumerate(sent) if flow['iface'] == name]
        for start in range(0, len(mine), 250):
            part = mine[start:start + 250]
            silent = {k for k, i in enumerate(part) if expected[i] == ('silence',)}
            outcomes = flows.send(net.hosts[name], [sent[i] for i in part], silent)
            for i, outcome in zip(part, outcomes):
                seen[said[i]['service']] = seen.get(said[i]['service'], 0) + 1
                if outcome != expected[i]:
                    wrong.append(f"{sent[i]}: rule {said[i]['rule']} ({said[i]['service']}): "
                                 f'expected {expected[i]}, saw {outcome}')
    assert not wrong, f'{len(wrong)} of {len(sent)}:\n' + '\n'.join(wrong[:20])
    return seen


def flow(src, dst, proto=6, sport=30000, dport=25, iface='clients'):
    return {'proto': proto, 'src': src, 'sport': sport, 'dst': dst, 'dport': dport, 'iface': iface}


def test_forwarded_as_the_routers_say(net, many_addresses, answering, firewall):
    """Addresses kept and translated, TCP, UDP and ping, both families; and an answer to what nobody may do."""
    fw = firewall(policy_of(["service='forward', dst_port=21", "service='masquerade', dst_port=80", "service='to4', dst_port=443",
                             "service='to6', dst_port=1000", "service='same', dst_port=1001", "service='proxied', dst_port=25, proto=6",
                             "service='forward', proto=(1, 58), icmp_type=(8, 128)"]))
    sent = []
    for proto in (6, 17):
        for port in PORTS:
            sent.append(flow('172.16.10.10', '172.16.20.254', proto, 30000 + len(sent), port))
            sent.append(flow('fd00:10::10', 'fd00:20::254', proto, 30000 + len(sent), port))
    for src, dst, proto, kind in (('172.16.10.10', '172.16.20.254', 1, 8), ('fd00:10::10', 'fd00:20::254', 58, 128)):
        sent.append({'proto': proto, 'src': src, 'dst': dst, 'icmp_type': kind, 'icmp_code': 0, 'iface': 'clients', 'id': 1})
    seen = compare(net, fw, sent)
    assert {'proxied', 'forward', 'masquerade', 'to4', 'to6', 'same', None} <= set(seen)


def test_a_new_policy_does_not_touch_what_is_forwarded(net, many_addresses, answering, firewall):
    fw = firewall(policy_of(["service='masquerade', dst_port=2222"]))
    with net.servers.entered():
        listener = client.socket.create_server(('172.16.20.254', 2222))
    with listener, client.connect(net.clients, '172.16.20.254', 2222) as old:
        there, peer = listener.accept()
        there.settimeout(20)
        with there:
            assert peer[0] == FIREWALL[4]
            for rules in (["service='deny1'"], ["service='proxied', dst_port=2222"]):
                fw.write_policy(policy_of(rules))
                fw.ctl('reload')
                old.sendall(b'ping')
                assert there.recv(10) == b'ping'
                there.sendall(b'pong')
                assert old.recv(10) == b'pong'
                with pytest.raises(OSError):
                    client.connect(net.clients, '172.16.20.254', 2223, timeout=2).close()
            fw.crash()
            old.sendall(b'last')
            assert there.recv(10) == b'last'


FIN, SYN, PUSH, ACK, URG = 1, 2, 8, 16, 32


def send_segments(host, src, dst, segments):
    """TCP segments without a connection: (source port, port, flags) each."""
    with host.entered(), client.socket.socket(client.socket.AF_INET, client.socket.SOCK_RAW, 6) as raw:
        raw.bind((src, 0))
        for sport, dport, bits in segments:
            raw.sendto(flows.tcp_segment(src, dst, sport, dport, bits), (dst, 0))


def test_what_begins_nothing_is_forwarded_nowhere(net, many_addresses, firewall):
    """A scan's odd segments, and an echo reply that nobody asked for. Conntrack has no connection for them."""
    src, dst = '172.16.10.10', '172.16.20.254'
    firewall(policy_of(["service='forward', dst_port=21", "service='proxied', dst_port=25, proto=6"]))
    with net.servers.entered():
        raw = client.socket.socket(client.socket.AF_INET, client.socket.SOCK_RAW, 6)
        icmp = client.socket.socket(client.socket.AF_INET, client.socket.SOCK_RAW, flows.ICMP)
    with raw, icmp:
        raw.settimeout(20)
        odd = [(41000, 4000, bits) for bits in (FIN, 0, FIN | PUSH | URG, ACK, SYN | ACK, FIN | ACK)]
        send_segments(net.clients, src, dst, odd)
        reply = {'proto': flows.ICMP, 'src': src, 'dst': dst, 'icmp_type': 0, 'icmp_code': 0, 'id': 7}
        with net.clients.entered():
            flows.start(reply)
        # Behind them one that may pass.
        send_segments(net.clients, src, dst, [(41001, 21, SYN)])
        seen = []
        while 41001 not in seen:
            packet = raw.recv(2000)
            if packet[12:16] == client.socket.inet_aton(src):
                seen.append(int.from_bytes(packet[20:22], 'big'))
        assert seen == [41001]
        with pytest.raises(BlockingIOError):
            icmp.setblocking(False)
            icmp.recv(2000)


def udp_packet(src, dst, sport, dport):
    """With its IPv4 header; what is 0 in it the kernel fills in."""
    to_octets = client.socket.inet_aton
    return (bytes([0x45, 0]) + (28).to_bytes(2, 'big') + bytes(4) + bytes([64, 17, 0, 0]) + to_octets(src) + to_octets(dst) +
            b''.join(n.to_bytes(2, 'big') for n in (sport, dport, 8, 0)))


def udp_socket(host, address, port):
    with host.entered():
        sock = client.socket.socket(client.socket.AF_INET, client.socket.SOCK_DGRAM)
        sock.bind((address, port))
    sock.settimeout(20)
    return sock


@pytest.fixture
def any_source(net):
    """The firewall takes packets from any source through any interface."""
    names = net.firewall.run('ls', '/proc/sys/net/ipv4/conf').stdout.split()
    before = [net.firewall.run('sysctl', '-n', f'net.ipv4.conf.{name}.rp_filter').stdout.strip() for name in names]
    for name in names:
        net.firewall.run('sysctl', '-qw', f'net.ipv4.conf.{name}.rp_filter=0')
    yield
    for name, value in zip(names, before):
        net.firewall.run('sysctl', '-qw', f'net.ipv4.conf.{name}.rp_filter={value}')


def test_a_forged_question_gets_no_answer_through(net, any_source, firewall):
    """A client speaks for a server that may ask, so that what another client sends there seems to be an answer."""
    server, dmz = '172.16.20.254', '172.16.40.10'
    firewall(policy_of(["service='forward', proto=17, dst_port=1000, src_subnet='172.16.20.0/23', dst_subnet='172.16.40.0/24'",
                        "service='forward', proto=17, dst_port=25, src_subnet='172.16.40.0/24'"]))
    with udp_socket(net.dmz, dmz, 1000) as there, udp_socket(net.servers, server, 21) as at21, udp_socket(net.servers, server, 25) as at25, \
            udp_socket(net.servers, server, 26) as at26:
        with net.clients.entered(), client.socket.socket(client.socket.AF_INET, client.socket.SOCK_RAW, client.socket.IPPROTO_RAW) as raw:
            raw.sendto(udp_packet(server, dmz, 21, 1000), (dmz, 0))
        assert there.recvfrom(10)[1] == (server, 21)
        there.sendto(b'no answer', (server, 21))
        # Behind it one that may pass.
        there.sendto(b'own', (server, 25))
        assert at25.recv(10) == b'own'
        at21.setblocking(False)
        with pytest.raises(BlockingIOError):
            at21.recv(10)
        # What the server asks itself is answered.
        at26.sendto(b'ask', (dmz, 1000))
        assert there.recvfrom(10) == (b'ask', (server, 26))
        there.sendto(b'answer', (server, 26))
        assert at26.recv(10) == b'answer'


def test_a_host_that_does_not_forward_is_told_of(net, firewall):
    """Both at a reload and by `kernel`; only where a policy forwards at all, and for the family that it forwards."""
    warning = 'net.ipv4.ip_forward is 0: no PFService forwards anything'
    forwarding = policy_of(["service='forward', dst_port=21, proto=6, dst_subnet='172.16.20.0/23'"])
    fw = firewall(policy_of(["service='proxied', dst_port=25, proto=6"]))
    settings = ('net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding')
    try:
        net.firewall.run('sysctl', '-qw', *[f'{s}=0' for s in settings])
        fw.ctl('reload')
        assert warning not in fw.log
        fw.write_policy(forwarding)
        fw.ctl('reload')
        process.wait_until(lambda: warning in fw.log, 20, warning)
        assert warning in net.firewall.run(PROGRAM, 'kernel', fw.policy, check=False).stderr
    finally:
        net.firewall.run('sysctl', '-qw', *[f'{s}=1' for s in settings])
    assert 'ipv6' not in fw.log.split(warning, 1)[1]


def random_rule(chance):
    """What an administrator would hardly write, but may."""
    parts = {}
    if chance.random() < .8:
        parts['dst_port'] = repr(chance.sample(PORTS, chance.choice((1, 1, 2))))
        if chance.random() < .3:
            low = chance.choice((20, 400, 900))
            parts['dst_port'] = chance.choice((f'PortRange({low}, {low + 101})', f'[PortRange({low}, 2000), {chance.choice(PORTS)}]'))
    if chance.random() < .06:
        low = 20000 + chance.randrange(20000)
        parts['src_port'] = f'PortRange({low}, {low + 1000})'
    if chance.random() < .4:
        parts['proto'] = chance.choice(('6', '6', '17', '(1, 58)', '(6, 17)'))
    if chance.random() < .1:
        parts['icmp_type'] = '(8, 128)'
    if chance.random() < .6:
        parts['src_zone'] = repr(chance.choice(('clients', 'office', 'lab', 'dmz', 'dmz.low', 'world')))
    if chance.random() < .4:
        parts['src_subnet'] = repr(chance.sample(['172.16.10.0/24', '172.16.0.0/16', '172.16.10.11/32', '172.16.40.128/25',
                                                  'fd00:10::/48', 'fd00::/16', 'fd00:40::1:0/112', '0.0.0.0/0'], 2))
    if chance.random() < .6:
        parts['dst_zone'] = repr(chance.choice(('servers', 'rack', 'world', 'servers.six')))
    if chance.random() < .4:
        parts['dst_subnet'] = repr(chance.sample(['172.16.20.0/24', '172.16.20.0/23', '172.16.20.1/32', '172.16.21.3',
                                                  'fd00:20::/48', 'fd00:20::2', '::/0', '172.16.40.1'], 2))
    if len(parts) > 3 and chance.random() < .1:
        parts['iface'] = repr(chance.choice(('clients', 'dmz')))
    if len(parts) > 3 and chance.random() < .1:
        parts['ifgroup'] = repr(chance.choice((0, 7, 8)))
    if chance.random() < .04:
        parts['dst_iface'] = repr(chance.choice(('clients', 'dmz')))
    kinds = ['proxied'] * 5 + ['forward', 'masquerade', 'to4', 'to6', 'same'] * 2 + [f'deny{k}' for k in range(len(DENY4))]
    service = chance.choice(kinds)
    if service == 'proxied' and '17' in parts.get('proto', ''):
        parts['proto'] = '6'
    return ', '.join([f"service='{service}'", *[f'{name}={value}' for name, value in parts.items()]])


ZONES = '''
Zone('office', ['172.16.10.0/25', 'fd00:10::/112'], admin_parent='clients')
Zone('lab', ['172.16.11.0/24', '172.16.10.11'], admin_parent='office')
Zone('dmz.low', ['172.16.40.0/25', 'fd00:40::1:0/112'], admin_parent='dmz')
Zone('rack', ['172.16.20.0/30', 'fd00:20::2'], admin_parent='servers')
Zone('servers.six', ['fd00:20::1:0/112'], admin_parent='rack')
Zone('world', ['0.0.0.0/0', '::/0'])
'''


def random_flow(chance, number):
    name = chance.choice(('clients', 'dmz'))
    six = chance.random() < .35

    def fitting(addresses):
        return chance.choice([a.split('/')[0] for a in addresses if (':' in a) == six])

    own = {'clients': ['172.16.10.10', 'fd00:10::10'], 'dmz': ['172.16.40.10', 'fd00:40::10']}
    made = {'src': fitting(EXTRA[name] + own[name]), 'iface': name, 'ifgroup': 0}
    if chance.random() < .1:
        made.update(dst=fitting(OWN[name]), dst_iface=name, dst_ifgroup=0)
    else:
        made['dst'] = fitting([*EXTRA['servers'], '172.16.20.254', 'fd00:20::254'])
    made['proto'] = chance.choice((6, 6, 6, 17, 17, 58 if six else 1))
    if made['proto'] in flows.TRANSPORTS:
        made.update(sport=number, dport=chance.choice(PORTS))
    else:
        made.update(icmp_type=128 if six else 8, icmp_code=0, id=number)
    return made


def is_for_a_test(flow, answer):
    """Not those to the firewall itself that nothing there answers, or answers by itself."""
    return 'dst_iface' not in flow or answer['service'] not in (None, 'proxied', 'forward', 'masquerade')


@pytest.mark.parametrize('seed', [1, 2])
def test_real_packets_meet_what_explain_says(net, many_addresses, answering, firewall, seed):
    chance = random.Random(seed)
    text = policy_of([random_rule(chance) for _ in range(300)]).replace('\nclass Mail', ZONES + '\nclass Mail')
    fw = firewall(text)
    # Decisions about forwarding are kept for a while with the addresses and ports: others in each run.
    first = 20000 + seed * 2000
    sent = [random_flow(chance, number) for number in range(first, first + 1400)]
    sent = [flow for flow, answer in zip(sent, explain(fw.policy, sent)) if is_for_a_test(flow, answer)]
    seen = compare(net, fw, sent)
    assert len(sent) > 1000 and len(seen) > 12, seen
