"""Signatures of native keys: every forgery is refused, and every second form of one is the same key."""

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.minting import (
    NOW,
    P256_ORDER,
    ask,
    claims,
    halves,
    hs256,
    minter,
    parts_of,
    refused,
    ring,
    second_form,
    verify,
    with_signature,
)
from valetstore.encoding import b64url_encode
from valetstore.errors import Denied
from valetstore.grants import native
from valetstore.grants.native import TOKEN_BYTES_MAX, Native
from valetstore.keys.material import ALGORITHMS
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of

EVERY = pytest.mark.parametrize("algorithm", list(ALGORITHMS))
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


# The header


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"alg":"HS256"}',
        b'{"kid":"hs256"}',
        b'{"alg":null,"kid":"hs256"}',
        b'{"alg":"HS256","kid":1}',
        b'{"alg":"HS256","kid":null}',
        b'{"alg":"HS256","alg":"HS256","kid":"hs256"}',
        b'{"alg":"none","alg":"HS256","kid":"hs256"}',
        b'{"alg":"HS256","kid":"hs256","kid":"other"}',
        b'{"alg":"HS256","kid":"hs256","crit":["exp"]}',
        b'{"alg":"HS256","kid":"hs256","crit":[]}',
        b'{"alg":"HS256","kid":"hs256","crit":null}',
        b'{"alg":"HS256","kid":"hs256","b64":false,"crit":["b64"]}',
        b'{"alg":"hs256","kid":"hs256"}',
        b'{"alg":"HS512","kid":"hs256"}',
        b'{"alg":["HS256"],"kid":"hs256"}',
        b'{"alg":"HS256","kid":"hs256"} ,',
        b"\xff",
    ],
)
def test_a_header_that_is_not_plain_is_refused(header: bytes) -> None:
    with refused("key_malformed"):
        verify(minter().raw(header, json.dumps(claims()).encode()))


def test_other_header_members_say_nothing() -> None:
    attackers = {"kty": "oct", "k": b64url_encode(b"x" * 32).decode()}
    verify(
        minter().token(jku="https://evil.example/", jwk=attackers, x5u="https://evil.example/", cty="JWT", zip="DEF")
    )
    with refused("signature_mismatch"):
        verify(hs256(b"x" * 32, {"alg": "HS256", "kid": "hs256", "jwk": attackers}, claims()))


# Signatures


@EVERY
@pytest.mark.parametrize("signature", [b"", b"\0", b"\0" * 32, b"\0" * 64, b"\xff" * 64, b"\0" * 256, b"x" * 5000])
def test_an_empty_or_invented_signature_is_refused(algorithm: str, signature: bytes) -> None:
    with refused("signature_mismatch"):
        verify(with_signature(minter(algorithm).token(), signature))


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "HS384", "PS256", "ES384", "ES256K", "Ed25519", "dir"]
)
def test_no_other_algorithm_is_known(alg: str) -> None:
    for kid in ("hs256", "nobody"):
        token = minter().token(alg=alg, kid=kid)
        for changed in (token, token.rpartition(".")[0] + "."):
            with refused("key_malformed", "`alg`"):
                verify(changed)


@EVERY
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """The classic confusion: a token signed by HMAC with the public key as its secret."""
    by = minter(algorithm)
    if isinstance(by.material, bytes):
        return
    public = by.material.public_key()
    for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
        secret = public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        for text in (secret, secret.rstrip(b"\n")):
            with refused("signature_mismatch"):
                verify(hs256(text, {"alg": "HS256", "kid": by.record.kid}, claims()))
            with refused("signature_mismatch"):
                verify(hs256(text, {"alg": algorithm, "kid": by.record.kid}, claims()))


@EVERY
def test_the_algorithm_belongs_to_the_signing_key(algorithm: str) -> None:
    by = minter(algorithm)
    for other in ALGORITHMS.keys() - {algorithm}:
        with refused("signature_mismatch"):
            verify(by.token(alg=other))
        with refused("signature_mismatch"):
            verify(by.token(kid=other.lower()))


@EVERY
def test_an_unknown_signing_key_and_a_wrong_signature_are_one_answer(algorithm: str) -> None:
    """Neither code, status, text nor detail lets anyone probe for signing keys."""
    token = minter(algorithm).token()
    with refused("signature_mismatch") as wrong:
        verify(with_signature(token, minter(algorithm).sign(b"another")))
    with refused("signature_mismatch") as unknown:
        verify(minter(algorithm).token(kid="nobody"))
    with refused("signature_mismatch") as nothing:
        verify(token, KeyRing())
    assert wrong.detail == unknown.detail == nothing.detail == ""
    assert wrong.evidence.keys() == unknown.evidence.keys()
    assert wrong.evidence["signing_key"] == algorithm.lower()
    assert unknown.evidence["signing_key"] == ""


def test_an_unknown_signing_key_costs_a_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its header's algorithm, whether the kid is unknown or belongs to a key of another algorithm."""
    spent: list[str] = []
    monkeypatch.setattr(native, "spend_as_much", lambda name, message, signature: spent.append(name))
    for algorithm in ALGORITHMS:
        for kid in ("nobody", *(other.lower() for other in ALGORITHMS if other != algorithm)):
            token = minter(algorithm).raw(
                json.dumps({"alg": algorithm, "kid": kid}).encode(), b'{"exp":1900000000,"ops":["read"],"path":"/a/b"}'
            )
            with refused("signature_mismatch"):
                verify(token)
            assert spent.pop() == algorithm
    assert not spent


def test_a_key_of_another_scheme_is_unknown_here() -> None:
    by = minter()
    record = record_of("hs256", "HMAC", by.record.profile, secret=b"k" * 32, scheme="s3")
    token = hs256(b"k" * 32, {"alg": "HS256", "kid": "hs256"}, claims())
    with refused("signature_mismatch"):
        verify(token, KeyRing([record]))


def test_the_signature_is_judged_before_the_claims_are_read() -> None:
    for payload in (b"{", b'{"unknown":1}', b"\xff"):
        good = minter().raw(b'{"alg":"HS256","kid":"hs256"}', payload)
        with refused("signature_mismatch"):
            verify(with_signature(good, b"\0" * 32))
        with refused("key_malformed"):
            verify(good)


@EVERY
@given(draw=st.data())
def test_a_key_with_one_character_changed_is_refused(algorithm: str, draw: st.DataObject) -> None:
    token = minter(algorithm).token(claims(jti="n", sub="ann"))
    at = draw.draw(st.integers(0, len(token) - 1))
    put = draw.draw(st.one_of(st.sampled_from("ABCQRwxyz0189-_.=+/ "), st.characters()))
    how = draw.draw(st.sampled_from(["replace", "insert", "delete"]))
    changed = token[:at] + ("" if how == "delete" else put) + token[at + (how != "insert") :]
    if changed == token:
        return
    if not changed.isascii() or set(changed) & set(" ;\r\n\t"):
        credential = replace(Native().recognises(ask(token="x"))[0], text=changed)
        with pytest.raises(Denied) as caught:
            Native().verify(ask(), credential, ring())
    else:
        with pytest.raises(Denied) as caught:
            verify(changed)
    assert caught.value.code in {"key_malformed", "signature_mismatch"}


@given(st.text(max_size=60))
def test_any_text_as_a_key_is_refused(text: str) -> None:
    credential = Native().recognises(ask(token="x"))[0]
    with refused("key_malformed"):
        Native().verify(ask(), replace(credential, text=text), ring())


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "a.b.c.d", "e30.e30.", "\u00e9.a.b", "{}.{}.{}"])
def test_what_is_no_jws_is_refused(text: str) -> None:
    credential = Native().recognises(ask(token="x"))[0]
    with refused("key_malformed"):
        Native().verify(ask(), replace(credential, text=text), ring())


def test_a_key_has_a_longest_length() -> None:
    whole = minter().token(claims(ctx=""))
    room = TOKEN_BYTES_MAX - len(whole)
    verify(minter().token(claims(ctx="x" * (room * 3 // 4 - 3))))
    with refused("key_malformed", str(TOKEN_BYTES_MAX)):
        verify(minter().token(claims(ctx="x" * room)))


@EVERY
def test_base64_that_could_be_written_in_another_way_is_refused(algorithm: str) -> None:
    token = minter(algorithm).token()
    header, payload, signature = token.split(".")
    for changed in (
        token + "=",
        token + "==",
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}=.{signature}",
        f"{header}\n.{payload}.{signature}",
        f"{header}.{payload}.{signature}\n",
        f"{header}.{payload}.{signature[:9]}+{signature[10:]}",
        f"{header}.{payload}.{signature[:9]}/{signature[10:]}",
        f"{header}.{payload}.{signature[:9]}!{signature[9:]}",
    ):
        credential = Native().recognises(ask(token="x"))[0]
        with refused("key_malformed"):
            Native().verify(ask(), replace(credential, text=changed), ring())


def test_the_spare_bits_of_the_last_character_are_zero() -> None:
    token = minter().token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    for spare in range(1, 4):
        with refused("key_malformed"):
            verify(token[:-1] + alphabet[last + spare])


# Signatures that somebody else could make from a given one


def test_the_second_form_of_an_ecdsa_signature_is_the_same_key() -> None:
    for more in ({}, {"jti": "n"}):
        token = minter("ES256").token(claims(**more))
        other = second_form(token)
        assert other != token
        assert verify(other).grant == verify(token).grant


def test_an_ecdsa_signature_beyond_the_order_is_refused() -> None:
    token = minter("ES256").token()
    r, s = halves(parts_of(token)[2])
    for first, second in ((0, 0), (r, 0), (0, s), (P256_ORDER, s), (r, P256_ORDER), (2**256 - 1, 2**256 - 1), (s, r)):
        with refused("signature_mismatch"):
            verify(with_signature(token, first.to_bytes(32) + second.to_bytes(32)))
    if s + P256_ORDER < 2**256:
        with refused("signature_mismatch"):
            verify(with_signature(token, r.to_bytes(32) + (s + P256_ORDER).to_bytes(32)))


def test_an_ecdsa_signature_has_one_length() -> None:
    token = minter("ES256").token()
    r, s = halves(parts_of(token)[2])
    for first, second in ((32, 33), (33, 32), (33, 33), (64, 64)):
        with refused("signature_mismatch"):
            verify(with_signature(token, r.to_bytes(first) + s.to_bytes(second)))


def test_an_ed25519_signature_has_one_form() -> None:
    token = minter("EdDSA").token()
    signature = parts_of(token)[2]
    scalar = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    with refused("signature_mismatch"):
        verify(with_signature(token, signature[:32] + scalar.to_bytes(32, "little")))


def test_an_rsa_signature_has_one_form() -> None:
    by = minter("RS256")
    assert isinstance(by.material, rsa.RSAPrivateKey)
    modulus = by.material.public_key().public_numbers().n
    for number in range(200):  # until one has room above it
        token = by.token(claims(sub=str(number)))
        signature = parts_of(token)[2]
        larger = int.from_bytes(signature) + modulus
        if larger < 2**2048:
            with refused("signature_mismatch"):
                verify(with_signature(token, larger.to_bytes(256)))
            break
    for changed in (b"\0" + signature, signature[1:], (modulus - int.from_bytes(signature)).to_bytes(256)):
        with refused("signature_mismatch"):
            verify(with_signature(token, changed))


# Identity


def identity(token: str, keys: KeyRing | None = None) -> bytes:
    return verify(token, keys).grant.identity


@EVERY
def test_a_jti_names_the_key_whatever_else_it_says(algorithm: str) -> None:
    by = minter(algorithm)
    one = identity(by.token(claims(jti="n")))
    assert identity(by.token(claims(jti="n", sub="bob", path="/photos/dog.jpg"))) == one
    assert identity(by.token(claims(jti="n"), typ="JWT")) == one
    assert identity(by.token(claims(jti="m"))) != one
    assert identity(by.token(claims(jti=""))) != identity(by.token(claims()))


@EVERY
def test_without_a_jti_two_keys_signed_alike_are_one_key(algorithm: str) -> None:
    by = minter(algorithm)
    one = identity(by.token(claims()))
    assert identity(by.token(claims())) == one
    assert identity(by.token(claims(sub="bob"))) != one
    assert identity(by.token(claims(exp=NOW + 61))) != one


def test_a_jti_that_spells_what_names_another_key_is_not_that_key() -> None:
    token = minter("ES256").token(claims())
    signed = token.rpartition(".")[0]
    assert identity(minter("ES256").token(claims(jti=signed))) != identity(token)


def test_the_same_jti_of_another_signing_key_is_another_key() -> None:
    assert len({identity(minter(algorithm).token(claims(jti="n"))) for algorithm in ALGORITHMS}) == len(ALGORITHMS)


def test_a_new_signing_key_under_an_old_name_cannot_meet_the_old_ones_keys() -> None:
    secret = bytes(range(32))
    records = [record_of("app", "HS256", minter().record.profile, secret=secret) for _ in range(2)]
    token = hs256(secret, {"alg": "HS256", "kid": "app"}, claims(jti="n"))
    first, second = (identity(token, KeyRing([record])) for record in records)
    assert first != second
    assert first == identity(token, KeyRing([records[0]], generation=7))
