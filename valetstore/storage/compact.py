"""Compact: the attribute of an ordinary object, in so few bytes that it needs no room of its own on the disk.

ext4 keeps an attribute in the file's inode where it fits: 60 bytes, with this one's name and inodes of 256 bytes. A
larger one takes a block of 4 KiB, for each object, which is allocated, and goes through the journal as well. (XFS and
btrfs have more room there.)

    version, flags, digests, checksum     a byte each
    size, modification time               8 bytes each, little-endian; nanoseconds since the epoch
    the digests                           in the order of _DIGESTS, as many as `digests` has bits
    the entity tag                        16 bytes, where it is random
    the content type                      text, or one byte of _TYPES; nothing where there is none

Rule 1: what is packed says all that is known of the object, or it is not packed.
Rule 2: both tables only ever grow at their ends: they are on disks.
"""

import base64
import struct
from typing import Final

from valetstore.storage.promise import CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, Checksum, Metadata, ObjectInfo
from valetstore.storage.tags import RANDOM_BYTES, drawn_for, md5_tag, random_tag

VERSION: Final = 2
"""The first byte. A record in msgpack begins with 0x80 or more."""

_DIGESTS: Final = ((MD5, 16), (CRC64NVME, 8), (CRC32, 4), (CRC32C, 4), (SHA1, 20), (SHA256, 32), ("sha512", 64))
"""Names and bytes. The checksum that an uploader gave is the number of one of them, from 1."""
_NUMBERS: Final = {name: number for number, (name, _) in enumerate(_DIGESTS, 1)}
_TYPES: Final = (
    "application/octet-stream",
    "text/plain; charset=utf-8",
    "text/html; charset=utf-8",
    "application/json; charset=utf-8",
    "application/x-www-form-urlencoded",
)
"""Those that are common and long, as one byte each: no type begins with a byte below a space."""

_FRONT: Final = struct.Struct("<BBBBQq")
_ASKED_MD5_TAG: Final = 1
_HAS_MD5_TAG: Final = 2


def pack(info: ObjectInfo) -> bytes | None:
    """What is known of an object; None where there is more than has a place here."""
    kept, digests = info.metadata, info.digests
    if kept.headers or kept.user or kept.upload or info.parts:
        return None
    values, bits = [], 0
    for number, (name, length) in enumerate(_DIGESTS):
        if name in digests and len(digests[name]) == length:
            values.append(digests[name])
            bits |= 1 << number
    checksum = 0 if kept.checksum is None else _number_of(kept.checksum, digests)
    tag, kind = _tag(info), _type(kept.content_type)
    if len(values) != len(digests) or checksum is None or tag is None or kind is None:
        return None
    flags = _ASKED_MD5_TAG * kept.md5_etag | _HAS_MD5_TAG * (not tag)
    front = _FRONT.pack(VERSION, flags, bits, checksum, info.size, info.modified_ns)
    return b"".join((front, *values, tag, kind))


def _number_of(checksum: Checksum, digests: dict[str, bytes]) -> int | None:
    """Which of the digests it is, in base64; None where it is none of them."""
    digest = digests.get(checksum.algorithm)
    if digest is None or checksum.parts or base64.b64encode(digest).decode() != checksum.value:
        return None
    return _NUMBERS.get(checksum.algorithm)


def _tag(info: ObjectInfo) -> bytes | None:
    """The random part of an entity tag; b"" where it is the MD5, None where it is another one."""
    return b"" if MD5 in info.digests and info.etag == md5_tag(info.digests) else drawn_for(info.etag)


def _type(content_type: str | None) -> bytes | None:
    if content_type is None:
        return b""
    if content_type in _TYPES:
        return bytes([_TYPES.index(content_type)])
    return content_type.encode() if content_type >= " " else None


def unpack(raw: bytes) -> ObjectInfo:
    """What `pack` was given; raises ValueError for what it cannot have made."""
    try:
        version, flags, bits, checksum, size, modified_ns = _FRONT.unpack_from(raw)
        rest = raw[_FRONT.size :]
        digests: dict[str, bytes] = {}
        for number, (name, length) in enumerate(_DIGESTS):
            if bits >> number & 1:
                digests[name], rest = rest[:length], rest[length:]
        if flags & _HAS_MD5_TAG:
            etag = md5_tag(digests)
        else:
            etag, rest = random_tag(rest[:RANDOM_BYTES]), rest[RANDOM_BYTES:]
        kept = Metadata(_type_of(rest), md5_etag=bool(flags & _ASKED_MD5_TAG), checksum=_checksum(checksum, digests))
    except (struct.error, LookupError, UnicodeDecodeError) as error:
        raise ValueError(f"no attribute of this kind: {error}") from error
    info = ObjectInfo(size, etag, modified_ns, kept, digests)
    # Short, long, or with bits that mean nothing: none of these comes back as it was.
    if version != VERSION or pack(info) != raw:
        raise ValueError("no attribute of this kind")
    return info


def _type_of(rest: bytes) -> str | None:
    if not rest:
        return None
    return _TYPES[rest[0]] if rest[0] < ord(" ") and len(rest) == 1 else rest.decode()


def _checksum(number: int, digests: dict[str, bytes]) -> Checksum | None:
    if not number:
        return None
    name, _ = _DIGESTS[number - 1]
    return Checksum(name, base64.b64encode(digests[name]).decode())
