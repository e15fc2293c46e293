# SPDX-License-Identifier: Apache-2.0
"""What a policy may say, and what check answers when it can't mean what it says."""
import json
import re

import pytest

from lab import client, policies
from lab.firewall import ROOT, sallyport
from lab.origin import shared_folder

ORIGIN = '172.16.20.254'

# The policy as users of the language have it, unchanged.
SEED = '''
from Zorp.Core import *
from Zorp.Smtp import *

Zone('dmz', ['172.16.40.0/24'])

def default_instance():
    Service(name='mail', proxy_class=SmtpProxy,
            router=DirectedRouter(dest_addr=SockAddrInet('172.16.20.254', 25), forge_addr=TRUE))
    Rule(service='mail', dst_port=25, src_zone=('dmz', ), dst_subnet=('172.16.40.1', ))
'''


@pytest.fixture
def write():
    import os
    import shutil
    folder = shared_folder('sp-policy-')

    def put(text):
        path = os.path.join(folder, 'policy.py')
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    yield put
    shutil.rmtree(folder)


def test_the_seed_policy_relays_nothing(net, sink, firewall):
    firewall(SEED)
    with client.Raw(net.dmz, '172.16.40.1') as raw:
        assert raw.reply()[0] == 220
        assert raw.command(b'EHLO x.example') == 250
        assert raw.command(b'MAIL FROM:<a@x.example>') == 250
        raw.send(b'RCPT TO:<bob@example.com>\r\n')
        code, lines = raw.reply()
        assert code // 100 == 5 and b'relay' in b''.join(lines).lower()
        assert raw.command(b'DATA') // 100 == 5
    assert sink.messages() == []


def test_the_seed_policy_needs_no_python_at_run_time(net, firewall, write):
    path = write(SEED)
    done = sallyport('compile', path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document['callbacks'] == 0
    assert sallyport('check', path).stdout == ''
    fw = firewall(SEED)
    assert fw.named('python') == []


def test_relay_zones_deliver(net, sink, firewall):
    firewall(policies.mail(proxy='Zoned', classes='''
class Zoned(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_zones = ('dmz', )
'''))
    with client.Smtp(net.dmz, ORIGIN) as smtp:
        smtp.send_octets(b'x\r\n', recipients=['who@anywhere.example'])
    assert sink.messages()[0]['recipients'] == ['who@anywhere.example']


def test_a_document_runs_like_its_policy(net, sink, firewall, write):
    document = sallyport('compile', write(policies.mail())).stdout
    firewall(document)
    with client.Smtp(net.dmz, ORIGIN) as smtp:
        smtp.send_octets(b'x\r\n')
    assert len(sink.messages()) == 1


GOOD_END = "    Service(name='mail', proxy_class=SmtpProxy)\n    Rule(service='mail')\n"
# what: the text, the line of the mistake, a word of the answer
BROKEN = {
    'misspelt attribute': ('''from Zorp.Smtp import *
class Mine(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.relay_domians = ('example.com', )
def default_instance():
    Service(name='mail', proxy_class=Mine)
    Rule(service='mail')
''', 5, 'relay_domains'),
    'wrong type': ('''from Zorp.Smtp import *
class Mine(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.timeout = 'soon'
def default_instance():
    Service(name='mail', proxy_class=Mine)
    Rule(service='mail')
''', 5, 'timeout'),
    'out of range': ('''from Zorp.Smtp import *
class Mine(SmtpProxy):
    def config(self):
        SmtpProxy.config(self)
        self.unconnected_response_code = 99
def default_instance():
    Service(name='mail', proxy_class=Mine)
    Rule(service='mail')
''', 5, '99'),
    'unknown zone in a rule': ('''from Zorp.Smtp import *
Zone('intra', ['10.0.0.0/8'])
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    Rule(service='mail', src_zone='intern')
''', 5, 'intern'),
    'unknown service': ('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    Rule(service='mial')
''', 4, 'mial'),
    'port out of range': ('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    Rule(service='mail', dst_port=99999)
''', 4, '99999'),
    'bad subnet': ('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    Rule(service='mail', dst_subnet='172.16.40.300')
''', 4, '172.16.40.300'),
    'unknown keyword of a rule': ('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    Rule(service='mail', dest_port=25)
''', 4, 'dest_port'),
    'syntax error': ('''from Zorp.Smtp import *
def default_instance(:
    pass
''', 2, 'syntax'),
    'exception in the instance': ('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    raise RuntimeError('not today')
''', 4, 'not today'),
    'unknown name': ('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmptProxy)
''', 3, 'SmptProxy'),
    'no such module': ('''from Zorp.Smtp import *
from Zorp.Smpt import *
def default_instance():
''' + GOOD_END, 2, 'Smpt'),
    'service twice': ('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    Service(name='mail', proxy_class=SmtpProxy)
''', 4, 'mail'),
    'UDP through a proxy': ('''from Zorp.Plug import *
def default_instance():
    Service(name='plug', proxy_class=PlugProxy)
    Rule(service='plug', proto=17, dst_port=53)
''', 4, 'UDP'),
}


@pytest.mark.parametrize('what', BROKEN, ids=lambda name: name.replace(' ', '-'))
def test_a_broken_policy_is_refused(write, what):
    text, line, word = BROKEN[what]
    path = write(text)
    done = sallyport('check', path)
    assert done.returncode == 1, done
    shown = done.stdout + done.stderr
    assert f'{path}:{line}' in shown, shown
    assert word.lower() in shown.lower(), shown
    assert 'Traceback' not in shown
    done = sallyport('check', path, '--json')
    problems = [json.loads(problem) for problem in done.stdout.splitlines()]
    assert any(p['line'] == line and p['severity'] == 'error' for p in problems)
    # and it does not run either
    done = sallyport('run', path, '--no-kernel', '--control', path + '.control')
    assert done.returncode == 1, done
    assert f'{path}:{line}' in done.stderr


def test_all_problems_at_once(write):
    path = write('''from Zorp.Smtp import *
def default_instance():
    Service(name='mail', proxy_class=SmtpProxy)
    Rule(service='mail', dst_port=99999)
    Rule(service='mial')
''')
    shown = sallyport('check', path).stderr + sallyport('check', path).stdout
    assert re.search(r':4\b', shown) and re.search(r':5\b', shown)


@pytest.mark.parametrize('name', ['reverse-proxy', 'loopback'])
def test_the_examples_are_fine(name):
    done = sallyport('check', f'{ROOT}/examples/{name}/policy.py')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_explain_agrees_with_what_happens(net, sink, firewall, write):
    """The same flow: what explain says, and what the client gets."""
    path = write(SEED)
    firewall(SEED)
    flows = {
        ('172.16.40.10', '172.16.40.1'): (net.dmz, '172.16.40.1', 25),
        ('172.16.10.10', '172.16.40.1'): (net.clients, '172.16.40.1', 25),
        ('172.16.40.10', '172.16.40.2'): (net.dmz, '172.16.40.2', 25),
    }
    for (src, dst), (host, address, port) in flows.items():
        done = sallyport('explain', path, '--proto', 'tcp', '--from', f'{src}:12345', '--to', f'{dst}:{port}', '--json')
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said['service'] == 'mail') == client.gets_service(host, address, port, timeout=1.5)
