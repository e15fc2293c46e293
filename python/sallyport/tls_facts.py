# SPDX-License-Identifier: Apache-2.0
"""self.tls: what a session knows of its handshakes, and the certificate that a setup_key hook gives."""

from sallyport.octets import from_wire, to_wire
from sallyport.problems import Refused
from sallyport.tls_settings import CLIENT, SERVER, SIDES

PEM_MAX = 65536
# Name without the side -> (member of docs/policy-document.md, value while it is not known).
FACTS = {"certificate_trusted": ("trusted", 0), "verify_error": ("error", 0), "version": ("version", ""), "cipher": ("cipher", ""),
         "group": ("group", ""), "resumed": ("resumed", 0), "alpn": ("alpn", "")}
LOCAL = {"local_certificate": "certificate", "local_privatekey": "key", "local_privatekey_passphrase": "passphrase"}
NO_KEY = "Private keys can't be read"


class PeerCertificate:
    """A certificate as hooks see it. chain: all that was shown, as PEM, this one first."""

    def __init__(self, members, chain):
        self.blob = from_wire(members.get("pem", ""))
        self.issuer = from_wire(members.get("issuer", ""))
        self.subject = from_wire(members.get("subject", ""))
        self.serial = int(members.get("serial") or 0)
        self.chain = chain

    def __str__(self):
        return self.blob


class LocalCertificate:
    """What a setup_key hook set."""

    def __init__(self, text):
        mark = "-----BEGIN CERTIFICATE"
        self.chain = [mark + part for part in text.split(mark)[1:]]
        self.blob = self.chain[0]


class Tls:
    def __init__(self):
        self.__dict__.update(_facts={}, _given={}, _side=None)

    def receive(self, facts):
        """From the worker: all that is known now."""
        self.__dict__["_facts"] = facts

    def peer_certificate(self, side):
        """Of that side; None: it showed none, or not yet."""
        peer = self._facts.get(side, {}).get("peer") or ()
        if not peer:
            return None
        return PeerCertificate(peer[0], [from_wire(c.get("pem", "")) for c in peer])

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "server_name":
            return from_wire(self._facts.get("server_name", ""))
        if name in ("alpn_client_list", "ja4"):
            value = from_wire(self._facts.get(CLIENT, {}).get("alpn_offered" if name != "ja4" else name, ""))
            return value if name == "ja4" else tuple(value.split(",")) if value else ()
        if name == "alpn":
            return self.client_alpn
        side, _, rest = name.partition("_")
        if side in SIDES:
            if rest in FACTS:
                member, missing = FACTS[rest]
                value = self._facts.get(side, {}).get(member)
                value = missing if value is None else value
                return from_wire(value) if isinstance(value, str) else int(value)
            if rest == "peer_certificate":
                return self.peer_certificate(side)
            if rest in LOCAL:
                return self._local(side, LOCAL[rest])
        raise AttributeError("self.tls has no attribute '%s'" % name)

    def _local(self, side, member):
        given = self._given if side == self._side else {}
        if member == "key":
            return NO_KEY
        if member == "passphrase":
            return given.get(member, "")
        return LocalCertificate(given[member]) if member in given else None

    def __setattr__(self, name, value):
        side, _, rest = name.partition("_")
        if side not in SIDES or rest not in LOCAL:
            raise Refused("self.tls.%s can't be set" % name, "it is what the handshake found out")
        if side != self._side:
            raise Refused("self.tls.%s can be set in the setup_key hook of the %s side only" % (name, side))
        member = LOCAL[rest]
        if not isinstance(value, str) or len(value) > PEM_MAX or (member != "passphrase" and "-----BEGIN " not in value):
            raise TypeError("%s must be %s" % (name, "a string" if member == "passphrase" else "PEM text"))
        self._given[member] = value

    def begin_setup(self, side):
        """A setup_key hook of that side runs now; None: it has run."""
        self.__dict__["_side"] = side
        if side is not None:
            self._given.clear()

    def take_given_back(self):
        """The hook failed."""
        self._given.clear()

    def take_given(self):
        """The member "tls" of the answer to setup_key; None: the hook set nothing, or runs still. Refused: half
        of it."""
        if not self._given or self._side is not None:
            return None
        given = {name: to_wire(value) for name, value in self._given.items()}
        self._given.clear()
        if "certificate" not in given or "key" not in given:
            raise Refused("a setup_key hook set a certificate without its key, or a key without its certificate")
        return given
