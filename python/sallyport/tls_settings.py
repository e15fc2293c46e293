# SPDX-License-Identifier: Apache-2.0
"""What an encryption does, as attributes: scenario.settings of the policy language. The document is
written from them; once sessions run they can only be read."""

import os

from sallyport import problems
from sallyport.declare import host_argument
from sallyport.problems import Refused, shown

CLIENT, SERVER = "client", "server"
SIDES = (CLIENT, SERVER)
SSL_HS_ACCEPT, SSL_HS_POLICY = 1, 6
VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
DEPTH_MAX = 100
SESSION_SECONDS_MAX = 604800    # RFC 8446: seven days
ALPN_MAX = 32
DOMAIN_OCTETS_MAX = 244         # "_mta-sts." stands before it


def whole(low, high):
    def check(name, value):
        if not isinstance(value, int):
            raise Refused("%s must be a number, not %s" % (name, shown(value)))
        if not low <= value <= high:
            raise Refused("%s is %d; it must be from %d to %d" % (name, value, low, high))
        return int(value)
    return check


def flag(name, value):
    if not isinstance(value, int) or value not in (0, 1):
        raise Refused("%s must be TRUE or FALSE, not %s" % (name, shown(value)))
    return int(value)


def text(name, value):
    """Printable ASCII: a list of OpenSSL's. "" for none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("%s must be a string, not %s" % (name, shown(value)))
    if not value.isascii() or not value.isprintable() or len(value) > 4096:
        raise Refused("%s: %s is no list of names" % (name, shown(value)))
    return value


def cipher(name, value):
    """A string, or a tuple whose second element is the string."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise Refused("%s: %s is not a pair" % (name, shown(value)), '(SSL_CIPHERS_CUSTOM, "ECDHE+AESGCM")')
        value = value[1]
    if not text(name, value):
        raise Refused("%s must not be empty" % name, "SSL_CIPHERS_HIGH")
    return value


def names(name, value):
    """One or several names, as OpenSSL writes lists; "" for none."""
    if isinstance(value, (tuple, list)):
        for one in value:
            if not text(name, one) or ":" in one:
                raise Refused("%s: %s is not a name" % (name, shown(one)))
        value = ":".join(value)
    return text(name, value)


def alpn(name, value):
    """Protocol names, best first."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, (tuple, list)) or len(value) > ALPN_MAX:
        raise Refused("%s must be a sequence of at most %d names, not %s" % (name, ALPN_MAX, shown(value)))
    for one in value:
        if not isinstance(one, str) or not 1 <= len(one) <= 255 or not one.isascii() or not one.isprintable() or "," in one:
            raise Refused("%s: %s is not the name of a protocol" % (name, shown(one)), '"h2", "http/1.1"')
    return tuple(value)


def path(name, value):
    """The name of a file or folder; "" for none."""
    if value is None or value == "":
        return ""
    return file_name(name, value)


def file_name(name, value):
    """Absolute. Where the policy is loaded a relative name means the current folder."""
    if not isinstance(value, str):
        raise Refused("%s must be the name of a file or folder, not %s" % (name, shown(value)))
    if not value or "\0" in value:
        raise Refused("%s: %s is not the name of a file or folder" % (name, shown(value)))
    try:
        octets = os.fsencode(value)
    except UnicodeEncodeError:
        raise Refused("%s: %s is not the name of a file or folder" % (name, shown(value))) from None
    absolute = os.path.abspath(value)
    if max(len(octets), len(os.fsencode(absolute))) > 4095:
        raise Refused("%s: %s is too long for the name of a file" % (name, shown(value)))
    return absolute


def domain(name, value):
    """A mail domain; "" for none."""
    return "" if value is None or value == "" else host_argument(name, value, DOMAIN_OCTETS_MAX)


def pem(name, value):
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or len(value) > 65536 or "\0" in value or "-----BEGIN " not in value:
        raise Refused("%s must be PEM text, not %s" % (name, shown(value)))
    return value


# Without "client_" or "server_": (check, default).
SIDED = {
    "verify_type": (whole(0, 4), 4),
    "max_verify_depth": (whole(0, DEPTH_MAX), 4),
    "verify_ca_directory": (path, ""),
    "verify_crl_directory": (path, ""),
    "trusted_certs_directory": (path, ""),
    "permit_invalid_certificates": (flag, 0),
    "permit_missing_crl": (flag, 1),
    "disable_proto_tlsv1": (flag, 1),
    "disable_proto_tlsv1_1": (flag, 1),
    "disable_proto_tlsv1_2": (flag, 0),
    "disable_proto_tlsv1_3": (flag, 0),
    "disable_compression": (flag, 0),
    "ssl_cipher": (cipher, "HIGH:!aNULL:@STRENGTH"),
    "ssl_ciphersuites": (names, ""),
    "ssl_groups": (names, ""),
    "alpn": (alpn, ()),
    "session_timeout": (whole(0, SESSION_SECONDS_MAX), 300),
}
ALIASES = {"client_verify_depth": "client_max_verify_depth", "server_verify_depth": "server_max_verify_depth"}
WHOLE = {
    "handshake_timeout": (whole(1, 3600000), 30000),
    "handshake_seq": (whole(0, 1), 0),
    "cipher_server_preference": (flag, 0),
    "dh_params": (pem, ""),
    "client_ca_hint_directory": (path, ""),
    "client_session_tickets": (flag, 1),
    "client_ocsp_file": (path, ""),
    "server_check_subject": (flag, 1),
    "server_dane": (whole(0, 2), 0),
    "server_mta_sts": (domain, ""),
    "server_mta_sts_required": (flag, 0),
    "disable_renegotiation": (flag, 1),
}
READ_ONLY = {
    "client_connection_security": "it is what the encryption's class says",
    "server_connection_security": "it is what the encryption's class says",
    "client_keypair_generate": "give a DynamicCertificate", "server_keypair_generate": "give a DynamicCertificate",
    "client_handshake": 'fill it: settings.client_handshake["verify_cert_ext"] = (SSL_HS_POLICY, function)',
    "server_handshake": 'fill it: settings.server_handshake["verify_cert_ext"] = (SSL_HS_POLICY, function)',
}


def _rows():
    rows = dict(WHOLE)
    for side in SIDES:
        rows.update(("%s_%s" % (side, name), row) for name, row in SIDED.items())
    return rows


ROWS = _rows()


def say_no_renegotiation(place=None):
    problems.warn("renegotiation stays refused", "no client needs it, and TLS 1.3 does not have it", place)


class Settings:
    def __init__(self, client_security, server_security):
        self.__dict__.update({name: default for name, (check, default) in ROWS.items()},
                             client_connection_security=client_security, server_connection_security=server_security,
                             client_keypair_generate=0, server_keypair_generate=0,
                             client_handshake=Handshake(CLIENT), server_handshake=Handshake(SERVER))

    def __setattr__(self, name, value):
        try:
            self._set(ALIASES.get(name, name), value)
        except Refused as refused:
            problems.report(refused.message, refused.hint)

    def _set(self, name, value):
        if name in READ_ONLY:
            raise Refused("%s can only be read" % name, READ_ONLY[name])
        if name not in ROWS:
            raise Refused("there is no setting '%s'" % name, problems.did_you_mean(name, list(ROWS) + list(ALIASES)))
        if not problems.loading():
            raise Refused("%s can't be set any more: all sessions share it" % name, "set it where the encryption is declared")
        self.__dict__[name] = ROWS[name][0](name, value)
        if name == "disable_renegotiation" and not value:
            say_no_renegotiation()

    def __getattr__(self, name):
        if name in ALIASES:
            return self.__dict__[ALIASES[name]]
        raise AttributeError("there is no setting '%s'" % name)

    def fill(self, **values):
        """From what was checked already."""
        self.__dict__.update(values)

    def versions(self, side):
        """(lowest, highest), or Refused."""
        last = len(VERSIONS) - 1
        on = [i for i, v in enumerate(("", "_1", "_2", "_3"))
              if not getattr(self, "%s_disable_proto_tlsv1%s" % (side, v))]
        if not on:
            raise Refused("all versions of TLS are disabled for the %s" % side)
        if on[-1] - on[0] + 1 != len(on):
            missing = next(i for i in range(last) if i > on[0] and i not in on)
            raise Refused("%s is enabled for the %s, %s not, and %s is" % (
                VERSIONS[on[0]], side, VERSIONS[missing], VERSIONS[on[-1]]), "what is enabled must be without a gap")
        return VERSIONS[on[0]], VERSIONS[on[-1]]


# key -> numbers of arguments, with the meanings that tls_hooks.py gives them
HOOKS = {"setup_key": (1, 4), "verify_cert_ext": (2, 4)}
OLD_HOOKS = {
    "verify_cert": "verify_cert_ext",
    "setup_ca_list": "certificates of CAs are files in verify_ca_directory",
    "setup_crl_list": "revocation lists are files in verify_crl_directory",
    "set_servername": "SNIBasedCertificate chooses by the name the client asks for",
}


def takes(function):
    """How many positional arguments: (least, most); most is None when there is no end; None: unknown."""
    import inspect
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(1 for p in places if p.default is p.empty)
    return least, None if any(p.kind == p.VAR_POSITIONAL for p in parameters) else len(places)


def arguments_of(key, function):
    """With how many arguments a hook is called: the most it takes of what the hook knows. Refused."""
    known = takes(function)
    if known is None or known[1] is None:
        return HOOKS[key][-1]
    for count in reversed(HOOKS[key]):
        if known[0] <= count <= known[1]:
            return count
    raise Refused("%s: the function takes %s arguments" % (key, "%d to %d" % known if known[0] != known[1] else known[0]),
                  "it is called with " + " or ".join(str(n) for n in HOOKS[key]))


class Handshake(dict):
    """settings.X_handshake: hooks by their key, as (SSL_HS_POLICY, callable)."""

    def __init__(self, side, frozen=True):
        super().__init__()
        self.side = side
        self.places = {}
        self._frozen = frozen       # it belongs to all sessions

    def __setitem__(self, key, value):
        try:
            if self._frozen and not problems.loading():
                raise Refused("%s_handshake can't be changed any more: all sessions share it" % self.side)
            self._check(key, value)
        except Refused as refused:
            problems.report(refused.message, refused.hint)
            return
        super().__setitem__(key, value)
        self.places[key] = problems.here()

    def __delitem__(self, key):
        if self._frozen and not problems.loading():
            raise Refused("%s_handshake can't be changed any more: all sessions share it" % self.side)
        super().__delitem__(key)

    def __missing__(self, key):
        """What policies wrap: as the verification says."""
        if key != "verify_cert_ext":
            raise KeyError(key)
        return (SSL_HS_POLICY, lambda side, result, certificate=None, proxy=None: SSL_HS_ACCEPT)

    def _check(self, key, value):
        if key in OLD_HOOKS:
            raise Refused("%s_handshake: nothing calls '%s'" % (self.side, key), OLD_HOOKS[key])
        if key not in HOOKS:
            raise Refused("%s_handshake: there is no hook %s" % (self.side, shown(key)), problems.did_you_mean(key, HOOKS))
        if not isinstance(value, (tuple, list)) or len(value) != 2 or value[0] != SSL_HS_POLICY or not callable(value[1]):
            raise Refused("%s_handshake: %s is no hook" % (self.side, shown(value)), "(SSL_HS_POLICY, function)")
        arguments_of(key, value[1])

    def update(self, *args, **kwargs):
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def call(self, key):
        """The function of a hook; None: there is none."""
        return self[key][1] if key in self else None
