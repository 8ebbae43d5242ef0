"""Keys of limited use in the fast lane: one use is one answer, in order, durable before its first byte."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.edge.faults import faults
from tests.edge.lanes import Laned, heard, laned, listen
from tests.edge.wire import Wire, head, wait_until

BODY: Final = b"once"
CALLERS: Final = 50
SLOW: Final = "inject=fdatasync,fsync:delay_enter=700000"
"""Logging a use takes so long that something can happen meanwhile; in microseconds."""
_numbers = iter(range(10**6))


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laned]:
    """A gateway with one object and a large one, whose lane is warm."""
    with laned(tmp_path_factory.mktemp("lane"), {"limits": {"keep-alive-seconds": 1, "header-seconds": 1}}) as made:
        made.put("/b/x", BODY)
        made.put("/b/large", b"l" * 100_000)
        with made.wire() as wire:
            made.warm(wire, head("GET", made.reading("/b/x")))
        yield made


def once(lane: Laned, path: str = "/b/x", **claims: Any) -> bytes:
    """The head of a request with a key that opens once."""
    number = next(_numbers)
    return head("GET", lane.reading(path, **({"uses": 1, "jti": f"once-{number}", "iat": int(time.time())} | claims)))


def at_rest(lane: Laned) -> Wire:
    """A connection whose next request the lane takes."""
    wire = lane.wire()
    lane.warm(wire, head("GET", lane.reading("/b/x")), times=1)
    return wire


def test_each_use_is_one_answer_and_served_by_the_lane(lane: Laned) -> None:
    """A fresh key for each: 200 by the lane, then 403 for that key, whatever the method."""
    with at_rest(lane) as wire:
        for _ in range(20):
            request = once(lane)
            before = lane.served()
            assert heard(wire, request).body == BODY
            by_lane = lane.served() - before
            assert heard(wire, request).code == "key_used"
            assert heard(wire, request.replace(b"GET", b"HEAD", 1)).code == "key_used"
            assert by_lane == 1
            at_rest(lane).sock.close()
            time.sleep(0.01)


def test_a_head_uses_nothing_and_is_judged_by_what_was_used(lane: Laned) -> None:
    """As often as one likes before, and never after."""
    request = once(lane)
    asked = request.replace(b"GET", b"HEAD", 1)
    with at_rest(lane) as wire:
        for _ in range(5):
            assert heard(wire, asked).status == 200
            time.sleep(0.01)
        assert heard(wire, request).status == 200
        for _ in range(5):
            time.sleep(0.01)
            assert heard(wire, asked).code == "key_used"


def test_of_fifty_at_once_one_is_answered(lane: Laned) -> None:
    """On fifty connections that are all at rest; the lane, and what it gives back, count together."""
    wires = [at_rest(lane) for _ in range(5)] + [lane.wire() for _ in range(CALLERS - 5)]
    for wire in wires[5:]:
        assert heard(wire, head("GET", lane.reading("/b/x"))).status == 200
    time.sleep(0.1)
    for uses in (1, 3):
        request = once(lane, uses=uses)
        threads = [threading.Thread(target=wire.send, args=(request,)) for wire in wires]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        said = [listen(wire) for wire in wires]
        assert sum(one.status == 200 for one in said) == uses
        assert {one.code for one in said} == {"", "key_used"}
        assert all(one.body == BODY for one in said if one.status == 200)
    for wire in wires:
        wire.sock.close()


def test_within_the_window_the_same_client_is_answered_again(lane: Laned) -> None:
    """And another address is not."""
    request = once(lane, window=60)
    with at_rest(lane) as wire, Wire(lane.gate.address, source="127.0.0.2") as other:
        for _ in range(5):
            assert heard(wire, request).body == BODY
            time.sleep(0.01)
        assert heard(other, head("GET", lane.reading("/b/x"))).status == 200
        time.sleep(0.05)
        assert heard(other, request).code == "key_used"


def test_who_disconnects_while_the_use_is_logged_has_used_it(lane: Laned) -> None:
    """The audit has the decision and what came of it; the key opens nothing any more."""
    request = once(lane, sub="impatient")
    with at_rest(lane) as wire, faults(lane.gate, SLOW):
        wire.send(request)
        time.sleep(0.2)
        wire.reset()
        wait_until(lambda: _lines(lane, "impatient"), 10)
    assert lane.gate.ask("GET", _target(request)).code == "key_used"
    lines = _lines(lane, "impatient")
    assert [line["decision"] for line in lines if line["event"] == "decision"] == ["admitted", "refused"]


def test_who_is_refused_after_it_has_gone_is_told_of_to_the_audit(lane: Laned) -> None:
    """Two want the last use, and the one that does not get it disconnects: each has its line."""
    request = once(lane, sub="two of them")
    with at_rest(lane) as first, at_rest(lane) as second:
        with faults(lane.gate, SLOW):
            first.send(request)
            time.sleep(0.1)
            second.send(request)
            time.sleep(0.1)
            second.reset()
            assert listen(first).body == BODY
        wait_until(lambda: len([one for one in _lines(lane, "two of them") if one["event"] == "decision"]) == 2)
    decisions = [line["decision"] for line in _lines(lane, "two of them") if line["event"] == "decision"]
    assert sorted(decisions) == ["admitted", "refused"]


BEHIND: Final = ("each on its own", "together", "behind it in one piece", "head in two pieces")


@pytest.mark.parametrize("how", BEHIND)
@pytest.mark.parametrize("is_refused", [False, True])
def test_what_comes_while_a_use_is_logged_is_answered_after_it(lane: Laned, how: str, is_refused: bool) -> None:
    """Small ones, a large one, another single use, a HEAD, a refused one: all in order, none lost, none twice."""
    path = "/b/large"
    reading = lane.reading
    others = [
        head("GET", reading("/b/x")), head("GET", reading(path)), once(lane), head("HEAD", reading("/b/x")),
        head("GET", reading("/b/none")), head("GET", "/b/x"),
        head("PUT", reading("/b/put", ops=["write"]), "Content-Length: 3") + b"put",
        head("GET", reading("/b/x", response={"content-language": "la"})),
    ]  # fmt: skip
    first = once(lane)
    with at_rest(lane) as wire:
        if is_refused:
            assert heard(wire, first).status == 200
            time.sleep(0.05)
        with faults(lane.gate, SLOW):
            for piece in _pieces(how, first, others):
                wire.send(piece)
                time.sleep(0.03)
            said = [listen(wire)] + [listen(wire, to_head=other.startswith(b"HEAD")) for other in others]
    expected = ["key_used" if is_refused else "", "", "", "", "", "not_found", "key_missing", "", ""]
    assert [one.code for one in said] == expected
    bodies = [BODY, b"l" * 100_000, BODY, b""]
    assert [one.body for one in said[1:5]] == bodies
    assert said[7].status in (200, 201)
    assert b"Content-Language: la" in said[8].head


def test_what_comes_while_a_use_is_logged_waits_for_a_slow_reader_too(lane: Laned) -> None:
    """A client that asks for megabytes meanwhile, and reads nothing, gets all of them, in order."""
    lane.put("/b/full", b"f" * 65_536)
    lane.put("/b/more", b"m" * 65_536)
    with at_rest(lane) as wire:
        with faults(lane.gate, SLOW):
            wire.send(once(lane, "/b/full"))
            for _ in range(100):  # megabytes of answers, and nobody reads
                wire.send(head("GET", lane.reading("/b/more")))
            time.sleep(1)
        said = [listen(wire) for _ in range(101)]
    assert [one.body[:1] for one in said] == [b"f"] + [b"m"] * 100


def _pieces(how: str, first: bytes, others: list[bytes]) -> list[bytes]:
    if how == "each on its own":
        return [first, *others]
    if how == "together":
        return [first, b"".join(others)]
    if how == "behind it in one piece":
        return [first + b"".join(others)]
    return [first, *(part for other in others for part in (other[:20], other[20:]))]


def test_a_slow_log_is_no_idle_connection_and_no_late_head(lane: Laned) -> None:
    """Neither keep-alive's end (1 s here) nor the deadline of a head (1 s) comes while the use is being logged."""
    with at_rest(lane) as wire, lane.wire() as fresh:
        time.sleep(0.6)
        with faults(lane.gate, SLOW.replace("700000", "2500000")):
            wire.send(once(lane))
            fresh.send(once(lane))
            assert listen(wire).body == BODY
            assert heard(wire, head("GET", lane.reading("/b/x"))).body == BODY
            assert listen(fresh).body == BODY
        assert wire.is_ended(5)  # and then keep-alive counts again


def test_half_a_connection_is_enough_for_the_answer(lane: Laned) -> None:
    """A client that says it will send no more gets what it has asked for, and the end."""
    with at_rest(lane) as wire:
        with faults(lane.gate, SLOW):
            wire.send(once(lane))
            wire.end_of_sending()
            said = listen(wire)
        assert said.body == BODY
        assert wire.is_ended()


def test_the_end_of_one_connection_is_not_told_to_others(lane: Laned) -> None:
    """What a client that has ended is answered says that its connection ends; the next one's goes on."""
    lane.put("/b/ends", BODY)
    for _ in range(4):
        with at_rest(lane) as wire:
            with faults(lane.gate, SLOW):
                wire.send(once(lane, "/b/ends"))
                wire.end_of_sending()
                said = listen(wire)
            assert b"Connection: close" in said.head
    with at_rest(lane) as wire:
        for _ in range(4):
            said = heard(wire, once(lane, "/b/ends"))
            assert said.body == BODY
            assert b"Connection: close" not in said.head


def test_when_the_gateway_stops_a_use_that_is_being_logged_is_still_answered(tmp_path: Path) -> None:
    """SIGTERM meanwhile: the answer comes, says that the connection ends, and the use is spent."""
    with laned(tmp_path) as lane:
        lane.put("/b/x", BODY)
        request = once(lane)
        with at_rest(lane) as wire:
            with faults(lane.gate, SLOW):
                wire.send(request)
                time.sleep(0.2)
                assert lane.gate.process
                lane.gate.process.send_signal(signal.SIGTERM)
                said = listen(wire)
            assert said.body == BODY
            assert said.ended
            assert wire.is_ended()
        lane.gate.process.wait(20)
    with laned(tmp_path) as lane:
        assert lane.gate.ask("GET", _target(request)).code == "key_used"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_use_that_was_answered_stays_used_whatever_kills_the_gateway(tmp_path: Path, workers: str) -> None:
    """kill -9 the moment the answer is there; nothing that was shown can be shown again."""
    args = ("--workers", workers)
    with laned(tmp_path, args=args) as lane:
        lane.put("/b/x", BODY)
        requests = [once(lane) for _ in range(20)]
        with at_rest(lane) as wire:
            said = [heard(wire, request) for request in requests]
        assert {one.status for one in said} == {200}
        lane.gate.kill()
    with laned(tmp_path, args=args) as lane, lane.wire() as wire:
        assert {heard(wire, request).code for request in requests} == {"key_used"}


def _target(request: bytes) -> str:
    return request.split(b" ")[1].decode()


def _lines(lane: Laned, subject: str) -> list[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        return [line for line in lane.gate.audit() if line.get("subject") == subject]
    return []
