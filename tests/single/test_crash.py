"""Killed at any moment, all of it or a part: nothing is acknowledged twice, and what was acknowledged stays used."""

import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.edge.wire import Wire, head, wait_until
from tests.gate import Answer, Gate
from tests.single.crowd import BROKEN, Keys, request, restart

Start = Callable[..., Gate]
Method = Literal["GET", "PUT", "DELETE"]

SECONDS: Final = 3
"""How long the clients of the kill loop go on."""
CLIENTS: Final = 8
TRIES: Final = 4


def ask(gate: Gate, method: str, target: str, body: bytes | None = None) -> Answer | None:
    """One request, whole; None where no answer came, or not all of it."""
    with suppress(*BROKEN), Wire(gate.address, seconds=20) as wire:
        wire.send(request(method, target, body))
        return wire.answer()
    return None


# --- kill loops ----------------------------------------------------------------------------------------


@dataclass
class Story:
    """One key for one use, its own object, and what became of every attempt."""

    method: Method
    path: str
    target: str
    statuses: list[int] = field(default_factory=list)  # 0: nobody knows
    codes: list[str | None] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)  # what was found under its name

    def acknowledged(self) -> int:
        """How many attempts were told that they did it."""
        return sum(200 <= status < 300 for status in self.statuses)

    def attempt(self, gate: Gate) -> None:
        """Once more."""
        body = b"%d " % len(self.statuses) * random.choice((1, 1000, 100_000)) if self.method == "PUT" else None
        answer = ask(gate, self.method, self.target, body)
        self.statuses.append(answer.status if answer else 0)
        self.codes.append(answer.code if answer else None)

    def look(self, gate: Gate, keys: Keys) -> None:
        """What lies under its name now, if anybody says."""
        answer = ask(gate, "GET", keys("GET", self.path))
        if answer is not None and answer.status == 200:
            self.seen.add(answer.body[: answer.body.find(b" ") + 1])

    def again(self, gate: Gate, keys: Keys) -> None:
        """After a restart, whatever was told before."""
        self.attempt(gate)
        self.attempt(gate)
        self.look(gate, keys)

    def judge(self) -> None:
        """What may never be, whatever was killed."""
        assert self.acknowledged() <= 1, f"acknowledged twice: {self}"
        if self.acknowledged():
            first = next(n for n, status in enumerate(self.statuses) if 200 <= status < 300)
            assert self.statuses[-1] == 403, f"not used after a restart: {self}"
            assert set(self.codes[first + 1 :]) <= {"key_used", None}, self
        if self.method == "PUT":
            assert len(self.seen) <= 1, f"published twice: {self}"
            assert self.acknowledged() <= len(self.seen), f"acknowledged, and not there: {self}"


class Clients:
    """Clients that use one-time keys, and each of them several times, whatever becomes of the gateway."""

    def __init__(self, gate: Gate, keys: Keys) -> None:
        self._gate = gate
        self._keys = keys
        self._over = threading.Event()
        self.stories: list[Story] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        methods: tuple[Method, ...] = ("GET", "PUT", "DELETE")
        number = 0
        while not self._over.is_set():
            number += 1
            story = self._begun(methods[number % 3], f"/k/{client}-{number}")
            if story is None:
                continue
            self.stories.append(story)
            for _ in range(TRIES):
                story.attempt(self._gate)
                if story.method == "PUT":
                    story.look(self._gate, self._keys)

    def _begun(self, method: Method, path: str) -> Story | None:
        """A key, and the object that it needs; None where that could not be stored."""
        if method == "DELETE" and not _stored(ask(self._gate, "PUT", self._keys("PUT", path), b"goes")):
            self._over.wait(0.05)
            return None
        path = "/k/read" if method == "GET" else path
        return Story(method, path, self._keys(method, path, uses=1))


def _stored(answer: Answer | None) -> bool:
    return answer is not None and answer.status in {200, 201}


def kill_a_worker(gate: Gate) -> None:
    """One of them; it is replaced."""
    workers = gate.workers()
    if workers:
        with suppress(ProcessLookupError):
            os.kill(random.choice(workers), signal.SIGKILL)


def kill_the_owner(gate: Gate) -> None:
    """Its workers end with it."""
    assert gate.process
    gate.process.kill()
    gate.process.wait(10)
    restart(gate)


def kill_all(gate: Gate) -> None:
    """The whole process group, as a power cut does to it."""
    gate.kill()
    restart(gate)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_again_and_again_no_key_is_used_twice(start: Start, workers: int) -> None:
    gate = start("", "--workers", str(workers))
    keys = Keys(gate)
    keys.put("/k/read", b"x" * 50_000)
    kills = (kill_a_worker, kill_a_worker, kill_the_owner, kill_all) if workers > 1 else (kill_the_owner, kill_all)
    end = time.monotonic() + SECONDS
    with Clients(gate, keys) as clients:
        while time.monotonic() < end:
            time.sleep(random.uniform(0.05, 0.8))
            random.choice(kills)(gate)
    kill_all(gate)
    told: Counter[int] = Counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda story: story.again(gate, keys), clients.stories))
    for story in clients.stories:
        story.judge()
        told.update(story.statuses)
    assert told[0] > 5, "nothing was disturbed"
    assert sum(story.acknowledged() for story in clients.stories) > 20, told
    assert "Traceback" not in gate.log, gate.log[-4000:]


# --- uploads that were not published -------------------------------------------------------------------


def halfway(gate: Gate, target: str) -> Wire:
    """An upload that has been let in, and of which a part was sent."""
    wire = Wire(gate.address)
    wire.send(head("PUT", target, "Content-Length: 8", "Expect: 100-continue"))
    assert wire.answer().status == 100
    wire.send(b"half")
    return wire


def test_an_upload_whose_worker_dies_gives_its_use_back_at_once(start: Start) -> None:
    gate = start("", "--workers", "2")
    keys = Keys(gate)
    target = keys("PUT", "/k/half", uses=1)
    with halfway(gate, target):
        refused = ask(gate, "PUT", target, b"whole")
        assert refused is not None
        assert refused.code == "key_used"
        for worker in gate.workers():
            os.kill(worker, signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda: _stored(ask(gate, "PUT", target, b"whole")), 15)
    # Not when the lease ends, but as soon as there is a worker to ask.
    assert time.monotonic() - began < 15
    answer = ask(gate, "PUT", target, b"again")
    assert answer is not None
    assert answer.code == "key_used"
    assert keys.get("/k/half").body == b"whole"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_upload_that_dies_with_the_gateway_may_be_made_again(start: Start, workers: int) -> None:
    gate = start("", "--workers", str(workers))
    keys = Keys(gate)
    target = keys("PUT", "/k/half", uses=1)
    with halfway(gate, target):
        kill_the_owner(gate)
        assert _stored(ask(gate, "PUT", target, b"whole"))
    answer = ask(gate, "PUT", target, b"again")
    assert answer is not None
    assert answer.code == "key_used"


def test_a_key_that_was_given_back_stays_so(start: Start) -> None:
    gate = start("")
    keys = Keys(gate)
    keys.put("/k/read")
    for uses, code in ((3, "key_used"), (None, "key_revoked")):
        target = keys("GET", "/k/read", uses=uses)
        answer = ask(gate, "POST", f"/_valet/release?{target.partition('?')[2]}", b"")
        assert answer is not None
        assert answer.status == 204
        kill_all(gate)
        after = ask(gate, "GET", target)
        assert after is not None
        assert after.code == code


# --- at every step -------------------------------------------------------------------------------------

CALLS: Final = (
    "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile,fsync,fdatasync,ftruncate,"
    "linkat,rename,renameat,renameat2,unlinkat,mkdirat,fsetxattr"
)
LAST_MOMENT_SECONDS: Final = 0.25
"""How long a process lives on once one of its threads is held."""
ONE_OF_EACH: Final = "[storage]\nstorage-threads = 1\n"
"""strace counts calls by thread: with one of each kind the number of a call says which step it is."""


@pytest.fixture(autouse=True)
def _strace(request: pytest.FixtureRequest) -> None:
    if "step" in request.node.name and shutil.which("strace") is None:
        pytest.skip("needs strace (Debian package strace)")


@dataclass
class Tracer:
    """strace on processes that run, with the calls above; at `step` (its name, its number) its thread is held.

    So whatever does not wait for that step goes on, and a promise made too early is heard; then `kill` ends it.
    """

    folder: Path
    processes: list[int]
    step: tuple[str, int] | None = None
    moment: float = LAST_MOMENT_SECONDS
    tracer: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> Path:
        """Where strace says that it is there."""
        return self.folder / "strace.err"

    @property
    def calls(self) -> Path:
        """Where it notes the calls."""
        return self.folder / "strace.calls"

    def __enter__(self) -> "Tracer":
        command = ["strace", "-f", "-o", str(self.calls), "-e", f"trace={CALLS}", "-e", "signal=none"]
        if self.step is not None:
            call, number = self.step
            command += ["-e", f"inject={call}:delay_enter=20000000:when={number}"]
        for process in self.processes:
            command += ["-p", str(process)]
        with open(self.said, "wb") as out:
            self.tracer = subprocess.Popen(command, stdout=out, stderr=out)
        wait_until(lambda: self._attached() or self._ended(), 20)
        if self._ended() and not self._attached():
            pytest.skip(f"needs a system that allows ptrace: {self.said.read_text()}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.tracer
        # Not asked to: it would wait for what it has killed, and that for its parent.
        self.tracer.kill()
        self.tracer.wait(10)

    def kill(self, deed: Callable[[], Answer | None]) -> Answer | None:
        """Let it begin with that, and end all that is traced where it is held, or where it is done."""
        with ThreadPoolExecutor(1) as pool:
            doing = pool.submit(deed)
            wait([doing], self.moment)
            for process in self.processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            assert self.tracer
            self.tracer.kill()  # it holds what is dead, too
            return doing.result()

    def _attached(self) -> bool:
        return self.said.read_text("utf-8", "replace").count("attached") >= len(self.processes)

    def _ended(self) -> bool:
        return self.tracer is not None and self.tracer.poll() is not None

    def steps(self) -> list[tuple[str, int]]:
        """Each call that was made, by name and its number in its thread."""
        counts: Counter[tuple[str, str]] = Counter()
        found = []
        for line in self.calls.read_text("utf-8", "replace").splitlines():
            made = re.match(r"(\d+) +(\w+)\(", line)
            if made:
                counts[made[1], made[2]] += 1
                found.append((made[2], counts[made[1], made[2]]))
        return sorted(set(found))


@dataclass
class Deed:
    """Something that is done once with a key, and how it is seen that it was done."""

    method: Method
    exists: bool
    own: tuple[str, ...] = ()  # the calls by which it differs from others, () for all

    def steps(self, made: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Where it is to be killed: at what it does not do as the others, and at one of the rest, each time another."""
        chosen = [step for step in made if not self.own or step[0] in self.own]
        rest = [step for step in made if step not in chosen]
        return chosen + random.sample(rest, min(1, len(rest)))

    def prepared(self, keys: Keys, path: str) -> str:
        """The object it needs, and a key for one use."""
        if self.exists:
            keys.put(path, b"old")
        return keys(self.method, path, uses=1)

    def do(self, gate: Gate, target: str) -> Answer | None:
        """Try it."""
        return ask(gate, self.method, target, b"new" if self.method == "PUT" else None)

    def moment(self, gate: Gate, target: str) -> float:
        """Do it while it is traced: how long is to be waited until it must have come to any of its steps."""
        began = time.monotonic()
        assert self.do(gate, target)
        return max(LAST_MOMENT_SECONDS, 5 * (time.monotonic() - began))

    def judge(self, gate: Gate, keys: Keys, path: str, target: str, first: Answer | None) -> bool:
        """After a crash and a restart; whether it may still be done."""
        found = keys.get(path)
        is_done = {"PUT": found.body == b"new", "DELETE": found.status == 404, "GET": False}[self.method]
        acknowledged = first is not None and 200 <= first.status < 300
        assert found.status == 200 or self.method != "GET"
        assert not acknowledged or is_done or self.method == "GET"
        second, third = self.do(gate, target), self.do(gate, target)
        assert second is not None
        assert third is not None
        assert third.code == "key_used" or (third.code == "not_found" and not is_done)
        done_now = 200 <= second.status < 300
        # What was done is never done again, whether or not anybody was told.
        assert not (done_now and (is_done or acknowledged)), (second, is_done, acknowledged)
        return done_now


DEEDS: Final = {
    "claim": Deed("GET", exists=True),
    "create": Deed("PUT", exists=False, own=("pwrite64", "fdatasync", "fsync", "linkat")),
    "replace": Deed("PUT", exists=True, own=("fsync", "linkat", "renameat")),
    "delete": Deed("DELETE", exists=True, own=("pwrite64", "fsync", "unlinkat")),
}


@pytest.fixture
def alone(start: Start) -> Gate:
    """A gateway of one process."""
    return start(ONE_OF_EACH)


@pytest.mark.parametrize("name", DEEDS)
def test_one_process_killed_at_any_step(alone: Gate, tmp_path: Path, name: str) -> None:
    deed, keys = DEEDS[name], Keys(alone)
    keys.put("/k/warm")
    assert alone.process
    target = deed.prepared(keys, "/k/warm")
    with Tracer(tmp_path, [alone.process.pid]) as tracer:
        moment = deed.moment(alone, target)
        time.sleep(0.1)
    steps = tracer.steps()
    assert len(steps) >= (3 if name == "claim" else 7), steps
    before, after = 0, 0
    for call, number in deed.steps(steps):
        path = f"/k/{call}-{number}"
        target = deed.prepared(keys, path)
        with Tracer(tmp_path, [alone.process.pid], (call, number), moment) as tracer:
            answer = tracer.kill(lambda target=target: deed.do(alone, target))  # type: ignore[misc]
        alone.process.wait(10)
        restart(alone)
        if deed.judge(alone, keys, path, target, answer):
            before += 1
        else:
            after += 1
    # The steps are on both sides of the one that counts.
    assert before
    assert after


@pytest.mark.parametrize("name", ["claim", "replace", "delete"])
def test_a_worker_killed_at_any_step(start: Start, tmp_path: Path, name: str) -> None:
    """The owner goes on: what the worker had set aside comes back, what it was committing does not."""
    gate = start(ONE_OF_EACH, "--workers", "2")
    deed, keys = DEEDS[name], Keys(gate)
    for _ in range(8):
        keys.put("/k/warm")
    target = deed.prepared(keys, "/k/warm")
    with Tracer(tmp_path, gate.workers()) as tracer:
        moment = deed.moment(gate, target)
        time.sleep(0.1)
    before, after = 0, 0
    steps = sorted({("write", 1), *deed.steps(tracer.steps())})  # what it says first, and what it does
    for turn, (call, number) in enumerate(steps):
        if turn % 4 == 3:  # workers that end as soon as they began are replaced ever more slowly
            kill_all(gate)
        path = f"/k/{call}-{number}"
        target = deed.prepared(keys, path)
        with Tracer(tmp_path, gate.workers(), (call, number), moment) as tracer:
            answer = tracer.kill(lambda target=target: deed.do(gate, target))  # type: ignore[misc]
        wait_until(lambda: len(gate.workers()) > 0, 10)
        time.sleep(0.2)  # until the owner knows
        if deed.judge(gate, keys, path, target, answer):
            before += 1
        else:
            after += 1
    assert before
    assert after


def test_an_owner_killed_at_any_step(start: Start, tmp_path: Path) -> None:
    """Its workers end with it, wherever they are; what they had not heard of was not promised."""
    gate = start(ONE_OF_EACH, "--workers", "2")
    deed, keys = DEEDS["create"], Keys(gate)
    assert gate.process
    target = deed.prepared(keys, "/k/warm")
    with Tracer(tmp_path, [gate.process.pid]) as tracer:
        moment = deed.moment(gate, target)
    steps = [(call, number) for call, number in tracer.steps() if call in {"pwrite64", "fdatasync"}]
    assert len(steps) >= 2
    before, acknowledged = 0, 0
    for call, number in [*steps, ("fdatasync", 99)]:  # the last is never come to: it is killed when all is done
        path = f"/k/{call}-{number}"
        target = deed.prepared(keys, path)
        with Tracer(tmp_path, [gate.process.pid], (call, number), moment) as tracer:
            answer = tracer.kill(lambda target=target: deed.do(gate, target))  # type: ignore[misc]
        gate.process.wait(10)
        restart(gate)
        before += deed.judge(gate, keys, path, target, answer)
        acknowledged += _stored(answer)
    # The steps are on both sides of the one that counts, and of the answer.
    assert 1 <= before < len(steps)
    assert 1 <= acknowledged <= len(steps)
