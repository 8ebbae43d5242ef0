"""Uploads: bodies whole or not at all, checked before they are asked for, and after."""

import base64
import gzip
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import KINDS, Door, mint, opened, target
from tests.edge.wire import chunk, head, wait_until
from tests.gate import Answer

CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module", params=KINDS)
def any_door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Every way in."""
    config: dict[str, dict[str, Any]] = {"listen": {"trusted-proxies": ["127.0.0.1"]}}
    with opened(request.param, tmp_path_factory.mktemp("uploads"), config) as made:
        yield made
        inspect(made.gate)


def writable(door: Door, path: str, **claims: Any) -> str:
    """A target to write to."""
    return target(path, mint(door.gate, ops=["write"], path=path, **claims))


def read(door: Door, path: str, **headers: str) -> Answer:
    """The object."""
    return door.ask("GET", door.gate.sign("GET", path), headers=headers)


def leftovers(door: Door) -> list[Path]:
    """Files of uploads that are not objects."""
    return [path for path in (door.gate.data / "state").rglob("*") if path.is_file() and "tmp" in path.parts[-2:]]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
def test_a_body_arrives_as_it_was_sent(any_door: Door, framing: str, size: int) -> None:
    """201 and its ETag; again 200 and another; both framings, empty and large."""
    body = os.urandom(size)
    path = f"/u/{framing}-{size}"
    headers = {"Content-Length": str(size)} if framing == "length" else {"Transfer-Encoding": "chunked"}
    sent = body if framing == "length" else b"".join(map(chunk, [body[i : i + 70_000] for i in range(0, size, 70_000)]))
    for status in (201, 200):
        with any_door.wire() as wire:
            lines = [f"{name}: {value}" for name, value in headers.items()]
            wire.send(head("PUT", writable(any_door, path), *lines, host=f"gate.test:{any_door.address[1]}"))
            wire.send(sent + (chunk(b"") if framing == "chunked" else b""))
            answer = wire.answer()
            assert answer.status == status
        got = read(any_door, path)
        assert got.body == body
        assert got.headers["etag"] == answer.headers["etag"]


def test_continue_is_said_after_admission_alone(door: Door) -> None:
    """A refusal comes in its place, closes the connection, and is read."""
    lines = ("Content-Length: 4", "Expect: 100-continue")
    with door.wire() as wire:
        wire.send(head("PUT", writable(door, "/u/expect"), *lines))
        assert wire.answer().status == 100
        wire.send(b"body")
        assert wire.answer().status == 201
        wire.send(head("GET", "/_valet/live"))
        assert wire.answer().status == 200
    for refused in ("/u/expect", writable(door, "/u/expect", length=[0, 3]), writable(door, "/u/expect", create=True)):
        with door.wire() as wire:
            wire.send(head("PUT", refused, *lines))
            answer = wire.answer()
            assert answer.status in {401, 412, 413}
            assert answer.headers["connection"] == "close"
            assert wire.is_ended()


def test_continue_is_not_said_where_the_body_is_there_already(door: Door) -> None:
    """RFC 9110 section 10.1.1."""
    with door.wire() as wire:
        wire.send(head("PUT", writable(door, "/u/eager"), "Content-Length: 4", "Expect: 100-continue") + b"body")
        assert wire.answer().status == 201


def test_an_unknown_expectation_is_refused(door: Door) -> None:
    """Rather than ignored."""
    with door.wire() as wire:
        wire.send(head("PUT", writable(door, "/u/odd"), "Content-Length: 4", "Expect: the-unexpected") + b"body")
        assert wire.answer().code == "parameter_invalid"


def test_curl_waits_for_continue(any_door: Door, tmp_path: Path) -> None:
    """Through every door, with a body large enough that curl asks first; a refusal costs it no upload."""
    (tmp_path / "file").write_bytes(b"c" * 5_000_000)
    for url, status in ((writable(any_door, "/u/curl"), "201"), (writable(any_door, "/u/curl", length=[0, 9]), "413")):
        command = ["curl", "-sS", "-H", "Expect: 100-continue", "-T", str(tmp_path / "file"), "-w", "%{http_code}"]
        if any_door.cafile:
            command += ["--cacert", str(any_door.cafile)]
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "out"), any_door.base + url], capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == (status, "")


@pytest.mark.parametrize("split", [[11], [10, 1], [1] * 11, [4_000_000]])
def test_too_large_is_found_at_the_first_byte_beyond(door: Door, split: list[int]) -> None:
    """Without a length: nothing is left, the connection ends, the answer is read."""
    path = f"/u/large-{len(split)}-{split[0]}"
    with door.wire() as wire:
        wire.send(head("PUT", writable(door, path, length=[0, 10]), CHUNKED))
        wire.pour(b"".join(chunk(b"x" * count) for count in split))
        answer = wire.answer()
        assert (answer.status, answer.code) == (413, "too_large")
        assert answer.headers["connection"] == "close"
    assert read(door, path).status == 404
    wait_until(lambda: not leftovers(door))


def test_exactly_the_maximum_is_kept(door: Door) -> None:
    """Both ends of a range are included."""
    for size, status in ((4, 400), (5, 201), (10, 200), (11, 413)):
        with door.wire() as wire:
            wire.send(head("PUT", writable(door, "/u/exact", length=[5, 10]), CHUNKED))
            wire.send(chunk(b"x" * size) + chunk(b""))
            assert wire.answer().status == status
    assert len(read(door, "/u/exact").body) == 10


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("sent", [0, 10, 2_000_000])
def test_a_client_that_vanishes_leaves_nothing(door: Door, how: str, sent: int) -> None:
    """The object that was there before still is, the use of the key is given back."""
    path = f"/u/gone-{how}-{sent}"
    assert door.ask("PUT", writable(door, path), b"before").status == 201
    url = writable(door, path, uses=1, jti=path, iat=int(time.time()))
    wire = door.wire()
    wire.send(head("PUT", url, "Content-Length: 3000000") + b"x" * sent)
    time.sleep(0.2)
    if how == "reset":
        wire.reset()
    else:
        wire.sock.close()
    wait_until(lambda: not leftovers(door))
    assert read(door, path).body == b"before"
    # A file without a name is no leftover: that the upload is over shows when its use is back.
    wait_until(lambda: b"still runs" not in door.ask("PUT", url, b"", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}).body)
    assert door.ask("PUT", url, b"after").status == 200
    assert door.ask("PUT", url, b"again").code == "key_used"


def test_digests_are_checked_before_anything_is_published(door: Door) -> None:
    """Content-MD5, Content-Digest (both functions), and the key's sha256."""
    body = b"digested"
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
    sha512 = base64.b64encode(hashlib.sha512(body).digest()).decode()
    right = (
        {"Content-MD5": md5},
        {"Content-Digest": f"sha-256=:{sha256}:"},
        {"Content-Digest": f"sha-512=:{sha512}:, sha-256=:{sha256}:"},
        {"Content-Digest": f"unixsum=:AAAA:, sha-256=:{sha256}:", "Content-MD5": md5},
    )
    for index, headers in enumerate(right):
        path = f"/u/digest{index}"
        assert door.ask("PUT", writable(door, path), body, headers).status == 201
        assert door.ask("PUT", writable(door, path), body + b"!", headers).code == "digest_mismatch"
        assert read(door, path).body == body
        shown = f"sha-256=:{sha256}:" if "sha-256" in headers.get("Content-Digest", "") else None
        assert read(door, path).headers.get("repr-digest") == shown
    for headers in ({"Content-MD5": "short"}, {"Content-Digest": "sha-256=abc"}, {"Content-MD5": md5 + "x"}):
        assert door.ask("PUT", writable(door, "/u/bad"), body, headers).code == "parameter_invalid"
    claimed = writable(door, "/u/claimed", sha256=hashlib.sha256(body).hexdigest())
    assert door.ask("PUT", claimed, b"other").code == "digest_mismatch"
    assert read(door, "/u/claimed").status == 404
    assert door.ask("PUT", claimed, body).status == 201


def test_an_encoded_body_is_stored_untouched(any_door: Door) -> None:
    """gzip is what the client sent, not what somebody makes of it; also where it is none."""
    for index, body in enumerate((gzip.compress(b"z" * 100_000), b"not gzip at all")):
        path = f"/u/encoded{index}"
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
        assert any_door.ask("PUT", writable(any_door, path), body, headers).status == 201
        got = read(any_door, path)
        assert (got.body, got.headers["content-encoding"]) == (body, "gzip")


def test_metadata_comes_back_as_it_was_sent(any_door: Door) -> None:
    """Names in any case, values in UTF-8, empty ones too."""
    kept = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Language": "de, mi",
        "Cache-Control": "public, max-age=60",
        "Content-Disposition": "inline",
        "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
        "X-Valet-Meta-Author": "Zoë Ωmega".encode().decode("latin-1"),
        "X-VALET-META-Mixed-Case": "yes",
    }
    assert any_door.ask("PUT", writable(any_door, "/u/meta"), b"m", kept).status == 201
    for method in ("GET", "HEAD"):
        got = any_door.ask(method, any_door.gate.sign("GET", "/u/meta"))
        for name, value in kept.items():
            assert got.headers[name.lower()] == value
    assert any_door.ask("PUT", writable(any_door, "/u/meta"), b"m").status == 200
    assert "x-valet-meta-author" not in read(any_door, "/u/meta").headers


@pytest.mark.parametrize("letter", ["x", "é"])
def test_too_much_metadata_is_refused_before_the_body(door: Door, letter: str) -> None:
    """Whatever its script, at or beyond the limit: never a fault of the storage."""
    for count in (2_900, 3_100, 6_000):
        value = (letter * (count // len(letter.encode()))).encode().decode("latin-1")
        with door.wire() as wire:
            line = f"X-Valet-Meta-A: {value}"
            wire.send(head("PUT", writable(door, "/u/fat"), "Content-Length: 10", "Expect: 100-continue", line))
            answer = wire.answer()
            if answer.status == 100:
                wire.send(b"0123456789")
                answer = wire.answer()
                assert answer.status in {200, 201}, answer
            else:
                assert (answer.code, count > 1_400) == ("metadata_too_large", True)


def test_many_small_metadata_headers(door: Door) -> None:
    """As many as a head may have: kept, or refused with a code."""
    headers = {f"X-Valet-Meta-{i}": "v" for i in range(80)}
    answer = door.ask("PUT", writable(door, "/u/many"), b"x", headers)
    assert answer.status == 201
    got = read(door, "/u/many").headers
    assert all(got[name.lower()] == "v" for name in headers)
    more = {f"X-Valet-Meta-{i}": "v" for i in range(200)}
    assert door.ask("PUT", writable(door, "/u/more"), b"x", more).code == "headers_too_large"


@pytest.mark.parametrize("size", [1, 4_000_000])
def test_a_chunked_upload_with_extensions_and_trailers(door: Door, size: int) -> None:
    """Both are allowed and mean nothing here; a trailer is never metadata."""
    body = os.urandom(size)
    parts = b"".join(chunk(body[i : i + 50_000], b";name=value") for i in range(0, size, 50_000))
    with door.wire() as wire:
        wire.send(head("PUT", writable(door, f"/u/ext{size}"), CHUNKED, "Trailer: X-Valet-Meta-T") + parts)
        wire.send(b"0\r\nX-Valet-Meta-T: sneaky\r\nValet: x\r\n\r\n" + head("GET", "/_valet/live"))
        assert wire.answer().status == 201
        assert wire.answer().status == 200
    got = read(door, f"/u/ext{size}")
    assert got.body == body
    assert "x-valet-meta-t" not in got.headers


def test_parallel_uploads_of_one_key_publish_one_of_them_whole(door: Door) -> None:
    """Last writer wins; create-only lets exactly one through."""
    wires = [door.wire() for _ in range(8)]
    for index, wire in enumerate(wires):
        wire.send(head("PUT", writable(door, "/u/race", create=True), "Content-Length: 1000") + b"%d" % index * 999)
    for index, wire in enumerate(wires):
        wire.send(b"%d" % index)
    codes = []
    for wire in wires:
        with wire:
            answer = wire.answer()
            codes.append(answer.code or answer.status)
    assert sorted(codes, key=str) == [201] + ["exists"] * 7
    assert len(set(read(door, "/u/race").body)) == 1
