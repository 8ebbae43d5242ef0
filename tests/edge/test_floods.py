"""Too much of everything: connections, descriptors, requests. The gateway stays, and comes back."""

import os
import resource
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import Door, mint, target
from tests.edge.faults import faults
from tests.edge.wire import Wire, head, wait_until
from tests.gate import Gate

FILES = 64


def limited(gate: Gate, files: int) -> None:
    """Lower what a running gateway may open."""
    assert gate.process
    subprocess.run(["prlimit", "--pid", str(gate.process.pid), f"--nofile={files}:{files}"], check=True)


def descriptors(gate: Gate) -> int:
    """How many it has open."""
    assert gate.process
    return len(os.listdir(f"/proc/{gate.process.pid}/fd"))


def flood(gate: Gate, count: int) -> list[socket.socket]:
    """Connections that say nothing; as many as get through."""
    made = []
    for _ in range(count):
        sock = socket.socket()
        sock.settimeout(2)
        try:
            sock.connect(gate.address)
        except OSError:
            sock.close()
            continue
        made.append(sock)
    return made


def test_out_of_descriptors_and_back(tmp_path: Path) -> None:
    """While there are none, requests fail; afterwards all is as before, without a traceback for each."""
    with Gate(tmp_path) as gate:
        url, large = gate.sign("GET", "/f/x"), b"l" * 2_000_000
        assert gate.ask("PUT", gate.sign("PUT", "/f/x"), large).status == 201
        kept = Wire(gate.address)
        kept.send(head("GET", "/_valet/live"))
        assert kept.answer().status == 200
        before = descriptors(gate)
        limited(gate, FILES)
        made = flood(gate, 2 * FILES)
        time.sleep(0.5)
        assert descriptors(gate) <= FILES
        # A connection that was there is served, or told that the storage cannot be reached.
        kept.send(head("GET", target("/f/x", mint(gate, ops=["read"], path="/f/x"))))
        answer = kept.answer()
        assert answer.code == "storage_unavailable" or answer.body == large
        for sock in made:
            sock.close()
        wait_until(lambda: descriptors(gate) <= before + 2, 10)
        assert gate.ask("GET", url).body == large
        assert gate.ask("PUT", gate.sign("PUT", "/f/y"), large).status == 201
        kept.sock.close()
        assert gate.log.count("\n") < 200
        inspect(gate)


def test_a_download_when_the_last_descriptor_is_gone(tmp_path: Path) -> None:
    """The second descriptor that sendfile needs is not to be had: the bytes are copied instead."""
    with Gate(tmp_path) as gate:
        data = os.urandom(3_000_000)
        assert gate.ask("PUT", gate.sign("PUT", "/f/x"), data).status == 201
        with faults(gate, "inject=dup:error=EMFILE"):
            assert gate.ask("GET", gate.sign("GET", "/f/x")).body == data
        inspect(gate)


def test_a_read_that_fails_half_way_cuts_the_connection(tmp_path: Path) -> None:
    """The client must not take a part, or an error text within it, for the whole."""
    with Gate(tmp_path) as gate:
        data = os.urandom(20_000_000)
        assert gate.ask("PUT", gate.sign("PUT", "/f/x"), data).status == 201
        with faults(gate, "inject=sendfile:error=EIO:when=3+"), Wire(gate.address) as wire:
            wire.send(head("GET", target("/f/x", mint(gate, ops=["read"], path="/f/x"))))
            got = wire.rest()
        body = got.partition(b"\r\n\r\n")[2]
        assert len(body) < len(data)
        assert data.startswith(body)
        assert gate.ask("GET", gate.sign("GET", "/f/x")).body == data
        codes = [line.get("code") for line in gate.audit() if line["event"] == "transfer"]
        assert [code for code in codes if code] == ["storage_error"]
        inspect(gate)


def test_more_connections_than_allowed_are_told_so(tmp_path: Path) -> None:
    """503 for all together, 429 for one address, with Retry-After; those that are there go on."""
    with Gate(tmp_path, "[limits]\nconnections-max = 5\nconnections-per-address-max = 3\n") as gate:
        kept = [Wire(gate.address) for _ in range(3)]
        time.sleep(0.2)
        for _ in range(20):
            with Wire(gate.address) as wire:
                wire.pour(head("GET", "/_valet/live"))
                answer = wire.answer()
                assert (answer.status, answer.code) == (429, "rate_limited")
                assert int(answer.headers["retry-after"]) > 0
                assert wire.is_ended()
        for wire in kept:
            with wire:
                wire.send(head("GET", "/_valet/live"))
                assert wire.answer().status == 200
        wait_until(lambda: gate.ask("GET", "/_valet/live").status == 200)
    with Gate(tmp_path, "[limits]\nconnections-max = 2\n") as gate:
        full = [Wire(gate.address) for _ in range(2)]
        time.sleep(0.2)
        with Wire(gate.address) as wire:
            wire.send(head("GET", "/_valet/live"))
            answer = wire.answer()
            assert (answer.status, answer.code) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
        for wire in full:
            wire.sock.close()
        inspect(gate)


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs ss (Debian package iproute2)")
def test_a_burst_of_connections_waits_in_the_queue(gate: Gate) -> None:
    """As long as the system allows: a queue that is full looks like a network that loses packets."""
    with open("/proc/sys/net/core/somaxconn") as file:
        longest = min(int(file.read()), 4096)
    command = ["ss", "-Hltn", f"sport = {gate.address[1]}"]
    state, waiting, queue, *_ = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert (state, int(waiting), int(queue)) == ("LISTEN", 0, longest)


def test_a_crowd_that_is_turned_away_leaves_no_descriptor(tmp_path: Path) -> None:
    """Nor a place in the count."""
    with Gate(tmp_path, "[limits]\nconnections-per-address-max = 2\n") as gate:
        before = descriptors(gate)
        for _ in range(3):
            for sock in flood(gate, 300):
                sock.close()
        wait_until(lambda: descriptors(gate) <= before + 2, 10)
        assert gate.ask("GET", "/_valet/live").status == 200
        inspect(gate)


def test_many_clients_at_once(gate: Gate, door: Door) -> None:
    """Uploads, downloads, refusals, garbage and resets together; all honest ones are served right."""
    wrong: list[object] = []

    def work(number: int) -> None:
        path = f"/f/many{number}"
        body = bytes([number]) * (number * 40_000 + 1)
        for _ in range(3):
            try:
                if gate.ask("PUT", gate.sign("PUT", path), body).status not in {200, 201}:
                    wrong.append(path)
                if gate.ask("GET", gate.sign("GET", path)).body != body:
                    wrong.append(path)
                if gate.ask("GET", path).status != 401:
                    wrong.append(path)
                with door.wire() as wire:
                    wire.pour(os.urandom(2000) + b"\r\n\r\n")
                vanishing = door.wire()
                vanishing.pour(head("PUT", path, "Content-Length: 1000") + b"x")
                vanishing.reset()
            except OSError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_thousand_idle_connections_cost_little(tmp_path: Path) -> None:
    """Others are served meanwhile."""
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 500:
        pytest.skip(f"needs {count + 500} descriptors (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
    config = f"[limits]\nconnections-per-address-max = {count + 10}\n"
    with Gate(tmp_path, config) as gate:
        made = flood(gate, count)
        assert len(made) == count
        started = time.monotonic()
        assert gate.ask("GET", "/_valet/live").status == 200
        assert time.monotonic() - started < 1
        for sock in made:
            sock.close()
        inspect(gate)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
