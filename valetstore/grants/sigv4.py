"""Signature Version 4: what Amazon's and Google's storage both sign with, and nothing of what either means by it.

Rule 1: what is verified is the request as it arrived. Proxies and SDKs write one request in few known ways: those are
tried, a finite list, the usual one first, and each of them means the same object under the same conditions.
Rule 2: a query is decoded with `+` as `+`; nothing in a path is normalised.

Sources: AWS, "Create a signed AWS API request"; Google Cloud, "Signatures" (V4 signing process).
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple
from urllib.parse import quote

from valetstore.frame import Framed
from valetstore.inbound import Inbound
from valetstore.keys.material import HmacSha256, Holds

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
_KEYS_KEPT: Final = 16_384
"""As many signing keys as a ring may have, and some on two days or in two regions. A kept one takes about 1 KiB."""
_STAMP: Final = re.compile(r"[0-9]{8}T(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z", re.ASCII)


class Family(NamedTuple):
    """How one vendor spells it: the algorithm's name, what stands before the secret, the ends of a scope; and the query
    parameters of the date and of the signature, which alone is not signed, as signers write them.
    """

    algorithm: str
    prefix: str
    service: str
    terminator: str
    date: str
    signature: str


AWS: Final = Family("AWS4-HMAC-SHA256", "AWS4", "s3", "aws4_request", "X-Amz-Date", "X-Amz-Signature")
GOOGLE: Final = Family("GOOG4-HMAC-SHA256", "GOOG4", "storage", "goog4_request", "X-Goog-Date", "X-Goog-Signature")
GOOGLE_RSA: Final = GOOGLE._replace(algorithm="GOOG4-RSA-SHA256")


class Signed(NamedTuple):
    """What a request says that was signed, all of it checked for its shape.

    `stamp` is yyyyMMdd'T'HHmmss'Z', `names` are the signed headers as they were written, `payloads` what may stand for
    the body (the usual first), `methods` what the request's method may have been signed as.
    """

    stamp: str
    region: str
    names: tuple[str, ...]
    payloads: tuple[str, ...]
    methods: tuple[str, ...]
    signature: bytes

    def scope(self, family: Family) -> str:
        """The credential scope: `20261121/us-east-1/s3/aws4_request`."""
        return f"{self.stamp[:8]}/{self.region}/{family.service}/{family.terminator}"


_HOST_ALONE: Final = ("host",)
_SORTED: Final = "sigv4: sorted"
"""The note of a frame: what of it is signed, sorted, up to the date and behind it."""

Hosts = Iterator[bytes]
"""What `host` may have been signed as, the usual first; the rest is made only where that does not do."""


def signing_key(family: Family, secret: bytes, date: str, region: str) -> bytes:
    """The key of one day and region."""
    key = family.prefix.encode() + secret
    for part in (date, region, family.service, family.terminator):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


# Four HMACs deep, so kept; found again by all that it is made of, which no other secret has.
@lru_cache(maxsize=_KEYS_KEPT)
def _hmac(family: Family, secret: bytes, date: str, region: str) -> HmacSha256:
    return HmacSha256(signing_key(family, secret, date, region))


def string_to_sign(family: Family, signed: Signed, canonical: bytes) -> bytes:
    """Four lines: algorithm, time, scope and the hash of the canonical request."""
    first = f"{family.algorithm}\n{signed.stamp}\n{signed.scope(family)}\n".encode()
    return first + hashlib.sha256(canonical).hexdigest().encode()


def mac(family: Family, secret: bytes, signed: Signed, text: bytes) -> bytes:
    """The 32 bytes that sign this text, in the scope of what was signed."""
    return _hmac(family, secret, signed.stamp[:8], signed.region).digest(text)


Check = Callable[[bytes], bool]
"""Whether this text is what was signed: one signature, by whatever it was made."""


def mac_check(family: Family, secret: bytes, signed: Signed) -> Check:
    """The check of a signature that this secret made."""
    holds, signature = _hmac(family, secret, signed.stamp[:8], signed.region).holds, signed.signature
    return lambda text: holds(text, signature)


def holds(family: Family, check: Check, signed: Signed, inbound: Inbound, hosts: Hosts) -> bool:
    """Whether this request was signed, in one of the ways in which it may have been written."""
    query, host = sorted_query(family, inbound), next(hosts)
    if check(string_to_sign(family, signed, _usual(signed, inbound, query, host))):
        return True
    others = _others(family, signed, inbound, query, (host, *hosts))
    return any(check(string_to_sign(family, signed, canonical)) for canonical in others)


class Written(NamedTuple):
    """How requests are written, in the usual way, that were signed on one day and differ in paths and dates alone: what
    stands in the canonical request before the path, between that and the date, and behind both; in the string to sign
    before the date and behind it; and what checks their signatures.
    """

    before: bytes
    between: bytes
    behind: bytes
    algorithm: bytes
    scope: bytes
    check: Holds

    @classmethod
    def of(cls, family: Family, secret: bytes, signed: Signed, inbound: Inbound) -> "Written | None":
        """As this request was, by the host that it came to; None where its query is in no frame of the family's."""
        framed = framed_by(family, inbound)
        around = None if framed is None else _around_date(family, inbound, framed)
        if around is None:
            return None
        host, query = inbound.host.encode("latin-1", "replace"), sorted_query(family, inbound)
        before, between = signed.methods[0].encode() + b"\n", b"\n" + around[0]
        at = len(before) + len(inbound.raw_path) + len(between) + len(signed.stamp)
        behind = _usual(signed, inbound, query, host)[at:]
        algorithm, scope = f"{family.algorithm}\n".encode(), f"\n{signed.scope(family)}\n".encode()
        check = _hmac(family, secret, signed.stamp[:8], signed.region).holds
        return cls(before, between, behind, algorithm, scope, check)

    def holds(self, path: bytes, stamp: bytes, signature: bytes) -> bool:
        """Whether the one with this raw path and date, which is on that day, has that signature."""
        canonical = hashlib.sha256(self.before + path + self.between + stamp + self.behind)
        return self.check(self.algorithm + stamp + self.scope + canonical.hexdigest().encode(), signature)


def canonical_request(family: Family, signed: Signed, inbound: Inbound) -> bytes:
    """The request as the vendor's documentation would have it signed: for explaining why a signature differs."""
    query = canonical_query(family, inbound)
    return _canonical(signed, signed.methods[0], inbound.raw_path, query, _Headers(signed.names, inbound))


def _usual(signed: Signed, inbound: Inbound, query: bytes, host: bytes) -> bytes:
    """The canonical request as most signers write it: with the path and the query as they arrived."""
    method, path = signed.methods[0], inbound.raw_path
    if signed.names == _HOST_ALONE and host:
        # What `_canonical` makes of it, for most URLs.
        return b"%b\n%b\n%b\nhost:%b\n\nhost\n%b" % (
            method.encode(), path, query, host, signed.payloads[0].encode()
        )  # fmt: skip
    return _canonical(signed, method, path, query, _Headers(signed.names, inbound), host)


def _others(family: Family, signed: Signed, inbound: Inbound, query: bytes, hosts: Sequence[bytes]) -> Iterator[bytes]:
    """All other ways in which it may have been written."""
    headers = _Headers(signed.names, inbound)
    ways = product(
        signed.methods,
        _distinct(inbound.raw_path, encode(inbound.path, safe="/")),
        _distinct(query, canonical_query(family, inbound)),
        _distinct(*hosts),
        signed.payloads,
    )
    next(ways)  # the usual one
    for method, path, query, host, payload in ways:
        yield _canonical(signed, method, path, query, headers, host, payload)


def _canonical(
    signed: Signed, method: str, path: bytes, query: bytes, headers: "_Headers", host: bytes = b"", payload: str = ""
) -> bytes:
    names, payload = ";".join(signed.names), payload or signed.payloads[0]
    lines = headers.lines(host)
    return b"%b\n%b\n%b\n%b\n%b\n%b" % (method.encode(), path, query, lines, names.encode(), payload.encode())


class _Headers:
    """The signed headers of a request: lower-case names, values without needless space, in the order of `names`.

    A signed header that did not arrive has no line, so no signature over it holds.
    """

    def __init__(self, names: Sequence[str], inbound: Inbound) -> None:
        values: dict[bytes, bytes] = dict.fromkeys([name.lower().encode() for name in names], b"")
        absent = set(values)
        for name, value in inbound.headers:
            name = name.lower()
            if name in values:
                value = b" ".join(value.split())
                values[name] = value if name in absent else values[name] + b"," + value
                absent.discard(name)
        self._pairs = [(name, value) for name, value in values.items() if name not in absent or name == b"host"]

    def lines(self, host: bytes = b"") -> bytes:
        """A line for each; with another `host` where one is given."""
        pairs = self._pairs if not host else [(name, host if name == b"host" else v) for name, v in self._pairs]
        return b"".join([b"%b:%b\n" % pair for pair in pairs])


def sorted_query(family: Family, inbound: Inbound) -> bytes:
    """The query as it arrived, sorted, without the signature. Most signers have written it canonically.

    The signature's name counts in any case, here and where it is read: there is only one then.
    """
    framed = framed_by(family, inbound)
    around = None if framed is None else _around_date(family, inbound, framed)
    if framed is not None and around is not None:
        return around[0] + framed.date.encode() + around[1]
    return _sorted_bytes(family, inbound) or _sorted_pairs(family, inbound)


def framed_by(family: Family, inbound: Inbound) -> Framed | None:
    """The query in its frame, where it is this family's date and signature that the frame lacks."""
    framed = inbound.framed
    if framed is None or framed.frame.name != family.signature or framed.frame.date_name != family.date:
        return None
    return framed


def _around_date(family: Family, inbound: Inbound, framed: Framed) -> tuple[bytes, bytes] | None:
    """The sorted query of this frame up to the value of the date, and behind it; None where a value could be what its
    order hangs on, or where a name has none.
    """
    notes = framed.frame.notes
    if _SORTED not in notes:
        kept, name = _sorted_bytes(family, inbound), b"&%b=" % family.date.encode()
        begins = (b"&" + kept).find(name) + len(name) - 1
        notes[_SORTED] = (kept[:begins], kept[begins + len(framed.date) :]) if kept else None
    around: tuple[bytes, bytes] | None = notes[_SORTED]
    return around


def _sorted_bytes(family: Family, inbound: Inbound) -> bytes:
    """The same as text, without taking its pairs apart: of most queries; b"" of others."""
    front, found, rest = inbound.raw_query.partition(b"&%b=" % family.signature.encode())
    # A zero byte, which no target has, sorts before all that a name may go on with.
    kept = (front + rest[rest.find(b"&") :] if b"&" in rest else front).replace(b"=", b"\0").split(b"&")
    if not found or len(inbound.names) != len(kept) + 1 or [part for part in kept if b"\0" not in part]:
        # Without a signature, or with it first; a name that is there twice, in any spelling; a name without a value.
        return b""
    kept.sort()
    return b"&".join(kept).replace(b"\0", b"=")


def _sorted_pairs(family: Family, inbound: Inbound) -> bytes:
    without = family.signature.lower()
    parts = [part.partition(b"=") for part in inbound.raw_query.split(b"&") if part]
    # `Inbound.query` has the same pairs in the same order, decoded: a name can be written in several ways.
    kept = [part for part, (name, _) in zip(parts, inbound.query, strict=True) if name.lower() != without]
    return b"&".join([name + b"=" + value for name, _, value in sorted(kept)])


def canonical_query(family: Family, inbound: Inbound) -> bytes:
    """Every pair but the signature, decoded once, encoded in the one way that is canonical, and sorted."""
    without = family.signature.lower()
    pairs = sorted((encode(name), encode(value)) for name, value in inbound.query if name.lower() != without)
    return b"&".join([name + b"=" + value for name, value in pairs])


def encode(text: str, safe: str = "") -> bytes:
    """Percent-encoding of all but A-Z, a-z, 0-9, `-`, `_`, `.`, `~` and what is `safe`, in upper case."""
    return quote(text, safe=safe).encode()


def moment_of(stamp: str) -> int | None:
    """`20261121T162318Z` as seconds since the epoch; None where it is no such date."""
    if not _STAMP.fullmatch(stamp):
        return None
    midnight = _midnight(stamp[:8])
    return None if midnight is None else midnight + int(stamp[9:11]) * 3600 + int(stamp[11:13]) * 60 + int(stamp[13:15])


@lru_cache(maxsize=64)
def _midnight(day: str) -> int | None:
    """`20261121`, when it begins; None where there is no such day."""
    try:
        return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def stamp_of(moment: int) -> str:
    """The other way round: seconds since the epoch, up to the year 9999."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y%m%dT%H%M%SZ}"


def _distinct(*values: bytes) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(values))
