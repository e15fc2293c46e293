# SPDX-License-Identifier: Apache-2.0
"""A protocol in the policy's own Python."""

from Zorp.Core import *
from Zorp.Proxy import Proxy

ANYPY_UNSPEC, ANYPY_ACCEPT, ANYPY_DENY, ANYPY_REJECT, ANYPY_ABORT, ANYPY_DROP, ANYPY_POLICY, ANYPY_ERROR = range(8)


class AbstractAnyPyProxy(Proxy):
    name = "anypy"


class AnyPyProxy(AbstractAnyPyProxy):
    def proxyThread(self):
        raise NotImplementedError
