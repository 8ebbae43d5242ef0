"""What is kept beside an object's bytes: one extended attribute, set before the file has a name.

Rule 1: the attribute names the size and mtime it belongs to. A file edited in place is not what it says.
Rule 2: a file without a (readable, matching) attribute is served with what the file system knows.
Rule 3: of an object's record only its part table may be elsewhere: where it does not fit, the attribute names the
file that holds it (`spill.py`).
"""

import errno
import hashlib
import mimetypes
import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from valetstore.errors import Denied
from valetstore.storage import compact
from valetstore.storage.promise import DIGESTS, KEPT_HEADERS, MD5, Checksum, Metadata, ObjectInfo, Part
from valetstore.storage.tags import md5_tag, new_tag

ATTRIBUTE: Final = "user.valetstore"
RECORD_BYTES_MAX: Final = 4_000
"""What fits into the one block that ext4 gives a file's attributes."""

_VERSION: Final = 1
_COMPACT: Final = bytes([compact.VERSION])
_UNTYPED: Final = "application/octet-stream"
_ROWS_MAX: Final = 96
"""More part rows than this never fit the attribute: an MD5 each."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One part of an object that was uploaded in parts. Its entity tag is its MD5, which is among the digests."""

    number: int
    size: int
    modified_ns: int
    digests: dict[str, bytes]
    label: str = ""

    def part(self) -> Part:
        """As the promise tells it."""
        return Part(self.number, self.size, md5_tag(self.digests), self.modified_ns, self.digests, self.label)


def row_of(part: Part) -> Row:
    """What is kept of a part."""
    return Row(part.number, part.size, part.modified_ns, part.digests, part.label)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The attribute's content, as msgpack or, where that has room for all of it, in the form of `compact.py`.

    `v` is the version of this shape; a newer one is not read.
    `parts` is how many parts the object came in; their table is here or, where it did not fit, in the `spill` file.
    """

    v: int
    size: int
    mtime_ns: int
    etag: str
    digests: dict[str, bytes] = {}
    content_type: str | None = None
    headers: dict[str, str] = {}
    user: dict[str, str] = {}
    md5_etag: bool = False
    checksum: Checksum | None = None
    upload: str = ""
    parts: int = 0
    table: tuple[Row, ...] = ()
    spill: str = ""

    def belongs_to(self, state: os.stat_result) -> bool:
        """Whether the file is still the one this was written for."""
        return self.size == state.st_size and self.mtime_ns == state.st_mtime_ns


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode


def describe(
    size: int, mtime_ns: int, metadata: Metadata, digests: Mapping[str, bytes], parts: Sequence[Row] = ()
) -> ObjectInfo:
    """The state a finished upload will have, with its entity tag. `parts` are those it is made of."""
    return ObjectInfo(
        size=size,
        etag=_etag(metadata, digests, parts),
        modified_ns=mtime_ns,
        metadata=metadata,
        digests=dict(digests),
        parts=len(parts),
    )


_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]*"')
_TOKEN: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]*", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CHECKSUM: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}(-[0-9]{1,5})?", re.ASCII)
_SPILL: Final = re.compile(r"([0-9a-f]{32})?", re.ASCII)


def _etag(metadata: Metadata, digests: Mapping[str, bytes], parts: Sequence[Row]) -> str:
    if not metadata.own_etag:
        if parts:
            return whole_tag(parts)
        if metadata.md5_etag:
            return md5_tag(digests)
    return new_tag()


def whole_tag(parts: Sequence[Row]) -> str:
    """The entity tag of an object made of these parts, as S3 gives it: the MD5 of their MD5s, and how many."""
    whole = hashlib.md5(b"".join(part.digests[MD5] for part in parts), usedforsecurity=False)
    return f'"{whole.hexdigest()}-{len(parts)}"'


def encode(info: ObjectInfo, table: Sequence[Row] = (), spill: str = "") -> bytes:
    """The attribute's content, with the part table or where it is. Raises `metadata_too_large`."""
    raw = None if table or spill else compact.pack(info)
    if raw is None:
        raw = _encode(_record(info, table, spill))
    if len(raw) > RECORD_BYTES_MAX:
        raise Denied("metadata_too_large", f"It takes {len(raw)} bytes of {RECORD_BYTES_MAX}.")
    return raw


def fits(info: ObjectInfo, table: Sequence[Row]) -> bool:
    """Whether the attribute has room for the part table."""
    return len(table) <= _ROWS_MAX and len(_encode(_record(info, table))) <= RECORD_BYTES_MAX


def _record(info: ObjectInfo, table: Sequence[Row] = (), spill: str = "") -> Record:
    metadata = info.metadata
    return Record(
        v=_VERSION,
        size=info.size,
        mtime_ns=info.modified_ns,
        etag=info.etag,
        digests=info.digests,
        content_type=metadata.content_type,
        headers=metadata.headers,
        user=metadata.user,
        md5_etag=metadata.md5_etag,
        checksum=metadata.checksum,
        upload=metadata.upload,
        parts=info.parts,
        table=tuple(table),
        spill=spill,
    )


def attach(fd: int, raw: bytes) -> None:
    """Set the attribute on a file. Raises `metadata_too_large` where the file system holds less."""
    try:
        os.setxattr(fd, ATTRIBUTE, raw)
    except OSError as error:
        if error.errno in {errno.E2BIG, errno.ERANGE}:
            raise Denied("metadata_too_large", error=error.strerror) from error
        raise


def stored(fd: int) -> Record | None:
    """The record a file carries, whether or not it still belongs to it; None where there is none."""
    raw = _attribute(fd)
    if raw[:1] == _COMPACT:
        info = _ordinary(raw)
        return None if info is None else _record(info)
    return _further(raw)


def _attribute(fd: int) -> bytes:
    """As it is on the file; b"" where there is none."""
    try:
        return os.getxattr(fd, ATTRIBUTE)
    except OSError as error:
        # ERANGE and E2BIG: somebody else's giant value. The others: no attribute, or no support for any.
        if error.errno in {errno.ENODATA, errno.ENOTSUP, errno.ERANGE, errno.E2BIG}:
            return b""
        raise


def _ordinary(raw: bytes) -> ObjectInfo | None:
    """What `compact.pack` has packed; None where it cannot have, or a client may not be told."""
    try:
        info = compact.unpack(raw)
    except ValueError:
        return None
    return None if _CONTROL.search(info.metadata.content_type or "") else info


def _further(raw: bytes) -> Record | None:
    """What needs more room; None where `encode` cannot have written it."""
    try:
        record = _decode(raw)
    except (msgspec.DecodeError, ValueError):
        return None
    return record if record.v == _VERSION and _is_sendable(record) else None


def _is_sendable(record: Record) -> bool:
    """Whether it is what `encode` could have written: whoever may write the file may write the attribute."""
    texts = (record.content_type or "", *record.headers.values(), *record.user.values())
    return (
        _ETAG.fullmatch(record.etag) is not None
        and record.headers.keys() <= KEPT_HEADERS
        and all(_TOKEN.fullmatch(name) for name in record.user)
        and not any(_CONTROL.search(text) for text in texts)
        and (record.checksum is None or _is_checksum(record.checksum))
        and _SPILL.fullmatch(record.spill) is not None
        and record.parts >= 0
        and all(MD5 in row.digests for row in record.table)
    )


def _is_checksum(checksum: Checksum) -> bool:
    return checksum.algorithm in DIGESTS and _CHECKSUM.fullmatch(checksum.value) is not None


def read(fd: int, state: os.stat_result, name: str) -> ObjectInfo:
    """What is known of an open file; `state` is its fstat, `name` the object's."""
    raw = _attribute(fd)
    info = _ordinary(raw) if raw[:1] == _COMPACT else _told(_further(raw))
    if info is None or info.size != state.st_size or info.modified_ns != state.st_mtime_ns:
        return _as_the_file_system_knows(state, name)
    return info


def _told(record: Record | None) -> ObjectInfo | None:
    """What a record says of the object, its part table left out."""
    if record is None:
        return None
    metadata = Metadata(
        record.content_type, record.headers, record.user, record.md5_etag, record.checksum, record.upload
    )
    return ObjectInfo(record.size, record.etag, record.mtime_ns, metadata, record.digests, record.parts)


def _as_the_file_system_knows(state: os.stat_result, name: str) -> ObjectInfo:
    etag = f'"{state.st_mtime_ns:x}-{state.st_size:x}-{state.st_ino:x}"'
    return ObjectInfo(state.st_size, etag, state.st_mtime_ns, Metadata(guess_type(name)))


# An instance of our own: Python's table, not whatever /etc/mime.types says on this machine.
_TYPES: Final = mimetypes.MimeTypes()


def guess_type(name: str) -> str:
    """A content type from the end of a name; `application/octet-stream` where it says nothing."""
    leaf = name.rpartition("/")[2]
    # Only the extension: `guess_type` reads names as URLs, and `data:` ones specially.
    kind, coding = _TYPES.guess_type(f"x{leaf[leaf.rfind('.') :]}" if "." in leaf else "x", strict=False)
    if coding:
        return "application/gzip" if coding == "gzip" else _UNTYPED
    return kind or _UNTYPED
