"""CORS by S3's operations: a bucket's user sets rules, and browsers are answered by them, as S3 answers."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.edge.conftest import inspect
from tests.edge.s3.conftest import Clients
from tests.edge.s3.refused import refused
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile

APP = "https://app.example.org"
RULES: list[dict[str, Any]] = [
    {
        "ID": "app",
        "AllowedOrigins": [APP],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "ExposeHeaders": ["x-amz-meta-a"],
        "MaxAgeSeconds": 77,
    },
    {"AllowedOrigins": ["https://*.example.net"], "AllowedMethods": ["GET"]},
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """A gateway whose operator has rules for everybody, and two workers."""
    with Gate(
        tmp_path_factory.mktemp("cors"), '[[cors]]\norigins = ["https://operator.example"]\n', ("--workers", "2")
    ) as running:
        clients = Clients(running)
        for bucket in ("ruled", "plain", "changing"):
            clients().create_bucket(Bucket=bucket)
        clients().put_bucket_cors(Bucket="ruled", CORSConfiguration={"CORSRules": RULES})
        yield clients
        inspect(running)


def preflight(gate: Gate, path: str, headers: str = "", **sent: str) -> Answer:
    """OPTIONS with `origin` and `method` where they are given."""
    names = {"origin": "Origin", "method": "Access-Control-Request-Method", "host": "Host"}
    asked = {names[name]: value for name, value in sent.items()}
    return gate.ask("OPTIONS", path, headers=asked | ({"Access-Control-Request-Headers": headers} if headers else {}))


def allowed(answer: Answer) -> str | None:
    return answer.headers.get("access-control-allow-origin")


def test_rules_are_kept_told_and_forgotten(s3: Clients) -> None:
    client = s3()
    found = refused(client.get_bucket_cors, Bucket="changing")
    assert (found.status, found.code) == (404, "NoSuchCORSConfiguration")
    assert found.message == "The CORS configuration does not exist"
    client.put_bucket_cors(Bucket="changing", CORSConfiguration={"CORSRules": RULES})
    assert client.get_bucket_cors(Bucket="changing")["CORSRules"] == RULES
    client.put_bucket_cors(Bucket="changing", CORSConfiguration={"CORSRules": RULES[:1]})
    assert client.get_bucket_cors(Bucket="changing")["CORSRules"] == RULES[:1]
    done = client.delete_bucket_cors(Bucket="changing")
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_bucket_cors, Bucket="changing").code == "NoSuchCORSConfiguration"
    client.delete_bucket_cors(Bucket="changing")
    for call in (client.get_bucket_cors, client.delete_bucket_cors):
        assert refused(call, Bucket="no-such-bucket")[:2] == (404, "NoSuchBucket")


def test_rules_go_with_their_bucket(s3: Clients) -> None:
    client = s3()
    client.create_bucket(Bucket="leaving")
    client.put_bucket_cors(Bucket="leaving", CORSConfiguration={"CORSRules": RULES})
    assert allowed(preflight(s3.gate, "/leaving/x", origin=APP, method="GET")) == APP
    client.delete_bucket(Bucket="leaving")
    client.create_bucket(Bucket="leaving")
    assert refused(client.get_bucket_cors, Bucket="leaving").code == "NoSuchCORSConfiguration"
    assert allowed(preflight(s3.gate, "/leaving/x", origin=APP, method="GET")) is None


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {"AllowedMethods": ["GET", "PATCH"]},
            "InvalidRequest",
            "Found unsupported HTTP method in CORS config. Unsupported method is PATCH",
        ),
        (
            {"AllowedOrigins": ["https://*.*"]},
            "InvalidRequest",
            'AllowedOrigin "https://*.*" can not have more than one wildcard.',
        ),
        ({"AllowedHeaders": ["**"]}, "InvalidRequest", 'AllowedHeader "**" can not have more than one wildcard.'),
        (
            {"ExposeHeaders": ["x-*"]},
            "InvalidRequest",
            'ExposeHeader "x-*" contains wildcard. We currently do not support wildcard for ExposeHeader.',
        ),
        ({"ExposeHeaders": ["a: b"]}, "InvalidRequest", 'ExposeHeader "a: b" contains invalid character.'),
        ({"AllowedOrigins": []}, "MalformedXML", ""),
        ({"AllowedMethods": []}, "MalformedXML", ""),
        ({"AllowedOrigins": [""]}, "MalformedXML", ""),
        ({"MaxAgeSeconds": -1}, "MalformedXML", ""),
        ({"ID": "x" * 256}, "MalformedXML", ""),
    ],
)
def test_rules_that_cannot_be_are_not_kept(s3: Clients, change: dict[str, Any], code: str, message: str) -> None:
    client = s3()
    rules = [RULES[1], RULES[0] | change]
    found = refused(client.put_bucket_cors, Bucket="plain", CORSConfiguration={"CORSRules": rules})
    assert (found.status, found.code) == (400, code)
    assert not message or found.message == message
    assert refused(client.get_bucket_cors, Bucket="plain").code == "NoSuchCORSConfiguration"


def test_a_hundred_rules_are_the_most(s3: Clients) -> None:
    client = s3()
    client.put_bucket_cors(Bucket="changing", CORSConfiguration={"CORSRules": RULES[1:2] * 100})
    found = refused(client.put_bucket_cors, Bucket="changing", CORSConfiguration={"CORSRules": RULES[1:2] * 101})
    assert (found.status, found.code) == (400, "InvalidRequest")
    assert len(client.get_bucket_cors(Bucket="changing")["CORSRules"]) == 100
    found = refused(client.put_bucket_cors, Bucket="changing", CORSConfiguration={"CORSRules": []})
    assert found.code == "MalformedXML"
    client.delete_bucket_cors(Bucket="changing")


def test_only_who_may_write_to_the_whole_bucket_sets_its_rules(s3: Clients) -> None:
    client = s3(profile=Profile(prefixes=("/ruled/mine/",)))
    assert refused(client.put_bucket_cors, Bucket="ruled", CORSConfiguration={"CORSRules": RULES}).status == 403
    assert refused(client.delete_bucket_cors, Bucket="ruled").status == 403
    assert client.get_bucket_cors(Bucket="ruled")["CORSRules"] == RULES


@pytest.mark.parametrize("profile", [Profile(create_only=True), Profile(types=("image/*",))])
def test_a_key_that_is_only_for_some_uploads_does_not_set_them(s3: Clients, profile: Profile) -> None:
    """They hold for all who use the bucket."""
    client = s3(profile=profile)
    assert refused(client.put_bucket_cors, Bucket="ruled", CORSConfiguration={"CORSRules": RULES}).status == 403
    assert refused(client.delete_bucket_cors, Bucket="ruled").status == 403
    assert client.get_bucket_cors(Bucket="ruled")["CORSRules"] == RULES


def test_a_preflight_is_answered_by_the_rules(s3: Clients) -> None:
    """The first rule that allows the origin, the method and every header; no key is asked for."""
    answer = preflight(s3.gate, "/ruled/x", "X-Amz-Date, content-type", origin=APP, method="PUT")
    assert (answer.status, answer.body) == (200, b"")
    assert allowed(answer) == APP
    assert answer.headers["access-control-allow-methods"] == "GET, PUT"
    assert answer.headers["access-control-allow-headers"] == "X-Amz-Date, content-type"
    assert answer.headers["access-control-max-age"] == "77"
    assert answer.headers["vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    assert "access-control-allow-credentials" not in answer.headers
    answer = preflight(s3.gate, "/ruled", origin="https://a.example.net", method="GET")
    assert (answer.status, allowed(answer)) == (200, "https://a.example.net")
    assert "access-control-max-age" not in answer.headers
    assert allowed(preflight(s3.gate, "/ruled/x", origin="https://anyone.example", method="HEAD")) == "*"
    port = s3.gate.base.rpartition(":")[2]
    answer = preflight(s3.gate, "/x", origin=APP, method="PUT", host=f"ruled.localhost:{port}")
    assert (answer.status, allowed(answer)) == (200, APP)


@pytest.mark.parametrize(
    ("path", "origin", "method", "headers"),
    [
        ("/ruled/x", "https://evil.example.org", "GET", ""),
        ("/ruled/x", APP, "DELETE", ""),
        ("/ruled/x", APP, "PUT", "authorization"),
        ("/ruled/x", "https://a.example.net", "GET", "content-type"),
        ("/ruled/x", "https://operator.example", "GET", ""),
        ("/ruled/", APP, "POST", ""),
    ],
)
def test_what_no_rule_allows_is_refused_as_s3_refuses(
    s3: Clients, path: str, origin: str, method: str, headers: str
) -> None:
    answer = preflight(s3.gate, path, headers, origin=origin, method=method)
    assert (answer.status, answer.headers["content-type"]) == (403, "application/xml")
    assert allowed(answer) is None
    kind = b"OBJECT" if path.endswith("x") else b"BUCKET"
    for part in (
        b"<Code>AccessForbidden</Code>",
        b"<Message>CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, ",
        b"<Method>%s</Method><ResourceType>%s</ResourceType>" % (method.encode(), kind),
    ):
        assert part in answer.body


def test_a_preflight_says_what_it_is_about(s3: Clients) -> None:
    answer = preflight(s3.gate, "/ruled/x")
    assert answer.status == 400
    assert b"<Code>BadRequest</Code>" in answer.body
    assert b"<Message>Insufficient information. Origin request header needed.</Message>" in answer.body
    answer = preflight(s3.gate, "/ruled/x", origin=APP)
    assert answer.status == 400
    assert b"Invalid Access-Control-Request-Method: null" in answer.body


def test_a_presigned_url_is_answered_as_s3_does_without_rules_too(s3: Clients) -> None:
    """By the operator's rules, which hold for it; and where they do not, in S3's words."""
    url = s3().generate_presigned_url("get_object", Params={"Bucket": "plain", "Key": "x"})
    assert preflight(s3.gate, url).status == 400
    answer = preflight(s3.gate, url, origin=APP, method="GET")
    assert (answer.status, b"<Code>AccessForbidden</Code>" in answer.body) == (403, True)
    answer = preflight(s3.gate, url, origin="https://operator.example", method="GET")
    assert (answer.status, allowed(answer)) == (200, "https://operator.example")


def test_native_requests_for_other_buckets_are_answered_as_ever(s3: Clients) -> None:
    assert preflight(s3.gate, "/plain/x").status == 204
    answer = preflight(s3.gate, "/plain/x", origin="https://operator.example", method="GET")
    assert (answer.status, allowed(answer)) == (204, "https://operator.example")
    answer = preflight(s3.gate, "/plain/x", origin=APP, method="GET")
    assert (answer.status, answer.code, answer.json()["code"]) == (403, "cors_not_allowed", "cors_not_allowed")


def test_answers_and_refusals_carry_the_headers(s3: Clients) -> None:
    client = s3()
    client.put_object(Bucket="ruled", Key="x", Body=b"1")
    for url, status in (
        (client.generate_presigned_url("get_object", Params={"Bucket": "ruled", "Key": "x"}), 200),
        (client.generate_presigned_url("get_object", Params={"Bucket": "ruled", "Key": "absent"}), 404),
        (s3.gate.sign("GET", "/ruled/x"), 200),
        ("/ruled/x", 401),
    ):
        answer = s3.gate.ask("GET", url, headers={"Origin": APP})
        assert (answer.status, allowed(answer)) == (status, APP)
        assert answer.headers["vary"] == "Origin"
        assert answer.headers["access-control-allow-methods"] == "GET, PUT"
        assert {"ETag", "x-amz-request-id", "x-amz-meta-a"} <= set(
            answer.headers["access-control-expose-headers"].split(", ")
        )
        answer = s3.gate.ask("GET", url, headers={"Origin": "https://evil.example.org"})
        assert (answer.status, allowed(answer)) == (status, None)
        assert allowed(s3.gate.ask("GET", url)) is None


def test_new_rules_hold_in_every_worker_at_once(s3: Clients) -> None:
    client = s3()
    for round_ in range(4):
        origin = f"https://{round_}.example"
        client.put_bucket_cors(
            Bucket="changing",
            CORSConfiguration={"CORSRules": [{"AllowedOrigins": [origin], "AllowedMethods": ["GET"]}]},
        )
        for _ in range(6):
            assert allowed(preflight(s3.gate, "/changing/x", origin=origin, method="GET")) == origin
    client.delete_bucket_cors(Bucket="changing")
    for _ in range(6):
        assert preflight(s3.gate, "/changing/x", origin=origin, method="GET").status == 403


def test_rules_outlast_a_restart(start: Callable[..., Gate]) -> None:
    gate = start()
    client = Clients(gate)()
    client.create_bucket(Bucket="lasting")
    client.put_bucket_cors(Bucket="lasting", CORSConfiguration={"CORSRules": RULES})
    gate.kill()
    gate.start()
    assert allowed(preflight(gate, "/lasting/x", origin=APP, method="GET")) == APP


def test_rules_that_cannot_be_read_allow_nothing(start: Callable[..., Gate]) -> None:
    gate = start('[[cors]]\norigins = ["*"]\n')
    client = Clients(gate)()
    client.create_bucket(Bucket="broken")
    client.put_bucket_cors(Bucket="broken", CORSConfiguration={"CORSRules": RULES})
    (gate.data / "state/buckets/broken/cors").write_text(json.dumps({"at": time.time()}))
    assert preflight(gate, "/broken/x", origin=APP, method="GET").status == 403
    assert refused(client.get_bucket_cors, Bucket="broken").status == 500
    assert "Traceback" not in gate.log
