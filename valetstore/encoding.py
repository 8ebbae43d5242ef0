"""Wire forms, read strictly: base64url, percent-encoding, queries, integers, HTTP dates, JSON.

Everything here is pure and raises ValueError on anything that is not exactly the form it reads. One
meaning per text: where a decoder of the standard library is lenient (`int(" 1_0")`, base64 with junk,
JSON with a key given twice), the lenient reading is refused, because a key that can be written in two
ways can be used twice.
"""

import binascii
import datetime
import re
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

# CR, LF and NUL would split a header; U+2028 and its kin do in what reads it later (logs, scripts).
UNSAFE_IN_HEADER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
"""Characters that no header value may carry."""

_WIRE_INT: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# What the other alphabet has is none of this one: it becomes what no decoder takes.
_URLSAFE_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_STANDARD_TO_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")
_PADDING: Final = (b"", b"===", b"==", b"=")
"""What a text lacks, by what its length leaves when divided by four."""
_LAST: Final = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
"""The last characters whose bits beyond the last whole byte are zero, by the same (RFC 4648 section 3.5)."""

_DAY: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK: Final = r"[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
# RFC 9110 section 5.6.7: one form to send, two obsolete ones that a recipient must still read.
_IMF_FIXDATE: Final = re.compile(rf"{_DAY}, [0-3][0-9] {_MONTH} [0-9]{{4}} {_CLOCK} GMT", re.ASCII)
_RFC850_DATE: Final = re.compile(rf"[A-Z][a-z]+day, [0-3][0-9]-{_MONTH}-[0-9]{{2}} {_CLOCK} GMT", re.ASCII)
_ASCTIME_DATE: Final = re.compile(rf"{_DAY} {_MONTH} [ 0-3][0-9] {_CLOCK} [0-9]{{4}}", re.ASCII)


def b64url_encode(data: bytes) -> bytes:
    """base64url without padding (RFC 7515 section 2)."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_STANDARD_TO_URLSAFE)


def b64url_decode(text: bytes) -> bytes:
    """Decode unpadded base64url; only the one canonical text of those bytes is accepted."""
    rest = len(text) & 3
    # `QQ` and `QR` decode alike: of a last character that stands for less than six bits only one spelling counts.
    if not rest or text[-1] in _LAST[rest]:
        try:
            return binascii.a2b_base64(text.translate(_URLSAFE_TO_STANDARD) + _PADDING[rest], strict_mode=True)
        except binascii.Error:
            pass
    raise ValueError("not base64url" if rest == 1 else "not canonical base64url")


def percent_decode(raw: bytes) -> str:
    """Percent-decode once, as strict UTF-8. `+` stays `+` (RFC 3986 knows no other meaning)."""
    if b"%" in raw:
        if _BAD_PERCENT.search(raw):
            raise ValueError("a percent sign without two hexadecimal digits")
        # Credentials have no other escape than this one.
        plain = raw.replace(b"%2F", b"/")
        raw = unquote_to_bytes(raw) if b"%" in plain else plain
    return raw.decode("utf-8", "strict")


def split_query(raw: bytes) -> tuple[tuple[str, str], ...]:
    """A raw query as decoded (name, value) pairs in order; a name without `=` has the value ""."""
    pairs = []
    for part in raw.decode("utf-8", "strict").split("&"):
        if part:
            name, _, value = part.partition("=")
            # Most parts have no escape: what they say is what they are.
            if "%" in part:
                name = percent_decode(name.encode()) if "%" in name else name
                value = percent_decode(value.encode())
            pairs.append((name, value))
    return tuple(pairs)


def wire_int(text: str) -> int:
    """A non-negative integer of 1 to 19 ASCII digits: no sign, space, underscore or other script."""
    if not _WIRE_INT.fullmatch(text):
        raise ValueError("not a plain decimal integer")
    return int(text)


def parse_http_date(text: str) -> int | None:
    """An HTTP date as whole seconds since the epoch, or None where it is not one (RFC 9110 5.6.7)."""
    if not (_IMF_FIXDATE.fullmatch(text) or _RFC850_DATE.fullmatch(text) or _ASCTIME_DATE.fullmatch(text)):
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:  # the 31st of February
        return None
    if moment.tzinfo is None:  # asctime carries no zone; it is GMT
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp())


SECONDS_MAX: Final = 253_402_300_799
"""The end of the year 9999: dates have four digits for the year, file systems have more."""


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """Seconds since the epoch in the one form that is sent: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    seconds = min(max(seconds, 0), SECONDS_MAX)
    return format_datetime(datetime.datetime.fromtimestamp(seconds, datetime.UTC), usegmt=True)


NESTED_MAX: Final = 100
"""How deep objects and arrays of a JSON text may lie in one another (RFC 8259 section 9 leaves it to the reader). What
the interpreter itself can bear differs from one Python to the next.
"""
_JSON_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKET: Final = re.compile(rb"[\[\]{}]")


def strict_json(data: bytes) -> object:
    """Decode JSON; a member given twice, NaN, an overlong number, or deep nesting is refused.

    msgspec refuses the others; the first is found by `holds_all`, the last by `is_nested_too_deeply`. Only a text that
    spells a closing backslash as `\\u005c` is refused without need.
    """
    try:
        value: object = msgspec.json.decode(data)
        written = msgspec.json.encode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not holds_all(written, data):
        raise ValueError("not JSON: a member is given twice")
    if is_nested_too_deeply(data):
        raise ValueError(f"not JSON: nested more than {NESTED_MAX} deep")
    return value


def holds_all(written: bytes, data: bytes) -> bool:
    """Whether JSON that msgspec has read from `data` and `written` back still has every member: none was given twice.

    A text has two quotes a string (those inside one are escaped and taken off), so a dropped member leaves fewer.
    """
    return written == data or _quotes(written) == _quotes(data)


def is_nested_too_deeply(data: bytes) -> bool:
    """Whether a text that is JSON goes deeper than NESTED_MAX."""
    if data.count(b"[") + data.count(b"{") <= NESTED_MAX:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_JSON_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > NESTED_MAX:
            return True
    return False


def _quotes(text: bytes) -> int:
    return text.count(b'"') - text.count(b'\\"')


def content_disposition(kind: str, filename: str) -> str:
    """`attachment; filename="x"`, with the RFC 5987 form beside it where the name is not plain ASCII (RFC 6266)."""
    plain = filename.encode("ascii", "replace").decode().replace("?", "_") if not filename.isascii() else filename
    plain = re.sub(r'[\x00-\x1f\x7f"\\]', "_", plain)
    value = f'{kind}; filename="{plain}"'
    if plain != filename:
        value += f"; filename*=UTF-8''{quote(filename, safe='!#$&+-.^_`|~', encoding='utf-8', errors='replace')}"
    return value
