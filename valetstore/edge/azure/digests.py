"""Digests in Azure's heads: what a body is sent with and must prove, what a reply tells.

Rule 1: a digest that was sent is checked, or refused where it is none; nothing is kept that fails it.
Azure's CRC64 is the CRC-64 of NVMe, in the base64 of its bytes from the lowest on; the store has them from the highest
on. Azure Storage REST reference, "Put Blob"; the SDK's `_shared/validation.py`.
"""

import base64
from collections.abc import Mapping
from hmac import compare_digest

from valetstore.edge.azure.voice import header_invalid
from valetstore.edge.replies import Header
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage.promise import CRC64NVME, MD5, ObjectInfo


class Promised:
    """What a head promises of its body beyond what `BodyRules` holds it to. Raises `parameter_invalid`."""

    def __init__(self, inbound: Inbound, *, is_blob: bool = True) -> None:
        md5 = promised_md5(inbound, "content-md5")  # `BodyRules` checks it; here it is told apart from other headers
        # Of a body that is the whole blob this is its MD5 as well; of blocks it is nobody's.
        self._md5 = promised_md5(inbound, "x-ms-blob-content-md5") if is_blob else None
        self._crc64 = promised_crc64(inbound)
        if md5 is not None and self._crc64 is not None:
            raise Denied("parameter_invalid", "A body is proven by an MD5 or a CRC64, not by both.").saying(
                "BothCrc64AndMd5HeaderPresent"
            )
        self._crc64_text = inbound.header("x-ms-content-crc64") or ""

    @property
    def hashes(self) -> frozenset[str]:
        """What the body must be hashed with to be judged."""
        wanted = {MD5: self._md5, CRC64NVME: self._crc64}
        return frozenset(name for name, promised in wanted.items() if promised is not None)

    def check(self, digests: Mapping[str, bytes]) -> None:
        """Raise `digest_mismatch` where the body is another."""
        for name, promised in ((MD5, self._md5), (CRC64NVME, self._crc64)):
            if promised is not None and not compare_digest(promised, digests[name]):
                computed = digests[name].hex()
                raise Denied("digest_mismatch", f"Its {name} differs.", digest=name, computed=computed)

    def told(self) -> list[tuple[str, str]]:
        """The CRC that was proven, as replies give it back."""
        return [("x-ms-content-crc64", self._crc64_text)] if self._crc64 is not None else []


def promised_md5(inbound: Inbound, name: str) -> bytes | None:
    """A header that is an MD5, decoded; None where it was not sent. Raises `parameter_invalid` (InvalidMd5)."""
    value = inbound.header(name)
    if value is None:
        return None
    digest = _decoded(value, 16)
    if digest is None:
        raise Denied("parameter_invalid", f"{name} is not the base64 of 16 bytes.").saying("InvalidMd5")
    return digest


def promised_crc64(inbound: Inbound) -> bytes | None:
    """x-ms-content-crc64 as the store tells a CRC, highest byte first; None where it was not sent.

    Azure's is the CRC-64 of NVMe, sent lowest byte first. Raises `parameter_invalid` (InvalidHeaderValue).
    """
    value = inbound.header("x-ms-content-crc64")
    if value is None:
        return None
    digest = _decoded(value, 8)
    if digest is None:
        raise header_invalid("x-ms-content-crc64", value)
    return digest[::-1]


def content_md5(info: ObjectInfo) -> bytes | None:
    """The MD5 of the whole blob: computed as it came in one piece, or vouched for; None where there is none."""
    checksum = info.metadata.checksum
    if checksum is not None and checksum.algorithm == MD5 and not checksum.parts:
        return base64.b64decode(checksum.value)
    return info.digests.get(MD5) if not info.parts else None


def md5_header(name: str, digest: bytes | None) -> list[Header]:
    """An MD5 as a header, where there is one."""
    return [(name, base64.b64encode(digest).decode())] if digest is not None else []


def crc64_header(digest: bytes) -> Header:
    """A CRC-64 of the store's as Azure tells it."""
    return ("x-ms-content-crc64", base64.b64encode(digest[::-1]).decode())


def _decoded(text: str, size: int) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        return None
    # Of the texts that decode to the same bytes only one is what an encoder writes.
    return data if len(data) == size and base64.b64encode(data).decode() == text else None
