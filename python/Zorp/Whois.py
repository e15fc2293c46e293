# SPDX-License-Identifier: Apache-2.0
"""Whois: the names of its policies. The proxy does not exist yet."""

from Zorp.Core import *
from Zorp.Proxy import Proxy


class AbstractWhoisProxy(Proxy):
    name = "whois"


class WhoisProxy(AbstractWhoisProxy):
    pass
