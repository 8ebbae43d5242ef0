"""URL files: one URL a line, as they are asked for.

Rule 1: a target is sent exactly as it stands: a signed URL that is written anew may be another one.
Rule 2: no message shows a URL's query: the key is in it.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import Final, NamedTuple

from bench.load.plan import Origin, Source
from valetstore.redact import redact

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][\x21-\x7e]*)?",
    re.ASCII | re.IGNORECASE,
)
_USER: Final = re.compile(r"//[^/]*@")
_PORTS: Final = {"http": 80, "https": 443}
_SHOWN: Final = 80


class BadUrls(Exception):  # noqa: N818 - reads as what happened
    """What stands in a URL file cannot be asked for; the message names file and line."""


class Url(NamedTuple):
    """Where it leads, what its Host says, and what is asked for there."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str


def read_urls(name: str, lines: Iterable[str]) -> list[Url]:
    """The URLs of a file called `name`. Empty lines and lines that begin with `#` are passed over. Raises BadUrls."""
    found = [
        _read_url(f"{name}:{number}", text)
        for number, line in enumerate(lines, 1)
        if (text := line.strip()) and not text.startswith("#")
    ]
    if not found:
        raise BadUrls(f"{name} has no URL in it: one a line is wanted")
    return found


def sources_of(
    urls: Sequence[Url], method: str, headers: Sequence[str], tls: ssl.SSLContext, *, once: bool
) -> list[Source]:
    """Requests by origin, in the order of the file; over and over unless `once`. Raises BadUrls for an unknown host."""
    heads: dict[tuple[str, str, int], list[bytes]] = {}
    for url in urls:
        lines = [f"{method} {url.target} HTTP/1.1", f"Host: {url.authority}", *headers, "", ""]
        heads.setdefault((url.scheme, url.host, url.port), []).append("\r\n".join(lines).encode("latin-1"))
    return [
        Source(_origin(host, port, tls if scheme == "https" else None), _in_turns(of_origin, once=once))
        for (scheme, host, port), of_origin in heads.items()
    ]


def _in_turns(heads: list[bytes], *, once: bool) -> Iterator[bytes]:
    return iter(heads) if once else cycle(heads)


def _read_url(place: str, text: str) -> Url:
    found = _URL.fullmatch(text.partition("#")[0])  # a fragment is for the client alone
    if found is None:
        raise BadUrls(
            f"{place}: not a URL: {_shown(text)!r}; wanted is http(s)://HOST[:PORT]/PATH in ASCII, without spaces"
        )
    scheme, host, target = found["scheme"].lower(), found["host"].lower(), found["target"] or "/"
    port = int(found["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise BadUrls(f"{place}: not a URL: {port} is no port")
    authority = host if found["port"] is None else f"{host}:{port}"
    return Url(scheme, host.strip("[]"), port, authority, target if target.startswith("/") else f"/{target}")


def _shown(text: str) -> str:
    """As much of it as names it, without what may be a key."""
    short = redact(_USER.sub("//***@", text.partition("?")[0]))
    return short if len(short) <= _SHOWN else f"{short[:_SHOWN]}..."


def _origin(host: str, port: int, tls: ssl.SSLContext | None) -> Origin:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadUrls(f"{host}:{port}: {reason.lower()}") from None
    return Origin(family, address, tls, host)  # type: ignore[arg-type]  # an IP family's address, by the type asked for
