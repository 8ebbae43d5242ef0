"""multipart/form-data, read as it arrives: the fields up to the file, then the file's bytes (RFC 7578).

Rule 1: everything but the file is bounded: bytes, parts, time. Nothing of the file is held but what one read brought.
Rule 2: what follows the file is passed over, as S3 does, but the body must end with its closing boundary: a form that
was cut short is no upload.
Rule 3: the client's file name is a text like any other here; whoever makes a path of it judges it.
"""

import asyncio
import logging
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from valetstore.edge.exchange import Exchange, FormReader
from valetstore.edge.receive import ask_for_body, reading
from valetstore.errors import Denied
from valetstore.grants.s3.form import no_form
from valetstore.inbound import Form, Inbound
from valetstore.objectkey import RESERVED_BUCKET

FIELD_BYTES_MAX: Final = 20 * 1024
"""All names, values and part headers before the file's bytes: S3's limit for them."""
PARTS_MAX: Final = 100
FIELD_SECONDS_MAX: Final = 30
BOUNDARY_BYTES_MAX: Final = 70
"""RFC 2046 section 5.1.1."""
FILE: Final = "file"

_WIRE_BYTES_MAX: Final = 64 * 1024
"""The same with boundaries and whatever else a sender puts between: before the file, and once more after it."""

# The library would write what strangers send into the log, a line for each malformed form.
_SILENT: Final = logging.Logger("forms", logging.CRITICAL + 1)


def is_form(inbound: Inbound) -> bool:
    """Whether this is a form for a bucket, or would have to be one. Never raises: refusals are put by it as well."""
    if inbound.method != "POST":
        return False
    bucket, _, name = inbound.raw_path[1:].partition(b"/")
    if name or bucket == RESERVED_BUCKET.encode() or "delete" in _parameters(inbound):
        return False
    # Another kind of body may be another dialect's, which its key would say.
    return _is_multipart(inbound) or not (inbound.raw_query or inbound.header("authorization"))


async def open_form(exchange: Exchange, inbound: Inbound) -> FormReader:
    """The form, read up to its file; the client is asked for it if it waits.

    Raises `precondition_failed` (not multipart), `request_malformed`, `headers_too_large`, `parameter_invalid`,
    `body_incomplete`, `request_timeout`, and ConnectionError where the client went away.
    """
    if not _is_multipart(inbound):
        raise no_form()
    boundary = parse_options_header(inbound.header("content-type"))[1].get(b"boundary", b"")
    form = StreamedForm(exchange, Parts(boundary))
    ask_for_body(exchange, inbound)
    with reading(exchange):
        async with asyncio.timeout(FIELD_SECONDS_MAX):
            await form.fill()
    return form


class StreamedForm:
    """A form on a connection. `fields` are whole once `fill` has returned; then `read` brings the file."""

    def __init__(self, exchange: Exchange, parts: "Parts") -> None:
        self.fields: Form = ()
        self._body = exchange.body
        self._parts = parts

    async def fill(self) -> None:
        """Read up to the file's first byte."""
        while not self._parts.at_file:
            data = await self._body.readany()
            if not data:
                self._parts.finish()
                raise _one_file()
            self._parts.feed(data)
        self.fields = tuple(self._parts.fields)

    async def read(self) -> list[bytes] | None:
        """See `FormReader`."""
        pieces = self._parts.taken()
        if pieces:
            return pieces
        while data := await self._body.readany():
            self._parts.feed(data)
            # What follows the file says nothing: it has no part in how fast the file arrives.
            if not self._parts.past_file:
                return self._parts.taken()
            pieces += self._parts.taken()
        self._parts.finish()
        return pieces or None


class Parts:
    """The parts of a form: bytes in, fields and pieces of the file out. Pure; feed it however the bytes come.

    `fields` are (lower-case name, value) in order up to the file, which stands there as ("file", client's file name).
    """

    def __init__(self, boundary: bytes) -> None:
        self.fields: list[tuple[str, str]] = []
        self.at_file = False
        self.past_file = False
        self._begun = self._ended = False
        self._pieces: list[bytes] = []
        self._count = 0
        self._bytes = 0
        self._wire_bytes = 0
        self._header, self._value = bytearray(), bytearray()
        self._disposition: bytes | None = None
        self._name = ""
        if not 0 < len(boundary) <= BOUNDARY_BYTES_MAX:
            raise _malformed(f"Its boundary has 1 to {BOUNDARY_BYTES_MAX} characters.")
        self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]  # plain dict
        self._parser.logger = _SILENT

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises `request_malformed`, `headers_too_large`, `parameter_invalid`."""
        was_before, was_past, size = not self.at_file, self.past_file, len(data)
        if not self._begun:
            # Of what may precede the first boundary the library makes more or less, by how the bytes are cut.
            data = data.lstrip(b"\r\n")
            self._begun = bool(data)
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed("The body of your POST request is not well-formed multipart/form-data.") from None
        if was_past or (was_before and not self.at_file):
            self._wire_bytes += size
            if self._wire_bytes > _WIRE_BYTES_MAX:
                raise _too_much()

    def taken(self) -> list[bytes]:
        """What has come of the file since the last time."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """No more bytes. Raises `body_incomplete`, or `parameter_invalid` where there was no file."""
        if not self._ended:
            raise Denied("body_incomplete", "The form ends before its closing boundary.")
        if not self.at_file:
            raise _one_file()

    def _callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > PARTS_MAX:
            raise _malformed(f"A form has at most {PARTS_MAX} parts.")
        self._disposition = None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += self._counted(data, start, end)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data, start, end)

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            if self._disposition is not None:
                raise _malformed("A part has more than one Content-Disposition.")
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        if self.at_file:
            return
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise _malformed("Each part of a form has a Content-Disposition with its name.")
        self._name = _text(options[b"name"]).lower()
        if self._name == FILE:
            self.fields.append((FILE, _text(options.get(b"filename", b""))))
            self.at_file = True

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if not self.at_file:
            self._value += self._counted(data, start, end)
        elif not self.past_file:
            self._pieces.append(data[start:end])

    def _part_end(self) -> None:
        if self.at_file:
            self.past_file = True
            return
        self.fields.append((self._name, _text(bytes(self._value))))
        self._value.clear()

    def _end(self) -> None:
        self._ended = True

    def _counted(self, data: bytes, start: int, end: int) -> bytes:
        if not self.at_file:
            self._bytes += end - start
            if self._bytes > FIELD_BYTES_MAX:
                raise _too_much()
        return data[start:end]


def _is_multipart(inbound: Inbound) -> bool:
    kind = (inbound.header("content-type") or "").partition(";")[0]
    return kind.strip().lower() == "multipart/form-data"


def _parameters(inbound: Inbound) -> set[str]:
    """The names in the query, as an operation is known by them; none where it cannot be read."""
    try:
        return {name for name, _ in inbound.query}
    except Denied:
        return set()


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        said = "A field of the form is not UTF-8 text."
        raise Denied("parameter_invalid", said).saying("InvalidArgument", said, 400) from None


def _malformed(reason: str) -> Denied:
    return Denied("request_malformed", reason).saying("MalformedPOSTRequest", reason, 400)


def _too_much() -> Denied:
    said = "Your POST request fields preceding the upload file were too large."
    return Denied("headers_too_large", said).saying("MaxPostPreDataLengthExceeded", said, 400)


def _one_file() -> Denied:
    said = "POST requires exactly one file upload per request."
    return Denied("parameter_invalid", said).saying("InvalidArgument", said, 400, ArgumentName=FILE, ArgumentValue="0")
