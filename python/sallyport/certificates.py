# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates, and which certificate is shown: classes of Zorp.Encryption."""

from sallyport import problems, tls_settings
from sallyport.declare import Declaration, is_poisoned
from sallyport.problems import Refused, shown

__all__ = ("readPEM", "PrivateKey", "Certificate", "CertificateCA", "DHParam", "AbstractCertificateGenerator", "StaticCertificate",
           "SNIBasedCertificate", "DynamicCertificate")
_PEM_MAX = 256 << 10


def readPEM(filename):
    """The text of a file, or Refused."""
    try:
        with open(filename, encoding="ascii", errors="surrogateescape") as f:
            return f.read(_PEM_MAX + 1)
    except (OSError, TypeError, ValueError) as error:
        raise Refused("%s can't be read: %s" % (shown(filename), getattr(error, "strerror", error))) from None


def _kind(value):
    """What it is, in a message: the text of a key is nobody's to read."""
    return "a string" if isinstance(value, str) else shown(value)


def _checked_pem(what, text, *kinds):
    if not isinstance(text, str):
        raise Refused("%s must be PEM text, not %s" % (what, type(text).__name__))
    if len(text) > _PEM_MAX:
        raise Refused("%s is longer than %d octets" % (what, _PEM_MAX))
    if "\0" in text or not any("-----BEGIN " + kind in text for kind in kinds):
        raise Refused("%s: there is no -----BEGIN %s----- in it" % (what, kinds[0]),
                       "to name a file use fromFile() of the class")
    return text


def _only_certificates(text):
    kept = []
    for part in text.split("-----BEGIN ")[1:]:
        kind = part.partition("-----")[0]
        if kind in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
            octets, end, _ = part.partition("-----END %s-----" % kind)
            kept.append("-----BEGIN " + octets + (end and end + "\n"))
    return "".join(kept)


def _from_file(cls, name, *more):
    """A declaration of what is in a file; a poisoned one, and a problem, when it can't be."""
    place = problems.here()
    made = cls.__new__(cls)
    try:
        made._place = place
        made._read_file(tls_settings.file_name(cls.__name__, name), *more)
        return made
    except Refused as refused:
        if not problems.loading():
            raise
        problems.report(refused.message, refused.hint, place)
        return cls._poison(place)


class PrivateKey(Declaration):
    """PrivateKey(key, passphrase): key is PEM text. A key's file is not read in the process that runs
    the policy, unless the policy asks for the key."""

    _file = None

    def __init__(self, key, passphrase=""):
        self._place = problems.here()
        self._key = _checked_pem("PrivateKey", key, "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY",
                                 "DSA PRIVATE KEY")
        self._passphrase = self._checked_passphrase(passphrase)

    @staticmethod
    def _checked_passphrase(passphrase):
        if passphrase is None:
            return ""
        if not isinstance(passphrase, str) or len(passphrase) > 1024 or "\0" in passphrase:
            raise Refused("the passphrase of a key must be a string of at most 1024 characters")
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


class Certificate(Declaration):
    """Certificate(certificate, private_key): PEM text, the leaf first and then what leads to its CA."""

    _file = None

    def __init__(self, certificate, private_key):
        self._place = problems.here()
        self._take(_checked_pem(type(self).__name__, certificate, "CERTIFICATE"), private_key)

    def _take(self, text, private_key):
        if not isinstance(private_key, PrivateKey) and not is_poisoned(private_key):
            raise Refused("%s: %s is not a PrivateKey" % (type(self).__name__, _kind(private_key)))
        self._private_key = private_key
        self._poisoned = is_poisoned(private_key)
        self._certificate = text

    def _read_file(self, name, private_key):
        text = _checked_pem(name, readPEM(name), "CERTIFICATE") if problems.loading() else None
        self._take(text, private_key)
        self._file = name

    @classmethod
    def fromFile(cls, certificate_file_path, private_key):
        return _from_file(cls, certificate_file_path, private_key)

    def getCertificate(self):
        """The certificates of it and nothing else: a file may have the key, too, which is nobody's business."""
        text = self._certificate
        if text is None:        # declared while a session runs
            text = _checked_pem(self._file, readPEM(self._file), "CERTIFICATE")
        return _only_certificates(text)

    def getPrivateKey(self):
        return self._private_key.getKey()

    def getPassPhrase(self):
        return self._private_key.getPassPhrase()

    def _identity(self):
        return ("file", self._file, self._private_key._identity()) if self._file else \
               ("text", self._certificate, self._private_key._identity())


class CertificateCA(Certificate):
    """The certificate and key of a CA."""


class DHParam(Declaration):
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


class AbstractCertificateGenerator(Declaration):
    """Which certificate we show. A policy's own class fills a setup_key hook in setup()."""

    def setup(self, encryption):
        pass


def _check_certificate(what, value):
    if not isinstance(value, Certificate) and not is_poisoned(value):
        raise Refused("%s: %s is not a Certificate" % (what, shown(value)))


class StaticCertificate(AbstractCertificateGenerator):
    """Always the same one."""

    def __init__(self, certificate):
        _check_certificate("StaticCertificate", certificate)
        self.certificate = certificate
        self._poisoned = is_poisoned(certificate)


class SNIBasedCertificate(AbstractCertificateGenerator):
    """By the name that the client asks for: {matcher: StaticCertificate}, the first that fits."""

    def __init__(self, hostname_certificate_map, default=None):
        from Zorp.Matcher import checked_matcher
        if not isinstance(hostname_certificate_map, dict):
            raise Refused("SNIBasedCertificate: %s is not a dictionary" % shown(hostname_certificate_map),
                           "{RegexpMatcher(('^mail[.]',)): StaticCertificate(...)}")
        self.hostname_certificate_map = {}
        for matcher, value in hostname_certificate_map.items():
            self.hostname_certificate_map[self._matcher(checked_matcher, matcher)] = self._certificate(value)
        self.default = None if default is None else self._certificate(default)

    def _matcher(self, checked_matcher, matcher):
        found = checked_matcher("SNIBasedCertificate", matcher)
        if found is None:
            if not is_poisoned(matcher):
                raise Refused("SNIBasedCertificate: %s is not a matcher" % shown(matcher))
            self._poisoned = True
        return found

    def _certificate(self, value):
        if is_poisoned(value):
            self._poisoned = True
        elif not isinstance(value, StaticCertificate):
            raise Refused("SNIBasedCertificate: %s is not a StaticCertificate" % shown(value))
        return value


class DynamicCertificate(AbstractCertificateGenerator):
    """Made from the other side's certificate, and signed by one of two CAs of the policy."""

    WHITELIST = ("keyUsage", "subjectAltName", "extendedKeyUsage")

    def __init__(self, private_key, trusted_ca, untrusted_ca, cache_directory=None, extension_whitelist=None):
        if not isinstance(private_key, PrivateKey) and not is_poisoned(private_key):
            raise Refused("DynamicCertificate: %s is not a PrivateKey" % _kind(private_key))
        _check_certificate("DynamicCertificate: trusted_ca", trusted_ca)
        _check_certificate("DynamicCertificate: untrusted_ca", untrusted_ca)
        extensions = extension_whitelist or self.WHITELIST
        if isinstance(extensions, str) or not all(isinstance(e, str) and e.isalnum() and len(e) <= 64 for e in extensions) \
                or len(extensions) > 64:
            raise Refused("DynamicCertificate: extension_whitelist must be a sequence of names, not %s" % shown(extensions),
                           "('keyUsage', 'subjectAltName')")
        self.private_key = private_key
        self.trusted_ca = trusted_ca
        self.untrusted_ca = untrusted_ca
        self.cache_directory = tls_settings.path("DynamicCertificate: cache_directory", cache_directory)
        self.extension_whitelist = tuple(extensions)
        self._poisoned = any(is_poisoned(p) for p in (private_key, trusted_ca, untrusted_ca))
