"""Waiting: one caller's wait for what `claim_soon` tells, in a coroutine."""

import asyncio

from valetstore.errors import Denied


class Waiting:
    """Hand on `told`, then wait for `end`. One that is cancelled hurts nobody else: what it waits for is its own."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end: asyncio.Future[Denied | None] = asyncio.get_running_loop().create_future()

    def told(self, denied: Denied | None) -> None:
        """How it ended; None where it went well."""
        if not self._end.done():
            self._end.set_result(denied)

    async def end(self) -> None:
        """Raises what was told."""
        if denied := await self._end:
            raise denied
