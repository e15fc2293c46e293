# SPDX-License-Identifier: Apache-2.0
"""What policy code sees as self.session, in a callback or in the config() of a session."""

from sallyport import engine as _engine, problems as _problems
from sallyport.declare import sequence as _sequence
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.SockAddr import SockAddrInet, SockAddrInet6
from Zorp.Zone import Zone
from Zorp.Zorp import (ConnectionVerdict, CORE_ERROR, FALSE, log as _log, TRUE, ZD_PROTO_NAME, ZD_PROTO_TCP, ZV_ACCEPT,
                       ZV_REJECT)

# What sessions of the policy language have besides, which nothing here fills or reads yet.
_LATER = frozenset(("client_stream", "server_stream", "client_listen", "target_local", "target_local_loose", "target_local_random",
                    "target_address_inband", "stack_info", "proxy"))


def _address(pair):
    """["1.2.3.4", 25] from the worker, as a SockAddr; None stays None."""
    if pair is None:
        return None
    return (SockAddrInet6 if ":" in pair[0] else SockAddrInet)(pair[0], pair[1])


class AbstractSession:
    base_session_id = "svc"

    def __getattr__(self, name):
        raise AttributeError("%s of sessions: not yet part of Sallyport" % name if name in _LATER else
                             "a session has no attribute '%s'" % name)

    def __setattr__(self, name, value):
        if name in _LATER:
            _problems.not_yet("%s of sessions" % name)
        object.__setattr__(self, name, value)

    def destroy(self):
        """End the session when this callback returns."""
        _running("destroy()").up("session.destroy", [])


def _running(what):
    engine = _engine.current()
    if engine is None:
        raise RuntimeError("%s can only be called in a callback" % what)
    return engine


class MasterSession(AbstractSession):
    """One accepted connection."""

    auth_user = ""
    auth_groups = ()
    authorized = 0
    started = 1

    def getMasterSession(self):
        return self

    def logVerdict(self, info=""):
        _problems.not_yet("logVerdict()")


class StackedSession(AbstractSession):
    """A proxy's view of its session; what it does not have itself is its owner's."""

    def __init__(self, owner, chainer=None):
        self.owner = owner
        self.chainer = chainer

    def __getattr__(self, name):
        if name.startswith("__") or name == "owner":
            raise AttributeError(name)
        return getattr(self.owner, name)

    def getMasterSession(self):
        return self.owner.getMasterSession()

    def isServerPermitted(self):
        """Whether the server's zone, or one above it, is among those that the service may connect to."""
        allowed = self.service.limit_target_zones_to
        zone = self.server_zone
        while allowed and zone is not None and zone.name not in allowed:
            zone = zone.admin_parent
        return ZV_ACCEPT if not allowed or zone is not None else ZV_REJECT

    def setTargetAddress(self, addr):
        """Go there, whatever the router says: with connections to the server that are opened from now on. Of several
        addresses the first counts, as of a router's."""
        addresses = _sequence(addr)
        if not addresses or not all(isinstance(a, (SockAddrInet, SockAddrInet6)) for a in addresses):
            raise _Refused("%s is not an address of a server" % _shown(addr), "setTargetAddress(SockAddrInet('1.2.3.4', 25))")
        target = addresses[0]
        if _running("setTargetAddress()").up("session.set_target", [target.ip_s, target.port]):
            self.owner.target_address, self.owner.target_zone = [target], [Zone.lookup(target)]

    setServer = setTargetAddress

    def setTargetAddressByHostname(self, host, port):
        """Go there, if the router lets the proxy choose. An IP address: names are not resolved."""
        try:
            return TRUE if _running("setServerAddress()").up("session.set_server_address", [host, port]) else FALSE
        except _engine.EngineError:
            _log(None, CORE_ERROR, 3, "Not an IP address and a port; names are not resolved; host='%s', port='%s'", (host, port))
            return FALSE

    def setServerAddress(self, addr):
        _problems.not_yet("setServerAddress() of sessions, which a chainer of the policy's own calls")

    @classmethod
    def from_info(cls, info, compiled):
        """session_info of docs/policy-document.md."""
        made = cls(MasterSession())
        made.update_info(info, compiled)
        return made

    def update_info(self, info, compiled):
        """What the engine knows now."""
        master = self.owner
        self.session_id = info.get("id", "")
        # "svc/instance/service:7" with "/instance/proxy" behind it
        master.session_id = master.master_session_id = self.session_id.rsplit("/", 2)[0]
        master.instance_name = info.get("instance", "")
        master.instance_id = info.get("number", 0)
        master.service = compiled.services.get(info.get("service"))
        master.rule_id = info.get("rule_id")
        master.protocol = info.get("protocol", ZD_PROTO_TCP)
        master.protocol_name = ZD_PROTO_NAME[master.protocol]
        for name in ("client_address", "client_local", "server_address", "server_local"):
            setattr(master, name, _address(info.get(name)))
        for name in ("client_zone", "server_zone"):
            setattr(master, name, compiled.zones.get(info.get(name)))
        master.target_address = [_address(a) for a in info.get("target_address") or ()]
        master.target_zone = [compiled.zones.get(name) for name in info.get("target_zone") or ()]
        master.verdict = ConnectionVerdict(0)
