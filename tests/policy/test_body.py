"""What was promised of a body: its length range and its digests, in every form they are written."""

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minting import NOW, ask, perhaps_refused, refused
from valetstore.grants.grant import OPERATIONS, Admission, Grant, Intent
from valetstore.policy.body import BodyRules, promised_digests

BODY = b"meow"
MD5 = hashlib.md5(BODY).digest()
SHA256 = hashlib.sha256(BODY).digest()
SHA512 = hashlib.sha512(BODY).digest()
FOUND = {"md5": MD5, "sha256": SHA256, "sha512": SHA512}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def rules(length: int | None = None, most: int = 100, headers: dict[str, str] | None = None, **more: Any) -> BodyRules:
    grant = Grant(
        scheme="native", signing_key="k", identity=bytes(16), operations=OPERATIONS, scopes=(), not_after=NOW + 60
    )
    limited = msgspec.structs.replace(grant, **more)
    intent = Intent("write", "/b/k", length=length)
    return BodyRules.of(Admission(ask("PUT", headers=headers), intent, limited, None), most)


def promised(**headers: str) -> tuple[tuple[str, bytes], ...]:
    return promised_digests(ask(headers={name.replace("_", "-"): value for name, value in headers.items()}))


def test_nothing_promised_nothing_checked() -> None:
    assert promised() == ()
    assert rules().hashes == frozenset()
    rules().check_whole(0, {})


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (f"sha-256=:{b64(SHA256)}:", (("sha256", SHA256),)),
        (f"sha-512=:{b64(SHA512)}:", (("sha512", SHA512),)),
        (f"sha-256=:{b64(SHA256)}:,sha-512=:{b64(SHA512)}:", (("sha256", SHA256), ("sha512", SHA512))),
        (f" sha-256=:{b64(SHA256)}: , md5=:{b64(MD5)}:", (("sha256", SHA256),)),
        (f"unixsum=:AAE=:, sha-256=:{b64(SHA256)}:", (("sha256", SHA256),)),
        ("crc32c=:AAAAAA==:", ()),
        # Two for one algorithm: the body cannot have both.
        (f"sha-256=:{b64(SHA256)}:, sha-256=:{b64(bytes(32))}:", (("sha256", SHA256), ("sha256", bytes(32)))),
    ],
)
def test_content_digest(field: str, expected: tuple[tuple[str, bytes], ...]) -> None:
    assert promised(content_digest=field) == expected


@pytest.mark.parametrize(
    "field",
    [
        "",
        " ",
        "sha-256",
        "sha-256=",
        "sha-256=::",
        f"sha-256={b64(SHA256)}",
        f"sha-256=:{b64(SHA256)}",
        f"sha-256=:{b64(SHA512)}:",
        f"sha-512=:{b64(SHA256)}:",
        f"SHA-256=:{b64(SHA256)}:",
        f"x sha-256=:{b64(SHA256)}:",
        f"sha-256=:{b64(SHA256)}: x",
        f"sha-256=:{b64(SHA256)}:sha-512=:{b64(SHA512)}:",
        f",sha-256=:{b64(SHA256)}:",
        f"sha-256=:{b64(SHA256)[:-1]}:",
        f"sha-256=:{b64(SHA256)}:;q=1",
        f'sha-256="{b64(SHA256)}"',
        "sha-256=:\u00e9:",
        f"sha-256=: {b64(SHA256)} :",
        "sha-256=:" + "_" * 43 + "=:",
    ],
)
def test_what_is_no_content_digest_is_refused_and_never_ignored(field: str) -> None:
    with refused("parameter_invalid", "Content-Digest"):
        promised(content_digest=field)


@pytest.mark.parametrize(
    "value", ["", "x", b64(SHA256), MD5.hex(), b64(MD5)[:-1], b64(MD5) + "\n", b64(MD5) + ", x", "\u00e9" * 24]
)
def test_what_is_no_content_md5_is_refused(value: str) -> None:
    with refused("parameter_invalid", "Content-MD5"):
        promised(content_md5=value)


@given(st.text(st.characters(max_codepoint=0xFF), max_size=60))
def test_any_header_is_read_or_refused(value: str) -> None:
    for name in ("content_md5", "content_digest"):
        with perhaps_refused("parameter_invalid"):
            promised(**{name: value})


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_any_digest_comes_back(md5: bytes, sha256: bytes) -> None:
    assert promised(content_md5=b64(md5), content_digest=f"sha-256=:{b64(sha256)}:") == (
        ("md5", md5),
        ("sha256", sha256),
    )


def test_every_promise_is_kept_or_the_body_refused() -> None:
    headers = {"content-md5": b64(MD5), "content-digest": f"sha-256=:{b64(SHA256)}:, sha-512=:{b64(SHA512)}:"}
    found = rules(headers=headers, sha256=SHA256)
    assert found.hashes == {"md5", "sha256", "sha512"}
    found.check_whole(4, FOUND)
    for name in FOUND:
        with refused("digest_mismatch", name):
            found.check_whole(4, FOUND | {name: bytes(len(FOUND[name]))})


def test_the_key_and_the_request_may_not_disagree() -> None:
    with refused("digest_mismatch"):
        rules(headers={"content-digest": f"sha-256=:{b64(SHA256)}:"}, sha256=bytes(32)).check_whole(4, FOUND)
    with refused("digest_mismatch"):
        rules(headers={"content-digest": f"sha-256=:{b64(bytes(32))}:"}, sha256=SHA256).check_whole(4, FOUND)


def test_the_smaller_of_the_keys_and_the_gateways_limit_holds() -> None:
    assert rules(length_max=10).length_max == 10
    assert rules(length_max=1000).length_max == 100
    assert rules().length_max == 100
    rules(length=100)
    with refused("too_large", "100"):
        rules(length=101)
    with refused("too_large", "10"):
        rules(length=11, length_max=10)


def test_the_first_byte_beyond_the_maximum_is_one_too_many() -> None:
    found = rules(length_max=10)
    found.check_so_far(10)
    with refused("too_large", "10"):
        found.check_so_far(11)


def test_a_body_of_unknown_length_is_judged_when_it_ends() -> None:
    found = rules(length_min=5, sha256=SHA256)
    found.check_so_far(0)
    with refused("too_small", "5"):
        found.check_whole(4, FOUND)
    rules(length_min=4, sha256=SHA256).check_whole(4, FOUND)
