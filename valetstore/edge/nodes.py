"""What documents of several dialects hold in the same shape: times, owners, text that XML could not carry."""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from valetstore.audit import rfc3339
from valetstore.edge.xml import Node
from valetstore.errors import Denied
from valetstore.inbound import Inbound

OWNER: Final[tuple[Node, ...]] = (("ID", "valetstore"), ("DisplayName", "valetstore"))
"""Whose all buckets and objects are: a gateway has one owner."""

Coded = Callable[[str], str]
"""How a document writes names: as they are, or percent-encoded."""


def argument_invalid(said: str, name: str, value: str) -> Denied:
    """InvalidArgument, naming what was wrong, as S3 and those like it do."""
    return Denied("parameter_invalid", said).saying("InvalidArgument", said, ArgumentName=name, ArgumentValue=value)


def instant(nanoseconds: int) -> str:
    """A time since the epoch as documents write it: whole seconds, and zeros where the vendors have milliseconds."""
    return rfc3339(nanoseconds // 1_000_000_000)


def coding_of(inbound: Inbound) -> tuple[str | None, Coded]:
    """`encoding-type` as asked for, and how names are written then. Raises `parameter_invalid`."""
    asked = inbound.parameter("encoding-type")
    if not asked:
        return None, _as_it_is
    if asked.lower() != "url":
        raise argument_invalid("Invalid Encoding Method specified in Request", "encoding-type", asked)
    return asked, _url_coded


def _as_it_is(text: str) -> str:
    return text


def _url_coded(text: str) -> str:
    # A plus for a space is what only some clients read: `%20` is read by all.
    return quote(text, safe="/-_.*")
