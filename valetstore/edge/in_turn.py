"""Requests of one connection, answered in turn by the connection's own task.

aiohttp begins another task for each of them, and a writer that nothing here writes to (docs/adr/0030).

Rule 1: only the turn is ours. Who waits, parses, keeps alive and shuts down is aiohttp's, and finds what its own turn
would have left: which request is under way, and that there is one.
Rule 2: handlers raise nothing but cancellation. What comes all the same ends the connection, and is logged.
"""

import asyncio
from typing import Any

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from valetstore.edge.exchange import Answered, Exchange


class InTurn(RequestHandler):
    """aiohttp's protocol with a turn of its own. A subclass says what a handler is given, and what is malformed."""

    __slots__ = ()

    async def start(self) -> None:
        """Answer what is asked until the connection ends: see aiohttp's."""
        while not self._force_close:
            if not self._messages:
                await self._asked()
                if self._manager is None:  # lost since
                    break
            try:
                keep_alive = await self._answer_next()
                if self._messages:
                    # Who asks for much at once waits as the others do: an answer may have had nothing to wait for.
                    await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.force_close()
                raise
            except ConnectionError:  # the client is gone
                break
            except Exception:
                self.log_exception("Unhandled exception")
                self.force_close()
                break
            self._keepalive = keep_alive
            if not keep_alive or self._close or self._force_close:
                break
            self.count_idle()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def count_idle(self) -> None:
        """An answer is out: from now on the connection is idle, and ends after the keep-alive timeout."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    async def _asked(self) -> None:
        """Wait for the next request; `close` cancels it."""
        try:
            self._waiter = self._loop.create_future()
            await self._waiter
        finally:
            self._waiter = None

    def _make_room(self) -> None:
        """One less waits in line: the parser may go on, and so may the transport."""
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()

    async def _answer_next(self) -> bool:
        """Whether the connection goes on behind it. Nothing of it is kept while the next one is waited for."""
        message, body = self._messages.popleft()
        self._make_room()
        assert self._manager is not None
        self._manager.requests_count += 1
        self._request_in_progress = True
        try:
            if isinstance(message, _ErrInfo):
                await self.tell_malformed(message)
                return False
            handle: Any = self._request_handler
            exchange: Any = self.take_up(message, body)
            self._current_request = exchange
            answered: Answered = await handle(exchange)
        finally:
            self._current_request, self._request_in_progress = None, False
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)
        if not body.is_eof():
            self.close()
        return answered.keep_alive

    def take_up(self, message: RawRequestMessage, body: StreamReader) -> Exchange:
        """What the handler is given for a request."""
        raise NotImplementedError

    async def tell_malformed(self, error: _ErrInfo) -> None:
        """Answer what the parser could not make a request of; it is the connection's last answer."""
        raise NotImplementedError
