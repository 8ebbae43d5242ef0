"""One use is one use: however many ask at once, whichever worker they meet; and what is refused uses nothing up."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import mint
from tests.edge.doors import target as into
from tests.edge.wire import Wire, head, wait_until
from tests.gate import Answer, Gate
from tests.single.crowd import Keys, at_once, request, succeeded

WORKERS: Final = 4
CROWD: Final = 200
STATUS: Final = {"GET": 200, "PUT": 201, "DELETE": 204, "LIST": 200}
ALICE: Final = "X-Forwarded-For: 203.0.113.5"
BOB: Final = "X-Forwarded-For: 203.0.113.6"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Four workers behind a trusted proxy; signing keys that make every key a limited one."""
    gate = Gate(
        tmp_path_factory.mktemp("gate"), "[listen]\ntrusted-proxies = ['127.0.0.1']\n", ("--workers", str(WORKERS))
    )
    gate.cli("keys", "create", "default")
    gate.cli("keys", "create", "once", "--single-use", "read,write,delete,list")
    gate.cli("keys", "create", "five", "--uses", "5")
    with gate:
        yield gate
        inspect(gate)


@pytest.fixture(scope="module")
def keys(gate: Gate) -> Keys:
    """Keys without limits of their signing key; there is an object /w/here."""
    made = Keys(gate)
    made.put("/w/here")
    return made


def ask(gate: Gate, method: str, target: str, body: bytes | None = None, *lines: str) -> Answer:
    """One request, on a connection of its own."""
    with Wire(gate.address) as wire:
        wire.send(request(method, target, body, *lines))
        return wire.answer(method)


def is_spent(gate: Gate, method: str, target: str, *lines: str) -> None:
    """Refused by every worker, whatever it is asked for."""
    body = b"more" if method == "PUT" else None
    for _ in range(2 * WORKERS):
        answer = ask(gate, method, target, body, *lines)
        assert (answer.status, answer.code) == (403, "key_used")
    if method == "GET":
        assert ask(gate, "HEAD", target).code == "key_used"


# --- exactly one winner --------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["claim", "profile"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "LIST"])
def test_of_200_at_once_one_wins(gate: Gate, keys: Keys, method: str, by: str) -> None:
    path = "/w/" if method == "LIST" else f"/w/{method}-{by}"
    if method in {"GET", "DELETE"}:
        keys.put(path)
    target = keys(method, path, uses=1) if by == "claim" else Keys(gate, "once")(method, path)
    body = b"mine" if method == "PUT" else None
    answers = at_once(gate.address, [request(method, target, body)] * CROWD)
    won = [answer for answer in answers if answer.status == STATUS[method]]
    assert len(won) == 1
    assert {answer.code for answer in answers if answer is not won[0]} == {"key_used"}
    is_spent(gate, method, target)
    if method != "LIST":
        assert keys.get(path).status == (404 if method == "DELETE" else 200)


@pytest.mark.parametrize("by", ["claim", "profile"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_of_200_at_once_five_win_where_five_may(gate: Gate, keys: Keys, method: str, by: str) -> None:
    path = f"/w/five-{method}-{by}"
    keys.put(path)
    target = keys(method, path, uses=5) if by == "claim" else Keys(gate, "five")(method, path)
    answers = at_once(gate.address, [request(method, target, b"mine" if method == "PUT" else None)] * CROWD)
    assert succeeded(answers) == 5
    assert {answer.code for answer in answers if answer.status >= 300} == {"key_used"}
    is_spent(gate, method, target)


def test_many_keys_at_once_each_win_once(gate: Gate, keys: Keys) -> None:
    """Claims are answered in batches: nobody may get another's answer."""
    targets = [keys("GET", "/w/here", uses=1) for _ in range(60)]
    answers = at_once(gate.address, [request("GET", target) for target in targets * 3])
    for number in range(len(targets)):
        assert succeeded(answers[number :: len(targets)]) == 1


def test_all_of_a_crowd_may_read_where_so_many_may(gate: Gate, keys: Keys) -> None:
    answers = at_once(gate.address, [request("GET", keys("GET", "/w/here", uses=CROWD))] * CROWD)
    assert succeeded(answers) == CROWD


def test_create_only_has_one_winner_whose_key_is_used(gate: Gate, keys: Keys) -> None:
    """Many keys for one name: all but one are told that it exists, and keep their use."""
    targets = [keys("PUT", "/w/new", uses=1, create_only=True) for _ in range(50)]
    answers = at_once(gate.address, [request("PUT", target, b"%d" % n) for n, target in enumerate(targets)])
    (winner,) = (n for n, answer in enumerate(answers) if answer.status == 201)
    assert {answer.code for n, answer in enumerate(answers) if n != winner} == {"exists"}
    assert keys.get("/w/new").body == b"%d" % winner
    is_spent(gate, "PUT", targets[winner])
    assert ask(gate, "DELETE", keys("DELETE", "/w/new")).status == 204
    loser = targets[winner - 1]
    assert ask(gate, "PUT", loser, b"second").status == 201
    is_spent(gate, "PUT", loser)


def test_one_nonce_is_one_key_whatever_it_opens(gate: Gate, keys: Keys) -> None:
    """What a nonce is signed into again, for something else or for longer, is still the same key."""
    now = int(time.time())
    terms: dict[str, Any] = {"path": "/w/here", "uses": 1, "jti": "the same", "iat": now}
    first = into("/w/here", mint(gate, ops=["read", "write"], **terms))
    longer = into("/w/here", mint(gate, ops=["write"], exp=now + 3000, **terms))
    assert ask(gate, "GET", first).status == 200
    is_spent(gate, "GET", first)
    is_spent(gate, "PUT", first)
    is_spent(gate, "PUT", longer)


# --- windows -------------------------------------------------------------------------------------------


def test_a_window_is_for_the_address_that_opened_it(gate: Gate, keys: Keys) -> None:
    target = keys("GET", "/w/here", uses=1, window=60)
    assert ask(gate, "GET", target, None, ALICE).status == 200
    for _ in range(2 * WORKERS):
        assert ask(gate, "GET", target, None, ALICE).status == 200
        assert ask(gate, "GET", target, None, BOB).code == "key_used"
        assert ask(gate, "GET", target).code == "key_used"  # the proxy itself is no client of that address
    assert ask(gate, "HEAD", target, None, ALICE).status == 200
    assert ask(gate, "HEAD", target, None, BOB).code == "key_used"


def test_a_crowd_in_one_window_is_served_and_another_address_is_not(gate: Gate, keys: Keys) -> None:
    target = keys("GET", "/w/here", uses=1, window=60)
    answers = at_once(gate.address, [request("GET", target, None, line) for line in [ALICE, BOB] * 50])
    by_alice, by_bob = succeeded(answers[::2]), succeeded(answers[1::2])
    assert sorted((by_alice, by_bob)) == [0, 50]


def test_a_window_ends(gate: Gate, keys: Keys) -> None:
    target = keys("GET", "/w/here", uses=1, window=2)
    began = time.monotonic()
    assert ask(gate, "GET", target).status == 200
    assert ask(gate, "GET", target).status == 200 or time.monotonic() - began > 2
    time.sleep(max(0.0, began + 2.1 - time.monotonic()))
    is_spent(gate, "GET", target)


def test_an_upload_in_its_window_may_be_repeated(gate: Gate, keys: Keys) -> None:
    target = keys("PUT", "/w/window", uses=1, window=60)
    assert ask(gate, "PUT", target, b"one", ALICE).status == 201
    assert ask(gate, "PUT", target, b"two", BOB).code == "key_used"
    assert ask(gate, "PUT", target, b"three", ALICE).status == 200
    assert keys.get("/w/window").body == b"three"


# --- what uses nothing up ------------------------------------------------------------------------------

Attempt = Callable[[Gate, str], Answer]


def refused(code: str, method: str, body: bytes | None = None, *lines: str) -> Attempt:
    """An attempt that must be refused so."""

    def attempt(gate: Gate, target: str) -> Answer:
        answer = ask(gate, method, target, body, *lines)
        assert answer.code == code, answer
        return answer

    return attempt


def answered(status: int, method: str, *lines: str) -> Attempt:
    """An attempt that must be answered so."""

    def attempt(gate: Gate, target: str) -> Answer:
        answer = ask(gate, method, target, None, *lines)
        assert answer.status == status, answer
        return answer

    return attempt


def vanish(gate: Gate, target: str) -> None:
    """A client that is gone in the middle of its upload."""
    with Wire(gate.address) as wire:
        wire.send(head("PUT", target, "Content-Length: 4", "Expect: 100-continue"))
        if wire.answer().status == 100:
            wire.send(b"he")
            wire.reset()


def half_close(gate: Gate, target: str) -> None:
    """A client that ends its upload before its time."""
    with Wire(gate.address) as wire:
        wire.send(head("PUT", target, "Content-Length: 4", "Connection: close") + b"he")
        wire.end_of_sending()
        assert b" 201 " not in wire.rest()


READS: Final[dict[str, Attempt]] = {
    "head": answered(200, "HEAD"),
    "options": answered(403, "OPTIONS", "Origin: https://a.example", "Access-Control-Request-Method: GET"),
    "precondition": refused("precondition_failed", "GET", None, 'If-Match: "other"'),
    "range": refused("range_not_satisfiable", "GET", None, "Range: bytes=1000-"),
    "operation": refused("operation_not_allowed", "PUT", b"here"),
    "method": refused("method_not_allowed", "PATCH", b""),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_that_gives_nothing_uses_nothing(gate: Gate, keys: Keys, name: str) -> None:
    target = keys("GET", "/w/here", uses=1)
    for _ in range(3):
        READS[name](gate, target)
    assert ask(gate, "GET", target).body == b"here"
    is_spent(gate, "GET", target)


def test_not_modified_uses_nothing(gate: Gate, keys: Keys) -> None:
    etag = keys.get("/w/here").headers["etag"]
    target = keys("GET", "/w/here", uses=1)
    for _ in range(3):
        assert ask(gate, "GET", target, None, f"If-None-Match: {etag}").status == 304
    assert ask(gate, "GET", target).status == 200
    # A spent key says not even that.
    assert ask(gate, "GET", target, None, f"If-None-Match: {etag}").code == "key_used"


def test_what_is_not_there_yet_uses_nothing(gate: Gate, keys: Keys) -> None:
    read, delete = keys("GET", "/w/late", uses=1), keys("DELETE", "/w/late", uses=1)
    for _ in range(3):
        assert ask(gate, "GET", read).code == "not_found"
        assert ask(gate, "DELETE", delete).code == "not_found"
    keys.put("/w/late")
    assert ask(gate, "DELETE", delete, None, 'If-Match: "other"').code == "precondition_failed"
    assert ask(gate, "GET", read).status == 200
    assert ask(gate, "DELETE", delete).status == 204
    is_spent(gate, "GET", read)
    is_spent(gate, "DELETE", delete)


def test_a_range_uses_the_key(gate: Gate, keys: Keys) -> None:
    target = keys("GET", "/w/here", uses=1)
    assert ask(gate, "GET", target, None, "Range: bytes=1-2").body == b"er"
    is_spent(gate, "GET", target)


def test_a_list_that_is_refused_uses_nothing(gate: Gate, keys: Keys) -> None:
    target = keys("LIST", "/w/", uses=1)
    assert ask(gate, "LIST", f"{target}&limit=0").code == "parameter_invalid"
    assert ask(gate, "HEAD", target).status == 200
    assert ask(gate, "LIST", target).status == 200
    is_spent(gate, "LIST", target)


WRITES: Final[dict[str, tuple[dict[str, Any], Callable[[Gate, str], object]]]] = {
    "too_large": ({"length": (0, 4)}, refused("too_large", "PUT", b"too much")),
    "too_large_at_last": (
        {"length": (0, 4)},
        lambda gate, target: _chunked(gate, target, b"too much", "too_large"),
    ),
    "too_small": ({"length": (4, 4)}, refused("too_small", "PUT", b"few")),
    "digest": (
        {"sha256": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},
        refused("digest_mismatch", "PUT", b"2"),
    ),
    "precondition": ({}, refused("precondition_failed", "PUT", b"here", 'If-Match: "other"')),
    "part": ({}, refused("parameter_invalid", "PUT", b"here", "Content-Range: bytes 0-3/9")),
    "type": ({"types": ["image/png"]}, refused("type_not_allowed", "PUT", b"here", "Content-Type: text/html")),
    "vanished": ({}, vanish),
    "incomplete": ({}, half_close),
}


def _chunked(gate: Gate, target: str, body: bytes, code: str) -> None:
    with Wire(gate.address) as wire:
        wire.send(head("PUT", target, "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert wire.answer().code == code


@pytest.mark.parametrize("name", WRITES)
def test_an_upload_that_fails_uses_nothing(gate: Gate, keys: Keys, name: str) -> None:
    terms, fail = WRITES[name]
    target = keys("PUT", f"/w/fails-{name}", uses=1, **terms)
    for _ in range(3):
        fail(gate, target)
    body = {"digest": b"1"}.get(name, b"good")
    # A client that is gone is found out a moment later.
    wait_until(lambda: ask(gate, "PUT", target, body, "Content-Type: image/png").status == 201, 5)
    assert keys.get(f"/w/fails-{name}").body == body
    is_spent(gate, "PUT", target, "Content-Type: image/png")


# --- uploads of one key at the same time ---------------------------------------------------------------


def begun(gate: Gate, target: str) -> Wire:
    """An upload of four bytes that has been let in, without its body."""
    wire = Wire(gate.address)
    wire.send(head("PUT", target, "Content-Length: 4", "Expect: 100-continue"))
    answer = wire.answer()
    assert answer.status == 100, answer
    return wire


def test_the_second_upload_is_refused_while_the_first_runs_and_after_it(gate: Gate, keys: Keys) -> None:
    target = keys("PUT", "/w/first", uses=1)
    with begun(gate, target) as first:
        for _ in range(2 * WORKERS):
            assert ask(gate, "PUT", target, b"2222").code == "key_used"
        first.send(b"1111")
        assert first.answer().status == 201
    is_spent(gate, "PUT", target)
    assert keys.get("/w/first").body == b"1111"


def test_the_second_upload_gets_the_use_that_the_first_gives_back(gate: Gate, keys: Keys) -> None:
    target = keys("PUT", "/w/second", uses=1)
    with begun(gate, target) as first:
        assert ask(gate, "PUT", target, b"2222").code == "key_used"
        first.send(b"11")
        first.reset()
    wait_until(lambda: ask(gate, "PUT", target, b"2222").status == 201, 5)
    is_spent(gate, "PUT", target)
    assert keys.get("/w/second").body == b"2222"


def test_as_many_uploads_run_as_there_are_uses(gate: Gate, keys: Keys) -> None:
    target = keys("PUT", "/w/several", uses=2)
    with begun(gate, target) as first, begun(gate, target) as second:
        assert ask(gate, "PUT", target, b"3333").code == "key_used"
        second.send(b"2222")
        assert second.answer().status == 201
        assert ask(gate, "PUT", target, b"3333").code == "key_used"
        first.reset()
    wait_until(lambda: ask(gate, "PUT", target, b"3333").status == 200, 5)
    is_spent(gate, "PUT", target)
