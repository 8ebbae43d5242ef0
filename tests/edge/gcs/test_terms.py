"""What a signing key's profile says holds for Google's keys, in one request and in a resumable session."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.edge.gcs.conftest import QUANTUM, Account, Accounts, Session, refused
from tests.gate import Answer, Gate
from valetstore.grants.grant import Budget, Profile

ONCE = Profile(single_use=("write",))
Start = Callable[..., Gate]


def put_url(user: Account, name: str, **asked: str) -> str:
    """A URL for one PUT."""
    return user.url("PUT", name, asked)


def resume_url(user: Account, name: str) -> str:
    """A URL that begins sessions."""
    return user.url("RESUMABLE", name)


def start(user: Account, url: str) -> Answer:
    """Begin a session by it."""
    return user.gate.ask("POST", url, b"", {"x-goog-resumable": "start"})


def session(user: Account, url: str) -> Session:
    """The session that it begins."""
    answer = start(user, url)
    assert answer.status == 201, answer.body
    return Session(user.gate, answer.headers["location"])


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_a_put_is_done_once(google: Accounts, version: str) -> None:
    user = google(ONCE)
    url = user.url("PUT", f"once/put-{version}", version=version)
    # What is refused uses nothing.
    assert user.gate.ask("PUT", url, b"x", {"Content-MD5": "AA=="}).status in (400, 403)
    assert user.gate.ask("PUT", url, b"one").status == 200
    refused(user.gate.ask("PUT", url, b"two"), "AccessDenied", 403, "key_used")
    assert google().body(f"once/put-{version}") == b"one"


def test_a_read_is_done_once_and_a_head_any_time(google: Accounts) -> None:
    google().ask("PUT", "once/get", b"one")
    user = google(Profile(single_use=("read",)))
    url = user.url("GET", "once/get")
    assert user.gate.ask("HEAD", url).status == 200
    assert user.gate.ask("GET", url, headers={"If-Match": '"other"'}).status == 412
    assert user.gate.ask("GET", url).status == 200
    refused(user.gate.ask("GET", url), "AccessDenied", 403, "key_used")


def test_one_session_is_one_use(google: Accounts) -> None:
    user = google(ONCE)
    url, body = resume_url(user, "once/session"), bytes(2 * QUANTUM + 1)
    running = session(user, url)
    refused(start(user, url), "AccessDenied", 403, "key_used")
    for number in range(2):
        first = number * QUANTUM
        assert running.put(body[:QUANTUM], f"{first}-{first + QUANTUM - 1}/*").status == 308
        refused(start(user, url), "AccessDenied", 403, "key_used")
    assert running.put(b"x", f"{2 * QUANTUM}-{2 * QUANTUM}/{2 * QUANTUM + 1}").status == 200
    assert running.persisted() is None
    refused(start(user, url), "AccessDenied", 403, "key_used")


def test_a_session_that_is_given_up_brings_the_use_back(google: Accounts) -> None:
    user = google(ONCE)
    url = resume_url(user, "once/cancelled")
    first = session(user, url)
    first.put(bytes(QUANTUM), f"0-{QUANTUM - 1}/*")
    assert first.cancel().status == 499
    refused(first.cancel(), "NoSuchUpload", 410, "upload_not_found")
    second = session(user, url)
    refused(first.put(b"x"), "NoSuchUpload", 410, "upload_not_found")
    assert second.put(b"second").status == 200
    refused(second.cancel(), "NoSuchUpload", 410, "upload_not_found")
    refused(start(user, url), "AccessDenied", 403, "key_used")


def test_a_session_whose_hash_does_not_hold_brings_the_use_back(google: Accounts) -> None:
    user = google(ONCE)
    url = resume_url(user, "once/hash")
    running = session(user, url)
    refused(running.put(b"x", None, x_goog_hash="crc32c=AAAAAA=="), "BadDigest", 400, "digest_mismatch")
    assert session(user, url).put(b"y").status == 200


@pytest.mark.parametrize("profile", [ONCE, Profile(uses=3), Profile()])
def test_a_session_that_is_released_is_over_and_so_is_its_key(google: Accounts, profile: Profile) -> None:
    user = google(profile)
    url = resume_url(user, "once/released")
    running = session(user, url)
    assert running.put(bytes(QUANTUM), f"0-{QUANTUM - 1}/*").status == 308
    given = json.dumps({"key": running.url}).encode()
    assert user.gate.ask("POST", "/_valet/release", given).status == 204
    refused(running.put(None, f"*/{QUANTUM}"), "AccessDenied", 403, "key_revoked")
    refused(start(user, url), "AccessDenied", 403, "key_revoked")


def test_a_refused_start_uses_nothing(google: Accounts) -> None:
    user = google(ONCE)
    url = resume_url(user, "once/refused")
    answer = user.gate.ask("POST", url, bytes(70_000), {"x-goog-resumable": "start"})
    refused(answer, "InvalidArgument", 400, "parameter_invalid")
    assert session(user, url).put(b"x").status == 200


def test_of_many_that_begin_at_once_one_does(start: Start) -> None:
    gate = start("", "--workers", "2")
    user = Accounts(gate)(ONCE)
    url = resume_url(user, "crowd")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gate.ask("POST", url, b"", {"x-goog-resumable": "start"}), range(16)))
    begun = [answer for answer in answers if answer.status == 201]
    assert len(begun) == 1
    assert {answer.code for answer in answers} == {None, "key_used"}
    running = Session(gate, begun[0].headers["location"])
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda _: running.put(b"whole"), range(8)))
    # One publishes it; another comes too early, or is told what the first one was.
    assert {answer.status for answer in ended} <= {200, 503}
    assert 200 in {answer.status for answer in ended}
    assert running.persisted() is None


def test_a_use_stays_spent_over_a_crash(start: Start) -> None:
    gate = start()
    user = Accounts(gate)(ONCE)
    path = resume_url(user, "crash")[len(gate.base) :]
    host = gate.address
    location = gate.ask("POST", gate.base + path, b"", {"x-goog-resumable": "start"}).headers["location"]
    target = location[len(gate.base) :]
    gate.kill()
    gate.args = ("--listen", f"{host[0]}:{host[1]}")  # the signature names the host
    gate.start()
    refused(gate.ask("POST", path, b"", {"x-goog-resumable": "start"}), "AccessDenied", 403, "key_used")
    assert gate.ask("PUT", target, b"after").status == 200
    refused(gate.ask("POST", path, b"", {"x-goog-resumable": "start"}), "AccessDenied", 403, "key_used")


def test_the_length_range_is_of_the_whole_session(google: Accounts) -> None:
    profile = Profile(length_bytes_min=10, length_bytes_max=2 * QUANTUM)
    user = google(profile)
    running = session(user, resume_url(user, "length"))
    # As soon as it is known.
    for size, body in ((2 * QUANTUM + 1, bytes(QUANTUM)), (9 * QUANTUM, bytes(QUANTUM))):
        answer = running.put(body, f"0-{QUANTUM - 1}/{size}")
        refused(answer, "EntityTooLarge", 400, "too_large")
    refused(running.put(b"123", "0-2/3"), "EntityTooSmall", 400, "too_small")
    assert running.put(bytes(QUANTUM), f"0-{QUANTUM - 1}/*").status == 308
    assert running.put(bytes(QUANTUM), f"{QUANTUM}-{2 * QUANTUM - 1}/*").status == 308
    answer = running.put(bytes(QUANTUM), f"{2 * QUANTUM}-{3 * QUANTUM - 1}/*")
    refused(answer, "EntityTooLarge", 400, "too_large")
    assert running.put(None, f"*/{2 * QUANTUM}").status == 200
    other = session(user, resume_url(user, "length/none"))
    refused(other.put(iter([b"short"])), "EntityTooSmall", 400, "too_small")
    refused(other.put(iter([bytes(QUANTUM)] * 3)), "EntityTooLarge", 400, "too_large")


def test_the_url_s_own_length_range_is_of_the_whole_session(google: Accounts) -> None:
    running = google().begin("length/url", {"x-goog-content-length-range": "3,5"})
    refused(running.put(b"123456"), "EntityTooLarge", 400, "too_large")
    refused(running.put(b"12"), "EntityTooSmall", 400, "too_small")
    assert running.put(b"1234").status == 200


def test_create_only_holds_in_one_request_and_in_a_session(google: Accounts) -> None:
    user = google(Profile(create_only=True))
    running = session(user, resume_url(user, "create"))
    assert user.gate.ask("PUT", put_url(user, "create"), b"first").status == 200
    refused(user.gate.ask("PUT", put_url(user, "create"), b"second"), "PreconditionFailed", 412, "exists")
    refused(start(user, resume_url(user, "create")), "PreconditionFailed", 412, "exists")
    refused(running.put(b"third"), "PreconditionFailed", 412, "exists")
    assert google().body("create") == b"first"


def test_types_are_judged_when_the_upload_begins(google: Accounts) -> None:
    user = google(Profile(types=("image/*",)))
    for kind, code in (("image/png", None), ("text/html", "type_not_allowed"), ("", "type_not_allowed")):
        headers = {"Content-Type": kind} if kind else {}
        url = user.url("PUT", "types", content_type=kind or None)
        assert user.gate.ask("PUT", url, b"x", headers).code == code
        url = user.url("RESUMABLE", "types/session", content_type=kind or None)
        answer = user.gate.ask("POST", url, b"", {"x-goog-resumable": "start", **headers})
        assert answer.code == code
        if code:
            refused(answer, "AccessDenied", 403, code)
        else:
            # The type of a chunk says nothing: SDKs send one with each.
            running = Session(user.gate, answer.headers["location"])
            assert running.put(b"x", Content_Type="text/html").status == 200
    assert google().ask("GET", "types/session").headers["content-type"] == "image/png"


def test_networks_and_https_hold(google: Accounts) -> None:
    elsewhere, secure = google(Profile(networks=("192.0.2.0/24",))), google(Profile(https=True))
    for user, code in ((elsewhere, "source_not_allowed"), (secure, "https_required")):
        refused(user.ask("PUT", "where", b"x"), "AccessDenied", 403, code)
        refused(start(user, resume_url(user, "where")), "AccessDenied", 403, code)
        refused(user.ask("GET", "", bucket="things"), "AccessDenied", 403, code)


def test_operations_and_prefixes_hold(google: Accounts) -> None:
    reader, inside = google(Profile(operations=("read",))), google(Profile(prefixes=("/things/mine/",)))
    refused(reader.ask("PUT", "x", b"x"), "AccessDenied", 403, "operation_not_allowed")
    refused(start(reader, resume_url(reader, "x")), "AccessDenied", 403, "operation_not_allowed")
    refused(reader.ask("DELETE", "x"), "AccessDenied", 403, "operation_not_allowed")
    refused(inside.ask("PUT", "yours/x", b"x"), "AccessDenied", 403, "path_not_allowed")
    refused(start(inside, resume_url(inside, "yours/x")), "AccessDenied", 403, "path_not_allowed")
    assert inside.ask("PUT", "mine/x", b"x").status == 200
    assert session(inside, resume_url(inside, "mine/y")).put(b"y").status == 200


def test_a_lifetime_has_a_limit(google: Accounts) -> None:
    user = google(Profile(ttl_seconds_max=60))
    refused(user.ask("PUT", "ttl", b"x", seconds=600), "AccessDenied", 403, "ttl_too_long")
    assert user.ask("PUT", "ttl", b"x", seconds=50).status == 200


def test_a_budget_is_kept(google: Accounts) -> None:
    user = google(Profile(budget=Budget(rate=0.001, burst=2)))
    assert user.ask("PUT", "budget", b"x").status == 200
    assert user.ask("GET", "budget").status == 200
    answer = user.ask("GET", "budget")
    refused(answer, "SlowDown", 429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0


def test_what_is_revoked_opens_nothing_more(google: Accounts) -> None:
    user = google(Profile())
    url = user.url("GET", "revoked")
    running = session(user, resume_url(user, "revoked"))
    waiting = session(user, resume_url(user, "revoked/other"))
    user.ask("PUT", "revoked", b"x")
    user.gate.cli("revoke", "--signing-key", user.email.partition("@")[0])
    refused(user.gate.ask("GET", url), "AccessDenied", 403, "key_revoked")
    refused(running.put(b"x"), "AccessDenied", 403, "key_revoked")
    refused(waiting.put(None, "*/*"), "AccessDenied", 403, "key_revoked")
    refused(waiting.cancel(), "AccessDenied", 403, "key_revoked")


def test_a_retired_signing_key_ends_its_sessions(google: Accounts) -> None:
    user = google(Profile())
    running = session(user, resume_url(user, "retired"))
    with user.gate.reloading():
        user.gate.cli("keys", "retire", user.email.partition("@")[0])
    answer = running.put(b"x")
    assert (answer.status, answer.code) == (403, "key_revoked")
