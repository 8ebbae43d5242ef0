"""Checksums that S3's clients vouch for: which a request declares, what must be computed, whether it holds.

Rule 1: a checksum that was declared is checked, in a header or in a trailer; nothing is kept that fails it.
Rule 2: one body has one checksum. What a client cannot have meant is refused before the body.
"""

import base64
import hashlib
from collections.abc import Mapping
from hmac import compare_digest
from typing import Final

import msgspec

from valetstore.edge.replies import Header
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage.promise import CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, Checksum

ALGORITHMS: Final[Mapping[str, int]] = {CRC32: 4, CRC32C: 4, CRC64NVME: 8, SHA1: 20, SHA256: 32}
"""Bytes of each, by the name that the store has for it; S3 writes them in capitals, and in small letters in headers."""

PREFIX: Final = "x-amz-checksum-"
# Headers of the same beginning that say something about a checksum and are none.
_ABOUT: Final = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"})
FULL_OBJECT: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"

# What SDKs compute where they sign a URL and have no body yet.
_OF_NOTHING: Final[Mapping[str, bytes]] = {
    CRC32: bytes(4),
    CRC32C: bytes(4),
    CRC64NVME: bytes(8),
    SHA1: hashlib.sha1(b"", usedforsecurity=False).digest(),
    SHA256: hashlib.sha256(b"").digest(),
}
_TRAP: Final = (
    " It is the checksum of an empty body, which some SDKs put into a URL that they sign before there is a body: "
    "set their requestChecksumCalculation (request_checksum_calculation) to WHEN_REQUIRED and sign again."
)


class Declared(msgspec.Struct, frozen=True):
    """What a request says of its body's checksum: `algorithm` is one of ALGORITHMS, "" where it says nothing.

    `value` is None where it comes in a trailer. `md5` is what Content-MD5 promises.
    """

    algorithm: str = ""
    value: bytes | None = None
    md5: bytes | None = None

    @property
    def digests(self) -> frozenset[str]:
        """What the body must be hashed with to be judged."""
        return frozenset(name for name in (self.algorithm, MD5 if self.md5 is not None else "") if name)

    def check(self, digests: Mapping[str, bytes], trailers: Mapping[str, str]) -> Checksum | None:
        """What the uploader vouched for, proven by the body's digests; None where it said nothing.

        Raises `digest_mismatch` (BadDigest), `parameter_invalid` for a trailer that is missing or no checksum.
        """
        if self.md5 is not None and not compare_digest(self.md5, digests[MD5]):
            raise Denied("digest_mismatch", "Its md5 differs.", digest=MD5, computed=digests[MD5].hex())
        if not self.algorithm:
            return None
        promised = self._in_trailer(trailers) if self.value is None else self.value
        computed = digests[self.algorithm]
        if not compare_digest(promised, computed):
            said = f"The {self.algorithm.upper()} you specified did not match the calculated checksum."
            if promised == _OF_NOTHING[self.algorithm]:
                said += _TRAP
            raise Denied("digest_mismatch", said, digest=self.algorithm, computed=computed.hex()).saying(
                "BadDigest", said
            )
        return Checksum(self.algorithm, text_of(computed))

    def _in_trailer(self, trailers: Mapping[str, str]) -> bytes:
        name = PREFIX + self.algorithm
        if name not in trailers:
            raise Denied("parameter_invalid", f"The trailer {name} is missing.").saying("MalformedTrailerError")
        return _decoded(name, trailers[name], self.algorithm, "trailing header")


_NOTHING: Final = Declared()


def declared(inbound: Inbound) -> Declared:
    """The checksum that a body is sent with, by header or announced as a trailer, and its Content-MD5.

    Raises `parameter_invalid` (InvalidRequest, InvalidDigest).
    """
    if not inbound.further_names:
        md5 = _content_md5(inbound)
        return _NOTHING if md5 is None else Declared(md5=md5)
    sent = [name for name in _named(inbound) if name not in _ABOUT]
    trailers = [name.strip().lower() for name in (inbound.header("x-amz-trailer") or "").split(",") if name.strip()]
    for name in (*sent, *trailers):
        if name.removeprefix(PREFIX) not in ALGORITHMS:
            if name in sent:
                raise _invalid(f"The algorithm type you specified in {PREFIX} header is invalid.")
            raise _invalid("The value specified in the x-amz-trailer header is not supported")
    if len(sent) + len(trailers) > 1:
        said = f"Expecting a single {PREFIX} header"
        is_one_of_each = len(sent) == len(trailers) == 1
        raise _invalid(said if is_one_of_each else f"{said}. Multiple checksum Types are not allowed.")
    algorithm = (*sent, *trailers)[0].removeprefix(PREFIX) if sent or trailers else ""
    _check_sdk_algorithm(inbound, algorithm)
    value = _decoded(sent[0], inbound.header(sent[0]) or "", algorithm, "header") if sent else None
    return Declared(algorithm, value, _content_md5(inbound))


def asked_algorithm(inbound: Inbound) -> str:
    """x-amz-checksum-algorithm: the checksum a copy or an upload in parts is to have; "" where none is asked for."""
    value = inbound.header("x-amz-checksum-algorithm")
    if value is None:
        return ""
    if value.lower() not in ALGORITHMS:
        raise _invalid(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )
    return value.lower()


def asked_kind(inbound: Inbound) -> tuple[str, bool]:
    """What an upload in parts is to have: the algorithm ("" for none), and whether it is over the parts' checksums."""
    algorithm, kind = asked_algorithm(inbound), inbound.header("x-amz-checksum-type")
    if kind is None:
        return algorithm, algorithm not in ("", CRC64NVME)
    if not algorithm:
        raise _invalid("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
    return algorithm, checked_kind(algorithm, kind) == COMPOSITE


def checked_kind(algorithm: str, kind: str) -> str:
    """FULL_OBJECT or COMPOSITE, where the algorithm can be that. Raises `parameter_invalid` (InvalidRequest)."""
    kind = kind.upper()
    if kind not in (FULL_OBJECT, COMPOSITE):
        raise _invalid("Value for x-amz-checksum-type header is invalid.")
    # Only a CRC of the whole can be had from those of its parts.
    if (kind == FULL_OBJECT and algorithm in (SHA1, SHA256)) or (kind == COMPOSITE and algorithm == CRC64NVME):
        raise _invalid(f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.")
    return kind


def known(checksum: Checksum | None) -> Checksum | None:
    """A checksum of S3's; None for one that another dialect's client has vouched for."""
    return checksum if checksum is not None and checksum.algorithm in ALGORITHMS else None


def checksum_headers(checksum: Checksum | None) -> list[Header]:
    """A checksum as responses carry it."""
    checksum = known(checksum)
    if checksum is None:
        return []
    return [(PREFIX + checksum.algorithm, checksum.value), ("x-amz-checksum-type", kind_of(checksum))]


def text_of(digest: bytes) -> str:
    """As S3 writes a checksum."""
    return base64.b64encode(digest).decode()


def kind_of(checksum: Checksum) -> str:
    """FULL_OBJECT or COMPOSITE."""
    return COMPOSITE if checksum.parts else FULL_OBJECT


def member_of(algorithm: str) -> str:
    """Its name as a member of S3's XML: `ChecksumCRC32`."""
    return f"Checksum{algorithm.upper()}"


def _named(inbound: Inbound) -> list[str]:
    """Headers that begin as a checksum does, each once per value sent."""
    names = (name.decode("latin-1").lower() for name, _ in inbound.headers)
    return [name for name in names if name.startswith(PREFIX)]


def _check_sdk_algorithm(inbound: Inbound, algorithm: str) -> None:
    said = inbound.header("x-amz-sdk-checksum-algorithm")
    if said is None:
        return
    # MD5 is what older SDKs say of their Content-MD5.
    if said.lower() == MD5:
        return
    if said.lower() not in ALGORITHMS or (algorithm and said.lower() != algorithm):
        raise _invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    if not algorithm:
        raise _invalid(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found."
        )


def _decoded(name: str, text: str, algorithm: str, where: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        data = b""
    if len(data) != ALGORITHMS[algorithm]:
        raise _invalid(f"Value for {name} {where} is invalid.")
    return data


def _content_md5(inbound: Inbound) -> bytes | None:
    text = inbound.header("content-md5")
    if text is None:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if len(data) != 16:
        raise Denied("parameter_invalid", "Content-MD5 is not the base64 of 16 bytes.").saying("InvalidDigest")
    return data


def _invalid(said: str) -> Denied:
    return Denied("parameter_invalid", said).saying("InvalidRequest", said)
