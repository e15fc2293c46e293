# SPDX-License-Identifier: Apache-2.0
"""The SMTP proxy. Its attributes, tables and native methods live in the engine; here is what a
policy inherits from: presets, and the methods that can be overridden."""

import types
from socket import getfqdn, gethostbyaddr
from time import strftime

from Zorp.Core import *
from Zorp.Matcher import SmtpInvalidRecipientMatcher, getMatcher
from Zorp.Exceptions import MatcherException
from Zorp.Proxy import Proxy, at_load as _at_load, native as _native

SMTP_REQ_ACCEPT = 1
SMTP_REQ_REJECT = 3
SMTP_REQ_ABORT = 4
SMTP_REQ_POLICY = 6

SMTP_RSP_ACCEPT = 1
SMTP_RSP_REJECT = 3
SMTP_RSP_ABORT = 4
SMTP_RSP_POLICY = 6

SMTP_EXT_ACCEPT = 1
SMTP_EXT_DROP = 5

SMTP_EXT_PIPELINING = 0x01
SMTP_EXT_SIZE = 0x02
SMTP_EXT_ETRN = 0x04
SMTP_EXT_8BITMIME = 0x08
SMTP_EXT_AUTH = 0x10
SMTP_EXT_STARTTLS = 0x20
SMTP_EXT_ALL = 0x0F             # the original's first four
SMTP_EXT_ENHANCEDSTATUSCODES = 0x40
SMTP_EXT_DSN = 0x80
SMTP_EXT_SMTPUTF8 = 0x100
SMTP_EXT_CHUNKING = 0x200
SMTP_EXT_BINARYMIME = 0x400
SMTP_EXT_LIMITS = 0x800
SMTP_EXT_DELIVERBY = 0x1000
SMTP_EXT_FUTURERELEASE = 0x2000
SMTP_EXT_MT_PRIORITY = 0x4000
SMTP_EXT_MTRK = 0x8000

SMTP_STK_NONE = 0
SMTP_STK_MIME = 1

SMTP_GETDOMAIN_MAILNAME = "mailname"
SMTP_GETDOMAIN_FQDN = "fqdn"

SMTP_POLICY = "smtp.policy"
SMTP_DEBUG = "smtp.debug"
SMTP_INFO = "smtp.info"
SMTP_ERROR = "smtp.error"


# Functions of Python 2's string module that the original's star import brings along.

def split(s, sep=None, maxsplit=-1):
    return s.split(sep, maxsplit)


def find(s, sub, *where):
    return s.find(sub, *where)


def lower(s):
    return s.lower()


def replace(s, old, new, maxreplace=-1):
    return s.replace(old, new, maxreplace)


# The replies that a server may give to each verb: those of the original's preset, and those that
# RFC 5321 (4.2.4, 4.3.2), RFC 3030, RFC 4954, RFC 3207, RFC 1985 and RFC 7504 add to it. A code outside of
# this list reaches the client as 500. 4xx and 5xx never turn a refusal into an acceptance, so
# they are permitted as families where the RFC names no closed list.
_SMTP_REPLIES = {
    "Null": ("220", "421", "521", "554"),
    "*": ("421", "500", "501", "502", "503", "504", "521"),
    "HELO": ("250", "4", "5"),
    "MAIL": ("250", "4", "5"),
    "RCPT": ("250", "251", "4", "5"),
    "DATA": ("354", "250", "4", "5"),
    "RSET": ("250", "4", "5"),
    "NOOP": ("250", "4", "5"),
    "QUIT": ("221", "4", "5"),
    # Not forwarded unless a policy says so.
    "VRFY": ("250", "251", "252", "4", "5"),
    "EXPN": ("250", "252", "4", "5"),
    "HELP": ("211", "214", "4", "5"),
}
_ESMTP_REPLIES = {
    "EHLO": ("250", "4", "5"),
    "AUTH": ("235", "334", "4", "5"),
    "BDAT": ("250", "4", "5"),
    "ETRN": ("250", "251", "252", "253", "4", "5"),
    "STARTTLS": ("220", "4", "5"),
}
_ESMTP_EXTENSIONS = ("PIPELINING", "SIZE", "ETRN", "AUTH", "8BITMIME", "STARTTLS",
                     "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING", "BINARYMIME", "LIMITS")


class AbstractSmtpProxy(Proxy):
    """Refuses every command and every reply until config() permits some."""

    name = "smtp"
    _constants_module = "Zorp.Smtp"
    _constant_prefixes = {"request": "SMTP_REQ_", "response": "SMTP_RSP_"}
    _callback_arguments = {"request": 2, "response": 4}
    _upper_case_tables = ("request", "response", "extensions")

    @_at_load
    def loadSMTP(self):
        """The commands of RFC 821 and their replies."""
        for verb in ("HELO", "MAIL", "RCPT", "DATA", "RSET", "QUIT", "NOOP"):
            self.request[verb] = SMTP_REQ_ACCEPT
        self._load_replies(_SMTP_REPLIES)

    @_at_load
    def loadESMTP(self):
        """loadSMTP(), EHLO, and the extensions the proxy knows."""
        self.loadSMTP()
        for verb in ("EHLO", "AUTH", "BDAT", "ETRN", "STARTTLS"):
            self.request[verb] = SMTP_REQ_ACCEPT
        self._load_replies(_ESMTP_REPLIES)
        for keyword in _ESMTP_EXTENSIONS:
            self.extensions[keyword] = SMTP_EXT_ACCEPT

    def _load_replies(self, replies):
        for verb, codes in replies.items():
            for code in codes:
                self.response[verb, code] = SMTP_RSP_ACCEPT

    @_native("smtp.generate_received")
    def generateReceived(self):
        """The trace header, with its line ending."""

    def requestStack(self):
        """What to stack for the message body. Stacking is not yet possible."""
        return None

    @_native("smtp.sanitize_address")
    def sanitizeAddress(self, path):
        """The bare mailbox of a path; ValueError when it is none. In callbacks only."""


class SmtpProxy(AbstractSmtpProxy):
    """ESMTP with relay control: recipients are accepted for relay_domains, or from relay_zones."""

    @_at_load
    def config(self):
        self.loadESMTP()
        self.request["MAIL"] = (SMTP_REQ_POLICY, self.checkSender)
        self.request["RCPT"] = (SMTP_REQ_POLICY, self.checkRecipient)
        self.relay_check = TRUE

    @_native("smtp.check_sender")
    def checkSender(self, cmd, param):
        """The request callback for MAIL: sender_matcher."""

    @_native("smtp.check_recipient")
    def checkRecipient(self, cmd, param):
        """The request callback for RCPT: %, !, relayCheck(), recipient_matcher."""

    @_native("smtp.relay_check")
    def relayCheck(self, email):
        """May this recipient be relayed to? relay_zones, relay_domains, relay_domains_matcher."""

    @_native("smtp.zone_check")
    def zoneCheck(self, zone):
        """Is the zone or one of its administrative parents among relay_zones?"""
