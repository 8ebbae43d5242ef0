"""systemd: readiness, watchdog and inherited sockets, by their plain protocols.

Rule 1: the environment is given, not read here; without systemd's variables everything does nothing.
Rule 2: no call waits and none fails: a manager that does not listen must not stop a gateway that serves.
"""

import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Final

from valetstore.errors import ConfigInvalid

FIRST_DESCRIPTOR: Final = 3
"""Where inherited sockets begin (sd_listen_fds(3))."""

_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class Notifier:
    """Tells the service manager how the service is (sd_notify(3)). Each call says whether it was sent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))

    def ready(self, status: str = "") -> bool:
        """The start, or a reload, is complete: connections are accepted."""
        return self._send("READY=1", *_status(status))

    def stopping(self, status: str = "") -> bool:
        """The service drains and ends."""
        return self._send("STOPPING=1", *_status(status))

    def reloading(self) -> bool:
        """Keys and settings are being read again; `ready` ends it."""
        # The time lets the manager tell this reload from an earlier one.
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(*_status(text))

    def watchdog(self) -> bool:
        """The service is alive: to be sent every `watchdog_interval` seconds."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        if not self._address or not lines:
            return False
        message = "\n".join(lines).encode("utf-8", "backslashreplace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message, self._address)
        except OSError:
            return False
        return True


def watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """How often to send `watchdog`, in seconds: half the manager's limit. None where it does not watch."""
    limit = environment.get("WATCHDOG_USEC", "")
    watched = environment.get("WATCHDOG_PID", "")
    if not _NUMBER.fullmatch(limit) or int(limit) == 0 or (watched and watched != str(os.getpid())):
        return None
    return int(limit) / 2_000_000


def inherited_sockets(environment: Mapping[str, str]) -> list[socket.socket]:
    """The listening sockets the manager opened for this process, in its order; not passed on further.

    The variables were meant for this process alone: call it once. Raises ConfigInvalid where a descriptor
    is not a listening stream socket.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not re.fullmatch(r"[0-9]{1,3}", count, re.ASCII):
        return []
    return [_listener(FIRST_DESCRIPTOR + number) for number in range(int(count))]


def _listener(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        listener = socket.socket(fileno=fd)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigInvalid(f"LISTEN_FDS: descriptor {fd} is not a socket: {error.strerror}") from error
    if not listening:
        listener.detach()
        raise ConfigInvalid(f"LISTEN_FDS: descriptor {fd} does not listen; the unit needs ListenStream=")
    return listener


def _address(name: str) -> str:
    """A path as it is; `@name` is a socket without a file, spelled with a NUL (unix(7))."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else ""


def _status(text: str) -> tuple[str, ...]:
    """A line break would start another assignment."""
    return (f"STATUS={' '.join(text.split())}",) if text else ()
