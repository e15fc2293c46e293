# SPDX-License-Identifier: Apache-2.0
"""HTTP: the names of its policies. The proxy does not exist yet."""

from Zorp.Core import *
from Zorp.Matcher import getMatcher
from Zorp.Plug import PlugProxy
from Zorp.Proxy import Proxy

HTTP_REQ_ACCEPT, HTTP_REQ_DENY, HTTP_REQ_REJECT, HTTP_REQ_ABORT, HTTP_REQ_POLICY = 1, 2, 3, 4, 6
HTTP_REQ_CUSTOM_RESPONSE = 7
HTTP_RSP_ACCEPT, HTTP_RSP_DENY, HTTP_RSP_REJECT, HTTP_RSP_ABORT, HTTP_RSP_POLICY = 1, 2, 3, 4, 6
HTTP_HDR_ACCEPT, HTTP_HDR_ABORT, HTTP_HDR_DROP, HTTP_HDR_POLICY = 1, 4, 5, 6
(HTTP_HDR_CHANGE_NAME, HTTP_HDR_CHANGE_VALUE, HTTP_HDR_CHANGE_BOTH, HTTP_HDR_CHANGE_REGEXP, HTTP_HDR_INSERT,
 HTTP_HDR_REPLACE) = range(100, 106)
HTTP_URL_ACCEPT, HTTP_URL_REJECT, HTTP_URL_REDIRECT = 1, 3, 106
HTTP_CONNECTION_CLOSE, HTTP_CONNECTION_KEEPALIVE = 0, 1
HTTP_STK_NONE, HTTP_STK_DATA, HTTP_STK_MIME, HTTP_STK_POLICY = 1, 2, 3, 4
HTTP_DEBUG = "http.debug"
HTTP_ERROR = "http.error"
HTTP_INFO = "http.info"
HTTP_POLICY = "http.policy"
HTTP_REQUEST = "http.request"
HTTP_RESPONSE = "http.response"
HTTP_VIOLATION = "http.violation"
HTTP_ACCOUNTING = "http.accounting"


class AbstractHttpProxy(Proxy):
    name = "http"
    auth_inband_supported = TRUE


class HttpProxy(AbstractHttpProxy):
    pass


HttpProxyTransparent = HttpProxy


class HttpProxyNonTransparent(HttpProxy):
    pass


class HttpProxyURIFilter(HttpProxy):
    matcher = None


class HttpProxyURIFilterNonTransparent(HttpProxyURIFilter):
    pass


class HttpWebdavProxy(HttpProxy):
    pass


class NontransHttpWebdavProxy(HttpProxyNonTransparent):
    pass
