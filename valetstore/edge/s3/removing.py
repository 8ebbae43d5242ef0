"""What must hold of an object for it to be deleted: its entity tag, its size, its date.

Rule: size and date are looked at first, and the delete is then bound to the entity tag that was seen with them: what
comes in between is not deleted for what it is not.
"""

import datetime
from typing import Final, NamedTuple

from valetstore.conditions import Conditions
from valetstore.encoding import parse_http_date, wire_int
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.storage.promise import ObjectInfo, Store

SIZE: Final = "x-amz-if-match-size"
MODIFIED: Final = "x-amz-if-match-last-modified-time"


class Wanted(NamedTuple):
    """An entity tag with or without its quotes or `*`, a size in bytes, a time in seconds; None where not asked for."""

    etag: str | None = None
    size: int | None = None
    modified: int | None = None

    def is_met(self, info: ObjectInfo) -> bool:
        """Whether an object is what was asked for."""
        return (
            (self.etag in (None, "*") or quoted(str(self.etag)) == info.etag)
            and self.size in (None, info.size)
            and self.modified in (None, info.modified)
        )


NOTHING: Final = Wanted()


async def bound(store: Store, admission: Admission, wanted: Wanted) -> Conditions:
    """The conditions under which the object may go. Raises `not_found`, `precondition_failed`."""
    if wanted == NOTHING:
        return Conditions()
    opened = await store.open(admission)
    opened.close()
    if not wanted.is_met(opened.info):
        raise Denied("precondition_failed")
    return Conditions(if_match=(opened.info.etag,))


def wanted_by(inbound: Inbound) -> Wanted:
    """What a DELETE's headers ask for beside If-Match. Raises `parameter_invalid`."""
    size, modified = inbound.header(SIZE), inbound.header(MODIFIED)
    return Wanted(None, None if size is None else _bytes(size), None if modified is None else _moment(modified))


def quoted(etag: str) -> str:
    """An entity tag with its quotes; clients send it with and without."""
    return f'"{etag.strip(chr(34))}"'


def seconds_of(text: str) -> int:
    """A date of HTTP's, or an ISO one, in seconds since the epoch: SDKs send either. Raises ValueError."""
    found = parse_http_date(text)
    if found is not None:
        return found
    moment = datetime.datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp())


def _bytes(text: str) -> int:
    try:
        return wire_int(text)
    except ValueError:
        raise _invalid(SIZE, text) from None


def _moment(text: str) -> int:
    try:
        return seconds_of(text)
    except (ValueError, OverflowError):
        raise _invalid(MODIFIED, text) from None


def _invalid(name: str, value: str) -> Denied:
    said = f"The value of {name} is not valid."
    return Denied("parameter_invalid", said).saying("InvalidArgument", said, ArgumentName=name, ArgumentValue=value)
