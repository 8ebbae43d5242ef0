"""Objects by Google's signed URLs: put, read, conditions, generations, hashes, deletes."""

import hashlib

import pytest

from tests.edge.gcs.conftest import Accounts, Session, crc32c_of, md5_of, refused
from tests.gate import Answer, Gate

BODY = b"hello, bucket"


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_what_is_put_is_read_with_its_headers(google: Accounts, version: str) -> None:
    user = google()
    name = f"objects/round {version} ü.txt"
    sent = {"Content-Type": "text/plain", "Cache-Control": "max-age=5"}
    put = user.ask("PUT", name, BODY, {"x-goog-meta-color": "blue"}, sent, version=version, content_type="text/plain")
    assert (put.status, put.body) == (200, b"")
    for method in ("GET", "HEAD"):
        got = user.ask(method, name, version=version)
        assert got.status == 200
        assert got.body == (BODY if method == "GET" else b"")
        assert got.headers["content-length"] == str(len(BODY))
        assert got.headers["content-type"] == "text/plain"
        assert got.headers["cache-control"] == "max-age=5"
        assert got.headers["x-goog-meta-color"] == "blue"
        for answer in (put, got):
            told_of_the_state(answer, BODY)
        assert got.headers["x-goog-generation"] == put.headers["x-goog-generation"]


def told_of_the_state(answer: Answer, body: bytes) -> None:
    """What Google tells of a stored state, after a write and a read alike."""
    headers = answer.headers
    assert headers["etag"].strip('"') == hashlib.md5(body).hexdigest()
    assert headers["x-goog-hash"] == f"crc32c={crc32c_of(body)},md5={md5_of(body)}"
    assert headers["x-goog-stored-content-length"] == str(len(body))
    assert headers["x-goog-stored-content-encoding"] == "identity"
    assert headers["x-goog-storage-class"] == "STANDARD"
    assert headers["x-goog-metageneration"] == "1"
    assert int(headers["x-goog-generation"]) > 1_600_000_000_000_000


def test_a_generation_is_the_microsecond_of_the_write(google: Accounts) -> None:
    user = google()
    first = int(user.ask("PUT", "gen/time", b"1").headers["x-goog-generation"])
    second = int(user.ask("PUT", "gen/time", b"2").headers["x-goog-generation"])
    assert first < second < first + 60_000_000


def test_ranges_are_served(google: Accounts) -> None:
    user = google()
    user.ask("PUT", "ranges", b"0123456789")
    part = user.ask("GET", "ranges", unsigned={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    members = refused(
        user.ask("GET", "ranges", unsigned={"Range": "bytes=20-"}), "InvalidRange", 416, "range_not_satisfiable"
    )
    assert members["Message"] == "The requested range cannot be satisfied."


def test_the_url_says_how_a_browser_takes_it(google: Accounts) -> None:
    user = google()
    user.ask("PUT", "told", BODY)
    url = user.url("GET", "told", response_disposition='attachment; filename="a.txt"', response_type="text/plain")
    got = user.gate.ask("GET", url)
    assert got.headers["content-disposition"] == 'attachment; filename="a.txt"'
    assert got.headers["content-type"] == "text/plain"


def test_http_s_own_conditions_are_for_reads_and_writes(google: Accounts) -> None:
    user = google()
    etag = user.ask("PUT", "conditions", BODY).headers["etag"]
    assert user.ask("GET", "conditions", unsigned={"If-None-Match": etag}).status == 304
    assert user.ask("GET", "conditions", unsigned={"If-Match": etag}).status == 200
    for method in ("GET", "PUT", "DELETE"):
        answer = user.ask(method, "conditions", unsigned={"If-Match": '"other"'})
        if method == "GET":
            assert answer.code == "precondition_failed"
        refused(answer, "PreconditionFailed", 412, "precondition_failed")
    assert user.body("conditions") == BODY


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_generation_zero_makes_and_never_replaces(google: Accounts, version: str) -> None:
    user = google()
    only_new, name = {"x-goog-if-generation-match": "0"}, f"gen/zero-{version}"
    assert user.ask("PUT", name, b"one", only_new, version=version).status == 200
    members = refused(user.ask("PUT", name, b"two", only_new, version=version), "PreconditionFailed", 412, "exists")
    assert members["Message"] == "At least one of the pre-conditions you specified did not hold."
    assert user.body(name) == b"one"


def test_generations_are_compared_with_the_present_state(google: Accounts) -> None:
    user = google()
    first = user.ask("PUT", "gen/match", b"one").headers["x-goog-generation"]
    wrong = str(int(first) + 1)
    for method in ("GET", "PUT", "DELETE"):
        answer = user.ask(method, "gen/match", b"x" if method == "PUT" else None, {"x-goog-if-generation-match": wrong})
        refused(answer, "PreconditionFailed", 412, "precondition_failed")
    assert user.ask("GET", "gen/match", headers={"x-goog-if-generation-match": first}).body == b"one"
    assert user.ask("GET", "gen/match", headers={"x-goog-if-generation-not-match": first}).status == 304
    assert user.ask("GET", "gen/match", headers={"x-goog-if-generation-not-match": wrong}).status == 200
    second = user.ask("PUT", "gen/match", b"two", {"x-goog-if-generation-match": first})
    assert second.status == 200
    refused(
        user.ask("PUT", "gen/match", b"three", {"x-goog-if-generation-match": first}),
        "PreconditionFailed",
        412,
        "precondition_failed",
    )
    for header, value, held in (
        ("x-goog-if-metageneration-match", "1", True),
        ("x-goog-if-metageneration-match", "2", False),
        ("x-goog-if-metageneration-not-match", "2", True),
    ):
        assert (user.ask("GET", "gen/match", headers={header: value}).status == 200) is held
    refused(
        user.ask("PUT", "gen/none", b"x", {"x-goog-if-generation-match": first}),
        "PreconditionFailed",
        412,
        "precondition_failed",
    )
    generation = second.headers["x-goog-generation"]
    assert user.ask("DELETE", "gen/match", headers={"x-goog-if-generation-match": generation}).status == 204
    refused(user.ask("GET", "gen/match"), "NoSuchKey", 404, "not_found")


@pytest.mark.parametrize("unsigned", [{"If-Match": "*"}, {"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}])
def test_conditions_that_nobody_signed_do_not_unbind_a_write_from_its_generation(
    google: Accounts, unsigned: dict[str, str]
) -> None:
    user, name = google(), "gen/bound"
    match = {"x-goog-if-generation-match": user.ask("PUT", name, b"one").headers["x-goog-generation"]}
    begin = {"x-goog-resumable": "start", **match, **unsigned}
    answer = user.gate.ask("POST", user.url("RESUMABLE", name, match), b"", begin)
    assert answer.status == 201, answer.body
    assert user.ask("PUT", name, b"two").status == 200
    refused(
        Session(user.gate, answer.headers["location"]).put(b"three"), "PreconditionFailed", 412, "precondition_failed"
    )
    assert user.body(name) == b"two"


def test_a_generation_and_http_s_own_conditions_must_all_hold(google: Accounts) -> None:
    user, name = google(), "gen/both"
    match = {"x-goog-if-generation-match": user.ask("PUT", name, b"one").headers["x-goog-generation"]}
    for further in (
        {"If-Match": '"other"'},
        {"If-None-Match": "*"},
        {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
    ):
        for method in ("PUT", "DELETE"):
            answer = user.ask(method, name, b"x" if method == "PUT" else None, match, further)
            refused(answer, "PreconditionFailed", 412, "precondition_failed")
    assert user.body(name) == b"one"


def test_a_generation_in_the_url_is_the_one_there_is(google: Accounts) -> None:
    user = google()
    generation = user.ask("PUT", "gen/url", b"one").headers["x-goog-generation"]
    assert user.ask("GET", "gen/url", generation=generation).body == b"one"
    refused(user.ask("GET", "gen/url", generation="12"), "NoSuchKey", 404, "not_found")
    refused(user.ask("DELETE", "gen/url", generation="12"), "NoSuchKey", 404, "not_found")
    assert user.ask("DELETE", "gen/url", generation=generation).status == 204


@pytest.mark.parametrize("value", ["x", "-1", "1.5", ""])
def test_a_generation_that_is_no_number_is_refused(google: Accounts, value: str) -> None:
    answer = google().ask("GET", "gen/any", headers={"x-goog-if-generation-match": value})
    refused(answer, "InvalidArgument", 400, "parameter_invalid")


def test_promised_hashes_are_held_against_the_body(google: Accounts) -> None:
    user = google()
    md5, crc = md5_of(BODY), crc32c_of(BODY)
    good = {"x-goog-hash": f"crc32c={crc},md5={md5}"}
    assert user.ask("PUT", "hashes", BODY, good).status == 200
    assert user.ask("PUT", "hashes", BODY, None, {"Content-MD5": md5}, content_md5=md5).status == 200
    for headers in ({"x-goog-hash": f"crc32c={crc32c_of(b'x')}"}, {"x-goog-hash": f"md5={md5_of(b'x')}"}):
        refused(user.ask("PUT", "hashes/bad", BODY, headers), "BadDigest", 400, "digest_mismatch")
    wrong = md5_of(b"x")
    answer = user.ask("PUT", "hashes/bad", BODY, None, {"Content-MD5": wrong}, content_md5=wrong)
    refused(answer, "BadDigest", 400, "digest_mismatch")
    refused(user.ask("GET", "hashes/bad"), "NoSuchKey", 404, "not_found")


@pytest.mark.parametrize("value", ["crc32c=AAAA", "sha256=AAAA", "md5", "", f"md5={md5_of(b'')},md5={md5_of(b'x')}"])
def test_a_hash_that_cannot_be_read_is_refused(google: Accounts, value: str) -> None:
    answer = google().ask("PUT", "hashes/odd", BODY, {"x-goog-hash": value})
    refused(answer, "InvalidArgument", 400, "parameter_invalid")


def test_a_malformed_content_md5_is_invalid_digest(google: Accounts) -> None:
    answer = google().ask("PUT", "hashes/odd", BODY, None, {"Content-MD5": "AA=="}, content_md5="AA==")
    refused(answer, "InvalidDigest", 400, "parameter_invalid")


def test_the_length_range_is_of_the_key(google: Accounts) -> None:
    user = google()
    bounds = {"x-goog-content-length-range": "3,5"}
    assert user.ask("PUT", "length", b"1234", bounds).status == 200
    members = refused(user.ask("PUT", "length", b"123456", bounds), "EntityTooLarge", 400, "too_large")
    assert "larger than the maximum object size" in members["Message"]
    refused(user.ask("PUT", "length", b"12", bounds), "EntityTooSmall", 400, "too_small")
    # Without a length it shows on the way.
    refused(user.ask("PUT", "length", iter([b"123", b"456"]), bounds), "EntityTooLarge", 400, "too_large")
    refused(user.ask("PUT", "length", iter([b"12"]), bounds), "EntityTooSmall", 400, "too_small")
    assert user.body("length") == b"1234"


def test_a_body_may_come_without_a_length(google: Accounts) -> None:
    user = google()
    assert user.ask("PUT", "chunked", iter([b"a" * 70_000, b"b"])).status == 200
    assert user.body("chunked") == b"a" * 70_000 + b"b"


def test_an_empty_object_is_one(google: Accounts) -> None:
    user = google()
    put = user.ask("PUT", "empty", b"")
    assert put.status == 200
    told_of_the_state(put, b"")
    assert user.body("empty") == b""


def test_a_delete_needs_an_object(google: Accounts) -> None:
    user = google()
    user.ask("PUT", "gone", BODY)
    answer = user.ask("DELETE", "gone")
    assert (answer.status, answer.body) == (204, b"")
    refused(user.ask("DELETE", "gone"), "NoSuchKey", 404, "not_found")


def test_a_missing_bucket_is_another_thing_than_a_missing_object(google: Accounts) -> None:
    user = google()
    user.ask("PUT", "there", BODY)
    members = refused(user.ask("GET", "not-there"), "NoSuchKey", 404, "not_found")
    assert members["Message"] == "The specified key does not exist."
    for method in ("GET", "HEAD", "DELETE"):
        answer = user.ask(method, "any", bucket="nowhere-at-all")
        assert (answer.status, answer.code) == (404, "bucket_not_found")
    members = refused(user.ask("GET", "", bucket="nowhere-at-all"), "NoSuchBucket", 404, "bucket_not_found")
    assert members["Message"] == "The specified bucket does not exist."


def test_what_is_served_stays_safe_to_open(google: Accounts) -> None:
    user = google()
    user.ask("PUT", "page", b"<script>", None, {"Content-Type": "text/html"}, content_type="text/html")
    got = user.ask("GET", "page")
    assert got.headers["content-disposition"] == "attachment"
    assert got.headers["content-security-policy"].startswith("sandbox")
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("headers", "code", "status", "ours"),
    [
        ({"x-goog-acl": "everybody"}, "InvalidArgument", 400, "parameter_invalid"),
        ({"x-goog-storage-class": "COLDLINE"}, "InvalidArgument", 400, "parameter_invalid"),
        ({"x-goog-custom-time": "2026-01-01T00:00:00Z"}, "NotImplemented", 501, "not_implemented"),
        ({"x-goog-copy-source": "/a/b"}, "NotImplemented", 501, "not_implemented"),
        ({"x-goog-encryption-algorithm": "AES256"}, "NotImplemented", 501, "not_implemented"),
        ({"x-goog-object-lock-mode": "GOVERNANCE"}, "NotImplemented", 501, "not_implemented"),
        ({"x-goog-temporary-hold": "true"}, "NotImplemented", 501, "not_implemented"),
    ],
)
def test_what_would_change_the_object_and_is_not_done_here_is_refused(
    google: Accounts, headers: dict[str, str], code: str, status: int, ours: str
) -> None:
    refused(google().ask("PUT", "unserved", BODY, headers), code, status, ours)


def test_acls_are_taken_and_open_nothing(google: Accounts, gate: Gate) -> None:
    user = google()
    assert user.ask("PUT", "acl", BODY, {"x-goog-acl": "public-read"}).status == 200
    answer = gate.ask("GET", "/things/acl", headers={"x-goog-api-client": "x"})
    refused(answer, "AccessDenied", 403, "key_missing")


def test_a_part_of_an_object_is_no_put(google: Accounts) -> None:
    answer = google().ask("PUT", "partly", b"12", unsigned={"Content-Range": "bytes 0-1/4"})
    refused(answer, "NotImplemented", 501, "not_implemented")


def test_metadata_has_a_limit(google: Accounts) -> None:
    answer = google().ask("PUT", "meta", BODY, {"x-goog-meta-a": "x" * 4000})
    refused(answer, "MetadataTooLarge", 400, "metadata_too_large")
