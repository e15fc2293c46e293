# SPDX-License-Identifier: Apache-2.0
"""Encryption policies: what a service does about TLS, with its client and with its server."""

from sallyport import problems as _problems, registry as _registry, tls_settings as _settings
from sallyport.declare import (Declaration as _Declaration, flag_argument as _flag_argument, int_argument as _int_argument,
                               is_poisoned as _is_poisoned, name_argument as _name_argument)
from sallyport.problems import Refused as _Refused, shown as _shown

SSL_VERIFY_NONE = 0
SSL_VERIFY_OPTIONAL = 1
SSL_VERIFY_OPTIONAL_UNTRUSTED = 1
SSL_VERIFY_OPTIONAL_TRUSTED = 2
SSL_VERIFY_REQUIRED_UNTRUSTED = 3
SSL_VERIFY_REQUIRED_TRUSTED = 4

SSL_NONE = 0
SSL_FORCE_SSL = 1
SSL_ACCEPT_STARTTLS = 2
SSL_FORWARD_STARTTLS = 3

SSL_HSO_CLIENT_SERVER = 0
SSL_HSO_SERVER_CLIENT = 1

SSL_HS_ACCEPT = 1
SSL_HS_REJECT = 3
SSL_HS_POLICY = 6
SSL_HS_VERIFIED = 10

SSL_CIPHERS_ALL = "ALL:!aNULL:@STRENGTH"
SSL_CIPHERS_HIGH = "HIGH:!aNULL:@STRENGTH"
SSL_CIPHERS_MEDIUM = "HIGH:MEDIUM:!aNULL:@STRENGTH"
SSL_CIPHERS_LOW = "HIGH:MEDIUM:LOW:EXPORT:!aNULL:@STRENGTH"
SSL_CIPHERS_CUSTOM = ""

SSL_METHOD_SSLV23 = "SSLv23"
SSL_METHOD_SSLV2 = "SSLv2"
SSL_METHOD_SSLV3 = "SSLv3"
SSL_METHOD_TLSV1 = "TLSv1"
SSL_METHOD_TLSV1_1 = "TLSv1_1"
SSL_METHOD_TLSV1_2 = "TLSv1_2"
SSL_METHOD_ALL = "SSLv23"

SSL_ERROR = "core.error"
SSL_DEBUG = "core.debug"
SSL_INFO = "core.info"
SSL_VIOLATION = "core.violation"


_PEM_MAX = 256 << 10


def readPEM(filename):
    """The text of a file, or Refused."""
    try:
        with open(filename, encoding="ascii", errors="surrogateescape") as f:
            return f.read(_PEM_MAX + 1)
    except (OSError, TypeError, ValueError) as error:
        raise _Refused("%s can't be read: %s" % (_shown(filename), getattr(error, "strerror", error))) from None


def _checked_pem(what, text, *kinds):
    if not isinstance(text, str):
        raise _Refused("%s must be PEM text, not %s" % (what, type(text).__name__))
    if len(text) > _PEM_MAX:
        raise _Refused("%s is longer than %d octets" % (what, _PEM_MAX))
    if "\0" in text or not any("-----BEGIN " + kind in text for kind in kinds):
        raise _Refused("%s: there is no -----BEGIN %s----- in it" % (what, kinds[0]),
                       "to name a file use fromFile() of the class")
    return text


def _from_file(cls, name, *more):
    """A declaration of what is in a file; a poisoned one, and a problem, when it can't be."""
    place = _problems.here()
    made = cls.__new__(cls)
    try:
        made._place = place
        made._read_file(_settings.file_name(cls.__name__, name), *more)
        return made
    except _Refused as refused:
        if not _problems.loading():
            raise
        _problems.report(refused.message, refused.hint, place)
        return cls._poison(place)


class PrivateKey(_Declaration):
    """PrivateKey(key, passphrase): key is PEM text. A key's file is not read in the process that runs
    the policy, unless the policy asks for the key."""

    _file = None

    def __init__(self, key, passphrase=""):
        self._place = _problems.here()
        self._key = _checked_pem("PrivateKey", key, "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY",
                                 "DSA PRIVATE KEY")
        self._passphrase = self._checked_passphrase(passphrase)

    @staticmethod
    def _checked_passphrase(passphrase):
        if passphrase is None:
            return ""
        if not isinstance(passphrase, str) or len(passphrase) > 1024 or "\0" in passphrase:
            raise _Refused("the passphrase of a key must be a string of at most 1024 characters")
        return passphrase

    def _read_file(self, name, passphrase=""):
        self._file = name
        self._passphrase = self._checked_passphrase(passphrase)

    @classmethod
    def fromFile(cls, key_file_path, passphrase=""):
        return _from_file(cls, key_file_path, passphrase)

    def getKey(self):
        return self._key if self._file is None else readPEM(self._file)

    def getPassPhrase(self):
        return self._passphrase

    def _identity(self):
        return ("file", self._file, self._passphrase) if self._file else ("text", self._key, self._passphrase)


class Certificate(_Declaration):
    """Certificate(certificate, private_key): PEM text, the leaf first and then what leads to its CA."""

    _file = None

    def __init__(self, certificate, private_key):
        self._place = _problems.here()
        self._take(_checked_pem(type(self).__name__, certificate, "CERTIFICATE"), private_key)

    def _take(self, text, private_key):
        if not isinstance(private_key, PrivateKey) and not _is_poisoned(private_key):
            raise _Refused("%s: %s is not a PrivateKey" % (type(self).__name__, _shown(private_key)))
        self._private_key = private_key
        self._poisoned = _is_poisoned(private_key)
        self._certificate = text

    def _read_file(self, name, private_key):
        self._take(_checked_pem(name, readPEM(name), "CERTIFICATE"), private_key)
        self._file = name

    @classmethod
    def fromFile(cls, certificate_file_path, private_key):
        return _from_file(cls, certificate_file_path, private_key)

    def getCertificate(self):
        """From the first certificate on; what stands before it is nobody's business."""
        return self._certificate[self._certificate.index("-----BEGIN CERTIFICATE"):]

    def getPrivateKey(self):
        return self._private_key.getKey()

    def getPassPhrase(self):
        return self._private_key.getPassPhrase()

    def _identity(self):
        return ("file", self._file, self._private_key._identity()) if self._file else \
               ("text", self._certificate, self._private_key._identity())


class CertificateCA(Certificate):
    """The certificate and key of a CA."""


class _WrongType(_Refused, TypeError):
    """A refusal that the original raises as a TypeError."""


class DHParam(_Declaration):
    """DHParam(params): PEM text."""

    def __init__(self, params):
        self._params = _checked_pem("DHParam", params, "DH PARAMETERS", "X9.42 DH PARAMETERS")

    def _read_file(self, name):
        self._params = _checked_pem(name, readPEM(name), "DH PARAMETERS", "X9.42 DH PARAMETERS")

    @classmethod
    def fromFile(cls, file_path):
        return _from_file(cls, file_path)

    def getParams(self):
        return self._params


class AbstractCertificateGenerator(_Declaration):
    """Which certificate we show. A policy's own class fills a setup_key hook in setup()."""

    def setup(self, encryption):
        pass


def _check_certificate(what, value):
    if not isinstance(value, Certificate) and not _is_poisoned(value):
        raise _Refused("%s: %s is not a Certificate" % (what, _shown(value)))


class StaticCertificate(AbstractCertificateGenerator):
    """Always the same one."""

    def __init__(self, certificate):
        _check_certificate("StaticCertificate", certificate)
        self.certificate = certificate
        self._poisoned = _is_poisoned(certificate)


class SNIBasedCertificate(AbstractCertificateGenerator):
    """By the name that the client asks for: {matcher: StaticCertificate}, the first that fits."""

    def __init__(self, hostname_certificate_map, default=None):
        from Zorp.Matcher import checked_matcher
        if not isinstance(hostname_certificate_map, dict):
            raise _Refused("SNIBasedCertificate: %s is not a dictionary" % _shown(hostname_certificate_map),
                           "{RegexpMatcher(('^mail[.]',)): StaticCertificate(...)}")
        self.hostname_certificate_map = {}
        for matcher, value in hostname_certificate_map.items():
            self.hostname_certificate_map[self._matcher(checked_matcher, matcher)] = self._certificate(value)
        self.default = None if default is None else self._certificate(default)

    def _matcher(self, checked_matcher, matcher):
        found = checked_matcher("SNIBasedCertificate", matcher)
        if found is None:
            if not _is_poisoned(matcher):
                raise _Refused("SNIBasedCertificate: %s is not a matcher" % _shown(matcher))
            self._poisoned = True
        return found

    def _certificate(self, value):
        if _is_poisoned(value):
            self._poisoned = True
        elif not isinstance(value, StaticCertificate):
            raise _Refused("SNIBasedCertificate: %s is not a StaticCertificate" % _shown(value))
        return value


class DynamicCertificate(AbstractCertificateGenerator):
    """Made from the other side's certificate, and signed by one of two CAs of the policy."""

    WHITELIST = ("keyUsage", "subjectAltName", "extendedKeyUsage")

    def __init__(self, private_key, trusted_ca, untrusted_ca, cache_directory=None, extension_whitelist=None):
        if not isinstance(private_key, PrivateKey) and not _is_poisoned(private_key):
            raise _Refused("DynamicCertificate: %s is not a PrivateKey" % _shown(private_key))
        _check_certificate("DynamicCertificate: trusted_ca", trusted_ca)
        _check_certificate("DynamicCertificate: untrusted_ca", untrusted_ca)
        extensions = extension_whitelist or self.WHITELIST
        if isinstance(extensions, str) or not all(isinstance(e, str) and e.isalnum() and len(e) <= 64 for e in extensions) \
                or len(extensions) > 64:
            raise _Refused("DynamicCertificate: extension_whitelist must be a sequence of names, not %s" % _shown(extensions),
                           "('keyUsage', 'subjectAltName')")
        self.private_key = private_key
        self.trusted_ca = trusted_ca
        self.untrusted_ca = untrusted_ca
        self.cache_directory = _settings.path("DynamicCertificate: cache_directory", cache_directory)
        self.extension_whitelist = tuple(extensions)
        self._poisoned = any(_is_poisoned(p) for p in (private_key, trusted_ca, untrusted_ca))


class AbstractVerifier(_Declaration):
    """What is demanded of the other side's certificate."""

    _side = None

    def _settle(self, settings):
        raise NotImplementedError

    def _take(self, required, trusted, verify_depth, verify_ca_directory, verify_crl_directory, ca_directory, crl_directory,
              trusted_certs_directory, permit_invalid_certificates, permit_missing_crl):
        what = type(self).__name__
        for name, value in (("required", required), ("trusted", trusted)):
            if not isinstance(value, int) or value not in (0, 1):
                hint = "ca_directory= and crl_directory= are keywords" if isinstance(value, str) else None
                raise _Refused("%s: %s must be TRUE or FALSE, not %s" % (what, name, _shown(value)), hint)
        for name, one, other in (("ca_directory", ca_directory, verify_ca_directory),
                                 ("crl_directory", crl_directory, verify_crl_directory)):
            if one and other:
                raise _Refused("%s: %s and verify_%s are given both" % (what, name, name))
        self.required = bool(required)
        self.trusted = bool(trusted)
        self.verify_depth = _int_argument(what + ": verify_depth", verify_depth, 0, _settings.DEPTH_MAX)
        self.permit_invalid_certificates = _flag_argument(what + ": permit_invalid_certificates", permit_invalid_certificates)
        self.permit_missing_crl = _flag_argument(what + ": permit_missing_crl", permit_missing_crl)
        for name, value in (("verify_ca_directory", verify_ca_directory or ca_directory),
                            ("verify_crl_directory", verify_crl_directory or crl_directory),
                            ("trusted_certs_directory", trusted_certs_directory)):
            setattr(self, name, _settings.path("%s: %s" % (what, name), value))
        if self.permit_invalid_certificates and self.trusted:
            _problems.warn("%s: permit_invalid_certificates has no effect" % what, "it needs trusted=FALSE")

    def _common(self, settings):
        values = {
            "verify_type": (3 if self.required else 1) + (1 if self.trusted else 0),
            "max_verify_depth": self.verify_depth, "verify_ca_directory": self.verify_ca_directory,
            "verify_crl_directory": self.verify_crl_directory, "trusted_certs_directory": self.trusted_certs_directory,
            "permit_invalid_certificates": int(self.permit_invalid_certificates),
            "permit_missing_crl": int(self.permit_missing_crl),
        }
        settings.fill(**{"%s_%s" % (self._side, name): value for name, value in values.items()})


class ClientCertificateVerifier(AbstractVerifier):
    """Of clients."""

    _side = "client"

    def __init__(self, trusted_certs_directory=None, required=True, trusted=True, verify_depth=4,
                 verify_ca_directory=None, verify_crl_directory=None, permit_invalid_certificates=False,
                 permit_missing_crl=False, ca_hint_directory=None, ca_directory=None, crl_directory=None):
        self._take(required, trusted, verify_depth, verify_ca_directory, verify_crl_directory, ca_directory, crl_directory,
                   trusted_certs_directory, permit_invalid_certificates, permit_missing_crl)
        self.ca_hint_directory = _settings.path("ClientCertificateVerifier: ca_hint_directory",
                                                ca_hint_directory or ca_directory)

    def _settle(self, settings):
        self._common(settings)
        settings.fill(client_ca_hint_directory=self.ca_hint_directory)


class ServerCertificateVerifier(AbstractVerifier):
    """Of servers."""

    _side = "server"

    def __init__(self, trusted_certs_directory=None, trusted=True, verify_depth=4, verify_ca_directory=None,
                 verify_crl_directory=None, permit_invalid_certificates=False, permit_missing_crl=False,
                 check_subject=True, ca_directory=None, crl_directory=None):
        self._take(True, trusted, verify_depth, verify_ca_directory, verify_crl_directory, ca_directory, crl_directory,
                   trusted_certs_directory, permit_invalid_certificates, permit_missing_crl)
        self.check_subject = _flag_argument("ServerCertificateVerifier: check_subject", check_subject)

    def _settle(self, settings):
        self._common(settings)
        settings.fill(server_check_subject=int(self.check_subject))


class ClientNoneVerifier(AbstractVerifier):
    """Clients are asked for no certificate."""

    _side = "client"

    def _settle(self, settings):
        settings.fill(client_verify_type=SSL_VERIFY_NONE)


class ServerNoneVerifier(AbstractVerifier):
    """Whatever the server shows is accepted, and trusted only if it really is."""

    _side = "server"

    def _settle(self, settings):
        settings.fill(server_verify_type=SSL_VERIFY_NONE, server_check_subject=0)


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


class SSLOptions(_Declaration):
    """Versions, ciphers and the like of one side. Only the two classes below are of use."""

    _side = None

    def __init__(self, cipher=SSL_CIPHERS_HIGH, timeout=300, disable_tlsv1=None, disable_tlsv1_1=None,
                 disable_tlsv1_2=None, disable_compression=False):
        raise _Refused("SSLOptions is for no side", "ClientSSLOptions() or ServerSSLOptions()")

    def _take(self, method, cipher, timeout, disable_sslv2, disable_sslv3, versions, disable_compression, ciphersuites,
              groups, alpn, preset):
        self._what = type(self).__name__
        if preset is not None and preset not in _PRESETS:
            raise _Refused("%s: there is no preset %s" % (self._what, _shown(preset)),
                           "one of " + _problems.plural('"%s"' % p for p in _PRESETS))
        off, ciphers, suites, curves = _PRESETS.get(preset, ((1, 1, 0, 0), SSL_CIPHERS_HIGH, "", ""))
        off = self._method(method, off)
        off = self._versions(versions, off)
        self.cipher = _settings.cipher(self._what + ": cipher", cipher)
        if self.cipher == SSL_CIPHERS_HIGH:
            self.cipher = ciphers
        self.ciphersuites = _settings.names(self._what + ": ciphersuites", ciphersuites) or suites
        self.groups = _settings.names(self._what + ": groups", groups) or curves
        self.alpn = _settings.alpn(self._what + ": alpn", alpn)
        self.timeout = self._seconds(timeout)
        self.disable_tlsv1, self.disable_tlsv1_1, self.disable_tlsv1_2, self.disable_tlsv1_3 = off
        self.disable_compression = _flag_argument(self._what + ": disable_compression", disable_compression)
        for name, value in (("disable_sslv2", disable_sslv2), ("disable_sslv3", disable_sslv3)):
            if not _flag_argument("%s: %s" % (self._what, name), value):
                _problems.warn("%s: %s has no effect" % (self._what, name), "SSL 2 and 3 are not spoken any more")

    def _method(self, method, off):
        _settings.text(self._what + ": method", method)
        if method == SSL_METHOD_TLSV1_2:
            return (1, 1, 0, 1)
        if method not in (SSL_METHOD_ALL, None):
            _problems.warn("%s: method has no effect" % self._what, "disable_tlsv1=FALSE and the like choose versions")
        return off

    def _versions(self, given, off):
        """A flag that is not given is the preset's, and between what is enabled nothing is off."""
        flags = [o if g is None else int(_flag_argument("%s: disable_tlsv1%s" % (self._what, v), g))
                 for g, o, v in zip(given, off, ("", "_1", "_2", "_3"))]
        on = [i for i, o in enumerate(flags) if not o]
        if not on:
            raise _Refused("%s: all versions of TLS are disabled" % self._what)
        for i in range(on[0], on[-1]):
            if flags[i] and given[i] is not None:
                raise _Refused("%s: %s is disabled, but versions below and above it are not"
                               % (self._what, _settings.VERSIONS[i]))
            flags[i] = 0
        return tuple(flags)

    def _seconds(self, timeout):
        seconds = _int_argument(self._what + ": timeout", timeout, 0, 2 ** 31 - 1)
        if seconds > _settings.SESSION_SECONDS_MAX:
            _problems.warn("%s: timeout is %d; sessions are resumed for at most %d seconds"
                           % (self._what, seconds, _settings.SESSION_SECONDS_MAX), "it is no idle timeout")
        return min(seconds, _settings.SESSION_SECONDS_MAX)

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
        self.cipher_server_preference = _flag_argument("ClientSSLOptions: cipher_server_preference", cipher_server_preference)
        self.dh_params = self._dh(dh_params)
        self.disable_renegotiation = _flag_argument("ClientSSLOptions: disable_renegotiation", disable_renegotiation)
        self.tickets = _flag_argument("ClientSSLOptions: tickets", tickets)
        self.ocsp_file = _settings.path("ClientSSLOptions: ocsp_file", ocsp_file)
        if not self.disable_renegotiation:
            _settings.say_no_renegotiation()

    def _dh(self, params):
        if params is None:
            return ""
        if _is_poisoned(params):
            self._poisoned = True
            return ""
        if isinstance(params, DHParam):
            return params.getParams()
        if not isinstance(params, str):
            raise _WrongType("ClientSSLOptions: dh_params must be a DHParam, not %s" % _shown(params))
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


class Encryption(_Declaration):
    """The base of all scenarios: how each side is encrypted, and settings with the rest."""

    client_certificate_generator = None
    server_certificate_generator = None

    def __init__(self, client_security=SSL_NONE, server_security=SSL_NONE, client_timeout=300, server_timeout=300):
        what = type(self).__name__
        self._place = _problems.here()
        self.client_security = _int_argument(what + ": client_security", client_security, SSL_NONE, SSL_ACCEPT_STARTTLS)
        self.server_security = _int_argument(what + ": server_security", server_security, SSL_NONE, SSL_FORWARD_STARTTLS)
        if self.server_security == SSL_ACCEPT_STARTTLS:
            raise _Refused("%s: SSL_ACCEPT_STARTTLS is for the client side" % what, "SSL_FORWARD_STARTTLS")
        self.settings = _settings.Settings(self.client_security, self.server_security)
        for side, seconds in (("client", client_timeout), ("server", server_timeout)):
            seconds = _int_argument("%s: %s_timeout" % (what, side), seconds, 0, _settings.SESSION_SECONDS_MAX)
            self.settings.fill(**{side + "_session_timeout": seconds})

    def setup(self, *args):
        """The document is written from the settings as they are when the policy is loaded."""
        return True


class NoneEncryption(Encryption):
    """Both sides plain."""

    def __init__(self):
        super().__init__(SSL_NONE, SSL_NONE)


class SidedEncryption(Encryption):
    """Both sides, with everything that can be said about them. None is the default of an option, and
    no verification."""

    _client_verifiers = (ClientCertificateVerifier, ClientNoneVerifier)
    _server_verifiers = (ServerCertificateVerifier, ServerNoneVerifier)

    def __init__(self, client_security, server_security, client_certificate_generator=None,
                 server_certificate_generator=None, client_ssl_options=None, server_ssl_options=None,
                 client_verify=None, server_verify=None):
        super().__init__(client_security, server_security)
        self._check("client_ssl_options", client_ssl_options, ClientSSLOptions)
        self._check("server_ssl_options", server_ssl_options, ServerSSLOptions)
        self._check("client_verify", client_verify, self._client_verifiers)
        self._check("server_verify", server_verify, self._server_verifiers)
        self._check("client_certificate_generator", client_certificate_generator, AbstractCertificateGenerator)
        self._check("server_certificate_generator", server_certificate_generator, AbstractCertificateGenerator)
        if isinstance(server_certificate_generator, SNIBasedCertificate):
            raise _Refused("%s: SNIBasedCertificate is for the client side" % type(self).__name__)
        dynamic = [isinstance(g, DynamicCertificate) for g in (client_certificate_generator, server_certificate_generator)]
        if all(dynamic):
            raise _Refused("%s: only one side can have a DynamicCertificate" % type(self).__name__)
        self.client_certificate_generator = client_certificate_generator
        self.server_certificate_generator = server_certificate_generator
        self.client_ssl_options = client_ssl_options or ClientSSLOptions()
        self.server_ssl_options = server_ssl_options or ServerSSLOptions()
        self.client_verify = client_verify or ClientNoneVerifier()
        self.server_verify = server_verify or ServerNoneVerifier()
        if not self._poisoned:
            self._settle(dynamic)

    def _check(self, name, value, classes):
        if _is_poisoned(value):
            self._poisoned = True
        elif value is not None and not isinstance(value, classes):
            raise _Refused("%s: %s can't be %s" % (type(self).__name__, name, _shown(value)))

    def _settle(self, dynamic):
        self.settings.fill(client_keypair_generate=int(dynamic[0]), server_keypair_generate=int(dynamic[1]),
                           handshake_seq=SSL_HSO_SERVER_CLIENT if dynamic[0] else SSL_HSO_CLIENT_SERVER)
        for part in (self.client_ssl_options, self.server_ssl_options, self.client_verify, self.server_verify):
            part._settle(self.settings)
        for generator in (self.client_certificate_generator, self.server_certificate_generator):
            if generator is not None:
                generator.setup(self)


class ClientOnlyEncryption(SidedEncryption):
    _security = (SSL_FORCE_SSL, SSL_NONE)

    def __init__(self, client_certificate_generator, client_verify=ClientCertificateVerifier(), client_ssl_options=None):
        super().__init__(*self._security, client_certificate_generator, None, client_ssl_options, None, client_verify)


class ClientOnlyStartTLSEncryption(ClientOnlyEncryption):
    _security = (SSL_ACCEPT_STARTTLS, SSL_NONE)


class ServerOnlyEncryption(SidedEncryption):
    def __init__(self, server_certificate_generator=None, server_verify=ServerCertificateVerifier(),
                 server_ssl_options=None):
        super().__init__(SSL_NONE, SSL_FORCE_SSL, None, server_certificate_generator, None, server_ssl_options,
                         None, server_verify)


class TwoSidedEncryption(SidedEncryption):
    def __init__(self, client_certificate_generator, server_certificate_generator=None,
                 client_verify=ClientCertificateVerifier(), server_verify=ServerCertificateVerifier(),
                 client_ssl_options=None, server_ssl_options=None):
        if not client_certificate_generator and not _is_poisoned(client_certificate_generator):
            raise _Refused("TwoSidedEncryption needs a client_certificate_generator")
        super().__init__(SSL_FORCE_SSL, SSL_FORCE_SSL, client_certificate_generator, server_certificate_generator,
                         client_ssl_options, server_ssl_options, client_verify, server_verify)


class FakeStartTLSEncryption(SidedEncryption):
    _security = (SSL_ACCEPT_STARTTLS, SSL_FORCE_SSL)

    def __init__(self, client_certificate_generator, client_verify=ClientCertificateVerifier(),
                 server_verify=ServerCertificateVerifier(), client_ssl_options=None, server_ssl_options=None):
        super().__init__(*self._security, client_certificate_generator, None, client_ssl_options, server_ssl_options,
                         client_verify, server_verify)


class ForwardStartTLSEncryption(FakeStartTLSEncryption):
    _security = (SSL_ACCEPT_STARTTLS, SSL_FORWARD_STARTTLS)


class EncryptionPolicy(_Declaration):
    """EncryptionPolicy(name, encryption)."""

    def __init__(self, name, encryption):
        self.name = _name_argument("the encryption policy's name", name)
        if _is_poisoned(encryption):
            self._poisoned = True
        elif not isinstance(encryption, Encryption):
            raise _Refused("EncryptionPolicy '%s': %s is not an encryption scenario" % (name, _shown(encryption)))
        self.encryption = encryption
        self._place = _problems.here()
        _registry.register("encryption_policies", "EncryptionPolicy", name, self)

    @classmethod
    def _remember_refused(cls, name, made):
        _registry.named("encryption_policies").setdefault(name, made)

    def getEncryption(self):
        return self.encryption


def getEncryptionPolicy(name):
    """The policy of that name, or None."""
    return _registry.named("encryption_policies").get(name)
