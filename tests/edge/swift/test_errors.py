"""How Swift puts refusals: every one of ours, in its words, with its headers."""

from typing import cast

import pytest

from tests.edge.swift.conftest import Accounts
from tests.gate import Answer, Gate
from valetstore.edge.dialect import Dialects
from valetstore.edge.s3 import S3Calls
from valetstore.edge.swift import SwiftCalls, codes, voice
from valetstore.edge.uploading import Services
from valetstore.errors import REFUSALS, Denied
from valetstore.grants.s3.rules import Rules as S3Rules
from valetstore.grants.swift import Rules
from valetstore.inbound import Inbound

INVALID = b"401 Unauthorized: Temp URL invalid\n"
FORM = (b"content-type", b"multipart/form-data; boundary=x")


def inbound(target: str, method: str = "GET", *headers: tuple[bytes, bytes]) -> Inbound:
    """A request that nobody has judged."""
    return Inbound(method, target.encode(), headers, now=1_800_000_000)


TEMP_URL = inbound("/v1/AUTH_a/c/o?temp_url_sig=x")
A_FORM = inbound("/v1/AUTH_a/c", "POST", FORM)


def test_every_refusal_has_a_status_and_every_status_a_sentence() -> None:
    assert codes.STATUSES.keys() == REFUSALS.keys()
    assert set(codes.STATUSES.values()) <= codes.SENTENCES.keys()
    assert REFUSALS.keys() >= codes.EXPLAINED
    assert codes.FORMS.keys() <= REFUSALS.keys()


@pytest.mark.parametrize("code", sorted(REFUSALS))
@pytest.mark.parametrize("asked", [TEMP_URL, A_FORM, inbound("/v1/AUTH_a/c/o")])
def test_every_refusal_is_an_answer_of_swifts(code: str, asked: Inbound) -> None:
    """What is wrong with a key is one answer; all else is a page with Swift's title."""
    reply = voice.refusal(
        Denied(code, "<script>"),
        asked,
        "id",
    )
    headers, body = dict(reply.headers), reply.body
    assert isinstance(body, bytes)
    assert b"<script>" not in body
    assert headers["X-Valet-Error"] == code
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Trans-Id"] == "id"
    assert reply.status == codes.STATUSES[code]
    assert ("WWW-Authenticate" in headers) is (reply.status == 401)
    title = codes.SENTENCES[reply.status].title.encode()
    if reply.status == 401:
        assert headers["WWW-Authenticate"] == 'Swift realm="AUTH_a"'
        expected = {TEMP_URL: INVALID, A_FORM: b"FormPost: "}.get(asked, b"<html><h1>Unauthorized</h1><p>This server")
        assert body.startswith(expected)
    else:
        assert body.startswith(b"<html><h1>" + title + b"</h1><p>")
        assert body.endswith(b"</p></html>")
    assert headers["Content-Type"] == "text/html; charset=UTF-8"


def test_a_realm_is_an_account_and_nothing_else() -> None:
    """It is taken from the path, where anyone may write anything."""
    for path, realm in ((b"/v1/a%22%0d%0ax/c", "a%22%0D%0Ax"), (b"/", "unknown"), (b"/v1/%ff/x", "unknown")):
        headers = dict(voice.refusal(Denied("key_missing"), inbound(path.decode()), "id").headers)
        assert headers["WWW-Authenticate"] == f'Swift realm="{realm}"'


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (TEMP_URL, "swift"),
        (inbound("/x?temp_url_expires=1"), "swift"),
        (inbound("/v1/A/c?%74emp_url_sig=1"), "swift"),
        (A_FORM, "swift"),
        (inbound("/v1/A/c", "GET", (b"X-Auth-Token", b"x")), "swift"),
        (inbound("/v1/A/c", "PUT", (b"x-object-meta-a", b"x")), "swift"),
        (inbound("/v1/A/c?valet=x", "PUT", (b"x-object-meta-a", b"x")), None),
        (inbound("/photos", "POST", FORM), "s3"),
        (inbound("/v1", "POST", FORM), "s3"),
        (inbound("/v1/", "POST", FORM), "s3"),
        (inbound("/v1/A/c/o"), None),
        (inbound("/v1/A/c/o", "OPTIONS", (b"Access-Control-Request-Method", b"POST")), "swift"),
        (inbound("/v1/A/c/o", "OPTIONS", (b"Access-Control-Request-Method", b"PUT")), None),
        (inbound("/v1/A/c/o?uploads", "OPTIONS", (b"Access-Control-Request-Method", b"POST")), None),
        (inbound("/_valet/live?temp_url_sig=x"), None),
    ],
)
def test_swift_is_spoken_to_those_who_speak_it(asked: Inbound, name: str | None) -> None:
    services = cast(Services, None)
    found = Dialects(S3Calls(services, S3Rules()), (SwiftCalls(services, Rules()),)).spoken(asked)
    assert (found.name if found else None) == name


def test_a_place_is_a_container_and_a_name() -> None:
    """CORS asks for it, of requests that nobody has judged."""
    calls = SwiftCalls(cast(Services, None), Rules())
    assert calls.place(inbound("/v1/AUTH_a/photos/a/b?temp_url_sig=x")) == ("photos", "a/b")
    assert calls.place(inbound("/v1/AUTH_a/photos")) == ("photos", "")
    assert calls.place(inbound("/photos/x?temp_url_sig=x")) == ("photos", "x")


# --- on the wire -------------------------------------------------------------------------------------------------


def refused(answer: Answer) -> tuple[int, str | None, bytes]:
    """Status, our code, body."""
    return answer.status, answer.code, answer.body


def test_a_key_that_opens_nothing_gets_one_answer(swift: Accounts, gate: Gate) -> None:
    """Whatever is wrong with it: the code says what, to whoever reads headers."""
    one = swift()
    one.put("/errors/x", b"x")
    good = one.url("GET", "/errors/x")
    cases = [
        ("GET", one.url("PUT", "/errors/x"), "signature_mismatch"),
        ("GET", good.replace("/x?", "/y?"), "signature_mismatch"),
        ("GET", good.replace(one.name, "AUTH_nobody"), "signature_mismatch"),
        ("GET", good.replace("sig=", "sig=0"), "key_malformed"),
        ("GET", good.partition("&")[0], "key_malformed"),
        ("GET", one.url("GET", "/errors/x", seconds=-5), "key_expired"),
        ("GET", one.url("GET", "/errors/x", ip_range="192.0.2.0/24"), "source_not_allowed"),
        ("GET", one.url("GET", "/errors/x").replace("/errors/x", "/errors"), "path_not_allowed"),
    ]
    for method, url, code in cases:
        answer = gate.ask(method, url)
        assert refused(answer) == (401, code, INVALID), (url, answer)
        assert answer.headers["content-type"] == "text/html; charset=UTF-8"
        account = "AUTH_nobody" if "nobody" in url else one.name
        assert answer.headers["www-authenticate"] == f'Swift realm="{account}"'
    head = gate.ask("HEAD", one.url("DELETE", "/errors/x"))
    assert (head.status, head.body) == (401, b"")


def test_missing_objects_and_wrong_requests_get_swifts_pages(swift: Accounts, gate: Gate) -> None:
    one = swift()
    missing = b"<html><h1>Not Found</h1><p>The resource could not be found.</p></html>"
    assert refused(one.ask("GET", "/errors/missing")) == (404, "not_found", missing)
    twice = gate.ask("GET", one.url("GET", "/errors/x") + "&temp_url_sig=x")
    assert refused(twice)[:2] == (400, "parameter_invalid")
    assert b"temp_url_sig` is given more than once" in twice.body
    assert refused(gate.ask("GET", "/v1/AUTH_a/c/%ff?temp_url_sig=x"))[:2] == (412, "object_key_invalid")
    assert refused(gate.ask("GET", "/v1/AUTH_a/c/a%00b?temp_url_sig=x"))[:2] == (412, "object_key_invalid")
    assert refused(gate.ask("GET", "/v1/AUTH_a/c/../d/e?temp_url_sig=x"))[:2] == (412, "object_key_invalid")
    bearer = gate.ask("GET", one.url("GET", "/errors/x"), headers={"Authorization": "Bearer x"})
    assert refused(bearer)[:2] == (400, "key_ambiguous")


def test_who_comes_without_a_key_is_unauthorized(gate: Gate) -> None:
    answer = gate.ask("GET", "/v1/AUTH_a/c/o", headers={"X-Auth-Token": "AUTH_tk123"})
    assert (answer.status, answer.code) == (401, "key_missing")
    assert answer.headers["www-authenticate"] == 'Swift realm="AUTH_a"'
    assert answer.body.startswith(b"<html><h1>Unauthorized</h1><p>This server could not verify")
    assert b"tk123" not in answer.body


def test_no_signature_is_in_any_answer(swift: Accounts, gate: Gate) -> None:
    one = swift()
    url = one.url("GET", "/errors/x", seconds=-5)
    signature = url.partition("sig=")[2].partition("&")[0]
    answer = gate.ask("GET", url)
    assert signature not in str(answer.headers)
    assert signature.encode() not in answer.body
