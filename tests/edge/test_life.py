"""A gateway's life: it starts or says why not, takes new settings and certificates, ends well."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import Door, make_certificate, mint, opened, target
from tests.edge.wire import Wire, chunk, head, wait_until
from tests.gate import Gate, run_cli

Start = Callable[..., Gate]


def test_sigterm_lets_a_slow_download_finish(start: Start) -> None:
    """New connections are refused meanwhile; the exit status is 0."""
    gate = start()
    data = os.urandom(2**20) * 16
    assert gate.ask("PUT", gate.sign("PUT", "/l/big"), data).status == 201
    with Wire(gate.address) as wire:
        wire.send(head("GET", target("/l/big", mint(gate, ops=["read"], path="/l/big"))))
        wire.sock.recv(1)
        assert gate.process
        gate.process.terminate()
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError), socket.create_connection(gate.address, 1):
            pass
        got = 1
        while part := wire.sock.recv(2**20):
            got += len(part)
        assert got > len(data)
    assert gate.process.wait(5) == 0
    inspect(gate)


def test_sigterm_lets_a_slow_upload_finish(start: Start) -> None:
    """The body goes on arriving, is kept and acknowledged; the connection then ends."""
    gate = start()
    assert gate.process
    with Wire(gate.address) as wire:
        wire.send(head("PUT", target("/l/up", mint(gate, ops=["write"], path="/l/up")), "Transfer-Encoding: chunked"))
        wire.send(chunk(b"before"))
        time.sleep(0.3)
        gate.process.terminate()
        time.sleep(0.5)
        for _ in range(5):
            wire.send(chunk(b"after" * 100))
            time.sleep(0.1)
        wire.send(chunk(b""))
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (201, "close")
    assert gate.process.wait(5) == 0
    gate.start()
    assert gate.ask("GET", gate.sign("GET", "/l/up")).body == b"before" + b"after" * 500
    inspect(gate)


def test_sigterm_ends_idle_connections_at_once(start: Start) -> None:
    """Kept-alive ones, and ones that never asked."""
    gate = start()
    with Wire(gate.address) as idle, Wire(gate.address) as silent:
        idle.send(head("GET", "/_valet/live"))
        assert idle.answer().status == 200
        started = time.monotonic()
        assert gate.stop() == 0
        assert time.monotonic() - started < 4
        assert idle.is_ended()
        assert silent.is_ended()


def test_sigterm_does_not_wait_for_a_silent_clients_goodbye_over_tls(tmp_path: Path) -> None:
    with opened("tls", tmp_path) as door, door.wire() as idle:
        idle.send(head("GET", "/_valet/live"))
        assert idle.answer().status == 200
        began = time.monotonic()
        assert door.gate.stop() == 0
        assert time.monotonic() - began < 10


def test_sigterm_cuts_what_lasts_longer_than_the_drain(start: Start) -> None:
    """The exit status is 0 all the same, and the cut upload has left nothing."""
    gate = start("[listen]\ndrain-seconds = 1\n")
    with Wire(gate.address) as wire:
        wire.send(head("PUT", target("/l/cut", mint(gate, ops=["write"], path="/l/cut")), "Content-Length: 10") + b"1")
        time.sleep(0.3)
        started = time.monotonic()
        assert gate.stop() == 0
        assert time.monotonic() - started < 10
    gate.start()
    assert gate.ask("GET", gate.sign("GET", "/l/cut")).status == 404
    inspect(gate)


def test_readiness_and_live_without_a_key(start: Start) -> None:
    """GET and HEAD; nothing else."""
    gate = start()
    assert gate.ask("GET", "/_valet/live").json() == {"live": True}
    assert gate.ask("GET", "/_valet/ready").json() == {"ready": True, "reasons": []}
    for path in ("/_valet/live", "/_valet/ready"):
        assert (gate.ask("HEAD", path).status, gate.ask("HEAD", path).body) == (200, b"")
        answer = gate.ask("PUT", path, b"x")
        assert (answer.code, answer.headers["allow"]) == ("method_not_allowed", "GET, HEAD")
    for path in ("/_valet", "/_valet/", "/_valet/x", "/_valet/live/", "/_valet/liv%65"):
        assert gate.ask("GET", path).code == "key_missing"


def test_echo_shows_the_request_to_its_key_alone(start: Start) -> None:
    """What `check` learns of a proxy: the path undecoded, the Host, the address."""
    gate = start()
    path = "/_valet/echo/a b/%2F"
    url = target("/_valet/echo/a%20b/%252F", mint(gate, ops=["read"], path=path))
    facts = gate.ask("GET", url, headers={"Host": "files.example.org:8443"}).json()
    assert facts == {
        "raw_path": "/_valet/echo/a%20b/%252F",
        "path": path,
        "host": "files.example.org:8443",
        "address": "127.0.0.1",
        "https": False,
    }
    assert gate.ask("GET", "/_valet/echo/x").code == "key_missing"
    assert gate.ask("GET", target("/_valet/other", mint(gate, ops=["read"], prefix="/_valet/"))).code == "not_found"
    refused = gate.ask("PUT", target("/_valet/echo/x", mint(gate, ops=["read", "write"], prefix="/_valet/")))
    assert refused.code == "operation_not_allowed"


def test_metrics_have_a_listener_of_their_own(start: Start) -> None:
    """At /metrics alone; what is not HTTP there leaves no traceback."""
    gate = start("", "--metrics", "127.0.0.1:0", "--listen", "127.0.0.1:0")
    gate.ask("GET", "/m/x")
    assert gate.process
    ports = listening(gate.process.pid) - {gate.address[1]}
    assert len(ports) == 1
    address = ("127.0.0.1", ports.pop())
    with Wire(address) as wire:
        wire.send(head("GET", "/metrics") + head("GET", "/") + head("HEAD", "/metrics"))
        page = wire.answer().body
        assert b'valetstore_decisions_total{code="key_missing"' in page
        assert wire.answer().status == 404
        assert wire.answer("HEAD").status == 200
    odd = b"GET /metrics HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n"
    for garbage in (b"\0\1\2\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", odd):
        with Wire(address) as wire:
            wire.send(garbage)
            assert garbage.strip() not in wire.rest()
    assert gate.ask("GET", "/metrics").code == "key_missing"
    inspect(gate)


def listening(pid: int) -> set[int]:
    """TCP ports a process listens on."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def test_sighup_keeps_connections_and_takes_new_settings(start: Start) -> None:
    """Also in the middle of a download."""
    gate = start("[limits]\nlist-entries-max = 1\n")
    for name in "abc":
        assert gate.ask("PUT", gate.sign("PUT", f"/h/{name}"), b"x" * 3_000_000).status == 201
    listing = target("/h/?list", mint(gate, ops=["list"], prefix="/h/"))
    with Wire(gate.address) as wire, Wire(gate.address) as loading:
        wire.send(head("GET", listing))
        assert len(wire.answer().json()["objects"]) == 1
        loading.send(head("GET", target("/h/a", mint(gate, ops=["read"], path="/h/a"))))
        loading.sock.recv(1)
        (gate.folder / "valetstore.toml").write_text("[limits]\nlist-entries-max = 2\n")
        assert gate.process
        gate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings, keys and certificate are reloaded" in gate.log)
        wire.send(head("GET", listing))
        assert len(wire.answer().json()["objects"]) == 2
        got = 1
        loading.sock.settimeout(1)
        try:
            while part := loading.sock.recv(2**20):
                got += len(part)
        except TimeoutError:
            pass
        assert got > 3_000_000
    inspect(gate)


def test_sighup_takes_what_is_only_said_to_clients_at_once_and_warns_of_the_rest(start: Start) -> None:
    """A bucket's CORS rules and `hsts-seconds` stand in tables of which everything else holds after a restart."""
    rules = "[[buckets.h.cors]]\norigins = ['https://{}.example']\n"
    proxied = {"Origin": "https://new.example", "X-Forwarded-Proto": "https"}
    listen = "[listen]\ntrusted-proxies = ['127.0.0.1']\nhsts-seconds = {}\n"
    gate = start(listen.format(60) + rules.format("old"))
    url = gate.sign("GET", "/h/none")
    before = gate.ask("GET", url, headers=proxied).headers
    assert before["strict-transport-security"] == "max-age=60"
    assert "access-control-allow-origin" not in before
    reloaded = listen.format(90) + "drain-seconds = 7\n" + rules.format("new")
    (gate.folder / "valetstore.toml").write_text(reloaded)
    assert gate.process
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gate.ask("GET", url, headers=proxied).headers["strict-transport-security"] == "max-age=90")
    assert gate.ask("GET", url, headers=proxied).headers["access-control-allow-origin"] == "https://new.example"
    wait_until(lambda: "changes in [listen] hold after a restart" in gate.log)


@pytest.mark.parametrize("broken", ["not toml", "[limits]\nunknown = 1\n", "[limits]\nlist-entries-max = 0\n"])
def test_a_broken_config_on_sighup_is_refused_whole(start: Start, broken: str) -> None:
    """The old one stays; the log names what is wrong."""
    gate = start("[limits]\nlist-entries-max = 1\n")
    for name in "ab":
        assert gate.ask("PUT", gate.sign("PUT", f"/h/{name}"), b"x").status == 201
    (gate.folder / "valetstore.toml").write_text(broken)
    assert gate.process
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the reload is refused" in gate.log)
    assert len(gate.ask("GET", gate.sign("LIST", "/h/")).json()["objects"]) == 1
    inspect(gate)


def test_a_broken_key_ring_on_sighup_changes_no_setting(start: Start) -> None:
    """A reload holds as a whole or not at all."""
    gate = start("[limits]\nconnections-per-address-max = 100\n")
    url = gate.sign("GET", "/h/a")
    rings = [path for path in gate.data.rglob("*") if path.is_file() and b'"secret"' in path.read_bytes()]
    assert len(rings) == 1
    rings[0].write_text("{broken")
    (gate.folder / "valetstore.toml").write_text("[limits]\nconnections-per-address-max = 1\n")
    assert gate.process
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the reload is refused" in gate.log)
    with Wire(gate.address) as first:
        first.send(head("GET", "/_valet/live"))
        assert first.answer().status == 200
        assert gate.ask("GET", url).status == 404
    inspect(gate)


def test_a_key_retired_during_an_upload_stops_its_publish(start: Start) -> None:
    """Also where the settings were reloaded meanwhile."""
    gate = start("[limits]\nlist-entries-max = 1\n")
    gate.cli("keys", "create", "leaving")
    wait_until(lambda: gate.ask("GET", gate.sign("GET", "/r/x", key="leaving")).status == 404)
    with Wire(gate.address) as wire:
        url = target("/r/x", mint(gate, key="leaving", ops=["write"], path="/r/x"))
        wire.send(head("PUT", url, "Content-Length: 4") + b"12")
        time.sleep(0.2)
        assert gate.process
        gate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings, keys and certificate are reloaded" in gate.log)
        gate.cli("keys", "retire", "leaving")
        time.sleep(1)
        wire.send(b"34")
        assert wire.answer().code == "key_revoked"
    assert gate.ask("GET", gate.sign("GET", "/r/x")).status == 404
    inspect(gate)


def test_a_changed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    """A broken one is not; open connections stay."""
    with opened("tls", tmp_path) as door, door.wire() as held:
        before = presented(door)
        (tmp_path / "tls.crt").write_text("broken")
        wait_until(lambda: "the certificate changed and is refused" in door.gate.log)
        assert presented(door) == before
        make_certificate(tmp_path)
        wait_until(lambda: presented(door) != before)
        held.send(head("GET", "/_valet/live"))
        assert held.answer().status == 200
        assert "strict-transport-security" in door.ask("GET", "/_valet/live").headers
        inspect(door.gate)


def presented(door: Door) -> str:
    """The certificate a new connection is shown."""
    return ssl.get_server_certificate(door.address)


def test_old_tls_and_plain_http_on_a_tls_port_are_turned_away(tmp_path: Path) -> None:
    """Without a traceback, and others are served meanwhile."""
    with opened("tls", tmp_path) as door:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(door.address) as sock, pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(sock)
        with Wire(door.address) as wire:
            wire.send(head("GET", "/_valet/live"))
            wire.rest()
        wire = door.wire()
        wire.send(head("PUT", target("/t/x", mint(door.gate, ops=["write"], path="/t/x")), "Content-Length: 9") + b"1")
        time.sleep(0.2)
        raw = socket.socket(fileno=os.dup(wire.sock.fileno()))
        raw.sendall(b"\x17\x03\x03\x00\x10" + b"garbage in a TLS")
        raw.close()
        wire.sock.close()
        assert door.ask("GET", "/_valet/live").status == 200
        inspect(door.gate)


def test_a_taken_port_is_exit_4_and_a_second_gateway_exit_3(start: Start, tmp_path: Path) -> None:
    """One sentence each, that says who or where."""
    gate = start()
    port = f"127.0.0.1:{gate.address[1]}"
    taken = run_cli("serve", "--data", str(tmp_path / "other"), "--listen", port, "--metrics", "off", cwd=tmp_path)
    assert (taken.returncode, taken.stderr.count("\n")) == (4, 1)
    assert port in taken.stderr
    held = run_cli("serve", "--data", str(gate.data), "--listen", "127.0.0.1:0", "--metrics", "off", cwd=tmp_path)
    assert held.returncode == 3
    assert gate.process
    assert str(gate.process.pid) in held.stderr
    assert gate.ask("GET", "/_valet/live").status == 200


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("[limits]\nheader-seconds = 0\n", "limits.header-seconds"),
        ("[limits]\nsometimes = 1\n", "limits.sometimes"),
        ("[listen]\ntls-cert = '/nowhere'\ntls-key = '/nowhere'\n", "listen.tls-cert"),
        ("[listen]\nlisten = ['0.0.0.0:0']\n", "listen.listen"),
        ("[listen]\ntrusted-proxies = ['here']\n", "listen.trusted-proxies"),
    ],
)
def test_a_bad_setting_is_exit_2_and_named(tmp_path: Path, config: str, named: str) -> None:
    """In one sentence, before anything is accepted."""
    (tmp_path / "c.toml").write_text(config)
    listen = () if "listen =" in config else ("--listen", "127.0.0.1:0")
    done = run_cli(
        "serve", "--data", str(tmp_path / "d"), "--config", str(tmp_path / "c.toml"), "--metrics", "off", *listen,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_several_listeners_of_every_kind(start: Start, tmp_path: Path) -> None:
    """TCP of both families and a Unix socket at once; what is ready is printed."""
    unix = f"unix:{tmp_path}/s"
    gate = start("", "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", unix)
    line = next(line for line in gate.log.splitlines() if "ready on" in line)
    urls = line.partition("ready on ")[2].split(", ")
    assert len(urls) == 3
    assert urls[2] == unix
    six = int(urls[1].rpartition(":")[2])
    for address in (gate.address, ("::1", six), f"{tmp_path}/s"):
        with Wire(address) as wire:
            wire.send(head("GET", "/_valet/live"))
            assert wire.answer().status == 200


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(start: Start, tmp_path: Path) -> None:
    """A file left by a killed gateway does not keep the next one from starting."""
    listen = ("--listen", f"unix:{tmp_path}/s")
    first = start("", *listen)
    second = run_cli("serve", "--data", str(tmp_path / "other"), *listen, "--metrics", "off", cwd=tmp_path)
    assert second.returncode == 4
    first.kill()
    assert (tmp_path / "s").exists()
    start("", *listen)


def test_stdin_and_streams_may_be_closed(tmp_path: Path) -> None:
    """A supervisor may start it with nothing but stderr."""
    with open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "valetstore", "serve", "--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0",
             "--metrics", "off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, cwd=tmp_path,
        )  # fmt: skip
    wait_until(lambda: b"ready on" in (tmp_path / "err").read_bytes(), 20)
    threading.Timer(0.1, process.terminate).start()
    assert process.wait(10) == 0


def test_a_root_that_went_away_is_unavailable_not_empty(tmp_path: Path) -> None:
    """An unmounted disk must not look like deleted objects, and the gateway must say that it is not ready."""
    root = tmp_path / "gone"
    root.mkdir()
    with opened("http", tmp_path, {"buckets.gone": {"root": str(root)}}) as door:
        assert door.ask("PUT", door.gate.sign("PUT", "/gone/x"), b"x").status == 201
        shutil.rmtree(root)
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = door.ask(method, door.gate.sign(method, "/gone/x"), b"x" if method == "PUT" else None)
            assert answer.code == "storage_unavailable"
        assert door.ask("GET", door.gate.sign("LIST", "/gone/")).code == "storage_unavailable"
        wait_until(lambda: door.ask("GET", "/_valet/ready").status == 503)
        assert door.ask("GET", "/_valet/ready").json() == {"ready": False, "reasons": ["storage"]}
        told = f"not ready (storage): {root}"
        time.sleep(3)
        assert door.gate.log.count(told) == 1
        root.mkdir()
        assert door.ask("GET", door.gate.sign("GET", "/gone/x")).code == "not_found"
        wait_until(lambda: door.ask("GET", "/_valet/ready").status == 200)
        assert door.gate.says("ready again"), door.gate.log


def test_sighup_with_a_broken_certificate_is_refused_and_said(tmp_path: Path) -> None:
    with opened("tls", tmp_path) as door:
        gate = door.gate
        assert gate.process
        assert door.cafile
        door.cafile.write_text("broken")
        wait_until(lambda: "the certificate changed and is refused" in gate.log)
        gate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the reload is refused" in gate.log)
        assert "certificate are reloaded" not in gate.log


def test_a_ring_that_cannot_be_read_shows_in_readiness(tmp_path: Path) -> None:
    with opened("http", tmp_path) as door:
        ring = door.gate.data / "keys/ring.json"
        good = ring.read_bytes()
        ring.write_bytes(b"{")
        wait_until(lambda: door.ask("GET", "/_valet/ready").status == 503)
        assert door.ask("GET", "/_valet/ready").json()["reasons"] == ["key_ring"]
        assert door.gate.says("not ready (key_ring): the key ring changed and is refused"), door.gate.log
        ring.write_bytes(good)
        wait_until(lambda: door.ask("GET", "/_valet/ready").status == 200)


def test_what_never_became_a_request_has_an_id_and_an_audit_line(tmp_path: Path) -> None:
    """Malformed heads, late heads, connections beyond the limit: an answer like any other, told like any other."""
    limits = {"connections-per-address-max": 2, "header-seconds": 1}
    with opened("http", tmp_path, {"limits": limits}) as door:
        gate = door.gate
        answers = [gate.raw(b"NOT HTTP AT ALL\r\n\r\n"), gate.raw(b"GET /a/b HTTP/1.1\r\nHost: x\r\nX:")]
        with door.wire(), door.wire():
            answers.append(gate.raw(b"GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n"))
        lines = {line["request_id"]: line for line in gate.audit()}
        for answer, code in zip(answers, ("request_malformed", "request_timeout", "rate_limited"), strict=True):
            fields = dict(line.split(b": ", 1) for line in answer.split(b"\r\n\r\n")[0].split(b"\r\n")[1:])
            line = lines[fields[b"X-Request-Id"].decode()]
            assert (line["code"], line["decision"], line["address"]) == (code, "refused", "127.0.0.1")
            assert b" Refused\r\n" not in answer


def test_a_refusal_of_a_shapeless_request_is_told_whole(tmp_path: Path) -> None:
    with opened("http", tmp_path) as door:
        gate = door.gate
        gate.raw(b"GET http://x/a/b?valet=secret HTTP/1.1\r\nHost: x\r\nUser-Agent: odd\r\nConnection: close\r\n\r\n")
        gate.raw(b"TRACE /a/b?valet=secret HTTP/1.1\r\nHost: x\r\nUser-Agent: odd\r\nConnection: close\r\n\r\n")
        shapeless, traced = gate.audit()
        assert shapeless["code"] == "target_invalid"
        assert traced["code"] == "method_not_allowed"
        for line in (shapeless, traced):
            assert line["address"] == "127.0.0.1"
            assert line["user_agent"] == "odd"
            assert "/a/b" in line["object"]
            assert "secret" not in str(line)


@pytest.mark.parametrize("root", ["data", "data/keys", "."])
def test_a_bucket_over_the_data_directory_is_refused(tmp_path: Path, root: str) -> None:
    """Its files would be served: the key ring among them."""
    (tmp_path / "data/keys").mkdir(parents=True)
    (tmp_path / "valetstore.toml").write_text(
        f'[buckets.k]\nroot = "{(tmp_path / root).resolve()}"\nlayout = "files"\n'
    )
    done = run_cli("serve", "--data", "data", "--listen", "127.0.0.1:0", "--config", "valetstore.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "buckets.k.root" in done.stderr
    assert "overlaps storage.data" in done.stderr


def test_two_buckets_over_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one/two").mkdir(parents=True)
    config = f'[buckets.a]\nroot = "{tmp_path}/one"\n[buckets.b]\nroot = "{tmp_path}/one/two"\nread-only = true\n'
    (tmp_path / "valetstore.toml").write_text(config)
    done = run_cli("serve", "--data", "data", "--listen", "127.0.0.1:0", "--config", "valetstore.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "buckets.b.root" in done.stderr
    assert "overlaps buckets.a.root" in done.stderr


def test_a_bucket_at_its_quota_can_still_replace(tmp_path: Path) -> None:
    with opened("http", tmp_path, {"buckets.q": {"quota-bytes": 1000}}) as door:
        gate = door.gate
        assert door.ask("PUT", gate.sign("PUT", "/q/x"), b"x" * 900).status == 201
        assert door.ask("PUT", gate.sign("PUT", "/q/x"), b"y" * 950).status == 200
        assert door.ask("PUT", gate.sign("PUT", "/q/x"), b"y" * 1001).code == "storage_full"
        assert door.ask("PUT", gate.sign("PUT", "/q/z"), b"z" * 100).code == "storage_full"
        assert door.ask("PUT", gate.sign("PUT", "/q/z"), b"z" * 50).status == 201
