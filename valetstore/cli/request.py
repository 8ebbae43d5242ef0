"""The request that a user describes to a command: a URL, a form or a cookie as it was handed out, a method, headers."""

import re
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from valetstore.cli.options import read_file
from valetstore.errors import ConfigInvalid
from valetstore.inbound import Form, Headers
from valetstore.pasted import read_handed
from valetstore.redact import redact

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:([^\x00-\x08\x0a-\x1f\x7f]*)")
_STDIN_BYTES_MAX: Final = 65_536
_COOKIE: Final = "cookie:"


class Described(msgspec.Struct):
    """Where a request goes, and what else is known of it: a form's fields, a cookie.

    `headers` are by lower-case name; `host` has the port, where there is one. It `has_place` unless a cookie was given
    alone.
    """

    headers: dict[str, str]
    target: bytes
    tls: bool
    form: Form | None = None
    has_place: bool = True

    def at(self, url: str) -> "Described":
        """The same with the place that the key itself says: a URL, or only a path."""
        parts = urlsplit(url)
        host = {"host": parts.netloc} if parts.netloc else {}
        target = ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()
        return Described(self.headers | host, target, parts.scheme == "https", self.form)


def described(text: str) -> Described:
    """A URL, JSON (`url`, and a form's `fields` or `cookies`), or a `Cookie:` line; `-` reads it from standard input.

    Raises ConfigInvalid.
    """
    text = (sys.stdin.read(_STDIN_BYTES_MAX) if text == "-" else text).strip()
    if text.lower().startswith(_COOKIE):
        return Described({"cookie": text[len(_COOKIE) :].strip()}, b"/", tls=False, has_place=False)
    if not text.startswith("{"):
        return _described(text, None)
    try:
        handed = read_handed(text)
    except ValueError:
        raise ConfigInvalid("URL: JSON has `url`, and a form's `fields` or `cookies`, as signers return them") from None
    described = _described(handed.url, handed.form)
    if handed.cookie:
        described.headers["cookie"] = handed.cookie
        # Cookies for all that is below: an object there is as good as any.
        described.has_place = not described.target.endswith(b"/")
    return described


def header_of(text: str) -> tuple[str, str]:
    """`NAME: VALUE`, the name in lower case. Raises ConfigInvalid."""
    found = _HEADER.fullmatch(text)
    if not found:
        raise ConfigInvalid(f"--header {redact(text)!r}: must be written 'NAME: VALUE'")
    return found[1].lower(), found[2].strip()


def pairs_of(headers: dict[str, str]) -> Headers:
    """Headers as they are on the wire."""
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def text_of(option: str, path: Path) -> str:
    """A text file that the user named with an option. Raises ConfigInvalid."""
    try:
        return read_file(option, path).decode()
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{option} {path}: is not text") from None


def _described(url: str, form: Form | None) -> Described:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigInvalid(f"URL {redact(url)!r}: must start with http:// or https:// and a host")
    return Described({}, b"/", tls=False, form=form).at(url)
