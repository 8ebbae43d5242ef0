"""The fast lane answers as the general way does: to the last header, to the audit, to the figures."""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.edge.doors import make_certificate
from tests.edge.lanes import TIMES, Laned, Said, Twins, heard, laned, request_of, same_audit, same_figures, twins
from tests.edge.wire import Wire, head
from tests.interop import signers
from tests.interop.signers import Request

BASE: Final = "http://gate.test"
SMALL_BYTES: Final = 64 * 1024
NAME: Final = "grüße/a b+c;d=1.txt"
PATH: Final = f"/b/{NAME}"
ORIGIN: Final = "https://page.test"
DIALECTS: Final = (
    "native", "s3-v4", "s3-v2", "gcs-v4", "gcs-v2", "azure", "swift", "cloudfront", "cloudfront-cookie",
)  # fmt: skip


class House(NamedTuple):
    """Twins, and what signs for both."""

    twins: Twins
    keys: dict[str, dict[str, Any]]

    def signed(self, dialect: str, name: str = NAME) -> Request:
        """A GET of an object of the bucket `b`."""
        scheme = dialect.partition("-")[0]
        key = self.keys[scheme]
        make: dict[str, Callable[[], signers.Signer]] = {
            "native": lambda: signers.native(key, BASE),
            "s3-v4": lambda: signers.s3(key, BASE, "s3v4"),
            "s3-v2": lambda: signers.s3(key, BASE, "s3"),
            "gcs-v4": lambda: signers.gcs(key, BASE, "v4"),
            "gcs-v2": lambda: signers.gcs(key, BASE, "v2"),
            "azure": lambda: signers.azure(key, BASE),
            "swift": lambda: signers.swift(key, BASE),
            "cloudfront": lambda: signers.cloudfront(key, BASE, cookie=False),
            "cloudfront-cookie": lambda: signers.cloudfront(key, BASE, cookie=True),
        }
        return make[dialect]().get("b", name)


def fill(keys: dict[str, dict[str, Any]], made: Laned) -> None:
    """All objects that are asked for, and a signing key of each dialect."""
    with ThreadPoolExecutor() as pool:
        schemes = ("native", "s3", "gcs", "azure", "swift", "cloudfront")
        keys |= zip(schemes, pool.map(partial(signers.make_key, made.gate.folder), schemes), strict=True)
    made.put(PATH, b"of all names", Content_Type="text/plain; charset=utf-8", X_Valet_Meta_Colour="red")
    made.put("/b/empty", b"")
    made.put("/b/one", b"1")
    made.put("/b/most", b"m" * SMALL_BYTES, Content_Type="application/octet-stream")
    made.put("/b/more", b"n" * (SMALL_BYTES + 1))
    made.put("/b/page.html", b"<script>", Content_Type="text/html", Content_Disposition='inline; filename="p.html"')
    made.put("/b/kept.gz", b"zip", Content_Encoding="gzip", Content_Language="de", Cache_Control="public, max-age=9",
             Expires="Thu, 01 Jan 2032 00:00:00 GMT", Content_Disposition='attachment; filename="grün.gz"')  # fmt: skip
    made.put("/shared/page", b"for pages")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Twins with CORS rules, and trusted proxies on a Unix socket."""
    folder = tmp_path_factory.mktemp("twins")
    keys: dict[str, dict[str, Any]] = {}
    config = {"listen": {"listen": ["127.0.0.1:0"], "hsts-seconds": 60}}
    rules = f'[[buckets.shared.cors]]\norigins = ["{ORIGIN}"]\nmethods = ["GET", "HEAD"]\n'
    with twins(folder, lambda made: fill(keys, made), config | {"limits": {}}, further=rules) as both:
        yield House(both, keys)
        same_audit(both)
        same_figures(both)


def ask(house: House, *requests: bytes, times: int = TIMES) -> tuple[list[Said], int]:
    """Each of these so often in a row, on one connection to either twin: what comes back, and what the lane served."""
    before = house.twins.fast.served()
    quick, slow = (_ask(one, requests, times) for one in house.twins)
    for number, (one, other) in enumerate(zip(quick, slow, strict=True)):
        assert one == other, f"answer {number}"
    return quick, house.twins.fast.served() - before


def _ask(lane: Laned, requests: Sequence[bytes], times: int) -> list[Said]:
    said, wire = [], lane.wire()
    for request in requests:
        for _ in range(times):
            said.append(heard(wire, request))
            if said[-1].ended:
                assert wire.is_ended()
                wire.sock.close()
                wire = lane.wire()
    wire.sock.close()
    return said


def by_lane(house: House, request: bytes) -> list[Said]:
    """The same for one request; asked until the lane has answered it twice.

    A client that is quick may ask again before its connection is at rest, and is answered the general way.
    """
    answers, served = ask(house, request)
    for _ in range(20):
        if served >= 2:
            break
        further, more = ask(house, request)
        answers, served = answers + further, served + more
    assert served >= 2, answers[0]
    return answers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_answered_alike_each_time_it_comes(house: House, dialect: str, method: str) -> None:
    """The general way, by known fields, and by heart; a HEAD is refused where a signature is for GET alone."""
    request = house.signed(dialect)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    text = request_of(request.url, method, *lines)
    said, served = ask(house, text, times=2)
    if said[0].status == 200:
        said += by_lane(house, text)
        assert said[0].body == (b"of all names" if method == "GET" else b"")
    else:
        assert method == "HEAD"
        assert served == 0
    assert len(set(said)) == 1


@pytest.mark.parametrize("carrier", ["query", "authorization", "cookie"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_native_key_opens_from_wherever_it_is_carried(house: House, carrier: str, method: str) -> None:
    """Query, Authorization, cookie; from the second request on by the lane."""
    where, _, token = house.twins.fast.reading(PATH).partition("?valet=")
    at = {
        "query": (f"{where}?valet={token}", []),
        "authorization": (where, [f"Authorization: Bearer {token}"]),
        "cookie": (where, [f"Cookie: theme=dark; valet={token}"]),
    }
    target, lines = at[carrier]
    by_lane(house, head(method, target, "User-Agent: x", *lines))


OBJECTS: Final = {
    "/b/empty": True, "/b/one": True, "/b/most": True, "/b/more": False, "/b/page.html": True, "/b/kept.gz": True,
}  # fmt: skip
"""Whether the lane serves it."""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", OBJECTS)
def test_sizes_types_and_stored_headers_are_answered_alike(house: House, path: str, method: str) -> None:
    """Up to 64 KiB by the lane, one byte more by the general way; an HTML page is offered for saving by both."""
    request = head(method, house.twins.fast.reading(path))
    said, served = (by_lane(house, request), 0) if OBJECTS[path] else ask(house, request)
    assert {answer.status for answer in said} == {200}
    assert served == 0


OVERRIDES: Final = (
    {"content-type": "text/html", "content-disposition": 'inline; filename="über.html"'},
    {"content-type": "image/svg+xml"},
    {"cache-control": "no-store", "expires": "0", "content-language": "fr", "content-encoding": "br"},
)


def test_what_a_key_sets_of_an_answer_is_said_to_that_key_alone(house: House) -> None:
    """Keys with other overrides, and with none, on one object and one connection, in turn."""
    reading = house.twins.fast.reading
    targets = [reading("/b/one", response=response) for response in OVERRIDES] + [reading("/b/one")]
    requests = [head(method, target) for target in targets for method in ("GET", "HEAD")]
    first, _ = ask(house, *requests, times=1)
    again, _ = ask(house, *requests, times=1)
    assert first == again
    for _ in range(20):  # a client that is quick may ask before its connection is at rest
        third, served = ask(house, *requests, times=1)
        assert third == first
        if served:
            break
    assert served >= 1
    assert len({said.head for said in first}) == len(targets)


def test_conditions_ranges_and_origins_take_the_general_way(house: House) -> None:
    """What may change an answer beside its key is never served by the lane, and so is answered as ever."""
    target = house.twins.fast.reading("/shared/page")
    plain, _ = ask(house, head("GET", target))
    etag = re.search(rb'ETag: ("[^"]+")', plain[0].head)
    assert etag is not None
    lines = (
        "Range: bytes=0-1", "Range: bytes=99-", "If-None-Match: *", f"If-None-Match: {etag[1].decode()}",
        'If-Match: "other"', "If-Modified-Since: Thu, 01 Jan 2032 00:00:00 GMT", "If-Unmodified-Since: 0",
        f"Origin: {ORIGIN}", "Origin: https://other.test", "Accept: text/plain\r\nX-Amz-Checksum-Mode: ENABLED",
        "Content-Length: 0", "Expect: 100-continue", "Upgrade: h2c", "Content-Type: text/plain", "TE: trailers",
    )  # fmt: skip
    requests = [head(method, target, line) for line in lines for method in ("GET", "HEAD")]
    said, served = ask(house, *requests)
    assert served == 0
    assert {answer.status for answer in said} >= {200, 206, 304, 412, 416}


def test_rules_for_other_origins_are_told_alike(house: House) -> None:
    """`Vary: Origin` where a bucket has CORS rules, also where no Origin is sent."""
    said = by_lane(house, head("GET", house.twins.fast.reading("/shared/page")))
    assert b"\r\nVary: Origin\r\n" in said[-1].head


def test_versions_and_ends_of_connections_are_alike(house: House) -> None:
    """HTTP/1.0, with and without keep-alive, and Connection: close: what the one closes, the other does."""
    target = house.twins.fast.reading("/b/one")
    requests = [
        head("GET", target),
        head("GET", target, "Connection: close"),
        head("GET", target, "Connection: keep-alive"),
        head("GET", target, version="1.0"),
        head("GET", target, "Connection: keep-alive", version="1.0"),
        head("GET", target, "Connection: keep-alive"),
        head("HEAD", target, "Connection: Close"),
        head("GET", target, "Connection: keep-alive, close"),
        head("GET", target, host=None),
        head("GET", target, host="gate.test:80"),
        head("GET", target, host="GATE.test"),
        b"\r\n" + head("GET", target),
    ]
    ask(house, *requests)
    ask(house, *reversed(requests), times=2)


TARGETS: Final = (
    "/b/one?{key}", "/b//one?{key}", "/b/%6Fne?{key}", "/%62/one?{key}", "/b/one?x=1&{key}", "/b/one?{key}&y",
    "/b/./one?{key}", "/b/../b/one?{key}", "/b/one/?{key}", "/b/one;v=1?{key}", "/b/%2e/one?{key}", "/b/o%00ne?{key}",
    "/b/one%?{key}", "/b/%FFne?{key}", "/b/one?{key}&{key}", "/b/one?valet=", "/b/one?Valet=x&{key}",
    "/b/one?{key}&x=%zz",
    "//b/one?{key}", "/B/one?{key}", "/b/one?{key}#f", "/b?{key}", "/b/?{key}", "/?{key}", "/b/?list&{key}",
    "/_valet/live?{key}", "/_valet/echo/x?{key}", "/_valet/release?{key}", "/b/one?{key}&X-Amz-Signature=x",
    "/b/one?{key}&list=", "/b/one?{key}?", "/b/one'?{key}", "/b/%E2%82%ACuro?{key}", "/b/one??{key}",
)  # fmt: skip


def test_targets_are_understood_alike(house: House) -> None:
    """Encoded, doubled, dotted, with more parameters, of the gateway's own: with a key that opens all below /."""
    token = house.twins.fast.opening("/").partition("?")[2]
    requests = [head(method, text.format(key=token)) for text in TARGETS for method in ("GET", "HEAD")]
    said, _ = ask(house, head("GET", f"/b/one?{token}"), *requests, times=2)
    assert {answer.status for answer in said} >= {200, 400, 404}


def test_a_line_longer_than_the_parser_takes_is_refused_by_both(house: House) -> None:
    """The lane has no longer arms than the parser."""
    target = house.twins.fast.reading("/b/one")
    for count in (4_000, 9_000, 17_000):
        said, _ = ask(house, head("GET", target), head("GET", f"{target}&x={'a' * count}"), times=2)
        assert said[-1].status == (200 if count < 10_000 else 431)


FIELDS: Final = (
    ("User-Agent: curl/8", "Accept: */*"),
    ("Accept: */*", "User-Agent: curl/8"),
    ("user-agent:  eyJ0.eyJ0.abc  ",),
    ("User-Agent: Bearer eyJhbGciOiJIUzI1NiJ9.eyJhbGciOiJIUzI1NiJ9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",),
    ("User-Agent: grüße",),
    ("User-Agent: " + "long/1 " * 99,),
    ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: other.test"),
    ("Cookie: valet=nonsense",),
    ("Authorization: Basic eDp5",),
    ("Authorization: Bearer x.y.z",),
    ("Referer: https://a.test/", "Sec-Fetch-Mode: navigate", "DNT: 1"),
)


@pytest.mark.parametrize("fields", FIELDS)
def test_fields_change_what_they_change_the_other_way(house: House, fields: tuple[str, ...]) -> None:
    """Order, user agents with keys in them, forwarded addresses that nobody vouches for, further credentials."""
    target = house.twins.fast.reading("/b/one")
    ask(house, head("GET", target), head("GET", target, *fields), head("HEAD", target, *fields))


def test_a_later_upload_is_what_the_next_answer_shows(tmp_path: Path) -> None:
    """PUT and GET in turn on one connection: never a state that is over, be it as new as it may."""
    with laned(tmp_path) as lane, lane.wire() as wire:
        target, before = lane.reading("/b/x", ops=["read", "write"]), lane.served()
        for number in range(30):
            body = b"%04d" % number
            stored = heard(wire, head("PUT", target, "Content-Length: 4") + body)
            assert stored.status in (200, 201)
            for _ in range(2):
                assert heard(wire, head("GET", target)).body == body
        assert lane.served() - before > 5


def test_over_tls_and_by_a_unix_socket_answers_are_alike(tmp_path: Path) -> None:
    """HSTS over TLS; no address by a Unix socket, but the one that a trusted proxy there tells."""
    cert, key = make_certificate(tmp_path)
    config = {
        "listen": {
            "listen": ["127.0.0.1:0"], "tls-cert": str(cert), "tls-key": str(key), "hsts-seconds": 60,
            "trusted-proxies": ["unix"],
        }
    }  # fmt: skip

    def prepare(made: Laned) -> None:
        made.put("/b/one", b"1")

    args = ("--listen", "127.0.0.1:0", "--listen", "unix:gate.sock")
    with twins(tmp_path, prepare, config, args=args, cafile=cert) as both:
        bound = both.fast.reading("/b/one", ip="192.0.2.0/24")
        free = both.fast.reading("/b/one", https=True)
        asked = {"tls": [head("GET", free), head("GET", bound)], "unix": []}
        for said in ("192.0.2.7", "192.0.2.8", "198.51.100.1", "nonsense", "198.51.100.1, 192.0.2.9"):
            asked["unix"] += [head("GET", bound, f"X-Forwarded-For: {said}") for _ in range(TIMES)]
        asked["unix"] += [head("GET", free), head("GET", free, "X-Forwarded-Proto: https")] * TIMES
        before, answers = both.fast.served(), []
        for one in (both.fast, both.plain):
            said_here = []
            for way in ("tls", "unix"):
                path = str(one.gate.folder / "gate.sock")
                wire = one.wire() if way == "tls" else Wire(path)
                said_here += [heard(wire, request) for request in asked[way] for _ in range(TIMES)]
            answers.append(said_here)
        assert answers[0] == answers[1]
        assert {said.code for said in answers[0]} == {"", "source_not_allowed", "https_required"}
        assert both.fast.served() - before > TIMES
        same_audit(both)


def test_a_page_that_is_known_is_answered_to_each_key_as_to_itself(house: House) -> None:
    """Fresh keys on one path, of every kind that could be mistaken for the one before: answers, audit, figures."""
    reading, now = house.twins.fast.reading, int(time.time())
    plain = [reading("/b/one", jti=f"page-{number}") for number in range(6)]
    once = [reading("/b/one", uses=1, jti=f"page-once-{number}", iat=now) for number in range(6)]
    others = [
        reading("/b/one", sub="someone", jti="page-sub"),
        reading("/b/one", ctx={"order": 7}, jti="page-ctx"),
        reading("/b/one", response={"content-type": "text/plain"}, jti="page-response"),
        reading("/b/one", ip=["192.0.2.0/24"], jti="page-ip"),
        reading("/b/one", https=True, jti="page-https"),
        reading("/b/one", headers={"x-needed": "1"}, jti="page-headers"),
        reading("/b/one", exp=now - 60, jti="page-expired"),
        reading("/b/one", nbf=now + 600, jti="page-early"),
        reading("/b/one", ops=["write"], jti="page-write"),
        reading("/b/one", budget={"rate": 100}, jti="page-budget"),
        reading("/b/most", jti="page-path").replace("/b/most", "/b/one"),
        reading("/b/one", jti="page-cut")[:-1],
        reading("/b/one", jti="page-forged")[:-4] + "AAAA",
        reading("/b/one", jti="page-two") + ".x",
        reading("/b/one", aud="elsewhere", jti="page-aud"),
        reading("/b/one", surprise=1, jti="page-claim"),
        reading("/b/one?valet=x", jti="page-twice"),
    ]
    requests = [head("GET", key) for key in (*plain, *once)]
    for other in others:  # each between two that are plain
        after = reading("/b/one", jti=f"page-{len(requests)}")
        requests += [head("GET", other), head("HEAD", other), head("GET", after)]
    requests += [head("GET", once[0]), head("HEAD", once[1]), head("HEAD", reading("/b/one", jti="page-head"))]
    said, served = ask(house, *requests, times=1)
    assert [one.status for one in said[:12]] == [200] * 12
    assert [one.code for one in said[-3:-1]] == ["key_used", "key_used"]
    assert served >= 24  # the plain ones and the single uses


SUBJECTS: Final = ("user-1", "user-2", 'a "b" \\c', "grüße", "x" * 256, "y" * 257, "%b %s", "user-3", "user-4")


def test_keys_of_many_subjects_share_a_page(house: House) -> None:
    """Each has its own in the audit, however it is written; and those without any between them."""
    fast, mark = house.twins.fast, "Accept: of/subjects"
    before = fast.served_by()["page"]
    for turn in range(4):
        keys = [fast.reading("/b/one", sub=subject, jti=f"sub-{turn}-{subject[:9]}") for subject in SUBJECTS]
        keys.append(fast.reading("/b/one", jti=f"no-sub-{turn}"))
        keys.append(fast.reading("/b/one", sub="user-5", uses=1, iat=int(time.time()), jti=f"sub-once-{turn}"))
        said, _ = ask(house, *(head("GET", key, mark) for key in keys), times=1)
        assert {one.status for one in said} == {200}
    assert fast.served_by()["page"] - before >= 12


def test_a_page_goes_to_the_kind_of_key_that_comes_most(tmp_path: Path) -> None:
    """One that has little in common with the others does not keep it from them."""
    with laned(tmp_path) as lane, lane.wire() as wire:
        lane.put("/b/one", b"one")
        odd = {"cache-control": "no-store"}
        for number in range(6):
            assert heard(wire, head("GET", lane.reading("/b/one", response=odd, jti=f"odd-{number}"))).body == b"one"
        before = lane.served_by()["page"]
        for number in range(60):
            assert heard(wire, head("GET", lane.reading("/b/one", jti=f"usual-{number}"))).body == b"one"
        assert lane.served_by()["page"] - before >= 20


def test_clients_of_many_addresses_share_a_page(tmp_path: Path) -> None:
    """Each is judged and told of by its own."""
    with laned(tmp_path) as lane, lane.wire() as wire, Wire(lane.gate.address, source="127.0.0.2") as other:
        lane.put("/b/one", b"one")
        lane.warm(wire, head("GET", lane.reading("/b/one", jti="first")))
        before, lines = lane.served_by()["page"], len(lane.gate.audit())
        for turn in range(8):
            for client in (wire, other):
                assert heard(client, head("GET", lane.reading("/b/one", jti=f"{turn}-{id(client)}"))).body == b"one"
        assert lane.served_by()["page"] - before >= 12
        told = [line["address"] for line in lane.gate.audit()[lines:] if line["event"] == "decision"]
        assert told == ["127.0.0.1", "127.0.0.2"] * 8
        here = {"ip": "127.0.0.1/32", "jti": "bound"}
        assert heard(other, head("GET", lane.reading("/b/one", **here))).code == "source_not_allowed"
        assert heard(wire, head("GET", lane.reading("/b/one", **here))).body == b"one"
        again = head("GET", lane.reading("/b/one", jti="again"))
        for client in (other, wire) * 4:
            assert heard(client, again).body == b"one"
        told = [line["address"] for line in lane.gate.audit() if line["event"] == "decision"]
        assert told[-8:] == ["127.0.0.2", "127.0.0.1"] * 4


def test_a_key_that_comes_again_on_a_known_page_is_soon_known_whole(tmp_path: Path) -> None:
    """What it opens was found out for another key; from its third time on its own signature is known too."""
    with laned(tmp_path) as lane, lane.wire() as wire:
        lane.put("/b/one", b"one")
        lane.warm(wire, head("GET", lane.reading("/b/one", jti="first")))
        other = head("GET", lane.reading("/b/one", jti="other"))
        before = lane.served_by()
        lane.warm(wire, other, times=9)
        after = lane.served_by()
        assert after["page"] - before["page"] == 2
        assert after["fields"] - before["fields"] == 0
        assert after["head"] - before["head"] >= 6


def test_a_large_object_is_left_alone_until_it_is_small(tmp_path: Path) -> None:
    """By head and by page; and a small one that grows is answered whole."""
    with laned(tmp_path) as lane, lane.wire() as wire:
        request = head("GET", lane.reading("/b/one"))
        large = b"x" * (SMALL_BYTES + 1)
        for body in (large, b"one", large, b"two"):
            lane.put("/b/one", body)
            before = lane.served()
            for _ in range(5):
                assert heard(wire, request).body == body
                assert heard(wire, head("GET", lane.reading("/b/one", jti=secrets.token_hex(4)))).body == body
            if body == large:
                assert lane.served() == before
            else:
                lane.warm(wire, request, times=3)
