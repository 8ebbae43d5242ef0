"""systemd hears what it should, and its absence changes nothing."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from valetstore.notify import Notifier, inherited_sockets, watchdog_interval


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket and what it puts into NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = str(tmp_path / "notify")
        if request.param == "abstract":
            name = f"@valetstore-test-{os.getpid()}"
        listener.bind(name.replace("@", "\0", 1))
        listener.settimeout(10)
        yield listener, name


def test_each_state_is_told_in_systemds_words(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for tell, message in [
        (notifier.ready, b"READY=1"),
        (notifier.stopping, b"STOPPING=1"),
        (notifier.watchdog, b"WATCHDOG=1"),
        (lambda: notifier.ready("serving"), b"READY=1\nSTATUS=serving"),
        (lambda: notifier.status("3 workers"), b"STATUS=3 workers"),
    ]:
        assert tell()
        assert listener.recv(4096) == message


def test_a_reload_carries_the_monotonic_time_in_microseconds(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    earliest = time.monotonic_ns() // 1000
    assert Notifier({"NOTIFY_SOCKET": name}).reloading()
    first, second = listener.recv(4096).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.startswith(b"MONOTONIC_USEC=")
    assert earliest <= int(second.removeprefix(b"MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_a_status_with_line_breaks_stays_one_assignment(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    assert Notifier({"NOTIFY_SOCKET": name}).status("a\nREADY=1\udc80")
    assert listener.recv(4096) == b"STATUS=a READY=1\\udc80"


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1234", "/no/such/socket", "@valetstore-nobody"])
def test_without_a_manager_nothing_is_sent_and_nothing_fails(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name} if name else {})
    assert not notifier.ready("x")
    assert not notifier.reloading()
    assert not notifier.watchdog()
    assert not notifier.status("")


def test_a_manager_that_does_not_read_stops_nobody(manager: tuple[socket.socket, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    started = time.monotonic()
    sent = [notifier.watchdog() for _ in range(5000)]
    assert not all(sent)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "5000000"}, 2.5),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environment: dict[str, str], seconds: float | None) -> None:
    # Parameters may be made in another process than the one that runs the test.
    if environment.get("WATCHDOG_PID", "1") != "1":
        environment = environment | {"WATCHDOG_PID": str(os.getpid())}
    assert watchdog_interval(environment) == seconds


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_PID": "me"}]
)
def test_sockets_for_another_process_are_left_alone(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment) == []


@pytest.mark.parametrize("count", ["", "-1", "1.0", "\u0661", "99999999999"])
def test_an_odd_count_is_no_count(count: str) -> None:
    assert inherited_sockets({"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid())}) == []


# What systemd does between fork and exec: the descriptors from 3 on, and this process's id.
_ACTIVATED = """
import os, sys
from valetstore.errors import ConfigInvalid
from valetstore.notify import inherited_sockets
fds = [os.dup(int(fd)) for fd in sys.argv[1:]]
saved = [os.dup2(fd, 100 + number) for number, fd in enumerate(fds)]
for number, fd in enumerate(saved):
    os.dup2(fd, 3 + number, inheritable=True)
try:
    found = inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))})
except ConfigInvalid as error:
    sys.exit(f"refused: {error}")
for listener in found:
    fd = listener.fileno()
    print(fd, listener.family.name, os.get_inheritable(fd), listener.getsockname())
"""


def activated(*fds: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _ACTIVATED, *map(str, fds)]
    return subprocess.run(command, pass_fds=fds, capture_output=True, text=True, timeout=60, check=False)


def test_inherited_sockets_are_what_they_are_and_go_no_further(tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(path)
        local.listen()
        result = activated(tcp.fileno(), local.fileno())
        assert result.stdout.splitlines() == [
            f"3 AF_INET False {tcp.getsockname()}",
            f"4 AF_UNIX False {path}",
        ]
    assert result.returncode == 0, result.stderr


def test_a_descriptor_that_is_no_listening_socket_is_refused_by_name(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        assert "refused: LISTEN_FDS: descriptor 3 is not a socket" in activated(file.fileno()).stderr
        assert "descriptor 3 does not listen" in activated(datagram.fileno()).stderr
