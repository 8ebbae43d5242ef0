"""Presigned URLs of version 4 that nobody has met share a page: they come to what the general way makes of them."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.edge.lanes import Laned, Said, Twins, heard, laned, request_of, same_audit, same_figures, twins
from tests.interop import signers
from valetstore.grants.gcs.sign import Key as GoogleKey
from valetstore.grants.gcs.sign import sign_v4
from valetstore.grants.presign import Request
from valetstore.grants.s3.sign import Key, presign_v4

BASE: Final = "http://gate.test"
LIFE: Final = 86_400
OBJECTS: Final = 30
Sign = Callable[..., str]


class House(NamedTuple):
    """Twins, and what signs for both: a path, so many seconds ago, and perhaps another life, method or parameters."""

    twins: Twins
    signs: dict[str, Sign]


def by_amazon(key: dict[str, Any]) -> Sign:
    """S3's."""
    by = Key(key["access_key_id"], key["secret_access_key"].encode())

    def sign(path: str, ago: int, life: int = LIFE, method: str = "GET", **more: Any) -> str:
        now = int(time.time()) - ago
        return presign_v4(by, Request(method, BASE, path, **more), now=now, expires=life, region=key["region"])

    return sign


def by_google(key: dict[str, Any]) -> Sign:
    """Google's, by a service account."""
    account = json.loads(Path(key["service_account_file"]).read_text())
    private = load_pem_private_key(account["private_key"].encode(), None)
    assert isinstance(private, RSAPrivateKey)
    by = GoogleKey(account["client_email"], private)

    def sign(path: str, ago: int, life: int = LIFE, method: str = "GET", **more: Any) -> str:
        return sign_v4(by, Request(method, BASE, path, **more), now=int(time.time()) - ago, expires=life)

    return sign


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Twins with two objects."""
    signs: dict[str, Sign] = {}

    def fill(made: Laned) -> None:
        signs["s3"] = by_amazon(signers.make_key(made.gate.folder, "s3"))
        signs["gcs"] = by_google(signers.make_key(made.gate.folder, "gcs"))
        made.put("/b/one", b"one", Content_Type="text/plain", X_Valet_Meta_Colour="red")
        made.put("/b/two", b"two")
        for number in range(OBJECTS):
            made.put(f"/b/many/{number}", b"%d" % number, **({"Content_Disposition": "inline"} if number % 2 else {}))

    with twins(tmp_path_factory.mktemp("signed"), fill) as both:
        yield House(both, signs)
        same_audit(both)
        same_figures(both)


def ask(house: House, *requests: bytes, way: str = "page") -> tuple[list[Said], int]:
    """Each once, on one connection to either twin: what comes back, and how many of them were answered in this way."""
    before = house.twins.fast.served_by()[way]
    quick, slow = list[Said](), list[Said]()
    for lane, said in zip(house.twins, (quick, slow), strict=True):
        wire = lane.wire()
        for request in requests:
            said.append(heard(wire, request))
            if said[-1].ended:
                wire.sock.close()
                wire = lane.wire()
            time.sleep(0.002)  # who asks before the connection is at rest is answered the general way
        wire.sock.close()
    for number, (one, other) in enumerate(zip(quick, slow, strict=True)):
        assert one == other, f"answer {number}"
    return quick, house.twins.fast.served_by()[way] - before


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("dialect", ["s3", "gcs"])
def test_urls_of_other_dates_share_a_page(house: House, dialect: str, method: str) -> None:
    """Each is verified: those that are forged, over, or for something else are between those that are served."""
    sign = house.signs[dialect]
    usual = [request_of(sign("/b/one", 100 + number, method=method), method) for number in range(40)]
    said, pages = ask(house, *usual[:20])
    assert {one.status for one in said} == {200}
    assert {one.body for one in said} == {b"one" if method == "GET" else b""}
    assert pages >= 10
    others = [request_of(url, method) for url in _others(sign, dialect, method)]
    between = [text for pair in zip(others, usual[20:], strict=False) for text in pair]
    said, pages = ask(house, *between)
    assert {one.status for one in said[1::2]} == {200}
    assert {one.status for one in said[::2]} >= {200, 400, 403}
    assert pages >= len(others) // 2


def _others(sign: Sign, dialect: str, method: str) -> Iterator[str]:
    """URLs that could be mistaken for one that is usual."""
    name = {"s3": "Amz", "gcs": "Goog"}[dialect]
    url = sign("/b/one", 7, method=method)
    front, _, signature = url.partition(f"X-{name}-Signature=")
    stamp = f"X-{name}-Date=2"
    yield sign("/b/one", 5_000, 60, method=method)
    yield sign("/b/one", -5_000, method=method)
    yield sign("/b/two", 8, method=method).replace("/b/two", "/b/one")
    yield url.replace(stamp, f"X-{name}-Date=1")
    yield url[:-1] + ("0" if url[-1] != "0" else "1")
    yield front + f"X-{name}-Signature=" + signature.upper()
    yield url + f"&X-{name}-Signature={signature}"
    yield url + "&X-Id=GetObject"
    yield url.replace(f"X-{name}-Signature", f"X-{name.lower()}-signature")
    yield sign("/b/two", 8, method=method)
    yield sign("/b/one", 9, LIFE - 1, method=method)
    yield sign("/b/one", 10, method=method, parameters=[("response-content-type", "text/html")])
    yield sign("/b/one", 11, method=method, parameters=[("response-content-type", "text/html")])
    yield sign("/b/one", 12, method=method, parameters=[("partNumber", "1")])
    yield sign("/b/one", 13, method=method, parameters=[("x-id", "GetObject")])
    yield sign("/b/one", 14, method="PUT")
    yield sign("/b/one", 15, method=method) + "&valet=x"


def test_urls_of_other_objects_are_answered_by_their_fields(house: House) -> None:
    """S3's, whatever else they say; what asks for more than the whole object takes the general way."""
    sign = house.signs["s3"]
    usual = [sign(f"/b/many/{number}", 100 + number) for number in range(OBJECTS)]
    said, served = ask(house, *map(request_of, usual), way="fields")
    assert [one.body for one in said] == [b"%d" % number for number in range(OBJECTS)]
    assert served >= OBJECTS // 2
    said, served = ask(
        house, *(request_of(sign(f"/b/many/{n}", n, method="HEAD"), "HEAD") for n in range(9)), way="fields"
    )
    assert {one.status for one in said} == {200}
    assert served >= 4
    served_further = [("x-id", "GetObject"), ("response-content-type", "text/html"), ("x-valet-ip", "127.0.0.0/8")]
    general = [("partNumber", "1"), ("versionId", "null"), ("versionId", "x"), ("X-Amz-Checksum-Mode", "ENABLED")]
    general += [("uploadId", "x"), ("acl", ""), ("X-Amz-Foo", "x"), ("x-valet-ip", "192.0.2.0/24"), ("x-valet-no", "1")]
    for pair in served_further + general:
        urls = [sign(f"/b/many/{number}", 50 + number, parameters=[pair]) for number in range(9)]
        said, served = ask(house, *map(request_of, urls), way="fields")
        assert (served >= 4) == (pair in served_further), pair
    missing = [request_of(sign(f"/b/none/{number}", number)) for number in range(5)]
    said, served = ask(house, *missing, request_of(usual[0].replace("/many/0", "/many/1")), way="fields")
    assert [one.status for one in said] == [404] * 5 + [403]
    assert not served


def test_a_url_with_one_use_opens_once(house: House) -> None:
    """By its fields: the use is durable before the first byte, and the second time is refused in S3's words."""
    sign = house.signs["s3"]
    once = [("x-valet-uses", "1")]
    urls = [sign("/b/one", 200 + number, parameters=once) for number in range(20)]
    urls += [sign(f"/b/many/{number}", 300 + number, parameters=once) for number in range(10)]
    said, served = ask(house, *map(request_of, urls), way="fields")
    assert {one.status for one in said} == {200}
    assert served >= 15
    said, served = ask(house, *map(request_of, urls), way="fields")
    assert {one.code for one in said} == {"key_used"}
    assert not served


def test_a_page_of_signed_urls_is_of_its_object_as_it_is(tmp_path: Path) -> None:
    """What is stored meanwhile is what the next URL shows, and none opens once its signing key is retired."""
    signs: dict[str, Sign] = {}
    with laned(tmp_path) as made:
        signs["s3"] = by_amazon(signers.make_key(made.gate.folder, "s3"))
    with laned(tmp_path) as lane, lane.wire() as wire:
        dates = iter(range(100, 1_000))
        before = lane.served_by()["page"]
        for body in (b"1", b"22", b"333"):
            lane.put("/b/x", body)
            for _ in range(20):
                assert heard(wire, request_of(signs["s3"]("/b/x", next(dates)))).body == body
                time.sleep(0.005)
        assert lane.served_by()["page"] - before >= 20
        lane.gate.cli("keys", "retire", "s3-key")
        assert heard(wire, request_of(signs["s3"]("/b/x", next(dates)))).status == 403
