"""Records of used keys: what is written is read, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.replay.records import (
    IDENTITY_BYTES,
    KEEP_MAX,
    RECORD_BYTES,
    Clock,
    Entry,
    Trusted,
    clock_record,
    entry_record,
    read_record,
    trusted_record,
)

UINT32 = st.integers(0, 2**32 - 1)
IDENTITIES = st.binary(min_size=IDENTITY_BYTES, max_size=IDENTITY_BYTES)
MOMENTS = st.floats(0, 1e10)
WINDOWS = st.none() | st.tuples(st.ip_addresses().map(str), MOMENTS)


@given(IDENTITIES, st.integers(0, 2**60), UINT32, WINDOWS)
def test_an_entry_is_read_as_it_was_written(
    identity: bytes, keep: int, used: int, window: tuple[str, float] | None
) -> None:
    record = entry_record(identity, keep, used, window)
    assert read_record(record) == Entry(int.from_bytes(identity, "big"), min(keep, KEEP_MAX), used, window)
    assert len(record) == RECORD_BYTES + (0 if window is None else 8 + len(window[0]))


@given(MOMENTS)
def test_a_moment_is_read_as_it_was_written(moment: float) -> None:
    assert read_record(clock_record(moment)) == Clock(moment)
    assert read_record(trusted_record(moment)) == Trusted(moment)


@pytest.mark.parametrize(
    "record",
    [b"\0", b"\4" + bytes(8), clock_record(1)[:-1], trusted_record(1) + b"\0", entry_record(bytes(16), 1, 1)[:-1]]
    + [entry_record(bytes(16), 1, 1) + bytes(extra) for extra in range(1, 8)],
)
def test_what_is_no_record_is_refused_by_its_kind_and_length(record: bytes) -> None:
    with pytest.raises(ValueError, match=rf"unknown kind \({record[0]}, {len(record)} bytes\)"):
        read_record(record)
