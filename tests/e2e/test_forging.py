# SPDX-License-Identifier: Apache-2.0
"""The client that the origin sees, for every form of forge_addr and forge_port."""
import itertools

import pytest

from lab import client, policies

CLIENT = {4: '172.16.40.10', 6: 'fd00:40::10'}
FIREWALL = {4: '172.16.21.254', 6: 'fd00:20::1'}
ORIGIN = {4: '172.16.20.254', 6: 'fd00:20::254'}

# Each port is used once: closed connections keep theirs for a minute.
high_ports = itertools.count(30000)
low_ports = itertools.count(600)

GROUPS = ((1, 511), (512, 1023), (1024, 65535))


def same_group(a, b):
    return any(first <= a <= last and first <= b <= last for first, last in GROUPS)


def peer_seen(net, sink, family, source_port):
    source = (CLIENT[family], source_port)
    with client.Smtp(net.dmz, ORIGIN[family], source=source) as smtp:
        smtp.send_octets(b'x\r\n')
    return sink.peers()[-1]


@pytest.mark.parametrize('router', ['transparent', 'directed'])
@pytest.mark.parametrize('family', [4, 6])
@pytest.mark.parametrize('forge', [True, False])
@pytest.mark.parametrize('port', ['Z_PORT_ANY', 'Z_PORT_GROUP', 'Z_PORT_EXACT', 'Z_PORT_RANDOM', '4025', '25'])
def test_the_peer_that_the_origin_sees(net, sink, firewall, router, family, forge, port):
    if port.isdigit() and router == 'directed':
        port = str(int(port) + 1)
    options = {'forge_addr': 'TRUE' if forge else 'FALSE', 'forge_port': port}
    if router == 'directed':
        text = policies.directed(ORIGIN[family], **options)
    else:
        text = f'TransparentRouter(forge_addr={options["forge_addr"]}, forge_port={port})'
    firewall(policies.mail(text))
    for source_port in (next(high_ports), next(low_ports)):
        address, seen = peer_seen(net, sink, family, source_port)
        assert address == (CLIENT if forge else FIREWALL)[family]
        if port == 'Z_PORT_EXACT':
            assert seen == source_port
        elif port in ('Z_PORT_GROUP', 'Z_PORT_RANDOM'):
            assert same_group(seen, source_port)
        elif port.isdigit():
            # Without forging too, where the original forgot the number (docs/compatibility.md).
            assert seen == int(port)
            break       # the fixed port stays busy for a while with the same two ends
        else:
            assert seen >= 1024
