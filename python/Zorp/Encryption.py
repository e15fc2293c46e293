# SPDX-License-Identifier: Apache-2.0
"""Encryption policies: what a service does about TLS, with its client and with its server."""

from sallyport import problems as _problems, registry as _registry, tls_settings as _settings
from sallyport.certificates import *
from sallyport.declare import (Declaration as _Declaration, int_argument as _int_argument, is_poisoned as _is_poisoned,
                               name_argument as _name_argument)
from sallyport.legacy_tls import Legacy as _Legacy
from sallyport.problems import Refused as _Refused, shown as _shown
from sallyport.tls_constants import *
from sallyport.tls_options import *
from sallyport.verifiers import *


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


class TLSEncryption(_Declaration):
    """What policies said before there were scenarios: config() assigns the attributes of self.ssl, which
    the proxies of the services then have before their own config()."""

    def __init__(self):
        self.__dict__["_ssl"] = _Legacy()
        self.config()

    def config(self):
        """For the policy to override."""

    def __setattr__(self, name, value):
        if name.startswith("_"):
            self.__dict__[name] = value
        else:
            setattr(self._ssl, name, value)

    def __getattr__(self, name):
        if name.startswith("_") or self.__dict__.get("_poisoned"):
            return super().__getattr__(name)
        return getattr(self._ssl, name)


class TLSKeyBridgeEncryption(TLSEncryption):
    """With a key_generator made of attributes of its own."""

    _KEYBRIDGE = ("keybridge_key_file", "keybridge_key_passphrase", "keybridge_cache_directory", "keybridge_trusted_ca_files",
                  "keybridge_untrusted_ca_files", "keybridge_trusted_ca_cert_file", "keybridge_trusted_ca_key_file",
                  "keybridge_untrusted_ca_cert_file", "keybridge_untrusted_ca_key_file")

    def __init__(self):
        self.__dict__.update((name, None) for name in self._KEYBRIDGE)
        super().__init__()
        from Zorp.Keybridge import X509KeyBridge
        bridge = X509KeyBridge(self.keybridge_key_file, self.keybridge_cache_directory, self._ca("trusted"),
                               self._ca("untrusted"), self.keybridge_key_passphrase)
        self._ssl.key_generator = bridge
        self._poisoned = _is_poisoned(bridge)

    def _ca(self, which):
        files = getattr(self, "keybridge_%s_ca_files" % which)
        pair = tuple(getattr(self, "keybridge_%s_ca_%s_file" % (which, part)) for part in ("cert", "key"))
        return pair if files is None and None not in pair else files

    def __setattr__(self, name, value):
        if name in self._KEYBRIDGE:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)


class EncryptionPolicy(_Declaration):
    """EncryptionPolicy(name, encryption)."""

    def __init__(self, name, encryption):
        self.name = _name_argument("the encryption policy's name", name)
        if _is_poisoned(encryption):
            self._poisoned = True
        elif not isinstance(encryption, (Encryption, TLSEncryption)):
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
