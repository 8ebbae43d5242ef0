"""Documents that are read whole: how many bytes of them one process holds."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from valetstore.edge.document import FREE_BYTES, Document, Held
from valetstore.edge.exchange import Exchange
from valetstore.errors import Denied


def exchange() -> Exchange:
    """As much of one as a document asks for."""
    return cast(Exchange, SimpleNamespace(at_end=[]))


def test_bytes_count_until_the_exchange_is_over() -> None:
    async def story() -> None:
        held, asked = Held(100), exchange()
        document = Document(asked, held)
        await document.write(bytes(FREE_BYTES))
        assert held.bytes == 0
        await document.write(b"a" * 60)
        assert document.whole() == bytes(FREE_BYTES) + b"a" * 60
        assert held.bytes == 60
        for let_go in asked.at_end * 2:
            let_go()
        assert held.bytes == 0

    asyncio.run(story())


def test_who_finds_no_room_is_refused_and_holds_none() -> None:
    async def story() -> None:
        held = Held(100)
        first, second = Document(exchange(), held), Document(exchange(), held)
        await first.write(bytes(FREE_BYTES + 60))
        await second.write(bytes(FREE_BYTES + 40))
        for document in (first, second):
            with pytest.raises(Denied) as caught:
                await document.write(b"a")
            assert caught.value.code == "overloaded"
        second.let_go()
        await first.write(bytes(40))
        assert held.bytes == 100

    asyncio.run(story())


def test_short_documents_always_find_room() -> None:
    async def story() -> None:
        held = Held(0)
        documents = [Document(exchange(), held) for _ in range(10)]
        for document in documents:
            await document.write(bytes(FREE_BYTES))
        with pytest.raises(Denied):
            await documents[0].write(b"a")

    asyncio.run(story())
