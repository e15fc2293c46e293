# SPDX-License-Identifier: Apache-2.0
"""Constants, logging and the entry points of a policy."""

import enum
import errno
import socket
import sys
import traceback

from Zorp import Common, Config, Globals
from Zorp.Config import config
from Zorp.SockAddr import (SockAddrInet, SockAddrInet6, SockAddrInetHostname, SockAddrInetRange, SockAddrUnix,
                           SockAddrType, SockAddrInetType, SockAddrInet6Type, SockAddrUnixType)
from sallyport import engine as _engine, problems as _problems

FALSE = 0
TRUE = 1

ZV_UNSPEC, ZV_ACCEPT, ZV_DENY, ZV_REJECT, ZV_ABORT, ZV_DROP, ZV_POLICY, ZV_ERROR = range(8)
Z_UNSPEC, Z_ACCEPT, Z_DENY, Z_REJECT, Z_ABORT, Z_DROP, Z_POLICY, Z_ERROR = range(8)

ZD_PROTO_AUTO, ZD_PROTO_TCP, ZD_PROTO_UDP = range(3)
ZD_PROTO_NAME = ("AUTO", "TCP", "UDP")

Z_PORT_ANY = -1
Z_PORT_GROUP = -2
Z_PORT_EXACT = -3
Z_PORT_RANDOM = -4

Z_STACK_PROXY = 1
Z_STACK_PROGRAM = 2
Z_STACK_REMOTE = 3
Z_STACK_PROVIDER = 4
Z_STACK_CUSTOM = 5
Z_STACK_PROXY_IN_SESSION = 6

Z_KEEPALIVE_NONE, Z_KEEPALIVE_CLIENT, Z_KEEPALIVE_SERVER, Z_KEEPALIVE_BOTH = range(4)

Z_NOT = "Z_NOT"
Z_AND = "Z_AND"
Z_OR = "Z_OR"
Z_XOR = "Z_XOR"
Z_EQ = "Z_EQ"
Z_NE = "Z_XOR"

AF_UNSPEC = socket.AF_UNSPEC
AF_INET = socket.AF_INET
AF_INET6 = socket.AF_INET6

Z_SSL_VERIFY_NONE = 0
Z_SSL_VERIFY_OPTIONAL_UNTRUSTED = 1
Z_SSL_VERIFY_OPTIONAL_TRUSTED = 2
Z_SSL_VERIFY_REQUIRED_UNTRUSTED = 3
Z_SSL_VERIFY_REQUIRED_TRUSTED = 4

Z_BACL_REQUIRED = 1
Z_BACL_SUFFICIENT = 2

Z_PROXY_PRI_LOW, Z_PROXY_PRI_NORMAL, Z_PROXY_PRI_HIGH, Z_PROXY_PRI_URGENT = range(4)

Z_SZIG_TYPE_LONG = 1
Z_SZIG_TYPE_TIME = 2
Z_SZIG_TYPE_STRING = 3
Z_SZIG_TYPE_PROPS = 4
Z_SZIG_TYPE_CONNECTION_PROPS = 5

(Z_SZIG_THREAD_START, Z_SZIG_THREAD_STOP, Z_SZIG_TICK, Z_SZIG_COUNTED_IP, Z_SZIG_CONNECTION_PROPS,
 Z_SZIG_CONNECTION_STOP, Z_SZIG_AUDIT_START, Z_SZIG_AUDIT_STOP, Z_SZIG_RELOAD, Z_SZIG_AUTH_PENDING_BEGIN,
 Z_SZIG_AUTH_PENDING_FINISH, Z_SZIG_SERVICE_COUNT, Z_SZIG_CONNECTION_START) = range(13)

CORE_SESSION = "core.session"
CORE_DEBUG = "core.debug"
CORE_ERROR = "core.error"
CORE_POLICY = "core.policy"
CORE_MESSAGE = "core.message"
CORE_AUTH = "core.auth"
CORE_INFO = "core.info"
CORE_SUMMARY = "core.summary"

firewall_name = "sallyport"


class ZEndpoint(enum.IntEnum):
    EP_CLIENT = 0
    EP_SERVER = 1


class ConnectionVerdict:
    """The verdict of a session: comparable, and prints as its name."""

    ACCEPTED = 0
    DENIED_BY_POLICY = 1
    DENIED_BY_LIMIT = 2
    DENIED_BY_CONNECTION_FAIL = 3
    DENIED_BY_UNKNOWN_FAIL = 4
    ABORTED_BY_POLICY_ACTION = 5
    INVALID_POLICY_CALL = 6
    _names = ("ACCEPTED", "DENIED_BY_POLICY", "DENIED_BY_LIMIT", "DENIED_BY_CONNECTION_FAIL",
              "DENIED_BY_UNKNOWN_FAIL", "ABORTED_BY_POLICY_ACTION", "INVALID_POLICY_CALL")

    def __init__(self, value):
        if not 0 <= int(value) < len(self._names):
            raise ValueError("there is no verdict %r" % (value,))
        self.value = int(value)

    def __int__(self):
        return self.value

    def __eq__(self, other):
        return self.value == getattr(other, "value", other)

    def __hash__(self):
        return hash(self.value)

    def __str__(self):
        return self._names[self.value]


def log(sessionid, tag, level=None, fmt=None, args=None):
    """log(sessionid, tag, level, fmt, args=None), or the old log(tag, level, message)."""
    if fmt is None:
        sessionid, tag, level, fmt = None, sessionid, tag, level
    if sessionid is not None and not isinstance(sessionid, str):
        raise TypeError("the session id must be a string or None")
    if args is not None:
        fmt = fmt % args
    engine = _engine.current()
    if engine is not None:
        engine.log(sessionid, tag, level, fmt)
    elif level <= 3:
        sys.stderr.write("%s(%d): (%s): %s\n" % (tag, level, sessionid or "nosession", fmt))


# The entry points that a policy may call or replace in the original. Sallyport runs the instance
# functions itself; a policy's own init() and others would never be called, which the loader says.

def init(names, virtual_name, is_master):
    _problems.not_yet("calling init()")


def deinit(names, virtual_name):
    _problems.not_yet("calling deinit()")


def purge():
    _problems.not_yet("calling purge()")


def cleanup(names, virtual_name, is_master):
    _problems.not_yet("calling cleanup()")


def notify(event, params):
    _problems.not_yet("calling notify()")


def quit(code):
    _problems.not_yet("quit()")


def getInstanceId(service_name):
    _problems.not_yet("getInstanceId()")


def isInitialPolicyLoad():
    """1: each generation is loaded by a policy host of its own."""
    return 1


def szigEvent(event, value):
    _problems.not_yet("szigEvent()")


def notifyEvent(*args, **kwargs):
    return None


def streamPair(domain, type, proto=0):
    _problems.not_yet("streamPair()")


def getKZorpResult(*args):
    _problems.not_yet("getKZorpResult()")


class _Listener:
    """Listeners of one's own: only the old dispatchers used them."""

    def __init__(self, *args, **kwargs):
        _problems.not_yet(type(self).__name__)


class Dispatch(_Listener):
    pass


class DBSockAddr(_Listener):
    pass


class DBIface(_Listener):
    pass


class DBIfaceGroup(_Listener):
    pass


class Attach(_Listener):
    pass


class ProxyGroup(_Listener):
    pass


class BuiltinProxy:
    """The base of Proxy, for isinstance()."""


class SharedType:
    pass


DispatchBindType = _Listener
DBSockAddrType = DBSockAddr
DBIfaceType = DBIface
DBIfaceGroupType = DBIfaceGroup
ProxyGroupType = ProxyGroup
