"""Signing as Swift's own tools do: TempURLs for one object or for a prefix, and forms.

Rule 1: nothing here is used for judging. What it signs is put together here once more.
Rule 2: the path that is signed is the decoded one; the URL has it percent-encoded.
"""

import base64
import hmac
from typing import Final, NamedTuple
from urllib.parse import quote

HASHES: Final = ("sha1", "sha256", "sha512")


class Key(NamedTuple):
    """Who signs: an account as it stands in a path, and the bytes of a key's text."""

    account: str
    secret: bytes

    def __repr__(self) -> str:
        """Never shows the secret."""
        return f"Key({self.account!r})"


class Form(NamedTuple):
    """Where a form goes, and its fields in order; the files come after them."""

    url: str
    fields: dict[str, str]


def temp_url(
    key: Key,
    base_url: str,
    method: str,
    path: str,
    *,
    expires_at: int,
    hashed: str = "sha256",
    prefix: bool = False,
    ip_range: str = "",
    filename: str | None = None,
    inline: bool = False,
) -> str:
    """A TempURL until `expires_at` (seconds since the epoch) for `/container/name`, decoded.

    With `prefix` the path is what names begin with, and the rest of a name is appended to the URL's path. `ip_range` is
    one address or network.
    """
    whole = f"/v1/{key.account}{path}"
    signed = f"{method}\n{expires_at}\n{'prefix:' if prefix else ''}{whole}"
    if ip_range:
        signed = f"ip={ip_range}\n{signed}"
    parameters = [("temp_url_sig", _signature(key, signed, hashed)), ("temp_url_expires", str(expires_at))]
    if ip_range:
        parameters.append(("temp_url_ip_range", ip_range))
    if prefix:
        parameters.append(("temp_url_prefix", path.split("/", 2)[2]))
    if filename is not None:
        parameters.append(("filename", filename))
    query = "&".join(f"{name}={quote(value, safe=':/')}" for name, value in parameters)
    return f"{base_url.rstrip('/')}{quote(whole, safe='/~')}?{query}{'&inline' if inline else ''}"


def form(
    key: Key,
    base_url: str,
    path: str,
    *,
    expires_at: int,
    size_max: int,
    count_max: int = 1,
    redirect: str = "",
    hashed: str = "sha256",
) -> Form:
    """A form that uploads at most `count_max` files of at most `size_max` bytes each, whose names begin with `path`.

    `path` is `/container/` or more, decoded. `redirect` is where a browser goes afterwards.
    """
    whole = f"/v1/{key.account}{path}"
    own = {"max_file_size": str(size_max), "max_file_count": str(count_max), "expires": str(expires_at)}
    signed = "\n".join((whole, redirect, *own.values()))
    fields = {"redirect": redirect} if redirect else {}
    fields |= own | {"signature": _signature(key, signed, hashed)}
    return Form(f"{base_url.rstrip('/')}{quote(whole, safe='/~')}", fields)


def _signature(key: Key, text: str, hashed: str) -> str:
    """In hexadecimal; the longest in base64, as Swift's own tool writes it."""
    mac = hmac.digest(key.secret, text.encode(), hashed)
    return mac.hex() if hashed != "sha512" else f"sha512:{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
