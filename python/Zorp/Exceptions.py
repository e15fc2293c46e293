# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the policy language."""


class ZorpException(Exception):
    what = "Zorp exception"

    def __init__(self, detail=""):
        super().__init__(detail)
        self.detail = detail

    def __str__(self):
        return "%s: %s" % (self.what, self.detail)


class ZoneException(ZorpException):
    what = "Zone not found"


class ServiceException(ZorpException):
    what = "Service"


class DACException(ZorpException):
    what = "DAC policy violation"


class MACException(ZorpException):
    what = "MAC policy violation"


class AAException(ZorpException):
    what = "Authentication or authorization failed"


AuthException = AAException


class LimitException(ZorpException):
    what = "Limit error"


class InternalException(ZorpException):
    what = "Internal error occured"


class UserException(ZorpException):
    what = "Incorrect, or unspecified parameter"


class LicenseException(ZorpException):
    what = "Attempt to use unlicensed components"


class MatcherException(ZorpException):
    what = "Matcher error"


class ConfigException(ZorpException):
    what = "Configuration error"
