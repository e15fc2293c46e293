# SPDX-License-Identifier: Apache-2.0
"""Keybridging as policies of the years before DynamicCertificate say it."""

from sallyport.certificates import (CertificateCA as _CertificateCA, DynamicCertificate as _DynamicCertificate,
                                    PrivateKey as _PrivateKey)
from sallyport.declare import Declaration as _Declaration, is_poisoned as _is_poisoned
from sallyport.problems import Refused as _Refused


class X509KeyManager(_Declaration):
    """A policy's own defines getKeypair([session_id, ]selector), which returns (certificate, key) as
    PEM. selector: {"bridge-trusted-key" or "bridge-untrusted-key": the other side's certificate}."""

    def getKeypair(self, session_id, selector=None):
        raise NotImplementedError

    def bridge(self):
        """The DynamicCertificate that stands for it; None: getKeypair() is asked."""
        return None


class X509KeyBridge(X509KeyManager):
    """X509KeyBridge(key_file, ...) with names of files, or X509KeyBridge(key_pem=...) with PEM text, also
    in the tuples of the CAs: (certificate, key[, passphrase])."""

    def __init__(self, key_file=None, cache_directory=None, trusted_ca_files=None, untrusted_ca_files=None,
                 key_passphrase="", extension_whitelist=None, key_pem=None):
        if (key_file is None) == (key_pem is None):
            raise _Refused("X509KeyBridge needs either key_file or key_pem")
        self._text = key_pem is not None
        key = self._key(key_pem if self._text else key_file, key_passphrase)
        self._bridge = _DynamicCertificate(key, self._ca("trusted_ca_files", trusted_ca_files),
                                           self._ca("untrusted_ca_files", untrusted_ca_files), cache_directory,
                                           extension_whitelist)
        self._poisoned = _is_poisoned(self._bridge)

    def _key(self, key, passphrase):
        return _PrivateKey(key, passphrase) if self._text else _PrivateKey.fromFile(key, passphrase)

    def _ca(self, what, files):
        if not isinstance(files, (tuple, list)) or not 2 <= len(files) <= 3:
            raise _Refused("X509KeyBridge: %s must be (certificate, key[, passphrase])" % what)
        key = self._key(files[1], files[2] if len(files) == 3 else "")
        return _CertificateCA(files[0], key) if self._text else _CertificateCA.fromFile(files[0], key)

    def getKeypair(self, session_id, selector=None):
        raise _Refused("X509KeyBridge.getKeypair() is the engine's business", "assign the bridge to self.ssl.key_generator")

    def bridge(self):
        return self._bridge if type(self).getKeypair is X509KeyBridge.getKeypair else None
