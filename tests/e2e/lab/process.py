# SPDX-License-Identifier: Apache-2.0
"""Programs of a test: started in a host of the lab, their output collected, ended for sure."""
import os
import signal
import subprocess
import threading
import time


class Program:
    """A running program; its standard output and error are one list of lines."""

    def __init__(self, command, namespace=None, cwd=None, env=None):
        if namespace is not None:
            command = namespace.command(*command)
        self.command = command
        self.lines = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, cwd=cwd, env=env, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.decode('utf-8', 'replace').rstrip('\n'))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self):
        # "ip netns exec" becomes the program itself, it does not fork.
        return self.process.pid

    @property
    def output(self):
        return '\n'.join(self.lines)

    def wait_line(self, want, timeout=10, start=0):
        """The first line (from number start on) that wants says yes to; fails when none comes."""
        test = want if callable(want) else (lambda line: want in line)
        end = time.monotonic() + timeout
        with self._news:
            while True:
                for line in self.lines[start:]:
                    if test(line):
                        return line
                start = len(self.lines)
                left = end - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    break
                self._news.wait(min(left, 0.2))
        what = 'the program ended' if self.process.poll() is not None else f'nothing in {timeout} s'
        raise AssertionError(f'no line {want!r}: {what}\n{self.output}')

    def is_running(self):
        return self.process.poll() is None

    def wait(self, timeout=10):
        status = self.process.wait(timeout)
        self._reader.join(5)
        return status

    def terminate(self, timeout=10):
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f'{self.command[0]} does not end\n{self.output}')

    def kill(self):
        """SIGKILL to it and everything it started; parents first, so that nobody starts anew what ended."""
        for pid in family_of(self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.wait()


def children_of(pid):
    try:
        with open(f'/proc/{pid}/task/{pid}/children') as f:
            return [int(child) for child in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def family_of(pid):
    """The process and all its descendants, parents first."""
    found = [pid]
    for child in found:
        found.extend(children_of(child))
    return found


def name_of(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            return f.read().replace(b'\0', b' ').decode('utf-8', 'replace').strip()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def cpu_seconds(pid):
    """Of the processor, that it and its ended children used so far."""
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rpartition(')')[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf('SC_CLK_TCK')


def wait_until(condition, timeout=10, what='the condition'):
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'{what}: not within {timeout} s')
        time.sleep(0.02)
