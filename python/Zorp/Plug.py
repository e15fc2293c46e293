# SPDX-License-Identifier: Apache-2.0
"""The plug: copies both directions without looking."""

from Zorp.Core import *
from Zorp.Proxy import Proxy, native as _native

PLUG_DEBUG = "plug.debug"


class AbstractPlugProxy(Proxy):
    """Attributes: docs/reference/plug.md."""

    name = "plug"

    def requestStack(self):
        """What to stack. Stacking is not yet possible, so a policy can't override it."""
        return None

    @_native("plug.packet_stats")
    def packetStats(self, client_bytes, client_pkts, server_bytes, server_pkts):
        """Called at the intervals that config() asks for; ZV_ACCEPT goes on."""


class PlugProxy(AbstractPlugProxy):
    """The ready-made class."""
