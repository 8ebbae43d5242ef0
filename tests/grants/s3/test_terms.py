"""`x-valet-*`: conditions that an SDK signs into one URL, read strictly; they only narrow."""

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.grants.s3.stranger import URL, arriving, judge, presigned
from tests.minting import perhaps_refused
from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Scope
from valetstore.grants.terms import applied

GRANT = Grant(
    scheme="s3",
    signing_key="web",
    identity=b"0" * 16,
    operations=frozenset({"write"}),
    scopes=((Scope("/photos/cat.jpg"),),),
    not_after=4_000_000_000.0,
)


def refused(*terms: tuple[str, str], grant: Grant = GRANT) -> Denied:
    """What is said of conditions that are refused."""
    with pytest.raises(Denied) as caught:
        applied(grant, terms)
    denied = caught.value
    assert denied.code == "key_malformed"
    assert denied.said is not None
    assert (denied.said.code, denied.said.status) == ("InvalidArgument", 400)
    return denied


@pytest.mark.parametrize(
    ("name", "value", "fields"),
    [
        ("x-valet-uses", "3", {"uses": 3}),
        ("x-valet-length", "1-1000", {"length_min": 1, "length_max": 1000}),
        ("x-valet-length", "0-0", {"length_min": 0, "length_max": 0}),
        ("x-valet-type", "image/png, IMAGE/*", {"types": (("image/png", "image/*"),)}),
        ("x-valet-ip", "203.0.113.0/24", {"networks": ((ip_network("203.0.113.0/24"),),)}),
        (
            "x-valet-ip",
            "192.0.2.1,2001:db8::/32",
            {"networks": ((ip_network("192.0.2.1"), ip_network("2001:db8::/32")),)},
        ),
        ("x-valet-create", "true", {"create_only": True}),
    ],
)
def test_every_condition_becomes_part_of_the_grant(name: str, value: str, fields: dict[str, Any]) -> None:
    grant = applied(GRANT, ((name, value),))
    assert {field: getattr(grant, field) for field in fields} == fields


def test_a_window_goes_with_uses() -> None:
    grant = applied(GRANT, (("x-valet-uses", "1"), ("x-valet-window", "60")))
    assert (grant.uses, grant.window) == (1, 60)
    assert "needs x-valet-uses" in refused(("x-valet-window", "60")).text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-valet-uses", value) for value in ("", "0", "-1", "+1", "1.5", "1_0", " 1", "one", "9" * 19, "\u0661")),
        *(("x-valet-window", value) for value in ("", "-1", "60s", "1e3")),
        *(("x-valet-length", value) for value in ("", "5", "-", "5-", "-5", "9-1", "1-2-3", "1 - 2", "1-" + "9" * 19)),
        *(("x-valet-type", value) for value in ("", "image", "image/", "/png", "*/png", "image/png,", "a/b;c=d")),
        *(("x-valet-ip", value) for value in ("", "nowhere", "203.0.113.1/24", "fe80::1%eth0", "203.0.113.0/24,")),
        *(("x-valet-create", value) for value in ("", "True", "1", "yes", "false")),
        ("x-valet-", "1"),
        ("x-valet-use", "1"),
        ("x-valet-length-max", "1"),
    ],
)
def test_what_is_not_understood_refuses_the_key(name: str, value: str) -> None:
    assert refused((name, value)).text.startswith(f"The key is not well-formed. {name} ")


@pytest.mark.parametrize("name", ["x-valet-uses", "x-valet-create", "x-valet-length"])
def test_a_condition_given_twice_refuses_the_key(name: str) -> None:
    value = {"x-valet-uses": "1", "x-valet-create": "true", "x-valet-length": "1-2"}[name]
    assert "more than once" in refused((name, value), (name, value)).text


def test_the_narrower_length_holds() -> None:
    """A form's own content-length-range and a condition: both must hold."""
    form = replace(GRANT, length_min=10, length_max=100)
    wide, narrow = applied(form, (("x-valet-length", "1-1000"),)), applied(form, (("x-valet-length", "20-50"),))
    assert (wide.length_min, wide.length_max) == (10, 100)
    assert (narrow.length_min, narrow.length_max) == (20, 50)
    assert applied(form, (("x-valet-uses", "1"),)).length_max == 100


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["x-valet-uses", "x-valet-window", "x-valet-length", "x-valet-type", "x-valet-ip", "x-valet-x"]
            ),
            st.text("0123456789-/,.*a:", max_size=8),
        ),
        max_size=3,
    )
)
def test_whatever_is_read_never_widens(terms: list[tuple[str, str]]) -> None:
    with perhaps_refused("key_malformed"):
        after = applied(GRANT, tuple(terms))
        assert (after.operations, after.scopes, after.not_after) == (GRANT.operations, GRANT.scopes, GRANT.not_after)
        assert after.uses is None or after.uses >= 1
        assert after.length_min >= GRANT.length_min
        assert all(after.types)
        assert all(after.networks)


def test_a_url_that_an_sdk_signs_carries_them() -> None:
    grant = judge(
        arriving("PUT", presigned("PUT", f"{URL}?x-valet-uses=1&x-valet-length=1-5&X-Valet-Create=true"))
    ).grant
    assert (grant.uses, grant.length_min, grant.length_max, grant.create_only) == (1, 1, 5, True)


def test_a_url_with_an_unknown_one_is_refused() -> None:
    with pytest.raises(Denied) as caught:
        judge(arriving("PUT", presigned("PUT", f"{URL}?x-valet-nothing=1")))
    assert caught.value.code == "key_malformed"


@pytest.mark.parametrize(
    "query", ["x-valet-uses=2", "x-valet-uses=1&x-valet-create=true", "", "%78-valet-uses=1&x-valet-uses=1"]
)
def test_they_cannot_be_changed_added_or_taken_away(query: str) -> None:
    url = presigned("PUT", f"{URL}?x-valet-uses=1").replace("x-valet-uses=1", query)
    with pytest.raises(Denied) as caught:
        judge(arriving("PUT", url))
    assert caught.value.code == "signature_mismatch"
