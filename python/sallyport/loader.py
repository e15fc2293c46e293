# SPDX-License-Identifier: Apache-2.0
"""Loads a policy: runs its file and its instance functions, then configures one instance of each
proxy class that a service uses. Every mistake of the policy becomes a problem with its place."""

import importlib.machinery
import importlib.util
import os
import sys
import types

from sallyport import problems, registry, source
from sallyport.compiled import Compiled
from sallyport.registry import RuleSet

SYSTEM_DIRECTORY = "/etc/sallyport"
HOOKS = ("init", "deinit", "purge", "cleanup", "notify")
PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class PolicyLoader(importlib.machinery.SourceFileLoader):
    """Imports a sibling module of the policy. It sees Zone without importing it: a zones.py with
    nothing but zones is how the original's documentation does it."""

    load = None

    def get_code(self, fullname):
        # No byte code, written or read: what runs is what the file says.
        return self.load.compile(self.get_filename(fullname))

    def exec_module(self, module):
        from Zorp.Zone import InetZone, Zone
        module.__dict__.update(Zone=Zone, InetZone=InetZone)
        super().exec_module(module)


class PolicyFinder:
    """Finds modules in the directories of the policy, before anything else."""

    def __init__(self, load, directories):
        self._load = load
        self._directories = directories

    def find_spec(self, fullname, path=None, target=None):
        if path is None:
            path = self._directories
        elif not any(p.startswith(d + os.sep) for p in path for d in self._directories):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return spec
        if not any(spec.origin.startswith(d + os.sep) for d in self._directories):
            return None
        spec.loader = PolicyLoader(spec.loader.name, spec.loader.path)
        spec.loader.load = self._load
        spec.cached = None
        return spec


class Instance:
    """One instance that was run: what it declared."""

    def __init__(self, name):
        self.name = name
        self.rules = RuleSet()
        self.scope = None


class Load:
    def __init__(self, policy, wanted, found):
        """policy: the file. wanted: names of instances, [] = the default one. found: Problems."""
        self.policy = os.path.abspath(policy)
        self.wanted = list(wanted)
        self.problems = found
        self.sources = {}       # path -> Source
        self.instances = []     # Instance, in order
        self.main = None

    def compile(self, path):
        """The code of a policy file. OSError, SyntaxError, ValueError (NUL octets)."""
        path = os.path.abspath(path)
        with open(path, "rb") as f:
            octets = f.read()
        problems.policy_files.add(path)
        self.sources[path] = source.Source(path, importlib.util.decode_source(octets))
        return compile(octets, path, "exec", dont_inherit=True)

    def run(self):
        """Compiled, or None when there are errors."""
        problems.start(self.problems)
        try:
            self._set_path()
            if self._guarded(self._run_file, (self.policy, 0)):
                for name in self._choose_instances():
                    self._run_instance(name)
                return self._compile_all()
            return None
        finally:
            problems.stop()

    def _set_path(self):
        directories = [os.path.dirname(self.policy), SYSTEM_DIRECTORY]
        directories += [os.path.abspath(d) for d in os.environ.get("PYTHONPATH", "").split(os.pathsep) if d]
        directories = [d for d in dict.fromkeys(directories) if d != PACKAGES]
        # The language is loaded before the policy's directory can offer modules of the same names;
        # a directory called Zorp there may add modules to it.
        import Zorp
        Zorp.__path__ += [os.path.join(d, "Zorp") for d in directories if os.path.isdir(os.path.join(d, "Zorp"))]
        sys.path[:] = directories + [p for p in sys.path if p not in directories]
        sys.meta_path.insert(0, PolicyFinder(self, directories))

    def _run_file(self):
        code = self.compile(self.policy)
        self.main = types.ModuleType("__main__")
        self.main.__file__ = self.policy
        sys.modules["__main__"] = self.main
        exec(code, self.main.__dict__)

    def _guarded(self, function, place, *args):
        """Run policy code; what it raises is a problem. True when it raised nothing."""
        try:
            function(*args)
            return True
        except SyntaxError as error:
            self._report_syntax(error, place)
        except OSError as error:
            if problems.place_of_exception(error, None) is None:
                problems.report("can't be read: %s" % error.strerror, None, place)
            else:
                self._report_exception(error, place)
        except (Exception, SystemExit, KeyboardInterrupt, RecursionError) as error:
            self._report_exception(error, place)
        return False

    def _report_exception(self, error, fallback):
        place = problems.place_of_exception(error, fallback)
        if isinstance(error, problems.Refused):
            problems.report(error.message, error.hint, place)
            return
        if isinstance(error, SystemExit):
            problems.report("the policy ends the program: SystemExit", "let the function return", place)
            return
        hint = source.python2_hint(error)
        if hint is None and isinstance(error, NameError):
            hint = self._name_hint(error)
        problems.report(problems.describe_exception(error), hint, place)

    def _name_hint(self, error):
        quoted = str(error).split("'")
        if len(quoted) < 2:
            return None
        from Zorp import Core
        known = [n for n in list(vars(self.main)) + dir(Core) if not n.startswith("_")]
        if quoted[1] in dir(Core):
            return "from Zorp.Core import *"
        return problems.did_you_mean(quoted[1], known)

    def _report_syntax(self, error, fallback):
        path = error.filename if error.filename in self.sources else fallback[0]
        found = []
        if path in self.sources:
            found = source.python2_lines(self.sources[path].text)
        line = error.lineno or 0
        for number, what, remedy in found:
            problems.report("this is Python 3, which does not have %s" % what, remedy, (path, number))
        if not any(number == line for number, what, remedy in found):
            problems.report("syntax error: %s" % error.msg, None, (path, line))

    def _instance_functions(self):
        found = []
        for name, value in vars(self.main).items():
            if (isinstance(value, types.FunctionType) and value.__code__.co_filename == self.policy
                    and not name.startswith("_") and name not in HOOKS
                    and value.__code__.co_argcount == 0 and value.__code__.co_kwonlyargcount == 0):
                found.append(name)
        return found

    def _choose_instances(self):
        functions = self._instance_functions()
        for name in HOOKS:
            value = vars(self.main).get(name)
            if isinstance(value, types.FunctionType) and value.__code__.co_filename in self.sources:
                problems.not_yet("a function %s() of the policy's own" % name,
                                 (value.__code__.co_filename, value.__code__.co_firstlineno))
        if not self.wanted:
            if "default_instance" in functions:
                return ["default_instance"]
            if len(functions) == 1:
                return functions
            if functions:
                problems.report("the policy has several instances and none is called default_instance",
                                "choose with --instance: " + problems.plural(functions), (self.policy, 0))
            else:
                problems.report("the policy has no instance function", "def default_instance():", (self.policy, 0))
            return []
        chosen = []
        for name in dict.fromkeys(self.wanted):
            if callable(vars(self.main).get(name)) and not name.startswith("_"):
                chosen.append(name)
            else:
                problems.report("there is no instance function '%s'" % name, problems.did_you_mean(name, functions)
                                or "there are " + problems.plural(functions) if functions else None, (self.policy, 0))
        return chosen

    def _run_instance(self, name):
        from Zorp import Globals
        before = registry.Scope()
        done = Instance(name)
        function = vars(self.main)[name]
        code = getattr(function, "__code__", None)
        place = (code.co_filename, code.co_firstlineno) if code else (self.policy, 0)
        Globals.instance_name = Globals.virtual_instance_name = name
        Globals.rules = done.rules
        try:
            self._guarded(function, place)
            self._validate_matchers()
            done.scope = registry.Scope()
        finally:
            Globals.instance_name = Globals.virtual_instance_name = ""
            Globals.rules = None
            before.restore()
        self.instances.append(done)

    def _validate_matchers(self):
        from Zorp.Exceptions import MatcherException
        for policy in registry.named("matchers").values():
            if getattr(policy, "_poisoned", False) or getattr(policy.matcher, "_poisoned", False):
                continue
            try:
                policy.matcher.validateMatcher()
            except MatcherException as error:
                problems.report("MatcherPolicy '%s': %s" % (policy.name, error.detail), None, policy._place)
            except Exception as error:
                self._report_exception(error, policy._place)

    def _compile_all(self):
        from sallyport.document import Writer
        compiled = Compiled()
        writer = Writer(self, compiled)
        writer.write()
        return compiled if self.problems.errors == 0 else None
