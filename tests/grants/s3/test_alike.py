"""URLs that are like one that was proven: judged as if nothing had been before."""

import gc
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pytest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tests.grants.s3.stranger import ENDPOINT, HOST, RULES, arriving, identity, presigned, prove_url, ring, ring_of
from valetstore.errors import Denied
from valetstore.frame import forget
from valetstore.grants import sigv4
from valetstore.grants.grant import Grant, Profile
from valetstore.grants.presign import Request
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import alike, session, v4
from valetstore.grants.s3.rules import Rules
from valetstore.grants.s3.scheme import S3
from valetstore.grants.s3.sign import Key, presign_v4
from valetstore.grants.sigv4 import AWS, stamp_of
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.policy.request import enforce

NOW: Final = int(datetime.now(UTC).timestamp())
TODAY: Final = stamp_of(NOW)[:8]
KEY: Final = Key(identity().access_key, identity().secret_key.encode())
SESSION: Final = session.mint(KEY.access_key_id, KEY.secret, NOW + 600)
RINGS: Final = (
    ring(),
    ring_of(identity(), Profile(operations=("read",))),
    ring_of(identity(), Profile(), NOW - 1),
    KeyRing(),
)
SETS: Final = (RULES, Rules(region="eu-west-1"), Rules(hosts=("files.example.org",)))

PATHS: Final = (
    "/photos/a", "/photos/b", "/photos/a%20b", "/photos/%C3%A4", "/photos/%ff", "/photos/../x", "/photos/", "/photos",
    "/", "/-no/a", "/_valet/x", "//a", "/other/photos/a",
)  # fmt: skip
QUERIES: Final = ("", "&x-valet-uses=1", "&response-content-type=text%2Fcsv", "&acl=", "&uploadId=abc&partNumber=1")
HEADERS: Final = (
    (), (("content-length", "5"),), (("content-length", "6"), ("content-type", "text/plain")), (("cookie", "a=b"),),
    (("content-length", "x"),), (("x-amz-acl", "private"),), (("x-amz-copy-source", "/photos/b"),),
    (("x-amz-content-sha256", "ab" * 32),), (("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),),
    (("x-amz-date", stamp_of(NOW)),),
    (("authorization", "Bearer x"),), (("x-amz-security-token", SESSION.session_token),),
)  # fmt: skip
DATES: Final = (
    stamp_of(NOW - 1), stamp_of(NOW - 600), stamp_of(NOW - 601), stamp_of(NOW + 901), stamp_of(NOW - 86_400),
    stamp_of(NOW)[:9] + "240000Z", stamp_of(NOW)[:9] + "126000Z", "20260230T120000Z", "2026-11-21",
)  # fmt: skip
HOSTS: Final = (HOST, "127.0.0.1", "photos.files.example.org", "other")


class Sent(NamedTuple):
    """One request, and by what it is judged."""

    signed_as: str = "PUT"
    sent_as: str = "PUT"
    path: str = "/photos/a"
    date: str = stamp_of(NOW)
    expires: int = 600
    first: str = ""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    host: str = HOST
    tls: bool = False
    spoiled: int = -1
    ring: KeyRing = RINGS[0]
    rules: Rules = RULES

    def inbound(self) -> Inbound:
        """As it arrives."""
        url = self._query()
        if self.spoiled >= 0:
            at = url.index("X-Amz-Signature=") + len("X-Amz-Signature=") + self.spoiled
            url = url[:at] + ("0" if url[at] != "0" else "1") + url[at + 1 :]
        pairs = (("Host", self.host), *self.headers)
        return arriving(self.sent_as, f"{ENDPOINT}{self.path}?{url}", pairs, tls=self.tls, now=NOW)

    def _query(self) -> str:
        """Signed for this raw path, date and Host, whatever signers think of them, by the key of today."""
        asked = Request(self.signed_as, ENDPOINT, "/")
        front = presign_v4(KEY, asked, now=NOW, expires=self.expires, region="us-east-1")
        front = front.partition("?")[2].partition("&X-Amz-Signature=")[0].replace(stamp_of(NOW), self.date)
        front = self.first + front + self.query
        query = "&".join(sorted(front.split("&")))
        lines = (self.signed_as, self.path, query, f"host:{self.host}", "", "host", "UNSIGNED-PAYLOAD")
        today = sigv4.Signed(stamp_of(NOW), "us-east-1", ("host",), (), (), b"")
        text = sigv4.string_to_sign(AWS, today, "\n".join(lines).encode())
        text = text.replace(stamp_of(NOW).encode(), self.date.encode(), 1)
        return f"{front}&X-Amz-Signature={sigv4.mac(AWS, KEY.secret, today, text).hex()}"


def judged(sent: Sent) -> list[object]:
    """What comes of it, in all that anybody is told or goes by."""
    scheme, inbound = S3(sent.rules), sent.inbound()
    said: list[object] = []
    try:
        credential = recognise(inbound, [scheme])
        said.append(intent := scheme.intent(inbound))
        proof = scheme.verify(inbound, credential, sent.ring, intent)
        said += [proof.grant, proof.limits, type(proof.body)]
        enforce(proof.grant.narrowed_by(proof.limits), intent, inbound)
    except Denied as denied:
        said.append((denied.code, denied.detail, denied.evidence))
    return said


REQUESTS: Final = st.builds(
    Sent,
    signed_as=st.sampled_from(["PUT", "PUT", "GET"]),
    sent_as=st.sampled_from(["PUT", "PUT", "GET", "HEAD", "DELETE"]),
    path=st.sampled_from(PATHS),
    date=st.sampled_from([stamp_of(NOW), stamp_of(NOW), *DATES]),
    expires=st.sampled_from([600, 600, 600, 0]),
    first=st.sampled_from(["", "", "a=1&X-Goog-Date=20261121T162318Z&", "X-Amz-Date=20261121T162318Z&"]),
    query=st.sampled_from(["", "", *QUERIES]),
    headers=st.sampled_from([HEADERS[1], *HEADERS]),
    host=st.sampled_from([HOST, HOST, *HOSTS]),
    tls=st.booleans(),
    spoiled=st.sampled_from([-1, -1, -1, 0, 63]),
    ring=st.sampled_from([RINGS[0], *RINGS]),
    rules=st.sampled_from([RULES, *SETS]),
)


@given(st.lists(st.tuples(REQUESTS, st.integers(1, 3)), min_size=2, max_size=6))
def test_whatever_came_before_a_request_is_judged_as_if_nothing_had(turns: list[tuple[Sent, int]]) -> None:
    forget()
    after_others = [[judged(sent) for _ in range(times)] for sent, times in turns]
    for (sent, _), told in zip(turns, after_others, strict=True):
        forget()
        alone = judged(sent)
        assert all(one == alone for one in told)


def proven_before(first: Sent, then: Sent) -> bool:
    """Whether the second is let in by what was proven of the first."""
    forget()
    judged(first)
    judged(first)
    return alike.proven_as_before(then.inbound(), then.rules, then.ring) is not None


def test_it_takes_another_path_with_a_signature_of_its_own() -> None:
    usual = Sent(headers=HEADERS[1])
    assert proven_before(usual, usual)
    assert proven_before(usual, usual._replace(path="/photos/b"))
    assert judged(usual._replace(path="/photos/b")) != judged(usual)


def test_it_takes_another_date_of_the_day_which_decides_when_it_is_valid() -> None:
    usual = Sent(headers=HEADERS[1], date=f"{TODAY}T120000Z")
    later = usual._replace(date=f"{TODAY}T120001Z", path="/photos/b")
    assert proven_before(usual, later)
    proven = alike.proven_as_before(later.inbound(), later.rules, later.ring)
    forget()
    assert proven == v4.verify_query(later.inbound(), later.rules, later.ring)


@pytest.mark.parametrize(
    "usual",
    [
        Sent(headers=HEADERS[3]),
        Sent(headers=HEADERS[3], query="&response-content-type=text%2fcsv"),
        Sent(first="a=1&X-Goog-Date=20261121T162318Z&"),
    ],
    ids=["cookie", "written in another way", "another vendor's date"],
)
def test_what_is_read_each_time_is_read_with_its_own_date(usual: Sent) -> None:
    forget()
    for second in range(4):
        sent = usual._replace(date=f"{TODAY}T12000{second}Z")
        proven = v4.verify_query(sent.inbound(), sent.rules, sent.ring)
        assert proven.issued_at == sigv4.moment_of(sent.date)


@pytest.mark.parametrize(
    "change",
    [
        {"spoiled": 0},
        {"spoiled": 63},
        {"sent_as": "GET"},
        {"headers": HEADERS[2]},
        {"headers": ()},
        {"host": "other"},
        {"tls": True},
        {"ring": RINGS[1]},
        {"rules": SETS[2]},
        {"query": QUERIES[1]},
        {"expires": 599},
        {"date": DATES[4]},
        {"date": DATES[5]},
        {"date": DATES[6]},
        {"date": DATES[7]},
        {"date": DATES[8]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_it_takes_nothing_that_differs_in_more(change: dict[str, object]) -> None:
    usual = Sent(headers=HEADERS[1])
    assert not proven_before(usual, usual._replace(**change))  # type: ignore[arg-type]


def test_a_header_that_says_the_date_again_says_it_of_one_url_alone() -> None:
    usual = Sent(headers=(("x-amz-date", stamp_of(NOW)),))
    forget()
    for _ in range(3):
        assert isinstance(judged(usual)[1], Grant)
    with pytest.raises(Denied, match="not signed"):
        prove_url(usual._replace(date=DATES[0]).inbound())


@pytest.mark.parametrize("headers", [HEADERS[3], (("x-long", "a" * 2000),)], ids=["cookie", "long"])
def test_it_keeps_no_cookies_and_nothing_long(headers: tuple[tuple[str, str], ...]) -> None:
    usual = Sent(headers=headers)
    assert not proven_before(usual, usual)


def test_a_ring_that_was_replaced_is_not_kept() -> None:
    usual = Sent(headers=HEADERS[1], ring=ring_of(identity(), Profile()))
    assert proven_before(usual, usual)
    replaced = weakref.ref(usual.ring)
    del usual
    gc.collect()
    assert replaced() is None


def test_a_bucket_in_the_host_is_read_each_time() -> None:
    usual = Sent(host="photos.files.example.org", rules=SETS[2], headers=HEADERS[1])
    assert proven_before(usual, usual._replace(path="/b/c"))
    inbound = usual._replace(path="/b/c").inbound()
    assert S3(SETS[2]).intent(inbound).path == "/photos/b/c"


def test_a_session_is_asked_each_time() -> None:
    temporary = Credentials(SESSION.access_key_id, SESSION.secret_access_key, SESSION.session_token)
    url = presigned("PUT", credentials=temporary)
    assert not any(proven_before_by_url(url))
    with pytest.raises(Denied, match="session is over"):
        prove_url(arriving("PUT", url, now=NOW + 601))


def test_chunks_are_proven_by_a_state_of_their_own() -> None:
    payload, sent = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", (("x-amz-decoded-content-length", "5"),)
    request = Request("PUT", ENDPOINT, "/photos/a", headers=sent, payload=payload)
    url = presign_v4(KEY, request, now=NOW, expires=600, region="us-east-1")
    assert not any(proven_before_by_url(url, dict(sent)))
    assert prove_url(arriving("PUT", url, sent, now=NOW)).body is not None


def proven_before_by_url(url: str, headers: Mapping[str, str] | None = None) -> Iterator[bool]:
    """Whether a URL, proven again and again, is let in by what was proven of it before."""
    forget()
    for _ in range(3):
        inbound = arriving("PUT", url, headers or {}, now=NOW)
        prove_url(inbound)
        yield alike.proven_as_before(inbound, RULES, ring()) is not None
