"""Whether the fast lane fits the aiohttp that is installed: asked at the start, of the very parser that will serve.

The lane goes by two things that aiohttp does not promise: that its parser reads a head's fields alike whatever the
request line, and stands at the beginning of a request after each whole head; and how a connection says that it is at
rest.
"""

import asyncio
from typing import Any, Final

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.web_protocol import RequestHandler

_ATTRIBUTES: Final = (
    "_close",
    "_force_close",
    "_keepalive_handle",
    "_keepalive_timeout",
    "_messages",
    "_next_keepalive_close_time",
    "_process_keepalive",
    "_waiter",
)
_FIELDS: Final = b"\r\nHost: gateway.test:8420\r\nUser-Agent: check\r\nAccept: */*\r\nX-Twice: a\r\nX-Twice: b\r\n\r\n"
_LINES: Final = (
    (b"GET /bucket/a%20name?valet=eyJ.eyJ.c2ln-_ HTTP/1.1", "GET", "/bucket/a%20name?valet=eyJ.eyJ.c2ln-_"),
    (b"HEAD /b//c;d=1?x=%2F&y HTTP/1.1", "HEAD", "/b//c;d=1?x=%2F&y"),
    (b"PUT /b/d?X-Amz-Date=20260131T235959Z HTTP/1.1", "PUT", "/b/d?X-Amz-Date=20260131T235959Z"),
)


def why_not() -> str:
    """What does not fit, as one sentence; "" where all does."""
    installed = f"aiohttp {aiohttp.__version__}"
    for name in _ATTRIBUTES:
        if name not in RequestHandler.__slots__ and not hasattr(RequestHandler, name):
            return f"{installed} has no RequestHandler.{name}"
    try:
        found = _parsed([line + _FIELDS for line, _, _ in _LINES * 2])
    except Exception as error:  # whatever another version raises
        return f"the parser of {installed} is another one: {type(error).__name__}"
    if [(message.method, message.path) for message in found] != [(method, path) for _, method, path in _LINES] * 2:
        return f"the parser of {installed} does not stand between two requests where the lane thinks so"
    if len({message.raw_headers for message in found}) != 1 or found[0]._replace(path="/x").path != "/x":
        return f"the parser of {installed} does not read the same fields alike"
    return ""


def _parsed(heads: list[bytes]) -> list[RawRequestMessage]:
    """What one parser makes of heads that come one by one; of each nothing or one."""
    loop = asyncio.new_event_loop()
    try:
        make: Any = HttpRequestParser
        parser = make(BaseProtocol(loop, None), loop, 2**16, auto_decompress=False)
        messages = []
        for head in heads:
            found, _, _ = parser.feed_data(head)
            messages += [message for message, body in found if body.is_eof()]
            parser.message_consumed()
        return messages
    finally:
        loop.close()
