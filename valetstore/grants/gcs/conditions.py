"""What signed headers ask of a request: x-goog-content-length-range, x-goog-if-generation-match, x-goog-content-sha256.

Rule: these are read only where every `x-goog-` header that came is signed: an unsigned one is refused before.

Sources: Google Cloud, "HTTP headers and common query string parameters for XML".
"""

import re
from typing import Final, NamedTuple

from valetstore.encoding import wire_int
from valetstore.grants.gcs import fault
from valetstore.grants.gcs.operations import PUT, START
from valetstore.grants.sigv4 import UNSIGNED_PAYLOAD
from valetstore.inbound import Inbound

LENGTH_RANGE: Final = "x-goog-content-length-range"
GENERATION: Final = "x-goog-if-generation-match"
PAYLOAD: Final = "x-goog-content-sha256"

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class Conditions(NamedTuple):
    """The bytes an object may have (both ends; None for any), whether it may only be made anew, its SHA-256."""

    length_min: int = 0
    length_max: int | None = None
    create_only: bool = False
    sha256: bytes | None = None


def conditions_of(inbound: Inbound, action: str) -> Conditions:
    """What the headers of an upload ask; nothing of other operations. Raises `parameter_invalid`."""
    if action not in (PUT, START):
        return Conditions()
    low, high = _length(inbound.header(LENGTH_RANGE))
    generation = inbound.header(GENERATION)
    # Generation 0 is no object; any other one the operation compares with what is there.
    create_only = generation is not None and generation.strip(" \t") == "0"
    # The body of the request that begins a session is none of the object's.
    return Conditions(low, high, create_only, _sha256(inbound.header(PAYLOAD)) if action == PUT else None)


def _length(text: str | None) -> tuple[int, int | None]:
    """`0,1048576`: both ends included."""
    if text is None:
        return 0, None
    try:
        low, high = (wire_int(end.strip(" \t")) for end in text.split(","))
    except ValueError:
        low, high = 1, 0
    if low > high:
        raise fault.argument(f"{LENGTH_RANGE} is the smallest and the largest number of bytes: 0,1048576.")
    return low, high


def _sha256(text: str | None) -> bytes | None:
    if text is None or text == UNSIGNED_PAYLOAD:
        return None
    if not _HASH.fullmatch(text):
        raise fault.argument(f"{PAYLOAD} is {UNSIGNED_PAYLOAD} or the body's SHA-256 in hexadecimal digits.")
    return bytes.fromhex(text)
