"""A document that is read whole: kept in memory, and counted with all others that this process holds.

Rule 1: bytes count from when they arrive until the request is over: what was made of them lives as long.
Rule 2: who finds no room is told to come again; whoever has some keeps it, and its pace sees to its end.
"""

import time
from typing import Final

from valetstore.edge.call import Call
from valetstore.edge.exchange import Exchange
from valetstore.edge.receive import Source, ask_for_body, receive
from valetstore.errors import Denied
from valetstore.policy.body import BodyRules
from valetstore.replay.lease import Lease

HELD_BYTES_MAX: Final = 64 * 2**20
"""Of all documents in one process: eight of the longest, which Azure's block lists are. Parsed, they are some more."""
FREE_BYTES: Final = 16 * 2**10
"""Of each document so many are not counted: a few long ones must not keep out the short ones that most clients send.
How many of these there are the number of connections bounds."""


class Held:
    """How many bytes are held, of those that count."""

    def __init__(self, bytes_max: int = HELD_BYTES_MAX) -> None:
        self.bytes = 0
        self.bytes_max = bytes_max

    def take(self, count: int) -> None:
        """Hold so many more. Raises `overloaded`, and holds none of them then."""
        if self.bytes + count > self.bytes_max:
            raise Denied("overloaded", held=self.bytes, bytes_max=self.bytes_max)
        self.bytes += count

    def give(self, count: int) -> None:
        """Hold so many less."""
        self.bytes -= count


HELD: Final = Held()
"""By this process."""


class Document:
    """One document as it arrives: a `Sink`. What it holds is given back when its exchange is over."""

    def __init__(self, exchange: Exchange, held: Held = HELD) -> None:
        self._data = bytearray()
        self._held = held
        self._counted = 0
        exchange.at_end.append(self.let_go)

    async def write(self, data: bytes) -> None:
        """Keep it. Raises `overloaded`."""
        counted = max(0, len(self._data) + len(data) - FREE_BYTES)
        self._held.take(counted - self._counted)
        self._counted = counted
        self._data += data

    def whole(self) -> bytes:
        """All that came. It counts on: whoever asks has it now."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def let_go(self) -> None:
        """Hold nothing any more; harmless twice."""
        self._data = bytearray()
        count, self._counted = self._counted, 0
        self._held.give(count)


async def whole_body(call: Call, source: Source, rules: BodyRules) -> bytes:
    """A body, asked for and read to its end. Raises `overloaded`, and what `receive` raises."""
    document = Document(call.exchange)
    # Nothing is limited in reading: the operation holds the key's use, where it has one.
    free = Lease(call.services.gateway.replay, None, time.time)
    ask_for_body(call.exchange, call.inbound)
    try:
        await receive(call.exchange, source, rules, document, free, call.services.config.limits)
    except BaseException:
        document.let_go()  # the answer to what failed may take its time
        raise
    return document.whole()
