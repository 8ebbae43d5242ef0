"""What verification keeps from one key to the next: it changes no verdict, it is bounded, and it lets nothing in."""

import hmac
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.held_keys import HOST, NOW, SECRET, held, outcome, ring
from tests.minting import Minter, claims, hs256, make_minter, minter, parts_of, refused, verify
from valetstore.encoding import b64url_encode, strict_json
from valetstore.errors import Denied
from valetstore.grants import native, sigv4
from valetstore.grants.claims import Claims, claims_of
from valetstore.grants.grant import Profile, Proof
from valetstore.grants.sigv4 import AWS, Signed
from valetstore.inbound import Inbound
from valetstore.keys.material import ALGORITHMS, HmacSha256, _stand_in, fingerprint, spend_as_much, verifier_of
from valetstore.keys.ring import IDENTITY_KINDS, KeyRing, SigningKey
from valetstore.keys.ringfile import record_of

OTHER_SECRET = b"another-secret-of-forty-bytes-as-S3-has"
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


# Signing keys that are made ready once


@given(secret=st.binary(max_size=200), messages=st.lists(st.binary(max_size=300), max_size=4))
def test_a_key_that_is_hashed_beforehand_signs_as_one_that_is_not(secret: bytes, messages: list[bytes]) -> None:
    """And one message leaves nothing behind for the next."""
    keyed = HmacSha256(secret)
    for message in messages:
        assert keyed.digest(message) == hmac.digest(secret, message, "sha256")
        assert keyed.holds(message, hmac.digest(secret, message, "sha256"))
        assert not keyed.holds(message, hmac.digest(secret, message + b"x", "sha256"))


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
@settings(max_examples=20)
@given(message=st.binary(max_size=80), wrong=st.binary(max_size=80))
def test_what_is_made_ready_verifies_as_its_algorithm_does(algorithm: str, message: bytes, wrong: bytes) -> None:
    by = minter(algorithm)
    key = SigningKey(by.record)
    for signature in (by.sign(message), by.sign(wrong), wrong):
        holds = verifier_of(key.algorithm, key.material)
        assert key.holds(message, signature) == holds(message, signature)
        assert key.holds(message, signature) == ALGORITHMS[algorithm].verify(key.material, message, signature)


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_nobodys_key_is_made_once_whatever_is_sent(algorithm: str) -> None:
    """Making one costs more than verifying by it: that would tell which signing keys there are."""
    spend_as_much(algorithm, b"message", b"")
    if algorithm == "RS256":
        for size in (256, 384, 512):
            spend_as_much(algorithm, b"message", bytes(size))
    made = _stand_in.cache_info().misses
    for size in range(600):
        spend_as_much(algorithm, b"m", bytes(size)) if size % 7 == 0 or size % 128 == 0 else None
    assert _stand_in.cache_info().misses == made


@given(nonce=st.binary(max_size=300), parts=st.lists(st.binary(max_size=70), max_size=4))
def test_an_identity_is_the_fingerprint_of_scheme_signing_key_kind_and_nonce(nonce: bytes, parts: list[bytes]) -> None:
    for key in ring():
        front = key.record.scheme.encode(), key.id
        assert key.identity_of(nonce) == fingerprint(*front, nonce)
        for kind in IDENTITY_KINDS:
            assert key.identity_of(nonce, kind) == fingerprint(*front, kind.encode(), nonce)
    framed = b"".join(len(part).to_bytes(4) + part for part in parts)
    assert fingerprint(*parts) == sha256(framed).digest()[:16]


# Rings that change


def test_a_key_is_never_verified_by_a_signing_key_of_another_ring() -> None:
    """Whatever was verified before: by the old ring, the new one, and the old one again."""
    old, new = ring(), ring(OTHER_SECRET)
    for keys, opens in ((old, True), (new, False), (old, True), (KeyRing(), False), (new, False), (old, True)):
        for kind, base in held().items():
            if "RSA" in kind or "CloudFront" in kind:  # these have the same key pairs in both
                continue
            assert isinstance(outcome(base.inbound, keys), Proof) == opens, kind


@given(st.lists(st.tuples(st.sampled_from([SECRET, OTHER_SECRET]), st.integers(0, 2), st.booleans()), max_size=12))
@settings(max_examples=30)
def test_native_keys_of_rings_in_any_order_open_by_their_own_secret_alone(
    asked: list[tuple[bytes, int, bool]],
) -> None:
    """One kid, two secrets, removed in between: what a header says is remembered, who may sign it never is."""
    for secret, number, there in asked:
        keys = KeyRing([record_of("web", "HS256", Profile(), secret=secret)] if there else [])
        for by in (SECRET, OTHER_SECRET):
            token = hs256(by, {"alg": "HS256", "kid": "web"}, claims(jti=str(number)))
            if there and by == secret:
                assert verify(token, keys).grant.signing_key == "web"
            else:
                with refused("signature_mismatch"):
                    verify(token, keys)


# Headers of native keys


@given(st.lists(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "x"]), JSON, max_size=4), max_size=6))
def test_a_header_met_again_says_what_it_said(headers: list[dict[str, Any]]) -> None:
    for header in headers:
        head = b64url_encode(msgspec.json.encode(header))
        assert _read(native._known, head) == _read(native._named, head) == _read(native._known, head)


def test_only_short_headers_are_kept_and_no_more_than_so_many() -> None:
    most = native._known.cache_info().maxsize
    assert most is not None
    native._known.cache_clear()
    long = minter().token(x="y" * 600)
    assert verify(long).grant.signing_key == "hs256"
    assert native._known.cache_info().currsize == 0
    for number in range(most + 50):
        native._known(b64url_encode(b'{"alg":"HS256","kid":"%d"}' % number))
    assert native._known.cache_info().currsize == most
    native._known.cache_clear()


def test_a_header_that_is_refused_is_refused_again() -> None:
    by = minter()
    for header in (b'{"alg":"none","kid":"hs256"}', b'{"alg":"HS256","kid":"hs256","crit":null}', b'{"alg":"HS256"}'):
        token = by.raw(header, msgspec.json.encode(claims()))
        for _ in range(3):
            with refused("key_malformed"):
                verify(token)
    other: Minter = make_minter("HS256", "hs256-other", Profile())
    for _ in range(2):
        with refused("signature_mismatch"):
            verify(other.token(kid="hs256"))


# Claims


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Claims as JSON of any hand: any order and spacing, defaults said, members twice, other types."""
    members: list[tuple[str, Any]] = list(claims().items())
    more = st.tuples(
        st.sampled_from([*Claims.__struct_fields__, "other"]),
        st.one_of(JSON, st.sampled_from([False, None, 0, {}, [], "", "a", ["read"], [1, 2], {"rate": 1}, 1e300, 1.0])),
    )
    members += draw(st.lists(more, max_size=3))
    members = draw(st.permutations(members))
    comma, colon = draw(st.sampled_from([(b",", b":"), (b", ", b": "), (b" ,\n", b"\t:")]))
    encode = msgspec.json.encode
    text = b"{" + comma.join(encode(name) + colon + encode(value) for name, value in members) + b"}"
    cut = draw(st.integers(0, 20))
    return text[:-cut] if cut > 17 else text.replace(b'"sub"', b'"\\u0073ub"')


@settings(max_examples=200)
@given(payloads())
def test_claims_are_read_as_strictly_as_any_json(payload: bytes) -> None:
    """The short way takes nothing that the long one refuses, and says the same of what both take."""

    def long_way(data: bytes) -> Claims:
        return msgspec.convert(strict_json(data), Claims)

    found, expected = _read(claims_of, payload), _read(long_way, payload)
    assert (found == expected) or (found is expected is None)


def _read(reader: Any, data: bytes) -> Any:
    """What a reader makes of it, None where it refuses."""
    try:
        return reader(data)
    except (ValueError, msgspec.ValidationError, Denied):
        return None


def test_a_claim_given_twice_is_refused_however_it_is_written() -> None:
    for twice in (b'"exp":1900000000', b'"sub":"a","sub":"a"', b'"sub":"","\\u0073ub":"a"', b'"ctx":{"a":1,"a":1}'):
        payload = b'{"exp":1900000000,"ops":["read"],"path":"/a/b",%b}' % twice
        with refused("key_malformed", "not one JSON object"):
            verify(minter().raw(b'{"alg":"HS256","kid":"hs256"}', payload))
    assert parts_of(minter().token())[0]


@pytest.mark.parametrize(
    ("claim", "value"),
    [("type", ""), ("ip", ""), ("ip", []), ("sha256", ""), ("length", []), ("type", [])],
)
def test_an_empty_condition_is_a_condition(claim: str, value: object) -> None:
    """It refuses the key, or allows nothing: it is never passed over."""
    token = minter().token(claims(**{claim: value}))
    if claim == "type" and value == []:
        assert verify(token).grant.types == ((),)
    else:
        with refused("key_malformed", claim):
            verify(token)


# The signing keys of a day, and canonical queries


def test_days_and_regions_and_secrets_have_keys_of_their_own() -> None:
    said = [(secret, date, region) for secret in (b"a" * 40, b"b" * 40) for date in ("1", "2") for region in ("x", "y")]
    found = set()
    for _ in range(2):
        for secret, date, region in said:
            signed = Signed(date, region, ("host",), ("",), ("GET",), b"")
            raw = sigv4.signing_key(AWS, secret, date, region)
            assert sigv4.mac(AWS, secret, signed, b"text") == hmac.digest(raw, b"text", "sha256")
            found.add(sigv4.mac(AWS, secret, signed, b"text"))
    assert len(found) == len(said)


def test_no_more_than_so_many_days_are_kept() -> None:
    most = sigv4._hmac.cache_info().maxsize
    assert most == sigv4._KEYS_KEPT
    for number in range(200):
        sigv4._hmac(AWS, b"s" * 40, str(number), "us-east-1")
    assert sigv4._hmac.cache_info().currsize <= most


NAMES = [
    "X-Amz-Signature",
    "x-amz-signature",
    "X-Amz-Signatur%65",
    "X-Amz-Date",
    "X-Amz-Date-2",
    "a",
    "a-b",
    "A",
    "%41",
]


def _queries() -> Iterator[st.SearchStrategy[str]]:
    yield st.builds("{}={}".format, st.sampled_from(NAMES), st.sampled_from(["", "1", "0", "=", "a=b", "%2F", "%00"]))
    yield st.sampled_from([*NAMES, ""])


@settings(max_examples=150)
@given(st.lists(st.one_of(*_queries()), max_size=6).map("&".join))
def test_a_query_is_sorted_alike_by_its_bytes_and_by_its_pairs(query: str) -> None:
    inbound = Inbound("GET", f"/b/k?{query}".encode(), ((b"Host", HOST.encode()),), now=NOW)
    assert sigv4.sorted_query(AWS, inbound) == sigv4._sorted_pairs(AWS, inbound)


@given(
    st.sampled_from(["GET", "PUT"]), st.sampled_from([b"h", b"a.example:80"]), st.sampled_from(["", "x", "UNSIGNED"])
)
def test_a_url_that_signs_the_host_alone_has_the_canonical_request_of_any(
    method: str, host: bytes, payload: str
) -> None:
    inbound = Inbound("GET", b"/b/k%20?b=1&a=2&X-Amz-Signature=3&c", ((b"Host", b"other"),), now=NOW)
    texts = []
    for names in (("host",), ("Host",)):
        signed = Signed("1", "x", names, (payload or "y",), (method,), b"")
        texts.append(sigv4._usual(signed, inbound, sigv4.sorted_query(AWS, inbound), host))
    # The names are signed as they were written.
    assert texts[0] == texts[1].replace(b"\nHost\n", b"\nhost\n")
