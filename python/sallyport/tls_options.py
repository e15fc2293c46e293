# SPDX-License-Identifier: Apache-2.0
"""Versions, ciphers and the like: classes of Zorp.Encryption."""

from sallyport import problems, tls_settings
from sallyport.certificates import DHParam
from sallyport.declare import Declaration, flag_argument, int_argument, is_poisoned
from sallyport.problems import Refused, shown
from sallyport.tls_constants import SSL_CIPHERS_HIGH, SSL_METHOD_ALL, SSL_METHOD_TLSV1_2

__all__ = ("SSLOptions", "ClientSSLOptions", "ServerSSLOptions")

# name -> (versions that are off, ciphers, cipher suites of TLS 1.3, groups)
_PRESETS = {
    "modern": ((1, 1, 1, 0), SSL_CIPHERS_HIGH,
               "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "X25519:P-256:P-384"),
    "intermediate": ((1, 1, 0, 0),
                     "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
                     "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                     "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305",
                     "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "X25519:P-256:P-384"),
    "legacy": ((0, 0, 0, 0), "HIGH:!aNULL:@STRENGTH", "", ""),
}


class _WrongType(Refused, TypeError):
    """A refusal that the original raises as a TypeError."""


class SSLOptions(Declaration):
    """Versions, ciphers and the like of one side. Only the two classes below are of use."""

    _side = None

    def __init__(self, cipher=SSL_CIPHERS_HIGH, timeout=300, disable_tlsv1=None, disable_tlsv1_1=None,
                 disable_tlsv1_2=None, disable_compression=False):
        raise Refused("SSLOptions is for no side", "ClientSSLOptions() or ServerSSLOptions()")

    def _take(self, method, cipher, timeout, disable_sslv2, disable_sslv3, versions, disable_compression, ciphersuites,
              groups, alpn, preset):
        self._what = type(self).__name__
        if preset is not None and preset not in _PRESETS:
            raise Refused("%s: there is no preset %s" % (self._what, shown(preset)),
                           "one of " + problems.plural('"%s"' % p for p in _PRESETS))
        off, ciphers, suites, curves = _PRESETS.get(preset, ((1, 1, 0, 0), SSL_CIPHERS_HIGH, "", ""))
        off = self._method(method, off)
        off = self._versions(versions, off)
        self.cipher = tls_settings.cipher(self._what + ": cipher", cipher)
        if self.cipher == SSL_CIPHERS_HIGH:
            self.cipher = ciphers
        self.ciphersuites = tls_settings.names(self._what + ": ciphersuites", ciphersuites) or suites
        self.groups = tls_settings.names(self._what + ": groups", groups) or curves
        self.alpn = tls_settings.alpn(self._what + ": alpn", alpn)
        self.timeout = self._seconds(timeout)
        self.disable_tlsv1, self.disable_tlsv1_1, self.disable_tlsv1_2, self.disable_tlsv1_3 = off
        self.disable_compression = flag_argument(self._what + ": disable_compression", disable_compression)
        for name, value in (("disable_sslv2", disable_sslv2), ("disable_sslv3", disable_sslv3)):
            if not flag_argument("%s: %s" % (self._what, name), value):
                problems.warn("%s: %s has no effect" % (self._what, name), "SSL 2 and 3 are not spoken any more")

    def _method(self, method, off):
        tls_settings.text(self._what + ": method", method)
        if method == SSL_METHOD_TLSV1_2:
            return (1, 1, 0, 1)
        if method not in (SSL_METHOD_ALL, None):
            problems.warn("%s: method has no effect" % self._what, "disable_tlsv1=FALSE and the like choose versions")
        return off

    def _versions(self, given, off):
        """A flag that is not given is the preset's, and between what is enabled nothing is off."""
        flags = [o if g is None else int(flag_argument("%s: disable_tlsv1%s" % (self._what, v), g))
                 for g, o, v in zip(given, off, ("", "_1", "_2", "_3"))]
        on = [i for i, o in enumerate(flags) if not o]
        if not on:
            raise Refused("%s: all versions of TLS are disabled" % self._what)
        for i in range(on[0], on[-1]):
            if flags[i] and given[i] is not None:
                raise Refused("%s: %s is disabled, but versions below and above it are not"
                               % (self._what, tls_settings.VERSIONS[i]))
            flags[i] = 0
        return tuple(flags)

    def _seconds(self, timeout):
        seconds = int_argument(self._what + ": timeout", timeout, 0, 2 ** 31 - 1)
        if seconds > tls_settings.SESSION_SECONDS_MAX:
            problems.warn("%s: timeout is %d; sessions are resumed for at most %d seconds"
                           % (self._what, seconds, tls_settings.SESSION_SECONDS_MAX), "it is no idle timeout")
        return min(seconds, tls_settings.SESSION_SECONDS_MAX)

    def _settle(self, settings):
        values = {
            "ssl_cipher": self.cipher, "ssl_ciphersuites": self.ciphersuites, "ssl_groups": self.groups,
            "alpn": self.alpn, "session_timeout": self.timeout, "disable_proto_tlsv1": self.disable_tlsv1,
            "disable_proto_tlsv1_1": self.disable_tlsv1_1, "disable_proto_tlsv1_2": self.disable_tlsv1_2,
            "disable_proto_tlsv1_3": self.disable_tlsv1_3, "disable_compression": int(self.disable_compression),
        }
        settings.fill(**{"%s_%s" % (self._side, name): value for name, value in values.items()})


class ClientSSLOptions(SSLOptions):
    """With the client."""

    _side = "client"

    def __init__(self, method=SSL_METHOD_ALL, cipher=SSL_CIPHERS_HIGH, cipher_server_preference=False, timeout=300,
                 disable_sslv2=True, disable_sslv3=True, disable_tlsv1=None, disable_tlsv1_1=None, disable_tlsv1_2=None,
                 disable_compression=False, dh_params=None, disable_renegotiation=True, disable_tlsv1_3=None,
                 ciphersuites=None, groups=None, alpn=(), preset=None, tickets=True, ocsp_file=None):
        self._take(method, cipher, timeout, disable_sslv2, disable_sslv3,
                   (disable_tlsv1, disable_tlsv1_1, disable_tlsv1_2, disable_tlsv1_3), disable_compression, ciphersuites,
                   groups, alpn, preset)
        self.cipher_server_preference = flag_argument("ClientSSLOptions: cipher_server_preference", cipher_server_preference)
        self.dh_params = self._dh(dh_params)
        self.disable_renegotiation = flag_argument("ClientSSLOptions: disable_renegotiation", disable_renegotiation)
        self.tickets = flag_argument("ClientSSLOptions: tickets", tickets)
        self.ocsp_file = tls_settings.path("ClientSSLOptions: ocsp_file", ocsp_file)
        if not self.disable_renegotiation:
            tls_settings.say_no_renegotiation()

    def _dh(self, params):
        if params is None:
            return ""
        if is_poisoned(params):
            self._poisoned = True
            return ""
        if isinstance(params, DHParam):
            return params.getParams()
        if not isinstance(params, str):
            raise _WrongType("ClientSSLOptions: dh_params must be a DHParam, not %s" % shown(params))
        return DHParam(params).getParams()

    def _settle(self, settings):
        super()._settle(settings)
        settings.fill(cipher_server_preference=int(self.cipher_server_preference), dh_params=self.dh_params,
                      disable_renegotiation=int(self.disable_renegotiation), client_session_tickets=int(self.tickets),
                      client_ocsp_file=self.ocsp_file)


class ServerSSLOptions(SSLOptions):
    """With the server."""

    _side = "server"

    def __init__(self, method=SSL_METHOD_ALL, cipher=SSL_CIPHERS_HIGH, timeout=300, disable_sslv2=True,
                 disable_sslv3=True, disable_tlsv1=None, disable_tlsv1_1=None, disable_tlsv1_2=None,
                 disable_compression=False, disable_tlsv1_3=None, ciphersuites=None, groups=None, alpn=(), preset=None):
        self._take(method, cipher, timeout, disable_sslv2, disable_sslv3,
                   (disable_tlsv1, disable_tlsv1_1, disable_tlsv1_2, disable_tlsv1_3), disable_compression, ciphersuites,
                   groups, alpn, preset)
