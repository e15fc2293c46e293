# SPDX-License-Identifier: Apache-2.0
"""A compiled policy, as the serving half uses it. This file is the contract between the half
that compiles (host.py, loader.py, document.py) and the half that serves callbacks (serve.py).

For each session of a class the serving half makes one instance and keeps it until "forget":

    instance = compiled.new_instance(class_number, session_info)     config() runs here
    state = compiled.state(instance)
    state.receive(packet["attributes"])                              wire names -> wire values
    function = compiled.function(instance, packet["callback"])
    result = function(*[from_wire(a) if isinstance(a, str) else a for a in packet["args"]])
    changed = state.changes()                  {"attributes": {...}, "tables": [...]}, wire form; "tls"

inside `with engine.using(...)`. Everything here may raise what policy code raises. An instance is
used by one call at a time; instances of different sessions may be used on different threads.
"""

import threading

from sallyport import instance
from sallyport.encryptions import Encryptions


class Callback:
    """How to find the callable of a callback number again, on any instance of its class."""

    __slots__ = ("class_number", "kind", "name", "key")

    def __init__(self, class_number, kind, name, key=None):
        self.class_number = class_number  # None: any class
        self.kind = kind  # "table": the entry self.<name>[key]; "hook": the method <name>;
                          # "matcher": the matcher in attribute <name>;
                          # "handshake": the hook <key> of self.ssl for the side <name>;
                          # "shared": compiled.shared[<name>], of an encryption
        self.name = name
        self.key = key  # "table": a tuple of str as the table keeps it; "handshake": the hook's name; else None

    def where(self):
        return (self.kind, self.name, self.key)


class OwnNumbers:
    """Numbers of callables that the document does not know: a session's configuration or a change
    of its tables brought them in. One place (table and key, hook, attribute) has one number in all
    sessions of a class and as long as this process lives, so that a session whose instance had to
    be made again finds its callables under the numbers that the worker knows."""

    MAX = 65536  # as the engine's OWN_CALLBACKS_MAX

    def __init__(self):
        self._lock = threading.Lock()
        self._places = []
        self._numbers = {}

    def number(self, where):
        with self._lock:
            if where not in self._numbers:
                if len(self._places) == self.MAX:
                    raise LookupError("sessions of this class have made up %d places for callables" % self.MAX)
                self._numbers[where] = len(self._places)
                self._places.append(where)
            return self._numbers[where]

    def where(self, number):
        if not 0 <= number < len(self._places):
            raise LookupError("no session of this class has a callable %d" % number)
        return self._places[number]


class PolicyClass:
    """A proxy class that needs the host: it has callbacks, or is configured per session."""

    __slots__ = ("number", "cls", "proxy", "scope", "per_session", "below", "own_numbers")

    def __init__(self, number, cls, proxy, scope, per_session, below=None):
        self.number = number
        self.cls = cls  # the class of the policy
        self.proxy = proxy  # schema.ProxySchema: its attributes, tables, hooks
        self.scope = scope  # the named objects that its config() sees
        self.per_session = per_session
        self.below = below  # what a TLSEncryption says, under the self.ssl of its config()
        self.own_numbers = OwnNumbers()


class Compiled:
    """The result of a load without errors."""

    def __init__(self):
        self.document = ""  # the policy document, as text
        self.classes = []  # PolicyClass by class number
        self.callbacks = []  # Callback by callback number
        self.numbers = {}  # (class number,) + Callback.where() -> callback number
        self.encryptions = Encryptions()  # and the secrets that go with the document
        self.shared = []  # instance -> callable, of encryptions that belong to no class
        self.zones = {}  # zone name -> Zone, for session_info
        self.services = {}  # service name -> Service, for session_info

    def new_instance(self, class_number, session_info):
        """A configured instance for one session. Raises what the policy's config() raises.
        session_info: docs/policy-document.md; None = {}."""
        from Zorp.Session import StackedSession
        policy_class = self.classes[class_number]
        session = StackedSession.from_info(session_info or {}, self)
        made = instance.configure(policy_class, session)
        instance.state_of(made).attach(self, policy_class)
        return made

    @staticmethod
    def native_matcher(matcher, name):
        """What the configuration of one session asks are callbacks: the engine reads a document's
        matchers, with their patterns compiled, before there are sessions."""
        return None

    def update_session(self, made, session_info):
        """Something that self.session shows changed: the server's address, for example."""
        made.session.update_info(session_info, self)

    @staticmethod
    def state(made):
        """The engine's side of an instance: sallyport.instance.State."""
        return instance.state_of(made)

    def function(self, made, number):
        """The callable behind a callback number, for this instance. LookupError: there is none."""
        return self.state(made).function(number)

    def configuration(self, made):
        """The answer to "hook" "config": the members attributes, tables, hooks, encryption of a CONFIG. Callables
        that the document does not know get numbers from len(self.callbacks) up (OwnNumbers)."""
        return self.state(made).configuration()
