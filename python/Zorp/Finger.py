# SPDX-License-Identifier: Apache-2.0
"""Finger: the names of its policies. The proxy does not exist yet."""

from Zorp.Core import *
from Zorp.Proxy import Proxy


class AbstractFingerProxy(Proxy):
    name = "finger"


class FingerProxy(AbstractFingerProxy):
    pass
