"""Messages between processes: whole, in order, many a system call."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from valetstore.owner.channel import Channel, encode


class Word(msgspec.Struct, array_like=True):
    """A message."""

    text: str


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel[Word], Channel[Word], list[str], asyncio.Event]]:
    """Two ends, what the second hears, and whether it has ended."""
    heard: list[str] = []
    ended = asyncio.Event()
    one: Channel[Word] = Channel(Word, lambda _: None, lambda: None)
    other: Channel[Word] = Channel(Word, lambda word: heard.append(word.text), ended.set)
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    await loop.create_unix_connection(lambda: one, sock=left)
    await loop.create_unix_connection(lambda: other, sock=right)
    try:
        yield one, other, heard, ended
    finally:
        one.close()
        other.close()
        await asyncio.wait_for(ended.wait(), 5)


async def until(heard: list[str], count: int) -> None:
    async with asyncio.timeout(10):
        while len(heard) < count:
            await asyncio.sleep(0.005)


def test_messages_of_any_size_arrive_whole_and_in_order() -> None:
    async def story() -> None:
        async with pair() as (one, _, heard, _ended):
            words = [str(n) * (n * n % 5_000) for n in range(300)] + ["x" * 3_000_000, "last"]
            for word in words:
                one.send(Word(word))
            await until(heard, len(words))
            assert heard == words

    asyncio.run(story())


def test_what_arrives_in_pieces_is_put_together() -> None:
    async def story() -> None:
        heard: list[str] = []
        channel: Channel[Word] = Channel(Word, lambda word: heard.append(word.text), lambda: None)
        stream = b"".join(len(t).to_bytes(4, "little") + t for t in map(encode, (Word("a"), Word("b" * 300), Word(""))))
        for at in range(len(stream)):
            channel.data_received(stream[at : at + 1])
        assert heard == ["a", "b" * 300, ""]

    asyncio.run(story())


def test_what_is_said_before_the_end_is_heard_and_the_end_too() -> None:
    async def story() -> None:
        async with pair() as (one, _, heard, ended):
            one.send(Word("goodbye"))
            one.close()
            await asyncio.wait_for(ended.wait(), 5)
            assert heard == ["goodbye"]
            one.send(Word("into the void"))

    asyncio.run(story())
