# SPDX-License-Identifier: Apache-2.0
"""The plug with encryption, as policies of the years before encryption policies say it: the attributes of
self.ssl are the proxy's own."""

from sallyport import legacy_tls as _legacy_tls
from sallyport.tls_settings import flag as _flag
from Zorp import Encryption as _Encryption
from Zorp.Core import *
from Zorp.Encryption import SSL_FORCE_SSL as _FORCE, SSL_NONE as _NONE
from Zorp.Plug import *
from Zorp.Proxy import at_load as _at_load

PSSL_ERROR = "pssl.error"
PSSL_DEBUG = "pssl.debug"
PSSL_INFO = "pssl.info"
PSSL_VIOLATION = "pssl.violation"

_LOG_TAGS = ("SSL_ERROR", "SSL_DEBUG", "SSL_INFO", "SSL_VIOLATION")
_LATER = ("SSL_METHOD_TLSV1_1", "SSL_METHOD_TLSV1_2", "SSL_CIPHERS_CUSTOM")
for _name, _value in list(vars(_Encryption).items()):
    if _name.startswith("SSL_") and _name not in _LOG_TAGS + _LATER:
        globals()["P" + _name] = _value


class PsslProxy(PlugProxy):
    """Both sides are encrypted unless client_need_ssl or server_need_ssl says FALSE."""

    _more_names = tuple(_legacy_tls.NAMES) + ("client_need_ssl", "server_need_ssl")
    _needs = {"client_need_ssl": "client_connection_security", "server_need_ssl": "server_connection_security"}

    client_need_ssl = TRUE
    server_need_ssl = TRUE

    @_at_load
    def __pre_config__(self):
        super().__pre_config__()
        for name in self._more_names:       # what the bodies of classes say
            for cls in type(self).__mro__:
                if name in cls.__dict__ and name not in ("client_handshake", "server_handshake"):
                    setattr(self, name, cls.__dict__[name])
                    break

    def __setattr__(self, name, value):
        if name in self._needs:
            setattr(self.ssl, self._needs[name], _FORCE if _flag(name, value) else _NONE)
            self.__dict__[name] = value
        elif name in _legacy_tls.NAMES:
            setattr(self.ssl, name, value)
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name):
        return getattr(self.ssl, name) if name in _legacy_tls.NAMES else super().__getattr__(name)
