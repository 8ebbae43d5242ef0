"""multipart/form-data, read as it arrives: the fields up to the file, then the file's bytes (RFC 7578).

Rule 1: everything but files is bounded, in time as in bytes and parts (`form_parts.py`).
Rule 2: what follows the file is passed over, as S3 does, but the body must end with its closing boundary: a form that
was cut short is no upload.
Rule 3: a form of Swift's may have several files, which are all its parts with a file name; each is whole at its own
boundary. Fields that follow the first are passed over, as Swift's documentation says.
"""

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from python_multipart.multipart import parse_options_header

from valetstore.edge.exchange import Exchange, FormFile, FormReader
from valetstore.edge.form_parts import Parts, one_file
from valetstore.edge.receive import ask_for_body, reading
from valetstore.encoding import UNSAFE_IN_HEADER
from valetstore.errors import Denied
from valetstore.grants.s3.form import no_form
from valetstore.grants.swift.address import is_form_path
from valetstore.inbound import Form, Inbound
from valetstore.objectkey import RESERVED_BUCKET

FIELD_SECONDS_MAX: Final = 30

# What a URL may hold: what is escaped stays so, and all else is escaped.
_URL_SAFE: Final = "%/:?#[]@!$&'()*+,;=-._~"


def is_form(inbound: Inbound) -> bool:
    """Whether this is a form for a bucket, or would have to be one. Never raises: refusals are put by it as well."""
    if inbound.method != "POST":
        return False
    if is_swift_form(inbound):
        return True
    bucket, _, name = inbound.raw_path[1:].partition(b"/")
    if name or bucket == RESERVED_BUCKET.encode() or "delete" in _parameters(inbound):
        return False
    # Another kind of body may be another dialect's, which its key would say.
    return _is_multipart(inbound) or not (inbound.raw_query or inbound.header("authorization"))


def is_swift_form(inbound: Inbound) -> bool:
    """Whether this is a form of Swift's, for a container or for names in one that begin alike. Never raises."""
    return inbound.method == "POST" and is_form_path(inbound) and _is_multipart(inbound)


async def open_form(exchange: Exchange, inbound: Inbound) -> FormReader:
    """The form, read up to its file; the client is asked for it if it waits.

    Raises `precondition_failed` (not multipart), `request_malformed`, `headers_too_large`, `parameter_invalid`,
    `body_incomplete`, `request_timeout`, and ConnectionError where the client went away.
    """
    if not _is_multipart(inbound):
        raise no_form()
    boundary = parse_options_header(inbound.header("content-type"))[1].get(b"boundary", b"")
    form = StreamedForm(exchange, Parts(boundary, several=is_swift_form(inbound)))
    ask_for_body(exchange, inbound)
    with reading(exchange):
        async with asyncio.timeout(FIELD_SECONDS_MAX):
            await form.fill()
    return form


class StreamedForm:
    """A form on a connection. `fields` are whole once `fill` has returned; then `read` brings the file, or the one
    that `next_file` has gone on to.
    """

    def __init__(self, exchange: Exchange, parts: Parts) -> None:
        self.fields: Form = ()
        self._exchange = exchange
        self._body = exchange.body
        self._parts = parts

    async def fill(self) -> None:
        """Read up to the file's first byte."""
        while not self._parts.at_file:
            data = await self._body.readany()
            if not data:
                self._parts.finish()
                raise one_file()
            self._parts.feed(data)
        self.fields = tuple(self._parts.fields)

    async def read(self) -> list[bytes] | None:
        """See `FormReader`."""
        pieces = self._parts.taken()
        if pieces:
            return pieces
        if self._parts.several:
            return None if self._parts.past_file else await self._more_of_file()
        while data := await self._body.readany():
            self._parts.feed(data)
            # What follows the file says nothing: it has no part in how fast the file arrives.
            if not self._parts.past_file:
                return self._parts.taken()
            pieces += self._parts.taken()
        self._parts.finish()
        return pieces or None

    async def _more_of_file(self) -> list[bytes]:
        data = await self._body.readany()
        if not data:
            self._parts.finish()
        self._parts.feed(data)
        return self._parts.taken()

    async def next_file(self) -> FormFile | None:
        """See `FormReader`."""
        with reading(self._exchange):
            async with asyncio.timeout(FIELD_SECONDS_MAX):
                while (file := self._parts.next_file()) is None:
                    data = await self._body.readany()
                    if not data:
                        self._parts.finish()
                        return None
                    self._parts.feed(data)
        return file


def redirect_to(url: str, made: Mapping[str, str]) -> str | None:
    """The URL with what was made added to its query; None where it is not one that a browser may be sent to."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or UNSAFE_IN_HEADER.search(url) or "\\" in url:
        return None
    query = "&".join(filter(None, (parts.query, urlencode(made, quote_via=quote))))
    return quote(parts._replace(query=query).geturl(), safe=_URL_SAFE)


def _is_multipart(inbound: Inbound) -> bool:
    kind = (inbound.header("content-type") or "").partition(";")[0]
    return kind.strip().lower() == "multipart/form-data"


def _parameters(inbound: Inbound) -> set[str]:
    """The names in the query, as an operation is known by them; none where it cannot be read."""
    try:
        return {name for name, _ in inbound.query}
    except Denied:
        return set()
