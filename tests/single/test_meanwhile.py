"""What changes while a request waits, or after a key was used: what is in force then is what counts."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import mint
from tests.edge.faults import faults, is_held
from tests.edge.wire import Wire, wait_until
from tests.gate import Answer, Gate
from tests.single.crowd import Keys, request, restart

Start = Callable[..., Gate]
Method = Literal["GET", "PUT", "DELETE", "LIST"]

HELD: Final = "delay_enter=20000000"
"""For longer than anything here lasts: it goes on when its tracer leaves."""


def ask(gate: Gate, method: str, target: str, body: bytes | None = None) -> Answer:
    """One request, on a connection of its own."""
    with Wire(gate.address, seconds=20) as wire:
        wire.send(request(method, target, body))
        return wire.answer(method)


# --- revoked between two steps -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The owner and the workers are held separately: there are two of these."""
    with Gate(tmp_path_factory.mktemp("gate"), args=("--workers", "2")) as running:
        running.cli("keys", "create", "ops", "--ops", "admin", "--prefix", "/_valet/")
        time.sleep(1)
        yield running
        inspect(running)


@pytest.fixture(scope="module")
def keys(gate: Gate) -> Keys:
    """Keys of the signing key that stays."""
    return Keys(gate)


def admin(gate: Gate, method: str, below: str = "", **members: str) -> Answer:
    """A request with a key for administration."""
    token = mint(gate, "ops", ops=["admin"], prefix="/_valet/")
    body = json.dumps(members).encode() if members else None
    return gate.ask(method, f"/_valet/revocations{below}", body, {"Authorization": f"Bearer {token}"})


@dataclass(frozen=True)
class Moment:
    """A step of a request that is held: a system call of the workers, or of the owner on its log of uses."""

    method: Method
    calls: str
    of_owner: bool
    uses: int | None
    before: str  # what comes next

    def __str__(self) -> str:
        return f"{self.method} {self.uses or 'any'} before {self.before}"


SYNC: Final = "fdatasync,fsync"
LOOK: Final = "fgetxattr"
MOMENTS: Final = (
    Moment("PUT", SYNC, False, None, "the publish"),
    Moment("PUT", SYNC, False, 1, "it is committing"),
    Moment("PUT", SYNC, True, 1, "the publish"),
    Moment("DELETE", SYNC, True, 1, "the delete"),
    Moment("GET", LOOK, False, None, "the first byte"),
    Moment("GET", LOOK, False, 1, "the claim"),
    Moment("LIST", LOOK, False, 1, "the claim"),
)


def while_held(gate: Gate, moment: Moment, deed: Callable[[], Answer], then: Callable[[], object]) -> Answer:
    """The answer to `deed`, where `then` is done, and answered, while it waits at that step."""
    assert gate.process
    processes = [gate.process.pid] if moment.of_owner else gate.workers()
    path = gate.data / "state/replay.log" if moment.of_owner else None
    with ThreadPoolExecutor(1) as pool:
        with faults(gate, f"inject={moment.calls}:{HELD}", processes, path):
            doing = pool.submit(deed)
            wait_until(lambda: any(is_held(process) for process in processes))
            then()
            assert not doing.done()
        return doing.result(20)


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_what_is_revoked_while_a_request_waits_is_not_done(gate: Gate, keys: Keys, moment: Moment) -> None:
    """And uses nothing up: undone, the same key does it, once where it may once."""
    number = MOMENTS.index(moment)
    path = f"/w{number}/" if moment.method == "LIST" else f"/w{number}/a"
    if moment.method != "PUT":
        keys.put(f"/w{number}/a", b"old")
    target = keys(moment.method, path, subject=f"alice {number}", uses=moment.uses)
    body = b"new" if moment.method == "PUT" else None
    kind: dict[str, str] = (
        {"subject": f"alice {number}"},
        {"key": target},
        {"prefix": f"/w{number}/"},
    )[number % 3]
    made: list[Answer] = []

    def revoke() -> None:
        made.append(admin(gate, "POST", **kind))
        assert made[0].status == 201

    answer = while_held(gate, moment, lambda: ask(gate, moment.method, target, body), revoke)
    assert (answer.status, answer.code) == (401, "key_revoked")
    assert admin(gate, "DELETE", f"/{made[0].json()['id']}").status == 204
    assert keys.get(f"/w{number}/a").status == (404 if moment.method == "PUT" else 200)
    assert ask(gate, moment.method, target, body).status in {200, 201, 204}
    if moment.uses:
        assert ask(gate, moment.method, target, body).code == "key_used"


def test_a_signing_key_that_is_retired_while_an_upload_waits_publishes_nothing(gate: Gate, keys: Keys) -> None:
    gate.cli("keys", "create", "leaked")
    leaked = Keys(gate, "leaked")
    keys.put("/w/here")

    def serves(code: str | None) -> bool:
        return all(ask(gate, "GET", leaked("GET", "/w/here")).code == code for _ in range(8))

    def retire() -> None:
        gate.cli("keys", "retire", "leaked")
        wait_until(lambda: serves("key_revoked"))

    wait_until(lambda: serves(None))
    target = leaked("PUT", "/w/leaked")
    answer = while_held(gate, MOMENTS[0], lambda: ask(gate, "PUT", target, b"new"), retire)
    assert (answer.status, answer.code) == (401, "key_revoked")
    assert keys.get("/w/leaked").status == 404


# --- settings that are reloaded ------------------------------------------------------------------------


def reload(gate: Gate, config: str) -> None:
    """New settings, in force."""
    gate.config = config
    (gate.folder / "valetstore.toml").write_text(config)
    assert gate.process
    before = gate.log.count("are reloaded")
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gate.log.count("are reloaded") > before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_tolerance_that_is_raised_opens_no_key_that_was_used(start: Start, workers: int) -> None:
    """Expired keys of limited use are remembered for the longest tolerance that can be set, not the one that is."""
    gate = start("[keys]\nclock-skew-seconds = 0\n", "--workers", str(workers))
    keys = Keys(gate)
    keys.put("/w/here")
    terms: dict[str, Any] = {"uses": 1, "expires": 2}
    read, write, fresh = (
        keys("GET", "/w/here", **terms),
        keys("PUT", "/w/new", **terms),
        keys("GET", "/w/here", **terms),
    )
    given_back = keys("GET", "/w/here", **terms)
    assert ask(gate, "GET", read).status == 200
    assert ask(gate, "PUT", write, b"once").status == 201
    assert ask(gate, "POST", f"/_valet/release?{given_back.partition('?')[2]}", b"").status == 204

    def all_have_expired() -> bool:
        return all(ask(gate, "GET", target).code == "key_expired" for target in (read, fresh, given_back))

    wait_until(all_have_expired, 5)
    for _ in range(20):  # whoever uses a key is asked to forget some that have ended
        assert ask(gate, "GET", keys("GET", "/w/here", uses=1)).status == 200

    def none_is_used_again() -> None:
        for _ in range(2 * workers):
            assert ask(gate, "GET", read).code == "key_used"
            assert ask(gate, "GET", given_back).code == "key_used"
            assert ask(gate, "PUT", write, b"again").code == "key_used"

    reload(gate, "[keys]\nclock-skew-seconds = 900\n")
    none_is_used_again()
    # The same key would be open now, had it not been used.
    assert ask(gate, "HEAD", fresh).status == 200
    gate.kill()
    restart(gate)
    none_is_used_again()
    assert [ask(gate, "GET", fresh).code for _ in range(2)] == [None, "key_used"]
