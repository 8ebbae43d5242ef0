"""One look at an object does for requests that were there before it, and for none that came later."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
import uvloop

from valetstore.edge.fastlane import FastLane
from valetstore.edge.glances import CONNECTIONS_MAX, Glances
from valetstore.grants.grant import Admission
from valetstore.objectkey import ObjectKey
from valetstore.storage.small import Small

LOOPS: Final[tuple[Callable[[], asyncio.AbstractEventLoop], ...]] = (asyncio.new_event_loop, uvloop.new_event_loop)


class Shelf:
    """A store that counts how often it was looked at, and shows that count."""

    def __init__(self) -> None:
        self.looks = 0
        self.is_there = True

    def small(self, admission: Admission) -> Small | None:
        self.looks += 1
        return Small(cast(Any, None), b"%d" % self.looks, (0,) * 5, "", 0, {}) if self.is_there else None


class Asked:
    """As much of an admission as is asked for."""

    def __init__(self, name: str) -> None:
        self.key = ObjectKey.of("b", name)


def admission(name: str = "one") -> Admission:
    return cast(Admission, Asked(name))


def body(glances: Glances, name: str = "one") -> bytes | None:
    small = glances.small(admission(name))
    return None if small is None else small.body


@pytest.mark.parametrize("new_loop", LOOPS)
def test_one_look_a_turn_at_each_object(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def turns() -> None:
        glances = Glances(Shelf(), lambda: 1)
        assert [body(glances), body(glances), body(glances, "two"), body(glances)] == [b"1", b"1", b"2", b"1"]
        await asyncio.sleep(0)
        assert [body(glances, "two"), body(glances), body(glances, "two")] == [b"3", b"4", b"3"]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(turns())


def test_what_is_not_there_is_looked_for_each_time() -> None:
    shelf = Shelf()
    shelf.is_there = False
    glances = Glances(shelf, lambda: 1)
    assert [body(glances), body(glances)] == [None, None]
    assert shelf.looks == 2


def test_where_the_loop_may_ask_twice_a_turn_each_request_has_its_own_look() -> None:
    async def turns() -> None:
        crowd = CONNECTIONS_MAX
        glances = Glances(Shelf(), lambda: crowd)
        assert body(glances) == body(glances) == b"1"
        await asyncio.sleep(0)
        crowd += 1
        assert [body(glances), body(glances)] == [b"2", b"3"]

    asyncio.run(turns())


class Reader(asyncio.Protocol):
    """A connection on which each piece that comes is a request."""

    def __init__(self, answer: Callable[[], None]) -> None:
        self._answer = answer

    def data_received(self, _data: bytes) -> None:
        self._answer()


async def closed(ours: Sequence[asyncio.BaseTransport], pairs: Sequence[tuple[socket.socket, socket.socket]]) -> None:
    """Both ends of all connections."""
    for transport in ours:
        transport.close()
    await asyncio.sleep(0)
    for theirs, _ in pairs:
        theirs.close()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_request_that_is_sent_after_a_look_has_another(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """What the loops promise and nobody writes down: what is called soon comes before all that is read later."""

    async def converse() -> list[bytes | None]:
        glances, seen = Glances(Shelf(), lambda: 1), list[bytes | None]()
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        pairs = [socket.socketpair() for _ in range(20)]

        def answer(number: int) -> None:
            seen.append(body(glances))
            if number + 1 < len(pairs):  # whoever sends now has heard the answer, or of it
                pairs[number + 1][0].send(b"x")
            else:
                over.set()

        made = [
            await loop.create_connection(lambda number=number: Reader(lambda: answer(number)), sock=ours)  # type: ignore[misc]
            for number, (_, ours) in enumerate(pairs)
        ]
        pairs[0][0].send(b"x")
        async with asyncio.timeout(10):
            await over.wait()
        await closed([transport for transport, _ in made], pairs)
        return seen

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(converse()) == [b"%d" % (number + 1) for number in range(20)]


@pytest.mark.parametrize("new_loop", LOOPS)
def test_requests_that_were_there_together_share_a_look(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def converse() -> int:
        shelf, over, left = Shelf(), asyncio.Event(), 20
        glances, loop = Glances(shelf, lambda: 1), asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(left)]

        def answer() -> None:
            nonlocal left
            left -= 1
            glances.small(admission())
            if not left:
                over.set()

        made = [await loop.create_connection(lambda: Reader(answer), sock=ours) for _, ours in pairs]
        await asyncio.sleep(0.01)
        for theirs, _ in pairs:
            theirs.send(b"x")
        async with asyncio.timeout(10):
            await over.wait()
        await closed([transport for transport, _ in made], pairs)
        return shelf.looks

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(converse()) == 1


@pytest.mark.parametrize(("is_secure", "is_belated", "looks"), [(False, False, 1), (True, False, 3), (False, True, 3)])
def test_who_asks_in_another_moment_of_the_turn_has_a_look_of_its_own(
    is_secure: bool, is_belated: bool, looks: int
) -> None:
    """Behind a TLS record, or held back until now."""

    async def turn() -> int:
        shelf, lane = Shelf(), cast(Any, object.__new__(FastLane))
        lane._store, lane._glances = shelf, Glances(shelf, lambda: 1)
        connection = SimpleNamespace(origin=("", is_secure), is_belated=is_belated)
        for _ in range(3):
            assert lane._small(connection, admission())
        return shelf.looks

    assert asyncio.run(turn()) == looks
