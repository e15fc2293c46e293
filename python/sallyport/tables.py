# SPDX-License-Identifier: Apache-2.0
"""The hashes of the policy language: self.request, self.response, self.extensions ...

Keys and values are checked where they are assigned, against the actions that the engine's table
knows. A value is an action number, or a sequence that starts with one.
"""

from collections.abc import MutableMapping

from sallyport import problems, schema
from sallyport.problems import Refused

ANY = "*"


class Entry:
    """One table entry: the value as the policy wrote it, and what it means."""

    __slots__ = ("value", "action", "args", "call")

    def __init__(self, value, action, args, call):
        self.value = value
        self.action = action
        self.args = args
        self.call = call


class Table(MutableMapping):
    def __init__(self, table_schema, constants, argument_counts, upper=False):
        self._schema = table_schema
        self._constants = constants         # action number -> "SMTP_REQ_ACCEPT"
        self._arguments = argument_counts   # how many arguments a callable gets; None = unknown
        self._upper = upper or table_schema.upper
        self._entries = {}
        self._changed = {}                  # key -> None, in order

    def key(self, key):
        """A key as the table keeps it: a tuple of str, "*" for any. Refused."""
        table = self._schema
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != table.key_parts:
            raise Refused("%s needs a key of %s, not %s" % (
                table.name, "two parts" if table.key_parts == 2 else "one part", problems.shown(key)),
                "self.%s[%s]" % (table.name, '"VERB", "code"' if table.key_parts == 2 else '"VERB"'))
        kept = []
        for part in parts:
            if isinstance(part, bool) or not isinstance(part, (str, int)):
                raise Refused("%s: the key %s is not a string" % (table.name, problems.shown(part)))
            part = str(part)
            kept.append(ANY if part == "" and table.key_parts == 2 else part)
            schema.check_text("a key of " + table.name, part, True)
        if kept[0] == "":
            raise Refused("%s: the key must not be empty" % table.name)
        if table.lookup == "verb-code" and kept[1] != ANY and not (kept[1].isdecimal() and len(kept[1]) <= 3):
            raise Refused("%s: '%s' is not a reply code" % (table.name, kept[1]),
                          'three digits, their first one or two, or "*"')
        return tuple(kept)

    def entry(self, key):
        """The Entry with exactly that key; KeyError."""
        return self._entries[key]

    def entries(self):
        return self._entries.items()

    def take_changes(self):
        """Keys changed since the last call."""
        if not self._changed:
            return ()
        changed = list(self._changed)
        self._changed.clear()
        return changed

    def __getitem__(self, key):
        try:
            return self._entries[self.key(key)].value
        except Refused:
            raise KeyError(key) from None

    def __setitem__(self, key, value):
        try:
            kept = self.key(key)
            entry = self._entry(value)
        except Refused as refused:
            problems.report(refused.message, refused.hint)
            return
        if self._upper and kept[0] != kept[0].upper() and kept[0] != "Null":
            problems.warn("%s: the key '%s' is not in upper case and matches nothing" % (self._schema.name, kept[0]),
                          "write '%s'" % kept[0].upper())
        self._entries[kept] = entry
        self._changed[kept] = None

    def __delitem__(self, key):
        try:
            kept = self.key(key)
        except Refused:
            raise KeyError(key) from None
        del self._entries[kept]
        self._changed[kept] = None

    def __iter__(self):
        return iter([k[0] if len(k) == 1 else k for k in self._entries])

    def __len__(self):
        return len(self._entries)

    def _action_name(self, number):
        return self._constants.get(number) or self._schema.actions[number].name

    def _entry(self, value):
        name = self._schema.name
        parts = list(value) if isinstance(value, (tuple, list)) else [value]
        if not parts or not isinstance(parts[0], int):
            raise Refused("%s: %s is not an action" % (name, problems.shown(value)), self._choices())
        action = self._schema.actions.get(int(parts[0]))
        if action is None:
            raise Refused("%s: there is no action %d" % (name, parts[0]), self._choices())
        shown = self._action_name(action.value)
        if action.calls:
            if len(parts) != 2 or not callable(parts[1]):
                raise Refused("%s: %s needs a function: (%s, self.something)" % (name, shown, shown))
            self._check_arguments(parts[1])
            return Entry(value, action.value, [], parts[1])
        args = parts[1:]
        if not action.min_args <= len(args) <= action.max_args:
            raise Refused("%s: %s takes %s more items, not %d" % (
                name, shown, action.max_args if action.min_args == action.max_args
                else "%d to %d" % (action.min_args, action.max_args), len(args)))
        for arg in args:
            if isinstance(arg, int):
                raise Refused("%s: what follows %s are strings" % (name, shown), 'write "%s"' % arg)
            schema.check_text("%s: what follows %s" % (name, shown), arg, True)
        return Entry(value, action.value, args, None)

    def _choices(self):
        return "one of " + problems.plural(self._action_name(n) for n in sorted(self._schema.actions))

    def _check_arguments(self, function):
        if self._arguments is None:
            return
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is None or code.co_flags & 0x04:    # not Python, or takes *args
            return
        given = self._arguments + (1 if getattr(function, "__self__", None) is not None else 0)
        target = getattr(function, "__func__", function)
        least = code.co_argcount - len(target.__defaults__ or ())
        if not least <= given <= code.co_argcount:
            raise Refused("%s: %s() is called with %d arguments, and takes %d" % (
                self._schema.name, getattr(function, "__name__", "the function"), self._arguments,
                code.co_argcount - (given - self._arguments)))


class NoStack(dict):
    """A hash of what to stack, as long as nothing can be stacked: empty."""

    def __init__(self, name):
        super().__init__()
        self._name = name

    def __setitem__(self, key, value):
        problems.not_yet("stacking (%s)" % self._name)

    def update(self, *args, **kwargs):
        problems.not_yet("stacking (%s)" % self._name)

    setdefault = update
