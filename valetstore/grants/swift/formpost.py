"""FormPost: a browser's upload of several files, whose names begin with the path that was signed.

Rule 1: what is signed is the path, where the browser goes afterwards, how large and how many the files may be, and
until when. All of it stands before the first file.
Rule 2: five lines are signed, one after the other. A line end within one would make it two, so none may hold any.
Rule 3: a field that would change what is kept of the files is honoured or refused, never passed over.

Source: OpenStack Swift, `formpost` middleware.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from valetstore.encoding import SECONDS_MAX, UNSAFE_IN_HEADER, wire_int
from valetstore.errors import Denied
from valetstore.grants.swift.address import is_form_path, place_of
from valetstore.grants.swift.rules import Rules
from valetstore.grants.swift.signature import Held, Signature, held_by, read_signature
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

ACTION: Final = "FormPost"
WORDS: Final = "FormPost"
"""What marks a refusal in this file's words, which the answer shows as they are."""

REDIRECT: Final = "redirect"
SIZE_MAX: Final = "max_file_size"
COUNT_MAX: Final = "max_file_count"
EXPIRES: Final = "expires"
SIGNATURE: Final = "signature"
SIGNED: Final = (REDIRECT, SIZE_MAX, COUNT_MAX, EXPIRES)
"""The fields that are signed, in this order, after the path."""
TYPE: Final = "content-type"
ENCODING: Final = "content-encoding"
DELETES: Final = ("x_delete_at", "x_delete_after")


class Asked(NamedTuple):
    """What a form says. `size_max` is bytes of each file, `count_max` how many there may be, `expires` seconds since
    the epoch. `content_type` and `content_encoding` are of all files, None where each says its own.
    """

    redirect: str
    size_max: int
    count_max: int
    expires: int
    content_type: str | None
    content_encoding: str | None


class Proven(NamedTuple):
    """A form that holds."""

    held: Held
    signature: Signature
    asked: Asked


def in_form(inbound: Inbound) -> bool:
    """Whether a form of Swift's came, well-formed or not."""
    return inbound.form is not None and is_form_path(inbound)


def fields_of(inbound: Inbound) -> dict[str, str]:
    """A form's fields up to its first file, by lower-case name. Raises `parameter_invalid` for one given twice."""
    fields: dict[str, str] = {}
    for name, value in inbound.form or ():
        if name in fields:
            raise invalid(f"{name} is given more than once")
        fields[name] = value
    return fields


def read_form(fields: Mapping[str, str]) -> Asked:
    """What the fields say. Raises `parameter_invalid`, `not_implemented`."""
    for name in DELETES:
        if name in fields:
            raise Denied("not_implemented", f"{name} is not served here: no object goes by itself.").saying(
                WORDS, f"FormPost: {name} is not served here", 501
            )
    for name in (REDIRECT, TYPE, ENCODING):
        if UNSAFE_IN_HEADER.search(fields.get(name, "")):
            raise invalid(f"{name} has a control character")
    return Asked(
        fields.get(REDIRECT, ""),
        _number(fields, SIZE_MAX),
        _number(fields, COUNT_MAX),
        min(_number(fields, EXPIRES), SECONDS_MAX),
        fields.get(TYPE),
        fields.get(ENCODING),
    )


def verify(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove a form. Raises as `fields_of`, `read_form`; `key_malformed`, `signature_mismatch`."""
    fields = fields_of(inbound)
    asked, place = read_form(fields), place_of(inbound)
    if place is None:
        raise Denied("signature_mismatch", reason="the path names no account")
    signature = read_signature(fields.get(SIGNATURE, ""), rules)
    return Proven(held_by(place.account, signature, [text_of(inbound.path, fields)], keys), signature, asked)


def text_of(path: str, fields: Mapping[str, str]) -> bytes:
    """The text whose HMAC is the signature: a decoded path, the fields as they are. Raises `parameter_invalid`."""
    # Swift signs what a form leaves out as it signs "0", but for the redirect.
    lines = [path, fields.get(REDIRECT, ""), *(fields.get(name) or "0" for name in SIGNED[1:])]
    if any("\n" in line for line in lines):
        raise invalid("a line end is in what was signed")
    return "\n".join(lines).encode()


def invalid(reason: str) -> Denied:
    """A form that is none, in Swift's words where it has any for this."""
    return Denied("parameter_invalid", f"The form: {reason}.").saying(WORDS, f"FormPost: {reason}", 400)


def ended(reason: str) -> Denied:
    """A form that has not what it needs, or more than it may: Swift says that in another way."""
    return Denied("parameter_invalid", f"The form: {reason}.").saying(
        WORDS, f"400 Bad Request\r\nFormPost: {reason.title()}", 400
    )


def _number(fields: Mapping[str, str], name: str) -> int:
    try:
        return wire_int(fields.get(name) or "0")
    except ValueError:
        raise invalid(f"{name} not an integer") from None
