# SPDX-License-Identifier: Apache-2.0
"""What is demanded of the other side's certificate: classes of Zorp.Encryption."""

from sallyport import problems, tls_settings
from sallyport.declare import Declaration, flag_argument, int_argument
from sallyport.problems import Refused, shown
from sallyport.tls_constants import DANE_OFF, DANE_REQUIRED, SSL_VERIFY_NONE

__all__ = ("AbstractVerifier", "ClientCertificateVerifier", "ServerCertificateVerifier", "ClientNoneVerifier",
           "ServerNoneVerifier")


class AbstractVerifier(Declaration):
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
                raise Refused("%s: %s must be TRUE or FALSE, not %s" % (what, name, shown(value)), hint)
        for name, one, other in (("ca_directory", ca_directory, verify_ca_directory),
                                 ("crl_directory", crl_directory, verify_crl_directory)):
            if one and other:
                raise Refused("%s: %s and verify_%s are given both" % (what, name, name))
        self.required = bool(required)
        self.trusted = bool(trusted)
        self.verify_depth = int_argument(what + ": verify_depth", verify_depth, 0, tls_settings.DEPTH_MAX)
        self.permit_invalid_certificates = flag_argument(what + ": permit_invalid_certificates", permit_invalid_certificates)
        self.permit_missing_crl = flag_argument(what + ": permit_missing_crl", permit_missing_crl)
        for name, value in (("verify_ca_directory", verify_ca_directory or ca_directory),
                            ("verify_crl_directory", verify_crl_directory or crl_directory),
                            ("trusted_certs_directory", trusted_certs_directory)):
            setattr(self, name, tls_settings.path("%s: %s" % (what, name), value))
        if self.permit_invalid_certificates and self.trusted:
            problems.warn("%s: permit_invalid_certificates has no effect" % what, "it needs trusted=FALSE")

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
        self.ca_hint_directory = tls_settings.path("ClientCertificateVerifier: ca_hint_directory",
                                                ca_hint_directory or ca_directory)

    def _settle(self, settings):
        self._common(settings)
        settings.fill(client_ca_hint_directory=self.ca_hint_directory)


class ServerCertificateVerifier(AbstractVerifier):
    """Of servers."""

    _side = "server"

    def __init__(self, trusted_certs_directory=None, trusted=True, verify_depth=4, verify_ca_directory=None,
                 verify_crl_directory=None, permit_invalid_certificates=False, permit_missing_crl=False,
                 check_subject=True, ca_directory=None, crl_directory=None, dane=DANE_OFF, mta_sts=None,
                 mta_sts_required=False):
        self._take(True, trusted, verify_depth, verify_ca_directory, verify_crl_directory, ca_directory, crl_directory,
                   trusted_certs_directory, permit_invalid_certificates, permit_missing_crl)
        self.check_subject = flag_argument("ServerCertificateVerifier: check_subject", check_subject)
        self.dane = int_argument("ServerCertificateVerifier: dane", dane, DANE_OFF, DANE_REQUIRED)
        self.mta_sts = tls_settings.domain("ServerCertificateVerifier: mta_sts", mta_sts)
        self.mta_sts_required = flag_argument("ServerCertificateVerifier: mta_sts_required", mta_sts_required)
        if self.mta_sts_required and not self.mta_sts:
            raise Refused("ServerCertificateVerifier: mta_sts_required needs mta_sts", 'mta_sts="example.com"')

    def _settle(self, settings):
        self._common(settings)
        settings.fill(server_check_subject=int(self.check_subject), server_dane=self.dane, server_mta_sts=self.mta_sts,
                      server_mta_sts_required=int(self.mta_sts_required))


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
