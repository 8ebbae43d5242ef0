"""What a signature of S3's proves, however it came: who signed, until when, under which further conditions."""

import math
from typing import Final

import msgspec

from valetstore.grants.grant import BodyProof, Scope
from valetstore.keys.ring import SigningKey

HEADERS_VALID_SECONDS: Final = 900
"""How long signed headers are valid, and how far ahead of the gateway's clock a date may be."""


class Session(msgspec.Struct, frozen=True):
    """What a session token says: temporary credentials are never wider than the signing key they were made with."""

    access_key_id: str
    expires_at: int
    operations: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """`mac` is the decoded signature, which stands for the key in its identity. Times are seconds since the epoch.

    `exact` says that one request was signed, and nothing else is allowed by it; without it (signed headers) the
    whole profile is. `terms` are the `x-valet-*` conditions that were signed. `sha256` is what the body must have;
    `body` what it must prove otherwise. `length` is a form's content-length-range.
    """

    key: SigningKey
    mac: bytes
    not_after: float
    issued_at: float | None = None
    exact: bool = True
    session: Session | None = None
    terms: tuple[tuple[str, str], ...] = ()
    length: tuple[int, int] | None = None
    sha256: bytes | None = None
    body: BodyProof | None = None

    def scopes_of_session(self) -> tuple[tuple[Scope, ...], ...]:
        """The session's prefixes as one more group of scopes; none where it names none."""
        if self.session is None or not self.session.prefixes:
            return ()
        return (tuple(Scope(prefix, is_prefix=True) for prefix in self.session.prefixes),)


def end_of(issued_at: int, life: int) -> float:
    """The first moment at which a V4 key is expired: S3 takes the last second as valid.

    A life of 0 is over at once, even where the signer's clock is ahead of this one.
    """
    return math.nextafter(issued_at + life, math.inf) if life else issued_at - HEADERS_VALID_SECONDS
