"""Digests and CRCs are those of the standards, and the CRC of a whole follows from those of its pieces."""

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.storage import checksums
from valetstore.storage.promise import DIGESTS

CHECK = b"123456789"
"""What the catalogue of CRCs (Greg Cook, reveng.sourceforge.io/crc-catalogue) gives its check values for."""
CHECKED = {"crc32": "cbf43926", "crc32c": "e3069283", "crc64nvme": "ae8b14860a799888"}


def digest_of(algorithm: str, *chunks: bytes) -> bytes:
    found = checksums.new(algorithm)
    for chunk in chunks:
        found.update(chunk)
    return found.digest()


@pytest.mark.parametrize("algorithm", sorted(CHECKED))
def test_a_crc_has_the_check_value_of_its_catalogue(algorithm: str) -> None:
    assert digest_of(algorithm, CHECK).hex() == CHECKED[algorithm]


@pytest.mark.parametrize("algorithm", sorted(DIGESTS))
def test_every_digest_of_the_promise_can_be_fed_in_pieces(algorithm: str) -> None:
    assert digest_of(algorithm, CHECK[:4], b"", CHECK[4:]) == digest_of(algorithm, CHECK)
    assert digest_of(algorithm) == digest_of(algorithm, b"")
    if algorithm not in checksums.CRCS:
        assert digest_of(algorithm, CHECK) == hashlib.new(algorithm, CHECK).digest()


def test_another_name_is_no_digest() -> None:
    with pytest.raises(ValueError, match="crc16"):
        checksums.new("crc16")


@given(st.sampled_from(sorted(checksums.CRCS)), st.lists(st.binary(max_size=3000), max_size=6))
def test_the_crc_of_a_whole_is_that_of_its_pieces_combined(algorithm: str, pieces: list[bytes]) -> None:
    known = [(digest_of(algorithm, piece), len(piece)) for piece in pieces]
    assert checksums.combined(algorithm, known) == digest_of(algorithm, *pieces)


@given(st.sampled_from(sorted(checksums.CRCS)), st.binary(min_size=1, max_size=20), st.integers(0, 2_000_000))
def test_pieces_may_be_long(algorithm: str, first: bytes, zeros: int) -> None:
    rest = bytes(zeros)
    known = [(digest_of(algorithm, first), len(first)), (digest_of(algorithm, rest), zeros)]
    assert checksums.combined(algorithm, known) == digest_of(algorithm, first, rest)


def test_sizes_are_not_limited_by_what_fits_memory() -> None:
    """2^40 zero bytes are 2^20 times 2^20 of them, in whatever order they are put together."""
    for algorithm in checksums.CRCS:
        block = (digest_of(algorithm, bytes(2**20)), 2**20)
        for _ in range(20):
            block = (checksums.combined(algorithm, [block, block]), 2 * block[1])
        first = (digest_of(algorithm, b"x"), 1)
        whole = checksums.combined(algorithm, [first, block])
        half = (checksums.combined(algorithm, [first, (b"", 0)]), 1)
        assert whole == checksums.combined(algorithm, [half, block])
        assert len(whole) == len(zlib.crc32(b"").to_bytes(4)) * (2 if algorithm == "crc64nvme" else 1)
