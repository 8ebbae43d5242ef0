"""Sockets to accept on: bound here, so that what is taken or forbidden is known before anything starts."""

import errno
import os
import socket
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from valetstore.config import Listen, parse_address
from valetstore.errors import ConfigInvalid

BACKLOG: Final = 4096


class AddressTaken(Exception):  # noqa: N818 - reads as what happened
    """Another program listens there: one sentence that names the address."""


def bind(setting: str, address: str) -> socket.socket:
    """A listening socket for `HOST:PORT` or `unix:PATH`. Raises ConfigInvalid, AddressTaken."""
    where = parse_address(setting, address)
    try:
        return _bind_unix(where) if isinstance(where, Path) else _bind_tcp(*where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressTaken(f"{setting}: {address}: another program is listening there") from error
        raise ConfigInvalid(f"{setting}: {address!r}: cannot be bound: {error.strerror or error}") from error


def check_plain_http(sockets: list[socket.socket], settings: Listen) -> None:
    """Refuse plain HTTP towards a network unless it is asked for, or a proxy speaks TLS in front."""
    # A proxy that comes over a Unix socket stands in front of no other.
    if settings.tls_cert or settings.insecure_http or set(settings.trusted_proxies) - {"unix"}:
        return
    for sock in sockets:
        if sock.family != socket.AF_UNIX and not ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback:
            raise ConfigInvalid(
                f"listen.listen: {show(sock)}: keys would cross the network unencrypted; set listen.tls-cert and "
                "listen.tls-key, or listen.trusted-proxies, or listen.insecure-http = true"
            )


def show(sock: socket.socket) -> str:
    """`HOST:PORT`, `[IPV6]:PORT` or `unix:PATH` of a bound socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{host}:{name[1]}"


def _bind_tcp(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_stale(path):
            path.unlink()
        sock.bind(str(path))
        os.chmod(path, 0o660)  # a proxy in the same group connects
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _is_stale(path: Path) -> bool:
    """A socket file that nobody answers on, left by a process that was killed."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
