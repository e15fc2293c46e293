# SPDX-License-Identifier: Apache-2.0
"""Writes the policy document (docs/policy-document.md) from what a load declared."""

import functools
import json
from operator import attrgetter

from sallyport import instance, matchers, problems, regexp, registry, schema
from sallyport.compiled import Callback, PolicyClass
from sallyport.declare import is_poisoned
from sallyport.octets import path_to_wire
from sallyport.problems import Refused
from sallyport.tls_hooks import SharedHooks
from sallyport.watch import watching


class _Numbers:
    """Stands in for the Compiled of an instance that is described at load: every callable gets a
    number, in the order they are met."""

    def __init__(self, first, natives, encryptions):
        self.encryptions = encryptions
        self.first = first
        self.native_matcher = natives.number
        self.where = {}
        self.numbers = self
        self.callbacks = ()

    def get(self, where):
        return self.where.setdefault(where, self.first + len(self.where))


class Writer:
    def __init__(self, load, compiled):
        self._load = load
        self._compiled = compiled
        self._files = {load.policy: 0}
        self._natives = matchers.Natives(self._at)
        compiled.encryptions.begin(self._at, self._natives)
        self._configs = []
        self._by_class = {}         # (class, instance name, what its service's encryption needs) -> index; None = refused
        self._with_ssl = set()      # indices of those that say something of TLS themselves

    @functools.cached_property
    def _attributes_read(self):
        """By the policy's own code. Few policies raise the question, and the answer takes a parse of all their text."""
        return set().union(*(source.attributes_read() for source in self._load.sources.values()))

    def write(self):
        from Zorp import Globals
        from Zorp.Zone import Zone
        load, compiled = self._load, self._compiled
        services = [s for s in Globals.services.values()]
        instances = {i.name: i for i in load.instances}
        numbers = {}
        rows = []
        self._encryptions()
        for service in services:
            row = self._service(service, self._instance_of(service, instances))
            if row is not None:
                numbers[service.name] = len(rows)
                rows.append(row)
        rules = self._rules(numbers)
        compiled.zones = dict(Zone.zones)
        compiled.services = dict(Globals.services)
        head = {
            "format": "sallyport-policy", "version": 1,
            "files": [],
            "options": self._options(),
            "instances": [i.name for i in load.instances],
            "configs": self._configs,
            "services": rows,
            "callbacks": len(compiled.callbacks),
        }
        head.update(compiled.encryptions.document())
        if self._natives.rows:
            head["matchers"] = self._natives.rows
        if self._natives.needs_characters:
            head["characters"] = regexp.characters()
        zones = [z._document(self._at_text(z._place)) for z in Zone._all]
        head["files"] = [path_to_wire(p) for p in self._files]
        if self._load.problems.errors == 0:
            compiled.document = _united(head, zones=zones, rules=rules)

    def _instance_of(self, service, instances):
        """The instance whose named objects the service's config() sees."""
        name = service.__dict__.get("_instance", "")
        if name in instances:
            return instances[name]
        return self._load.instances[0] if self._load.instances else None

    def _at(self, place):
        return [self._files.setdefault(place[0], len(self._files)), place[1]]

    def _at_text(self, place):
        return "[%d,%d]" % (self._files.setdefault(place[0], len(self._files)), place[1])

    @staticmethod
    def _options():
        from Zorp.Config import options
        return {"timeout_server_connect": options.timeout_server_connect, "language": options.language,
                "keys_in_workers": bool(options.keys_in_workers)}

    def _encryptions(self):
        """Every EncryptionPolicy, used or not: sessions may choose one by its name. Before the
        configurations: what it calls belongs to no class."""
        policies = {id(p): p for i in self._load.instances for p in i.scope.kinds["encryption_policies"].values()}
        for policy in policies.values():
            if is_poisoned(policy) or instance.legacy_of(policy) is not None:
                continue
            try:
                policy._index = self._compiled.encryptions.add(policy.encryption, policy.name, policy._place,
                                                               SharedHooks(self._compiled, policy.encryption))
            except Refused as refused:
                problems.report("EncryptionPolicy '%s': %s" % (policy.name, refused.message), refused.hint, policy._place)
                policy._poisoned = True

    def _router(self, service):
        try:
            return service.router._document(self._natives.number)
        except Refused as refused:
            problems.report("service '%s': %s" % (service.name, refused.message), refused.hint, service._place)

    def _service(self, service, owner):
        from Zorp.Service import DenyService, PFService, Service
        if is_poisoned(service):
            if service.__dict__.get("proxy_class") is not None:
                self._config(service, owner)    # for its problems
            return None
        row = {"name": service.name, "at": self._at(service._place)}
        if isinstance(service, DenyService):
            row.update(kind="deny", logging=service.logging, ipv4_setting=service.ipv4_setting,
                       ipv6_setting=service.ipv6_setting)
        elif isinstance(service, PFService):
            row.update(kind="pf", router=self._router(service))
        elif isinstance(service, Service):
            config = self._config(service, owner)
            if config is None:
                return None
            row.update(kind="proxy", config=config, router=self._router(service),
                       chainer=service.chainer._document(), max_instances=service.max_instances,
                       keepalive=service.keepalive,
                       limit_target_zones_to=[registry.zones()[z]._index for z in service.limit_target_zones_to],
                       accept_proxy_protocol=[registry.zones()[z]._index for z in service.accept_proxy_protocol])
            if service.encryption is not None and instance.legacy_of(service.encryption) is None:
                row["encryption"] = service.encryption._index
                if config in self._with_ssl:
                    problems.report("service '%s': %s sets self.ssl, and the service has an encryption_policy"
                                    % (service.name, service.proxy_class.__name__), "one of them is enough", service._place)
        return row

    def _config(self, service, owner):
        cls = service.proxy_class
        if owner is None or is_poisoned(cls) or not isinstance(cls, type):
            return None
        if is_poisoned(service.encryption):
            return None
        key = (cls, owner.name, self._is_called(service.encryption), id(instance.legacy_of(service.encryption)))
        if key not in self._by_class:
            self._by_class[key] = self._make_config(cls, owner, service)
        return self._by_class[key]

    def _is_called(self, policy):
        """Hooks of this EncryptionPolicy are called for sessions of the class."""
        return policy is not None and instance.legacy_of(policy) is None and self._compiled.encryptions.calls_host(policy._index)

    def _make_config(self, cls, owner, service):
        """The index of the CONFIG of a class, or None and a problem."""
        proxy = schema.proxy(cls.name)
        if proxy is None:
            problems.not_yet("service '%s': the %s proxy" % (service.name, cls.name), service._place)
            return None
        self._check_overrides(cls, proxy)
        made = instance.make(cls, proxy, instance.legacy_of(service.encryption))
        state = instance.state_of(made)
        state.place = place = cls.__dict__.get("_place", service._place)
        errors = self._load.problems.errors
        self._check_assignments(cls, proxy)
        with watching() as seen:
            good = self._load._guarded(self._configure, place, made, owner.scope)
        per_session = state.per_session or bool(cls.config_per_session)
        if not per_session:
            for where, what in seen:
                problems.warn("config() asks for %s; it runs once, when the policy is loaded" % what,
                              "config_per_session = TRUE in the class runs it for each session", where)
        self._check_own_names(cls, proxy, state)
        if not good or self._load.problems.errors > errors:
            return None
        return self._describe(cls, proxy, owner, state, per_session, place, self._is_called(service.encryption))

    @staticmethod
    def _configure(made, scope):
        try:
            instance.run_configuration(made, scope, instance.SessionAtLoad(instance.state_of(made)))
        except instance.NeedsSession:
            pass

    def _describe(self, cls, proxy, owner, state, per_session, place, called):
        compiled = self._compiled
        number = len(compiled.classes)
        numbers = _Numbers(len(compiled.callbacks), self._natives, compiled.encryptions)
        state.compiled = numbers
        state.policy_class = PolicyClass(number, cls, proxy, owner.scope, per_session, state.below)
        members = self._members(state, per_session, place)
        if members is None:
            return None
        if not self._natives_exist(members, proxy, place):
            return None
        life = {phase: True for phase in instance.LIFE if instance.life_methods(state.made, phase)}
        needs_host = per_session or called or bool(numbers.where) or bool(life) or self._is_called(state.encryption)
        row = {"proxy": cls.name, "class": cls.__name__, "class_number": number if needs_host else -1,
               "per_session": per_session, "at": self._at(place)}
        row.update(life)
        row.update(members)
        if not needs_host and row in self._configs:
            return self._configs.index(row)
        if needs_host:
            compiled.classes.append(state.policy_class)
            for where, callback in numbers.where.items():
                compiled.callbacks.append(Callback(*where))
                compiled.numbers[where] = callback
        if state.uses_ssl() and state.below is None:
            self._with_ssl.add(len(self._configs))
        self._configs.append(row)
        return len(self._configs) - 1

    @staticmethod
    def _members(state, per_session, place):
        """What config() said, or None and a problem. For sessions that run it themselves only the
        encryption is noted: as far as config() came it is one they may ask for."""
        try:
            if not per_session:
                return state.configuration()
            state.encryption_index()
        except Refused as refused:
            if not per_session:
                problems.report(refused.message, refused.hint, place)
                return None
        return {"attributes": {}, "tables": {}, "hooks": {}}

    def _natives_exist(self, members, proxy, place):
        """What the standard class leaves to the engine must be there."""
        names = {"%s.%s" % (proxy.name, _snake(h.name)) for h in proxy.hooks.values() if h.native}
        good = True
        for table, rows in members["tables"].items():
            for row in rows:
                native = row.get("call", {}).get("native")
                if native is not None and native not in names:
                    problems.not_yet("%s in %s" % (native, table), place)
                    good = False
        return good

    def _check_overrides(self, cls, proxy):
        """A method that the policy overrides must be one that something will call."""
        from Zorp.Proxy import Proxy
        for base in cls.__mro__:
            if base.__module__.startswith("Zorp.") or base in (object,):
                continue
            for name, value in base.__dict__.items():
                original = self._standard_method(cls, base, name)
                if original is None or not callable(value) or name == "__init__" or name in instance.LIFE_METHODS:
                    continue
                if getattr(original, "_at_load", False) or (hasattr(original, "_native") and name in proxy.hooks):
                    continue
                if not issubclass(cls, Proxy) or name in ("__new__", "__setattr__", "__getattr__"):
                    problems.report("a proxy class can't override %s()" % name, None, _place_of(value, base))
                    continue
                problems.not_yet("overriding %s()" % name, _place_of(value, base))

    @staticmethod
    def _standard_method(cls, base, name):
        for above in base.__mro__[1:]:
            found = above.__dict__.get(name)
            if found is not None and above.__module__.startswith("Zorp.") and callable(found):
                return found
        return None

    def _known_names(self, cls, proxy):
        return set(proxy.names()) | set(instance.CORE_ATTRIBUTES) | set(cls._more_names)

    def _is_own_business(self, cls, proxy, name):
        return (name.startswith("_") or name in self._known_names(cls, proxy) or hasattr(cls, name)
                or name in self._attributes_read)

    def _unknown_attribute(self, cls, proxy, name, place):
        problems.report("%s has no attribute '%s', and the policy never reads it" % (cls.__name__, name),
                        problems.did_you_mean(name, proxy.names())
                        or "an attribute of the policy's own may begin with _", place)

    def _check_own_names(self, cls, proxy, state):
        for name, place in state.own.items():
            if not self._is_own_business(cls, proxy, name):
                self._unknown_attribute(cls, proxy, name, place)

    def _check_assignments(self, cls, proxy):
        """self.name = ... anywhere in the class, also in callbacks, which do not run at load."""
        for base in cls.__mro__:
            place = base.__dict__.get("_place")
            if base.__module__.startswith("Zorp.") or place is None or place[0] not in self._load.sources:
                continue
            for name, line in self._load.sources[place[0]].attributes_assigned(place[1]):
                if not self._is_own_business(cls, proxy, name):
                    self._unknown_attribute(cls, proxy, name, (place[0], line))
            for name in base.__dict__.get("_places", ()):
                found = problems.nearest(name, proxy.names(), 0.85)
                if found and name != found and name not in proxy.names() and name not in self._attributes_read \
                        and not callable(base.__dict__.get(name)):
                    problems.report("%s has no attribute '%s', and the policy never reads it" % (cls.__name__, name),
                                    "did you mean '%s'?" % found, base._places[name])

    def _rules(self, numbers):
        texts = []
        for index, run in enumerate(self._load.instances):
            for rule in sorted(run.rules, key=attrgetter("rule_id")):
                if not is_poisoned(rule) and rule.service.name in numbers:
                    texts.append(rule._document(index, numbers[rule.service.name], self._at_text(rule._place)))
        return texts


def _united(head, **arrays):
    """The document's text: what is small, and arrays whose elements are text already. Those are most of a large
    policy; as objects for json.dumps they would take more time and memory than all else."""
    texts = [json.dumps(head, ensure_ascii=True, separators=(",", ":"))[:-1]]
    texts += [',"%s":[%s]' % (name, ",".join(elements)) for name, elements in arrays.items()]
    return "".join(texts) + "}"


def _place_of(function, cls):
    code = getattr(function, "__code__", None)
    if code is not None:
        return (code.co_filename, code.co_firstlineno)
    return cls.__dict__.get("_place", ("", 0))


def _snake(name):
    return "".join("_" + c.lower() if c.isupper() else c for c in name)
