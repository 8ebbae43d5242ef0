"""A parser as aiohttp's protocol makes its own, for a connection that goes on behind a body read elsewhere."""

import asyncio
from typing import Any

from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler, RequestPayloadError


def new_parser(connection: RequestHandler, loop: asyncio.AbstractEventLoop) -> Any:
    """At the beginning of a request, with the bounds that the connection's first one has."""
    return HttpRequestParser(
        connection,
        loop,
        connection._read_bufsize,
        max_line_size=connection.max_line_size,
        max_field_size=connection.max_field_size,
        max_headers=connection.max_headers,
        payload_exception=RequestPayloadError,
        auto_decompress=False,  # an upload is kept as it was sent
        max_msg_queue_size=connection._max_msg_queue_size,
    )
