# SPDX-License-Identifier: Apache-2.0
"""The proxy behind Rule(detect=...)."""

from Zorp.Core import *
from Zorp.Proxy import Proxy


class DetectorProxy(Proxy):
    name = "apr"
