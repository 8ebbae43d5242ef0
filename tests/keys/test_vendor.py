"""Signing keys of the vendors' dialects: what is made fits everywhere, what is brought along is checked."""

import re
from collections.abc import Callable

import msgspec
import pytest

from valetstore.encoding import b64url_encode
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.material import public_pem
from valetstore.keys.pairs import new_pair
from valetstore.keys.ring import SHARING_MAX, KeyRecord, KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import (
    account_name_from,
    check_access_key_id,
    check_account_key,
    check_account_name,
    check_google_id,
    check_key_pair_id,
    check_secret_access_key,
    check_swift_account,
    check_swift_key,
    new_access_key_id,
    new_account_key,
    new_key_pair_id,
    new_secret_access_key,
    new_swift_key,
)


def test_made_ids_and_secrets_have_the_shape_of_aws_and_pass_their_own_checks() -> None:
    for _ in range(50):
        access_key_id, secret = new_access_key_id(), new_secret_access_key()
        assert re.fullmatch(r"VK[A-Z2-7]{18}", access_key_id)
        assert re.fullmatch(r"[A-Za-z0-9_-]{40}", secret)
        check_access_key_id(access_key_id)
        check_secret_access_key(secret.encode())
    assert len({new_secret_access_key() for _ in range(50)}) == 50


@pytest.mark.parametrize("text", ["", "ab", "a" * 129, "with space", "a/b/c", "a:bc", "a+bc", "äbc", "abc\n"])
def test_an_access_key_id_that_would_not_fit_a_credential_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="3 to 128"):
        check_access_key_id(text)


@pytest.mark.parametrize("secret", [b"", b"x" * 15, b"x" * 257, b"x" * 20 + b" ", b"x" * 20 + b"\n", b"\xff" * 20])
def test_a_weak_or_unprintable_secret_is_refused_and_never_shown(secret: bytes) -> None:
    with pytest.raises(ConfigInvalid, match="16 to 256") as caught:
        check_secret_access_key(secret)
    assert "xxx" not in str(caught.value)


def test_a_ring_holds_the_secret_as_its_characters() -> None:
    secret = new_secret_access_key()
    ring = KeyRing([record_of("web", "HMAC", Profile(), kid="AKIDWEB", secret=secret.encode(), scheme="s3")])
    found = ring.find("s3", "AKIDWEB")
    assert found
    assert found.material == secret.encode()
    assert ring.find("native", "AKIDWEB") is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scheme": "ftp"}, "scheme 'ftp': must be one of native, s3"),
        ({"algorithm": "HS256"}, "a signing key for S3 has HMAC"),
        ({"kid": "a/b"}, "access key id"),
        ({"secret": b64url_encode(b"short").decode()}, "16 to 256"),
        ({"secret": None}, "HMAC needs secret"),
    ],
)
def test_a_record_that_is_none_is_named(changes: dict[str, str], why: str) -> None:
    good = record_of("web", "HMAC", Profile(), kid="AKIDWEB", secret=b"s" * 40, scheme="s3")
    with pytest.raises(ConfigInvalid, match=f"signing key 'web': .*{why}"):
        KeyRing([msgspec.structs.replace(good, **changes)])


def test_what_is_made_for_the_others_passes_their_checks_and_fits_a_command_line() -> None:
    for _ in range(50):
        check_key_pair_id(new_key_pair_id())
        check_account_key(new_account_key())
        key = new_swift_key()
        check_swift_key(key.encode())
        assert re.fullmatch(r"KV[A-Z2-7]{12}", new_key_pair_id())
        assert not key.startswith("-")
    assert len({new_swift_key() for _ in range(50)} | {new_key_pair_id() for _ in range(50)}) == 100


@pytest.mark.parametrize(("name", "account"), [("web", "web"), ("My-Web_1.x", "myweb1x"), ("a" * 24, "a" * 24)])
def test_an_account_name_is_as_like_the_signing_keys_as_it_can_be(name: str, account: str) -> None:
    assert account_name_from(name) == check_account_name(account)


@pytest.mark.parametrize("name", ["a", "_-.", "a-b", "x" * 25])
def test_a_name_that_makes_no_account_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="no account name can be made of"):
        account_name_from(name)


@pytest.mark.parametrize(
    ("check", "good", "wrong"),
    [
        (check_google_id, ["a@b.iam.gserviceaccount.com", "GOOG1EX", "a%b+c@d"], ["", "ab", "a/b@c", "a b@c", "a:b@c"]),
        (check_account_name, ["abc", "a1b2c3"], ["", "ab", "Abc", "a-bc", "a" * 25, "abc\n", "äbc"]),
        (check_key_pair_id, ["K2JCJMDEHXQW5F", "a_b-c"], ["", "ab", "a b", "a.b", "K2~", "a" * 129]),
        (check_swift_account, ["AUTH_test", "a", "AUTH_a.b~c-d"], ["", ".", "..", "a/b", "a b", "a\n", "AUTH_%41"]),
    ],
)
def test_ids_fit_where_a_credential_has_them(check: Callable[[str], str], good: list[str], wrong: list[str]) -> None:
    for text in good:
        assert check(text) == text
    for text in wrong:
        with pytest.raises(ConfigInvalid):
            check(text)


@pytest.mark.parametrize(
    ("check", "wrong"),
    [(check_account_key, [b"", b"x" * 15]), (check_swift_key, [b"", b"x" * 513, b"xxx\nxxx", b"xxx\0"])],
)
def test_a_secret_that_is_none_is_refused_and_never_shown(check: Callable[[bytes], bytes], wrong: list[bytes]) -> None:
    for secret in wrong:
        with pytest.raises(ConfigInvalid) as caught:
            check(secret)
        assert "xxx" not in str(caught.value)


def shared(scheme: str, kid: str, name: str, algorithm: str = "HMAC") -> KeyRecord:
    """A signing key of a vendor's with a secret."""
    return record_of(name, algorithm, Profile(), kid=kid, secret=b"s" * 40, scheme=scheme)


@pytest.mark.parametrize(("scheme", "kid"), [("gcs", "GOOG1EX"), ("azure", "acct"), ("swift", "AUTH_a")])
def test_a_rotation_has_several_signing_keys_of_one_id_in_the_rings_order(scheme: str, kid: str) -> None:
    names = [f"key-{number}" for number in range(SHARING_MAX)]
    ring = KeyRing([shared(scheme, kid, name) for name in names])
    assert [key.name for key in ring.find_all(scheme, kid)] == names
    first = ring.find(scheme, kid)
    assert first is not None
    assert first.name == "key-0"
    assert ring.find_all(scheme, "other") == ()
    with pytest.raises(ConfigInvalid, match=f"{SHARING_MAX} others have the key id"):
        KeyRing([*(shared(scheme, kid, name) for name in names), shared(scheme, kid, "more")])


def test_rotations_never_run_out_and_the_last_that_retire_are_tried() -> None:
    ends = [500, 100, 300, 700, 200, 900, 400, 800, 600, 1000]
    retiring = [msgspec.structs.replace(shared("azure", "acct", f"old-{at}"), retires_at=at) for at in ends]
    standing = [shared("azure", "acct", f"key-{number}") for number in range(SHARING_MAX)]
    ring = KeyRing([*retiring, *standing])
    tried = [key.name for key in ring.find_all("azure", "acct")]
    assert tried == [f"old-{at}" for at in ends if at > 200] + [record.name for record in standing]
    assert len(ring) == len(retiring) + len(standing)
    assert ring.named("old-100") is not None
    with pytest.raises(ConfigInvalid, match=f"{SHARING_MAX} others have the key id 'acct' already; retire one first"):
        KeyRing([*retiring, *standing, shared("azure", "acct", "more")])


def test_one_id_is_of_one_kind() -> None:
    """A service account is no HMAC key: a key that is one must not be tried as the other."""
    pair = new_pair("RSA")
    account = record_of("rsa", "RSA", Profile(), kid="a@b", public_key=public_pem(pair), scheme="gcs")
    with pytest.raises(ConfigInvalid, match="is used twice"):
        KeyRing([account, shared("gcs", "a@b", "hmac")])


def test_ids_of_s3_and_cloudfront_name_one_signing_key() -> None:
    pem = public_pem(new_pair("ECDSA"))
    pairs = [record_of(n, "ECDSA", Profile(), kid="K-1", public_key=pem, scheme="cloudfront") for n in ("a", "b")]
    with pytest.raises(ConfigInvalid, match="signing key 'b': the key id 'K-1' is used twice"):
        KeyRing(pairs)
    with pytest.raises(ConfigInvalid, match="is used twice"):
        KeyRing([shared("s3", "AKIA", "a"), shared("s3", "AKIA", "b")])


@pytest.mark.parametrize(
    ("scheme", "kid", "algorithm", "why"),
    [
        ("azure", "acct", "RSA", "a signing key for Azure Blob has HMAC"),
        ("cloudfront", "K-1", "HMAC", "a signing key for CloudFront has RSA or ECDSA"),
        ("gcs", "a@b", "ECDSA", "a signing key for Google Cloud Storage has RSA or HMAC"),
        ("azure", "Acct", "HMAC", "account name"),
        ("gcs", "a@b", "RSA", "RSA needs public-key, and no secret"),
    ],
)
def test_a_record_of_another_vendor_that_is_none_is_named(scheme: str, kid: str, algorithm: str, why: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"signing key 'web': .*{why}"):
        KeyRing([shared(scheme, kid, "web", algorithm)])
