"""Custom policies are read strictly: one statement, known members, one meaning; and so is their base64."""

import base64
import contextlib
import json
import math
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.grants.cloudfront.stranger import URL, after, encoded, policy, source
from valetstore.errors import Denied
from valetstore.grants.cloudfront.encoded import decode, encode
from valetstore.grants.cloudfront.policy import Policy, canned_text, custom_policy


@given(st.binary(max_size=40))
@example(b"\xfb\xff\xfe")
def test_base64_is_the_standard_one_with_other_letters(data: bytes) -> None:
    assert encode(data) == encoded(data)
    assert decode(encode(data)) == data


@given(st.text(st.sampled_from("QUFxyz-_~+/= \n"), max_size=12))
@example("QQ__")
@example("QR__")
@example("QQ")
@example("QUFB~+")
@example("QUE=")
def test_bytes_have_one_text(text: str) -> None:
    try:
        data = decode(text)
    except ValueError:
        return
    assert base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~")) == text


@pytest.mark.parametrize("text", ["QR__", "QQ", "QQ_", "QUE=", "+/==", "QQ__ ", "QQ__QQ__", "ü"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(text)


def read(value: object) -> Policy:
    return custom_policy(value if isinstance(value, bytes) else json.dumps(value).encode())


def test_a_policy_says_what_it_opens_when_and_from_where() -> None:
    found = read(policy("http*://x/*", 200, **after(100), **source("192.0.2.0/24")))
    assert found == Policy("http*://x/*", 200, math.nextafter(100, math.inf), (ip_network("192.0.2.0/24"),))
    assert read(policy(URL, 0)) == Policy(URL, 0)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/32", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
    ],
)
def test_a_source_is_an_address_or_a_network(said: str, meant: str) -> None:
    assert read(policy(URL, **source(said))).networks == (ip_network(meant),)


@pytest.mark.parametrize("said", ["0.0.0.0/0", "::/0"])
def test_every_address_is_no_condition(said: str) -> None:
    """The documented way to say so; a client with IPv6 is let in as well."""
    assert read(policy(URL, **source(said))).networks == ()


STATEMENT: dict[str, Any] = policy(URL)["Statement"][0]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"Statement":[]}',
        {"Statement": STATEMENT},
        {"Statement": [STATEMENT, STATEMENT]},
        {"Statement": [STATEMENT], "Version": "2012-10-17"},
        {"Statement": [STATEMENT | {"Effect": "Allow"}]},
        {"Statement": [{"Condition": STATEMENT["Condition"]}]},
        {"Statement": [{"Resource": URL}]},
        {"Statement": [{"Resource": URL, "Condition": {}}]},
        {"Statement": [{"Resource": URL, "Condition": []}]},
        {"Statement": [{"Resource": URL, "Condition": after(1)}]},
        policy(""),
        policy("http://x/a b"),
        policy("http://x/ü"),
        policy("http://x/\n"),
        policy([URL]),  # type: ignore[arg-type]
        policy(None),  # type: ignore[arg-type]
        policy(URL, StringEquals={"x": "y"}),
        policy(URL, DateLessThanEquals={"AWS:EpochTime": 1}),
        policy(URL, "1"),
        policy(URL, 1.5),
        policy(URL, 1e30),
        policy(URL, -1),
        policy(URL, True),
        policy(URL, None),
        policy(URL, 10**40),
        policy(URL, 253_402_300_800),
        policy(URL, [1]),
        policy(URL, **after("x")),
        policy(URL, **source("10.0.0.0/33")),
        policy(URL, **source("10.0.0")),
        policy(URL, **source("10.0.0.0/255.0.0.0")),
        policy(URL, **source("010.0.0.1")),
        policy(URL, **source("1.2.3.4, 5.6.7.8")),
        policy(URL, **source(["1.2.3.4"])),
        policy(URL, **source("fe80::1%eth0")),
        policy(URL, **source("")),
        b'{"Statement":[{"Resource":"http://x/a","Resource":"http://x/*","Condition":{"DateLessThan":{"AWS:EpochTime":9}}}]}',
        b'{"Statement":[{"Resource":"http://x/a","Condition":{"DateLessThan":{"AWS:EpochTime":1,"AWS:EpochTime":9}}}]}',
        b'{"Statement":[{"Resource":"http://x/a","Condition":{"DateLessThan":{"AWS:EpochTime":NaN}}}]}',
        json.dumps(policy(URL)).encode() + b"{}",
        b"[" * 100_000,
    ],
    ids=str,
)
def test_what_is_not_exactly_that_is_refused(value: object) -> None:
    with pytest.raises(Denied) as caught:
        read(value)
    assert caught.value.code == "key_malformed"
    assert caught.value.said is not None
    assert caught.value.said[:3] == ("MalformedPolicy", "Malformed Policy", 403)


@given(st.binary(max_size=200))
def test_nothing_but_a_refusal_comes_of_what_is_no_policy(data: bytes) -> None:
    with contextlib.suppress(Denied):
        custom_policy(data)


NAMES = ("Statement", "Resource", "Condition", "DateLessThan", "IpAddress", "AWS:EpochTime", "AWS:SourceIp")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("AWS:", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_nor_of_json_of_another_shape(value: object) -> None:
    with contextlib.suppress(Denied):
        read(value)


def test_the_canned_text_is_the_documented_one() -> None:
    assert canned_text(URL, 7) == (
        b'{"Statement":[{"Resource":"https://cdn.example.com/photos/cat.jpg",'
        b'"Condition":{"DateLessThan":{"AWS:EpochTime":7}}}]}'
    )


@pytest.mark.parametrize("url", ['http://x/a"', "http://x/a\\", 'http://x/a?"},"Condition":{'])
def test_a_url_that_could_end_the_text_has_none(url: str) -> None:
    with pytest.raises(ValueError, match="quote"):
        canned_text(url, 7)
