# SPDX-License-Identifier: Apache-2.0
"""POP3: the names of its policies. The proxy does not exist yet."""

from Zorp.Core import *
from Zorp.Proxy import Proxy

POP3_REQ_ACCEPT, POP3_REQ_REJECT, POP3_REQ_ABORT, POP3_REQ_POLICY, POP3_REQ_ACCEPT_MLINE = 1, 3, 4, 6, 100
POP3_RSP_ACCEPT, POP3_RSP_REJECT, POP3_RSP_ABORT = 1, 3, 4
POP3_STK_NONE, POP3_STK_DATA, POP3_STK_MIME, POP3_STK_POLICY = 1, 2, 3, 6


class AbstractPop3Proxy(Proxy):
    name = "pop3"


class Pop3Proxy(AbstractPop3Proxy):
    pass
