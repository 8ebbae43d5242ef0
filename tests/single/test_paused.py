"""A client that pauses for longer than a lease has lost its use, whoever asks for it then, and whether anybody does."""

from tests.edge.wire import Wire, chunk
from tests.gate import Answer
from tests.single.crowd import Paused, request


def put(paused: Paused, name: str, body: bytes) -> Answer:
    """Another upload with the same key."""
    with Wire(paused.gate.address) as wire:
        wire.send(request("PUT", paused.targets[name], body))
        return wire.answer()


def goes_on(paused: Paused, name: str) -> Answer:
    """The rest of an upload, and how it was answered."""
    paused.wires[name].pour(chunk(b"2") + chunk(b""))
    return paused.wires[name].answer()


def test_a_reservation_that_has_lapsed_can_not_commit(paused: Paused) -> None:
    paused.wait()
    # Taken by another upload meanwhile.
    assert put(paused, "lost", b"other").status == 201
    assert goes_on(paused, "lost").code == "key_used"
    assert paused.keys.get("/w/lost").body == b"other"
    assert put(paused, "lost", b"more").code == "key_used"
    # Taken by nobody: refused all the same, nothing is published, and the key is as good as new.
    assert goes_on(paused, "lapsed").code == "key_used"
    assert paused.keys.get("/w/lapsed").code == "not_found"
    assert put(paused, "lapsed", b"other").status == 201
    assert put(paused, "lapsed", b"more").code == "key_used"
    assert paused.keys.get("/w/lapsed").body == b"other"
    # Renewed by what arrived.
    assert put(paused, "kept", b"other").code == "key_used"
    paused.stop_sending()
    assert goes_on(paused, "kept").status == 201
    assert put(paused, "kept", b"more").code == "key_used"
    body = paused.keys.get("/w/kept").body
    assert len(body) >= 5
    assert body == b"1" * (len(body) - 1) + b"2"
