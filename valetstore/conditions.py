"""Conditional requests (RFC 9110 section 13), judged against one state of an object.

Reads are judged by the edge against the opened object; writes and deletes by the store, together with
the write itself. Both come here, so that there is one reading of the headers.
"""

import re
from enum import Enum
from typing import Final

import msgspec

from valetstore.encoding import parse_http_date
from valetstore.errors import Denied
from valetstore.inbound import Inbound

# Empty elements of a list are passed over (RFC 9110 section 5.6.1.2).
_ETAG: Final = re.compile(r'[ \t,]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?=,|\Z)')
_BARE_TAG: Final = re.compile(r"[\w+/=.-]+", re.ASCII)
ANY: Final = ("*",)
"""`If-Match: *` and `If-None-Match: *`: any current state of the object."""


class Outcome(Enum):
    """What the conditions say about this state: go on, nothing new (304), or refuse (412)."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not_modified"
    FAILED = "failed"


class Conditions(msgspec.Struct, frozen=True):
    """The four conditions of a request; None where a header was not sent. Times are whole seconds.

    Entity tags are kept with their quotes, and `W/` where they are weak. A date that is not one is
    ignored, as section 13.1.3 asks; a list of tags that is not one is refused.
    """

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None
    modified_binds_writes: bool = False
    """Whether If-Modified-Since holds writes too: there are dialects that have it so, unlike HTTP."""

    @classmethod
    def of(cls, inbound: Inbound, prefix: str = "", *, bare_tags: bool = False) -> "Conditions":
        """Read from a request's headers, which may have a prefix of their own; raises `parameter_invalid`.

        With `bare_tags` an entity tag may stand without its quotes: there are dialects whose clients send it so.
        """
        if not prefix and inbound.header_names.isdisjoint(_NAMES):
            return NONE
        modified = inbound.header(f"{prefix}if-modified-since")
        unmodified = inbound.header(f"{prefix}if-unmodified-since")
        return cls(
            if_match=_tags(inbound, f"{prefix}if-match", bare_tags),
            if_none_match=_tags(inbound, f"{prefix}if-none-match", bare_tags),
            if_modified_since=parse_http_date(modified) if modified else None,
            if_unmodified_since=parse_http_date(unmodified) if unmodified else None,
        )

    def judge(self, etag: str | None, modified: int | None, *, is_read: bool) -> Outcome:
        """In the order of section 13.2.2. `etag` and `modified` are None where there is no object."""
        if self.if_match is not None:
            if etag is None or not _matches_strongly(self.if_match, etag):
                return Outcome.FAILED
        elif self.if_unmodified_since is not None and (modified is None or modified > self.if_unmodified_since):
            return Outcome.FAILED
        if self.if_none_match is not None:
            if etag is not None and _matches_weakly(self.if_none_match, etag):
                return Outcome.NOT_MODIFIED if is_read else Outcome.FAILED
        elif (
            self.if_modified_since is not None
            and modified is not None
            and modified <= self.if_modified_since
            and (is_read or self.modified_binds_writes)
        ):
            return Outcome.NOT_MODIFIED if is_read else Outcome.FAILED
        return Outcome.PROCEED


NONE: Final = Conditions()
"""What most requests have."""

_NAMES: Final = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})


def if_range_holds(inbound: Inbound, etag: str, modified: int) -> bool:
    """Whether a Range is to be honoured (section 13.1.5): no If-Range, or it names exactly this state.

    A date names it only once its second is over: until then the object may change and keep it (section 8.8.2.2).
    """
    value = inbound.header("if-range")
    if value is None:
        return True
    if value.startswith('"'):
        return value == etag
    return parse_http_date(value) == modified and inbound.now - modified >= 1


def _tags(inbound: Inbound, name: str, bare_tags: bool) -> tuple[str, ...] | None:
    value = inbound.header(name)
    if value is None:
        return None
    if value.strip() == "*":
        return ANY
    if bare_tags and _BARE_TAG.fullmatch(value.strip()):
        return (f'"{value.strip()}"',)
    value = value.strip(" \t,")
    tags: list[str] = []
    end = 0
    while end < len(value) or not tags:
        found = _ETAG.match(value, end)
        if not found:
            raise Denied("parameter_invalid", f"`{name}` is `*` or a list of quoted entity tags.")
        tags.append((found[1] or "") + found[2])
        end = found.end()
    return tuple(tags)


def _matches_strongly(tags: tuple[str, ...], etag: str) -> bool:
    return tags == ANY or (etag in tags and not etag.startswith("W/"))


def _matches_weakly(tags: tuple[str, ...], etag: str) -> bool:
    return tags == ANY or etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags}
