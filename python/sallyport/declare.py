# SPDX-License-Identifier: Apache-2.0
"""The base of everything a policy declares (zones, services, rules, routers ...).

A constructor that refuses its arguments is reported at the policy's line and yields a poisoned
object: it looks like one of its class, absorbs whatever is done with it, and whoever uses it later
keeps silent, so that one mistake is one problem.
"""

import ipaddress
import re

from sallyport import problems
from sallyport.problems import Refused

HOST_OCTETS_MAX = 253

_LABEL = re.compile(r"[a-z0-9_-]{1,63}\Z")


class Poison:
    """The value of any attribute of a poisoned object."""

    _poisoned = True

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args, **kwargs):
        return self

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 0

    def __str__(self):
        return "(refused)"


POISON = Poison()


def is_poisoned(value):
    if isinstance(value, (list, tuple)):
        return any(is_poisoned(v) for v in value)
    return getattr(value, "_poisoned", False) is True


class DeclarationMeta(type):
    def __call__(cls, *args, **kwargs):
        try:
            made = super().__call__(*args, **kwargs)
        except Refused as refused:
            if not problems.loading():
                raise
            return cls._report(refused.message, refused.hint, args, kwargs)
        except TypeError as error:
            wrong = _wrong_arguments(cls, args, kwargs, error)
            if wrong is None or not problems.loading():
                raise
            return cls._report(*wrong, args, kwargs)
        if made._place is None:
            made._place = problems.here()
        return made

    def _report(cls, message, hint, args, kwargs):
        place = problems.here()
        problems.report(message, hint, place)
        return cls._poison(place, args, kwargs)

    def _poison(cls, place, args=(), kwargs=None):
        made = cls.__new__(cls)
        made.__dict__.update(_poisoned=True, _place=place)
        name = (kwargs or {}).get("name", args[0] if args else None)
        if isinstance(name, str):
            cls._remember_refused(name, made)
        return made


class Declaration(metaclass=DeclarationMeta):
    """Attributes: _place, the policy line that made it; _poisoned."""

    _poisoned = False
    _place = None

    @classmethod
    def _remember_refused(cls, name, made):
        """A refused object still has its name, so that its users are not wrong as well."""

    def __getattr__(self, name):
        if self.__dict__.get("_poisoned") and not name.startswith("__"):
            return POISON
        raise AttributeError("%s has no attribute '%s'" % (type(self).__name__, name))


def _wrong_arguments(cls, args, kwargs, error):
    """(message, hint) if the call does not fit the constructor; None if it failed inside."""
    import inspect
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        inner = error.__traceback__.tb_next
        if inner.tb_next is not None or inner.tb_frame.f_code is getattr(cls.__init__, "__code__", None):
            return None
    try:
        signature = inspect.signature(cls.__init__)
        signature.bind(None, *args, **kwargs)
    except TypeError:
        pass
    else:
        return None
    known = [p for p in list(signature.parameters)[1:]]
    for name in kwargs:
        if name not in known:
            return ("%s has no parameter '%s'" % (cls.__name__, name),
                    problems.did_you_mean(name, known) or "its parameters are " + problems.plural(known))
    text = str(error).replace("__init__() ", "").replace(cls.__name__ + ".", "")
    return ("%s: %s" % (cls.__name__, text), "its parameters are " + problems.plural(known))


def text_argument(what, value, empty=False):
    """A str argument, or Refused."""
    if not isinstance(value, str):
        raise Refused("%s must be a string, not %s" % (what, problems.shown(value)))
    if not value and not empty:
        raise Refused("%s must not be empty" % what)
    return value


def name_argument(what, value):
    """The name of a policy object: appears in logs and in the document."""
    text_argument(what, value)
    if value.isascii() and value.isprintable() and len(value) <= 1023:
        return value
    try:
        octets = value.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused("%s %s contains a lone surrogate" % (what, problems.shown(value))) from None
    if len(octets) > 1023:
        raise Refused("%s is longer than 1023 octets" % what)
    if any(ord(c) < 0x20 or ord(c) == 0x7f for c in value):
        raise Refused("%s %s contains a control character" % (what, problems.shown(value)))
    return value


def host_argument(what, value, longest=HOST_OCTETS_MAX, instead=None):
    """The name of a host or domain, as names are compared: lower case, without the dot at the end. instead: what addresses
    are to be given as."""
    if not isinstance(value, str):
        raise Refused("%s: the host name %r is not a string" % (what, value))
    plain = value.lower()[:-1] if value.endswith(".") else value.lower()
    if _is_address(plain):
        raise Refused("%s: %s is an address, not a host name" % (what, value), instead)
    if not plain.isascii():
        raise Refused("%s: the host name '%s' is not ASCII" % (what, value), "write it in its form for DNS: 'xn--...'")
    if len(plain) > longest or not all(_LABEL.match(label) for label in plain.split(".")):
        raise Refused("%s: %s is not a host name" % (what, problems.shown(value)),
                      "letters, digits, '-' and '_' in labels of at most 63, with dots between them")
    return plain


def _is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def int_argument(what, value, low, high):
    if not isinstance(value, int):
        raise Refused("%s must be a number, not %s" % (what, problems.shown(value)))
    if not low <= value <= high:
        raise Refused("%s is %d; it must be from %d to %d" % (what, value, low, high))
    return int(value)


def flag_argument(what, value):
    if value is None or not isinstance(value, int) or value not in (0, 1):
        raise Refused("%s must be TRUE or FALSE, not %s" % (what, problems.shown(value)))
    return bool(value)


def sequence(value):
    """One value or any sequence of values, as a list. A string is one value."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    return [value]
