"""Waiting: an answer to work that may take long. It begins before the work is done, and its body says what came of it.

Rule 1: what is done soon has its real status. What is not has 200 and, in the body, its result or an <Error> document,
as S3 does it; until then a white space now and then keeps proxies and clients from giving up.
Rule 2: the work is not the client's connection: a client that goes away ends the answer, never the work.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from valetstore.edge.call import Call
from valetstore.edge.exchange import Exchange
from valetstore.edge.replies import Header, Reply
from valetstore.edge.xml import HEAD
from valetstore.errors import Denied

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 5.0
"""How long the status waits for the work."""
BREATH_SECONDS: Final = 3.0
"""Between two white spaces: far less than any client's or proxy's timeout."""

Work = Coroutine[Any, Any, Reply]


async def answered_in_time(
    call: Call, work: Work, patience_seconds: float = PATIENCE_SECONDS, breath_seconds: float = BREATH_SECONDS
) -> Reply:
    """The reply of `work` where it is done soon, else one that begins now. Raises what the work raises soon.

    The work's own reply must be a document. HTTP/1.0 has no chunks: its clients wait.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,), timeout=None if call.exchange.message.version == (1, 0) else patience_seconds)
    except asyncio.CancelledError:
        await _stop(task)
        raise
    return await task if task.done() else _Waiting(call, task, breath_seconds)


class _Waiting(Reply):
    """A head without a length, and a body that waits for its end."""

    def __init__(self, call: Call, work: "asyncio.Task[Reply]", breath_seconds: float) -> None:
        headers: list[Header] = [("Content-Type", "application/xml"), ("Cache-Control", "no-store")]
        super().__init__(200, headers)
        self._call = call
        self._work = work
        self._breath_seconds = breath_seconds

    def _framing(self) -> bytes:
        return b"Transfer-Encoding: chunked\r\n"

    async def send(self, exchange: Exchange, common: list[Header]) -> None:
        """See Reply. Returns, and raises, only when the work is over."""
        try:
            await super().send(exchange, common)
            _write(exchange, HEAD.encode())
            while not (await asyncio.wait((self._work,), timeout=self._breath_seconds))[0]:
                _write(exchange, b" ")
            _write(exchange, (await self._document(exchange)).removeprefix(HEAD.encode()))
            exchange.transport.write(b"0\r\n\r\n")
            await exchange.protocol.drained()
        except asyncio.CancelledError:
            await _stop(self._work)
            raise
        except (ConnectionError, Denied):
            await self._finished()
            raise

    async def _document(self, exchange: Exchange) -> bytes:
        try:
            reply = await self._work
        except Denied as denied:
            exchange.failure = denied
            reply = self._call.refusal(denied)
        except Exception:
            log.exception("an answer that had begun could not be finished")
            exchange.failure = Denied("internal_error")
            reply = self._call.refusal(exchange.failure)
        if not isinstance(reply.body, bytes):
            raise TypeError("what is waited for must be a document")
        return reply.body

    async def _finished(self) -> None:
        """Nobody listens any more; what was begun is finished all the same."""
        try:
            await asyncio.wait((self._work,))
        except asyncio.CancelledError:
            await _stop(self._work)
            raise
        if (error := self._work.exception()) is not None:
            log.warning("what a client had left to be done failed: %s", error)


def _write(exchange: Exchange, data: bytes) -> None:
    """One chunk. Raises ConnectionError where the client is gone."""
    exchange.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    exchange.bytes_out += len(data)


async def _stop(task: "asyncio.Task[Reply]") -> None:
    """The gateway ends: so does the work, before what it uses is closed."""
    task.cancel()
    await asyncio.wait((task,))
