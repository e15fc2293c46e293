# SPDX-License-Identifier: Apache-2.0
"""FTP: the names of its policies. The proxy does not exist yet."""

from Zorp.Core import *
from Zorp.Plug import PlugProxy
from Zorp.Proxy import Proxy
from Zorp.Stream import Stream

FTP_REQ_ACCEPT, FTP_REQ_REJECT, FTP_REQ_ABORT, FTP_REQ_POLICY = 1, 3, 4, 6
FTP_RSP_ACCEPT, FTP_RSP_REJECT, FTP_RSP_ABORT, FTP_RSP_POLICY = 1, 3, 4, 6
FTP_DATA_KEEP, FTP_DATA_PASSIVE, FTP_DATA_ACTIVE = 0, 1, 2
FTP_ACTIVE_MINUSONE, FTP_ACTIVE_TWENTY, FTP_ACTIVE_RANDOM = 0, 1, 2
FTP_STK_NONE, FTP_STK_DATA, FTP_STK_POLICY = 1, 2, 6
FTP_FEATURE_ACCEPT, FTP_FEATURE_DROP, FTP_FEATURE_INSERT = 1, 2, 3
FTP_DEBUG = "ftp.debug"
FTP_ERROR = "ftp.error"
FTP_POLICY = "ftp.policy"


class ParseInbandAuthError(Exception):
    pass


class AbstractFtpProxy(Proxy):
    name = "ftp"
    auth_inband_supported = TRUE


class FtpProxy(AbstractFtpProxy):
    pass


class FtpProxyRO(AbstractFtpProxy):
    pass


class FtpProxyAnonRO(AbstractFtpProxy):
    pass


class FtpProxyRW(AbstractFtpProxy):
    pass


class FtpProxyAnonRW(AbstractFtpProxy):
    pass


FtpProxyMinimal = FtpProxyRO
