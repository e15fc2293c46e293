# SPDX-License-Identifier: Apache-2.0
"""Encryption policies. Constructors are checked; a service that uses one is refused for now."""

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, is_poisoned as _is_poisoned, name_argument as _name_argument
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


def readPEM(filename):
    """The text of a file, or Refused."""
    try:
        with open(filename, encoding="ascii", errors="surrogateescape") as f:
            return f.read()
    except (OSError, TypeError) as error:
        raise _Refused("%s can't be read: %s" % (_shown(filename), getattr(error, "strerror", error))) from None


def _from_file(cls, filename, *more):
    place = _problems.here()
    try:
        text = readPEM(filename)
    except _Refused as refused:
        if not _problems.loading():
            raise
        _problems.report(refused.message, refused.hint, place)
        return cls._poison(place)
    return cls(text, *more)


class PrivateKey(_Declaration):
    def __init__(self, key, passphrase=""):
        self._key = key
        self._passphrase = passphrase

    @classmethod
    def fromFile(cls, key_file_path, passphrase=""):
        return _from_file(cls, key_file_path, passphrase)

    def getKey(self):
        return self._key

    def getPassPhrase(self):
        return self._passphrase


class Certificate(_Declaration):
    def __init__(self, certificate, private_key):
        if not isinstance(private_key, PrivateKey):
            raise _Refused("%s: %s is not a PrivateKey" % (type(self).__name__, _shown(private_key)))
        self._certificate = certificate
        self._private_key = private_key

    @classmethod
    def fromFile(cls, certificate_file_path, private_key):
        return _from_file(cls, certificate_file_path, private_key)

    def getCertificate(self):
        return self._certificate

    def getPrivateKey(self):
        return self._private_key.getKey()

    def getPassPhrase(self):
        return self._private_key.getPassPhrase()


class CertificateCA(Certificate):
    pass


class DHParam(_Declaration):
    def __init__(self, params):
        self._params = params

    @classmethod
    def fromFile(cls, file_path):
        return _from_file(cls, file_path)

    def getParams(self):
        return self._params


class AbstractCertificateGenerator(_Declaration):
    pass


class StaticCertificate(AbstractCertificateGenerator):
    def __init__(self, certificate):
        if not isinstance(certificate, Certificate):
            raise _Refused("StaticCertificate: %s is not a Certificate" % _shown(certificate))
        self.certificate = certificate


class SNIBasedCertificate(AbstractCertificateGenerator):
    def __init__(self, hostname_certificate_map, default=None):
        for value in list(hostname_certificate_map.values()) + ([default] if default is not None else []):
            if not isinstance(value, StaticCertificate):
                raise _Refused("SNIBasedCertificate: %s is not a StaticCertificate" % _shown(value))
        self.hostname_certificate_map = hostname_certificate_map
        self.default = default


class DynamicCertificate(AbstractCertificateGenerator):
    def __init__(self, private_key, trusted_ca, untrusted_ca, cache_directory=None, extension_whitelist=None):
        self.private_key = private_key
        self.trusted_ca = trusted_ca
        self.untrusted_ca = untrusted_ca
        self.cache_directory = cache_directory
        self.extension_whitelist = extension_whitelist


class AbstractVerifier(_Declaration):
    pass


class ClientCertificateVerifier(AbstractVerifier):
    def __init__(self, trusted_certs_directory=None, required=True, trusted=True, verify_depth=4,
                 verify_ca_directory=None, verify_crl_directory=None, permit_invalid_certificates=False,
                 permit_missing_crl=False, ca_hint_directory=None, ca_directory=None, crl_directory=None):
        for name, value in (("required", required), ("trusted", trusted)):
            if value not in (0, 1):
                raise _Refused("ClientCertificateVerifier: %s must be TRUE or FALSE, not %s" % (name, _shown(value)))
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "name", "value")})


class ServerCertificateVerifier(AbstractVerifier):
    def __init__(self, trusted_certs_directory=None, trusted=True, verify_depth=4, verify_ca_directory=None,
                 verify_crl_directory=None, permit_invalid_certificates=False, permit_missing_crl=False,
                 check_subject=True, ca_directory=None, crl_directory=None):
        if trusted not in (0, 1):
            raise _Refused("ServerCertificateVerifier: trusted must be TRUE or FALSE, not %s" % _shown(trusted))
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


class ClientNoneVerifier(AbstractVerifier):
    pass


class ServerNoneVerifier(AbstractVerifier):
    pass


class ClientSSLOptions(_Declaration):
    def __init__(self, method=SSL_METHOD_ALL, cipher=SSL_CIPHERS_HIGH, cipher_server_preference=False, timeout=300,
                 disable_sslv2=True, disable_sslv3=True, disable_tlsv1=False, disable_tlsv1_1=False,
                 disable_tlsv1_2=False, disable_compression=False, dh_params=None, disable_renegotiation=True):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


class ServerSSLOptions(_Declaration):
    def __init__(self, method=SSL_METHOD_ALL, cipher=SSL_CIPHERS_HIGH, timeout=300, disable_sslv2=True,
                 disable_sslv3=True, disable_tlsv1=False, disable_tlsv1_1=False, disable_tlsv1_2=False,
                 disable_compression=False):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


class Encryption(_Declaration):
    """The base of all scenarios."""

    def __init__(self, client_security=SSL_NONE, server_security=SSL_NONE, client_timeout=300, server_timeout=300):
        self.client_security = client_security
        self.server_security = server_security


class NoneEncryption(Encryption):
    def __init__(self):
        super().__init__(SSL_NONE, SSL_NONE)


class SidedEncryption(Encryption):
    """Both sides, with everything that can be said about them. None is the default."""

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
        self.client_certificate_generator = client_certificate_generator
        self.server_certificate_generator = server_certificate_generator
        self.client_ssl_options = client_ssl_options
        self.server_ssl_options = server_ssl_options
        self.client_verify = client_verify
        self.server_verify = server_verify

    def _check(self, name, value, classes):
        if value is not None and not _is_poisoned(value) and not isinstance(value, classes):
            raise _Refused("%s: %s can't be %s" % (type(self).__name__, name, _shown(value)))


class ClientOnlyEncryption(SidedEncryption):
    _security = (SSL_FORCE_SSL, SSL_NONE)

    def __init__(self, client_certificate_generator, client_verify=ClientCertificateVerifier(), client_ssl_options=None):
        super().__init__(*self._security, client_certificate_generator, None, client_ssl_options, None, client_verify)


class ClientOnlyStartTLSEncryption(ClientOnlyEncryption):
    _security = (SSL_ACCEPT_STARTTLS, SSL_NONE)


class ServerOnlyEncryption(SidedEncryption):
    def __init__(self, server_certificate_generator=None, server_verify=ServerCertificateVerifier(),
                 server_ssl_options=None):
        if isinstance(server_certificate_generator, SNIBasedCertificate):
            raise _Refused("ServerOnlyEncryption: SNIBasedCertificate is for the client side")
        super().__init__(SSL_NONE, SSL_FORCE_SSL, None, server_certificate_generator, None, server_ssl_options,
                         None, server_verify)


class TwoSidedEncryption(SidedEncryption):
    def __init__(self, client_certificate_generator, server_certificate_generator=None,
                 client_verify=ClientCertificateVerifier(), server_verify=ServerCertificateVerifier(),
                 client_ssl_options=None, server_ssl_options=None):
        if not client_certificate_generator and not _is_poisoned(client_certificate_generator):
            raise _Refused("TwoSidedEncryption needs a client_certificate_generator")
        if all(isinstance(g, DynamicCertificate) for g in (client_certificate_generator, server_certificate_generator)):
            raise _Refused("TwoSidedEncryption: only one side can have a DynamicCertificate")
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
        if not isinstance(encryption, Encryption):
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
    return _registry.named("encryption_policies").get(name)
