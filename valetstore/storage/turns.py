"""Turns: long steps that keep a processor busy, a few of a bucket at a time; who else has one waits on the event loop.

Rule 1: no more of them than keep the processors busy. A thread that was put aside while it held the interpreter's lock
gets no further before the others have had their time, and the event loop waits for that lock.
Rule 2: by bucket, so that a disk that hangs holds up no other.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """By bucket: as many at a time as there are processors."""

    def __init__(self) -> None:
        self._at_once = len(os.sched_getaffinity(0))
        self._lines: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    @asynccontextmanager
    async def of(self, bucket: str) -> AsyncIterator[None]:
        """Wait for a turn, in order of arrival, and have it."""
        line = self._lines.setdefault(bucket, (asyncio.Semaphore(self._at_once), []))
        turn, all_of_them = line
        all_of_them.append(None)
        try:
            async with turn:
                yield
        finally:
            all_of_them.pop()
            if not all_of_them:
                del self._lines[bucket]
