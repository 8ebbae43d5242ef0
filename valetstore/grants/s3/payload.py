"""What x-amz-content-sha256 says of a body: its hash, nothing, or that it comes in chunks (aws-chunked).

Sources: Amazon S3 API reference, "Signature Calculations for the Authorization Header", "PutObject".
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.grants.grant import BodyProof
from valetstore.grants.s3.body import TRAILERS_MAX, Chunks, Framing, Streaming
from valetstore.grants.s3.promote import promoted
from valetstore.grants.sigv4 import UNSIGNED_PAYLOAD
from valetstore.inbound import Inbound

HEADER: Final = "x-amz-content-sha256"

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_CHECKSUM: Final = "x-amz-checksum-"

# In the order in which S3 lists them.
STREAMING: Final[Mapping[str, Framing]] = {
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": Framing(is_signed=False, has_trailers=True),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": Framing(is_signed=True, has_trailers=False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": Framing(is_signed=True, has_trailers=True),
}
_ECDSA: Final = ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER")


def check_payload(value: str) -> None:
    """Raise `parameter_invalid` for what x-amz-content-sha256 cannot say, `not_implemented` for ECDSA."""
    if value == UNSIGNED_PAYLOAD or value in STREAMING or _HASH.fullmatch(value):
        return
    if value in _ECDSA:
        said = "A header you provided implies functionality that is not implemented"
        raise Denied("not_implemented", "ECDSA signatures.").saying("NotImplemented", said, 501, Header=HEADER)
    said = f"{HEADER} must be {UNSIGNED_PAYLOAD}, {', '.join((*STREAMING, *_ECDSA))} or a valid sha256 value."
    raise Denied("parameter_invalid", said).saying(
        "InvalidArgument", said, 400, ArgumentName=HEADER, ArgumentValue=value
    )


def body_of(value: str, streaming: Callable[[], Streaming], inbound: Inbound) -> tuple[bytes | None, BodyProof | None]:
    """What a body must hash to, and what it must prove while it arrives; "" says neither.

    Raises `parameter_invalid`, `not_implemented`.
    """
    if value in ("", UNSIGNED_PAYLOAD):
        return None, None
    check_payload(value)
    if value not in STREAMING:
        return bytes.fromhex(value), None
    inbound = promoted(inbound)
    return None, Chunks(STREAMING[value], streaming(), _decoded_length(inbound), _announced(inbound))


def _decoded_length(inbound: Inbound) -> int:
    text = inbound.header("x-amz-decoded-content-length")
    if text is None:
        raise _length_missing("x-amz-decoded-content-length is missing.")
    try:
        return wire_int(text)
    except ValueError:
        raise _length_missing("x-amz-decoded-content-length is not a number of bytes.") from None


def _length_missing(reason: str) -> Denied:
    said = "You must provide the Content-Length HTTP header."
    return Denied("parameter_invalid", reason).saying("MissingContentLength", said, 411)


def _announced(inbound: Inbound) -> frozenset[str]:
    """The names in x-amz-trailer, behind which commas count for nothing; raises `parameter_invalid`."""
    listed = (inbound.header("x-amz-trailer") or "").strip(" \t").rstrip(",")
    found = frozenset(name.strip(" \t").lower() for name in listed.split(",")) if listed else frozenset()
    if not all(name.startswith(_CHECKSUM) for name in found) or len(found) > TRAILERS_MAX:
        said = "The value specified in the x-amz-trailer header is not supported"
        raise Denied("parameter_invalid", said).saying("InvalidRequest", said, 400)
    return found
