"""Digests and CRCs by the promise's names, fed as bytes arrive; and the CRC of a whole from those of its parts.

Rule 1: a CRC is told as big-endian bytes, as the vendors send it.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Final, NamedTuple, Protocol

from awscrt import checksums

from valetstore.storage.promise import CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256


class Hash(Protocol):
    """What takes bytes and tells their digest so far."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Count these bytes in."""

    def digest(self) -> bytes:
        """Of all bytes so far."""


class _Polynomial(NamedTuple):
    """A reflected CRC with all bits inverted before and after: `reversed_bits` is its polynomial, lowest power first.

    Widths and polynomials: RFC 1952 section 8 (CRC-32), RFC 9260 appendix A (CRC-32C), NVM Express NVM Command Set
    Specification 1.0 section 5.2.1.3.4 (CRC-64/NVME).
    """

    width: int
    reversed_bits: int
    run: Callable[[bytes | memoryview, int], int]


_POLYNOMIALS: Final[Mapping[str, _Polynomial]] = {
    CRC32: _Polynomial(32, 0xEDB88320, zlib.crc32),  # as fast as the other, and it lets other threads run
    CRC32C: _Polynomial(32, 0x82F63B78, checksums.crc32c),
    CRC64NVME: _Polynomial(64, 0x9A6C9329AC4BC9B5, checksums.crc64nvme),
}

CRCS: Final = frozenset(_POLYNOMIALS)
"""Those of `promise.DIGESTS` that `combined` can combine."""


class _Crc:
    def __init__(self, polynomial: _Polynomial) -> None:
        self._polynomial = polynomial
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._polynomial.run(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._polynomial.width // 8, "big")


def kept(asked: frozenset[str]) -> frozenset[str]:
    """What is computed of a body of which these digests are asked, `promise.DIGESTS`: at least one, for a scrub to find
    rot by. CRC-64/NVME costs a thirtieth of what SHA-256 costs, and no rot is known that it would miss.
    """
    return asked or _RATHER_THAN_NONE


_RATHER_THAN_NONE: Final = frozenset({CRC64NVME})

_BY_STRENGTH: Final = ("sha512", SHA256, SHA1, MD5, CRC64NVME, CRC32C, CRC32)


def strongest(digests: Mapping[str, bytes]) -> str | None:
    """Which of these digests says most about the bytes; None where there is none that is known here."""
    return next((algorithm for algorithm in _BY_STRENGTH if algorithm in digests), None)


def new(algorithm: str) -> Hash:
    """One of `promise.DIGESTS`, of no bytes yet. Raises ValueError for another name."""
    usual = _USUAL.get(algorithm)
    if usual is not None:
        return usual(usedforsecurity=False)
    polynomial = _POLYNOMIALS.get(algorithm)
    return _Crc(polynomial) if polynomial else hashlib.new(algorithm, usedforsecurity=False)


# `hashlib.new` looks for each anew.
_USUAL: Final[Mapping[str, Callable[..., Hash]]] = {MD5: hashlib.md5, SHA1: hashlib.sha1, SHA256: hashlib.sha256}


# --- the CRC of a whole ----------------------------------------------------------------------------
#
# A CRC is a remainder modulo its polynomial over GF(2). To put n bytes after some others multiplies these by
# x^(8n); the inversions before and after cancel out. So crc(a + b) = crc(a) * x^(8 len(b)) + crc(b).


def combined(algorithm: str, pieces: Iterable[tuple[bytes, int]]) -> bytes:
    """The CRC of a whole, from the (CRC, number of bytes) of its pieces in order; `algorithm` is one of CRCS."""
    polynomial = _POLYNOMIALS[algorithm]
    whole = 0
    for digest, count in pieces:
        shifted = _product(polynomial, whole, _power(algorithm, count)) if whole else 0
        whole = shifted ^ int.from_bytes(digest, "big")
    return whole.to_bytes(polynomial.width // 8, "big")


def _product(polynomial: _Polynomial, one: int, other: int) -> int:
    """Of two polynomials modulo the CRC's; the highest bit is x^0, as in the CRC itself."""
    product = 0
    bit = 1 << (polynomial.width - 1)
    while bit:
        if one & bit:
            product ^= other
        other = (other >> 1) ^ (polynomial.reversed_bits if other & 1 else 0)
        bit >>= 1
    return product


@cache
def _squares(algorithm: str) -> list[int]:
    """x^8 (one byte), and each one the square of the one before: enough for any size of 64 bits."""
    polynomial = _POLYNOMIALS[algorithm]
    squares = [1 << (polynomial.width - 9)]
    for _ in range(63):
        squares.append(_product(polynomial, squares[-1], squares[-1]))
    return squares


@lru_cache(256)
def _power(algorithm: str, count: int) -> int:
    """x^(8 count). Remembered: the parts of an upload but the last have mostly one size."""
    polynomial = _POLYNOMIALS[algorithm]
    power = 1 << (polynomial.width - 1)
    for square in _squares(algorithm):
        if count & 1:
            power = _product(polynomial, power, square)
        count >>= 1
        if not count:
            break
    return power
