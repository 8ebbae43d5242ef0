"""What the tests of this folder share: many clients at once, a signer that reads its key once, a second start."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.edge.wire import Ended, Wire, chunk, head
from tests.gate import Answer, Gate
from valetstore import Signer, sign
from valetstore.replay.promise import LEASE_SECONDS

BROKEN = (OSError, Ended)
"""How a connection ends whose gateway is gone."""


@dataclass
class Keys:
    """Targets signed with one signing key, which is read from its file once."""

    gate: Gate
    name: str = "default"
    signer: Signer = field(init=False)
    _made: int = 0

    def __post_init__(self) -> None:
        self.signer = self.gate.signer(self.name)

    def __call__(self, method: str, path: str, *, expires: int = 300, **terms: Any) -> str:
        """A request target. No two are the same key: where it has no nonce of its own, its context differs."""
        self._made += 1
        terms.setdefault("ctx", self._made)
        return sign(self.signer, method, path, expires=expires, **terms)

    def put(self, path: str, body: bytes = b"here") -> None:
        """Store an object with a plain key."""
        assert self.gate.ask("PUT", self("PUT", path), body).status in {200, 201}

    def get(self, path: str) -> Answer:
        """Read one with a plain key."""
        return self.gate.ask("GET", self("GET", path))


def request(method: str, target: str, body: bytes | None = None, *lines: str) -> bytes:
    """A whole request on a connection of its own."""
    announced = [] if body is None else [f"Content-Length: {len(body)}"]
    return head("GET" if method == "LIST" else method, target, "Connection: close", *announced, *lines) + (body or b"")


def at_once(address: tuple[str, int], requests: Sequence[bytes], seconds: float = 30) -> list[Answer]:
    """All answers to requests that arrive in the same moment: each lacks its last byte until all the rest is sent."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(address, seconds=seconds)) for _ in requests]
        for wire, data in zip(wires, requests, strict=True):
            wire.send(data[:-1])
        for wire, data in zip(wires, requests, strict=True):
            wire.pour(data[-1:])
        return [wire.answer() for wire in wires]


def succeeded(answers: Iterable[Answer]) -> int:
    """How many of them did."""
    return sum(200 <= answer.status < 300 for answer in answers)


def same_again(gate: Gate, folder: Path) -> Gate:
    """A gateway that does not run yet, in `folder`, with a copy of another's data."""
    shutil.copytree(gate.data, folder / "data", symlinks=True)
    return Gate(folder, gate.config, gate.args)


def restart(gate: Gate) -> None:
    """Start it again once nothing of it is left: its workers hold its lock while they end."""
    end = time.monotonic() + 20
    while True:
        try:
            gate.start()
            return
        except AssertionError:
            if time.monotonic() > end or "one data directory has one gateway" not in gate.log:
                raise
            time.sleep(0.1)


class Paused:
    """Uploads with keys for one use that were let in; only of the one called `kept` there comes more and more.

    Use it as a context manager. `began` is a monotonic time in seconds.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.keys = Keys(gate)
        self.targets: dict[str, str] = {}
        self.wires: dict[str, Wire] = {}
        self.began = time.monotonic()
        self._over = threading.Event()
        self._sending = threading.Thread(target=self._send_on)

    def __enter__(self) -> Self:
        for name in ("kept", "lost", "lapsed"):
            self.targets[name] = self.keys("PUT", f"/w/{name}", expires=3600, uses=1)
            self.wires[name] = wire = Wire(self.gate.address, seconds=20)
            wire.send(head("PUT", self.targets[name], "Transfer-Encoding: chunked", "Expect: 100-continue"))
            assert wire.answer().status == 100
            wire.send(chunk(b"1"))
        self.began = time.monotonic()
        self._sending.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_sending()
        for wire in self.wires.values():
            wire.sock.close()

    def _send_on(self) -> None:
        while not self._over.wait(LEASE_SECONDS / 4):
            self.wires["kept"].send(chunk(b"1"))

    def stop_sending(self) -> None:
        """From now on nothing comes of `kept` either."""
        self._over.set()
        self._sending.join()

    def wait(self) -> None:
        """Until every lease has lapsed that was not renewed."""
        time.sleep(max(0.0, self.began + LEASE_SECONDS + 1 - time.monotonic()))
