# SPDX-License-Identifier: Apache-2.0
"""The policy language.

A policy may star-import any one module and find the whole language: the tutorials' policies say
only "from Zorp.Smtp import *". So after all modules are loaded, each gets the public names of
Zorp.Core and Zorp.Encryption that it does not define itself.
"""

import pkgutil as _pkgutil

__path__ = _pkgutil.extend_path(__path__, __name__)

_MODULES = ("Exceptions", "Config", "Common", "Globals", "Cache", "SockAddr", "Subnet", "Stream", "Zorp",
            "Zone", "Matcher", "Resolver", "NAT", "Router", "Chainer", "Session", "Stack", "AuthDB", "Auth",
            "Keybridge", "Encryption", "Detector", "Proxy", "Service", "Dispatch", "Rule", "Core",
            "APR", "Plug", "AnyPy", "Smtp", "Http", "Ftp", "Pop3", "Telnet", "Finger", "Whois")


def _unite():
    from importlib import import_module
    modules = [import_module("Zorp." + name) for name in _MODULES]
    common = {}
    for source in ("Core", "Encryption"):
        for name, value in vars(import_module("Zorp." + source)).items():
            if not name.startswith("_"):
                common.setdefault(name, value)
    for module in modules:
        for name, value in common.items():
            vars(module).setdefault(name, value)


_unite()
