"""Resumable sessions: chunks, questions, what was cut, what came twice, what two send at once."""

import base64
import json
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.edge.gcs.conftest import BUCKET, QUANTUM, Account, Accounts, Session, crc32c_of, md5_of, refused, target_of
from tests.edge.wire import Wire, chunk, head, wait_until
from tests.gate import Answer, Gate

Start = Callable[..., Gate]


def filled(count: int, mark: int = 0) -> bytes:
    """Bytes of which no two places look alike."""
    return b"".join((mark + number).to_bytes(8, "big") for number in range(count // 8 + 1))[:count]


def cut(session: Session, content_range: str, length: int, sent: bytes) -> None:
    """A request whose connection dies when so much of it was sent."""
    host, port = session.gate.address
    with Wire((host, port)) as wire:
        lines = [f"Content-Length: {length}", *([f"Content-Range: bytes {content_range}"] if content_range else [])]
        wire.send(head("PUT", target_of(session.url), *lines, host=f"{host}:{port}"))
        wire.send(sent)


def test_a_session_begins_with_a_uri(google: Accounts, gate: Gate) -> None:
    answer = google().start("begin/ü and more.bin")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (201, b"", "0")
    location = answer.headers["location"]
    assert location.startswith(f"{gate.base}/{BUCKET}/begin/%C3%BC%20and%20more.bin?upload_id=")
    assert location.endswith(answer.headers["x-guploader-uploadid"])
    refused(google().ask("GET", "begin/ü and more.bin"), "NoSuchKey", 404, "not_found")


def test_the_whole_in_one_request(google: Accounts) -> None:
    user, body = google(), filled(300_001)
    headers = {"x-goog-meta-a": "b"}
    url = user.url("RESUMABLE", "whole", headers, content_type="image/png")
    begun = user.gate.ask("POST", url, b"", {"x-goog-resumable": "start", "Content-Type": "image/png", **headers})
    session = Session(user.gate, begun.headers["location"])
    done = session.put(body)
    assert (done.status, done.body) == (200, b"")
    got = user.ask("GET", "whole")
    assert got.body == body
    assert got.headers["content-type"] == "image/png"
    assert got.headers["x-goog-meta-a"] == "b"
    for name in ("etag", "x-goog-hash", "x-goog-generation", "x-goog-stored-content-length"):
        assert done.headers[name] == got.headers[name]
    assert done.headers["x-goog-hash"] == f"crc32c={crc32c_of(body)}"


@pytest.mark.parametrize("size", [0, 1, QUANTUM - 1, QUANTUM, QUANTUM + 1, 3 * QUANTUM])
@pytest.mark.parametrize("total_known", [True, False])
def test_chunks_become_the_object(google: Accounts, size: int, total_known: bool) -> None:
    user, body = google(), filled(size, 7)
    session = user.begin(f"chunks/{size}-{total_known}")
    sent = 0
    while size - sent > QUANTUM:
        answer = session.put(body[sent : sent + QUANTUM], f"{sent}-{sent + QUANTUM - 1}/{size if total_known else '*'}")
        sent += QUANTUM
        assert (answer.status, answer.headers["range"]) == (308, f"bytes=0-{sent - 1}")
        assert answer.headers["content-length"] == "0"
        assert "location" not in answer.headers
        assert session.persisted() == sent
    if size:
        last = session.put(body[sent:], f"{sent}-{size - 1}/{size}")
    else:
        last = session.put(b"", "*/0" if total_known else None)
    assert last.status == 200, last.body
    assert user.body(f"chunks/{size}-{total_known}") == body


def test_a_308_says_resume_incomplete(google: Accounts) -> None:
    session = google().begin("phrase")
    raw = session.gate.raw(
        head("PUT", target_of(session.url), "Content-Length: 0", "Content-Range: bytes */*", "Connection: close")
    )
    assert raw.startswith(b"HTTP/1.1 308 Resume Incomplete\r\n")
    assert b"\r\nRange:" not in raw


def test_the_end_of_a_stream_may_be_told_behind_its_last_byte(google: Accounts) -> None:
    user, body = google(), filled(2 * QUANTUM)
    session = user.begin("stream")
    assert session.put(body[:QUANTUM], f"0-{QUANTUM - 1}/*").status == 308
    assert session.put(body[QUANTUM:], f"{QUANTUM}-{2 * QUANTUM - 1}/*").status == 308
    assert session.put(None, f"*/{3 * QUANTUM}").status == 308
    assert session.put(None, f"*/{2 * QUANTUM}").status == 200
    assert user.body("stream") == body


def test_who_lost_the_answer_has_it_again(google: Accounts) -> None:
    user, body = google(), filled(1000)
    session = user.begin("again")
    first = session.put(body)
    for answer in (session.put(None, "*/*"), session.put(None, "*/1000"), session.put(body), session.put(body)):
        assert answer.status == 200
        assert answer.headers["x-goog-generation"] == first.headers["x-goog-generation"]
    user.ask("PUT", "again", b"another")
    refused(session.put(None, "*/*"), "NoSuchUpload", 410, "upload_not_found")
    assert user.body("again") == b"another"


@pytest.mark.parametrize("total", ["*", str(2 * QUANTUM + 5)])
def test_the_rest_may_come_without_its_last_byte_s_number(google: Accounts, total: str) -> None:
    user, body = google(), filled(2 * QUANTUM + 5)
    session = user.begin("rest")
    assert session.put(body[:QUANTUM], f"0-{QUANTUM - 1}/*").status == 308
    assert session.put(body[QUANTUM:], f"{QUANTUM}-*/{total}").status == 200
    assert user.body("rest") == body


def test_a_chunk_that_came_already_is_passed_over(google: Accounts) -> None:
    user, body = google(), filled(3 * QUANTUM + 5)
    session = user.begin("overlap")
    for _ in range(2):
        assert session.put(body[:QUANTUM], f"0-{QUANTUM - 1}/*").status == 308
        assert session.persisted() == QUANTUM
    # One that begins in what has come goes on behind it.
    assert session.put(body[: 2 * QUANTUM], f"0-{2 * QUANTUM - 1}/*").status == 308
    assert session.persisted() == 2 * QUANTUM
    assert session.put(body).status == 200
    assert user.body("overlap") == body


def test_a_gap_is_refused_and_told(google: Accounts) -> None:
    session = google().begin("gap")
    answer = session.put(filled(QUANTUM), f"{QUANTUM}-{2 * QUANTUM - 1}/*")
    members = refused(answer, "ServiceUnavailable", 503, "part_invalid")
    assert f"the upload offset is {QUANTUM} byte(s), which exceeds already uploaded size of 0" in members["Details"]
    assert session.persisted() == 0


@pytest.mark.parametrize("size", [1, QUANTUM - 1, QUANTUM + 1])
def test_a_chunk_that_is_not_the_last_is_a_multiple_of_256_kib(google: Accounts, size: int) -> None:
    session = google().begin("uneven")
    for total in ("*", str(10 * QUANTUM)):
        members = refused(
            session.put(filled(size), f"0-{size - 1}/{total}"), "InvalidArgument", 400, "parameter_invalid"
        )
        assert f"The received request contained {size} bytes" in members["Details"]
    assert session.persisted() == 0


@pytest.mark.parametrize(
    "content_range",
    [
        "0-9",
        "0-9/5",
        "5-4/10",
        "0-8/10",
        "x-9/10",
        "0-9/10/11",
        "0-*/9",
        "11-*/10",
        "*-9/10",
        "-1-9/10",
        "0-9/+10",
        "*/x",
        "0-9 /10",
    ],
)
def test_a_range_that_is_none_is_refused(google: Accounts, content_range: str) -> None:
    session = google().begin("ranges")
    refused(session.put(b"0123456789", content_range), "InvalidArgument", 400, "parameter_invalid")
    assert session.persisted() == 0


def test_another_unit_is_refused(google: Accounts) -> None:
    session = google().begin("unit")
    answer = session.put(b"0", Content_Range="lines 0-0/1")
    refused(answer, "InvalidArgument", 400, "parameter_invalid")


def test_of_a_body_that_is_longer_than_its_range_nothing_is_kept(google: Accounts) -> None:
    user = google()
    session = user.begin("longer")
    for span in (f"0-{QUANTUM - 1}/*", "0-99/100"):
        answer = session.put(iter([bytes(QUANTUM)] * 4), span)
        refused(answer, "InvalidArgument", 400, "parameter_invalid")
        assert session.persisted() == 0
    assert session.put(iter([b"x" * 50] * 2), "0-99/100").status == 200


def test_a_question_has_no_body(google: Accounts) -> None:
    session = google().begin("question")
    refused(session.put(b"x", "*/*"), "InvalidArgument", 400, "parameter_invalid")
    answer = session.put(iter([b"x"]), "*/*")
    assert (answer.status, answer.code) == (400, "parameter_invalid")


def test_the_object_cannot_end_before_what_has_come(google: Accounts) -> None:
    session = google().begin("short")
    session.put(filled(2 * QUANTUM), f"0-{2 * QUANTUM - 1}/*")
    refused(session.put(filled(QUANTUM), f"0-{QUANTUM - 1}/{QUANTUM}"), "InvalidArgument", 400, "parameter_invalid")
    refused(session.put(iter([b"abc"])), "InvalidArgument", 400, "parameter_invalid")
    refused(session.put(b""), "InvalidArgument", 400, "parameter_invalid")
    assert session.persisted() == 2 * QUANTUM


@pytest.mark.parametrize(
    "content_range", ["", "0-*/*", f"0-{12 * QUANTUM - 1}/{12 * QUANTUM}", f"0-{12 * QUANTUM - 1}/*"]
)
def test_what_arrived_of_a_cut_request_is_kept(google: Accounts, content_range: str) -> None:
    """But for what was on its way through the gateway at that moment, and what makes no full multiple."""
    user, body = google(), filled(12 * QUANTUM)
    name = "cut/" + content_range.replace("/", "of")
    session = user.begin(name)
    cut(session, content_range, len(body), body[: 5 * QUANTUM + 1000])
    first = kept(session)
    assert QUANTUM <= first <= 5 * QUANTUM
    rest = body[first:]
    cut(session, f"{first}-{len(body) - 1}/{len(body)}", len(rest), rest[: 5 * QUANTUM + 5])
    second = kept(session, first)
    assert first < second <= first + 5 * QUANTUM
    assert session.put(body[second:], f"{second}-{len(body) - 1}/{len(body)}").status == 200
    assert user.body(name) == body


def kept(session: Session, before: int = 0) -> int:
    """How much has arrived, once it is more than before."""
    wait_until(lambda: (session.persisted() or 0) > before)
    persisted = session.persisted()
    assert persisted
    assert persisted % QUANTUM == 0
    return persisted


def test_less_than_a_multiple_is_sent_again(google: Accounts) -> None:
    user, body = google(), filled(QUANTUM)
    session = user.begin("cut/little")
    cut(session, "", QUANTUM, body[: QUANTUM - 1])
    assert session.persisted() == 0
    assert session.put(body).status == 200
    assert user.body("cut/little") == body


def test_a_cut_body_in_http_s_own_chunks_is_kept_too(google: Accounts) -> None:
    user, body = google(), filled(6 * QUANTUM)
    session = user.begin("cut/chunked")
    host, port = session.gate.address
    with Wire((host, port)) as wire:
        wire.send(head("PUT", target_of(session.url), "Transfer-Encoding: chunked", host=f"{host}:{port}"))
        for first in range(0, 5 * QUANTUM, QUANTUM // 4):
            wire.send(chunk(body[first : first + QUANTUM // 4]))
    persisted = kept(session)
    assert session.put(body[persisted:], f"{persisted}-{len(body) - 1}/{len(body)}").status == 200
    assert user.body("cut/chunked") == body


def test_a_session_that_is_given_up_is_over(google: Accounts) -> None:
    user = google()
    session = user.begin("cancel")
    session.put(filled(QUANTUM), f"0-{QUANTUM - 1}/*")
    raw = session.gate.raw(head("DELETE", target_of(session.url), "Content-Length: 0", "Connection: close"))
    assert raw.startswith(b"HTTP/1.1 499 Client Closed Request\r\n")
    assert b"Content-Length: 0\r\n" in raw
    for answer in (session.put(None, "*/*"), session.put(b"x"), session.cancel()):
        refused(answer, "NoSuchUpload", 410, "upload_not_found")
    refused(user.ask("GET", "cancel"), "NoSuchKey", 404, "not_found")


def test_a_forged_session_opens_nothing(google: Accounts) -> None:
    session = google().begin("forged")
    other = google().begin("other").url.rpartition("=")[2]
    for token in ("x", "", other[:-1] + ("A" if other[-1] != "A" else "B"), other):
        answer = Session(session.gate, session.url.rpartition("=")[0] + "=" + token).put(b"data")
        assert answer.status in (400, 403, 404, 410), token
        assert answer.code in ("signature_mismatch", "path_not_allowed", "upload_not_found")
        assert answer.body.startswith(b"<?xml version='1.0' encoding='UTF-8'?><Error>")
    twice = Session(session.gate, f"{session.url}&upload_id={other}").put(b"data")
    assert twice.status == 400
    assert session.persisted() == 0


def test_a_session_does_only_what_sessions_do(google: Accounts) -> None:
    user = google()
    session = user.begin("only")
    session.put(b"data")
    for method in ("GET", "HEAD", "POST", "PATCH"):
        answer = user.gate.ask(method, session.url)
        assert answer.status in (403, 405, 501), (method, answer.body)
        assert answer.code in ("operation_not_allowed", "method_not_allowed", "not_implemented")
    assert user.body("only") == b"data"


def test_hashes_are_those_of_the_whole(google: Accounts) -> None:
    user, body = google(), filled(QUANTUM + 10)
    for name, value in (("crc32c", crc32c_of(body)), ("md5", md5_of(body))):
        session = user.begin(f"hash/{name}")
        session.put(body[:QUANTUM], f"0-{QUANTUM - 1}/*")
        done = session.put(body[QUANTUM:], f"{QUANTUM}-{len(body) - 1}/{len(body)}", x_goog_hash=f"{name}={value}")
        assert done.status == 200, done.body
        assert f"{name}={value}" in done.headers["x-goog-hash"]
        assert user.ask("GET", f"hash/{name}").headers["x-goog-hash"] == done.headers["x-goog-hash"]


@pytest.mark.parametrize("value", [f"crc32c={crc32c_of(b'x')}", f"md5={md5_of(b'x')}"])
def test_a_hash_that_does_not_hold_ends_the_session(google: Accounts, value: str) -> None:
    user, body = google(), filled(QUANTUM + 10)
    session = user.begin("hash/wrong")
    session.put(body[:QUANTUM], f"0-{QUANTUM - 1}/*")
    answer = session.put(body[QUANTUM:], f"{QUANTUM}-{len(body) - 1}/{len(body)}", x_goog_hash=value)
    refused(answer, "BadDigest", 400, "digest_mismatch")
    refused(user.ask("GET", "hash/wrong"), "NoSuchKey", 404, "not_found")
    refused(session.put(None, "*/*"), "NoSuchUpload", 410, "upload_not_found")


def test_a_hash_in_the_request_that_begins_is_of_the_whole(google: Accounts) -> None:
    user, body = google(), filled(QUANTUM + 10)
    good, bad = {"x-goog-hash": f"md5={md5_of(body)}"}, {"x-goog-hash": f"crc32c={crc32c_of(b'x')}"}
    assert user.begin("hash/begin", good).put(body).status == 200
    refused(user.begin("hash/begin-bad", bad).put(body), "BadDigest", 400, "digest_mismatch")


def test_a_whole_in_one_request_may_have_a_content_md5(google: Accounts) -> None:
    user = google()
    assert user.begin("hash/one").put(b"abc", Content_MD5=md5_of(b"abc")).status == 200
    refused(user.begin("hash/two").put(b"abc", Content_MD5=md5_of(b"x")), "BadDigest", 400, "digest_mismatch")


def test_a_hash_of_a_chunk_is_not_passed_over(google: Accounts) -> None:
    session, body = google().begin("hash/chunk"), filled(QUANTUM)
    span = f"0-{QUANTUM - 1}/*"
    for headers in (
        {"x_goog_hash": f"md5={md5_of(body)}"},
        {"Content_MD5": md5_of(body)},
        {"Content_Digest": "md5=::"},
    ):
        refused(session.put(body, span, **headers), "NotImplemented", 501, "not_implemented")
    session.put(body, span)
    answer = session.put(b"x", f"{QUANTUM}-{QUANTUM}/{QUANTUM + 1}", Content_MD5=md5_of(b"x"))
    refused(answer, "NotImplemented", 501, "not_implemented")
    assert session.persisted() == QUANTUM


def test_generation_zero_holds_when_the_session_begins_and_when_it_ends(google: Accounts) -> None:
    user, only_new = google(), {"x-goog-if-generation-match": "0"}
    user.ask("PUT", "zero/there", b"there")
    refused(user.start("zero/there", only_new), "PreconditionFailed", 412, "exists")
    session = user.begin("zero/later", only_new)
    user.ask("PUT", "zero/later", b"faster")
    answer = session.put(b"slower")
    assert (answer.status, answer.code) == (412, "exists")
    assert user.body("zero/later") == b"faster"


def test_a_generation_is_compared_when_the_session_ends_too(google: Accounts) -> None:
    user = google()
    generation = user.ask("PUT", "match", b"one").headers["x-goog-generation"]
    match = {"x-goog-if-generation-match": generation}
    good, late = user.begin("match", match), user.begin("match", match)
    assert good.put(b"two").status == 200
    refused(late.put(b"three"), "PreconditionFailed", 412, "precondition_failed")
    refused(user.start("match", match), "PreconditionFailed", 412, "precondition_failed")
    assert user.body("match") == b"two"


def test_of_two_that_send_the_same_bytes_at_once_one_is_kept(google: Accounts) -> None:
    user, body = google(), filled(2 * QUANTUM)
    session = user.begin("race")
    host, port = session.gate.address
    span = f"Content-Range: bytes 0-{QUANTUM - 1}/*"
    with Wire((host, port)) as wire:
        wire.send(head("PUT", target_of(session.url), f"Content-Length: {QUANTUM}", span, host=f"{host}:{port}"))
        wire.send(body[: QUANTUM - 10])
        assert session.put(body[:QUANTUM], f"0-{QUANTUM - 1}/*").status == 308
        assert session.put(body[QUANTUM:], f"{QUANTUM}-{2 * QUANTUM - 1}/*").status == 308
        wire.send(b"?" * 10)
        answer = wire.answer("PUT")
    members = refused(answer, "ServiceUnavailable", 503, "conflict")
    assert members["Details"] == "Another request writes to this session: ask for its status, and go on from there."
    assert answer.headers["retry-after"]
    assert session.put(None, f"*/{2 * QUANTUM}").status == 200
    assert user.body("race") == body


def test_many_that_finish_at_once_make_one_object(google: Accounts) -> None:
    user, body = google(), filled(2 * QUANTUM + 3)
    session = user.begin("crowd")
    session.put(body[: 2 * QUANTUM], f"0-{2 * QUANTUM - 1}/*")
    answers: list[Answer] = []

    def finish() -> None:
        answers.append(session.put(body[2 * QUANTUM :], f"{2 * QUANTUM}-{len(body) - 1}/{len(body)}"))

    threads = [threading.Thread(target=finish) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {200, 503}
    assert any(answer.status == 200 for answer in answers)
    assert session.persisted() is None
    assert user.body("crowd") == body


def test_a_session_survives_a_restart(start: Start) -> None:
    gate = start()
    user, body = Accounts(gate)(), filled(2 * QUANTUM + 7)
    session = user.begin("restart")
    assert session.put(body[:QUANTUM], f"0-{QUANTUM - 1}/*").status == 308
    cut(session, "", 0, b"")
    path = urlsplit(session.url)
    gate.kill()
    gate.start()
    again = Session(gate, f"{gate.base}{path.path}?{path.query}")
    assert again.persisted() == QUANTUM
    assert again.put(body[QUANTUM:], f"{QUANTUM}-{len(body) - 1}/{len(body)}").status == 200
    assert Account(gate, user.email).body("restart") == body


def test_a_long_body_is_kept_as_it_arrives(start: Start) -> None:
    """64 MiB of one request are durable before it ends: a gateway that is killed loses what follows."""
    gate = start()
    session = Accounts(gate)().begin("long")
    host, port = gate.address
    size, kept = 80 * 2**20, 64 * 2**20
    with Wire((host, port)) as wire:
        wire.send(head("PUT", target_of(session.url), f"Content-Length: {size}", host=f"{host}:{port}"))
        block = bytes(2**20)
        for _ in range(66):
            wire.send(block)
        wait_until(lambda: (session.persisted() or 0) >= kept, 30)
        gate.kill()
    gate.start()
    path = urlsplit(session.url)
    assert (Session(gate, f"{gate.base}{path.path}?{path.query}").persisted() or 0) >= kept


def test_any_worker_goes_on_with_a_session(start: Start) -> None:
    gate = start("", "--workers", "2")
    user, body = Accounts(gate)(), filled(6 * QUANTUM)
    session = user.begin("workers")
    for number in range(5):
        first = number * QUANTUM
        assert session.put(body[first : first + QUANTUM], f"{first}-{first + QUANTUM - 1}/*").status == 308
    assert session.put(body[5 * QUANTUM :], f"{5 * QUANTUM}-{len(body) - 1}/{len(body)}").status == 200
    assert user.body("workers") == body


def test_a_session_ends_by_the_operator_s_setting(start: Start) -> None:
    """Its end is sealed into it: the token says it to who can read it, and nobody can change it."""
    gate = start("[gcs]\nresumable-seconds = 3600\n")
    now = time.time()
    token = Accounts(gate)().begin("life").url.rpartition("upload_id=")[2]
    payload = token.split(".")[1]
    sealed = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    ends = [value for value in sealed if isinstance(value, int) and abs(value - now - 3600) < 30]
    assert len(ends) == 1


def test_the_public_url_is_where_the_session_is(start: Start) -> None:
    gate = start('[listen]\npublic-url = "https://files.example.test"\n')
    user = Accounts(gate)()
    answer = user.start("public")
    assert answer.headers["location"].startswith(f"https://files.example.test/{BUCKET}/public?upload_id=")


def test_a_bucket_in_the_host_stays_there(start: Start) -> None:
    gate = start('[s3]\nvirtual-hosts = ["files.test"]\n')
    user, host = Accounts(gate)(), f"{BUCKET}.files.test:{gate.address[1]}"
    signed = user.url("RESUMABLE", "in host/a", bucket_bound_hostname=f"http://{host}")
    assert signed.startswith(f"http://{host}/in%20host/a?")
    answer = gate.ask("POST", signed, b"", {"x-goog-resumable": "start", "Host": host})
    assert answer.status == 201, answer.body
    location = answer.headers["location"]
    assert location.startswith(f"http://{host}/in%20host/a?upload_id=")
    assert gate.ask("PUT", location, b"data", {"Host": host}).status == 200
    got = user.url("GET", "in host/a", bucket_bound_hostname=f"http://{host}")
    assert gate.ask("GET", got, headers={"Host": host}).body == b"data"
    assert user.body("in host/a") == b"data"


def test_a_session_needs_its_header(google: Accounts) -> None:
    user = google()
    url = user.url("RESUMABLE", "header")
    answer = user.gate.ask("POST", url, b"")
    assert answer.status in (400, 403)
    answer = user.gate.ask("POST", url, bytes(70_000), {"x-goog-resumable": "start"})
    refused(answer, "InvalidArgument", 400, "parameter_invalid")


def test_expect_is_answered_before_a_chunk(google: Accounts) -> None:
    session = google().begin("expect")
    host, port = session.gate.address
    with Wire((host, port)) as wire:
        lines = ("Content-Length: 3", "Expect: 100-continue")
        wire.send(head("PUT", target_of(session.url), *lines, host=f"{host}:{port}"))
        assert wire.answer().status == 100
        wire.send(b"abc")
        assert wire.answer().status == 200
