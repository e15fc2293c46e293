# SPDX-License-Identifier: Apache-2.0
"""What policy code sees as self.session, in a callback."""

from Zorp.SockAddr import SockAddrInet, SockAddrInet6
from Zorp.Zone import Zone
from Zorp.Zorp import ConnectionVerdict, ZD_PROTO_NAME, ZD_PROTO_TCP, ZV_ACCEPT, ZV_REJECT


def _address(pair):
    """["1.2.3.4", 25] from the worker, as a SockAddr; None stays None."""
    if pair is None:
        return None
    return (SockAddrInet6 if ":" in pair[0] else SockAddrInet)(pair[0], pair[1])


class AbstractSession:
    base_session_id = "svc"

    def __getattr__(self, name):
        raise AttributeError("a session has no attribute '%s'" % name)


class MasterSession(AbstractSession):
    """One accepted connection."""

    auth_user = ""
    auth_groups = ()
    authorized = 0
    started = 1

    def getMasterSession(self):
        return self


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
        master.target_zone = [Zone.lookup(address) for address in master.target_address]
        master.verdict = ConnectionVerdict(0)
