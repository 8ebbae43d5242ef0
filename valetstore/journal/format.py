"""What a log file holds, byte by byte: groups of records, each sealed; and what a broken one still tells.

Rule 1: pure. Files are read here through an open stream, never opened, written or synced.
Rule 2: a group is whole or it is nothing. Its header has a check of its own, so that a wrong length is told
from a file that ends too early; the checks are seeded with the log's id, so that no group of another log,
left in a block of the disk, is taken for one of this.
Rule 3: what is behind a group that is not whole was never acknowledged, because group n+1 is written only
after n is synced. A whole group behind a broken one therefore proves damage, whatever the mark says.

    group  = "vjg1" sequence:u64 time:f64 length:u32 crc:u32 | record ... | seal     (little-endian)
    record = length:u16 crc:u32 payload
    seal   = crc:u32, eight times
    log    = group ... zeros

Zeros up to the end of the file are room for what comes next. A group that is lost among them is missed by its number.

The first group (sequence 0) holds one record: BEGIN, the format's version and the log's random id. A record
has a check of its own for what Rule 2 gives up: a torn group's whole records can still be told from noise. The seal
is longer than it need be, so that a file that lost its last few bytes has lost no record with them.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import BinaryIO, Final, Literal, NamedTuple

VERSION: Final = 1
MAGIC: Final = b"vjg1"
BEGIN: Final = b"valetstore log\n"
ID_BYTES: Final = 16
RECORD_BYTES_MAX: Final = 0xFFFF

_HEADER: Final = Struct("<4sQdI")
_CRC: Final = Struct("<I")
_FRAME: Final = Struct("<HI")
_BEGIN: Final = Struct(f"<{len(BEGIN)}sH{ID_BYTES}s")
HEADER_BYTES: Final = _HEADER.size + _CRC.size
SEAL_BYTES: Final = 8 * _CRC.size
GROUP_BYTES: Final = HEADER_BYTES + SEAL_BYTES
"""What a group takes beside its records."""
FRAME_BYTES: Final = _FRAME.size
"""What a record takes beside its payload."""

_MARK: Final = Struct(f"<4s{ID_BYTES}sQ{ID_BYTES}sQ")
_MARK_MAGIC: Final = b"vjm1"
_NO_LOG: Final = b"\0" * ID_BYTES

End = Literal["clean", "cut", "bad"]
"""How a file ends: at a group's end, inside a group that is whole so far, or with something that is no group."""


class Found(NamedTuple):
    """What a file holds: whole groups up to `length`, the last of them `sequence`; then `rest`.

    `log_id` is None where not even the first group is whole. `clock` is the highest time of any group,
    `last_bytes` the size of the last whole group. `why` says what is wrong with the next one.
    """

    log_id: bytes | None
    sequence: int
    length: int
    last_bytes: int
    clock: float
    end: End
    why: str
    rest: bytes


class Mark(NamedTuple):
    """The highest acknowledged sequence, for each log that may lie under the name (two during a switch)."""

    acknowledged: dict[bytes, int]

    def pack(self) -> bytes:
        """As the mark's file holds it: always of one size, so that it is replaced in one write."""
        slots = [*self.acknowledged.items(), (_NO_LOG, 0)][:2]
        text = _MARK.pack(_MARK_MAGIC, *slots[0], *slots[1])
        return text + _CRC.pack(zlib.crc32(text))


def unpack_mark(text: bytes) -> Mark | None:
    """None where it is not whole."""
    if len(text) != _MARK.size + _CRC.size or text[_MARK.size :] != _CRC.pack(zlib.crc32(text[: _MARK.size])):
        return None
    magic, one, first, other, second = _MARK.unpack_from(text)
    if magic != _MARK_MAGIC:
        return None
    return Mark({log_id: sequence for log_id, sequence in ((one, first), (other, second)) if log_id != _NO_LOG})


def seed_of(log_id: bytes) -> int:
    """What the checks of a log's groups start from."""
    return zlib.crc32(log_id)


def frame(record: bytes) -> bytes:
    """A record as a group's body holds it. Raises ValueError where it is empty or over 65,535 bytes."""
    if not 0 < len(record) <= RECORD_BYTES_MAX:
        raise ValueError(f"a record has 1 to {RECORD_BYTES_MAX} bytes, not {len(record)}")
    return _FRAME.pack(len(record), zlib.crc32(record)) + record


def framed(records: Iterable[bytes]) -> list[bytes]:
    """As `frame`, for many whose sizes are known to fit."""
    crc32, pack = zlib.crc32, _FRAME.pack
    return [pack(len(record), crc32(record)) + record for record in records]


def group(seed: int, sequence: int, now: float, framed: Iterable[bytes]) -> bytes:
    """A group of framed records."""
    body = b"".join(framed)
    header = _HEADER.pack(MAGIC, sequence, now, len(body))
    check = zlib.crc32(header, seed)
    # The body's check goes on from the header's: a body under another header does not fit.
    return b"".join((header, _CRC.pack(check), body, _seal(body, check)))


def first_group(log_id: bytes, now: float) -> bytes:
    """The group a log begins with. Its checks are not seeded: the id is read from it."""
    return group(0, 0, now, [frame(_BEGIN.pack(BEGIN, VERSION, log_id))])


def scan(file: BinaryIO, each: Callable[[bytes], None]) -> Found:
    """Read a log from its beginning, and hand every record of its whole groups on, in order.

    Raises OSError, and ValueError where it is of a newer format.
    """
    log_id, seed, length, last_bytes, clock = None, 0, 0, 0, 0.0
    sequence = -1
    read, unpack, crc32 = file.read, _HEADER.unpack_from, zlib.crc32
    while True:
        header = read(HEADER_BYTES)
        body = b""
        if len(header) < HEADER_BYTES:
            end: End = "cut" if header else "clean"
            why = "is cut short" if header else "is missing"
            break
        magic, number, time, size = unpack(header)
        check = crc32(header[: _HEADER.size], seed)
        if magic != MAGIC or header[_HEADER.size :] != _CRC.pack(check) or number != sequence + 1:
            end, why = "bad", "has no valid header"
            break
        body = read(size + SEAL_BYTES)
        if len(body) < size + SEAL_BYTES:
            end, why = "cut", "is cut short"
            break
        if body[size:] != _seal(body[:size], check):
            end, why = "bad", "does not fit its checksum"
            break
        if log_id is None:
            log_id = _begun(body[FRAME_BYTES:size])
            if log_id is None:
                end, why = "bad", "is no beginning of a log"
                break
            seed = seed_of(log_id)
        else:
            for record in records(body[:size]):
                each(record)
        sequence = number
        last_bytes = GROUP_BYTES + size
        length += last_bytes
        clock = max(clock, time)
    rest = header + body + read()
    if end != "clean" and not rest.strip(b"\0"):
        end, why, rest = "clean", "is missing", b""
    return Found(log_id, sequence, length, last_bytes, clock, end, why, rest)


def _seal(body: bytes, check: int) -> bytes:
    return _CRC.pack(zlib.crc32(body, check)) * (SEAL_BYTES // _CRC.size)


def records(body: bytes) -> Iterator[bytes]:
    """The payloads in the body of a whole group."""
    at, end = 0, len(body)
    while at < end:
        start = at + FRAME_BYTES
        at = start + (body[at] | body[at + 1] << 8)
        yield body[start:at]


def salvage(data: bytes) -> Iterator[bytes]:
    """Every record that is whole by itself, in any stretch of a log: for what no group vouches for any more."""
    at = data.find(MAGIC)
    while at >= 0:
        start = at + HEADER_BYTES
        while start + FRAME_BYTES <= len(data):
            size, check = _FRAME.unpack_from(data, start)
            record = data[start + FRAME_BYTES : start + FRAME_BYTES + size]
            if not size or len(record) < size or zlib.crc32(record) != check:
                break
            if not record.startswith(BEGIN):
                yield record
            start += FRAME_BYTES + size
        at = data.find(MAGIC, max(start, at + 1))


def time_of_torn(rest: bytes, log_id: bytes) -> float:
    """The time a torn group carries, where its header is whole; else 0."""
    return max((time for at, _, time in _headers(rest, log_id) if at == 0), default=0.0)


def has_later_group(rest: bytes, log_id: bytes, sequence: int) -> bool:
    """Whether behind the group that is not whole there is the header of a later one (see Rule 3)."""
    return any(number > sequence for _, number, _ in _headers(rest, log_id))


def _headers(data: bytes, log_id: bytes) -> Iterator[tuple[int, int, float]]:
    """Every valid header of this log: where, its sequence, its time."""
    seed = seed_of(log_id)
    at = data.find(MAGIC)
    while 0 <= at <= len(data) - HEADER_BYTES:
        header = data[at : at + HEADER_BYTES]
        if header[_HEADER.size :] == _CRC.pack(zlib.crc32(header[: _HEADER.size], seed)):
            _, number, time, _ = _HEADER.unpack_from(header)
            yield at, number, time
        at = data.find(MAGIC, at + 1)


def _begun(payload: bytes) -> bytes | None:
    """The log's id, from its first record; None where it is no such record."""
    if len(payload) != _BEGIN.size or not payload.startswith(BEGIN):
        return None
    _, version, log_id = _BEGIN.unpack(payload)
    if version > VERSION:
        raise ValueError(f"is of format {version}, and this valetstore knows {VERSION}")
    return bytes(log_id)
