"""Durations and sizes as people write them: `15m`, `1h30m`, `10MiB`."""

import re
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"(?:([0-9]{1,10})([smhdw]))(?:([0-9]{1,10})([smhdw]))?", re.ASCII)
_BYTES: Final = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SIZE: Final = re.compile(r"([0-9]{1,15})\s*([A-Za-z]{0,3})", re.ASCII)


def parse_duration(text: str) -> int:
    """Seconds from `90`, `90s`, `15m`, `1h30m`, `7d`, `2w`. Raises ValueError that says what is allowed."""
    if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII):
        return int(text)
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a duration: write seconds, or a number with s, m, h, d or w (15m, 1h30m)")
    count, unit, count2, unit2 = found.groups()
    return int(count) * _SECONDS[unit] + (int(count2) * _SECONDS[unit2] if count2 else 0)


def parse_size(text: str) -> int:
    """Bytes from `1000`, `10kB`, `10MiB`. Raises ValueError that says what is allowed."""
    found = _SIZE.fullmatch(text)
    if not found or found[2].lower() not in _BYTES:
        raise ValueError(f"{text!r} is not a size: write bytes, or a number with kB, MB, GB, KiB, MiB or GiB")
    return int(found[1]) * _BYTES[found[2].lower()]


def show_duration(seconds: float) -> str:
    """`3700` as `1h 1m`: the two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts) or "0s"


def show_size(count: int) -> str:
    """`10485760` as `10 MiB`."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"
