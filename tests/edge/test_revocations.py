"""Revocations over HTTP: what is asked for holds in every worker when it is answered, and is understood whole."""

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import Door, mint, target
from tests.edge.wire import head
from tests.gate import Answer, Gate
from valetstore.policy.bounds import SKEW_SECONDS_MAX

WORKERS: Final = 2
PATH: Final = "/_valet/revocations"
ROUNDS: Final = 8
"""Connections asked after each change: more than there are workers, since the system chooses one for each."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Two workers, a signing key for administration, an object."""
    with Gate(tmp_path_factory.mktemp("gate"), args=("--workers", str(WORKERS))) as running:
        running.cli("keys", "create", "ops", "--ops", "admin", "--prefix", "/_valet/")
        time.sleep(1)
        assert running.ask("PUT", running.sign("PUT", "/photos/2024/cat.jpg"), b"a cat").status == 201
        yield running
        inspect(running)


def admin(gate: Gate, method: str, below: str = "", body: object = None, **claims: Any) -> Answer:
    """A request with a key for administration; a body that is not bytes goes as JSON."""
    terms: dict[str, Any] = {"ops": ["admin"], "prefix": "/_valet/", "sub": "carol"} | claims
    token = mint(gate, "ops", **{name: value for name, value in terms.items() if value is not None})
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return gate.ask(method, f"{PATH}{below}", data, {"Authorization": f"Bearer {token}"})


def revoke(gate: Gate, **members: Any) -> dict[str, Any]:
    """A new revocation, as it was answered."""
    answer = admin(gate, "POST", body=members)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    return made


def undo(gate: Gate, made: dict[str, Any]) -> None:
    """Take it back."""
    assert admin(gate, "DELETE", f"/{made['id']}").status == 204


def is_open(gate: Gate, url: str) -> bool:
    """Whether a key opens, by the one answer of many connections."""
    answers = [gate.ask("GET", url) for _ in range(ROUNDS)]
    assert len({(answer.status, answer.code) for answer in answers}) == 1
    assert answers[0].status == 200 or answers[0].code == "key_revoked"
    return answers[0].status == 200


CAT: Final = "/photos/2024/cat.jpg"


def test_the_audit_says_who_revoked_what(gate: Gate) -> None:
    made = revoke(gate, subject="mallory", issued_before=1_600_000_000)
    assert admin(gate, "DELETE", f"/{made['id']}").status == 204
    told = [line for line in gate.audit() if line["event"] == "decision" and "mallory" in line.get("reason", "")]
    assert [line["subject"] for line in told] == ["carol", "carol"]
    what = "subject mallory issued before Sun, 13 Sep 2020 12:26:40 GMT"
    # Workers write one file, each when it comes to it.
    reasons = [line["reason"] for line in sorted(told, key=lambda line: str(line["time"]))]
    assert reasons == [f"revokes {what}", f"takes back {made['id']}, which revoked {what}"]


@pytest.mark.parametrize("member", ["key", "identity", "signing_key", "subject", "prefix"])
def test_each_kind_is_refused_everywhere_at_once_and_opens_again_when_undone(gate: Gate, member: str) -> None:
    url = gate.sign("GET", CAT, subject=f"alice for {member}")
    other = gate.sign("GET", CAT, subject="bob", uses=100)
    if member == "identity":
        value = json.loads(gate.cli("inspect", url, "--json"))["key_identity"].upper()
    else:
        value = {"key": url, "signing_key": "default", "subject": f"alice for {member}", "prefix": "/photos/2024/"}[
            member
        ]
    made = revoke(gate, **{member: value}, reason="leaked")
    assert not is_open(gate, url)
    assert is_open(gate, other) is (member in {"key", "identity", "subject"})
    assert (made["reason"], made["by"], made["issued_before"]) == ("leaked", "ops (carol)", None)
    assert (made["expires_at"] is not None) is (member == "key")
    undo(gate, made)
    assert is_open(gate, url)
    assert is_open(gate, other)


def test_one_key_is_kept_until_it_has_ended(gate: Gate) -> None:
    end = int(time.time()) + 500
    made = revoke(gate, key=mint(gate, exp=end, ops=["read"], path=CAT))
    assert made["expires_at"] == end + SKEW_SECONDS_MAX
    undo(gate, made)
    made = revoke(gate, identity="ab" * 16, expires_at="2099-01-01T00:00:00Z")
    assert made["expires_at"] == 4_070_908_800 + SKEW_SECONDS_MAX
    undo(gate, made)


def test_issued_before_spares_what_is_issued_later(gate: Gate) -> None:
    now = int(time.time())
    keys = {
        issued: target(CAT, mint(gate, ops=["read"], path=CAT, sub="dave", **issued_at(issued)))
        for issued in (None, now - 9, now - 3)
    }
    for moment in (now - 5, rfc3339_of(now - 5)):
        made = revoke(gate, subject="dave", issued_before=moment)
        assert made["issued_before"] == now - 5
        assert {issued: is_open(gate, url) for issued, url in keys.items()} == {
            None: False,
            now - 9: False,
            now - 3: True,
        }
        undo(gate, made)


def issued_at(moment: int | None) -> dict[str, Any]:
    """The claim, or none."""
    return {} if moment is None else {"iat": moment}


def rfc3339_of(moment: int) -> str:
    """A date, in a zone that is not ours."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment - 2 * 3600)) + "-02:00"


def test_the_same_again_is_answered_with_the_entry_that_is_there(gate: Gate) -> None:
    made = revoke(gate, subject="erin", reason="first")
    again = admin(gate, "POST", body={"subject": "erin", "reason": "second"})
    assert (again.status, again.json()) == (200, made)
    assert again.headers["location"] == f"{PATH}/{made['id']}"
    undo(gate, made)


def test_entries_are_listed_a_page_at_a_time_the_newest_last(gate: Gate) -> None:
    made = [revoke(gate, subject=f"listed {number}") for number in range(5)]
    found: list[Any] = []
    after = ""
    while True:
        page = admin(gate, "GET", f"?limit=2&after={after}").json()
        assert len(page["revocations"]) <= 2
        found += page["revocations"]
        if page["next"] is None:
            break
        after = page["next"]
    assert found == made
    assert admin(gate, "GET").json() == {"revocations": made, "next": None}
    assert admin(gate, "GET", "?limit=5").json()["next"] is None
    assert admin(gate, "HEAD").status == 200
    for row in made:
        assert admin(gate, "GET", f"/{row['id']}").json() == row
        undo(gate, row)
    assert admin(gate, "GET", f"/{made[0]['id']}").code == "not_found"
    assert admin(gate, "DELETE", f"/{made[0]['id']}").code == "not_found"


def test_an_unknown_id_is_not_found(gate: Gate) -> None:
    for entry_id in ("00000000001", "x", "%00", "a/b", "0" * 500):
        for method in ("GET", "DELETE"):
            assert admin(gate, method, f"/{entry_id}").code == "not_found"


@pytest.mark.parametrize(
    ("below", "methods"), [("", "GET, HEAD, POST"), ("/", "GET, HEAD, POST"), ("/00000000001", "GET, HEAD, DELETE")]
)
def test_other_methods_are_named(gate: Gate, below: str, methods: str) -> None:
    answer = admin(gate, "PUT", below, b"x")
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", methods)


@pytest.mark.parametrize(
    ("key", "claims"),
    [
        ("default", {"ops": ["admin"], "prefix": "/_valet/"}),
        ("default", {"ops": ["read", "write", "delete", "list"], "prefix": "/"}),
        ("ops", {"ops": ["read"], "prefix": "/_valet/"}),
        ("_valet", {"ops": ["read"], "prefix": "/_valet/echo/"}),
    ],
)
def test_nothing_but_admin_will_do(gate: Gate, key: str, claims: dict[str, Any]) -> None:
    token = mint(gate, key, **({"exp": int(time.time()) + 200} | claims))
    for method, below in (("GET", ""), ("HEAD", ""), ("POST", ""), ("GET", "/00000000001"), ("DELETE", "/00000000001")):
        answer = gate.ask(method, target(f"{PATH}{below}", token), b"{}")
        assert (answer.status, answer.code) == (403, "operation_not_allowed")


@pytest.mark.parametrize("scope", [{"path": "/photos/x"}, {"prefix": "/_valet/echo/"}, {"path": f"{PATH}/00000000001"}])
def test_the_key_must_cover_the_path(gate: Gate, scope: dict[str, Any]) -> None:
    answer = admin(gate, "POST", body={"subject": "x"}, **({"prefix": None} | scope))
    assert answer.code == "path_not_allowed"


def test_a_key_for_the_path_alone_will_do(gate: Gate) -> None:
    made = admin(gate, "POST", body={"subject": "frank"}, prefix=None, path=PATH)
    assert made.status == 201
    undo(gate, made.json())


def test_a_key_for_one_revocation_makes_one(gate: Gate) -> None:
    once: dict[str, Any] = {"uses": 1, "jti": f"once {time.time()}", "iat": int(time.time())}
    assert admin(gate, "POST", body={"subject": ""}, **once).code == "parameter_invalid"
    assert admin(gate, "HEAD", **once).status == 200
    made = admin(gate, "POST", body={"subject": "grace"}, **once)
    assert made.status == 201
    assert admin(gate, "POST", body={"subject": "heidi"}, **once).code == "key_used"
    assert admin(gate, "GET", **once).code == "key_used"
    undo(gate, made.json())


# --- what is asked for is understood whole, or refused -------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "one JSON object"),
        (b"[]", "one JSON object"),
        (b"null", "one JSON object"),
        (b'{"subject": "a", "subject": "b"}', "one JSON object"),
        (b'{"subject": "a"', "one JSON object"),
        (b'{"subject": NaN}', "one JSON object"),
        (b"\xff", "one JSON object"),
        ({}, "exactly one of key, identity, signing_key, subject, prefix"),
        ({"reason": "x"}, "exactly one of"),
        ({"subject": "a", "prefix": "/a/"}, "exactly one of"),
        ({"subjekt": "a"}, "'subjekt'"),
        ({"subject": "a", "issued_after": 1, "until": 2}, "'issued_after', 'until'. Allowed are key, identity"),
        ({"subject": 1}, "`subject` is a text"),
        ({"subject": None}, "`subject` is a text"),
        ({"subject": ""}, "`subject` is empty"),
        ({"subject": "a", "reason": 5}, "`reason` is a text"),
        ({"subject": "a", "reason": "x" * 1025}, "1024"),
        ({"subject": "a", "issued_before": "yesterday"}, "`issued_before` is seconds since the epoch or a date"),
        ({"subject": "a", "issued_before": True}, "`issued_before`"),
        ({"subject": "a", "issued_before": [1]}, "`issued_before`"),
        ({"subject": "a", "issued_before": 1e300}, "`issued_before`"),
        ({"subject": "a", "issued_before": 10**400}, ""),
        ({"subject": "a", "issued_before": int(time.time() * 1000)}, "at most a day ahead"),
        ({"subject": "a", "expires_at": 4e9}, "for one key alone"),
        ({"identity": "xyz"}, "32 hexadecimal digits"),
        ({"identity": "ab" * 16, "expires_at": 5}, "in the past"),
        ({"prefix": "/photos"}, "starts and ends with a slash"),
        ({"prefix": "/_valet/"}, "could hold no object"),
        ({"signing_key": "none"}, "none of that name"),
        ({"signing_key": "_valet"}, "the gateway's own"),
        ({"key": "hello"}, "`key`: The key is not well-formed."),
        ({"key": "https://files.example.com/x"}, "`key`: This needs a signed key."),
    ],
)
def test_what_is_not_understood_is_named(gate: Gate, body: object, said: str) -> None:
    answer = admin(gate, "POST", body=body)
    assert (answer.status, answer.code) == (400, "parameter_invalid"), answer.body
    assert said in answer.json()["detail"]
    assert admin(gate, "GET").json()["revocations"] == []


def test_a_key_that_does_not_hold_or_has_ended_is_said_to(gate: Gate) -> None:
    token = mint(gate, ops=["read"], path=CAT)
    answer = admin(gate, "POST", body={"key": f"{token[:-8]}AAAAAAAA"})
    assert (answer.code, answer.status) == ("parameter_invalid", 400)
    assert "`key`: The key's signature does not hold." in answer.json()["detail"]
    answer = admin(gate, "POST", body={"key": mint(gate, ops=["read"], path=CAT, exp=1)})
    assert "expired by itself" in answer.json()["detail"]
    answer = admin(gate, "POST", body={"key": token, "expires_at": 4e9})
    assert "`expires_at` is only for `identity`" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["?limit=0", "?limit=x", "?limit=-1", "?after=x", "?after=1", "?limit=1&limit=2"])
def test_a_page_that_is_none_is_refused(gate: Gate, query: str) -> None:
    assert admin(gate, "GET", query).code == "parameter_invalid"


def test_a_body_may_have_16_kib(gate: Gate) -> None:
    def padded(size: int) -> bytes:
        return b'{"subject": "ivan"}'.ljust(size)

    made = admin(gate, "POST", body=padded(16_384))
    assert made.status == 201
    undo(gate, made.json())
    assert admin(gate, "POST", body=padded(16_385)).code == "too_large"


def test_a_body_may_come_in_chunks_byte_by_byte_and_after_100_continue(gate: Gate) -> None:
    door = Door("http", gate, gate.address)
    token = mint(gate, "ops", ops=["admin"], path=PATH)
    body = b'{"subject": "judy"}'
    with door.wire() as wire:
        wire.send(head("POST", target(PATH, token), "Transfer-Encoding: chunked", "Expect: 100-continue"))
        assert wire.answer().status == 100
        for byte in body:
            wire.send(b"1\r\n%c\r\n" % byte)
        wire.send(b"0\r\n\r\n")
        answer = wire.answer()
        assert answer.status == 201
        undo(gate, answer.json())
    with door.wire() as wire:
        wire.send(head("POST", target(PATH, token), "Transfer-Encoding: chunked"))
        for _ in range(9):
            wire.send(b"800\r\n" + b" " * 2048 + b"\r\n")
        assert wire.answer().code == "too_large"


# --- what outlasts what ----------------------------------------------------------------------------------


def test_revocations_outlast_kills_and_a_damaged_log_denies_until_it_is_repaired(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    gate = Gate(folder, args=("--workers", "2"))
    with gate:
        gate.cli("keys", "create", "ops", "--ops", "admin", "--prefix", "/_valet/")
        assert gate.ask("PUT", gate.sign("PUT", CAT), b"a cat").status == 201
        url, other = gate.sign("GET", CAT, subject="alice"), gate.sign("GET", CAT, subject="bob")
        time.sleep(1)
        revoke(gate, subject="alice")
        gate.kill()
    with gate:
        assert not is_open(gate, url)
        assert is_open(gate, other)
    (gate.data / "state/revocations.log").unlink()
    with gate:
        for asked in (url, other):
            answer = gate.ask("GET", asked)
            assert (answer.status, answer.code) == (503, "revocation_unavailable")
            assert answer.headers["retry-after"]
        assert "revocations" in gate.ask("GET", "/_valet/ready").json()["reasons"]
        assert gate.ask("GET", "/_valet/live").status == 200
        assert "valetstore repair" in gate.cli("revoke", "--list", status=1)
    assert "valetstore repair" in gate.cli("revoke", "--list", status=1)
    gate.cli("repair", "--yes")
    with gate:
        assert is_open(gate, other)


def test_what_comes_before_in_the_order_of_checks_is_told_first(gate: Gate) -> None:
    """A revoked key that is used for what it does not allow is told that it is revoked; an expired one, that."""
    made = revoke(gate, subject="mallory")
    for claims, code in (
        ({}, "key_revoked"),
        ({"ops": ["write"]}, "key_revoked"),
        ({"path": "/photos/other"}, "key_revoked"),
        ({"exp": 1}, "key_expired"),
    ):
        token = mint(gate, **({"ops": ["read"], "path": CAT, "sub": "mallory"} | claims))
        assert gate.ask("GET", target(CAT, token)).code == code
    undo(gate, made)
