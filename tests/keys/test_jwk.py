"""JWKs are read as other libraries write them, and refused by the name of what is wrong."""

import contextlib
import json
from typing import Any

import joserfc.jwk
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.minting import minter
from valetstore.encoding import b64url_encode
from valetstore.errors import ConfigInvalid
from valetstore.keys.jwk import Jwk, read_jwks
from valetstore.keys.material import ALGORITHMS, public_pem

WRITERS: dict[str, Any] = {"EdDSA": OKPAlgorithm, "ES256": ECAlgorithm, "RS256": RSAAlgorithm}
SECRET = bytes(range(32))


def written(algorithm: str, **more: Any) -> dict[str, Any]:
    """The JWK of that algorithm's key, public, as PyJWT writes it."""
    private = minter(algorithm).material
    if isinstance(private, bytes):
        found: dict[str, Any] = {"kty": "oct", "k": b64url_encode(private).decode()}
    else:
        found = WRITERS[algorithm].to_jwk(private.public_key(), as_dict=True)
    return {name: value for name, value in (found | more).items() if value is not None}


def read(*members: dict[str, Any]) -> list[Jwk]:
    return read_jwks(json.dumps({"keys": members}).encode())


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_a_jwk_is_read_alone_and_in_a_set(algorithm: str) -> None:
    private = minter(algorithm).material
    (key,) = read(written(algorithm, kid="k1", alg=algorithm))
    assert (key.kid, key.algorithm) == ("k1", algorithm)
    if isinstance(private, bytes):
        assert (key.secret, key.public_key) == (private, None)
    else:
        assert (key.secret, key.public_key) == (None, public_pem(private))
    assert read_jwks(json.dumps(written(algorithm)).encode()) == [key._replace(kid="")]


@pytest.mark.parametrize(("kind", "option"), [("OKP", "Ed25519"), ("EC", "P-256"), ("RSA", 2048), ("oct", 256)])
def test_a_jwk_written_by_joserfc_is_read(kind: Any, option: Any) -> None:
    key = joserfc.jwk.generate_key(kind, option)
    (found,) = read(key.as_dict(private=kind == "oct"))
    if kind != "oct":
        assert found.public_key == key.as_pem(private=False).decode()


def test_the_private_half_is_not_taken() -> None:
    private = minter("EdDSA").material
    assert not isinstance(private, bytes)
    whole = WRITERS["EdDSA"].to_jwk(private, as_dict=True)
    assert "d" in whole
    (key,) = read(whole)
    assert key.public_key == public_pem(private)
    assert key.secret is None


def test_keys_for_encryption_are_passed_over() -> None:
    kept = read(written("ES256", use="enc"), written("EdDSA", use="sig", kid="s"), written("RS256", use="enc"))
    assert [key.kid for key in kept] == ["s"]
    with pytest.raises(ConfigInvalid, match="holds no signing key"):
        read(written("ES256", use="enc"))


def small_rsa() -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)


def other_curve() -> dict[str, Any]:
    return ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (other_curve(), r"crv 'P-384'.*not supported; allowed: OKP \(Ed25519\), EC \(P-256\)"),
        (written("ES256", crv="P-384"), "P-384"),
        (written("EdDSA", crv="X25519"), "X25519"),
        (written("EdDSA", crv="Ed448"), "Ed448"),
        (written("EdDSA", crv=None), "crv None"),
        (small_rsa(), "1024 bits; RS256 takes 2048"),
        ({"kty": "oct", "k": b64url_encode(bytes(31)).decode()}, "31 bytes; HS256 needs 32"),
        ({"kty": "oct", "k": b64url_encode(public_pem(minter("EdDSA").material).encode()).decode()}, "PEM file"),  # type: ignore[arg-type]
        ({"kty": "oct", "k": b64url_encode(SECRET).decode() + "="}, "not a valid key"),
        ({"kty": "oct"}, "k: must be base64url text"),
        ({"kty": "oct", "k": 5}, "k: must be base64url text"),
        ({"kty": "foo"}, "kty 'foo'"),
        ({}, "kty None"),
        (written("ES256", x=None), "x: must be base64url"),
        (written("ES256", x="AAAA"), "not a valid key"),
        (written("EdDSA", x="AAAA"), "not a valid key"),
        (written("RS256", e="AA"), "not a valid key"),
        (written("RS256", n="AA"), "not a valid key|bits"),
        (written("RS256", alg="PS256"), "alg 'PS256' is not supported for it; allowed: RS256"),
        (written("RS256", alg="HS256"), "allowed: RS256"),
        (written("ES256", alg=None, kid=5), "kid: must be a string"),
        (written("EdDSA", kid="k9", x="AAAA"), "key 'k9'"),
    ],
)
def test_a_jwk_that_cannot_be_used_says_why(member: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigInvalid, match=why):
        read(member)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b'{"keys":[[]]}',
        b"\xff",
        b'{"keys":[],"keys":[]}',
        b'{"kty":"oct","kty":"RSA"}',
        b"[" * 5000,
    ],
)
def test_what_is_no_jwk_set(data: bytes) -> None:
    with pytest.raises(ConfigInvalid, match="is not a JWK Set"):
        read_jwks(data)


def test_an_empty_set_holds_no_key() -> None:
    with pytest.raises(ConfigInvalid, match="holds no signing key"):
        read_jwks(b'{"keys":[]}')


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "k", "kid", "use", "alg"]),
        st.one_of(
            st.sampled_from(["OKP", "EC", "RSA", "oct", "Ed25519", "P-256", "sig", "AQAB", "A" * 43, "", "\u00e9"]),
            st.none(),
            st.integers(),
            st.lists(st.none()),
        ),
        max_size=8,
    )
)
def test_any_jwk_is_read_or_refused(member: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigInvalid):
        assert read(member)
