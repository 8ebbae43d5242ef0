"""Small uploads that the fast lane takes are judged, kept, answered and told as in the general way."""

import base64
import contextlib
import dataclasses
import hashlib
import json
import re
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.edge.doors import make_certificate
from tests.edge.faults import faults
from tests.edge.lanes import Laned, Said, Twins, heard, laned, request_of, same_audit, same_figures, twins
from tests.edge.wire import Ended, Wire, head
from tests.interop import signers
from valetstore.edge.framing import PIECE_BYTES
from valetstore.grants.presign import Request as PresignRequest
from valetstore.grants.s3.sign import Key, presign_v4

BASE: Final = "http://gate.test"
BODY: Final = b"a small body"
TIMES: Final = 3
"""The first goes the general way, and teaches its fields."""
ORIGIN: Final = "https://page.test"
_names = count(1)


class House(NamedTuple):
    """Twins, and what signs for both."""

    twins: Twins
    keys: dict[str, dict[str, Any]]

    def signer(self, dialect: str) -> signers.Signer:
        """Native, S3 by either version, and one dialect whose uploads the lane does not take."""
        make: dict[str, Callable[[], signers.Signer]] = {
            "native": lambda: signers.native(self.keys["native"], BASE),
            "s3-v4": lambda: signers.s3(self.keys["s3"], BASE, "s3v4"),
            "s3-v2": lambda: signers.s3(self.keys["s3"], BASE, "s3"),
            "swift": lambda: signers.swift(self.keys["swift"], BASE),
        }
        return make[dialect]()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("twins")
    keys: dict[str, dict[str, Any]] = {}

    def fill(made: Laned) -> None:
        for scheme in ("native", "s3", "swift"):
            keys[scheme] = signers.make_key(made.gate.folder, scheme)
        made.put("/b/there", b"was there")

    config: dict[str, dict[str, Any]] = {
        "listen": {"listen": ["127.0.0.1:0"], "hsts-seconds": 60},
        "limits": {"upload-bytes-max": 100_000},
    }
    rules = f'[[buckets.shared.cors]]\norigins = ["{ORIGIN}"]\nmethods = ["PUT"]\n'
    with twins(folder, fill, config, further=rules) as both:
        yield House(both, keys)
        same_audit(both)
        same_figures(both)


def put(url: str, body: bytes = BODY, *lines: str, length: int | None = None, version: str = "1.1") -> bytes:
    """A PUT in one piece."""
    announced = f"Content-Length: {len(body) if length is None else length}"
    return request_of(url, "PUT", announced, *lines, version=version) + body


def native(house: House, path: str, **claims: Any) -> str:
    """A URL to write to."""
    return house.twins.fast.reading(path, **({"ops": ["write"]} | claims))


def told_alike(house: House, *requests: bytes) -> tuple[list[Said], int]:
    """Each on one connection to either twin: what comes back, but for an object's date, and what the lane kept."""
    before = house.twins.fast.served_by()["upload"]
    quick, slow = (_ask(one, requests) for one in house.twins)
    assert [_undated(said) for said in quick] == [_undated(said) for said in slow]
    return quick, house.twins.fast.served_by()["upload"] - before


def _ask(lane: Laned, requests: tuple[bytes, ...]) -> list[Said]:
    said, wire = [], lane.wire()
    for request in requests:
        said.append(heard(wire, request))
        time.sleep(0.002)  # so that the connection is at rest
        if said[-1].ended:
            wire.sock.close()
            wire = lane.wire()
    wire.sock.close()
    return said


_OF_A_STATE: Final = re.compile(rb'(?im)^(last-modified: [^\r]*|etag: "[0-9a-f]{32}-v")\r\n')


def _undated(said: Said) -> Said:
    """Without the date of the state, and the tag that is made of it."""
    return dataclasses.replace(said, head=_OF_A_STATE.sub(b"", said.head))


def kept_alike(house: House, path: str) -> Said:
    """What an object is, on both."""
    request = head("GET", house.twins.fast.reading(path))
    quick, slow = (_ask(one, (request,))[0] for one in house.twins)
    assert _undated(quick) == _undated(slow)
    return quick


@pytest.mark.parametrize("dialect", ["native", "s3-v4", "s3-v2", "swift"])
@pytest.mark.parametrize("size", [0, 1, 1_000, PIECE_BYTES - 2_000, PIECE_BYTES, 2 * PIECE_BYTES + 1])
def test_uploads_of_every_size_are_kept_alike(house: House, dialect: str, size: int) -> None:
    """New objects and old ones; larger bodies, and other dialects, take the general way."""
    sign, body = house.signer(dialect).put, b"x" * size
    assert sign is not None
    names = [f"{dialect}-{size}-{number}" for number in (1, 2, 3, 3, 3)]
    requests = []
    for name in names:
        signed = sign("b", name)
        requests.append(put(signed.url, body, *[f"{field}: {value}" for field, value in signed.headers.items()]))
    said, kept = told_alike(house, *requests)
    assert {one.status for one in said} <= {200, 201}
    assert kept >= 3 if dialect != "swift" and size < PIECE_BYTES else kept == 0
    for name in set(names):
        assert kept_alike(house, f"/b/{name}").body == body


FIELDS: Final = {
    "a type": ["Content-Type: text/plain; charset=utf-8"],
    "native metadata": ["X-Valet-Meta-Colour: red", "Cache-Control: no-store", "Content-Language: de"],
    "S3's metadata": ["x-amz-meta-colour: red", "x-amz-storage-class: STANDARD", "x-amz-acl: private"],
    "another class": ["x-amz-storage-class: GLACIER"],
    "its MD5": [f"Content-MD5: {base64.b64encode(hashlib.md5(BODY).digest()).decode()}"],
    "another MD5": [f"Content-MD5: {base64.b64encode(hashlib.md5(b'other').digest()).decode()}"],
    "its digest": [f"Content-Digest: sha-256=:{base64.b64encode(hashlib.sha256(BODY).digest()).decode()}:"],
    "its checksum": [f"x-amz-checksum-crc32: {base64.b64encode(zlib.crc32(BODY).to_bytes(4)).decode()}"],
    "another checksum": [f"x-amz-checksum-crc32: {base64.b64encode(b'none').decode()}"],
    "a condition": ["If-None-Match: *"],
    "another condition": ['If-Match: "none"'],
    "an origin": [f"Origin: {ORIGIN}"],
    "a strange origin": ["Origin: https://evil.test"],
    "an expectation": ["Expect: 100-continue"],
    "another expectation": ["Expect: miracles"],
    "a range": ["Content-Range: bytes 0-11/12"],
    "a coding": ["Content-Encoding: gzip"],
    "S3's framing": ["Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 3"],
    "the end": ["Connection: close"],
    "a copy": ["x-amz-copy-source: /b/there"],
    "a length twice": [f"Content-Length: {len(BODY)}"],
    "another length": ["Content-Length: 5"],
}


@pytest.mark.parametrize("bucket", ["b", "shared"])
@pytest.mark.parametrize("dialect", ["native", "s3-v4"])
@pytest.mark.parametrize("fields", FIELDS)
def test_fields_say_the_same_each_time(house: House, dialect: str, bucket: str, fields: str) -> None:
    """Whatever a header makes of an upload, it makes of the second and the third as well."""
    sign = house.signer(dialect).put
    assert sign is not None
    names = [f"{fields.replace(' ', '-')}-{dialect}-{number}" for number in range(TIMES)]
    told_alike(house, *[put(sign(bucket, name).url, BODY, *FIELDS[fields]) for name in names])
    for name in names:
        kept_alike(house, f"/{bucket}/{name}")


CLAIMS: Final[dict[str, tuple[dict[str, Any], bool]]] = {
    "any": ({}, True),
    "create-only": ({"create": True}, False),
    "short": ({"length": [0, 3]}, False),
    "long": ({"length": [1_000, 2_000]}, False),
    "fitting": ({"length": [1, 2_000]}, True),
    "a type": ({"type": "image/*"}, False),
    "its digest": ({"sha256": hashlib.sha256(BODY).hexdigest()}, True),
    "another digest": ({"sha256": bytes(32).hex()}, False),
    "expired": ({"iat": 1, "exp": 2}, False),
    "reading": ({"ops": ["read"]}, False),
    "from elsewhere": ({"ip": "10.0.0.0/8"}, False),
    "from here": ({"ip": "127.0.0.0/8"}, True),
    "with a header": ({"headers": {"content-length": str(len(BODY))}}, True),
    "without a header": ({"headers": {"x-team": "blue"}}, False),
    "once": ({"uses": 1}, False),
    "a budget": ({"budget": {"rate": 1000.0}}, False),
    "for somebody": ({"sub": "ann", "ctx": {"order": 7}}, True),
}
"""Terms of a key, and whether the lane takes an upload with it."""


@pytest.mark.parametrize("terms", CLAIMS)
def test_what_a_key_says_holds_each_time(house: House, terms: str) -> None:
    """The lane knows the fields; what it may not take, or would refuse, it leaves to the general way."""
    claims, is_taken = CLAIMS[terms]
    warm = [put(native(house, f"/b/warm-{terms.replace(' ', '-')}-{number}")) for number in range(2)]
    told_alike(house, *warm)
    paths = [f"/b/key-{terms.replace(' ', '-')}-{number}" for number in range(TIMES)]
    said, kept = told_alike(house, *[put(native(house, path, **claims)) for path in paths])
    assert bool(kept) == is_taken, said[0]
    assert not is_taken or {one.status for one in said} == {201}
    for path in paths:
        kept_alike(house, path)


def test_a_key_that_was_tampered_with_opens_nothing(house: House) -> None:
    for dialect in ("native", "s3-v4"):
        sign = house.signer(dialect).put
        assert sign is not None
        good = [sign("b", f"tampered-{dialect}-{number}").url for number in range(4)]
        forged = [good[1][:-3] + ("AAA" if good[1][-3:] != "AAA" else "BBB"), good[2].replace("tampered", "elsewhere")]
        said, _ = told_alike(house, *map(put, (good[0], good[1], *forged, good[3])))
        assert [one.status < 300 for one in said] == [True, True, False, False, True]
        kept_alike(house, f"/b/elsewhere-{dialect}-2")


def test_pieces_of_requests_and_several_in_one_are_kept_alike(house: House) -> None:
    """A body behind its head, half a head, two uploads at once, an upload with a download behind it."""
    number = 0

    def upload(size: int = 12) -> bytes:
        nonlocal number
        number += 1
        return put(native(house, f"/b/piece-{number}"), b"y" * size)

    def say(lane: Laned, pieces: list[bytes], answers: int) -> list[int]:
        with lane.wire() as wire:
            for piece in pieces:
                wire.pour(piece)
                time.sleep(0.01)
            return [wire.answer().status for _ in range(answers)]

    one = upload()
    cut = one.index(b"\r\n\r\n") + 4
    read = head("GET", house.twins.fast.reading("/b/there"))
    cases: list[tuple[list[bytes], int]] = [
        ([upload(), one[:cut], one[cut:]], 2),
        ([upload(), upload()[:20]], 1),
        ([upload(), upload() + upload()], 3),
        ([upload() + read, upload(), read], 4),
        ([b"\r\n" + upload(), upload()], 2),
        ([upload(), upload() + b"\r\n", upload()], 3),
    ]
    for pieces, answers in cases:
        quick, slow = (say(lane, pieces, answers) for lane in house.twins)
        assert quick == slow
    for made in range(1, number + 1):
        kept_alike(house, f"/b/piece-{made}")


def presigned(house: House, base: str, path: str, *headers: tuple[str, str]) -> str:
    """A V4 URL for a PUT, by our own signer."""
    key = Key(house.keys["s3"]["access_key_id"], house.keys["s3"]["secret_access_key"].encode())
    asked = PresignRequest("PUT", base, path, headers)
    return presign_v4(key, asked, now=int(time.time()), expires=600, region=house.keys["s3"]["region"])


def test_a_length_that_only_one_kind_of_key_goes_by_is_no_other_ones(house: House) -> None:
    """Fields that a native key's upload has taught; for an S3 key they promise five bytes, and twelve come."""
    lines = "x-amz-decoded-content-length: 5"
    taught = [put(native(house, f"/b/decoded-{number}"), BODY, lines) for number in range(TIMES)]
    urls = [
        presigned(house, BASE, f"/b/decoded-s3-{number}", ("x-amz-decoded-content-length", "5")) for number in (1, 2)
    ]
    said, kept = told_alike(house, *taught, *[put(url, BODY, lines) for url in urls])
    assert kept >= 1
    assert [one.status for one in said] == [201] * TIMES + [400, 400]


def test_the_gateways_own_paths_are_no_objects_under_any_host(house: House) -> None:
    base = "http://b.s3.amazonaws.com"
    paths = ["/own-1", "/own-2", "/_valet/live", "/_valet/release", "/_valet/x", "/own-3"]
    said, kept = told_alike(house, *[put(presigned(house, base, path)) for path in paths])
    assert kept >= 1
    assert [one.status for one in said][2:4] == [405, 405]


def test_versions_and_other_methods_are_understood_alike(house: House) -> None:
    for version in ("1.0", "1.1"):
        paths = [f"/b/version-{version}-{number}" for number in range(TIMES)]
        told_alike(house, *[put(native(house, path), version=version) for path in paths])
    known = put(native(house, "/b/methods"))
    said, _ = told_alike(house, known, known, *[known.replace(b"PUT", name, 1) for name in (b"POST", b"put", b"PATCH")])
    assert [one.status < 300 for one in said] == [True, True, False, False, False]


NO_NAMES: Final = (
    "/b/", "/b", "/", "/b/a/../c", "/b/%2e%2e", "/b//x", "/b/" + "n" * 1_100, "/_valet/live", "/b/%ff", "/B%00/x",
)  # fmt: skip


def test_names_that_no_object_has_are_refused_alike(house: House) -> None:
    sign = house.signer("native").put
    assert sign is not None
    told_alike(house, *[put(native(house, f"/b/name-{number}")) for number in range(2)])
    for path in (
        "/b/",
        "/b",
        "/",
        "/b/a/../c",
        "/b/%2e%2e",
        "/b//x",
        "/b/" + "n" * 1_100,
        "/_valet/live",
        "/b/%ff",
        "/B%00/x",
    ):
        url = f"{path}?valet={native(house, '/b/name').partition('valet=')[2]}"
        told_alike(house, *[put(f"{BASE}{url}")] * 2)


def test_over_tls_and_by_a_unix_socket_uploads_are_kept(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    config = {"listen": {"tls-cert": str(cert), "tls-key": str(key), "hsts-seconds": 60}}
    with laned(tmp_path, config, cafile=cert) as lane, lane.wire() as wire:
        said = []
        for number in range(4):
            body = b"%d" % number
            request = put(f"https://gate.test{lane.reading(f'/b/{number}', ops=['write'])}", body)
            said.append(heard(wire, request))
            assert heard(wire, head("GET", lane.reading(f"/b/{number}"))).body == body
        assert {one.status for one in said} == {201}
        assert all(b"strict-transport-security" in one.head.lower() for one in said)
        assert lane.served_by()["upload"] >= 2


def uploads(lane: Laned, wire: Wire, times: int = 2) -> None:
    """Until the lane has kept so many."""
    before = lane.served_by()["upload"]
    for _ in range(50):
        assert heard(wire, put(lane.reading(path := f"/b/warm-{next(_names)}", ops=["write"]))).status == 201, path
        if lane.served_by()["upload"] - before >= times:
            time.sleep(0.01)
            return
    raise AssertionError("the lane keeps nothing")


def test_a_revocation_holds_for_the_next_upload(tmp_path: Path) -> None:
    with laned(tmp_path) as lane, lane.wire() as wire:
        uploads(lane, wire)
        target = lane.reading("/b/one", ops=["write"], jti="gone")
        assert heard(wire, put(target)).status == 201
        lane.gate.cli("revoke", "--subject", "nobody")
        assert heard(wire, put(target)).status == 200
        lane.gate.cli("revoke", target.partition("valet=")[2])
        deadline = time.monotonic() + 5
        while (said := heard(wire, put(target))).status == 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert said.code == "key_revoked"


def test_a_disk_that_fails_is_told_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    """The files' syncs are the kernel's, so what fails here is the folder's, after the name was given."""
    with laned(tmp_path) as lane, lane.wire() as wire:
        uploads(lane, wire)
        with faults(lane.gate, "inject=fsync,fdatasync,io_submit:error=EIO"):
            said = heard(wire, put(lane.reading("/b/lost", ops=["write"])))
        assert said.status in (500, 503, 507)
        lines = [line for line in lane.gate.audit() if line.get("object") == "/b/lost"]
        assert [line["event"] for line in lines] == ["decision", "transfer"]
        assert lines[1]["code"] == said.code
        assert not [path for path in (lane.gate.data / "state" / "tmp").rglob("*") if path.is_file()]


def test_a_client_that_leaves_at_once_is_told_about(tmp_path: Path) -> None:
    with laned(tmp_path) as lane:
        with lane.wire() as wire:
            uploads(lane, wire)
        for number in range(10):
            sock = socket.create_connection(lane.gate.address)
            sock.sendall(put(lane.reading(f"/b/left-{number}", ops=["write"])))
            sock.close()
        with lane.wire() as wire:
            uploads(lane, wire)
        lines = lane.gate.audit()
        for number in range(10):
            mine = [line["event"] for line in lines if line.get("object") == f"/b/left-{number}"]
            assert mine == ["decision", "transfer"]


def test_when_the_gateway_stops_every_upload_that_was_answered_is_there(tmp_path: Path) -> None:
    """With the lane full of them: none is half done, none is acknowledged and gone."""
    acknowledged: set[str] = set()
    with laned(tmp_path) as lane:
        with lane.wire() as wire:
            uploads(lane, wire)
        targets = {f"/b/stop-{n}": lane.reading(f"/b/stop-{n}", ops=["write"]) for n in range(4_000)}
        left = iter(targets.items())

        def work() -> None:
            with contextlib.suppress(Ended, OSError), lane.wire() as wire:
                for path, target in left_ones():
                    said = heard(wire, put(target, path.encode()))
                    if said.status == 201:
                        acknowledged.add(path)
                    if said.status != 201 or said.ended:
                        return

        lock = threading.Lock()

        def left_ones() -> Iterator[tuple[str, str]]:
            while True:
                with lock:
                    item = next(left, None)
                if item is None:
                    return
                yield item

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert lane.gate.process is not None
        lane.gate.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        lane.gate.process.wait(20)
    assert 8 < len(acknowledged) < len(targets)
    files = {f"/b/{path.name}": path.read_bytes() for path in tmp_path.rglob("stop-*") if path.is_file()}
    for path in acknowledged:
        assert files[path] == path.encode()
    assert all(body == path.encode() for path, body in files.items())
    lines = [json.loads(line) for line in (lane.gate.data / "audit.log").read_text().splitlines()]
    decided = {line["object"] for line in lines if line.get("decision") == "admitted"}
    assert acknowledged <= decided


def test_the_last_answer_says_that_it_is_the_last(tmp_path: Path) -> None:
    """Whoever ends its half of the connection behind an upload is answered, and the connection ends."""
    with laned(tmp_path) as lane:
        with lane.wire() as wire:
            uploads(lane, wire)
        with lane.wire() as wire:
            wire.pour(put(lane.reading("/b/last", ops=["write"])))
            wire.end_of_sending()
            assert b" 201 " in wire.rest()
