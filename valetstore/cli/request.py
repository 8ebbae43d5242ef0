"""The request that a user describes to a command: a URL or a form as it was handed out, a method, headers."""

import re
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from valetstore.cli.options import read_file
from valetstore.errors import ConfigInvalid
from valetstore.inbound import Form, Headers
from valetstore.redact import redact

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:([^\x00-\x08\x0a-\x1f\x7f]*)")
_STDIN_BYTES_MAX: Final = 65_536
_FILE: Final = "file"


class Described(msgspec.Struct):
    """Where a request goes, and the fields of a form where it is one; `host` has the port, where there is one."""

    host: str
    target: bytes
    tls: bool
    form: Form | None = None


class _PostForm(msgspec.Struct):
    """What SDKs return for a POST form."""

    url: str
    fields: dict[str, str]


def described(text: str) -> Described:
    """A URL, or a form as JSON (`url` and `fields`); `-` reads it from standard input. Raises ConfigInvalid."""
    text = (sys.stdin.read(_STDIN_BYTES_MAX) if text == "-" else text).strip()
    if not text.startswith("{"):
        return _described(text, None)
    try:
        form = msgspec.json.decode(text, type=_PostForm)
    except msgspec.DecodeError:
        raise ConfigInvalid("URL: a form is JSON with `url` and `fields`, as boto3 returns it") from None
    fields = [(name.lower(), value) for name, value in form.fields.items() if name.lower() != _FILE]
    return _described(form.url, (*fields, (_FILE, _FILE)))


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
    target = ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode()
    return Described(parts.netloc, target, parts.scheme == "https", form)
