# SPDX-License-Identifier: Apache-2.0
"""Keybridging: constructible, used by nothing yet."""

from sallyport.declare import Declaration as _Declaration


class X509KeyManager(_Declaration):
    def getKeypair(self, session_id, selector=None):
        raise NotImplementedError


class X509KeyBridge(X509KeyManager):
    def __init__(self, key_file=None, cache_directory=None, trusted_ca_files=None, untrusted_ca_files=None,
                 key_passphrase="", extension_whitelist=None, key_pem=None):
        self.key_file = key_file
        self.key_pem = key_pem
        self.cache_directory = cache_directory
        self.trusted_ca_files = trusted_ca_files
        self.untrusted_ca_files = untrusted_ca_files
        self.extension_whitelist = extension_whitelist
        self._key_passphrase = key_passphrase
