"""What a signature of Google's proves, however it came: who signed, until when, under which further conditions."""

import msgspec

from valetstore.grants.terms import Terms
from valetstore.keys.ring import SigningKey


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """`signature` is decoded: it stands for the key in its identity. Times are seconds since the epoch; `not_after` is
    the first moment at which the key is over.

    `terms` are the `x-valet-*` conditions that were signed, `response` what a signed query makes of a download's
    headers, `length` a form's content-length-range.
    """

    key: SigningKey
    signature: bytes
    not_after: float
    issued_at: float | None = None
    terms: Terms = ()
    response: tuple[tuple[str, str], ...] = ()
    length: tuple[int, int] | None = None
