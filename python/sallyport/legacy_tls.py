# SPDX-License-Identifier: Apache-2.0
"""self.ssl: encryption as policies of the years before EncryptionPolicy say it, attribute by
attribute in config(). What they said becomes a scenario."""

from sallyport import problems
from sallyport.certificates import Certificate, CertificateCA, DynamicCertificate, PrivateKey, StaticCertificate
from sallyport.problems import Refused, shown
from sallyport.tls_constants import (SSL_ACCEPT_STARTTLS, SSL_CIPHERS_HIGH, SSL_FORWARD_STARTTLS, SSL_HS_ACCEPT, SSL_HS_POLICY,
                                     SSL_HS_REJECT, SSL_HSO_CLIENT_SERVER, SSL_HSO_SERVER_CLIENT, SSL_METHOD_ALL,
                                     SSL_METHOD_TLSV1_2)
from sallyport.tls_settings import (CLIENT, DEPTH_MAX, SERVER, SIDES, Handshake, cipher, file_name, flag, path, takes, text,
                                    whole)


def _security(impossible):
    def check(name, value):
        if value == impossible:
            raise Refused("%s can't be %d" % (name, value))
        return whole(0, 3)(name, value)
    return check


def _pair(name, value):
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise Refused("%s must be a pair of names, not %s" % (name, shown(value)))
    return tuple(path(name, v) for v in value)


def _pem(name, value):
    if not isinstance(value, str) or "-----BEGIN " not in value:
        raise Refused("%s must be PEM text" % name, "a file is named by ..._cert_file and ..._key_file")
    return value


def _passphrase(name, value):
    if not isinstance(value, str):
        raise Refused("%s must be a string, not %s" % (name, type(value).__name__))
    return value


def _method(name, value):
    text(name, value)
    if value not in (SSL_METHOD_ALL, SSL_METHOD_TLSV1_2):
        problems.warn("%s has no effect" % name, "TLS 1.2 and 1.3 are spoken; ..._disable_proto_tlsv1 = FALSE adds older ones")
    return value


def _always_off(name, value):
    if not flag(name, value):
        problems.warn("%s has no effect" % name, "SSL 2 and 3 are not spoken any more")
    return int(value)


def _key_manager(name, value):
    from Zorp.Keybridge import X509KeyManager
    if value is not None and not isinstance(value, X509KeyManager) and not getattr(value, "_poisoned", False):
        raise Refused("%s: %s is not an X509KeyManager" % (name, shown(value)), "X509KeyBridge(...)")
    return value


# Without the side: (check, default).
SIDED = {
    "verify_type": (whole(0, 4), 4),
    "verify_depth": (whole(0, DEPTH_MAX), 4),
    "ca_directory": (path, ""), "crl_directory": (path, ""), "cagroup_directories": (_pair, ("", "")),
    "verify_ca_directory": (path, ""), "verify_crl_directory": (path, ""), "verify_cagroup_directories": (_pair, ("", "")),
    "trusted_certs_directory": (path, ""),
    "cert_file": (path, ""), "key_file": (path, ""), "cert": (path, ""), "key": (path, ""), "keypair_files": (_pair, ("", "")),
    "local_certificate": (_pem, ""), "local_privatekey": (_pem, ""), "local_privatekey_passphrase": (_passphrase, ""),
    "ssl_method": (_method, SSL_METHOD_ALL), "ssl_cipher": (cipher, SSL_CIPHERS_HIGH),
    "disable_proto_sslv2": (_always_off, 1), "disable_proto_sslv3": (_always_off, 1),
    "disable_proto_tlsv1": (flag, None), "disable_proto_tlsv1_1": (flag, None), "disable_proto_tlsv1_2": (flag, None),
    "keypair_generate": (flag, 0),
}
WHOLE = {
    "client_connection_security": (_security(SSL_FORWARD_STARTTLS), 0),
    "server_connection_security": (_security(SSL_ACCEPT_STARTTLS), 0),
    "handshake_timeout": (whole(1, 3600000), 30000),
    "handshake_seq": (whole(0, 1), SSL_HSO_CLIENT_SERVER),
    "permit_invalid_certificates": (flag, 0), "permit_missing_crl": (flag, 1),
    "server_check_subject": (flag, 1),
    "key_generator": (_key_manager, None),
}
ALIASES = {"client_max_verify_depth": "client_verify_depth", "server_max_verify_depth": "server_verify_depth"}
HASHES = ("client_handshake", "server_handshake")
# What a setting beats: the pair of names, then the single ones.
PAIRS = {"cagroup_directories": ("ca_directory", "crl_directory"),
         "verify_cagroup_directories": ("verify_ca_directory", "verify_crl_directory")}
FACTS = {"client_tlsext_server_name": "server_name"}
for _side in SIDES:
    for _name in ("peer_certificate", "certificate_trusted"):
        FACTS["%s_%s" % (_side, _name)] = "%s_%s" % (_side, _name)
IMPOSSIBLE = {"server_peer_ca_list": "what CAs a server asks for is not kept"}
for _side in SIDES:
    IMPOSSIBLE[_side + "_local_ca_list"] = "put the certificates into a folder: %s_verify_ca_directory" % _side
    IMPOSSIBLE[_side + "_local_crl_list"] = "put the lists into a folder: %s_verify_crl_directory" % _side


def _rows():
    rows = dict(WHOLE)
    for side in SIDES:
        rows.update(("%s_%s" % (side, name), row) for name, row in SIDED.items())
    return rows


ROWS = _rows()
NAMES = frozenset(ROWS) | frozenset(ALIASES) | frozenset(HASHES) | frozenset(FACTS) | frozenset(IMPOSSIBLE)


class Legacy:
    """The attributes. below: those of a TLSEncryption, which count where these say nothing."""

    def __init__(self, below=None, state=None):
        self.__dict__.update(_values={}, _places={}, _unknown={}, _below=below, _state=state,
                             client_handshake=Handshake(CLIENT, frozen=False), server_handshake=Handshake(SERVER, frozen=False))

    def lie_above(self, below):
        self.__dict__["_below"] = below

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        name = ALIASES.get(name, name)
        if name in FACTS:
            return getattr(self._tls(), FACTS[name])
        if name in IMPOSSIBLE:
            raise Refused("self.ssl.%s: not part of Sallyport" % name, IMPOSSIBLE[name])
        for values in (self._values, self._unknown):
            if name in values:
                return values[name]
        if self._below is not None:
            return getattr(self._below, name)
        if name in ROWS:
            return ROWS[name][1]
        raise AttributeError("self.ssl has no attribute '%s'" % name)

    def _tls(self):
        if self._state is None:
            raise AttributeError("there are no sessions here")
        return self._state.made.tls     # at load: the class is configured for each session

    def __setattr__(self, name, value):
        try:
            self._set(ALIASES.get(name, name), value)
        except Refused as refused:
            problems.report(refused.message, refused.hint)

    def _set(self, name, value):
        if name in FACTS or name in HASHES:
            raise Refused("self.ssl.%s can only be read" % name, 'fill it: self.ssl.%s["verify_cert_ext"] = '
                          "(SSL_HS_POLICY, self.function)" % name if name in HASHES else None)
        if name in IMPOSSIBLE:
            raise Refused("self.ssl.%s: not part of Sallyport" % name, IMPOSSIBLE[name])
        if self._state is not None and self._state.phase == "run":
            if not name.partition("_")[2].startswith("local_"):
                raise Refused("self.ssl.%s can't be set while a session runs" % name, "set it in config()")
            setattr(self._state.tls, name, value)
            return
        if name not in ROWS:
            if name not in self._unknown:
                problems.warn("self.ssl.%s: nothing reads it" % name, problems.did_you_mean(name, NAMES))
            self._unknown[name] = value
            return
        self._values[name] = ROWS[name][0](name, value)
        place = problems.here()
        if place[0]:
            self._places[name] = place

    def is_used(self):
        return any(getattr(self, side + "_connection_security") for side in SIDES)

    def place_of(self, name, fallback):
        legacy = self
        while legacy is not None:
            if name in legacy._places:
                return legacy._places[name]
            legacy = legacy._below
        return fallback

    def hook(self, side, key):
        """The function of a hook, or what the key generator stands for; None: there is none."""
        legacy = self
        while legacy is not None:
            found = getattr(legacy, side + "_handshake").call(key)
            if found is not None:
                return found
            legacy = legacy._below
        if key == "setup_key" and getattr(self, side + "_keypair_generate"):
            manager = self.key_generator
            if manager is not None and manager.bridge() is None:
                return managed(side, manager)
        return None


def managed(side, manager):
    """A setup_key hook that asks a key manager of the policy's own."""
    other = SERVER if side == CLIENT else CLIENT
    known = takes(manager.getKeypair)
    with_session = known is None or known[1] is None or known[1] >= 2

    def setup_key(number, peer, name, proxy):
        if peer is None:
            return SSL_HS_ACCEPT
        trusted = getattr(proxy.tls, other + "_certificate_trusted")
        selector = {"bridge-trusted-key" if trusted else "bridge-untrusted-key": peer.blob}
        pair = manager.getKeypair(proxy.session.session_id, selector) if with_session else manager.getKeypair(selector)
        if not pair or not pair[0] or not pair[1]:
            return SSL_HS_REJECT
        setattr(proxy.tls, side + "_local_certificate", pair[0])
        setattr(proxy.tls, side + "_local_privatekey", pair[1])
        return SSL_HS_ACCEPT
    return setup_key


def scenario(legacy, place):
    """The SidedEncryption that the attributes mean; Refused. place: of what has no place of its own."""
    from Zorp.Encryption import ClientSSLOptions, ServerSSLOptions, SidedEncryption
    security = [getattr(legacy, side + "_connection_security") for side in SIDES]
    own = [_own(legacy, side, place) if on else None for side, on in zip(SIDES, security)]
    _check_generation(legacy, [side for side, on in zip(SIDES, security) if on and getattr(legacy, side + "_keypair_generate")])
    made = SidedEncryption(security[0], security[1], own[0], own[1], _options(legacy, CLIENT, ClientSSLOptions),
                           _options(legacy, SERVER, ServerSSLOptions))
    made.settings.fill(handshake_timeout=legacy.handshake_timeout, handshake_seq=legacy.handshake_seq)
    for side, on in zip(SIDES, security):
        if on:
            _verify(legacy, side, made.settings)
            for key in ("setup_key", "verify_cert_ext"):
                function = legacy.hook(side, key)
                if function is not None:
                    dict.__setitem__(getattr(made.settings, side + "_handshake"), key, (SSL_HS_POLICY, function))
    return made


def _check_generation(legacy, sides):
    if len(sides) == 2:
        raise Refused("client_keypair_generate and server_keypair_generate: only one side can have a generated key")
    for side in sides:
        wanted = SSL_HSO_SERVER_CLIENT if side == CLIENT else SSL_HSO_CLIENT_SERVER
        if legacy.handshake_seq != wanted:
            raise Refused("%s_keypair_generate needs the other side's certificate first" % side,
                          "handshake_seq = " + ("SSL_HSO_SERVER_CLIENT" if side == CLIENT else "SSL_HSO_CLIENT_SERVER"))
        if legacy.key_generator is None:
            raise Refused("%s_keypair_generate needs a key_generator" % side, "X509KeyBridge(...)")


def _own(legacy, side, place):
    """The certificate generator of a side; None: hooks only, or none."""
    def of(name):
        return getattr(legacy, "%s_%s" % (side, name))
    if of("keypair_generate") and legacy.key_generator is not None:
        return legacy.key_generator.bridge()
    cert_file, key_file = of("keypair_files")
    cert_file = cert_file or of("cert_file") or of("cert")
    key_file = key_file or of("key_file") or of("key")
    passphrase = of("local_privatekey_passphrase")
    if cert_file or key_file:
        if not cert_file or not key_file:
            raise Refused("the %s side has %s, but no %s" % ((side, "a certificate", "key") if cert_file else (side, "a key", "certificate")),
                          "%s_cert_file and %s_key_file" % (side, side))
        key = at(PrivateKey, legacy.place_of("%s_key_file" % side, place), key_file, passphrase)
        return static(at(Certificate, legacy.place_of("%s_cert_file" % side, place), cert_file, key))
    if of("local_certificate"):
        if not of("local_privatekey"):
            raise Refused("%s_local_certificate has no %s_local_privatekey" % (side, side))
        return static(Certificate(of("local_certificate"), PrivateKey(of("local_privatekey"), passphrase)))
    return None


def static(certificate):
    return StaticCertificate(certificate)


def at(cls, place, name, *more):
    """A declaration of what is in a file, as if it stood there."""
    made = cls.__new__(cls)
    made._place = place
    made._read_file(file_name(cls.__name__, name), *more)
    return made


def _options(legacy, side, cls):
    def of(name):
        return getattr(legacy, "%s_%s" % (side, name))
    method = of("ssl_method") if of("ssl_method") == SSL_METHOD_TLSV1_2 else SSL_METHOD_ALL
    return cls(method=method, cipher=of("ssl_cipher"), disable_tlsv1=of("disable_proto_tlsv1"),
               disable_tlsv1_1=of("disable_proto_tlsv1_1"), disable_tlsv1_2=of("disable_proto_tlsv1_2"))


def _directories(legacy, side, prefix):
    """(of CAs, of revocation lists): the pair counts more."""
    pair = getattr(legacy, "%s_%scagroup_directories" % (side, prefix))
    single = [getattr(legacy, "%s_%s%s_directory" % (side, prefix, kind)) for kind in ("ca", "crl")]
    return [p or s for p, s in zip(pair, single)]


def _verify(legacy, side, settings):
    loaded, asked = _directories(legacy, side, ""), _directories(legacy, side, "verify_")
    for kind, one, other in zip(("ca", "crl"), loaded, asked):
        if one and other and one != other:
            raise Refused("%s_%s_directory and %s_verify_%s_directory are two folders" % (side, kind, side, kind),
                          "put the files into one of them")
    settings.fill(**{side + "_verify_type": getattr(legacy, side + "_verify_type"),
                     side + "_max_verify_depth": getattr(legacy, side + "_verify_depth"),
                     side + "_verify_ca_directory": asked[0] or loaded[0],
                     side + "_verify_crl_directory": asked[1] or loaded[1],
                     side + "_trusted_certs_directory": getattr(legacy, side + "_trusted_certs_directory"),
                     side + "_permit_invalid_certificates": legacy.permit_invalid_certificates,
                     side + "_permit_missing_crl": legacy.permit_missing_crl})
    if side == CLIENT:
        settings.fill(client_ca_hint_directory=loaded[0])
    else:
        settings.fill(server_check_subject=legacy.server_check_subject)
