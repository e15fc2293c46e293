# SPDX-License-Identifier: Apache-2.0
"""Reloads, killed workers, drained sessions, the control socket, and many sessions at once."""
import concurrent.futures
import os
import resource
import selectors
import signal
import time

import pytest

from lab import client, origin, policies, process

ORIGIN = '172.16.20.254'
TARGET = f'inet:{ORIGIN}:25'


def test_reload_takes_the_new_policy(net, sink, firewall):
    fw = firewall(policies.mail())
    assert not client.gets_service(net.dmz, '172.16.20.254', 2600)
    fw.write_policy(policies.mail().replace('example.com', 'example.org'))
    with client.Smtp(net.dmz, ORIGIN) as old:
        fw.ctl('reload')
        with client.Smtp(net.dmz, ORIGIN) as new:
            new.send_octets(b'x\r\n', recipients=['bob@example.org'])
            with pytest.raises(Exception):
                new.send_octets(b'x\r\n')
        # a session keeps the policy that it began under
        old.send_octets(b'x\r\n')
    assert [m['recipients'] for m in sink.messages()] == [['bob@example.org'], ['bob@example.com']]


def test_reload_by_signal(net, sink, firewall):
    fw = firewall(policies.mail())
    fw.write_policy(policies.mail().replace("'dmz', )", "'clients', )"))
    fw.program.process.send_signal(signal.SIGHUP)
    process.wait_until(lambda: client.gets_service(net.clients, ORIGIN), 10, 'the new rule is in force')


def test_reload_to_a_broken_policy_changes_nothing(net, sink, firewall):
    fw = firewall(policies.mail())
    before = net.kernel_state()
    pids = fw.pids()
    fw.write_policy(policies.mail() + "    Rule(service='nonsense')\n")
    done = fw.ctl('reload', check=False)
    assert done.returncode == 1
    assert f'{fw.policy}:' in done.stdout + done.stderr and 'nonsense' in done.stdout + done.stderr
    with client.Smtp(net.dmz, ORIGIN) as smtp:
        smtp.send_octets(b'x\r\n')
    assert net.kernel_state() == before
    process.wait_until(lambda: fw.pids() == pids, 5, 'the failed generation is gone')


def test_fifty_reloads_under_load_lose_nothing(net, sink, firewall):
    fw = firewall(policies.mail())
    source = process.Program(['smtp-source', '-f', 'a@client.example', '-t', 'bob@example.com', '-s', '10', '-m', '4000',
                              '-l', '2000', '-c', TARGET], net.dmz)
    reloads = 0
    while reloads < 50:
        fw.ctl('reload')
        reloads += 1
        if not source.is_running() and reloads < 50:
            # it was quick: go on under a second load
            assert source.wait() == 0, source.output
            source = process.Program(source.command[4:], net.dmz)
    assert source.wait(60) == 0, source.output
    kept = sink.messages()
    assert len(kept) % 4000 == 0 and kept
    assert len(sink.peers()) == len(kept)
    # All generations but the last are gone once their sessions are.
    process.wait_until(lambda: len(fw.ctl_json('status')['generations']) == 1, 20, 'old generations end')


def test_a_session_survives_reloads(net, sink, firewall):
    fw = firewall(policies.mail())
    with client.Smtp(net.dmz, ORIGIN) as smtp:
        for _ in range(5):
            fw.ctl('reload')
            smtp.send_octets(b'x\r\n')
    assert len(sink.messages()) == 5 and len(sink.peers()) == 1


def workers_of(fw):
    """The processes that hold the sessions, and how many each."""
    return {worker['pid']: worker['sessions'] for worker in fw.ctl_json('status')['worker_processes']}


def test_a_killed_worker_costs_only_its_sessions(net, sink, firewall):
    fw = firewall(policies.mail(), workers=2)
    sessions = []
    # One that is stopped for a while leaves what comes to the other.
    for resting in workers_of(fw):
        os.kill(resting, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            opening = [pool.submit(client.Smtp, net.dmz, ORIGIN) for _ in range(10)]
            concurrent.futures.wait(opening, 20, concurrent.futures.FIRST_COMPLETED)
            os.kill(resting, signal.SIGCONT)
            sessions += [future.result() for future in opening]
    (victim, _), (_, unharmed) = workers_of(fw).items()
    os.kill(victim, signal.SIGKILL)
    alive = 0
    for smtp in sessions:
        try:
            smtp.send_octets(b'x\r\n')
            alive += 1
        except Exception:
            pass
        smtp.close()
    assert 0 < alive == unharmed < len(sessions)
    assert len(sink.messages()) == alive
    for _ in range(20):
        with client.Smtp(net.dmz, ORIGIN) as smtp:
            smtp.send_octets(b'x\r\n')
    process.wait_until(lambda: len(workers_of(fw)) == 2 and victim not in workers_of(fw), 15, 'a new worker')


def test_stop_lets_sessions_finish(net, sink, firewall):
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        assert raw.reply()[0] == 220
        for line, code in ((b'EHLO x.example', 250), (b'MAIL FROM:<a@x.example>', 250),
                           (b'RCPT TO:<bob@example.com>', 250), (b'DATA', 354)):
            assert raw.command(line) == code
        fw.program.process.send_signal(signal.SIGTERM)
        fw.program.wait_line('Stopping')
        raw.send(b'late\r\n.\r\n')
        assert raw.reply()[0] == 250
    assert fw.program.wait(10) == 0
    assert sink.content(1) == b'late\r\n'


def test_a_second_signal_ends_at_once(net, sink, firewall):
    fw = firewall(policies.mail())
    with client.Raw(net.dmz, ORIGIN) as raw:
        assert raw.reply()[0] == 220
        for line, code in ((b'EHLO x.example', 250), (b'MAIL FROM:<a@x.example>', 250),
                           (b'RCPT TO:<bob@example.com>', 250), (b'DATA', 354)):
            assert raw.command(line) == code
        fw.program.process.send_signal(signal.SIGTERM)
        fw.program.wait_line('Stopping')
        assert fw.program.process.poll() is None
        fw.program.process.send_signal(signal.SIGTERM)
        assert fw.program.wait(20) == 0     # less than it would let the message have


def test_the_control_socket(net, sink, firewall):
    fw = firewall(policies.mail())
    with client.Smtp(net.dmz, ORIGIN) as smtp:
        smtp.send_octets(b'x\r\n')
        status = fw.ctl_json('status')
        assert status['kernel_rules'] and status['sessions'] == 1
        assert fw.policy in fw.ctl('status').stdout
        session, = fw.ctl_json('sessions')['sessions']
        assert session['client_address'].startswith('172.16.40.10:')
        assert session['client_local'] == session['server_address'] == f'{ORIGIN}:25'
        assert session['id'] in fw.ctl('sessions').stdout
        assert fw.ctl('stats').stdout
        assert fw.ctl('stop-session', 'svc/no/such:1', check=False).returncode == 1
        assert fw.ctl('stop-session', session['id']).returncode == 0
        code, _ = smtp.docmd('NOOP') if smtp.sock else (421, b'')
        assert code in (421, -1)
    with client.Smtp(net.dmz, ORIGIN) as smtp:
        smtp.send_octets(b'x\r\n')


def test_ctl_without_a_supervisor(net, firewall):
    fw = firewall(policies.mail())
    fw.stop()
    done = fw.ctl('status', check=False)
    assert done.returncode == 3 and fw.control in done.stderr


def greetings(net, count):
    """Open so many connections at once and wait until each is greeted; the sockets."""
    chosen = selectors.DefaultSelector()
    sockets = []
    with net.dmz.entered():
        import socket
        for _ in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((ORIGIN, 25))
            chosen.register(sock, selectors.EVENT_READ)
            sockets.append(sock)
    greeted, end = 0, time.monotonic() + 60
    while greeted < count and time.monotonic() < end:
        for key, _ in chosen.select(1):
            octets = key.fileobj.recv(512)
            assert octets.startswith(b'220'), octets
            chosen.unregister(key.fileobj)
            greeted += 1
    return sockets, greeted


def test_two_thousand_sessions_at_once(net, sink, firewall):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 20000), limit[1]))
    fw = firewall(policies.mail())
    sockets, greeted = greetings(net, 2000)
    try:
        assert greeted == 2000
        for sock in sockets:
            sock.setblocking(True)
            sock.settimeout(30)
            sock.sendall(b'EHLO x.example\r\n')
        for sock in sockets:
            assert sock.recv(2000).startswith(b'250')
        for line, code in ((b'MAIL FROM:<a@x.example>', b'250'), (b'RCPT TO:<bob@example.com>', b'250'), (b'DATA', b'354'),
                           (b'x\r\n.', b'250'), (b'QUIT', b'221')):
            for sock in sockets:
                sock.sendall(line + b'\r\n')
            for sock in sockets:
                assert sock.recv(512).startswith(code)
    finally:
        for sock in sockets:
            origin.reset(sock)
    assert len(sink.messages()) == 2000
    # Nothing is left of them: no session, no descriptor.
    process.wait_until(lambda: fw.ctl_json('sessions')['sessions'] == [], 10, 'all sessions end')
    for pid in workers_of(fw):
        assert len(os.listdir(f'/proc/{pid}/fd')) < 100
