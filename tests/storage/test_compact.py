"""The attribute of ordinary objects: what it says, how long it is, and that disks stay readable."""

import base64
import os
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.storage import compact, metadata
from valetstore.storage.promise import Checksum, Metadata, ObjectInfo

IN_THE_INODE_BYTES: Final = 60
LENGTHS: Final = {"md5": 16, "crc64nvme": 8, "crc32": 4, "crc32c": 4, "sha1": 20, "sha256": 32, "sha512": 64}
MD5: Final = bytes(range(16))
TAGS: Final = (f'"{MD5.hex()}"', f'"{MD5.hex()}-v"', '"0123-4"', '"abc"', f'"{MD5.hex().upper()}-v"', '""')
DIGESTS: Final = st.dictionaries(st.sampled_from([*LENGTHS, "crc16"]), st.binary(min_size=4, max_size=4)).map(
    lambda found: {name: (value * 16)[: LENGTHS.get(name, 2)] for name, value in found.items()}
)
TYPES: Final = st.one_of(
    st.none(), st.text(), st.sampled_from([*compact._TYPES, "image/jpeg", "", "\x00", "\x01x", "caf\xe9/x"])
)
CHECKSUMS: Final = st.one_of(
    st.none(),
    st.builds(Checksum, st.sampled_from(sorted(LENGTHS)), st.text(max_size=3), st.integers(0, 1)),
    st.sampled_from(sorted(LENGTHS)),
)


@st.composite
def infos(draw: st.DrawFn) -> ObjectInfo:
    """Of objects of all kinds, many of them ordinary."""
    digests = draw(DIGESTS)
    checksum = draw(CHECKSUMS)
    if isinstance(checksum, str):  # the one that the uploader gave and is kept
        value = base64.b64encode(digests.get(checksum, b"")).decode()
        checksum = Checksum(checksum, value, draw(st.sampled_from([0, 0, 0, 2])))
    further: dict[str, Any] = draw(
        st.sampled_from([{}, {}, {}, {"headers": {"expires": "0"}}, {"user": {"a": ""}}, {"upload": "u"}])
    )
    kept = Metadata(draw(TYPES), md5_etag=draw(st.booleans()), checksum=checksum, **further)
    tag = draw(st.sampled_from([*TAGS, *([f'"{digests["md5"].hex()}"'] * 4 if "md5" in digests else [])]))
    size, modified_ns = draw(st.integers(0, 2**64 - 1)), draw(st.integers(-(2**63), 2**63 - 1))
    return ObjectInfo(size, tag, modified_ns, kept, digests, draw(st.sampled_from([0, 0, 0, 1])))


@given(infos())
def test_what_is_packed_is_all_that_is_known(info: ObjectInfo) -> None:
    raw = compact.pack(info)
    if raw is not None:
        assert compact.unpack(raw) == info


@given(infos(), st.integers(0, 200), st.binary(max_size=3), st.integers(0, 30))
def test_what_was_not_packed_is_not_taken_for_it(info: ObjectInfo, at: int, junk: bytes, cut: int) -> None:
    """Cut, longer, with other bytes in it: of another object, or of none, and never one that reads in two ways."""
    raw = compact.pack(info) or bytes([compact.VERSION]) + bytes(19)
    spoiled = raw[:at] + junk + raw[at + cut :]
    try:
        found = compact.unpack(spoiled)
    except ValueError:
        return
    assert compact.pack(found) == spoiled


def kept(size: int, **more: Any) -> ObjectInfo:
    """An object with an MD5, as S3's clients upload it."""
    described = Metadata(md5_etag=True, **more)
    return ObjectInfo(size, f'"{MD5.hex()}"', 1_795_000_000_123_456_789, described, {"md5": MD5})


@pytest.mark.parametrize("content_type", [*compact._TYPES, "image/jpeg", "application/json", None])
@pytest.mark.parametrize("size", [0, 1024, 2**43])
def test_an_ordinary_object_needs_no_block_of_its_own(content_type: str | None, size: int) -> None:
    of_s3 = kept(size, content_type=content_type)
    native = ObjectInfo(size, f'"{MD5.hex()}-v"', of_s3.modified_ns, Metadata(content_type), {"crc64nvme": bytes(8)})
    for info in (of_s3, native):
        assert len(metadata.encode(info)) <= IN_THE_INODE_BYTES


def test_the_checksum_that_sdks_send_unasked_has_room() -> None:
    info = kept(5, content_type="image/png", checksum=Checksum("crc32", base64.b64encode(b"abcd").decode()))
    info = msgspec.structs.replace(info, digests={"md5": MD5, "crc32": b"abcd"})
    assert len(metadata.encode(info)) <= IN_THE_INODE_BYTES


COMPACT: Final = bytes.fromhex(
    "02 03 01 00 0004000000000000 154d2f63fd1ee918 000102030405060708090a0b0c0d0e0f 00".replace(" ", "")
)
"""As this program wrote it when it began to, and as it was before that."""
PACKED: Final = {
    "v": 1,
    "size": 1024,
    "mtime_ns": 1_795_000_000_123_456_789,
    "etag": f'"{MD5.hex()}"',
    "digests": {"md5": MD5},
    "content_type": "application/octet-stream",
    "md5_etag": True,
}


@pytest.mark.parametrize("raw", [COMPACT, msgspec.msgpack.encode(PACKED)], ids=["compact", "msgpack"])
def test_what_is_on_a_disk_is_read(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"a" * 1024)
    os.setxattr(file, metadata.ATTRIBUTE, raw)
    os.utime(file, ns=(0, 1_795_000_000_123_456_789))
    with file.open("rb") as opened:
        found = metadata.read(opened.fileno(), os.fstat(opened.fileno()), "x")
    assert found == kept(1024, content_type="application/octet-stream")
    assert metadata.encode(found) == COMPACT


def test_what_cannot_be_sent_is_not_read(tmp_path: Path) -> None:
    """Whoever may write the file may write the attribute."""
    file = tmp_path / "x"
    file.write_bytes(b"a" * 1024)
    os.setxattr(file, metadata.ATTRIBUTE, COMPACT[:-1] + b"a/b\r\nX-Evil: 1")
    with file.open("rb") as opened:
        assert metadata.stored(opened.fileno()) is None
