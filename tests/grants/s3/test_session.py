"""Temporary credentials: botocore signs with them, nobody can change them, and they are never wider than their key."""

import hmac
from typing import Any

import msgspec
import pytest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.s3.stranger import (
    HOST,
    RULES,
    URL,
    arriving,
    client,
    identity,
    judge,
    made_up_secret,
    presigned,
    prove_headers,
    prove_url,
    ring,
    ring_of,
    signed,
)
from valetstore.encoding import b64url_decode, b64url_encode
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.grant import Grant, Profile
from valetstore.grants.s3 import session
from valetstore.grants.s3.scheme import S3
from valetstore.inbound import Inbound
from valetstore.policy.request import enforce

END = 4_000_000_000
INVALID = ("InvalidToken", "The provided token is malformed or otherwise invalid.", 400)


def minted(expires_at: int = END, **narrowing: Any) -> Credentials:
    """Temporary credentials of the tests' signing key, as botocore holds them."""
    made = session.mint(identity().access_key, identity().secret_key.encode(), expires_at, **narrowing)
    return Credentials(made.access_key_id, made.secret_access_key, made.session_token)


def said(denied: Denied) -> tuple[str, str, int]:
    """S3's code, sentence and status."""
    assert denied.said is not None
    return denied.said.code, denied.said.message, denied.said.status


def refused(token: str, access_key_id: str, now: float = 0, keys: Any = None) -> Denied:
    """What is said of a token that is refused."""
    with pytest.raises(Denied) as caught:
        session.signer_of(access_key_id, token, keys or ring(), now)
    return caught.value


def grant_of(inbound: Inbound, keys: Any = None) -> Grant:
    """The grant within its signing key's profile."""
    proof = judge(inbound, keys)
    return proof.grant.narrowed_by(proof.limits)


def test_a_url_signed_with_them_opens_and_is_their_subject() -> None:
    temporary = minted()
    url = client(temporary).generate_presigned_url("get_object", {"Bucket": "photos", "Key": "cat.jpg"})
    assert "X-Amz-Security-Token=" in url
    proven = prove_url(arriving("GET", url))
    assert proven.session is not None
    assert (proven.key.name, proven.session.access_key_id) == ("web", temporary.access_key)
    assert grant_of(arriving("GET", url)).subject == temporary.access_key


def test_headers_signed_with_them_open() -> None:
    proven = prove_headers(arriving("GET", URL, signed(credentials=minted())))
    assert proven.session is not None


def test_they_end_when_they_end_however_long_the_url_would_live() -> None:
    url = presigned(credentials=minted())
    now = arriving("GET", url).now
    short = presigned(credentials=minted(int(now) + 60), expires=3600)
    assert grant_of(arriving("GET", short)).not_after == int(now) + 60
    with pytest.raises(Denied) as caught:
        prove_url(arriving("GET", short, now=int(now) + 60))
    assert caught.value.code == "key_expired"
    assert said(caught.value) == ("ExpiredToken", "The provided token has expired.", 400)


def opens(inbound: Inbound, keys: Any = None) -> bool:
    """Whether the request is let in."""
    try:
        enforce(grant_of(inbound, keys), S3(RULES).intent(inbound), inbound)
    except Denied as denied:
        if denied.code not in ("operation_not_allowed", "path_not_allowed"):
            raise
        return False
    return True


def test_operations_and_prefixes_narrow() -> None:
    temporary = minted(operations=("read",), prefixes=("/photos/2026/",))
    within, beside = f"http://{HOST}/photos/2026/a.jpg", f"http://{HOST}/photos/2025/a.jpg"
    assert opens(arriving("GET", within, signed("GET", within, credentials=temporary)))
    assert not opens(arriving("GET", beside, signed("GET", beside, credentials=temporary)))
    assert not opens(arriving("PUT", within, signed("PUT", within, credentials=temporary)))
    assert opens(arriving("GET", presigned(url=within, credentials=temporary)))
    assert not opens(arriving("GET", presigned(url=beside, credentials=temporary)))
    assert not opens(arriving("PUT", presigned("PUT", within, credentials=temporary)))


def test_they_are_never_wider_than_their_signing_key() -> None:
    keys = ring(Profile(operations=("read",), prefixes=("/photos/",)))
    temporary = minted(operations=("read", "write"), prefixes=("/",))
    assert opens(arriving("GET", URL, signed("GET", credentials=temporary)), keys)
    assert not opens(arriving("PUT", URL, signed("PUT", credentials=temporary)), keys)
    other = f"http://{HOST}/secret/a.jpg"
    assert not opens(arriving("GET", other, signed("GET", other, credentials=temporary)), keys)


# What is refused


def test_a_temporary_id_without_its_token_is_nobody() -> None:
    temporary = minted()
    bare = Credentials(temporary.access_key, temporary.secret_key)
    with pytest.raises(Denied) as caught:
        prove_url(arriving("GET", presigned(credentials=bare)))
    assert said(caught.value)[0] == "InvalidAccessKeyId"


def test_a_token_opens_nothing_beside_another_id() -> None:
    """Neither that of the signing key nor that of other temporary credentials."""
    one, other = minted(), minted()
    assert one.token is not None
    assert said(refused(one.token, identity().access_key)) == INVALID
    assert said(refused(one.token, other.access_key)) == INVALID


def test_a_token_does_not_give_the_right_to_sign() -> None:
    temporary = minted()
    forged = Credentials(temporary.access_key, made_up_secret(), temporary.token)
    with pytest.raises(Denied) as caught:
        prove_url(arriving("GET", presigned(credentials=forged)))
    assert said(caught.value)[0] == "SignatureDoesNotMatch"


def test_the_secret_of_one_session_signs_for_no_other() -> None:
    one, other = minted(operations=("read",)), minted()
    for mixed in (
        Credentials(other.access_key, one.secret_key, other.token),
        Credentials(one.access_key, one.secret_key, other.token),
    ):
        with pytest.raises(Denied):
            prove_headers(arriving("GET", URL, signed(credentials=mixed)))


def test_a_retired_signing_key_or_one_that_is_gone_has_no_sessions() -> None:
    temporary = minted()
    assert temporary.token is not None
    retiring = ring_of(identity(), Profile(), retires_at=1000)
    session.signer_of(temporary.access_key, temporary.token, retiring, 999)
    assert said(refused(temporary.token, temporary.access_key, 1000, retiring)) == INVALID
    other = ring_of(Credentials("VKOTHER", made_up_secret()), Profile())
    assert said(refused(temporary.token, temporary.access_key, 0, other)) == INVALID
    changed = ring_of(Credentials(identity().access_key, made_up_secret()), Profile())
    assert said(refused(temporary.token, temporary.access_key, 0, changed)) == INVALID


@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, 10_000), character=st.sampled_from("ABCabc019-_. =\n\u00fc"))
def test_no_character_of_a_token_can_change(at: int, character: str) -> None:
    temporary = minted(operations=("read",), prefixes=("/a/",))
    assert temporary.token is not None
    at %= len(temporary.token)
    changed = temporary.token[:at] + character + temporary.token[at + 1 :]
    if changed != temporary.token:
        assert said(refused(changed, temporary.access_key)) == INVALID


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=80) | st.from_regex(r"valet1\.[A-Za-z0-9_-]{1,60}\.[A-Za-z0-9_-]{43}", fullmatch=True))
def test_junk_is_no_token(token: str) -> None:
    if token:
        assert said(refused(token, identity().access_key)) == INVALID


def test_a_token_has_one_spelling() -> None:
    temporary = minted()
    assert temporary.token is not None
    for spelled in (temporary.token + "=", temporary.token + " ", f" {temporary.token}", temporary.token + "A" * 5000):
        assert said(refused(spelled, temporary.access_key)) == INVALID
    # Rightly sealed, but written with a space: another spelling of the same.
    version, text, _ = temporary.token.split(".")
    loose = b64url_decode(text.encode()).replace(b",", b", ", 1)
    purpose = b"valetstore: seal of an S3 session token, version 1"
    key = hmac.digest(identity().secret_key.encode(), purpose, "sha256")
    sealed = f"{version}.{b64url_encode(loose).decode()}.{b64url_encode(hmac.digest(key, loose, 'sha256')).decode()}"
    assert said(refused(sealed, temporary.access_key)) == INVALID


def test_the_token_says_nothing_secret() -> None:
    temporary = minted()
    assert temporary.token is not None
    held = b64url_decode(temporary.token.split(".")[1].encode())
    assert identity().secret_key.encode() not in held
    assert temporary.secret_key.encode() not in held
    assert msgspec.json.decode(held)[:2] == [identity().access_key, temporary.access_key]


def test_every_session_has_its_own_credentials() -> None:
    one, other = minted(), minted()
    assert one.access_key != other.access_key
    assert one.secret_key != other.secret_key
    assert (len(one.access_key), len(one.secret_key)) == (20, 40)


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_at": 0},
        {"expires_at": 2**60},
        {"operations": ("admin",)},
        {"operations": ("fly",)},
        {"prefixes": ("photos/",)},
        {"prefixes": ("/photos",)},
        {"prefixes": tuple(f"/{'a' * 100}{number}/" for number in range(60))},
    ],
)
def test_what_could_never_be_a_session_is_not_minted(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid):
        minted(**wrong)


def test_a_signing_key_without_a_token_is_itself() -> None:
    signer = session.signer_of(identity().access_key, None, ring(), 0)
    assert (signer.key.name, signer.secret, signer.session) == ("web", identity().secret_key.encode(), None)


def test_a_session_does_not_outlive_what_its_signing_key_may_sign() -> None:
    """`keys session` refuses it; a token that was made elsewhere, or before, opens nothing until its last part."""
    keys, token = ring(Profile(ttl_seconds_max=3600)), minted()
    begin = END - 3600 - session.CLOCK_SECONDS
    denied = refused(token.token, token.access_key, begin - 1, keys)
    assert (denied.code, denied.evidence["signing_key"]) == ("ttl_too_long", "web")
    assert session.signer_of(token.access_key, token.token, keys, begin).session is not None
