"""How a command reaches the gateway that serves a data directory on this machine.

Rule 1: a certificate is made for the public name, not for 127.0.0.1, so on loopback it is not verified: nobody
else can answer there. Every other address is verified.
Rule 2: what is sent is what a client would send; nothing here claims to be a proxy.
"""

import http.client
import re
import socket
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_UNIX: Final = "unix:"
# What is accepted on all addresses is reached at loopback's.
_ANYWHERE: Final = re.compile(r"^(https?://)(0\.0\.0\.0|\[::\])(?=:|$)")
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - looked up, never bound


def reachable(address: str) -> str:
    """A listener's address as a client on this machine may use it."""
    return _ANYWHERE.sub(lambda found: found[1] + _LOOPBACK[found[2]], address)


def doors(addresses: Sequence[str]) -> list[str]:
    """Those of a gateway's addresses that a command can use: all but TLS on a name it could not verify."""
    return [url for url in map(reachable, addresses) if not url.startswith("https://") or is_loopback(url)]


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this very machine by its address."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def connection(url: str, seconds: float, *, verified: bool) -> http.client.HTTPConnection:
    """A connection, not opened yet, to `http://`, `https://` or `unix:PATH`."""
    if url.startswith(_UNIX):
        return _UnixConnection(url.removeprefix(_UNIX), seconds)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=seconds)
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._seconds)
        self.sock.connect(self._path)
