"""Exchange: one request on one connection, as the edge works with it.

This is what the connection makes of a parsed head: the raw message, the body stream, and the transport. It carries no
verdict; whether a request was let in is an Admission.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from valetstore.audit import AuditEvent
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Address, Form, Inbound
from valetstore.storage.promise import ObjectInfo


class Connection(Protocol):
    """What an exchange needs of the connection it came on (`GatewayProtocol` is one)."""

    transport: asyncio.Transport | None

    @property
    def origin(self) -> tuple[str, bool]:
        """The other end's address as text ("" for a Unix socket), and whether it speaks TLS."""

    @property
    def address(self) -> Address | None:
        """The other end's address; None for a Unix socket."""

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """Its TLS, if it has any."""

    @property
    def is_closing(self) -> bool:
        """Whether the connection ends with the present answer, which then has to say so."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked on it."""

    def write(self, data: bytes, more: bytes = b"") -> None:
        """Send this next. Raises ConnectionResetError where the client is gone."""

    def begin(self, exchange: "Exchange") -> None:
        """A request is taken up."""

    def end(self) -> None:
        """The request is answered."""

    def cut(self) -> None:
        """End at once."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on."""

    def taken(self) -> int:
        """A count that grows as the client takes bytes."""

    def check_pace(self, taken_before: int, seconds: float, bytes_per_second: int) -> None:
        """Raise `request_timeout` unless the client took enough meanwhile."""

    async def drained(self, seconds: float = 30, bytes_per_second: int = 0) -> None:
        """Wait until the client has taken enough of what was written."""

    async def flushed(self, seconds: float, bytes_per_second: int) -> None:
        """Wait until nothing written is left in this process."""

    async def linger(self, seconds: float) -> None:
        """Nothing more will be said: drop what the client sends."""

    def take_over(self) -> socket.socket | None:
        """A descriptor to read the rest of the present body from; None where nobody else can read it."""

    def hand_back(self, count: int) -> None:
        """Go on behind the last `count` bytes of the body, which came by that descriptor; 0 where it broke off."""


class FormFile(NamedTuple):
    """What a form says of one of its files; None for what it does not say."""

    name: str
    content_type: str | None
    content_encoding: str | None


class FormReader(Protocol):
    """A form of which the fields are known and the file, or files, are still to come (`edge.forms`)."""

    fields: Form

    async def read(self) -> list[bytes] | None:
        """The next pieces of the file; None at its end. Raises `request_malformed`, `body_incomplete`."""

    async def next_file(self) -> FormFile | None:
        """Of a form that may have several: go on to the next one, which `read` then brings; None after the last.

        Raises as `read`, and `request_timeout`.
        """


class Shown(NamedTuple):
    """A whole object that was shown, or described: what the request was, what let it in, the state that it saw."""

    inbound: Inbound
    message: RawRequestMessage
    admission: Admission
    info: ObjectInfo
    request_id: str
    retell: Callable[[str, str, float], list[AuditEvent]]


class Exchange:
    """A request being answered. `body` is the decoded body stream, `started` a monotonic time in seconds.

    `status`, `bytes_in`, `bytes_out` and `head_sent_at` grow as the answer does; the audit reads them.
    """

    def __init__(self, message: RawRequestMessage, body: StreamReader, protocol: Connection) -> None:
        self.message = message
        self.body = body
        self.protocol = protocol
        self.started = time.monotonic()
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.head_sent_at: float | None = None
        # What went wrong behind an answer's head, where the answer's body tells it.
        self.failure: Denied | None = None
        # What is to be let go of once the answer is out and the work for it done, however that went.
        self.at_end: list[Callable[[], None]] = []
        # The answer's head as it went out; and where it was a whole object, what was shown to whom.
        self.head = b""
        self.shown: Shown | None = None
        # Where its body was kept as an object: what let it in.
        self.stored: Admission | None = None
        # Set where the body is a form that was read up to its file.
        self.form: FormReader | None = None
        # Where an upgrade is asked for, the parser lets go of what follows; it has to come on a new connection.
        self.keep_alive = not message.should_close and not message.upgrade
        protocol.begin(self)

    @property
    def transport(self) -> asyncio.Transport:
        """The connection's transport; raises ConnectionResetError once it is gone."""
        transport = self.protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        return transport

    def write_head(self, data: bytes, body: bytes = b"") -> None:
        """Write the answer's first bytes; raises ConnectionResetError where the client is gone."""
        self.protocol.write(data, body)
        self.head_sent_at = time.monotonic()

    @property
    def body_is_whole(self) -> bool:
        """Whether everything the client announced has arrived."""
        return self.body.is_eof()

    async def linger(self, seconds: float) -> None:
        """Drop what the client still sends, for a moment, so that it gets to read the answer."""
        self.keep_alive = False
        # A body that was held back would keep its rest, and the client's end behind it, unread.
        self.protocol.resume_reading(resume_parser=False)
        await self.protocol.linger(seconds)

    def abort(self) -> None:
        """Cut the connection, so that the client cannot take a part for the whole."""
        self.keep_alive = False
        self.protocol.cut()

    def _cancel(self, exc: BaseException) -> None:
        """aiohttp: the connection was lost; whoever reads the body learns it."""
        # A reset, a TLS fault, a timeout of the network: the same to whoever reads.
        lost = exc if isinstance(exc, ConnectionError) else ConnectionResetError(type(exc).__name__)
        set_exception: Any = self.body.set_exception
        set_exception(lost)


class Answered:
    """What a handler returns to the connection: the answer is out, only keep-alive is left to say."""

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
