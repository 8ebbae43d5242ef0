"""Native keys: minted by strangers' JWT libraries, refused in every other shape."""

from ipaddress import ip_network
from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minting import (
    NOW,
    Minter,
    ask,
    claims,
    minter,
    perhaps_refused,
    refused,
    verify,
)
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import INTEGER_MAX, Claims
from valetstore.grants.grant import Budget, Grant, Scope
from valetstore.grants.native import Audience, Native, sign
from valetstore.keys.material import ALGORITHMS, private_pem

EVERY = pytest.mark.parametrize("algorithm", list(ALGORITHMS))


def grant_of(**more: Any) -> Grant:
    return verify(minter().token(claims(**more))).grant


def pyjwt(by: Minter, payload: dict[str, Any], **header: Any) -> str:
    key = by.material if isinstance(by.material, bytes) else private_pem(by.material)
    return jwt.encode(payload, key, algorithm=by.record.algorithm, headers={"kid": by.record.kid} | header)


def joserfc_jwt(by: Minter, payload: dict[str, Any], **header: Any) -> str:
    kind = {"HS256": "oct", "EdDSA": "OKP", "ES256": "EC", "RS256": "RSA"}[by.record.algorithm]
    value = by.material if isinstance(by.material, bytes) else private_pem(by.material)
    key = joserfc.jwk.import_key(value, kind)  # type: ignore[call-overload]
    members = {"alg": by.record.algorithm, "kid": by.record.kid} | header
    return joserfc.jwt.encode(members, payload, key, algorithms=[by.record.algorithm])


STRANGERS = pytest.mark.parametrize("mint", [pyjwt, joserfc_jwt])


# Strangers' libraries

# RFC 9864 renames EdDSA; joserfc says so with every key.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")


@EVERY
@STRANGERS
def test_a_key_minted_by_another_library_opens(algorithm: str, mint: Any) -> None:
    grant = verify(mint(minter(algorithm), claims(sub="ann", jti="n1"))).grant
    assert grant.signing_key == algorithm.lower()
    assert grant.operations == {"read"}
    assert grant.scopes == ((Scope("/photos/cat.jpg"),),)
    assert (grant.not_after, grant.subject, len(grant.identity)) == (NOW + 60, "ann", 16)


@STRANGERS
@pytest.mark.parametrize("typ", ["JWT", "valet+jwt"])
def test_typ_is_jwt_or_ours(mint: Any, typ: str) -> None:
    verify(mint(minter(), claims(), typ=typ))


def test_typ_may_be_absent() -> None:
    token = pyjwt(minter(), claims(), typ=None)
    assert "typ" not in jwt.get_unverified_header(token)
    verify(token)


@pytest.mark.parametrize("typ", ["jwt", "at+jwt", "JWE", "", 1, ["JWT"], {}])
def test_any_other_typ_is_refused(typ: Any) -> None:
    with refused("key_malformed"):
        verify(minter().token(typ=typ))


@EVERY
def test_our_own_signing_is_read_by_another_library(algorithm: str) -> None:
    by = minter(algorithm)
    token = sign(Claims(**claims()), by.record.kid, algorithm, by.material)
    key = by.material if isinstance(by.material, bytes) else by.material.public_key()
    assert jwt.decode(token, key, algorithms=[algorithm], options={"verify_exp": False}) == claims()
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": by.record.kid, "typ": "valet+jwt"}
    verify(token)


@EVERY
@STRANGERS
def test_every_claim_becomes_its_condition(algorithm: str, mint: Any) -> None:
    everything = claims(
        nbf=NOW - 5,
        iat=NOW - 5,
        jti="nonce",
        sub="ann",
        iss="app",
        aud=["other", "gate"],
        path=None,
        prefix="/photos/",
        ops=["read", "write"],
        length=[1, 10],
        type=["image/*", "Text/Plain"],
        ip=["192.0.2.0/24", "2001:db8::/32"],
        https=True,
        uses=2,
        window=30,
        budget={"rate": 2.5, "burst": 5, "transfers": 2},
        create=True,
        sha256="aB" * 32,
        headers={"X-Team": "red"},
        response={"Content-Type": "text/plain", "cache-control": "no-store"},
        ctx={"order": [7]},
    )
    grant = verify(mint(minter(algorithm), everything), scheme=Native(10, Audience("gate"))).grant
    assert grant == Grant(
        scheme="native",
        signing_key=algorithm.lower(),
        identity=grant.identity,
        operations=frozenset({"read", "write"}),
        scopes=((Scope("/photos/", is_prefix=True),),),
        not_after=NOW + 60,
        not_before=NOW - 5,
        issued_at=NOW - 5,
        skew=10,
        early=10,
        subject="ann",
        length_min=1,
        length_max=10,
        types=(("image/*", "text/plain"),),
        networks=((ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),),
        tls_only=True,
        uses=2,
        window=30,
        budget=Budget(2.5, 5, 2),
        create_only=True,
        sha256=b"\xab" * 32,
        headers=(("x-team", "red"),),
        response=(("content-type", "text/plain"), ("cache-control", "no-store")),
        ctx={"order": [7]},
    )


def test_a_single_type_or_network_needs_no_list() -> None:
    grant = grant_of(type="image/png", ip="192.0.2.7")
    assert (grant.types, grant.networks) == ((("image/png",),), ((ip_network("192.0.2.7/32"),),))


def test_an_ipv4_network_may_be_written_as_its_client_was_seen() -> None:
    assert grant_of(ip="::ffff:192.0.2.7").networks == ((ip_network("192.0.2.7/32"),),)
    assert grant_of(ip="::ffff:192.0.2.0/120").networks == ((ip_network("192.0.2.0/24"),),)


# Claims that are refused, and named

BAD_CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("exp", {"exp": "soon"}),
    ("exp", {"exp": True}),
    ("exp", {"exp": -1}),
    ("exp", {"exp": 2**53 + 1}),
    ("exp", {"exp": 10**400}),
    ("exp", {"exp": 1e300}),
    ("exp", {"exp": [1]}),
    ("nbf", {"nbf": -1}),
    ("nbf", {"nbf": "now"}),
    ("iat", {"iat": 10**20}),
    ("iat", {"iat": False}),
    ("ops", {"ops": []}),
    ("ops", {"ops": ["fly"]}),
    ("ops", {"ops": "read"}),
    ("ops", {"ops": ["READ"]}),
    ("ops", {"ops": [1]}),
    ("path", {"prefix": "/photos/"}),
    ("prefix", {"path": None}),
    ("path", {"path": "photos/a"}),
    ("path", {"path": ""}),
    ("path", {"path": 1}),
    ("prefix", {"path": None, "prefix": "/photos"}),
    ("prefix", {"path": None, "prefix": "photos/"}),
    ("prefix", {"path": None, "prefix": ""}),
    ("jti", {"jti": 1}),
    ("sub", {"sub": ["a"]}),
    ("iss", {"iss": {}}),
    ("aud", {"aud": "gate"}),
    ("aud", {"aud": ""}),
    ("aud", {"aud": []}),
    ("aud", {"aud": 1}),
    ("length", {"length": [1]}),
    ("length", {"length": [2, 1]}),
    ("length", {"length": [-1, 1]}),
    ("length", {"length": 5}),
    ("length", {"length": [0, 1, 2]}),
    ("length", {"length": [0, 2**53 + 1]}),
    ("length", {"length": [0, 1.5]}),
    ("length", {"length": [0, None]}),
    ("type", {"type": "image"}),
    ("type", {"type": ["*"]}),
    ("type", {"type": "*/png"}),
    ("type", {"type": "image/p*"}),
    ("type", {"type": "image/png;q=1"}),
    ("type", {"type": 1}),
    ("type", {"type": ["a/b\n"]}),
    ("ip", {"ip": []}),
    ("ip", {"ip": "10.0.0.1/8"}),
    ("ip", {"ip": "here"}),
    ("ip", {"ip": [1]}),
    ("ip", {"ip": 3232235777}),
    ("ip", {"ip": "fe80::1%eth0"}),
    ("ip", {"ip": "10.0.0.0/33"}),
    ("ip", {"ip": " 10.0.0.1"}),
    ("ip", {"ip": ""}),
    ("https", {"https": "yes"}),
    ("https", {"https": 1}),
    ("uses", {"uses": 0, "jti": "a", "iat": NOW}),
    ("uses", {"uses": -1, "jti": "a", "iat": NOW}),
    ("uses", {"uses": 1, "iat": NOW}),
    ("uses", {"uses": 1, "jti": "a"}),
    ("uses", {"uses": 1.5, "jti": "a", "iat": NOW}),
    ("uses", {"uses": True, "jti": "a", "iat": NOW}),
    ("uses", {"uses": "1"}),
    ("uses", {"uses": 10**400, "jti": "a", "iat": NOW}),
    ("window", {"window": 5}),
    ("window", {"window": -1, "uses": 1, "jti": "a", "iat": NOW}),
    ("window", {"window": 10**400, "uses": 1, "jti": "a", "iat": NOW}),
    ("window", {"window": "5"}),
    ("create", {"create": "yes"}),
    ("create", {"create": 0}),
    ("sha256", {"sha256": "ab"}),
    ("sha256", {"sha256": "g" * 64}),
    ("sha256", {"sha256": "\uff11" * 64}),
    ("sha256", {"sha256": 1}),
    ("sha256", {"sha256": "a" * 64 + "\n"}),
    ("headers", {"headers": {"a b": "c"}}),
    ("headers", {"headers": {"": "c"}}),
    ("headers", {"headers": {"\u00e9": "c"}}),
    ("headers", {"headers": {"a": 1}}),
    ("headers", {"headers": ["a"]}),
    ("headers", {"headers": {"a\n": "c"}}),
    ("response", {"response": {"set-cookie": "a=b"}}),
    ("response", {"response": {"location": "/"}}),
    ("response", {"response": {"content-type": "a\r\nb"}}),
    ("response", {"response": {"content-type": "a\0"}}),
    ("response", {"response": {"expires": "a\u2028"}}),
    ("response", {"response": {"content-type": None}}),
    ("response", {"response": "content-type"}),
    ("maxx", {"maxx": 1}),
    ("Path", {"Path": "/a"}),
    ("prefix ", {"prefix ": "/a/"}),
    ("x-valet-uses", {"x-valet-uses": 1}),
    ("scope", {"scope": "read"}),
    ("budget", {"budget": {}}),
    ("budget", {"budget": []}),
    ("budget", {"budget": 5}),
    ("budget", {"budget": "2/s"}),
    ("budget", {"budget": {"rate": 0}}),
    ("budget", {"budget": {"rate": -1}}),
    ("budget", {"budget": {"rate": 1e-7}}),
    ("budget", {"budget": {"rate": 1e7}}),
    ("budget", {"budget": {"rate": 10**400}}),
    ("budget", {"budget": {"rate": True}}),
    ("budget", {"budget": {"rate": "1"}}),
    ("budget", {"budget": {"burst": 5}}),
    ("budget", {"budget": {"burst": 5, "transfers": 1}}),
    ("budget", {"budget": {"rate": 1, "burst": 0}}),
    ("budget", {"budget": {"rate": 1, "burst": 1.5}}),
    ("budget", {"budget": {"rate": 1, "burst": 10**400}}),
    ("budget", {"budget": {"transfers": 0}}),
    ("budget", {"budget": {"transfers": 1_000_001}}),
    ("budget", {"budget": {"transfers": "1"}}),
    ("budget", {"budget": {"rate": 1, "per": "minute"}}),
]


@pytest.mark.parametrize(("name", "more"), BAD_CLAIMS)
def test_a_claim_that_is_not_understood_refuses_the_key_and_is_named(name: str, more: dict[str, Any]) -> None:
    with refused("key_malformed", f"`{name}") as denied:
        verify(minter().token(claims(**more)))
    assert denied.evidence.get("signing_key", "hs256") == "hs256"


@pytest.mark.parametrize("missing", ["exp", "ops"])
def test_a_required_claim_is_named(missing: str) -> None:
    with refused("key_malformed", f"`{missing}`"):
        verify(minter().token(claims(**{missing: None})))


@pytest.mark.parametrize("more", [row for name, row in BAD_CLAIMS if name not in {"aud"}])
def test_claims_that_could_never_open_are_not_signed(more: dict[str, Any]) -> None:
    """What `verify` refuses, `sign` does not sign."""
    made = claims(**more)
    if not set(made) <= set(Claims.__struct_fields__):
        return
    by = minter()
    with pytest.raises((ConfigInvalid, OverflowError)):
        sign(Claims(**made), by.record.kid, "HS256", by.material)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b'"a"',
        b"{",
        b"{}{}",
        b"\xff",
        b'{"exp":NaN}',
        b'\xef\xbb\xbf{"exp":1}',
        b"{'exp':1}",
        b'{"exp":1,"ops":["read"],"path":"/a/b","path":"/a/c"}',
        b'{"exp":1,"ops":["read"],"path":"/a/b","\\u0070ath":"/a/c"}',
        b'{"exp":1,"exp":2,"ops":["read"],"path":"/a/b"}',
        b'{"exp":1e999,"ops":["read"],"path":"/a/b"}',
        b'{"exp":1,"ops":["read"],"path":"/a/b","ctx":{"a":1,"a":2}}',
        b'{"exp":1,"ops":["read"],"path":"/a/b","sub":"\\ud800"}',
        b'{"exp":1,"ops":["read"],"path":"/a/b","ctx":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"exp":1,"ops":["read"],"path":"/a/b","ctx":' + b"[" * 100 + b"]" * 100 + b"}",
    ],
)
def test_a_rightly_signed_payload_that_is_no_plain_object_is_refused(payload: bytes) -> None:
    with refused("key_malformed"):
        verify(minter().raw(b'{"alg":"HS256","kid":"hs256"}', payload))


@given(st.binary(max_size=200))
def test_any_rightly_signed_payload_is_admitted_or_refused(payload: bytes) -> None:
    with refused("key_malformed"):
        verify(minter().raw(b'{"alg":"HS256","kid":"hs256"}', payload))


ANY_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.just("/photos/"),
        st.just("read"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "", "x-b"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(list(Claims.__struct_fields__)), ANY_JSON, max_size=5))
@settings(max_examples=200)
def test_any_values_of_the_claims_are_admitted_or_refused(more: dict[str, Any]) -> None:
    with perhaps_refused("key_malformed"):
        grant = verify(minter().token(claims() | more)).grant
        assert grant.operations
        assert 0 <= grant.not_after <= INTEGER_MAX
        assert grant.uses is None or grant.uses >= 1


# Audience


def test_an_audience_must_name_this_gateway_where_it_is_given() -> None:
    gate = Native(audience=Audience("gate"))
    verify(minter().token(claims(aud="gate")), scheme=gate)
    verify(minter().token(claims(aud=["other", "gate"])), scheme=gate)
    verify(minter().token(claims()), scheme=gate)
    for aud in ("other", ["other"], [], "Gate", "gate "):
        with refused("key_malformed", "`aud`"):
            verify(minter().token(claims(aud=aud)), scheme=gate)


def test_an_audience_can_be_required() -> None:
    strict = Native(audience=Audience("gate", required=True))
    verify(minter().token(claims(aud="gate")), scheme=strict)
    with refused("key_malformed", "`aud`", "gate"):
        verify(minter().token(claims()), scheme=strict)


# What a request asks for


@pytest.mark.parametrize(
    ("method", "target", "operation", "path"),
    [
        ("GET", "/b/k", "read", "/b/k"),
        ("HEAD", "/b/k", "read", "/b/k"),
        ("PUT", "/b/k", "write", "/b/k"),
        ("DELETE", "/b/k", "delete", "/b/k"),
        ("GET", "/b/?list", "list", "/b/"),
        ("GET", "/b?list", "list", "/b/"),
        ("HEAD", "/b/?list=", "list", "/b/"),
        ("GET", "/b/?list&prefix=a%2Fb", "list", "/b/a/b"),
        ("GET", "/b/?list&prefix=a/.", "list", "/b/a/."),
        ("GET", "/b/k?list", "read", "/b/k"),
        ("GET", "/b/a%2Fb", "read", "/b/a/b"),
        ("GET", "/b/a%252Fb", "read", "/b/a%2Fb"),
        ("GET", "/_valet/live", "read", "/_valet/live"),
        ("POST", "/_valet/revoke", "admin", "/_valet/revoke"),
        ("DELETE", "/_valet/x", "admin", "/_valet/x"),
    ],
)
def test_the_operation_and_the_path(method: str, target: str, operation: str, path: str) -> None:
    intent = Native().intent(ask(method, target))
    assert (intent.operation, intent.path) == (operation, path)
    assert (intent.key is not None) == (operation in {"read", "write", "delete"} and not path.startswith("/_valet"))


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("POST", "/b/k", "method_not_allowed"),
        ("PATCH", "/b/k", "method_not_allowed"),
        ("get", "/b/k", "method_not_allowed"),
        ("GET", "/", "object_key_invalid"),
        ("GET", "/b/", "object_key_invalid"),
        ("GET", "/?list", "object_key_invalid"),
        ("PUT", "/b/", "object_key_invalid"),
        ("PUT", "/b/../c/k", "object_key_invalid"),
        ("GET", "/b/%2e%2e/k", "object_key_invalid"),
        ("GET", "/b/a%00", "object_key_invalid"),
        ("GET", "/b/%ff", "object_key_invalid"),
        ("GET", "/b/%", "target_invalid"),
        ("GET", "/b/?list&prefix=%00", "object_key_invalid"),
        ("GET", "/b/?list&prefix=a&prefix=b", "parameter_invalid"),
        ("GET", "/.b/?list", "object_key_invalid"),
    ],
)
def test_a_request_that_names_nothing_is_refused(method: str, target: str, code: str) -> None:
    with refused(code):
        Native().intent(ask(method, target))


def test_an_upload_announces_its_length_and_type() -> None:
    intent = Native().intent(ask("PUT", "/b/k", {"content-length": "12", "content-type": "image/png"}))
    assert (intent.length, intent.content_type) == (12, "image/png")
    assert Native().intent(ask("PUT", "/b/k")).length is None
    for wrong in ("-1", "1_0", "\u00b2", "", "1, 1", "9" * 20):
        with refused("request_malformed"):
            Native().intent(ask("PUT", "/b/k", {"content-length": wrong}))
