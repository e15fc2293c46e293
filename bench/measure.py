# SPDX-License-Identifier: Apache-2.0
"""What the measurements share: programs that end with them, and the processor time of those."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOST = "127.0.0.1"
START_SECONDS = 10


class Failed(Exception):
    """What the user should know."""


def build_folder():
    return os.path.join(TOP, os.environ.get("SALLYPORT_BUILD", "build"))


def find_program(name):
    ours = os.path.join(build_folder(), "bench", "client", name)
    if os.path.exists(ours):
        return ours
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        raise Failed(f"{name} is not installed: ./do bench NAME installs what it needs")
    return path


def unprivileged():
    """Popen arguments that give up root, where there is root to give up."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def accepts(port):
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


class Program:
    """A started program that ends with the with-block; its output is in a file."""

    def __init__(self, folder, name, argv, port, ready=None, **options):
        self.name, self.port, self.ready = name, port, ready
        self.log = os.path.join(folder, name + ".log")
        if accepts(port):
            raise Failed(f"port {port} is in use, {name} needs it")
        with open(self.log, "wb") as log:
            # A session each, as services have, for proxies, sink and clients: the kernel divides processors between
            # sessions, and programs that shared one would be interrupted and woken in another way.
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=TOP, start_new_session=True, **options)

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_ready(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if self.ready in self.output().splitlines() if self.ready else accepts(self.port):
                return
            time.sleep(0.02)
        raise Failed(f"{self.name} did not start:\n{self.output()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)


def family(pid):
    """The process and all below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
                for child in children.read().split():
                    found += family(int(child))
    return found


def cpu_seconds(pid):
    """User and system time of a family of processes."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for member in family(pid):
        with contextlib.suppress(OSError):
            try:
                for task in os.listdir(f"/proc/{member}/task"):
                    with open(f"/proc/{member}/task/{task}/schedstat", encoding="ascii") as stat:
                        total += int(stat.read().split()[0]) / 1e9
            except FileNotFoundError:  # a kernel without it: exact to a tick only
                with open(f"/proc/{member}/stat", encoding="ascii") as stat:
                    fields = stat.read().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / ticks
    return total


class CallCounter:
    """Counts the system calls of a family of processes during the with-block; then they are in calls, by name."""

    def __init__(self, folder, pid):
        self.calls = {}
        self.members = family(pid)
        self.summary = os.path.join(folder, "calls")
        self.argv = [find_program("strace"), "-f", "-c", "--summary-columns=calls,name", "-o", self.summary,
                     *(f"--attach={member}" for member in self.members)]

    def __enter__(self):
        self.strace = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        attached = 0
        while attached < len(self.members):
            line = self.strace.stderr.readline()
            if "attached" not in line:
                self.strace.kill()
                raise Failed(f"strace: {line.strip() or 'ended'}")
            attached += 1
        return self

    def __exit__(self, *_):
        self.strace.send_signal(signal.SIGINT)
        self.strace.communicate()
        with open(self.summary, encoding="utf-8") as summary:
            for fields in map(str.split, summary):
                if len(fields) == 2 and fields[0].isdigit() and fields[1] != "total":
                    self.calls[fields[1]] = int(fields[0])


def write_file(folder, name, text, **values):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text.format(folder=folder, host=HOST, **values))
    return path


def choose(parser, option, text, names):
    """Of a comma separated list of names; all where there is none."""
    chosen = text.split(",") if text else names
    for name in chosen:
        if name not in names:
            parser.error(f"{option}: {name!r} is none of {', '.join(names)}")
    return chosen
