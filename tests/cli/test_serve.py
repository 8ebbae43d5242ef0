"""`valetstore serve`: how it starts, refuses to start, and ends. And `check`, `scrub`, `buckets`."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gate import Gate, free_port, run_cli

Start = Callable[..., Gate]


def serve(folder: Path, *arguments: str, config: str = "") -> tuple[int, str]:
    """Try to start where it must not: exit status and what it said."""
    if config:
        (folder / "valetstore.toml").write_text(config)
        arguments += ("--config", "valetstore.toml")
        if "listen = [" not in config:
            arguments += ("--listen", "127.0.0.1:0")
    done = run_cli("serve", "--data", "data", "--metrics", "off", *arguments, cwd=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("[limits]\nheader-seconds = 0", "limits.header-seconds: 0: must be a whole number >= 1"),
        ("[limits]\nheader-second = 1", "limits.header-second: is not a setting; allowed here: connections-max"),
        ("[storage]\nfree-bytes-min = 'x'", "storage.free-bytes-min: 'x': must be a whole number"),
        ("[buckets.a]\nlayout = 'tree'", "buckets.a.layout: 'tree': must be objects or files"),
        ("[buckets.'a b']\nlayout = 'files'", "buckets.a b"),
        ("[listen]\nlisten = ['nowhere']", "listen.listen: 'nowhere': must be HOST:PORT"),
        ("[listen]\ntls-cert = 'c.pem'", "tls-key is missing; give both"),
        ("[listen]\ntls-cert = '/none/c.pem'\ntls-key = '/none/k.pem'", "/none/c.pem: there is no such file"),
        ("[listen]\nlisten = ['0.0.0.0:0']", "insecure-http"),
        ("limits = 5", "limits: 5: must be a table"),
        ("not toml", "is not TOML"),
    ],
)
def test_a_bad_setting_is_one_sentence_and_exit_2(config: str, named: str, tmp_path: Path) -> None:
    status, said = serve(tmp_path, config=config)
    assert status == 2, said
    assert named in said
    assert said.count("\n") == 1


def test_plain_http_beyond_loopback_is_allowed_when_asked_for(start: Start) -> None:
    gate = start("[listen]\ninsecure-http = true", "--listen", "0.0.0.0:0")
    assert gate.says("ready on http://0.0.0.0:"), gate.log


def test_an_explicit_port_that_is_taken_is_exit_4(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, said = serve(tmp_path, "--listen", address)
        assert status == 4
        assert address in said
        status, said = serve(tmp_path, "--listen", "127.0.0.1:0", "--metrics", address)
        assert status == 4


def test_the_default_metrics_port_taken_is_only_a_warning(start: Start) -> None:
    try:
        blocker = socket.create_server(("127.0.0.1", 9420))
    except OSError:
        blocker = None  # someone else has it: just as good
    try:
        gate = start("", "--metrics", "127.0.0.1:9420")
        assert gate.says("warning"), gate.log
        assert gate.says("going on without metrics"), gate.log
    finally:
        if blocker:
            blocker.close()


def test_a_second_server_on_the_same_data_is_exit_3_and_says_who(start: Start) -> None:
    gate = start()
    done = run_cli("serve", "--data", str(gate.data), "--listen", "127.0.0.1:0", "--metrics", "off", cwd=gate.folder)
    assert done.returncode == 3
    assert gate.process
    assert str(gate.process.pid) in done.stderr
    assert gate.base in done.stderr


def test_a_killed_server_leaves_the_data_to_the_next(start: Start) -> None:
    gate = start()
    gate.kill()
    again = start(folder=gate.folder)
    assert again.ask("GET", "/_valet/live").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0(start: Start, number: int) -> None:
    assert start().stop(number) == 0


def test_it_accepts_on_a_unix_socket_and_takes_the_file_away(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "gate.sock"
    gate = start("", "--listen", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /_valet/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    gate.stop()
    assert not path.exists()


def test_inherited_sockets_are_used(tmp_path: Path) -> None:
    """Socket activation: the listening socket is descriptor 3, and nothing else is bound."""
    import subprocess
    import sys
    import time

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    script = "import os,sys; os.environ['LISTEN_PID']=str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-m", "valetstore", "serve", "--data", str(tmp_path / "d"), "--metrics", "off"]

    def hand_over() -> None:
        os.dup2(listener.fileno(), 3, inheritable=True)

    running = subprocess.Popen(
        [sys.executable, "-c", script, *command],
        env=os.environ | {"LISTEN_FDS": "1"},
        preexec_fn=hand_over,
        pass_fds=(3,) if listener.fileno() == 3 else (),
        close_fds=False,
        stderr=subprocess.PIPE,
    )
    try:
        assert running.stderr
        assert f"ready on http://127.0.0.1:{port}".encode() in running.stderr.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /_valet/live HTTP/1.0\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        time.sleep(0.1)
    finally:
        running.terminate()
        assert running.wait(20) == 0
        listener.close()


def test_environment_and_flags_win_over_the_file(start: Start) -> None:
    config = "[limits]\nlist-entries-max = 1\nupload-bytes-max = 3\n"
    gate = start(config, environment={"VALETSTORE_UPLOAD_BYTES_MAX": "5"})
    assert gate.ask("PUT", gate.sign("PUT", "/a/b"), b"12345").status == 201
    assert gate.ask("PUT", gate.sign("PUT", "/a/b"), b"123456").code == "too_large"
    gate.ask("PUT", gate.sign("PUT", "/a/c"), b"1")
    page = gate.ask("GET", gate.sign("LIST", "/a/")).json()
    assert [row["name"] for row in page["objects"]] == ["b"]
    assert page["next"] == "b"


def test_buckets_are_made_listed_and_removed(gate: Gate) -> None:
    gate.cli("buckets", "create", "made")
    assert "made" in gate.cli("buckets", "list").splitlines()
    assert "made" in json.loads(gate.cli("buckets", "list", "--json"))
    gate.ask("PUT", gate.sign("PUT", "/made/x"), b"x")
    assert "not empty" in gate.cli("buckets", "delete", "made", status=1)
    gate.ask("DELETE", gate.sign("DELETE", "/made/x"))
    gate.cli("buckets", "delete", "made")
    assert "made" not in gate.cli("buckets", "list").splitlines()
    assert "there is none" in gate.cli("buckets", "delete", "made", status=2)
    assert "is reserved" in gate.cli("buckets", "create", "_valet", status=2)


def test_uploads_make_no_bucket_where_the_setting_says_so(start: Start) -> None:
    gate = start("[storage]\ncreate-buckets = false")
    assert gate.ask("PUT", gate.sign("PUT", "/a/b"), b"x").code == "not_found"
    gate.cli("buckets", "create", "a")
    assert gate.ask("PUT", gate.sign("PUT", "/a/b"), b"x").status == 201


def test_scrub_finds_a_flipped_bit_and_sets_the_object_aside(start: Start) -> None:
    gate = start()
    for name in ("good", "bad"):
        gate.ask("PUT", gate.sign("PUT", f"/a/{name}"), b"x" * 1000)
    path = gate.data / "objects/a/bad"
    stamp = path.stat()
    with path.open("r+b") as file:
        file.write(b"y")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    out = gate.cli("scrub", "--dry-run", status=1)
    assert "/a/bad" in out
    assert path.exists()
    report = json.loads(gate.cli("scrub", "--json", "--rate", "10MiB", status=1))
    assert report["sound"] == 1
    assert [bad["name"] for bad in report["bad"]] == ["bad"]
    assert gate.ask("GET", gate.sign("GET", "/a/bad")).code == "not_found"
    assert "1 sound, 0 bad" in gate.cli("scrub")


def test_check_finds_nothing_wrong_with_a_gateway_that_runs(gate: Gate) -> None:
    findings = {finding["name"]: finding for finding in json.loads(gate.cli("check", "--json"))}
    assert findings["gateway directly"]["verdict"] == "ok"
    for name in ("settings", "signing keys", "file system", "free space", "file descriptors", "clock"):
        assert findings[name]["verdict"] in ("ok", "warning")


def test_check_names_what_an_unreachable_public_url_is(gate: Gate) -> None:
    out = gate.cli("check", "--public-url", f"http://127.0.0.1:{free_port()}", status=1)
    assert "cannot be reached" in out


def test_every_command_has_help(tmp_path: Path) -> None:
    for command in ("serve", "keys", "sign", "inspect", "buckets", "check", "scrub"):
        done = run_cli(command, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "Usage:" in done.stdout
    assert "..." not in run_cli("--help", cwd=tmp_path).stdout.partition("Commands:")[2]
    assert run_cli("--version", cwd=tmp_path).stdout.startswith("valetstore, version ")
    assert run_cli("fly", cwd=tmp_path).returncode == 2
