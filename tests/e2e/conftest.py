# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: the lab, an origin, the firewall."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lab import network, origin     # noqa: E402
from lab.firewall import Firewall, PROGRAM  # noqa: E402


def pytest_configure(config):
    # "the program is missing" is said once here, not as hundreds of failures
    if os.geteuid() == 0 and not os.access(PROGRAM, os.X_OK):
        pytest.exit(f'there is no {PROGRAM}: ./do build makes it', returncode=3)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason='makes network namespaces, needs root'))


@pytest.fixture(scope='session')
def net():
    lab = network.Network().create()
    try:
        yield lab
    finally:
        lab.remove()


@pytest.fixture
def sink(net):
    server = origin.Sink(net.servers)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def postfix(net):
    server = origin.Postfix(net.servers)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def scripted(net):
    """scripted(function): a server on the origin's address whose connections call the function."""
    servers = []

    def start(script, **options):
        servers.append(origin.Scripted(net.servers, script, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Firewalls:
    """firewall(policy, *options): a firewall that is ready; its log is shown when the test fails."""

    def __init__(self, net):
        self.net = net
        self.running = []

    def __call__(self, policy, *options, **more):
        self.running.append(Firewall(self.net, policy, *options, **more))
        return self.running[-1]


@pytest.fixture
def firewall(net):
    firewalls = Firewalls(net)
    yield firewalls
    for fw in firewalls.running:
        fw.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == 'call' and report.failed and 'firewall' in item.funcargs:
        for number, fw in enumerate(item.funcargs['firewall'].running):
            report.sections.append((f'log of firewall {number}', fw.log[-20000:]))
