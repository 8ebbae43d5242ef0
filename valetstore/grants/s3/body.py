"""aws-chunked: a body in chunks that may be signed one by one, with trailers that may be signed after them.

Rule 1: bytes are handed on as they come, and are proved by the chunk's signature or not at all: whoever takes them
keeps nothing before `finish` has returned.
Rule 2: whatever the sizes are in which bytes arrive, what is held back is one unfinished line, which is bounded.

Sources: Amazon S3 API reference, "Transferring Payload in Multiple Chunks (Chunked Upload)" and "Including trailing
headers".
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.grants.s3.credential import mismatch, shown

CHUNK_BYTES_MIN: Final = 8192
"""All chunks but the last have as many or more."""
LINE_BYTES_MAX: Final = 1024
REST_BYTES_MAX: Final = 1024
"""Bytes behind the end of unsigned chunks that are passed over, as S3 does. Behind signed ones there can be none."""
TRAILERS_MAX: Final = 8

_EMPTY: Final = hashlib.sha256().hexdigest()
_UNSIGNED_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,16})")
# S3 passes over space around the `;` and the `=`. What is no signature is read as one, which cannot hold.
_SIGNED_CHUNK: Final = re.compile(
    rb"([0-9a-fA-F]{1,16})[ \t]{0,8};[ \t]{0,8}chunk-signature[ \t]{0,8}=[ \t]{0,8}([0-9A-Za-z]{1,128})[ \t]{0,8}"
)
_TRAILER: Final = re.compile(rb"([A-Za-z0-9-]{1,64}):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*")
_TERMINATED: Final = "The request body terminated unexpectedly"
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


class Framing(NamedTuple):
    """Whether chunks (and trailers) are signed, and whether trailers follow the last chunk."""

    is_signed: bool
    has_trailers: bool


class Streaming(NamedTuple):
    """What chunks are signed with: the request's signing key, date and scope, and its own signature as the first."""

    key: bytes
    stamp: str
    scope: str
    seed: str
    access_key_id: str
    canonical: Callable[[], bytes] = bytes
    """The canonical request, for a refusal to show."""


class Chunks:
    """aws-chunked, read from any cuts of the bytes: a `BodyProof`. `length` is the announced one, in decoded bytes."""

    def __init__(self, framing: Framing, streaming: Streaming, length: int, announced: frozenset[str]) -> None:
        self.length: int | None = length
        self._framing = framing
        self._chain = _Chain(streaming)
        self._announced = announced
        self._left = length  # decoded bytes that no chunk has announced yet
        self._held = b""  # an unfinished line
        self._line: Callable[[bytes], None] | None = self._chunk_line
        self._number = self._size = 0  # of the chunk that is being read
        self._missing = 0  # bytes of it that have not arrived
        self._rest = 0  # bytes that came behind the end
        self._hash = hashlib.sha256()
        self._signature = b""
        self._trailers: dict[str, str] = {}
        self._is_whole = False

    def feed(self, data: bytes) -> list[bytes]:
        """See `BodyProof`. Raises `request_malformed`, `signature_mismatch`."""
        pieces: list[bytes] = []
        if self._held:
            data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            if self._missing:
                piece = data[at : at + self._missing]
                at += len(piece)
                self._missing -= len(piece)
                if self._framing.is_signed:
                    self._hash.update(piece)
                pieces.append(piece)
                continue
            if self._line is None:
                self._pass_over(len(data) - at)
                break
            end = data.find(b"\r\n", at, at + LINE_BYTES_MAX)
            if end < 0:
                self._hold(data[at:])
                break
            self._line(data[at:end])
            at = end + 2
        return pieces

    def finish(self) -> Mapping[str, str]:
        """See `BodyProof`. Raises `body_incomplete`, `request_malformed`, `signature_mismatch`."""
        if self._line == self._trailer_line and not self._held and self._has_all_trailers():
            self._end()  # without the empty line, which S3 does not miss
        if not self._is_whole:
            raise _incomplete(_TERMINATED)
        return self._trailers

    def _hold(self, rest: bytes) -> None:
        if len(rest) >= LINE_BYTES_MAX:
            raise _malformed("a line is too long")
        self._held = rest

    def _pass_over(self, count: int) -> None:
        self._rest += count
        if self._framing.is_signed or self._rest > REST_BYTES_MAX:
            raise _malformed("bytes follow the last chunk")

    def _chunk_line(self, line: bytes) -> None:
        """`size` or `size;chunk-signature=...`."""
        found = (_SIGNED_CHUNK if self._framing.is_signed else _UNSIGNED_CHUNK).fullmatch(line)
        if not found:
            raise _malformed("a chunk's first line is not well-formed")
        size = int(found[1], 16)
        if size > self._left:
            raise self._miscounted(size)
        if size and self._number and self._size < CHUNK_BYTES_MIN:
            raise _too_small(self._number + 1, self._size)  # S3 counts on to the chunk that shows it
        self._number, self._size, self._missing = self._number + 1, size, size
        self._left -= size
        self._signature = found[2] if self._framing.is_signed else b""
        if size:
            self._line = self._chunk_end
        else:
            self._last_chunk()

    def _chunk_end(self, line: bytes) -> None:
        """The line end behind a chunk's bytes."""
        if line:
            raise _malformed("a chunk is longer than its size")
        self._check_chunk()
        self._line = self._chunk_line

    def _last_chunk(self) -> None:
        if self._left:
            raise _incomplete(_TERMINATED) if self._framing.is_signed else self._miscounted(0)
        self._check_chunk()
        self._line = self._trailer_line

    def _miscounted(self, more: int) -> Denied:
        """The chunks hold other than x-amz-decoded-content-length says."""
        expected = self.length or 0
        said = "You did not provide the number of bytes specified by the Content-Length HTTP header"
        provided = expected - self._left + more
        return _incomplete(said, NumberBytesExpected=str(expected), NumberBytesProvided=str(provided))

    def _check_chunk(self) -> None:
        if self._framing.is_signed:
            self._chain.check_chunk(self._hash.hexdigest(), self._signature)
            self._hash = hashlib.sha256()

    def _trailer_line(self, line: bytes) -> None:
        """A trailer, or the empty line at the end."""
        if not line:
            self._end()
            return
        # minio-go ends a trailer with the line feed that is signed with it, and then ends the line.
        found = _TRAILER.fullmatch(line.removesuffix(b"\n"))
        if not found or not self._framing.has_trailers or _TRAILER_SIGNATURE in self._trailers:
            raise _trailer_malformed()
        name, value = found[1].decode().lower(), found[2].decode()
        is_signature = self._framing.is_signed and name == _TRAILER_SIGNATURE
        # S3 takes the last of several; of signed ones all are in what was signed, so there can be no two.
        is_repeated = self._framing.is_signed and name in self._trailers
        if is_repeated or not (name in self._announced or is_signature):
            raise _trailer_malformed()
        self._trailers[name] = value

    def _has_all_trailers(self) -> bool:
        signed = {_TRAILER_SIGNATURE} if self._framing.is_signed and self._framing.has_trailers else set()
        return bool(self._announced or not signed) and self._announced | signed <= self._trailers.keys()

    def _end(self) -> None:
        signature = self._trailers.pop(_TRAILER_SIGNATURE, None)
        if self._trailers.keys() != self._announced:
            raise _trailer_malformed()
        if self._framing.is_signed and self._framing.has_trailers:
            if signature is None:
                raise _trailer_malformed()
            self._chain.check_trailers(self._trailers, signature)
        self._line, self._is_whole = None, True


class _Chain:
    """Signatures of which each signs the one before it, beginning with the request's."""

    def __init__(self, streaming: Streaming) -> None:
        self._streaming = streaming
        self._before = streaming.seed

    def check_chunk(self, digest: str, signature: bytes) -> None:
        self._check("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY}\n{digest}", signature.decode())

    def check_trailers(self, trailers: Mapping[str, str], signature: str) -> None:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        self._check("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines.encode()).hexdigest(), signature)

    def _check(self, algorithm: str, last: str, signature: str) -> None:
        stamp, scope = self._streaming.stamp, self._streaming.scope
        text = f"{algorithm}\n{stamp}\n{scope}\n{self._before}\n{last}"
        made = hmac.digest(self._streaming.key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(made.encode(), signature.encode()):
            asked_by = self._streaming.access_key_id
            reason = "the signature of a chunk differs"
            raise mismatch(asked_by, signature, text.encode(), reason, **shown(self._streaming.canonical()))
        self._before = made


def _malformed(reason: str) -> Denied:
    return Denied("request_malformed", "Its chunks are not well-formed.", reason=reason).saying(
        "IncompleteBody", _TERMINATED, 400
    )


def _incomplete(said: str, **members: str) -> Denied:
    return Denied("body_incomplete", reason=said).saying("IncompleteBody", said, 400, **members)


def _trailer_malformed() -> Denied:
    said = "The request contained trailing data that was not well-formed or did not conform to our published schema."
    return Denied("request_malformed", said).saying("MalformedTrailerError", said, 400)


def _too_small(number: int, size: int) -> Denied:
    said = f"Only the last chunk is allowed to have a size less than {CHUNK_BYTES_MIN} bytes"
    return Denied("request_malformed", said).saying(
        "InvalidChunkSizeError", said, 403, Chunk=str(number), BadChunkSize=str(size)
    )
