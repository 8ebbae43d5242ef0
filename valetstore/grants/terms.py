"""Conditions that no cloud knows, in a URL or a form that its SDK signs: `x-valet-*`.

Rule 1: a condition that is not understood, or given twice, refuses the key: it is never passed over.
Rule 2: conditions only narrow what the key allows without them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from valetstore.encoding import wire_int
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.grant import Grant
from valetstore.grants.networks import parse_networks
from valetstore.keys.ring import USES_MAX, check_type_pattern

PREFIX: Final = "x-valet-"

Terms = tuple[tuple[str, str], ...]
"""(name, value) as signed; names in lower case."""

_LENGTH: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)


def of_query(query: Sequence[tuple[str, str]]) -> Terms:
    """The conditions among the parameters of a URL that signs them all, or the fields of a form."""
    return tuple([(name.lower(), value) for name, value in query if name[: len(PREFIX)].lower() == PREFIX])


def refuse_query(query: Sequence[tuple[str, str]]) -> None:
    """Raise `parameter_invalid` for conditions beside signed headers: they would bind nobody but who wrote them."""
    for name, _ in of_query(query):
        raise _invalid(
            name, f"{name} is a condition of a presigned URL: presign this request, do not sign its headers."
        )


def refuse_headers(names: Iterable[str]) -> None:
    """Raise `parameter_invalid` for conditions among signed headers (lower case), where nobody looks for them."""
    for name in names:
        if name.startswith(PREFIX):
            raise _invalid(name, f"{name} is a condition: put it into the query of a presigned URL, not into a header.")


def applied(grant: Grant, terms: Terms) -> Grant:
    """The grant with these conditions. Raises `key_malformed`."""
    fields: dict[str, object] = {}
    for name, value in terms:
        reader = _READERS.get(name)
        if reader is None:
            raise _malformed(name, f"{name} is no condition; there are {', '.join(_READERS)}.")
        field, read, form = reader
        if field in fields:
            raise _malformed(name, f"{name} is given more than once.")
        try:
            fields[field] = read(value)
        except (ValueError, ConfigInvalid):
            raise _malformed(name, f"{name} is {form}.") from None
    if "window" in fields and "uses" not in fields:
        raise _malformed("x-valet-window", "x-valet-window needs x-valet-uses.")
    return _narrowed(grant, fields)


def _narrowed(grant: Grant, fields: dict[str, Any]) -> Grant:
    """With the fields' values where the grant says nothing; the narrower of both where it does."""
    low, high = fields.pop("length", (0, None))
    fields["length_min"] = max(low, grant.length_min)
    fields["length_max"] = high if grant.length_max is None or high is None else min(high, grant.length_max)
    if high is None:
        fields["length_max"] = grant.length_max
    for name in ("types", "networks"):
        if name in fields:
            fields[name] = (*getattr(grant, name), fields[name])
    return msgspec.structs.replace(grant, **fields)


def _uses(value: str) -> int:
    return _in_range(wire_int(value), 1)


def _window(value: str) -> int:
    return _in_range(wire_int(value), 0)


def _in_range(number: int, low: int) -> int:
    if not low <= number <= USES_MAX:
        raise ValueError
    return number


def _length(value: str) -> tuple[int, int]:
    found = _LENGTH.fullmatch(value)
    if not found or not int(found[1]) <= int(found[2]) <= USES_MAX:
        raise ValueError
    return int(found[1]), int(found[2])


def _types(value: str) -> tuple[str, ...]:
    patterns = tuple(pattern.strip(" ").lower() for pattern in value.split(","))
    for pattern in patterns:
        check_type_pattern(pattern)
    return patterns


def _networks(value: str) -> object:
    return parse_networks([network.strip(" ") for network in value.split(",")])


def _create(value: str) -> bool:
    if value != "true":
        raise ValueError
    return True


# The name of a condition: the field of a Grant, what reads it, and how it is written.
_READERS: Final[dict[str, tuple[str, Callable[[str], object], str]]] = {
    "x-valet-uses": ("uses", _uses, "a whole number, 1 or more"),
    "x-valet-window": ("window", _window, "a number of seconds"),
    "x-valet-length": ("length", _length, "the smallest and the largest number of bytes, as 1-1000000"),
    "x-valet-type": ("types", _types, "a list of types with commas, as image/png,image/*"),
    "x-valet-ip": ("networks", _networks, "a list of networks with commas, as 203.0.113.0/24,2001:db8::/32"),
    "x-valet-create": ("create_only", _create, "`true` or absent"),
}
NAMES: Final = frozenset(_READERS)
"""Of all conditions."""


def _malformed(name: str, said: str) -> Denied:
    return Denied("key_malformed", said).saying("InvalidArgument", said, 400, ArgumentName=name)


def _invalid(name: str, said: str) -> Denied:
    return Denied("parameter_invalid", said).saying("InvalidArgument", said, 400, ArgumentName=name)
