# SPDX-License-Identifier: Apache-2.0
"""The zygote: the process that loaded the policy, and forks a host server for each worker slot.

It runs no policy code after the load and has one thread, so a fork is cheap and always sound.
The leader of the generation talks to it over one SOCK_SEQPACKET connection:

    {"op":"ready"}                                       zygote, first
    {"op":"fork","slot":K} + descriptors                 leader: a server that serves these
                                                         connections, the first one its control
    {"op":"forked","slot":K,"pid":P}                     zygote; "pid":0 and "message" if it failed
    {"op":"kill","pid":P}                                leader: at once; "ended" follows
    {"op":"ended","pid":P,"status":S}                    zygote: a server ended; S as waitpid has it

End of file from the leader ends the zygote, and its servers with it.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import traceback

from sallyport import server, wire

MAX_CONNECTIONS = 32
PR_SET_PDEATHSIG = 1


class Zygote:
    def __init__(self, compiled, control):
        self._compiled = compiled
        self._control = control
        self._poll = select.poll()
        self._children = {}  # pidfd -> pid

    def run(self):
        gc.collect()
        gc.freeze()  # so that the servers' collectors do not touch, and copy, the shared pages
        self._poll.register(self._control, select.POLLIN)
        try:
            wire.send(self._control, {"op": "ready"})
            while True:
                for fd, _ in self._poll.poll():
                    if fd in self._children:
                        self._reap(fd)
                    else:
                        self._serve(*wire.receive_with_fds(self._control, MAX_CONNECTIONS))
        except wire.Closed:
            pass
        finally:
            for pid in self._children.values():
                os.kill(pid, signal.SIGKILL)

    def _serve(self, packet, fds):
        try:
            if packet["op"] == "fork" and len(fds) >= 2:
                self._fork(packet.get("slot"), fds)
            elif packet["op"] == "kill" and packet.get("pid") in self._children.values():
                os.kill(packet["pid"], signal.SIGKILL)
        finally:
            for fd in fds:
                os.close(fd)

    def _fork(self, slot, fds):
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as problem:
            wire.send(self._control, {"op": "forked", "slot": slot, "pid": 0, "message": str(problem)})
            return
        if pid == 0:
            self._become_server(zygote, fds)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        wire.send(self._control, {"op": "forked", "slot": slot, "pid": pid})

    def _become_server(self, zygote, fds):
        """In the child. Does not return, whatever happens."""
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != zygote:
                os._exit(1)
            self._control.close()
            for pidfd in self._children:
                os.close(pidfd)
            connections = [socket.socket(fileno=fd) for fd in fds]
            server.serve(self._compiled, connections[0], connections[1:])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _reap(self, pidfd):
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        wire.send(self._control, {"op": "ended", "pid": pid, "status": status})


def serve(compiled, control_fd):
    """Serve a loaded policy to the leader behind control_fd, until it goes away."""
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    Zygote(compiled, control).run()
