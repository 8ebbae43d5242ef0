"""What Swift cannot say and a signing key's profile says for it: each term holds on the wire."""

import threading
from collections.abc import Callable

import pytest

from tests.edge.swift.conftest import Account, Accounts, File
from tests.gate import Gate
from valetstore.grants.grant import Budget, Profile


@pytest.mark.parametrize(
    ("profile", "method", "headers", "status", "code"),
    [
        (Profile(operations=("write",)), "GET", {}, 401, "operation_not_allowed"),
        (Profile(operations=("read",)), "DELETE", {}, 401, "operation_not_allowed"),
        (Profile(prefixes=("/other/",)), "GET", {}, 401, "path_not_allowed"),
        (Profile(networks=("192.0.2.0/24",)), "GET", {}, 401, "source_not_allowed"),
        (Profile(https=True), "GET", {}, 401, "https_required"),
        (Profile(ttl_seconds_max=10), "GET", {}, 401, "ttl_too_long"),
        (Profile(types=("image/*",)), "PUT", {"Content-Type": "text/html"}, 415, "type_not_allowed"),
        (Profile(types=("image/*",)), "PUT", {}, 415, "type_not_allowed"),
        (Profile(length_bytes_max=3), "PUT", {}, 413, "too_large"),
        (Profile(length_bytes_min=9), "PUT", {}, 422, "too_small"),
    ],
)
def test_a_profiles_terms_hold(
    swift: Accounts, profile: Profile, method: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = swift(profile).ask(method, "/terms/held", b"12345" if method == "PUT" else None, headers)
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize("size", [3, 4])
def test_a_length_holds_for_a_body_that_does_not_announce_it(swift: Accounts, size: int) -> None:
    """Judged byte by byte, and nothing is kept of it."""
    one, path = swift(Profile(length_bytes_max=3)), f"/terms/chunked{size}"
    answer = one.ask("PUT", path, iter([b"x"] * size))  # in HTTP's chunks
    assert answer.status == (201 if size == 3 else 413)
    assert swift().ask("GET", path).status == (200 if size == 3 else 404)


def test_a_single_use_read_is_read_once(swift: Accounts, gate: Gate) -> None:
    """A HEAD and a 304 use nothing; the same signature written otherwise is the same key."""
    swift().put("/terms/once", b"once")
    one = swift(Profile(single_use=("read",)))
    url = one.url("GET", "/terms/once")
    assert gate.ask("HEAD", url).status == 200
    tag = gate.ask("HEAD", url).headers["etag"]
    assert gate.ask("GET", url, headers={"If-None-Match": tag}).status == 304
    assert gate.ask("GET", url).body == b"once"
    again = gate.ask("GET", url + "&filename=other")
    assert (again.status, again.code) == (401, "key_used")
    assert gate.ask("HEAD", url).status == 401


def test_a_single_use_prefix_has_one_use_for_all_it_opens(swift: Accounts, gate: Gate) -> None:
    for name in ("a", "b"):
        swift().put(f"/terms/p/{name}", b"x")
    one = swift(Profile(single_use=("read",)))
    query = one.url("GET", "/terms/p/", prefix=True).partition("?")[2]
    assert gate.ask("GET", f"/v1/{one.name}/terms/p/a?{query}").status == 200
    assert gate.ask("GET", f"/v1/{one.name}/terms/p/b?{query}").code == "key_used"


def test_a_single_use_write_is_written_once_of_many_at_once(swift: Accounts, gate: Gate) -> None:
    url = swift(Profile(single_use=("write",))).url("PUT", "/terms/written")
    codes = list[int]()

    def put() -> None:
        codes.append(gate.ask("PUT", url, b"x").status)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201] + [401] * 7


def test_a_failed_upload_gives_its_use_back(swift: Accounts, gate: Gate) -> None:
    one = swift(Profile(single_use=("write",)))
    url = one.url("PUT", "/terms/failed")
    assert gate.ask("PUT", url, b"x", {"Etag": "0" * 32}).status == 422
    assert gate.ask("PUT", url, b"x").status == 201
    assert gate.ask("PUT", url, b"x").code == "key_used"


def test_a_use_of_a_delete_is_spent_by_a_delete(swift: Accounts, gate: Gate) -> None:
    url = swift(Profile(single_use=("delete",))).url("DELETE", "/terms/gone")
    assert gate.ask("DELETE", url).status == 404
    swift().put("/terms/gone", b"x")
    assert gate.ask("DELETE", url).status == 204
    assert gate.ask("DELETE", url).code == "key_used"


def test_create_only_never_replaces(swift: Accounts) -> None:
    one = swift(Profile(create_only=True))
    assert one.ask("PUT", "/terms/created", b"first").status == 201
    again = one.ask("PUT", "/terms/created", b"second")
    assert (again.status, again.code) == (412, "exists")
    assert swift().ask("GET", "/terms/created").body == b"first"


def test_uses_are_counted_over_all_operations(swift: Accounts, gate: Gate) -> None:
    swift().put("/terms/counted", b"x")
    url = swift(Profile(uses=2)).url("GET", "/terms/counted")
    assert [gate.ask("GET", url).status for _ in range(3)] == [200, 200, 401]


def test_a_budget_holds_for_all_keys_of_a_signing_key(swift: Accounts, gate: Gate) -> None:
    swift().put("/terms/budget", b"x")
    one = swift(Profile(budget=Budget(rate=0.01, burst=2)))
    answers = [gate.ask("GET", one.url("GET", "/terms/budget", seconds=300 + n)) for n in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 1
    assert answers[-1].body == b"<html><h1>Too Many Requests</h1><p>Slow down</p></html>"


def revoke(gate: Gate, account: Account) -> None:
    """All keys of a signing key."""
    gate.cli("revoke", "--signing-key", account.signing_key)


def test_what_is_revoked_opens_nothing(swift: Accounts, gate: Gate) -> None:
    """URLs and forms alike, at once."""
    one = swift(Profile())
    one.put("/terms/revoked", b"x")
    url, fields = one.url("GET", "/terms/revoked"), one.fields("/terms/")
    revoke(gate, one)
    assert gate.ask("GET", url).code == "key_revoked"
    answer = one.post("/terms/", [File(b"x")], fields)
    assert (answer.status, answer.code, answer.body) == (401, "key_revoked", b"FormPost: Unauthorized")


def test_one_url_is_revoked_by_pasting_it(swift: Accounts, gate: Gate) -> None:
    """Whatever method it was signed for; others of the same signing key go on."""
    one = swift()
    one.put("/terms/pasted", b"x")
    url = one.url("GET", "/terms/pasted", seconds=600)  # an end that no later one has
    gate.cli("revoke", f"{gate.base}{url}")
    assert gate.ask("GET", url).code == "key_revoked"
    assert one.ask("GET", "/terms/pasted").status == 200


def test_sha1_is_a_setting(start: Callable[..., Gate]) -> None:
    """For URLs and forms; what is signed by the others goes on to open."""
    running = start("[swift]\ntempurl-sha1 = false\n")
    one = Accounts(running)()
    assert running.ask("PUT", one.url("PUT", "/sha/x", digest="sha1"), b"x").code == "key_malformed"
    assert one.post("/sha/", [File(b"x")], one.fields("/sha/", digest="sha1")).code == "key_malformed"
    for digest in ("sha256", "sha512"):
        assert running.ask("PUT", one.url("PUT", "/sha/x", digest=digest), b"x").status == 201
