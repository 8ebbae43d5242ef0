"""What several of S3's documents hold in the same shape: times, owners, text that XML could not carry."""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from valetstore.audit import rfc3339
from valetstore.edge.s3.heads import argument_invalid
from valetstore.edge.xml import Node
from valetstore.inbound import Inbound

OWNER: Final[tuple[Node, ...]] = (("ID", "valetstore"), ("DisplayName", "valetstore"))
"""Whose all buckets and objects are: a gateway has one owner."""

Coded = Callable[[str], str]
"""How a document writes names: as they are, or percent-encoded."""


def instant(nanoseconds: int) -> str:
    """A time since the epoch as S3's documents write it: whole seconds, and zeros where S3 has milliseconds."""
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
