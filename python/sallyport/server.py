# SPDX-License-Identifier: Apache-2.0
"""A host server: the process that runs policy code for the sessions of one worker slot.

Forked from the zygote (serve.py), which loaded the policy. The worker holds one control
connection to it, served by the main thread, and several conversations, each served by a thread
of its own: one outermost call at a time, with whatever it calls in turn (docs/policy-document.md
has the packets). A thread can't be killed. When a call is late the worker closes its connection
and says "retire"; the thread is then thrown an exception, which ends it as soon as it executes
Python code again, and the worker is told when that happened. A thread that holds the interpreter
for good (a regular expression that backtracks) leaves the pings unanswered, and the worker has
the whole process replaced.
"""

import ctypes
import os
import select
import socket
import sys
import threading
import traceback

from sallyport import engine, instance, wire
from sallyport.logspec import LogSpec
from sallyport.output import Output
from sallyport.problems import Refused

MAX_ADOPTED = 1
TRACEBACK_LINES = 60
PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OWN_FILES = tuple(os.path.join(PACKAGES, name) + os.sep for name in ("sallyport", "Zorp"))


class ConversationEnded(BaseException):
    """The worker does not wait any more. Not an Exception: policy code must not swallow it."""


class Server:
    def __init__(self, compiled, control, conversations):
        self.compiled = compiled
        self.sessions = {}  # number -> instance; each entry is used by one conversation at a time
        self.log_spec = LogSpec()
        self._control = control
        self._control_lock = threading.Lock()  # of writing
        self._conversations = {}  # number -> Conversation
        self._given = conversations

    def run(self):
        """Serve until the worker closes the control connection. Never returns: threads that hang
        must not keep the process."""
        try:
            self.tell({"op": "serving", "pid": os.getpid()})
            for number, sock in enumerate(self._given, 1):
                self._start(number, sock)
            self._serve_control()
        except wire.Closed:
            pass
        os._exit(0)

    def _start(self, number, sock):
        conversation = Conversation(self, number, sock)
        self._conversations[number] = conversation
        conversation.thread = threading.Thread(target=conversation.run, daemon=True)
        conversation.thread.start()

    def _serve_control(self):
        while True:
            packet, fds = wire.receive_with_fds(self._control, MAX_ADOPTED)
            op = packet["op"]
            if op == "ping":
                self.tell({"op": "pong", "number": packet.get("number")})
            elif op == "forget":
                self.sessions.pop(packet.get("session"), None)
            elif op == "hello":
                self.log_spec = LogSpec(packet.get("verbosity", 3), packet.get("spec", ""))
            elif op == "retire":
                self._retire(packet.get("connection"))
            elif op == "adopt" and len(fds) == 1:
                self._start(packet.get("connection"), socket.socket(fileno=fds.pop()))
            else:
                raise wire.Closed("unexpected packet '%s'" % op)

    def tell(self, packet):
        """Send on the control connection, from any thread."""
        with self._control_lock:
            wire.send(self._control, packet)

    def _retire(self, number):
        conversation = self._conversations.get(number)
        if conversation is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(conversation.thread.ident), ctypes.py_object(ConversationEnded))

    def ended(self, number):
        self._conversations.pop(number, None)
        try:
            self.tell({"op": "ended", "connection": number})
        except wire.Closed:
            pass

    def instance(self, packet):
        """The session's instance; made, and its config() run, at the first call of a session."""
        number = packet["session"]
        made = self.sessions.get(number)
        info = packet.get("session_info")
        if made is None:
            made = self.compiled.new_instance(packet["class"], info)
            self.sessions[number] = made
        elif info is not None:
            self.compiled.update_session(made, info)
        return made

    def log(self, session_id, tag, level, message):
        """A line that belongs to no call. Never raises."""
        if self.log_spec.wants(tag, level):
            try:
                self.tell(log_packet(session_id, tag, level, message))
            except (wire.Closed, wire.TooLong):
                pass


def log_packet(session_id, tag, level, message):
    packet = {"op": "log", "tag": str(tag)[:64], "level": int(level), "message": str(message)[:8192]}
    for key in ("tag", "message"):
        packet[key] = packet[key].encode("utf-8", "replace").decode("latin-1")
    if session_id:
        packet["session"] = str(session_id)[:256].encode("utf-8", "replace").decode("latin-1")
    return packet


# What config() may tell the engine of its session.
OF_SESSION = frozenset(("session.set_target", "session.set_server_address", "session.destroy"))


class Conversation(engine.Engine):
    """One connection, its thread, and the call stack that is on it."""

    def __init__(self, server, number, sock):
        self.thread = None
        self._server = server
        self._number = number
        self._sock = sock
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._room = wire.room()
        self._states = []  # of the instances whose code runs, innermost last
        self._at_config = False  # the call wants the configuration

    def run(self):
        try:
            with engine.using(self):
                while True:
                    # Wait first, read then: a thread that is waiting for the interpreter must
                    # not have taken the call off the socket, since what has not been read can
                    # be asked of another server.
                    self._readable.poll()
                    self._answer(self._receive())
        except ConversationEnded:
            pass
        except wire.Closed:
            pass
        finally:
            self._sock.close()
            self._server.ended(self._number)

    def _receive(self):
        try:
            return wire.receive(self._sock, self._room)
        except wire.Closed as problem:
            raise ConversationEnded(str(problem)) from None

    def _send(self, packet):
        try:
            wire.send(self._sock, packet)
        except wire.Closed as problem:
            raise ConversationEnded(str(problem)) from None

    def _answer(self, packet):
        """Serve one "call" or "hook"; nested ones come through up()."""
        try:
            answer = self._serve(packet)
        except ConversationEnded:
            raise
        except BaseException as problem:  # SystemExit of policy code too is its failure, not ours
            answer = raised(problem)
        Output.flush_thread()
        try:
            self._send(answer)
        except wire.TooLong as problem:
            self._send(raised(problem))

    def _serve(self, packet):
        op = packet["op"]
        if op not in ("call", "hook"):
            raise ConversationEnded("unexpected packet '%s'" % op)
        self._at_config = op == "hook" and packet.get("name") == "config"
        made = self._server.instance(packet)
        state = self._server.compiled.state(made)
        self._states.append(state)
        try:
            state.receive(packet.get("attributes") or {})
            if "tls" in packet:
                state.tls.receive(packet["tls"])
            answer = self._call(made, packet) if op == "call" else self._hook(made, state, packet)
        except ConversationEnded:
            raise
        except BaseException as problem:
            answer = raised(problem)
        finally:
            self._states.pop()
        if answer is not None and "hooks" in answer:
            return answer  # a configuration: what config() assigned is in it
        return {**answer, **changes_of(state)}

    def _call(self, made, packet):
        compiled = self._server.compiled
        number = packet["callback"]
        function = compiled.function(made, number)
        result = function(*[wire.value_from_wire(a) for a in packet.get("args") or ()])
        try:
            result = wire.value_to_wire(result)
        except TypeError:
            # "return re.match(...)" is a fine answer to a yes-or-no question, but an entry of a
            # table has to name an action, and a hook of a handshake its verdict.
            if number >= len(compiled.callbacks) or compiled.callbacks[number].kind not in ("hook", "matcher"):
                raise
            result = bool(result)
        return {"op": "done", "result": result}

    def _hook(self, made, state, packet):
        name = packet.get("name")
        if name == "config":
            configuration = self._server.compiled.configuration(made)
            state.changes()
            return {"op": "done", "result": None, **configuration}
        for method in instance.life_methods(made, name):
            method()
        return {"op": "done", "result": None}

    # --- what policy code asks of the engine

    def up(self, function, args):
        state = self._states[-1] if self._states else None
        if state is None and function in OF_SESSION and not self._at_config:
            return 0    # config() runs anew, for another server: the engine knows since it ran first
        if state is None and function not in OF_SESSION and function != "policy.zone_of":
            raise engine.EngineError("%s can't be called before the session runs" % function)
        try:
            args = [wire.value_to_wire(a) for a in args]
        except (TypeError, ValueError) as problem:
            raise engine.EngineError("%s was called with %s" % (function, problem)) from None
        try:
            self._send({"op": "up", "function": function, "args": args, **(changes_of(state) if state else {})})
        except wire.TooLong as problem:
            raise engine.EngineError(str(problem)) from None
        while True:
            packet = self._receive()
            if packet["op"] in ("call", "hook"):
                self._answer(packet)
                continue
            if packet["op"] not in ("value", "error"):
                raise ConversationEnded("unexpected packet '%s'" % packet["op"])
            if state is not None:
                state.receive(packet.get("attributes") or {})
            if packet["op"] == "error":
                raise engine.EngineError(wire.value_from_wire(packet.get("message") or function))
            return wire.value_from_wire(packet.get("result"))

    def log(self, session_id, tag, level, message):
        if not self._server.log_spec.wants(tag, level):
            return
        try:
            self._send(log_packet(session_id, tag, level, message))
        except wire.TooLong:
            pass


def changes_of(state):
    """The members that carry what policy code changed; none when it changed nothing."""
    return {key: value for key, value in state.changes().items() if value}


def raised(problem):
    """The packet for an exception. One that has a cause of its own to tell (policy language's
    exceptions: what, detail) is one line; any other comes with its traceback."""
    what, detail = getattr(problem, "what", None), getattr(problem, "detail", None)
    if isinstance(problem, wire.TooLong):
        what, detail = "The answer of policy code is too long", problem
    if what is not None and detail is not None:
        return {"op": "raised", "message": _printable("%s; reason='%s'" % (what, detail))}
    told = traceback.TracebackException(type(problem), problem, problem.__traceback__, compact=True)
    if isinstance(problem, Refused):
        told.__context__ = None     # how we found out is nobody's business
    _only_policy_code(told)
    lines = [_printable(line) for line in "".join(told.format()).splitlines() if line]
    if len(lines) > TRACEBACK_LINES:
        half = TRACEBACK_LINES // 2
        lines = lines[:half] + ["  [... %d lines ...]" % (len(lines) - 2 * half)] + lines[-half:]
    return {"op": "raised", "message": lines[-1] if lines else "", "traceback": lines}


def _only_policy_code(told):
    while told is not None:
        frames = [f for f in told.stack if not f.filename.startswith(OWN_FILES)]
        told.stack = traceback.StackSummary.from_list(frames)
        _only_policy_code(told.__cause__)
        told = told.__context__


def _printable(text):
    return str(text)[:1000].encode("utf-8", "backslashreplace").decode("latin-1")


def serve(compiled, control, conversations):
    """Run as the server of these connections (sockets). Does not return."""
    server = Server(compiled, control, conversations)
    Output.install(server)  # before the first call: one may be waiting already
    sys.setswitchinterval(0.002)
    server.run()
