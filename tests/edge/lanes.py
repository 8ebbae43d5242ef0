"""Gateways with and without the fast lane, and how many answers the lane gave: what its tests share.

Rule 1: twins have the same data to the last attribute, so that their answers may differ in nothing but in what is new
for each answer.
Rule 2: a head is sent on one connection as often as it takes until the lane knows it by heart.
"""

import contextlib
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from tests.edge.doors import mint, target, toml
from tests.edge.wire import Ended, Wire, head, wait_until
from tests.gate import Gate, free_port

TIMES: Final = 4
"""The first goes the general way; the second by its fields; from the third on the head itself is known."""
TRIES_MAX: Final = 100
VOLATILE: Final = re.compile(
    rb"(?im)^(x-request-id|date|x-amz-request-id|x-amz-cf-id|x-ms-request-id|x-trans-id|x-openstack-request-id): "
    rb"[^\r]*\r\n"
)
"""What is new for each answer."""
VOLATILE_IN_BODY: Final = re.compile(rb"(RequestId>|RequestId:|Time:|ServerTime>)[0-9A-Za-z:.-]+")
_SERVED: Final = re.compile(r'(?m)^valetstore_fast_lane_total\{known="([a-z]+)"\} ([0-9.e+]+)$')


@dataclass
class Laned:
    """A gateway and the port of its metrics."""

    gate: Gate
    metrics_port: int

    def metrics(self) -> str:
        """All figures."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def served(self) -> int:
        """How many answers the lane gave so far."""
        return sum(self.served_by().values())

    def served_by(self) -> dict[str, int]:
        """The same by what was known of their requests: `head`, `page`, `fields`."""
        return {known: int(float(count)) for known, count in _SERVED.findall(self.metrics())}

    def wire(self, seconds: float = 10, receive_bytes: int = 0) -> Wire:
        """A raw connection."""
        return Wire(self.gate.address, self.gate.cafile, seconds, receive_bytes)

    def reading(self, path: str, **claims: Any) -> str:
        """A target with a key that reads this path."""
        return target(quote(path), mint(self.gate, **({"ops": ["read"], "path": path} | claims)))

    def opening(self, prefix: str, **claims: Any) -> str:
        """A target with a key that reads all that begins so."""
        return target(quote(prefix), mint(self.gate, **({"ops": ["read"], "prefix": prefix} | claims)))

    def put(self, path: str, body: bytes, **headers: str) -> None:
        """Store an object; underscores in a header's name stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.gate.ask("PUT", self.gate.sign("PUT", path), body, named)
        assert answer.status in (200, 201), answer

    def warm(self, wire: Wire, request: bytes, times: int = 2) -> "Said":
        """Send a head until the lane has served it so often; the last answer.

        A client that is quick may ask again before its connection is at rest, and is answered the general way.
        """
        before = self.served()
        for _ in range(TRIES_MAX):
            said = heard(wire, request)
            assert said.status == 200, said
            if self.served() - before >= times:
                time.sleep(0.01)
                return said
        raise AssertionError(f"the lane does not serve it: {said}")


@contextlib.contextmanager
def laned(
    folder: Path, config: dict[str, dict[str, Any]] | None = None, further: str = "", **options: Any
) -> Iterator[Laned]:
    """A gateway whose lane can be watched. `config` is tables of settings, `further` more of them as text."""
    port = free_port()
    options["args"] = (*options.get("args", ()), "--metrics", f"127.0.0.1:{port}")
    with Gate(folder, toml(config or {}) + further, **options) as gate:
        yield Laned(gate, port)
        assert "Traceback" not in gate.log, gate.log[-3000:]


class Twins(NamedTuple):
    """The same gateway twice: with the lane, and without."""

    fast: Laned
    plain: Laned


Prepare = Callable[[Laned], None]


@contextlib.contextmanager
def twins(
    folder: Path, prepare: Prepare, config: dict[str, dict[str, Any]] | None = None, **options: Any
) -> Iterator[Twins]:
    """Twins, their data made by `prepare` before there were two."""
    first, second = folder / "fast", folder / "plain"
    first.mkdir()
    second.mkdir()
    with laned(first, config, **options) as made:
        prepare(made)
    (first / "data" / "audit.log").unlink(missing_ok=True)
    subprocess.run(["cp", "--archive", first / "data", second], check=True)
    without = dict(options) | {"environment": {**options.get("environment", {}), "VALETSTORE_FAST_LANE": "false"}}
    with laned(first, config, **options) as fast, laned(second, config, **without) as plain:
        yield Twins(fast, plain)
        assert not plain.served()


@dataclass(frozen=True)
class Said:
    """An answer as bytes: its head without what is new each time, its body, and whether the connection ended."""

    head: bytes
    body: bytes
    ended: bool = False

    @property
    def status(self) -> int:
        """Its number; 0 for none."""
        return int(self.head.split(b" ", 2)[1]) if self.head else 0

    @property
    def code(self) -> str:
        """The refusal's code; "" for none."""
        found = re.search(rb"(?im)^x-valet-error: ([a-z_]+)", self.head)
        return found[1].decode() if found else ""


def heard(wire: Wire, request: bytes) -> Said:
    """One request and its answer."""
    wire.send(request)
    return listen(wire, request.split(b" ", 1)[0] == b"HEAD")


def listen(wire: Wire, to_head: bool = False) -> Said:
    """The next answer, read as it is framed; an empty one where the connection ends instead."""
    try:
        text = wire.until(b"\r\n\r\n")
    except Ended as ended:
        return Said(ended.args[0], b"", ended=True)
    length = re.search(rb"(?im)^content-length: (\d+)\r$", text)
    body = b"" if to_head or length is None else wire.exactly(int(length[1]))
    return Said(VOLATILE.sub(b"", text), VOLATILE_IN_BODY.sub(rb"\1", body), b"\r\nConnection: close\r\n" in text)


def all_that_comes(address: tuple[str, int], pieces: Sequence[bytes], seconds: float = 3) -> bytes:
    """Whatever is said on a new connection to these pieces (each on its own), until its end."""
    with Wire(address, seconds=seconds) as wire:
        for piece in pieces:
            wire.pour(piece)
        with contextlib.suppress(OSError):
            wire.end_of_sending()
        return wire.rest(seconds)


def request_of(url: str, method: str = "GET", *lines: str, version: str = "1.1") -> bytes:
    """A head for a signed URL, with the Host that it was signed for."""
    parts = urlsplit(url)
    where = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return head(method, where, *lines, host=parts.netloc or "gate.test", version=version)


def told(lane: Laned) -> list[dict[str, Any]]:
    """The audit's lines but for what is new in each; those of one request side by side."""
    lines, order = lane.gate.audit(), dict[str, int]()
    for line in lines:
        order.setdefault(line["request_id"], len(order))
    lines.sort(key=lambda line: (order[line["request_id"]], line["event"]))
    return [{name: line[name] for name in line if name not in ("time", "request_id", "duration_ms")} for line in lines]


def same_audit(both: Twins) -> None:
    """One decision for each request, the same ones, and a new id for each."""
    quick, slow = told(both.fast), told(both.plain)
    for number, (one, other) in enumerate(zip(quick, slow, strict=False)):
        assert one == other, f"line {number}"
    assert len(quick) == len(slow)
    lines = both.fast.gate.audit()
    decisions = [line["request_id"] for line in lines if line["event"] == "decision"]
    assert len(decisions) == len(set(decisions))
    for line in lines:
        if line["event"] == "transfer":
            assert 0 <= line["duration_ms"] < 60_000
        assert abs(time.time() - _moment(line["time"])) < 3_600


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def same_figures(both: Twins) -> None:
    """All that is counted, but for connections, times and the lane's own figure."""
    wait_until(lambda: counted(both.fast) == counted(both.plain))


def counted(lane: Laned) -> dict[str, str]:
    """Counters and the counts of histograms."""
    rows = (line.rsplit(" ", 1) for line in lane.metrics().splitlines() if not line.startswith("#"))
    names = re.compile(r"valetstore_\w+(?:_total|_count)(?:\{.*\})?")
    return {row[0]: row[1] for row in rows if names.fullmatch(row[0]) and "fast_lane" not in row[0]}
