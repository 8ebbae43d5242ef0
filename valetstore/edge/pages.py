"""Pages of a bucket's objects: what is asked for, and the page that is full or the last.

Rule 1: a page ends at the last name or group that it shows, and says that there are more only where there are.
Rule 2: the key's use is claimed when the page is there, last of all.
"""

import base64
import binascii
import time
from typing import Final, NamedTuple

import msgspec

from valetstore.edge.call import Call
from valetstore.edge.nodes import Coded, argument_invalid, coding_of
from valetstore.edge.xml import Node
from valetstore.objectkey import split_path
from valetstore.storage.promise import Page

ENTRIES_MAX: Final = 1000
"""As many as S3 and Google show on a page, whatever is asked for."""
_INTEGER_MAX: Final = 2**31 - 1


class Asked(NamedTuple):
    """What all lists are asked for, with S3's parameters. `coded` writes names as `encoding` asks for."""

    bucket: str
    prefix: str
    delimiter: str
    limit: int
    encoding: str | None
    coded: Coded

    def shared(self, *, limit_name: str = "MaxKeys") -> list[Node]:
        """How a document repeats it."""
        delimiter = self.coded(self.delimiter) if self.delimiter else None
        return [(limit_name, self.limit), ("Delimiter", delimiter), ("EncodingType", self.encoding)]


def asked_of(call: Call, limit_name: str = "max-keys") -> Asked:
    """What a request asks for. Raises `parameter_invalid`."""
    bucket, prefix = split_path(call.admission.intent.path)
    most = min(ENTRIES_MAX, call.services.config.limits.list_entries_max)
    encoding, coded = coding_of(call.inbound)
    limit = min(_count(call.inbound.parameter(limit_name), limit_name), most)
    return Asked(bucket, prefix, call.inbound.parameter("delimiter") or "", limit, encoding, coded)


def _count(text: str | None, name: str) -> int:
    """A number of entries; ENTRIES_MAX where none is given. Raises `parameter_invalid`."""
    if not text:
        return ENTRIES_MAX
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10 and int(digits) <= _INTEGER_MAX):
        raise argument_invalid(f"Provided {name} not an integer or within integer range", name, text)
    if text.startswith("-") and int(digits):
        member = {"max-keys": "maxKeys", "max-uploads": "max-uploads"}[name]
        raise argument_invalid(f"Argument {member} must be an integer between 0 and {_INTEGER_MAX}", name, text)
    return int(digits)


def token_of(name: str) -> str:
    """A name as what nobody takes for one."""
    return base64.urlsafe_b64encode(b"1" + name.encode()).decode()


def named_by(token: str) -> str:
    """The name that a token of ours stands for. Raises `parameter_invalid`."""
    try:
        raw = base64.b64decode(token.encode(), b"-_", validate=True)
        if raw[:1] == b"1" and token_of(name := raw[1:].decode()) == token:
            return name
    except (ValueError, binascii.Error):
        pass
    raise argument_invalid("The continuation token provided is incorrect", "continuation-token", token)


async def page_of(call: Call, asked: Asked, after: str) -> Page:
    """A page that is full, or the last one; and the key's use is claimed for it."""
    store, admission = call.services.store, call.admission
    page = await store.list(admission, asked.prefix, after, asked.limit, asked.delimiter)
    while page.next_after is not None and len(page.rows) + len(page.prefixes) < asked.limit:
        # What vanished while it was listed must not make a page end before its last name.
        room = asked.limit - len(page.rows) - len(page.prefixes)
        more = await store.list(admission, asked.prefix, page.next_after, room, asked.delimiter)
        page = msgspec.structs.replace(more, rows=page.rows + more.rows, prefixes=page.prefixes + more.prefixes)
    await call.services.gateway.claim(admission, time.time)
    return page


def common_prefixes(prefixes: list[str], asked: Asked) -> list[Node]:
    """The groups that a delimiter made, as rows of a document."""
    return [("CommonPrefixes", [("Prefix", asked.coded(prefix))]) for prefix in prefixes]
