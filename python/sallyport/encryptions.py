# SPDX-License-Identifier: Apache-2.0
"""The members tls_keys, tls_certificates and encryptions of a policy document, and the secrets that
go apart from it."""

from sallyport.octets import path_to_wire, to_wire
from sallyport.problems import Refused
from sallyport.tls_constants import SSL_FORCE_SSL
from sallyport.tls_settings import CLIENT, SERVER, SIDES

# As the engine's ceilings (src/policy/document_tls.c, document_encryption.c).
KEYS_MAX = 8192
CERTIFICATES_MAX = 8192
ENCRYPTIONS_MAX = 4096
SECRETS_MAX = 16384
SECRET_OCTETS_MAX = 65536
SECRETS_OCTETS_MAX = 16 << 20
NAMED_MAX = 1024

SYSTEM_CAS = "/etc/ssl/certs"   # those of the distribution (Debian's ca-certificates); for mta_sts only


class Encryptions:
    """What the encryptions of a load became. Each object is written once, whoever names it."""

    def __init__(self):
        self.keys = []
        self.certificates = []
        self.rows = []
        self.secrets = []           # octets
        self._at = None
        self._natives = None
        self._key_numbers = {}
        self._certificate_numbers = {}
        self._secret_numbers = {}
        self._numbers = {}          # what says all of an encryption -> index
        self._calls = []            # of each row: it calls policy code

    def begin(self, at, natives):
        """at: place -> [file index, line]; natives: matchers.Natives."""
        self._at = at
        self._natives = natives

    def add(self, scenario, name, place, hooks):
        """The index of an encryption in the document. hooks: numbers the callables of it, see
        tls_hooks. Refused: it can't be so."""
        key = identity(scenario, name, hooks)
        if key not in self._numbers:
            row = self._row(scenario, name, place, hooks)
            if len(self.rows) == ENCRYPTIONS_MAX:
                raise Refused("there are more than %d encryptions" % ENCRYPTIONS_MAX)
            self._numbers[key] = len(self.rows)
            self.rows.append(row)
            self._calls.append(_calls(row))
        return self._numbers[key]

    def find(self, scenario, name, hooks):
        """The index of what is in the document already; None: it is not."""
        return self._numbers.get(identity(scenario, name, hooks))

    def calls_host(self, index):
        return self._calls[index]

    def document(self):
        """The members that are not empty."""
        members = {"tls_keys": self.keys, "tls_certificates": self.certificates, "encryptions": self.rows,
                   "secrets": len(self.secrets)}
        return {name: value for name, value in members.items() if value}

    def secrets_file(self):
        """For each its length, big endian, and its octets."""
        return b"".join(len(s).to_bytes(4, "big") + s for s in self.secrets)

    def _row(self, scenario, name, place, hooks):
        settings = scenario.settings
        row = {"name": name, "at": self._at(place), "handshake_timeout": settings.handshake_timeout,
               "server_first": bool(settings.handshake_seq)}
        for side in SIDES:
            row[side] = self._side(scenario, side, hooks)
        self._check_bridges(scenario)
        return row

    @staticmethod
    def _check_bridges(scenario):
        security = {CLIENT: scenario.client_security, SERVER: scenario.server_security}
        forced = {side: security[side] == SSL_FORCE_SSL for side in SIDES}
        for side, other in ((CLIENT, SERVER), (SERVER, CLIENT)):
            generator = getattr(scenario, side + "_certificate_generator")
            if not hasattr(generator, "trusted_ca") or not security[side]:
                continue
            if not security[other]:
                raise Refused("the certificate of the %s side is made from that of the %s side, which is not encrypted"
                              % (side, other), "TwoSidedEncryption")
            # What is forced does not wait for what is asked for.
            if forced[side] != forced[other]:
                first = CLIENT if forced[CLIENT] else SERVER
                hint = "TwoSidedEncryption, or ForwardStartTLSEncryption"
            else:
                first = SERVER if scenario.settings.handshake_seq else CLIENT
                hint = "settings.handshake_seq = " + ("SSL_HSO_SERVER_CLIENT" if side == CLIENT else "SSL_HSO_CLIENT_SERVER")
            if first != other:
                raise Refused("the certificate of the %s side is made from that of the %s side, whose handshake comes later"
                              % (side, other), hint)

    def _side(self, scenario, side, hooks):
        settings = scenario.settings
        security = getattr(settings, side + "_connection_security")
        if not security:
            for name, value in (("dane", settings.server_dane), ("mta_sts", settings.server_mta_sts)) if side == SERVER else ():
                if value:
                    raise Refused(name + " needs a server side that is encrypted", "TwoSidedEncryption, or ServerOnlyEncryption")
            return {"security": 0}
        own = self._own(getattr(scenario, side + "_certificate_generator"), settings, side, hooks)
        if side == CLIENT and not own:
            raise Refused("there is no certificate to show to clients", "StaticCertificate(Certificate.fromFile(...))")
        row = {"security": security, "verifier": self._verifier(settings, side, hooks),
               "options": self._options(settings, side)}
        if own:
            row["certificate"] = own
        return row

    def _own(self, generator, settings, side, hooks):
        from Zorp.Encryption import DynamicCertificate, SNIBasedCertificate, StaticCertificate
        own = {}
        if isinstance(generator, StaticCertificate):
            own["static"] = self.certificate(generator.certificate)
        elif isinstance(generator, SNIBasedCertificate):
            own["named"] = [[self._matcher(m, hooks), self.certificate(c.certificate)]
                            for m, c in generator.hostname_certificate_map.items()]
            if len(own["named"]) > NAMED_MAX:
                raise Refused("SNIBasedCertificate has more than %d names" % NAMED_MAX)
            if generator.default is not None:
                own["static"] = self.certificate(generator.default.certificate)
            if not own["named"] and "static" not in own:
                raise Refused("SNIBasedCertificate has no certificate")
        elif isinstance(generator, DynamicCertificate):
            own["bridge"] = self._bridge(generator)
        if "setup_key" in getattr(settings, side + "_handshake"):
            own["setup_key"] = {"callback": hooks.number(side, "setup_key")}
        return own

    def _matcher(self, matcher, hooks):
        native = self._natives.number(matcher, "SNIBasedCertificate")
        return {"callback": hooks.matcher(matcher)} if native is None else {"matcher": native}

    def _bridge(self, generator):
        bridge = {"key": self.key(generator.private_key), "trusted_ca": self.certificate(generator.trusted_ca),
                  "untrusted_ca": self.certificate(generator.untrusted_ca), "extensions": list(generator.extension_whitelist)}
        if generator.cache_directory:
            bridge["cache_directory"] = path_to_wire(generator.cache_directory)
        return bridge

    @staticmethod
    def _verifier(settings, side, hooks):
        def of(name):
            return getattr(settings, "%s_%s" % (side, name))
        row = {"type": of("verify_type"), "depth": of("max_verify_depth"),
               "permit_invalid": bool(of("permit_invalid_certificates")), "permit_missing_crl": bool(of("permit_missing_crl"))}
        directories = {"ca_directory": of("verify_ca_directory"), "crl_directory": of("verify_crl_directory"),
                       "pinned_directory": of("trusted_certs_directory")}
        if side == CLIENT:
            directories["hint_directory"] = settings.client_ca_hint_directory
        else:
            row["check_subject"] = bool(settings.server_check_subject)
            if settings.server_dane:
                row["dane"] = settings.server_dane
            if settings.server_mta_sts:
                row.update(mta_sts=settings.server_mta_sts, mta_sts_required=bool(settings.server_mta_sts_required))
                directories["ca_directory"] = directories["ca_directory"] or SYSTEM_CAS
            elif settings.server_mta_sts_required:
                raise Refused("server_mta_sts_required needs server_mta_sts", 'settings.server_mta_sts = "example.com"')
        row.update((name, path_to_wire(value)) for name, value in directories.items() if value)
        if "verify_cert_ext" in getattr(settings, side + "_handshake"):
            row["verify"] = {"callback": hooks.number(side, "verify_cert_ext")}
        return row

    @staticmethod
    def _options(settings, side):
        def of(name):
            return getattr(settings, "%s_%s" % (side, name))
        row = {"versions": list(settings.versions(side)), "ciphers": of("ssl_cipher"), "session_seconds": of("session_timeout")}
        texts = {"ciphersuites": of("ssl_ciphersuites"), "groups": of("ssl_groups")}
        if side == CLIENT:
            row.update(server_preference=bool(settings.cipher_server_preference), tickets=bool(settings.client_session_tickets))
            texts["dh"] = to_wire(settings.dh_params)
            texts["ocsp_file"] = path_to_wire(settings.client_ocsp_file)
        row.update((name, value) for name, value in texts.items() if value)
        if of("alpn"):
            row["alpn"] = list(of("alpn"))
        return row

    def key(self, key):
        """The index of a PrivateKey."""
        return self._number(self.keys, self._key_numbers, key._identity(), KEYS_MAX, "private keys", lambda: self._key(key))

    def _key(self, key):
        row = {"at": self._at(key._place)}
        if key._file is not None:
            row["file"] = path_to_wire(key._file)
        else:
            row["secret"] = self._secret(key.getKey())
        if key.getPassPhrase():
            row["passphrase"] = self._secret(key.getPassPhrase())
        return row

    def certificate(self, certificate):
        """The index of a Certificate."""
        return self._number(self.certificates, self._certificate_numbers, certificate._identity(), CERTIFICATES_MAX,
                            "certificates", lambda: self._certificate(certificate))

    def _certificate(self, certificate):
        row = {"pem": to_wire(certificate.getCertificate()), "key": self.key(certificate._private_key),
               "at": self._at(certificate._place)}
        if certificate._file is not None:
            row["file"] = path_to_wire(certificate._file)
        return row

    @staticmethod
    def _number(rows, numbers, identity_of_it, ceiling, what, make):
        if identity_of_it not in numbers:
            row = make()
            if len(rows) == ceiling:
                raise Refused("there are more than %d %s" % (ceiling, what))
            numbers[identity_of_it] = len(rows)
            rows.append(row)
        return numbers[identity_of_it]

    def _secret(self, text):
        octets = text.encode("utf-8", "surrogateescape")
        if len(octets) > SECRET_OCTETS_MAX:
            raise Refused("a private key of more than %d octets" % SECRET_OCTETS_MAX)
        if octets not in self._secret_numbers:
            if len(self.secrets) == SECRETS_MAX or sum(4 + len(s) for s in self.secrets) + len(octets) + 4 > SECRETS_OCTETS_MAX:
                raise Refused("there are too many private keys and passphrases in the policy", "PrivateKey.fromFile(...)")
            self._secret_numbers[octets] = len(self.secrets)
            self.secrets.append(octets)
        return self._secret_numbers[octets]


def _calls(row):
    for side in SIDES:
        own = row[side].get("certificate", {})
        if "setup_key" in own or "verify" in row[side].get("verifier", ()):
            return True
        if any("callback" in matcher for matcher, certificate in own.get("named", ())):
            return True
    return False


def identity(scenario, name, hooks):
    """Equal for two encryptions that become the same row, without reading a file."""
    from sallyport.tls_settings import ROWS
    settings = scenario.settings
    return (name, scenario.client_security, scenario.server_security,
            tuple(getattr(settings, row) for row in ROWS),
            tuple(_generator_identity(getattr(scenario, side + "_certificate_generator")) for side in SIDES),
            tuple((side, key, hooks.number(side, key)) for side in SIDES for key in getattr(settings, side + "_handshake")))


def _generator_identity(generator):
    from Zorp.Encryption import DynamicCertificate, SNIBasedCertificate, StaticCertificate
    if isinstance(generator, StaticCertificate):
        return ("static", generator.certificate._identity())
    if isinstance(generator, SNIBasedCertificate):
        return ("named", tuple((id(m), c.certificate._identity()) for m, c in generator.hostname_certificate_map.items()),
                generator.default and generator.default.certificate._identity())
    if isinstance(generator, DynamicCertificate):
        return ("bridge", generator.private_key._identity(), generator.trusted_ca._identity(),
                generator.untrusted_ca._identity(), generator.cache_directory, generator.extension_whitelist)
    return None if generator is None else id(generator)
