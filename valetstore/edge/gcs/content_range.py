"""What a request says of its place in a resumable upload: a piece of the object, or a question for how much there is.

Source: Google Cloud, "Perform resumable uploads"; the form is RFC 9110 section 14.4's, with `*` for a total to come.
"""

import re
from typing import Final, NamedTuple

from valetstore.edge.nodes import argument_invalid
from valetstore.errors import Denied
from valetstore.inbound import Inbound

QUANTUM_BYTES: Final = 256 * 1024
"""What every chunk but the last is a multiple of."""

_PIECE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)
_TO_THE_END: Final = re.compile(r"bytes ([0-9]{1,19})-\*/([0-9]{1,19}|\*)", re.ASCII)
"""As @google-cloud/storage sends it where it uploads in one piece: the object ends where the body does."""
_STATUS: Final = re.compile(r"bytes \*/([0-9]{1,19}|\*)", re.ASCII)


class Piece(NamedTuple):
    """Bytes from `first` on: `length` of them, of an object's `total`; None where the head does not say.

    `is_last` says that the object ends with them.
    """

    first: int = 0
    length: int | None = None
    total: int | None = None
    is_last: bool = True


class Question(NamedTuple):
    """How much has arrived? Where that is the `total`, the object is whole."""

    total: int | None


def piece_of(inbound: Inbound, body_length: int | None) -> Piece | Question:
    """What a PUT to a session means; `body_length` is what it announces. Raises `parameter_invalid`."""
    text = inbound.header("content-range")
    if text is None:
        return Piece(0, body_length, body_length)
    question = _STATUS.fullmatch(text)
    if question:
        if body_length:
            raise argument_invalid("A question for the status has no body.", "Content-Range", text)
        return Question(_number(question[1]))
    rest = _TO_THE_END.fullmatch(text)
    if rest:
        return _rest_of(int(rest[1]), _number(rest[2]), body_length, text)
    found = _PIECE.fullmatch(text)
    if not found:
        said = (
            "It is `bytes first-last/total`, `bytes first-last/*`, `bytes first-*/*`, `bytes */total` or `bytes */*`."
        )
        raise argument_invalid(said, "Content-Range", text)
    first, last, total = int(found[1]), int(found[2]), _number(found[3])
    if last < first or (total is not None and last >= total):
        raise argument_invalid("The last byte lies within the object, behind the first.", "Content-Range", text)
    piece = Piece(first, last - first + 1, total, total is not None and last + 1 == total)
    if body_length is not None and body_length != piece.length:
        raise argument_invalid("The body has another length than the range.", "Content-Range", text)
    if not piece.is_last and (last - first + 1) % QUANTUM_BYTES:
        raise _uneven(last - first + 1)
    return piece


def _rest_of(first: int, total: int | None, body_length: int | None, text: str) -> Piece:
    """All from `first` to the object's end, wherever that is. Raises `parameter_invalid`."""
    if total is None:
        return Piece(first, body_length, None if body_length is None else first + body_length)
    if total < first or body_length not in (None, total - first):
        raise argument_invalid("The body has another length than the range.", "Content-Range", text)
    return Piece(first, total - first, total)


def range_of(persisted: int) -> str | None:
    """The value of Range in an answer: what has arrived; None for nothing."""
    return f"bytes=0-{persisted - 1}" if persisted else None


def _number(text: str) -> int | None:
    return None if text == "*" else int(text)


def _uneven(length: int) -> Denied:
    said = (
        f"Invalid request. The number of bytes uploaded is required to be a multiple of {QUANTUM_BYTES}, except for "
        f"the final request. The received request contained {length} bytes, which does not meet this requirement."
    )
    return Denied("parameter_invalid", said).saying("InvalidArgument", Details=said)
