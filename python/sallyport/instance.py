# SPDX-License-Identifier: Apache-2.0
"""An instance of a policy's proxy class: what it may assign and read, and what became of it.

At load one instance of each class is configured to find out what the class says, with a session
that must not be looked at. In the serving half each session has an instance of its own.
"""

from sallyport import legacy_tls, problems, registry
from sallyport.declare import is_poisoned
from sallyport.octets import from_wire, to_wire
from sallyport.problems import Refused
from sallyport.tables import NoStack, Table
from sallyport.tls_facts import Tls
from sallyport.tls_hooks import OwnHooks, caller

MAKING, CONFIG, RUN = "making", "config", "run"
NAME = "_sallyport"

# Attributes that every proxy of the policy language has, and what Sallyport does with them.
CORE_ATTRIBUTES = {
    "language": "accepted",
    "encryption_policy": "a name",
    "client_local_tos": "not yet", "client_remote_tos": "not yet",
    "server_local_tos": "not yet", "server_remote_tos": "not yet",
    "server_socket_mark": "not yet",
    "encryption": "read only", "tls": "read only", "ssl": "read only",
    "client_stream": "read only", "server_stream": "read only", "session": "read only",
    "proxy_started": "read only", "name": "read only", "module": "read only",
}


# The methods of a policy's class that run before and after the conversation of a session, in their
# order; of several spellings the first that the policy defines.
LIFE = {
    "startup": (("__pre_startup__",), ("startup", "startUp"), ("__post_startup__",)),
    "shutdown": (("__pre_shutdown__",), ("shutdown", "shutDown"), ("__post_shutdown__",)),
}
LIFE_METHODS = frozenset(name for steps in LIFE.values() for names in steps for name in names)


class NeedsSession(BaseException):
    """config() looked at something that only a session has. No Exception: a policy's
    "except Exception" must not turn it into a decision."""


class SessionAtLoad:
    """What config() gets for a session at load."""

    def __init__(self, state):
        object.__setattr__(self, "_state", state)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        self._state.needs_session()

    def __setattr__(self, name, value):
        self._state.needs_session()


class State:
    """The engine's side of an instance."""

    def __init__(self, cls, proxy, below=None):
        """below: the attributes of the TLSEncryption that the service names, if it does."""
        self.cls = cls
        self.proxy = proxy
        self.phase = MAKING
        self.session = None
        self.at_load = problems.loading()
        self.per_session = False
        self.own = {}               # name -> place of its first assignment
        self.changed = {}           # attributes assigned since the last changes(): name -> None
        self.compiled = None
        self.policy_class = None
        self.tls = Tls()
        self.place = ("", 0)        # of the class, or of who uses one of ours
        self.below = below
        self._named_below = None    # the same of one that encryption_policy names
        self._ssl = None            # made when something asks for it: most classes never do
        self.encryption = None      # the EncryptionPolicy that encryption_policy names

    # While policy code runs

    def needs_session(self):
        self.per_session = True
        raise NeedsSession()

    def assign(self, made, name, value):
        """self.name = value. True when the attribute is the engine's business."""
        proxy = self.proxy
        canonical = proxy.aliases.get(name, name)
        attribute = proxy.attributes.get(canonical)
        if attribute is None:
            return self._assign_other(made, name, value)
        try:
            self._check_access(attribute)
            checked = attribute.check(value)
        except Refused as refused:
            problems.report(refused.message, refused.hint)
            return True
        if attribute.type != "stack":       # nothing to stack, or it was refused
            made.__dict__[canonical] = checked
            self.changed[canonical] = None
        return True

    def _check_access(self, attribute):
        if self.phase == RUN:
            if "run-write" not in attribute.access:
                raise Refused("%s can't be set while a session runs" % attribute.name,
                              "set it in config()" if "config-write" in attribute.access else "it can only be read")
        elif "config-write" not in attribute.access:
            raise Refused("%s can't be set in config()" % attribute.name,
                          "set it in a callback" if "run-write" in attribute.access else "it can only be read")

    def _assign_other(self, made, name, value):
        if name in self.proxy.tables:
            if made.__dict__.get(name) is not value:
                problems.report("%s can't be replaced" % name, 'fill it: self.%s["..."] = ...' % name)
            return True
        if name == "encryption_policy":
            try:
                self._choose_encryption(value)
            except Refused as refused:
                problems.report(refused.message, refused.hint)
        known = CORE_ATTRIBUTES.get(name)
        if known == "read only":
            problems.report("%s can only be read" % name)
            return True
        if known == "not yet" and value is not None:
            problems.not_yet("the attribute %s" % name)
            return True
        if known is None and name not in self.own and not name.startswith("_"):
            self.own[name] = problems.here()
        return False

    def _choose_encryption(self, name):
        if self.phase == RUN:
            raise Refused("encryption_policy can't be set while a session runs", "set it in config()")
        found = None if name is None else registry.lookup("encryption_policies", "EncryptionPolicy", name)
        if is_poisoned(found):      # what is wrong with it was told
            found = None
        self._named_below = legacy_of(found)
        self.encryption = found if self._named_below is None else None
        if self._ssl is not None:
            self._ssl.lie_above(self.below or self._named_below)

    def missing(self, made, name):
        """self.name when Python found nothing of that name."""
        canonical = self.proxy.aliases.get(name, name)
        attribute = self.proxy.attributes.get(canonical)
        if attribute is None:
            if name in CORE_ATTRIBUTES and self.at_load and CORE_ATTRIBUTES[name] == "read only":
                self.needs_session()
            known = self.proxy.names() + [n for n in dir(type(made)) if not n.startswith("_")]
            found = problems.nearest(name, known)
            raise AttributeError("%s has no attribute '%s'%s" % (
                type(made).__name__, name, "" if found is None else "; did you mean '%s'?" % found))
        if canonical in made.__dict__:
            return made.__dict__[canonical]
        if attribute.type == "stack":
            return NoStack(name) if name.endswith("_stack") else None
        if self.phase != RUN:
            if "config-read" in attribute.access or "config-write" in attribute.access:
                return attribute.default
            if self.at_load:
                self.needs_session()
        if "run-read" not in attribute.access and "run-write" not in attribute.access:
            raise AttributeError("%s can't be read while a session runs" % name)
        if attribute.home == "run" and self.phase == RUN:
            raise AttributeError("%s can't be read here" % name)
        return attribute.default

    # For the loader and the serving half

    def begin(self, made, scope, session):
        """Tables, and what the class bodies of the policy say."""
        self.session = session
        for table in self.proxy.tables.values():
            cls = type(made)
            made.__dict__[table.name] = Table(table, cls._action_names(table.name),
                                              cls._callback_arguments.get(table.name),
                                              table.name in cls._upper_case_tables)
        for cls in reversed(type(made).__mro__):
            places = cls.__dict__.get("_places", {})
            for name, value in cls.__dict__.items():
                if name in places:
                    self._seed(made, name, value, places[name])

    def _seed(self, made, name, value, place):
        canonical = self.proxy.aliases.get(name, name)
        attribute = self.proxy.attributes.get(canonical)
        try:
            if name in self.proxy.tables:
                raise Refused("%s can't be set in the class body" % name,
                              'fill it in config(): self.%s["..."] = ...' % name)
            if name == "encryption_policy":
                self._choose_encryption(value)
            if CORE_ATTRIBUTES.get(name) == "not yet" and value is not None:
                raise Refused("the attribute %s: not yet part of Sallyport" % name)
            if attribute is not None:
                self._check_access(attribute)
                made.__dict__[canonical] = attribute.check(value)
        except Refused as refused:
            problems.report(refused.message, refused.hint, place)

    def attach(self, compiled, policy_class):
        self.compiled = compiled
        self.policy_class = policy_class
        self.changed.clear()
        for name in self.proxy.tables:
            self.made.__dict__[name].take_changes()

    def receive(self, attributes):
        """Run-time values from the worker: {canonical name: wire value}. Not changes."""
        values = self.made.__dict__
        for name, value in attributes.items():
            values[name] = from_wire(value) if isinstance(value, str) else value

    def changes(self):
        """What policy code changed since the last time: {"attributes", "tables"} in wire form, and "tls"
        behind a setup_key hook that gave a certificate."""
        attributes = {n: self._attribute_value(self.proxy.attributes[n]) for n in self.changed}
        self.changed.clear()
        tables = []
        for name in self.proxy.tables:
            table = self.made.__dict__[name]
            for key in table.take_changes():
                row = {"table": name, "key": [to_wire(k) for k in key]}
                try:
                    row.update(self._entry_members(name, key, table.entry(key)))
                except KeyError:
                    row["deleted"] = True
                tables.append(row)
        given = self.tls.take_given()
        return {"attributes": attributes, "tables": tables, **({} if given is None else {"tls": given})}

    def function(self, number):
        """The callable behind a callback number. LookupError."""
        static = self.compiled.callbacks
        if number < 0:
            raise LookupError("there is no callback %d" % number)
        if number < len(static):
            if static[number].class_number not in (self.policy_class.number, None):
                raise LookupError("callback %d belongs to another class" % number)
            kind, name, key = static[number].where()
        else:
            kind, name, key = self.policy_class.own_numbers.where(number - len(static))
        if kind == "table":
            try:
                call = self.made.__dict__[name].entry(key).call
            except KeyError:
                call = None
            if call is None:
                raise LookupError("config() did not make %s[%s] again" % (name, ", ".join(key)))
            return call
        if kind == "hook":
            return getattr(self.made, name)
        if kind == "handshake":
            function = self.ssl.hook(name, key)
            if function is None:
                raise LookupError("config() did not set self.ssl.%s_handshake[\"%s\"] again" % (name, key))
            return caller(key, function)(self.made)
        if kind == "shared":
            return self.compiled.shared[name](self.made)
        matcher = getattr(self.made, name)
        if matcher is None:
            raise LookupError("config() did not set %s again" % name)
        return lambda text: 1 if matcher.checkMatch(text) else 0

    def number(self, kind, name, key):
        """The callback number of a place that holds a callable, for this instance."""
        known = self.compiled.numbers.get((self.policy_class.number, kind, name, key))
        if known is not None:
            return known
        return len(self.compiled.callbacks) + self.policy_class.own_numbers.number((kind, name, key))

    def configuration(self):
        """The members attributes, tables, hooks and encryption of a CONFIG (docs/policy-document.md)."""
        attributes = {}
        for name, attribute in self.proxy.attributes.items():
            if name in self.made.__dict__ and self._differs(attribute):
                attributes[name] = self._attribute_value(attribute)
        tables = {}
        for name in self.proxy.tables:
            rows = []
            for key, entry in self.made.__dict__[name].entries():
                row = {"key": [to_wire(k) for k in key]}
                row.update(self._entry_members(name, key, entry))
                rows.append(row)
            if rows:
                tables[name] = rows
        hooks = {name: {"callback": self.number("hook", name, None)} for name in self.overridden_hooks()}
        members = {"attributes": attributes, "tables": tables, "hooks": hooks}
        encryption = self.encryption_index()
        if encryption is not None:
            members["encryption"] = encryption
        return members

    @property
    def ssl(self):
        """What the class says in the old form."""
        if self._ssl is None:
            self._ssl = legacy_tls.Legacy(self.below or self._named_below, self)
        return self._ssl

    def uses_ssl(self):
        silent = self._ssl is None and self.below is None and self._named_below is None
        return not silent and self.ssl.is_used()

    def encryption_index(self):
        """Of the encryption that the class asks for; None: none. Refused."""
        if not self.uses_ssl():
            return None if self.encryption is None else self.encryption._index
        if self.encryption is not None:
            raise Refused("self.ssl and encryption_policy are given both")
        known, hooks = self.compiled.encryptions, OwnHooks(self)
        scenario = self._own_scenario()
        if self.at_load:
            return known.add(scenario, self.cls.__name__, self.place, hooks)
        found = known.find(scenario, self.cls.__name__, hooks)
        if found is None:
            raise Refused("what self.ssl says was not known when the policy was loaded: certificates and folders can't be new in a session",
                          "declare an EncryptionPolicy and choose it by its name: self.encryption_policy")
        return found

    def _own_scenario(self):
        return legacy_tls.scenario(self.ssl, self.place)

    def scenario(self):
        """What the session's encryption really is: that of its service counts more."""
        from Zorp.Encryption import NoneEncryption
        service = self.session.service
        policy = self.encryption if service is None or service.encryption is None else service.encryption
        if legacy_of(policy) is not None or (policy is None and self.uses_ssl()):
            return self._own_scenario()
        return NoneEncryption() if policy is None else policy.encryption

    def overridden_hooks(self):
        """Hooks with a place in the configuration that policy code defines."""
        return [h.name for h in self.proxy.hooks.values() if h.stored and defined_by_policy(self.made, h.name)]

    def _differs(self, attribute):
        value = self.made.__dict__[attribute.name]
        if attribute.type in ("strings", "zones"):
            value = (value,) if isinstance(value, str) else tuple(value)
        return value != attribute.default

    def _attribute_value(self, attribute):
        value = self.made.__dict__[attribute.name]
        if value is None:
            return None
        if attribute.type == "bool":
            return bool(value)
        if attribute.type == "string":
            return to_wire(value)
        if attribute.type in ("strings", "zones"):
            return [to_wire(v) for v in ([value] if isinstance(value, str) else value)]
        if attribute.type == "matcher":
            native = self.compiled.native_matcher(value, attribute.name)
            return {"callback": self.number("matcher", attribute.name, None)} if native is None else {"matcher": native}
        return value

    def _entry_members(self, name, key, entry):
        members = {"action": entry.action}
        if entry.args:
            members["args"] = [to_wire(a) for a in entry.args]
        if entry.call is not None:
            native = native_name(self.made, entry.call)
            members["call"] = {"native": native} if native else {"callback": self.number("table", name, key)}
        return members


def native_name(made, function):
    """"smtp.check_recipient" if the callable is this instance's native method; else None."""
    if getattr(function, "__self__", None) is not made:
        return None
    return getattr(function.__func__, "_native", None)


def defined_by_policy(made, name):
    """The policy has a method of that name, over ours or where we have none."""
    if name in made.__dict__:
        return callable(made.__dict__[name])
    for cls in type(made).__mro__:
        if name in cls.__dict__:
            return not cls.__module__.startswith("Zorp.")
    return False


def life_methods(made, phase):
    """The methods of the policy that run in a phase of LIFE."""
    chosen = (next((n for n in names if defined_by_policy(made, n)), None) for names in LIFE[phase])
    return [getattr(made, name) for name in chosen if name is not None]


def legacy_of(policy):
    """The attributes of an EncryptionPolicy of the old kind; None: it is of the new one."""
    return None if policy is None else policy.encryption.__dict__.get("_ssl")


def state_of(made):
    return made.__dict__[NAME]


def make(cls, proxy, below=None):
    """A bare instance with its State: what Proxy.__new__ returns."""
    made = object.__new__(cls)
    state = State(cls, proxy, below)
    state.made = made
    made.__dict__[NAME] = state
    return made


def run_configuration(made, scope, session):
    """Construct and configure. Raises what policy code raises, and NeedsSession at load."""
    state = state_of(made)
    with registry.using(scope):
        state.begin(made, scope, session)
        made.__init__(session)
        state.phase = CONFIG
        made.__pre_config__()
        made.config()
        made.__post_config__()
    state.phase = RUN
    return made


def configure(policy_class, session):
    made = make(policy_class.cls, policy_class.proxy, policy_class.below)
    return run_configuration(made, policy_class.scope, session)
