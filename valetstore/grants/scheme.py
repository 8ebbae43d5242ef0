"""Scheme: what every dialect of keys can do; Credential: one key as it was found in a request."""

from collections.abc import Hashable
from typing import Final, Literal, Protocol

import msgspec

from valetstore.grants.grant import Intent, Proof
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

Carrier = Literal["query", "header", "form", "cookie"]
CARRIERS: Final = frozenset({b"authorization", b"cookie"})
"""The headers that may carry a key."""


class Scheme(Protocol):
    """One dialect. `verify` is pure and synchronous: it reads no clock, no socket, no file.

    `signs_method` says whether its signatures hold for one method alone. `marks` are names of query parameters in lower
    case: a query that has none of them, in whatever case, holds no key of this dialect.
    """

    name: str
    signs_method: bool
    marks: frozenset[str]

    def recognises(self, inbound: Inbound) -> "list[Credential]":
        """Every credential of this dialect in the request, well-formed or not; [] where there is none."""

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for, by this dialect's paths and methods. Raises Denied."""

    def verify(self, inbound: Inbound, credential: "Credential", keys: KeyRing, intent: Intent | None = None) -> Proof:
        """Prove the credential. `intent` is what `intent` says of this request, where that was asked before.

        Raises `key_malformed`, `signature_mismatch`.
        """

    def covered(self, inbound: Inbound, credential: "Credential") -> Hashable | None:
        """Everything in the request that `verify` goes by: of two requests with one `covered` both have the same proof
        from one scheme and ring, or the same refusal. None where a proof is for this one moment or request alone: where
        `verify` looks at the clock, and where a body has something left to prove. Never raises.
        """


class Credential(msgspec.Struct, frozen=True, gc=False):
    """One key in a request: whose dialect it is, where it was, and its text (secret: never log it).

    Of a key in the query the text is that of one parameter, or a word for the kind; never Amazon's or Google's
    date or signature, so that whoever has the query's frame has all of it (`valetstore.frame`).
    """

    scheme: Scheme
    carrier: Carrier
    text: str

    def __repr__(self) -> str:
        """Never shows the key."""
        return f"Credential({self.scheme.name}, {self.carrier})"
