"""An application signs in its own process, and is told at once what its signing key does not allow."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minting import ask, minter, refused
from valetstore import Signer, SigningRefused, sign
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.grant import Budget, Grant, Profile
from valetstore.grants.native import Native
from valetstore.keys.material import ALGORITHMS, private_pem
from valetstore.keys.ring import KeyRing, limits_of
from valetstore.keys.ringfile import RingFile, new_record
from valetstore.objectkey import ObjectKey
from valetstore.policy.request import enforce


def signer(profile: Profile | None = None, algorithm: str = "HS256") -> Signer:
    by = minter(algorithm)
    return Signer(by.record.kid, algorithm, by.material, limits_of(profile or Profile()))


def grant_of(url: str, method: str = "GET", algorithm: str = "HS256") -> Grant:
    """What a gateway reads from a signed URL; the URL must open what it was signed for."""
    parts = urlsplit(url)
    inbound = ask(method, f"{parts.path}?{parts.query}", now=time.time())
    scheme = Native()
    (credential,) = scheme.recognises(inbound)
    proof = scheme.verify(inbound, credential, KeyRing([minter(algorithm).record]))
    return proof.grant


# URLs


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
@pytest.mark.parametrize(
    ("method", "operation"),
    [("GET", "read"), ("HEAD", "read"), ("PUT", "write"), ("DELETE", "delete"), ("get", "read")],
)
def test_a_signed_url_opens_its_operation_and_path(algorithm: str, method: str, operation: str) -> None:
    url = sign(signer(algorithm=algorithm), method, "/photos/a b.jpg", expires=60, base_url="https://x.example/")
    assert url.startswith("https://x.example/photos/a%20b.jpg?valet=")
    grant = grant_of(url, method.upper(), algorithm)
    assert grant.operations == {operation}
    assert [str(scope) for group in grant.scopes for scope in group] == ["/photos/a b.jpg"]
    assert 58 < grant.not_after - time.time() <= 60
    assert grant.issued_at


@given(st.text())
def test_the_path_that_is_signed_is_the_path_that_is_asked_for(name: str) -> None:
    try:
        key = ObjectKey.of("b", name)
    except Denied:
        with refused("object_key_invalid"):
            sign(signer(), "PUT", f"/b/{name}", expires=60)
        return
    url = sign(signer(), "PUT", key.path, expires=60)
    inbound = ask("PUT", url, now=time.time())
    intent = Native().intent(inbound)
    assert intent.key == key
    enforce(grant_of(url, "PUT"), intent, inbound)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/photos/", "/photos/?list&valet="),
        ("/photos/a b/", "/photos/?list&prefix=a%20b/&valet="),
        ("/photos/a&b/", "/photos/?list&prefix=a%26b/&valet="),
    ],
)
def test_a_signed_list(path: str, target: str) -> None:
    url = sign(signer(), "LIST", path, expires=60)
    assert url.startswith(target)
    inbound = ask("GET", url, now=time.time())
    intent = Native().intent(inbound)
    assert intent.path == path
    enforce(grant_of(url), intent, inbound)


def test_a_prefix_opens_everything_below_it() -> None:
    url = sign(signer(), "GET", "/photos/2026/", expires=60, prefix=True)
    (token,) = parse_qs(urlsplit(url).query)["valet"]
    inbound = ask(target="/photos/2026/a/b.jpg", token=token, now=time.time())
    enforce(grant_of(url), Native().intent(inbound), inbound)


def test_every_term_becomes_its_condition() -> None:
    grant = grant_of(
        sign(
            signer(),
            "PUT",
            "/b/k",
            expires=60,
            start=time.time() - 5,
            uses=2,
            window=30,
            budget=Budget(2.5, transfers=1),
            length=(1, 10),
            types=["image/*"],
            networks=["192.0.2.0/24"],
            https=True,
            create_only=True,
            sha256="ab" * 32,
            subject="ann",
            headers={"X-Team": "red"},
            response={"cache-control": "no-store"},
            ctx={"a": 1},
        )
    )
    assert (grant.uses, grant.window, grant.length_min, grant.length_max) == (2, 30, 1, 10)
    assert grant.budget == Budget(2.5, transfers=1)
    assert (grant.types, [str(one) for group in grant.networks for one in group]) == ((("image/*",),), ["192.0.2.0/24"])
    assert (grant.tls_only, grant.create_only, grant.sha256, grant.subject) == (True, True, b"\xab" * 32, "ann")
    assert (grant.headers, grant.response, grant.ctx) == (
        (("x-team", "red"),),
        (("cache-control", "no-store"),),
        {"a": 1},
    )
    assert 53 < grant.not_after - time.time() <= 55


def test_a_budget_may_be_a_mapping() -> None:
    made = grant_of(sign(signer(), "GET", "/b/k", expires=60, budget={"rate": 2, "burst": 5, "transfers": 1}))
    assert made.budget == Budget(2.0, 5, 1)


def test_keys_with_limited_uses_are_never_alike_and_others_may_be() -> None:
    assert len({grant_of(sign(signer(), "GET", "/b/k", expires=60, uses=1)).identity for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("terms", "value"),
    [
        ({"filename": "cat.jpg"}, 'attachment; filename="cat.jpg"'),
        ({"filename": "cat.jpg", "inline": True}, 'inline; filename="cat.jpg"'),
        ({"inline": True}, "inline"),
        ({"filename": "na\u00efve.txt"}, "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
        ({"filename": 'a"b\r\nc'}, "attachment; filename=\"a_b__c\"; filename*=UTF-8''a%22b%0D%0Ac"),
    ],
)
def test_file_names_as_rfc_6266_writes_them(terms: Any, value: str) -> None:
    assert dict(grant_of(sign(signer(), "GET", "/b/k", expires=60, **terms)).response) == {"content-disposition": value}


@given(st.text(max_size=40))
def test_any_file_name_can_be_signed(name: str) -> None:
    value = dict(grant_of(sign(signer(), "GET", "/b/k", expires=60, filename=name)).response)["content-disposition"]
    assert value.isascii()
    assert value.isprintable()
    if "filename*" in value:
        assert unquote(value.partition("UTF-8''")[2]) == name.encode("utf-8", "replace").decode()


# Arguments that are wrong


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"method": "POST"}, "method 'POST': must be one of GET, HEAD, PUT, DELETE, LIST"),
        ({"expires": 0}, "expires 0: must be 1 second or more"),
        ({"expires": -5}, "expires -5"),
        ({"expires": 315360001}, r"expires 315360001: must be 315360000 seconds .10 years. or less"),
        ({"base_url": "x.example"}, "base_url 'x.example': must be http:// or https:// and a host"),
        ({"base_url": "https://x.example/a"}, "without a path"),
        ({"base_url": "https://x.example:x"}, "must be http"),
        ({"ctx": "x" * 9000}, "a gateway takes at most 8192"),
        ({"path": "/b/a", "prefix": True}, "a prefix starts and ends with a slash"),
        ({"path": "b/", "prefix": True}, "a prefix starts"),
        ({"method": "LIST", "path": "/b"}, "a prefix starts"),
        ({"method": "LIST", "path": "/"}, "a list is of one bucket"),
        ({"uses": 0}, "`uses`"),
        ({"window": 5}, "window 5: needs limited uses"),
        ({"budget": {}}, "budget {}: needs `rate` or `transfers`"),
        ({"budget": {"rate": 0}}, "budget {'rate': 0}: `rate` is requests a second"),
        ({"budget": {"rate": "fast"}}, "budget {'rate': 'fast'}: Expected `float | null`"),
        ({"budget": {"rate": 1, "per": 60}}, "unknown field `per`"),
        ({"length": (5, 1)}, "`length`"),
        ({"length": (1, 2, 3)}, "`length`"),
        ({"types": ["image"]}, "types 'image': must be type/subtype"),
        ({"networks": ["here"]}, "networks 'here': must be an address"),
        ({"networks": ["10.0.0.1/8"]}, "networks '10.0.0.1/8': .* without host bits"),
        ({"sha256": "x"}, "sha256 'x': must be 64 hexadecimal digits"),
        ({"headers": {"a b": "c"}}, "`headers`"),
        ({"response": {"set-cookie": "a"}}, "`response`"),
        ({"response": {"content-type": "a\nb"}}, "`response`"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], why: str) -> None:
    method, path = arguments.pop("method", "GET"), arguments.pop("path", "/b/k")
    expires = arguments.pop("expires", 60)
    for profile in (Profile(), Profile(networks=("192.0.2.0/24",), types=("image/*",), length_bytes_max=9)):
        with pytest.raises(ConfigInvalid, match=why):
            sign(signer(profile), method, path, expires=expires, **arguments)


@pytest.mark.parametrize("path", ["", "b/k", "/b", "/b/", "/b/../k", "/_valet/live", "/b/a\0", "/b/\ud800"])
def test_a_path_that_names_no_object_is_refused(path: str) -> None:
    with refused("object_key_invalid"):
        sign(signer(), "GET", path, expires=60)


# What the profile forbids


@pytest.mark.parametrize(
    ("profile", "arguments", "why"),
    [
        ({"operations": ("read",)}, {"method": "PUT"}, "write: the signing key allows read"),
        (
            {"prefixes": ("/photos/",)},
            {"path": "/secrets/k"},
            "/secrets/k: the signing key allows everything below /photos/",
        ),
        ({"prefixes": ("/photos/", "/a/")}, {"path": "/photo", "method": "GET"}, "object_key_invalid"),
        (
            {"prefixes": ("/photos/a/",)},
            {"path": "/photos/", "prefix": True},
            "/photos/: the signing key allows everything below /photos/a/",
        ),
        ({"prefixes": ("/photos/1/",)}, {"path": "/photos/10/k"}, "the signing key allows"),
        ({"ttl_seconds_max": 60}, {"expires": 61}, "expires: the signing key allows at most 1m after signing"),
        ({"ttl_seconds_max": 60}, {"expires": 30, "start": time.time() + 3600}, "at most 1m after signing"),
        (
            {"length_bytes_max": 1024},
            {"method": "PUT", "length": (0, 1025)},
            "length: the signing key allows at most 1 KiB",
        ),
        ({"length_bytes_min": 10}, {"method": "PUT", "length": (9, 20)}, "asks for at least 10 bytes"),
        ({"uses": 3}, {"uses": 4}, "uses 4: the signing key allows at most 3"),
        ({"single_use": ("read",)}, {"uses": 2}, "uses 2: the signing key makes read single-use"),
        (
            {"budget": Budget(2.0, 5)},
            {"budget": {"rate": 2.5}},
            "budget rate 2.5: the signing key allows 2 requests a second, 5 at once",
        ),
        ({"budget": Budget(2.0, 5)}, {"budget": {"rate": 1, "burst": 6}}, "budget burst 6: the signing key allows"),
        (
            {"budget": Budget(transfers=1)},
            {"budget": {"transfers": 2}},
            "budget transfers 2: the signing key allows 1 transfer at once",
        ),
        (
            {"types": ("image/*",)},
            {"method": "PUT", "types": ["text/html"]},
            r"type text/html: the signing key allows image/\*",
        ),
        ({"types": ("image/*",)}, {"method": "PUT", "types": ["*/*"]}, "the signing key allows"),
        ({"types": ("image/png",)}, {"method": "PUT", "types": ["image/*"]}, "the signing key allows image/png"),
        (
            {"networks": ("192.0.2.0/24",)},
            {"networks": ["192.0.0.0/16"]},
            "ip 192.0.0.0/16: the signing key allows 192.0.2.0/24",
        ),
        ({"networks": ("192.0.2.0/24",)}, {"networks": ["192.0.2.1", "::1"]}, "ip ::1/128: the signing key allows"),
    ],
)
def test_what_the_profile_forbids_is_refused_with_the_reason(
    profile: dict[str, Any], arguments: dict[str, Any], why: str
) -> None:
    method, path = arguments.pop("method", "GET"), arguments.pop("path", "/photos/k")
    expires = arguments.pop("expires", 60)
    with pytest.raises((SigningRefused, Denied), match=why):
        sign(signer(Profile(**profile)), method, path, expires=expires, **arguments)


@pytest.mark.parametrize(
    ("profile", "arguments"),
    [
        ({"ttl_seconds_max": 60}, {"expires": 60}),
        ({"prefixes": ("/photos/",)}, {"path": "/photos/", "prefix": True}),
        ({"types": ("image/*",)}, {"types": ["IMAGE/PNG", "image/*"]}),
        ({"types": ("image/*",)}, {}),
        ({"networks": ("192.0.2.0/24",)}, {"networks": ["192.0.2.128/25", "::ffff:192.0.2.1"]}),
        ({"networks": ("192.0.2.0/24",)}, {}),
        ({"length_bytes_max": 10, "length_bytes_min": 5}, {"length": (5, 10)}),
        ({"length_bytes_max": 10}, {}),
        ({"https": True, "create_only": True}, {}),
        ({"uses": 3}, {}),
        ({"uses": 3, "single_use": ("read",)}, {"uses": 3}),
        ({"single_use": ("write",)}, {"uses": 1}),
        ({"single_use": ("write",)}, {}),
        ({"budget": Budget(2.0, 5, 1)}, {}),
        ({"budget": Budget(2.0, 5, 1)}, {"budget": {"rate": 2, "transfers": 1}}),
        ({"budget": Budget(transfers=1)}, {"budget": {"rate": 1000}}),
        ({"budget": Budget(2.0)}, {"budget": {"transfers": 1000}}),
    ],
)
def test_what_lies_within_the_profile_is_signed(profile: dict[str, Any], arguments: dict[str, Any]) -> None:
    path, expires = arguments.pop("path", "/photos/k"), arguments.pop("expires", 60)
    assert sign(signer(Profile(**profile)), "PUT", path, expires=expires, **arguments)


# Signers


def created(tmp_path: Path, algorithm: str) -> dict[str, Any]:
    """What `keys create --json` prints."""
    record, private = new_record("app", algorithm, Profile(operations=("read",), prefixes=("/a/",)))
    about: dict[str, Any] = {
        "name": "app",
        "kid": record.kid,
        "alg": algorithm,
        "profile": msgspec.to_builtins(record.profile),
    }
    if private is None:
        return about | {"secret": record.secret}
    (tmp_path / "app.pem").write_text(private_pem(private))
    return about | {"public_key": record.public_key, "private_key_file": str(tmp_path / "app.pem")}


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA", "ES256"])
def test_a_signer_from_what_keys_create_printed(tmp_path: Path, algorithm: str) -> None:
    about = created(tmp_path, algorithm)
    for text in (json.dumps(about), json.dumps(about, indent=2).encode()):
        found = Signer.from_json(text)
        assert (found.kid, found.algorithm) == ("app", algorithm)
        assert sign(found, "GET", "/a/k", expires=60)
        with pytest.raises(SigningRefused):
            sign(found, "GET", "/b/k", expires=60)
    if algorithm != "HS256":
        inline = about | {"private_key": (tmp_path / "app.pem").read_text(), "private_key_file": None}
        assert Signer.from_json(json.dumps(inline)).kid == "app"


def test_a_signer_from_wrong_json_says_what_is_wrong(tmp_path: Path) -> None:
    hs256, eddsa = created(tmp_path, "HS256"), created(tmp_path, "EdDSA")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for about, why in (
        (hs256 | {"alg": "none"}, "alg 'none': must be one of HS256"),
        (hs256 | {"secret": "AAAA"}, "3 bytes; HS256 needs 32"),
        (hs256 | {"secret": "A="}, "secret: is not unpadded base64url"),
        (hs256 | {"secret": "\u00e9"}, "secret: is not unpadded base64url"),
        (hs256 | {"secret": None}, "neither secret nor private_key_file"),
        (hs256 | {"kid": 5}, "kid"),
        (hs256 | {"profile": {"prefixes": ["/a"]}}, "prefixes: '/a'"),
        (hs256 | {"profile": {"unknown": 1}}, "unknown"),
        (eddsa | {"alg": "ES256"}, "the private key is for EdDSA, not ES256"),
        (eddsa | {"private_key_file": str(tmp_path / "none.pem")}, "none.pem: cannot be read"),
        (eddsa | {"private_key_file": str(tmp_path / "binary")}, "is not PEM text"),
        (eddsa | {"private_key": "x"}, "PRIVATE KEY"),
    ):
        with pytest.raises(ConfigInvalid, match=why):
            Signer.from_json(json.dumps(about))
    for text in (b"", b"[]", b"\xff", "\ud800", "{"):
        with pytest.raises(ConfigInvalid, match="not what `keys create --json` prints"):
            Signer.from_json(text)


def test_a_signer_from_the_ring(tmp_path: Path) -> None:
    ring_file = RingFile(tmp_path)
    ring_file.begin()
    record, private = new_record("ed", "EdDSA", Profile())
    assert private
    ring_file.add(record, private_pem(private))
    ring_file.add(new_record("elsewhere", "EdDSA", Profile())[0])
    for name in ("default", "ed"):
        assert sign(Signer.from_ring(ring_file, name), "GET", "/a/k", expires=60)
    with pytest.raises(
        ConfigInvalid, match="signing key 'nobody': there is none of that name; there are: default, ed, elsewhere"
    ):
        Signer.from_ring(ring_file, "nobody")
    with pytest.raises(ConfigInvalid, match="its private half is not kept here"):
        Signer.from_ring(ring_file, "elsewhere")
    ring_file.change(lambda records: [msgspec.structs.replace(one, retires_at=int(time.time())) for one in records])
    with pytest.raises(ConfigInvalid, match="signing key 'ed': is retired"):
        Signer.from_ring(ring_file, "ed")


def test_an_empty_ring_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="`valetstore keys create NAME` makes one"):
        Signer.from_ring(RingFile(tmp_path), "default")


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_a_signer_never_shows_its_material(algorithm: str) -> None:
    found = signer(algorithm=algorithm)
    for shown in (repr(found), str(found), f"{found}", repr([found]), repr({"a": found})):
        assert shown.count("Signer(kid=") == 1
        assert "material" not in shown
        assert repr(found.material) not in shown


def test_no_error_of_signing_shows_the_secret(tmp_path: Path) -> None:
    about = created(tmp_path, "HS256")
    for wrong in (
        about | {"secret": about["secret"] + "="},
        about | {"secret": [about["secret"]]},
        about | {"alg": about["secret"][:4]},
    ):
        with pytest.raises(ConfigInvalid) as caught:
            Signer.from_json(json.dumps(wrong))
        assert about["secret"] not in f"{caught.value!r} {caught.value}"


def test_signing_does_not_load_a_server() -> None:
    """An application that only signs pays for no HTTP server, no event loop and no command line."""
    program = (
        "import sys, valetstore; valetstore.sign, valetstore.Signer, valetstore.Denied\n"
        "heavy = {'aiohttp', 'uvloop', 'click', 'prometheus_client', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
