"""Room: how much of an upload's maximum is left while several of its parts are on their way at once.

Rule 1: a part that would make the whole larger than its maximum is refused before its first byte.
Rule 2: parts that arrive at the same time count together; those in other workers count once they are stored. So a disk
holds of one upload at most its maximum in each worker; what exceeds the maximum can never be completed.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable

from valetstore.errors import Denied

Stored = Callable[[Collection[Hashable]], Awaitable[int]]
"""The bytes of the parts that are stored, those left out that are named."""


class Room:
    """What is on its way in this worker: (part, bytes) by upload."""

    def __init__(self) -> None:
        self._arriving: dict[Hashable, list[tuple[Hashable, int]]] = {}

    @contextlib.asynccontextmanager
    async def held(
        self, upload: Hashable, part: Hashable, length: int, most: int | None, stored: Stored
    ) -> AsyncIterator[None]:
        """While a part of `length` bytes arrives; `most` is what the whole may have. Raises `too_large`."""
        if most is None:
            yield
            return
        entry = (part, length)
        arriving = self._arriving.setdefault(upload, [])
        arriving.append(entry)
        try:
            size = sum(count for _, count in arriving)
            size += await stored({named for named, _ in arriving})
            if size > most:
                raise Denied("too_large", f"At most {most} bytes.", size=size, size_max=most)
            yield
        finally:
            arriving.remove(entry)
            if not arriving:
                self._arriving.pop(upload, None)
