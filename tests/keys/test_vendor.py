"""Signing keys of the vendors' dialects: what is made fits everywhere, what is brought along is checked."""

import re

import msgspec
import pytest

from valetstore.encoding import b64url_encode
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import (
    check_access_key_id,
    check_secret_access_key,
    new_access_key_id,
    new_secret_access_key,
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
