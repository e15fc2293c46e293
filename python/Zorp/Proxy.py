# SPDX-License-Identifier: Apache-2.0
"""The base of all proxy classes."""

import os
import re
import string
import struct
import types

from sallyport import engine as _engine, instance as _instance, problems as _problems
from Zorp.Chainer import ConnectChainer
from Zorp.Detector import *
from Zorp.Encryption import *
from Zorp.Exceptions import *
from Zorp.Keybridge import X509KeyBridge, X509KeyManager
from Zorp.Matcher import getMatcher
from Zorp.Session import MasterSession, StackedSession
from Zorp.SockAddr import SockAddrInet
from Zorp.Stack import getStackingProviderBackend
from Zorp.Stream import Stream
from Zorp.Subnet import Inet6Subnet, InetSubnet, Subnet
from Zorp.Zone import BaseZone
from Zorp.Zorp import *


class _Later(types.ModuleType):
    """A module that the original's star import brings along, loaded when it is used."""

    def __getattr__(self, name):
        from importlib import import_module
        return getattr(import_module(self.__name__), name)


hashlib = _Later("hashlib")
inspect = _Later("inspect")


def proxyLog(self, tag, level, format, args=None):
    """log() with the proxy's session id; the engine knows which session it is."""
    log(None, tag, level, format, args)


def native(name):
    """Marks a method of a standard class that the engine does itself. The method's body is not
    run: a call from policy code (an override that calls its base) goes up to the engine."""
    def mark(method):
        count = method.__code__.co_argcount - 1

        def up(self, *args):
            if len(args) != count:
                raise TypeError("%s() takes %d arguments, not %d" % (method.__name__, count, len(args)))
            engine = _engine.current()
            if engine is None:
                raise RuntimeError("%s() can only be called in a callback" % method.__name__)
            return engine.up(name, list(args))
        up.__name__ = method.__name__
        up.__qualname__ = method.__qualname__
        up.__doc__ = method.__doc__
        up._native = name
        up._arguments = count
        return up
    return mark


def at_load(method):
    """Marks a method of a standard class that runs in the policy host, while config() does or in
    a callback: a policy may override it."""
    method._at_load = True
    return method


class _Body(dict):
    """The namespace of a class body; knows at which line each name was bound."""

    def __init__(self):
        super().__init__()
        self.places = {}

    def __setitem__(self, name, value):
        if not name.startswith("_"):
            self.places[name] = _problems.here()
        super().__setitem__(name, value)


class _ProxyMeta(type):
    @classmethod
    def __prepare__(mcs, name, bases, **kwargs):
        return _Body() if _problems.loading() else {}

    def __new__(mcs, name, bases, body, **kwargs):
        made = super().__new__(mcs, name, bases, dict(body), **kwargs)
        if isinstance(body, _Body):
            made._places = body.places
            made._place = _problems.here()
        return made


class Proxy(BuiltinProxy, metaclass=_ProxyMeta):
    """Attributes, tables and hooks are those of the engine's proxy of that name."""

    name = None
    module = None
    auth_inband_supported = FALSE
    auth_inband_defer = FALSE
    auth_server_supported = FALSE
    config_per_session = FALSE
    language = "en"
    encryption_policy = None

    _constant_prefixes = {}         # table name -> prefix of its action constants
    _callback_arguments = {}        # table name -> arguments of a function in it
    _upper_case_tables = ()         # tables whose keys are looked up in upper case
    _more_names = ()                # attributes that the class takes, which the engine's proxy does not have

    def __new__(cls, *args, **kwargs):
        raise TypeError("%s is started by a service, not by the policy" % cls.__name__)

    def __init__(self, session=None):
        pass

    @classmethod
    def _action_names(cls, table):
        prefix = cls._constant_prefixes.get(table)
        if prefix is None:
            return {}
        from importlib import import_module
        constants = vars(import_module(cls._constants_module))
        return {v: n for n, v in constants.items() if n.startswith(prefix) and isinstance(v, int)}

    @property
    def session(self):
        state = self.__dict__[_instance.NAME]
        if state.at_load:
            state.needs_session()
        return state.session

    @property
    def ssl(self):
        """Encryption as older policies say it: sallyport/legacy_tls.py."""
        return self.__dict__[_instance.NAME].ssl

    @property
    def tls(self):
        """What the session knows of its handshakes: sallyport/tls_facts.py."""
        state = self.__dict__[_instance.NAME]
        if state.at_load:
            state.needs_session()
        return state.tls

    @property
    def encryption(self):
        """The session's scenario, with its settings."""
        state = self.__dict__[_instance.NAME]
        if state.at_load:
            state.needs_session()
        if state.phase != _instance.RUN:
            raise RuntimeError("self.encryption is known after config()")
        return state.scenario()

    def __setattr__(self, name, value):
        state = self.__dict__[_instance.NAME]
        if not state.assign(self, name, value):
            self.__dict__[name] = value

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__[_instance.NAME].missing(self, name)

    @at_load
    def __pre_config__(self):
        pass

    @at_load
    def config(self):
        """For the policy to override."""

    @at_load
    def __post_config__(self):
        pass

    def __pre_startup__(self):
        pass

    def startup(self):
        pass

    def __post_startup__(self):
        pass

    def __pre_shutdown__(self):
        pass

    def shutdown(self):
        pass

    def __post_shutdown__(self):
        pass

    def __destroy__(self):
        pass

    def startUp(self):
        pass

    def shutDown(self):
        pass

    def connectServer(self):
        _problems.not_yet("connectServer()")

    def setServerAddress(self, host, port):
        """Choose the server, before the proxy connects; where the router is overrideable."""
        return self.session.setTargetAddressByHostname(host, port)

    def userAuthenticated(self, entity, auth_info=""):
        _problems.not_yet("userAuthenticated()")

    def stackProxy(self, client_stream, server_stream, proxy_class, stack_info):
        _problems.not_yet("stackProxy()")

    def stackProxyInSession(self, proxy_class, subsession, stack_info):
        _problems.not_yet("stackProxyInSession()")

    def stackCustom(self, args):
        _problems.not_yet("stackCustom()")

    def closedByAbort(self):
        pass

    def invalidPolicyCall(self):
        pass

    @at_load
    def readPEM(self, filename):
        return readPEM(filename)
