"""Settled: whether a change from now on would have another stamp than the one that is there.

File systems stamp by ticks, and two changes within one tick look alike. So what is judged by its stamps may only be
remembered once the last change is older than a tick, with room to spare for one that was under way.
"""

from typing import Final

SETTLED_NS: Final = 100_000_000
"""How old the last change must be: the kernel's ticks are 10 ms at most."""

SETTLED_COARSE_NS: Final = 3_000_000_000
"""The same where stamps are coarser: of FAT they are 2 s, of old file systems 1 s, of exFAT 10 ms."""

_COARSE_NS: Final = 10_000_000


def is_settled(modified_ns: int, changed_ns: int, now_ns: int) -> bool:
    """By the stamps of a file or folder (st_mtime_ns, st_ctime_ns) and the time now, since the epoch. A stamp without
    any small part is taken for one of a coarse file system; one in the future is never settled.
    """
    is_coarse = modified_ns % _COARSE_NS == 0 or changed_ns % _COARSE_NS == 0
    margin = SETTLED_COARSE_NS if is_coarse else SETTLED_NS
    return now_ns - max(modified_ns, changed_ns) >= margin
