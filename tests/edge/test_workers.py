"""Several workers: one gateway to whoever asks, whatever happens to one of them."""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from tests.edge.conftest import inspect
from tests.edge.doors import make_certificate, mint, opened, target
from tests.edge.faults import blocked
from tests.edge.wire import Wire, chunk, head, wait_until
from tests.gate import Gate, free_port

Start = Callable[..., Gate]

REPLACED_SECONDS = 7


@pytest.fixture
def gate(start: Start) -> Gate:
    """Two workers, one of which may come to harm."""
    return start("", "--workers", "2")


def connected(gate: Gate, worker: int) -> Wire:
    """A kept-alive connection that this worker has accepted."""
    for _ in range(200):
        wire = Wire(gate.address)
        wire.send(head("GET", "/_valet/live"))
        assert wire.answer().status == 200
        if wire.sock.getsockname()[1] in _served_ports(worker, gate.address[1]):
            return wire
        wire.sock.close()
    raise AssertionError("that worker accepts nothing")


def _served_ports(process: int, port: int) -> set[int]:
    """The clients' ports of a process's connections."""
    inodes = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(link).removeprefix("socket:[").rstrip("]"))
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and int(fields[1].split(":")[1], 16) == port and fields[2][-4:] != "0000":
            found.add(int(fields[2].split(":")[1], 16))
    return found


def kill(gate: Gate, *workers: int) -> None:
    """End these workers at once, and wait until others have taken their places."""
    count = len(gate.workers())
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(set(gate.workers()) - set(workers)) == count, 10)


def is_gone(process: int) -> bool:
    """Whether it has ended; one that nobody has asked after counts as ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Load:
    """Requests on new and on kept-alive connections, `each` of both a second, until the end; what went wrong."""

    def __init__(self, address: tuple[str, int], url: str, each: int = 25) -> None:
        self._address = address
        self._target = target_of(url)
        self._each = each
        self._over = threading.Event()
        self.wrong: list[str] = []
        self.answered = 0

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        """Whether the connection goes on."""
        connection.request("GET", self._target)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or body != b"here":
            self.wrong.append(f"{answer.status} {body[:80]!r}")
        self.answered += 1
        return not answer.will_close

    def _run(self, keep_alive: bool) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        while not self._over.is_set():
            began = time.monotonic()
            try:
                if not self._ask(connection) or not keep_alive:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{type(error).__name__}: {error} (kept alive: {keep_alive})")
                connection.close()
            self._over.wait(max(0.0, 1 / self._each - (time.monotonic() - began)))
        connection.close()

    @contextlib.contextmanager
    def running(self) -> Iterator["Load"]:
        """While it runs."""
        threads = [threading.Thread(target=self._run, args=(kept,)) for kept in (False, True)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join()


def target_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def put(gate: Gate, path: str = "/w/here", body: bytes = b"here") -> str:
    """Store an object; a URL that reads it."""
    assert gate.ask("PUT", gate.sign("PUT", path), body).status in {200, 201}
    return gate.sign("GET", path, expires=3600)


# --- who serves ----------------------------------------------------------------------------------------


def test_as_many_serve_as_were_asked_for(start: Start) -> None:
    assert len(start("", "--workers", "3").workers()) == 3
    assert start("[listen]\nworkers = 1\n").workers() == []


def test_auto_is_one_a_core(start: Start) -> None:
    cores = len(os.sched_getaffinity(0))
    assert len(start("", "--workers", "auto").workers()) == (cores if cores > 1 else 0)


def test_all_accept_and_share_what_is_stored(gate: Gate) -> None:
    url = put(gate)
    for worker in gate.workers():
        with connected(gate, worker) as wire:
            wire.send(head("GET", target_of(url)))
            assert wire.answer().body == b"here"


def test_metrics_are_summed_over_workers_and_never_fall(start: Start) -> None:
    metrics = free_port()
    gate = start("", "--workers", "2", "--metrics", f"127.0.0.1:{metrics}")
    url = put(gate)

    def reads() -> float:
        connection = http.client.HTTPConnection("127.0.0.1", metrics, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        assert f"valetstore_workers {len(gate.workers())}.0" in text
        found = re.findall(
            r'valetstore_decisions_total\{code="ok",dialect="native",operation="read"\} ([\d.e+]+)', text
        )
        return float(found[0])

    wires = [connected(gate, worker) for worker in gate.workers()]
    for _ in range(20):
        for wire in wires:
            wire.send(head("GET", target_of(url)))
            assert wire.answer().status == 200
    assert reads() == 40
    time.sleep(1.5)  # a worker says its figures once a second
    kill(gate, gate.workers()[0])
    wait_until(lambda: _says(metrics, "valetstore_workers 2.0"), 10)
    assert reads() == 40
    for wire in wires:
        wire.sock.close()


def _says(port: int, line: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return line in connection.getresponse().read().decode()


# --- what may happen to a worker -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGSTOP])
def test_a_worker_that_ends_or_stops_is_replaced(gate: Gate, number: int) -> None:
    """And whoever connects meanwhile is served, by the others or by the next one."""
    url = put(gate)
    one = gate.workers()[0]
    os.kill(one, number)
    began = time.monotonic()
    while time.monotonic() - began < 2:
        assert gate.ask("GET", url).body == b"here"
    wait_until(lambda: len(set(gate.workers()) - {one}) == 2, REPLACED_SECONDS)
    new = next(worker for worker in gate.workers() if worker != one)
    left = REPLACED_SECONDS - (time.monotonic() - began)
    wait_until(lambda: _accepts(gate, new), left)
    inspect(gate)


def _accepts(gate: Gate, worker: int) -> bool:
    with contextlib.suppress(AssertionError):
        connected(gate, worker).sock.close()
        return True
    return False


def test_with_every_worker_stopped_connections_wait_and_are_served(gate: Gate) -> None:
    url = put(gate)
    for worker in gate.workers():
        os.kill(worker, signal.SIGSTOP)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gate.ask("GET", url).status, range(8)))
    assert answers == [200] * 8


def test_a_worker_that_dies_again_and_again_does_not_take_the_others_with_it(gate: Gate) -> None:
    url = put(gate)
    for _ in range(6):
        kill(gate, gate.workers()[0])
        assert gate.ask("GET", url).status == 200
    assert gate.stop() == 0


def test_the_owners_death_ends_the_workers_and_the_next_gateway_starts(gate: Gate) -> None:
    url = put(gate)
    workers = gate.workers()
    os.kill(workers[0], signal.SIGSTOP)  # even one that is stopped
    assert gate.process
    gate.process.kill()
    gate.process.wait(5)
    wait_until(lambda: all(map(is_gone, workers)), 3)
    gate.start()
    assert gate.ask("GET", target_of(url)).body == b"here"


def test_a_worker_whose_loop_is_blocked_is_replaced(gate: Gate) -> None:
    url = put(gate)
    one, other = gate.workers()
    with blocked([one]):
        began = time.monotonic()
        wait_until(lambda: is_gone(one), REPLACED_SECONDS)
        assert gate.ask("GET", url).body == b"here"
    wait_until(lambda: len(set(gate.workers()) - {one}) == 2, REPLACED_SECONDS - (time.monotonic() - began))
    assert other in gate.workers()
    assert gate.says("says nothing"), gate.log
    for worker in gate.workers():
        wait_until(lambda worker=worker: _accepts(gate, worker), REPLACED_SECONDS)


def test_the_owners_death_ends_a_worker_whose_loop_is_blocked(gate: Gate) -> None:
    """It hears of nothing any more: the kernel ends it."""
    url = put(gate)
    workers = gate.workers()
    with blocked(workers):
        assert gate.process
        gate.process.kill()
        gate.process.wait(5)
        wait_until(lambda: all(map(is_gone, workers)), 3)
    gate.start()
    assert gate.ask("GET", target_of(url)).body == b"here"


# --- how it ends, and how it takes new orders ------------------------------------------------------------


def test_sigterm_drains_every_worker(gate: Gate) -> None:
    put(gate)
    wires = [connected(gate, worker) for worker in gate.workers()]
    for number, wire in enumerate(wires):
        key = target(f"/w/{number}", mint(gate, ops=["write"], path=f"/w/{number}"))
        wire.send(head("PUT", key, "Transfer-Encoding: chunked") + chunk(b"slow"))
    time.sleep(0.3)
    assert gate.process
    gate.process.terminate()
    time.sleep(0.7)
    for wire in wires:
        wire.send(chunk(b"ly") + chunk(b""))
        assert wire.answer().status == 201
    assert gate.process.wait(10) == 0
    gate.start()
    for number in range(2):
        assert gate.ask("GET", gate.sign("GET", f"/w/{number}")).body == b"slowly"
    inspect(gate)


def test_ctrl_c_in_a_terminal_drains_too(gate: Gate) -> None:
    """All processes of the terminal get the signal; only the gateway's own takes it."""
    put(gate)
    with connected(gate, gate.workers()[0]) as wire:
        wire.send(head("PUT", target("/w/c", mint(gate, ops=["write"], path="/w/c")), "Content-Length: 2") + b"1")
        time.sleep(0.3)
        assert gate.process
        os.killpg(gate.process.pid, signal.SIGINT)
        time.sleep(0.5)
        wire.send(b"2")
        assert wire.answer().status == 201
    assert gate.process.wait(10) == 0


def test_a_new_key_and_a_retired_one_hold_in_every_worker(gate: Gate) -> None:
    put(gate)
    wires = [connected(gate, worker) for worker in gate.workers()]
    gate.cli("keys", "create", "second")
    by_second = target_of(gate.sign("GET", "/w/here", key="second"))
    for wire in wires:
        wait_until(lambda wire=wire: _asked(wire, by_second) == 200, 2)
    gate.cli("keys", "retire", "second")
    for wire in wires:
        wait_until(lambda wire=wire: _asked(wire, by_second) == 401, 2)


def _asked(wire: Wire, what: str) -> int:
    wire.send(head("GET", what))
    return wire.answer().status


def test_a_reload_reaches_every_worker_and_a_broken_one_none(start: Start) -> None:
    gate = start("[limits]\nlist-entries-max = 5\n", "--workers", "2")
    for number in range(4):
        put(gate, f"/w/{number}")
    listing = target_of(gate.sign("LIST", "/w/"))
    wires = [connected(gate, worker) for worker in gate.workers()]

    def rows(wire: Wire) -> int:
        wire.send(head("GET", listing))
        return len(wire.answer().json()["objects"])

    settings = gate.folder / "valetstore.toml"
    assert gate.process
    settings.write_text("[limits]\nlist-entries-max = 2\n")
    gate.process.send_signal(signal.SIGHUP)
    for wire in wires:
        wait_until(lambda wire=wire: rows(wire) == 2, 3)
    settings.write_text("[limits]\nlist-entries-max = nonsense\n")
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the reload is refused" in gate.log, 3)
    assert [rows(wire) for wire in wires] == [2, 2]
    # A worker that starts now goes by what is in force, not by what is in the file.
    kill(gate, gate.workers()[0])
    for worker in gate.workers():
        wait_until(lambda worker=worker: _accepts(gate, worker), 5)
        with connected(gate, worker) as wire:
            assert rows(wire) == 2


@pytest.mark.parametrize("broken", ["{", None, '{"format": 1, "generation": 9, "keys": []}'])
def test_a_worker_that_starts_while_the_ring_is_broken_or_gone_has_the_old_one(gate: Gate, broken: str | None) -> None:
    url = put(gate)
    ring = gate.data / "keys" / "ring.json"
    if broken is None:
        ring.unlink()
    else:
        ring.write_text(broken)
    wait_until(lambda: "refused" in gate.log, 3)
    kill(gate, *gate.workers())
    assert gate.ask("GET", url).body == b"here"
    ready = gate.ask("GET", "/_valet/ready")
    assert (ready.status, ready.json()["reasons"]) == (503, ["key_ring"])


def test_a_changed_certificate_is_used_by_every_worker(tmp_path: Path) -> None:
    with opened("tls", tmp_path, args=("--workers", "2")) as door:

        def serials() -> set[int]:
            return {_serial(door.address) for _ in range(12)}

        (before,) = serials()
        make_certificate(tmp_path)
        wait_until(lambda: before not in serials(), 5)
        (now,) = serials()
        kill(door.gate, door.gate.workers()[0])
        (tmp_path / "tls.crt").write_text("nothing")
        wait_until(lambda: "refused" in door.gate.log, 3)
        kill(door.gate, door.gate.workers()[0])
        assert serials() == {now}


def _serial(address: tuple[str, int]) -> int:
    """Of the certificate a new connection is shown."""
    pem = ssl.get_server_certificate(address)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_ten_reloads_disturb_nobody(gate: Gate) -> None:
    with Load(gate.address, put(gate)).running() as load:
        for _ in range(10):
            time.sleep(0.3)
            assert gate.process
            gate.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
    assert load.wrong == []
    assert load.answered > 100
    wait_until(lambda: gate.log.count("are reloaded") >= 10)


def test_ten_restarts_with_an_inherited_socket_disturb_nobody(tmp_path: Path) -> None:
    """What systemd does with valetstore.socket: connections wait, they are not refused."""
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
        "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.argv[2], sys.argv[2:])"
    )
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.set_inheritable(True)
        address = listener.getsockname()
        prefix = (sys.executable, "-c", code, str(listener.fileno()))
        gate = Gate(tmp_path, "", ("--workers", "2"), prefix=prefix, descriptors=(listener.fileno(),))
        with gate, Load(address, put(gate)).running() as load:
            for _ in range(10):
                assert gate.stop() == 0
                gate.start()
            time.sleep(0.3)
    assert load.wrong == []
    assert load.answered > 40


# --- limits hold over all workers --------------------------------------------------------------------


def test_limits_on_connections_hold_over_all_workers(start: Start) -> None:
    gate = start("[limits]\nconnections-per-address-max = 6\n", "--workers", "2")
    wires = []
    codes: Counter[int] = Counter()
    for _ in range(12):
        wire = Wire(gate.address)
        wires.append(wire)
        wire.send(head("GET", "/_valet/live"))
        codes[wire.answer().status] += 1
    assert codes == {200: 6, 429: 6}
    for wire in wires:
        wire.sock.close()
    wait_until(lambda: gate.ask("GET", "/_valet/live").status == 200, 3)


def test_connections_of_a_worker_that_died_no_longer_count(start: Start) -> None:
    gate = start("[limits]\nconnections-per-address-max = 6\n", "--workers", "2")
    wires = [Wire(gate.address) for _ in range(6)]
    for wire in wires:
        wire.send(head("GET", "/_valet/live"))
        assert wire.answer().status == 200
    kill(gate, *gate.workers())
    assert gate.ask("GET", "/_valet/live").status == 200
    for wire in wires:
        wire.sock.close()


def test_a_worker_that_cannot_start_ends_the_gateway_with_its_reason(tmp_path: Path) -> None:
    gate = Gate(tmp_path, f"[audit]\naudit-file = '{tmp_path}/missing/audit.log'\n", ("--workers", "2"))
    with pytest.raises(AssertionError):
        gate.start()
    assert gate.process
    assert gate.process.wait(10) == 2
    assert gate.says("audit.audit-to"), gate.log
    assert "Traceback" not in gate.log


def test_strays_are_no_workers(gate: Gate) -> None:
    """The worker's module run by hand is told so."""
    done = subprocess.run(
        [sys.executable, "-m", "valetstore.cli.worker"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert "valetstore serve" in done.stderr


def test_a_worker_that_is_stopped_before_its_first_word_is_replaced(gate: Gate) -> None:
    """And whoever revokes meanwhile waits no longer than that."""
    one, other = gate.workers()
    began = time.monotonic()
    os.kill(one, signal.SIGKILL)
    new: set[int] = set()
    while not new:
        assert time.monotonic() < began + 5
        new = set(gate.workers()) - {one, other}
    (stopped,) = new
    wait_until(lambda: b"cli.worker" in Path(f"/proc/{stopped}/cmdline").read_bytes())  # a program of its own by now
    os.kill(stopped, signal.SIGSTOP)
    gate.cli("revoke", "--subject", "nobody")
    wait_until(lambda: is_gone(stopped) and len(set(gate.workers()) - {one, stopped}) == 2, 10)
    assert time.monotonic() - began < 12


def test_a_worker_that_does_not_come_to_its_end_is_ended(start: Start) -> None:
    """A transfer that lasts for ever does not keep a worker that was told to drain."""
    gate = start("[listen]\ndrain-seconds = 1\n", "--workers", "2")
    put(gate)
    one = gate.workers()[0]
    with connected(gate, one) as wire:
        wire.send(head("PUT", target("/w/c", mint(gate, ops=["write"], path="/w/c")), "Content-Length: 2") + b"1")
        time.sleep(0.3)
        os.kill(one, signal.SIGTERM)
        wait_until(lambda: is_gone(one) and len(set(gate.workers()) - {one}) == 2, 10)


def test_sigterm_right_after_a_worker_died_ends_all_in_time(gate: Gate) -> None:
    """Also the one that is just being started in its place."""
    for pause in (0, 0.05, 0.1, 0.15):
        os.kill(gate.workers()[0], signal.SIGKILL)
        time.sleep(pause)
        began = time.monotonic()
        assert gate.stop() == 0
        assert time.monotonic() - began < 10
        gate.start()
