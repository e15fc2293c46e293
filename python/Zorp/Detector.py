# SPDX-License-Identifier: Apache-2.0
"""Protocol detection. Constructors are checked; Rule(detect=...) is refused for now."""

import enum as _enum

from sallyport import problems as _problems, registry as _registry
from sallyport.declare import Declaration as _Declaration, name_argument as _name_argument
from sallyport.problems import Refused as _Refused, shown as _shown
from Zorp.Encryption import readPEM as _readPEM
from Zorp.Matcher import checked_matcher as _checked_matcher


class DetectResultType(_enum.IntEnum):
    NOMATCH = 0
    MATCH = 1
    UNDECIDED = 2
    COPY_CLIENT = 3


class DetectResult:
    def __init__(self, result, bytes_to_copy=0):
        self.result = result
        self.bytes_to_copy = bytes_to_copy


class TlsVersion(_enum.IntEnum):
    TLS_1_0 = 0x0301
    TLS_1_1 = 0x0302
    TLS_1_2 = 0x0303
    TLS_1_3 = 0x0304


class AbstractDetector(_Declaration):
    """The base of detectors, also of a policy's own. Defines detect(side, data)."""

    server_side_protocol = 0

    def detect(self, side, data):
        raise NotImplementedError


class HttpDetector(AbstractDetector):
    def __init__(self, **kw):
        pass


class SshDetector(AbstractDetector):
    server_side_protocol = 1


class CertDetector(AbstractDetector):
    """certificate: PEM text, or a 1-tuple with a file name."""

    server_side_protocol = 0

    def __init__(self, certificate):
        if isinstance(certificate, tuple):
            certificate = _readPEM(certificate[0] if certificate else None)
        if not isinstance(certificate, str):
            raise _Refused("CertDetector: %s is not a certificate" % _shown(certificate))
        self.certificate = certificate.strip()


class TlsDetector(AbstractDetector):
    pass


class SniDetector(TlsDetector):
    def __init__(self, server_name_matcher):
        self.server_name_matcher = _checked_matcher("SniDetector", server_name_matcher)


class DetectorPolicy(_Declaration):
    def __init__(self, name, detector):
        self.name = _name_argument("the detector policy's name", name)
        if not isinstance(detector, AbstractDetector):
            raise _Refused("DetectorPolicy '%s': %s is not a detector" % (name, _shown(detector)))
        self.detector = detector
        self._place = _problems.here()
        _registry.register("detectors", "DetectorPolicy", name, self)

    @classmethod
    def _remember_refused(cls, name, made):
        _registry.named("detectors").setdefault(name, made)
