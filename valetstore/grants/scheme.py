"""Scheme: what every dialect of keys can do; Credential: one key as it was found in a request."""

from typing import Literal, NamedTuple, Protocol

from valetstore.grants.grant import Intent, Proof
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

Carrier = Literal["query", "header", "form", "cookie"]


class Scheme(Protocol):
    """One dialect. `verify` is pure and synchronous: it reads no clock, no socket, no file.

    `signs_method` says whether its signatures hold for one method alone.
    """

    name: str
    signs_method: bool

    def recognises(self, inbound: Inbound) -> "list[Credential]":
        """Every credential of this dialect in the request, well-formed or not; [] where there is none."""

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for, by this dialect's paths and methods. Raises Denied."""

    def verify(self, inbound: Inbound, credential: "Credential", keys: KeyRing) -> Proof:
        """Prove the credential. Raises `key_malformed`, `signature_mismatch`."""


class Credential(NamedTuple):
    """One key in a request: whose dialect it is, where it was, and its text (secret: never log it)."""

    scheme: Scheme
    carrier: Carrier
    text: str

    def __repr__(self) -> str:
        """Never shows the key."""
        return f"Credential({self.scheme.name}, {self.carrier})"
