# SPDX-License-Identifier: Apache-2.0
"""Chainers: how the server side of a session is opened."""

from sallyport.declare import Declaration as _Declaration, flag_argument as _flag_argument, int_argument as _int_argument
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.Config import options as _options
from Zorp.Zorp import FALSE, ZD_PROTO_AUTO, ZD_PROTO_TCP, ZD_PROTO_UDP

_TIMEOUT_MAX = 3600000


def _milliseconds(what, value, default):
    if value is None or value == 0:
        return default
    return _int_argument(what, value, 1, _TIMEOUT_MAX)


class AbstractChainer(_Declaration):
    """The base of chainers."""

    _not_yet = "a chainer class of the policy's own"

    def __init__(self, protocol=ZD_PROTO_AUTO):
        if protocol not in (ZD_PROTO_AUTO, ZD_PROTO_TCP, ZD_PROTO_UDP):
            raise _Refused("the chainer's protocol is %s" % _shown(protocol), "ZD_PROTO_AUTO, ZD_PROTO_TCP or ZD_PROTO_UDP")
        self.protocol = protocol

    def chainParent(self, session):
        raise NotImplementedError

    def getProtocol(self):
        return self.protocol


class ConnectChainer(AbstractChainer):
    """One attempt, to the first target."""

    _not_yet = None

    def __init__(self, protocol=ZD_PROTO_AUTO, timeout_connect=None):
        super().__init__(protocol)
        self.timeout_connect = _milliseconds("timeout_connect", timeout_connect, _options.timeout_server_connect)

    def _document(self):
        return {"type": "connect", "protocol": self.protocol, "timeout_connect": self.timeout_connect}


class MultiTargetChainer(ConnectChainer):
    """Each session starts at the next target, and tries each once."""

    _not_yet = "MultiTargetChainer"


class StateBasedChainer(MultiTargetChainer):
    """Remembers for timeout_state milliseconds which targets did not answer."""

    _not_yet = "StateBasedChainer"

    def __init__(self, protocol=ZD_PROTO_AUTO, timeout_connect=None, timeout_state=None):
        super().__init__(protocol, timeout_connect)
        self.timeout_state = _milliseconds("timeout_state", timeout_state, 60000)


class RoundRobinChainer(StateBasedChainer):
    _not_yet = "RoundRobinChainer"


class FailoverChainer(StateBasedChainer):
    """Always the first target that answers."""

    _not_yet = "FailoverChainer"

    def __init__(self, protocol=ZD_PROTO_AUTO, timeout=0, timeout_state=None, timeout_connect=None, round_robin=FALSE):
        if timeout:
            timeout_state = _int_argument("timeout", timeout, 1, _TIMEOUT_MAX // 1000) * 1000
        super().__init__(protocol, timeout_connect, timeout_state)
        self.round_robin = _flag_argument("round_robin", round_robin)


class SideStackChainer(AbstractChainer):
    """Another proxy between this one and the server."""

    _not_yet = "SideStackChainer"

    def __init__(self, right_class, right_chainer=None):
        super().__init__()
        self.right_class = right_class
        self.right_chainer = right_chainer or ConnectChainer()


def not_yet(chainer):
    """Why no service can use this chainer; None when it can."""
    if type(chainer).chainParent is not AbstractChainer.chainParent:
        return "a chainer with a chainParent() of the policy's own"
    if chainer._not_yet is None and chainer.protocol == ZD_PROTO_UDP:
        return "UDP to the server (ZD_PROTO_UDP)"
    return chainer._not_yet
