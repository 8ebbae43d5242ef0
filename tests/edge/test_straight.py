"""Large bodies that are read straight from their socket: the same promises, and the connection goes on behind them."""

import hashlib
import os
import random
import select
import time
from pathlib import Path

import pytest

from tests.edge.doors import Door, opened
from tests.edge.test_uploads import leftovers, read, writable
from tests.edge.wire import head, wait_until

SIZE = 3_000_001
BODY = random.Random(6).randbytes(SIZE)
LIVE = head("GET", "/_valet/live")


@pytest.mark.parametrize("first", [0, 1, 70_000, SIZE - 600_000, SIZE])
def test_requests_follow_a_large_body_on_its_connection(door: Door, first: int) -> None:
    """Sent with it, right behind its last byte, or after its answer; and that several times."""
    path = f"/s/follows-{first}"
    with door.wire() as wire:
        for status in (201, 200, 200):
            asked = head("PUT", writable(door, path), f"Content-Length: {SIZE}")
            wire.send(asked + BODY[:first])
            wire.send(BODY[first:] + LIVE + LIVE[:10])
            assert wire.answer().status == status
            assert wire.answer().status == 200
            wire.send(LIVE[10:])
            assert wire.answer().status == 200
    assert read(door, path).body == BODY


def test_two_large_bodies_in_one_breath(door: Door) -> None:
    """The head of the second one is behind the first."""
    with door.wire() as wire:
        wire.send(
            b"".join(
                head("PUT", writable(door, f"/s/pair-{letter}"), f"Content-Length: {SIZE}") + BODY for letter in "ab"
            )
        )
        assert [wire.answer().status, wire.answer().status] == [201, 201]
    assert read(door, "/s/pair-a").body == read(door, "/s/pair-b").body == BODY


def test_a_large_body_in_small_pieces(door: Door) -> None:
    """Of any size, with pauses between some of them."""
    chance, at = random.Random(7), 0
    with door.wire() as wire:
        wire.send(head("PUT", writable(door, "/s/pieces"), f"Content-Length: {SIZE}"))
        while at < SIZE:
            count = chance.choice((1, 1000, 20_000, 65_536, 300_000))
            wire.send(BODY[at : at + count])
            at += count
            if chance.random() < 0.2:
                time.sleep(0.002)
        assert wire.answer().status == 201
    assert read(door, "/s/pieces").body == BODY


@pytest.mark.parametrize("end", ["close", "reset", "half-close"])
def test_a_large_body_that_ends_early_leaves_nothing(door: Door, end: str) -> None:
    """However the client goes, what was there stays and the key is not used up."""
    path = f"/s/early-{end}"
    url = writable(door, path, uses=1, jti=path, iat=int(time.time()))
    wire = door.wire()
    wire.send(head("PUT", url, f"Content-Length: {SIZE}") + BODY[:-1])
    time.sleep(0.1)
    if end == "reset":
        wire.reset()
    elif end == "close":
        wire.sock.close()
    else:
        wire.end_of_sending()
        assert wire.is_ended()
        wire.sock.close()
    wait_until(lambda: not leftovers(door))
    wait_until(lambda: b"still runs" not in door.ask("PUT", url, b"", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}).body)
    assert read(door, path).status == 404
    assert door.ask("PUT", url, BODY).status == 201
    assert door.ask("PUT", url, b"again").code == "key_used"


def test_a_large_body_that_is_not_what_was_promised_is_not_kept(door: Door) -> None:
    """And the connection goes on."""
    other = hashlib.sha256(BODY).hexdigest()
    with door.wire() as wire:
        wire.send(head("PUT", writable(door, "/s/wrong", sha256=other), f"Content-Length: {SIZE}") + BODY[::-1])
        assert wire.answer().code == "digest_mismatch"
        wire.send(head("PUT", writable(door, "/s/wrong", sha256=other), f"Content-Length: {SIZE}") + BODY)
        assert wire.answer().status == 201
    assert read(door, "/s/wrong").body == BODY


def test_many_large_bodies_at_once(door: Door) -> None:
    """More than there are threads: each gets its own bytes."""
    bodies = [os.urandom(1_200_000) for _ in range(20)]
    wires = [door.wire() for _ in bodies]
    for number, (wire, body) in enumerate(zip(wires, bodies, strict=True)):
        asked = head("PUT", writable(door, f"/s/many-{number}"), f"Content-Length: {len(body)}")
        wire.send(asked + body[:200_000])
    for wire, body in zip(wires, bodies, strict=True):
        wire.send(body[200_000:])
    for number, (wire, body) in enumerate(zip(wires, bodies, strict=True)):
        with wire:
            assert wire.answer().status == 201
        assert read(door, f"/s/many-{number}").body == body


def test_a_large_body_that_stops_or_trickles_is_told_408(tmp_path: Path) -> None:
    """At the pace that the settings ask for; what was there stays."""
    limits = {"rate-grace-seconds": 1, "upload-bytes-per-second-min": 20_000}
    with opened("http", tmp_path, {"limits": limits}) as door:
        for path, pieces in (("/s/stops", [b""]), ("/s/trickles", [b"x"] * 60)):
            with door.wire() as wire:
                wire.send(head("PUT", writable(door, path), f"Content-Length: {SIZE}") + BODY[:1_000_000])
                started = time.monotonic()
                for piece in pieces:
                    wire.pour(piece)
                    if select.select([wire.sock], [], [], 0.1)[0]:
                        break
                answer = wire.answer()
                assert (answer.status, answer.code) == (408, "request_timeout")
                assert time.monotonic() - started < 5
                assert wire.is_ended()
            assert read(door, path).status == 404
            assert not leftovers(door)
