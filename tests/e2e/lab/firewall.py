# SPDX-License-Identifier: Apache-2.0
"""The firewall under test: build/sallyport on the lab's firewall host."""
import json
import os
import shutil
import signal
import subprocess
import time

from . import process
from .origin import shared_folder

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.path.join(ROOT, os.environ.get('SALLYPORT_BUILD', 'build'))
PROGRAM = os.path.join(BUILD, 'sallyport')


def _is_sanitized():
    try:
        with open(PROGRAM, 'rb') as f:
            return b'__asan_init' in f.read()
    except FileNotFoundError:
        return False


SANITIZED = _is_sanitized()


class Firewall:
    """One running supervisor. policy is the text of a policy, or the path of one; within is a command that becomes the program."""

    def __init__(self, network, policy, *options, ready=True, workers=2, within=()):
        self.network = network
        self.folder = shared_folder('sp-fw-')
        self.policy = os.path.join(self.folder, 'policy.py')
        self.control = os.path.join(self.folder, 'control')
        if os.path.exists(policy):
            with open(policy) as f:
                policy = f.read()
        self.write_policy(policy)
        self.program = process.Program([*within, PROGRAM, 'run', self.policy, '--control', self.control,
                                        '--workers', str(workers), '--verbose', '4', *options], network.firewall)
        if ready:
            try:
                self.program.wait_line('ready', 20)
            except BaseException:
                self.close()
                raise

    def write_policy(self, text):
        with open(self.policy, 'w') as f:
            f.write(text)
        os.chmod(self.policy, 0o644)

    @property
    def log(self):
        return self.program.output

    def ctl(self, *arguments, check=True):
        done = self.network.firewall.run(PROGRAM, 'ctl', '--control', self.control, *arguments, check=False)
        if check:
            assert done.returncode == 0, f'ctl {arguments}: status {done.returncode}\n{done.stdout}{done.stderr}\n{self.log}'
        return done

    def ctl_json(self, *arguments):
        return json.loads(self.ctl(*arguments, '--json').stdout)

    def pids(self):
        return process.family_of(self.program.pid)

    def named(self, word):
        """Processes of the firewall whose command line, or name, holds the word."""
        return [pid for pid in self.pids() if word in process.name_of(pid)]

    def stop(self, timeout=15):
        return self.program.terminate(timeout)

    def crash(self):
        """SIGKILL to every process at once."""
        self.program.kill()

    def close(self):
        """Ends it, and whatever it left in the kernel."""
        if self.program.is_running():
            if SANITIZED:
                self.end_orderly()
            self.program.kill()
        self.network.clear_firewall()
        shutil.rmtree(self.folder, ignore_errors=True)
        reports = [line for line in self.program.lines if 'Sanitizer' in line or 'runtime error' in line]
        assert not reports, '\n'.join(reports)

    def end_orderly(self):
        """Two signals: at once, but with every process's own end, where leaks are counted."""
        for _ in range(2):
            if self.program.is_running():
                self.program.process.send_signal(signal.SIGTERM)
                time.sleep(0.1)
        try:
            self.program.wait(15)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'two signals did not end it\n{self.log}')


def sallyport(*arguments, **options):
    """A command that ends by itself, where this test runs."""
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=30, **options)
