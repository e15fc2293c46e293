# SPDX-License-Identifier: Apache-2.0
# bench/smtp: octets through the plug proxy to the mail sink.
from Zorp.Core import *
from Zorp.Plug import *

Zone("clients", ["127.0.0.0/8"])


def default_instance():
    Service("plug", PlugProxy, router=DirectedRouter(SockAddrInet("127.0.0.1", 20025)))
    Rule(service="plug", src_zone="clients", dst_subnet="127.0.0.1", dst_port=20028, proto=6)
