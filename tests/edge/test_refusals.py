"""Every row of the refusal table, reached through every door: the answer says the same wherever one stands."""

import base64
import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.edge.doors import KINDS, Door, mint, opened, target
from tests.edge.faults import faults
from tests.edge.wire import wait_until
from tests.gate import Answer

STATUSES: Final = {
    "key_missing": 401,
    "key_malformed": 401,
    "signature_mismatch": 401,
    "key_not_yet_valid": 401,
    "key_expired": 401,
    "key_revoked": 401,
    "key_used": 403,
    "operation_not_allowed": 403,
    "path_not_allowed": 403,
    "source_not_allowed": 403,
    "https_required": 403,
    "header_required": 403,
    "ttl_too_long": 403,
    "replay_unavailable": 503,
    "storage_unavailable": 503,
    "key_ambiguous": 400,
    "target_invalid": 400,
    "object_key_invalid": 400,
    "digest_mismatch": 400,
    "too_small": 400,
    "too_large": 413,
    "type_not_allowed": 415,
    "not_found": 404,
    "exists": 412,
    "precondition_failed": 412,
    "range_not_satisfiable": 416,
    "conflict": 409,
    "rate_limited": 429,
    "storage_full": 507,
    "storage_error": 500,
}
"""The table of the issue."""


@dataclass
class Ask:
    """One request that must be refused."""

    method: str
    target: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def by(self, door: Door, method: str = "") -> Answer:
        """Send it."""
        return door.ask(method or self.method, self.target, self.body, self.headers)


@pytest.fixture(scope="module", params=KINDS)
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway where everything can go wrong: tight, with odd buckets, and a replay set of two."""
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "plain").mkdir()
    (folder / "gone").mkdir()
    config: dict[str, dict[str, Any]] = {
        "replay": {"replay-entries-max": 2},
        "buckets.plain": {"root": str(folder / "plain"), "layout": "files"},
        "buckets.gone": {"root": str(folder / "gone")},
        "buckets.tight": {"quota-bytes": 10},
    }
    if request.param in {"nginx", "caddy"}:
        config["listen"] = {"trusted-proxies": ["127.0.0.1"]}
    with opened(request.param, folder, config) as made:
        assert made.ask("PUT", made.gate.sign("PUT", "/b/there"), b"0123456789").status == 201
        once = made.gate.sign("GET", "/b/there", uses=1)
        assert made.ask("GET", once).status == 200
        made.gate.environment["ONCE"] = once
        yield made


def read(door: Door, **claims: Any) -> Ask:
    """A GET of an object that is there, with a key of these claims."""
    return Ask("GET", target("/b/there", mint(door.gate, **({"ops": ["read"], "path": "/b/there"} | claims))))


def write(door: Door, path: str = "/b/new", body: bytes = b"12345", **claims: Any) -> Ask:
    """A PUT with a key of these claims."""
    return Ask("PUT", target(path, mint(door.gate, **({"ops": ["write"], "path": path} | claims))), body)


def with_headers(ask: Ask, **headers: str) -> Ask:
    """The same with headers; underscores stand for hyphens."""
    ask.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return ask


def _revoked(door: Door) -> Ask:
    with contextlib.suppress(AssertionError):  # the row is asked twice
        door.gate.cli("keys", "create", "leaving")
    ask = read(door, key="leaving")
    door.gate.cli("keys", "retire", "leaving")
    wait_until(lambda: ask.by(door).code == "key_revoked")
    return ask


def _long_lived(door: Door) -> Ask:
    with contextlib.suppress(AssertionError):
        door.gate.cli("keys", "create", "brief", "--ttl-max", "1m")
    ask = read(door, key="brief", exp=int(time.time()) + 3600)
    wait_until(lambda: ask.by(door).code != "signature_mismatch")
    return ask


def _replay_full(door: Door) -> Ask:
    for _ in range(2):
        door.ask("GET", door.gate.sign("GET", "/b/there", uses=1))
    return read(door, uses=1, jti=f"j{time.monotonic_ns()}", iat=int(time.time()))


def _gone(door: Door) -> Ask:
    assert write(door, "/gone/x").by(door).status in {200, 201, 503}
    shutil.rmtree(door.gate.folder / "gone", ignore_errors=True)
    return write(door, "/gone/x")


def _in_the_way(door: Door) -> Ask:
    assert write(door, "/plain/a").by(door).status in {200, 201}
    return write(door, "/plain/a/b")


ROWS: Final[dict[str, Callable[[Door], Ask]]] = {
    "key_missing": lambda door: Ask("GET", "/b/there"),
    "key_malformed": lambda door: Ask("GET", "/b/there?valet=eyJ9"),
    "signature_mismatch": lambda door: Ask("GET", read(door).target[:-6] + "AAAAAA"),
    "key_not_yet_valid": lambda door: read(door, nbf=int(time.time()) + 60),
    "key_expired": lambda door: read(door, exp=int(time.time()) - 60),
    "key_revoked": _revoked,
    "key_used": lambda door: Ask("GET", door.gate.environment["ONCE"]),
    "operation_not_allowed": lambda door: read(door, ops=["write"]),
    "path_not_allowed": lambda door: read(door, path="/b/other"),
    "source_not_allowed": lambda door: read(door, ip="192.0.2.0/24"),
    "https_required": lambda door: read(door, https=True),
    "header_required": lambda door: read(door, headers={"x-must": "be"}),
    "ttl_too_long": _long_lived,
    "replay_unavailable": _replay_full,
    "storage_unavailable": _gone,
    "key_ambiguous": lambda door: Ask("GET", read(door).target + "&valet=x"),
    "target_invalid": lambda door: Ask("GET", "/b/there?x=%zz"),
    "object_key_invalid": lambda door: Ask("GET", "/-b/there?valet=x"),
    "digest_mismatch": lambda door: with_headers(write(door), Content_MD5="AAAAAAAAAAAAAAAAAAAAAA=="),
    "too_small": lambda door: write(door, length=[6, 9]),
    "too_large": lambda door: write(door, length=[1, 4]),
    "type_not_allowed": lambda door: with_headers(write(door, type="image/*"), Content_Type="text/plain"),
    "not_found": lambda door: Ask("GET", target("/b/absent", mint(door.gate, ops=["read"], prefix="/b/"))),
    "exists": lambda door: write(door, "/b/there", create=True),
    "precondition_failed": lambda door: with_headers(read(door), If_Match='"other"'),
    "range_not_satisfiable": lambda door: with_headers(read(door), Range="bytes=10-"),
    "conflict": _in_the_way,
    "storage_full": lambda door: write(door, "/tight/x", b"more than ten"),
}

NOT_ON_HEAD: Final = {"replay_unavailable", "range_not_satisfiable"}
"""HEAD needs no room in the replay set, and takes no notice of a Range (RFC 9110 section 14.2)."""


@pytest.mark.parametrize("code", ROWS)
def test_a_row_of_the_table_is_reached_and_well_told(door: Door, code: str) -> None:
    """Status, X-Valet-Error, problem+json, and the headers that go with the status."""
    ask = ROWS[code](door)
    answer = ask.by(door)
    if code == "https_required" and door.kind == "tls":
        assert answer.status == 200
        return
    check_refusal(answer, code)
    if ask.method == "GET" and code not in NOT_ON_HEAD:
        headless = ask.by(door, "HEAD")
        check_headers(headless, code)
        assert headless.body == b""


def check_refusal(answer: Answer, code: str) -> None:
    """All of a refusal."""
    check_headers(answer, code)
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == code
    assert body["status"] == STATUSES[code]
    assert body["title"]
    assert len(answer.body) < 1000


def check_headers(answer: Answer, code: str) -> None:
    """What a refusal says without its body."""
    assert (answer.status, answer.code) == (STATUSES[code], code), answer
    assert ("www-authenticate" in answer.headers) == (answer.status == 401)
    if answer.status == 401:
        assert answer.headers["www-authenticate"].startswith('Bearer realm="valetstore"')
    if answer.status in {429, 503}:
        assert int(answer.headers["retry-after"]) > 0
    if answer.status == 416:
        assert answer.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize("kind", KINDS)
def test_one_connection_too_many_is_rate_limited(kind: str, tmp_path: Path) -> None:
    """429 with Retry-After; once there is room again, the same address is served."""
    with opened(kind, tmp_path, {"limits": {"connections-per-address-max": 1}}) as door:
        url = door.gate.sign("GET", "/b/x")
        with Door("direct", door.gate, door.gate.address, door.gate.cafile).wire() as held:
            live = b"GET /_valet/live HTTP/1.1\r\nHost: x\r\n\r\n"
            held.send(live)
            assert held.answer().status == 200  # it is accepted, by whichever worker
            check_refusal(door.ask("GET", url), "rate_limited")
            held.send(live)
            assert held.answer().status == 200
        wait_until(lambda: door.ask("GET", url).status == 404)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_disk_is_a_storage_error(kind: str, tmp_path: Path) -> None:
    """500, nothing changed, and readiness says so."""
    with opened(kind, tmp_path) as door:
        assert door.ask("PUT", door.gate.sign("PUT", "/b/x"), b"old").status == 201
        with faults(door.gate, "inject=fdatasync,fsync:error=EIO"):
            check_refusal(door.ask("PUT", door.gate.sign("PUT", "/b/x"), b"new"), "storage_error")
        assert door.ask("GET", door.gate.sign("GET", "/b/x")).body == b"old"
        # Whichever worker is asked: they tell each other within a second.
        wait_until(lambda: all(door.ask("GET", "/_valet/ready").status == 503 for _ in range(10)))
        assert door.ask("GET", "/_valet/ready").json()["reasons"]


def test_the_table_is_whole() -> None:
    """Every row of the issue has its test."""
    assert set(STATUSES) == set(ROWS) | {"rate_limited", "storage_error"}


def test_without_a_key_existing_and_missing_objects_answer_the_same(door: Door) -> None:
    """Neither status, nor headers, nor body tell them apart."""
    answers = [door.ask("GET", path) for path in ("/b/there", "/b/absent", "/none/absent")]
    for answer in answers:
        for volatile in ("x-request-id", "date"):
            del answer.headers[volatile]
    assert answers[0] == answers[1] == answers[2]


def test_an_unknown_signing_key_answers_like_a_wrong_signature(door: Door) -> None:
    """One code, one body: neither can be probed for."""
    good = mint(door.gate, ops=["read"], path="/b/there")
    wrong = good[:-6] + "AAAAAA"
    header = json.dumps({"alg": "HS256", "kid": "nobody", "typ": "JWT"}).encode()
    unknown = base64.urlsafe_b64encode(header).rstrip(b"=").decode() + good[good.index(".") :]
    bodies = {door.ask("GET", target("/b/there", token)).body for token in (wrong, unknown)}
    assert len(bodies) == 1
