"""Bodies of S3's requests: how long they are said to be, and the small ones that an operation reads whole.

Rule 1: a small body is proven as an object's is (length, pace, framing, every digest that was promised) before anyone
parses it.
"""

from collections.abc import Mapping

from valetstore.edge.call import Call
from valetstore.edge.document import whole_body
from valetstore.edge.receive import BodySource
from valetstore.edge.s3.checksums import Declared, declared
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.grants.s3.scheme import length_of
from valetstore.policy.body import BodyRules
from valetstore.storage.checksums import new
from valetstore.storage.promise import SHA256


async def small(call: Call, bytes_max: int, promised: Declared | None = None) -> bytes:
    """A whole body of at most `bytes_max`, proven; `promised` where the request's checksums are not this body's.

    Raises `too_large` (MaxMessageLengthExceeded), `parameter_invalid` (MissingContentLength, a malformed checksum),
    `digest_mismatch`, and what `receive` raises.
    """
    length = announced(call.admission)
    promised = declared(call.inbound) if promised is None else promised
    if length > bytes_max:
        raise _too_long(bytes_max)
    body, trailers = await _read(call, length, bytes_max)
    _prove(call, promised, body, trailers)
    return body


async def empty(call: Call) -> None:
    """There is no body, and what was signed of it is true of none. Raises as `small` does."""
    body, _ = await _read(call, None, 0)
    _prove(call, Declared(), body, {})


def announced(admission: Admission) -> int:
    """The announced length of what the body holds, in bytes. Raises `parameter_invalid` (411)."""
    proof = admission.body
    length = proof.length if proof is not None else length_of(admission.inbound)
    if length is None:
        raise Denied("parameter_invalid", "Content-Length is missing.").saying("MissingContentLength")
    return length


def is_open_ended(admission: Admission) -> bool:
    """Whether the body comes in HTTP's own chunks, without a word on its length: it ends where it says."""
    chunked = b"transfer-encoding" in admission.inbound.header_names
    return chunked and admission.body is None and length_of(admission.inbound) is None


async def _read(call: Call, length: int | None, bytes_max: int) -> tuple[bytes, Mapping[str, str]]:
    source = BodySource(call.exchange, length, call.admission.body)
    try:
        body = await whole_body(call, source, BodyRules(0, bytes_max, ()))
    except Denied as denied:
        raise (_too_long(bytes_max) if denied.code == "too_large" else denied) from None
    return body, source.trailers


def _prove(call: Call, promised: Declared, body: bytes, trailers: Mapping[str, str]) -> None:
    signed = call.admission.grant.sha256
    names = promised.digests | ({SHA256} if signed is not None else frozenset())
    digests = {name: _digest(name, body) for name in names}
    if signed is not None:
        BodyRules(0, len(body), ((SHA256, signed),)).check_whole(len(body), digests)
    promised.check(digests, trailers)


def _digest(algorithm: str, body: bytes) -> bytes:
    hashing = new(algorithm)
    hashing.update(body)
    return hashing.digest()


def _too_long(bytes_max: int) -> Denied:
    return Denied("too_large", f"At most {bytes_max} bytes.", size_max=bytes_max).saying(
        "MaxMessageLengthExceeded", MaxMessageLengthBytes=str(bytes_max)
    )
