"""What keys of CloudFront open: downloads, whole and in ranges, conditional, from URLs and cookies; nothing else."""

import pytest

from tests.edge.cloudfront.conftest import CloudFront, as_header, refused
from tests.gate import Gate

BODY = bytes(range(256)) * 40


@pytest.fixture(scope="module", autouse=True)
def _objects(cloudfront: CloudFront) -> None:
    cloudfront.put("/photos/cat.jpg", BODY, "image/jpeg", X_Valet_Meta_Who="me", Content_Language="de")
    cloudfront.put("/photos/a b/ü+%.txt", b"x", "text/plain")
    cloudfront.put("/secret/plan.txt", b"secret")


def test_a_download_has_the_objects_own_headers(cloudfront: CloudFront, gate: Gate) -> None:
    """Safe to open in a browser, and user metadata under the name that it has at S3, behind CloudFront."""
    for url, headers in (
        (cloudfront.canned("/photos/cat.jpg"), {}),
        (cloudfront.custom("/photos/cat.jpg", "/photos/*"), {}),
        (gate.base + "/photos/cat.jpg", as_header(cloudfront.cookies("/photos/*"))),
    ):
        got = gate.ask("GET", url, headers=headers)
        assert (got.status, got.body) == (200, BODY)
        head = gate.ask("HEAD", url, headers=headers)
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(BODY)))
        for answer in (got, head):
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["content-language"] == "de"
            assert answer.headers["x-amz-meta-who"] == "me"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "private"
            assert answer.headers["x-amz-cf-id"] == answer.headers["x-request-id"]


def test_ranges_and_conditions_are_http_s(cloudfront: CloudFront, gate: Gate) -> None:
    url = cloudfront.canned("/photos/cat.jpg")
    part = gate.ask("GET", url, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, BODY[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(BODY)}"
    tag = part.headers["etag"]
    assert gate.ask("GET", url, headers={"Range": "bytes=-5"}).body == BODY[-5:]
    assert gate.ask("GET", url, headers={"If-None-Match": tag}).status == 304
    assert gate.ask("GET", url, headers={"Range": "bytes=0-0", "If-Range": tag}).status == 206
    assert gate.ask("GET", url, headers={"Range": "bytes=0-0", "If-Range": '"x"'}).status == 200
    assert refused(gate.ask("GET", url, headers={"If-Match": '"x"'})) == (412, "PreconditionFailed")
    beyond = gate.ask("GET", url, headers={"Range": "bytes=99999-"})
    assert refused(beyond) == (416, "InvalidRange")
    assert beyond.headers["content-range"] == f"bytes */{len(BODY)}"


def test_names_are_what_the_url_says_decoded(cloudfront: CloudFront, gate: Gate) -> None:
    path = "/photos/a%20b/%C3%BC+%25.txt"
    for url in (cloudfront.canned(path), cloudfront.custom(path, "/photos/a%20b/*")):
        assert gate.ask("GET", url).body == b"x"


def test_a_missing_object_is_told_to_who_holds_a_key_alone(cloudfront: CloudFront, gate: Gate) -> None:
    missing = gate.ask("GET", cloudfront.canned("/photos/dog.jpg"))
    assert refused(missing) == (404, "NoSuchKey")
    assert b"<Message>The specified key does not exist.</Message><Key>dog.jpg</Key>" in missing.body
    forged = cloudfront.canned("/photos/dog.jpg")
    answers = [gate.ask("GET", forged.replace("dog.jpg", name)) for name in ("rat.jpg", "cat.jpg")]
    assert {refused(answer) for answer in answers} == {(403, "AccessDenied")}
    assert len({answer.body for answer in answers}) == 1


def test_a_policy_opens_what_its_resource_fits(cloudfront: CloudFront, gate: Gate) -> None:
    cookies = as_header(cloudfront.cookies("/photos/*"))
    assert gate.ask("GET", gate.base + "/photos/cat.jpg", headers=cookies).status == 200
    for target in ("/secret/plan.txt", "/secret/plan.txt?/photos/x", "/photos/..%2F..%2Fsecret/plan.txt"):
        answer = gate.ask("GET", gate.base + target, headers=cookies)
        assert refused(answer) in {(403, "AccessDenied"), (400, "BadRequest")}
        assert b"secret" not in answer.body


def test_response_parameters_change_nothing(cloudfront: CloudFront, gate: Gate) -> None:
    """Signed or not: a wildcard covers them, and then they would be anybody's."""
    asked = "/photos/cat.jpg?response-content-type=text/html&response-content-disposition=inline"
    for url in (cloudfront.canned(asked), cloudfront.custom(asked, "/photos/*")):
        got = gate.ask("GET", url)
        assert (got.status, got.headers["content-type"]) == (200, "image/jpeg")
        assert "content-disposition" not in got.headers


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_nothing_is_written(cloudfront: CloudFront, gate: Gate, method: str) -> None:
    answer = gate.ask(method, cloudfront.custom("/photos/cat.jpg"), b"x")
    assert refused(answer) == (403, "AccessDenied")
    assert answer.code == "operation_not_allowed"
    answer = gate.ask(method, gate.base + "/photos/cat.jpg", b"x", as_header(cloudfront.cookies()))
    assert (refused(answer), answer.code) == ((403, "MissingKey"), "key_missing")
    assert gate.ask("GET", cloudfront.canned("/photos/cat.jpg")).body == BODY


def test_a_url_wins_over_cookies(cloudfront: CloudFront, gate: Gate) -> None:
    good, bad = cloudfront.cookies("/photos/*"), cloudfront.cookies("/other/*")
    assert gate.ask("GET", cloudfront.canned("/photos/cat.jpg"), headers=as_header(bad)).status == 200
    expired = cloudfront.canned("/photos/cat.jpg", seconds=-10)
    assert gate.ask("GET", expired, headers=as_header(good)).code == "key_expired"
    native = gate.sign("GET", "/photos/cat.jpg")
    assert gate.ask("GET", native, headers=as_header(bad)).status == 200


def test_another_host_than_the_signed_one_is_refused(cloudfront: CloudFront, gate: Gate) -> None:
    url = cloudfront.canned("/photos/cat.jpg", base="http://cdn.example.com")
    target = url.removeprefix("http://cdn.example.com")
    assert gate.ask("GET", target, headers={"Host": "cdn.example.com"}).status == 200
    assert refused(gate.ask("GET", target)) == (403, "AccessDenied")
