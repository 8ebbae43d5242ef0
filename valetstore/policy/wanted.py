"""What somebody wants revoked: whether it can be, and what is wrong with it if not."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from valetstore.encoding import SECONDS_MAX
from valetstore.errors import Denied
from valetstore.keys.ring import NAME
from valetstore.objectkey import check_bucket, check_name, split_path
from valetstore.policy.revocation import Kind, Revocation

AHEAD_SECONDS_MAX: Final = 86_400
"""How far in the future `issued_before` may lie; further away, a unit was mistaken."""

REASON_BYTES_MAX: Final = 1_024
VALUE_BYTES_MAX: Final = 8_192

_IDENTITY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_wanted(wanted: Revocation, now: float) -> None:
    """Raise `parameter_invalid` that names the member, where this is no revocation that can be put in force."""
    try:
        size = len(wanted.value.encode()), len(wanted.reason.encode())
    except UnicodeEncodeError:
        raise _invalid(f"`{member_of(wanted.kind)}` or `reason` is not Unicode text.") from None
    if size[0] > VALUE_BYTES_MAX or size[1] > REASON_BYTES_MAX or UNPRINTABLE.search(wanted.reason):
        raise _invalid(
            f"`reason` has at most {REASON_BYTES_MAX} bytes on one line, "
            f"`{member_of(wanted.kind)}` at most {VALUE_BYTES_MAX}."
        )
    _VALUE_CHECKS[wanted.kind](wanted.value)
    if wanted.issued_before is not None and not 0 <= wanted.issued_before <= now + AHEAD_SECONDS_MAX:
        raise _invalid("`issued_before` is seconds since the epoch or a date, and at most a day ahead.")
    if wanted.expires_at is not None:
        if wanted.kind != "key":
            raise _invalid("`expires_at` is for one key alone; the others stay until they are undone.")
        if not now < wanted.expires_at <= SECONDS_MAX:
            raise _invalid("`expires_at` is in the past: the key has ended by itself.")


def member_of(kind: Kind) -> str:
    """What a request calls a value of this kind."""
    return "identity" if kind == "key" else kind.replace("-", "_")


def moment_of(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 date with a zone. Raises ValueError that says what is allowed."""
    try:
        if _RFC3339.fullmatch(text):
            return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):  # the 31st of February
        pass
    raise ValueError(f"{text!r} is not a date with a zone, as 2026-11-21T16:00:00Z")


def _check_identity(value: str) -> None:
    if not _IDENTITY.fullmatch(value):
        raise _invalid("`identity` is 32 hexadecimal digits, as the audit and `valetstore inspect` show them.")


def _check_signing_key(value: str) -> None:
    if not NAME.fullmatch(value) or value.startswith("_"):
        raise _invalid("`signing_key` is the name of one; those that begin with `_` are the gateway's own.")


def _check_subject(value: str) -> None:
    if not value:
        raise _invalid("`subject` is empty; keys without a subject are found by another kind.")


def _check_prefix(value: str) -> None:
    if not (value.startswith("/") and value.endswith("/")):
        raise _invalid("`prefix` starts and ends with a slash, as /bucket/folder/.")
    if value == "/":
        return
    bucket, name = split_path(value)
    try:
        check_bucket(bucket)
        check_name(name)
    except Denied as denied:
        raise _invalid(f"`prefix` could hold no object. {denied.detail}") from None


_VALUE_CHECKS: Final[dict[Kind, Callable[[str], None]]] = {
    "key": _check_identity,
    "signing-key": _check_signing_key,
    "subject": _check_subject,
    "prefix": _check_prefix,
}


def _invalid(detail: str) -> Denied:
    return Denied("parameter_invalid", detail)
