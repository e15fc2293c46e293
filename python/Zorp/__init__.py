# SPDX-License-Identifier: Apache-2.0
"""The policy language.

A policy may star-import any one module and find the whole language: the tutorials' policies say
only "from Zorp.Smtp import *". So each module gets the public names of Zorp.Core and
Zorp.Encryption that it does not define itself. The modules of protocols star-import Zorp.Core
after that has happened; they are loaded when a policy asks for them.
"""

_COMMON = ("Exceptions", "Config", "Common", "Globals", "Cache", "SockAddr", "Subnet", "Stream", "Zorp",
           "Zone", "Matcher", "Resolver", "NAT", "Router", "Chainer", "Session", "Stack", "AuthDB", "Auth",
           "Keybridge", "Encryption", "Detector", "Proxy", "Service", "Dispatch", "Rule", "Core")


def _unite():
    from importlib import import_module
    modules = [import_module("Zorp." + name) for name in _COMMON]
    common = {}
    for source in ("Core", "Encryption"):
        for name, value in vars(import_module("Zorp." + source)).items():
            if not name.startswith("_"):
                common.setdefault(name, value)
    for module in modules:
        for name, value in common.items():
            vars(module).setdefault(name, value)


_unite()
