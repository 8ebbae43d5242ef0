"""Replies: a status, headers and a body, written to the connection in as few writes as there can be."""

import time
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec

from valetstore.edge.exchange import Exchange
from valetstore.edge.stream import Body
from valetstore.encoding import http_date
from valetstore.errors import REFUSALS, Denied
from valetstore.storage.promise import ObjectInfo

Header = tuple[str, str]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
# A reply to these never has a body, and Content-Length would describe one (RFC 9110 section 8.6).
_NO_LENGTH: Final = frozenset({204, 304})


class Reply:
    """One reply. `headers` values are header text (latin-1); `body` is bytes, a Body to stream, or nothing.

    `described_bytes` is the length of a body that is described and not sent: the answer to a HEAD. `phrase` follows the
    status where a dialect has one of its own, or a status that HTTP does not know. `shown` is the state of an object
    whose whole is the answer, or is described by it.
    """

    def __init__(
        self,
        status: int,
        headers: list[Header] | None = None,
        body: bytes | Body = b"",
        *,
        described_bytes: int | None = None,
        phrase: str = "",
        shown: ObjectInfo | None = None,
    ) -> None:
        self.status = status
        self.headers = headers or []
        self.body = body
        self.shown = shown
        self._described_bytes = described_bytes
        self._phrase = phrase or _PHRASES[status]

    @property
    def length(self) -> int:
        """The body's length in bytes, sent or only described."""
        return len(self.body) if self._described_bytes is None else self._described_bytes

    async def send(self, exchange: Exchange, common: list[Header]) -> None:
        """Write it, with the headers that all replies of this exchange carry.

        Raises ConnectionError where the client is gone. A refusal that comes before the body was read ends
        the connection: what follows on it would be the rest of that body.
        """
        if not self.write(exchange, common) and not isinstance(self.body, bytes):
            await self.body.send(exchange, exchange.head)
        await exchange.protocol.drained()

    def write(self, exchange: Exchange, common: list[Header]) -> bool:
        """The same, at once, for all but a Body that streams: of that nothing is written, and it is False."""
        if not exchange.body_is_whole or exchange.protocol.is_closing:
            exchange.keep_alive = False
        head = exchange.head = self._head(exchange, common)
        exchange.status = self.status
        with_body = exchange.message.method != "HEAD" and self.status not in _NO_LENGTH
        if not with_body or not self.length:
            exchange.write_head(head)
        elif isinstance(self.body, bytes):
            exchange.write_head(head, self.body)
            exchange.bytes_out += len(self.body)
        else:
            return False
        return True

    def release(self) -> None:
        """Let go of what the body is read from."""
        if not isinstance(self.body, bytes):
            self.body.close()

    def _head(self, exchange: Exchange, common: list[Header]) -> bytes:
        # Values are latin-1 where they are made; an answer is not lost over one that is not.
        fields = "".join([f"{name}: {value}\r\n" for name, value in (*self.headers, *common)])
        lines = [
            f"HTTP/1.1 {self.status} {self._phrase}\r\n{fields}".encode("latin-1", "replace"),
            b"" if self.status in _NO_LENGTH else self._framing(),
            b"Date: %b\r\n" % date_now(),
            b"",
            b"\r\n",
        ]
        if not exchange.keep_alive:
            lines[3] = b"Connection: close\r\n"
        elif exchange.message.version == (1, 0):
            lines[3] = b"Connection: keep-alive\r\n"
        head = b"".join(lines)
        # Every source of a header is checked where it enters; this is the last door.
        count = len(self.headers) + len(common) + 3 + bool(lines[1]) + bool(lines[3])
        if head.count(b"\r") != count or head.count(b"\n") != count:
            raise ValueError("a header would split the response")
        return head

    def _framing(self) -> bytes:
        """The header that says where the body ends."""
        return b"Content-Length: %d\r\n" % self.length


def date_now() -> bytes:
    """The Date of an answer (RFC 9110 section 6.6.1)."""
    return date_at(int(time.time()))


@lru_cache(maxsize=8)
def date_at(second: int) -> bytes:
    """The same for a moment, in whole seconds since the epoch."""
    return http_date(second).encode()


def problem(denied: Denied) -> Reply:
    """A refusal as `application/problem+json` (RFC 9457) with the member `code`."""
    body = {
        "type": "about:blank",
        "title": REFUSALS[denied.code].text,
        "status": denied.status,
        "code": denied.code,
    }
    if denied.detail:
        body["detail"] = denied.detail
    headers = [
        ("Content-Type", "application/problem+json"),
        ("X-Valet-Error", denied.code),
        ("Cache-Control", "no-store"),
        *refusal_headers(denied),
    ]
    return Reply(denied.status, headers, msgspec.json.encode(body))


def refusal_headers(denied: Denied) -> list[Header]:
    """The headers that a status asks for, in whatever form the refusal is written."""
    headers = []
    if denied.status == 401:
        # RFC 6750 section 3: the error attribute only where a key was given.
        error = "" if denied.code == "key_missing" else ', error="invalid_token"'
        headers.append(("WWW-Authenticate", f'Bearer realm="valetstore"{error}'))
    if denied.code == "range_not_satisfiable":
        headers.append(("Content-Range", f"bytes */{denied.evidence.get('size', '*')}"))
    if denied.code == "method_not_allowed":
        headers.append(("Allow", str(denied.evidence.get("allow", "GET, HEAD, PUT, DELETE, OPTIONS"))))
    if denied.status in (429, 503):
        headers.append(("Retry-After", str(denied.evidence.get("retry_after", 5))))
    return headers


def json_reply(value: object, status: int = 200) -> Reply:
    """A small JSON document."""
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return Reply(status, headers, msgspec.json.encode(value))
