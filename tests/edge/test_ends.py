"""How a gateway ends, and what must not keep it from ending."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.edge.doors import opened
from tests.edge.wire import wait_until
from tests.gate import Gate, free_port, run_cli


def test_a_scraper_that_keeps_its_connection_does_not_keep_the_gateway(tmp_path: Path) -> None:
    port = free_port()
    with (
        Gate(tmp_path, args=("--metrics", f"127.0.0.1:{port}")) as gate,
        socket.create_connection(("127.0.0.1", port)) as scraper,
    ):
        scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert scraper.recv(65536).startswith(b"HTTP/1.1 200")
        assert gate.stop(patience_seconds=10) == 0


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    """stderr is a pipe that is full: more lines than it holds, and the gateway still answers and ends."""
    port = free_port()
    (tmp_path / "v.toml").write_text("")
    command = [sys.executable, "-m", "valetstore", "serve", "--data", "d", "--listen", f"127.0.0.1:{port}"]
    running = subprocess.Popen(
        [*command, "--metrics", "off", "--config", "v.toml"], cwd=tmp_path, stderr=subprocess.PIPE
    )
    try:
        assert running.stderr
        assert b"ready on" in running.stderr.readline()
        (tmp_path / "v.toml").write_text(f"{'x' * 10_000} = 1")  # each reload says so
        for _ in range(60):
            running.send_signal(signal.SIGHUP)
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(b"GET /_valet/live HTTP/1.0\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        running.terminate()
        assert running.wait(20) == 0


def test_a_socket_that_was_handed_over_stays(tmp_path: Path) -> None:
    """The service manager keeps its Unix socket; connections wait there through a restart."""
    path = tmp_path / "gate.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        script = "import os,sys; os.environ['LISTEN_PID']=str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
        serve = [sys.executable, "-m", "valetstore", "serve", "--data", str(tmp_path / "d"), "--metrics", "off"]
        running = subprocess.Popen(
            [sys.executable, "-c", script, *serve],
            env=os.environ | {"LISTEN_FDS": "1"},
            preexec_fn=lambda: os.dup2(listener.fileno(), 3, inheritable=True),
            close_fds=False,
            stderr=subprocess.PIPE,
        )
        assert running.stderr
        assert b"ready on unix:" in running.stderr.readline()
        running.terminate()
        assert running.wait(20) == 0
        assert path.exists()


def test_a_part_is_not_taken_for_the_whole(gate: Gate) -> None:
    """`curl -C` sends Content-Range with a PUT: replacing the object by its tail would lose the rest."""
    assert gate.ask("PUT", gate.sign("PUT", "/p/x"), b"x" * 100).status == 201
    answer = gate.ask("PUT", gate.sign("PUT", "/p/x"), b"x" * 10, {"Content-Range": "bytes 90-99/100"})
    assert answer.code == "parameter_invalid"
    assert len(gate.ask("GET", gate.sign("GET", "/p/x")).body) == 100


def test_silent_handshakes_are_limited_by_address(tmp_path: Path) -> None:
    """Connections that never say anything on a TLS port take no more descriptors than connections may."""
    limits = {"connections-per-address-max": 20, "connections-max": 50}
    with opened("tls", tmp_path, {"limits": limits}) as door:
        assert door.gate.process
        folder = Path(f"/proc/{door.gate.process.pid}/fd")
        before = len(list(folder.iterdir()))
        silent = [socket.create_connection(door.address) for _ in range(200)]
        time.sleep(0.5)
        assert len(list(folder.iterdir())) - before <= 40
        for one in silent:
            one.close()

        def is_let_in() -> bool:
            """Where it has not yet seen all of them go, the handshake is cut short."""
            with contextlib.suppress(ConnectionError):
                return door.ask("GET", "/_valet/live").status == 200
            return False

        wait_until(is_let_in)


@pytest.mark.parametrize(
    "config",
    [
        '[listen]\nlisten = ["0.0.0.0:0"]\ntrusted-proxies = ["unix"]',
        "[audit]\naudit-to = 'off'\naudit-required = true",
    ],
)
def test_settings_that_would_undo_each_other_are_refused(tmp_path: Path, config: str) -> None:
    (tmp_path / "v.toml").write_text(config)
    done = run_cli("serve", "--data", "d", "--metrics", "off", "--config", "v.toml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
