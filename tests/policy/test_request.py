"""The head of a request against a key: each condition at its edge, and in the promised order."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minting import NOW, ask, refused
from valetstore.errors import Denied
from valetstore.grants.grant import OPERATIONS, Grant, Intent, Scope
from valetstore.grants.networks import parse_networks, plain_address
from valetstore.inbound import Inbound
from valetstore.objectkey import ObjectKey
from valetstore.policy.request import CHECKS, enforce, enforce_content, term_of, type_matches

KEY = ObjectKey("b", "k")
READ = Intent("read", "/b/k", KEY)
PUT = Intent("write", "/b/k", KEY, length=10, content_type="image/png")


def grant(**more: Any) -> Grant:
    """A key that opens everything for a minute, with these conditions."""
    base = Grant(
        scheme="native",
        signing_key="k",
        identity=bytes(16),
        operations=OPERATIONS,
        scopes=((Scope("/", is_prefix=True),),),
        not_after=NOW + 60,
    )
    return msgspec.structs.replace(base, **more)


# Order

TROUBLES: list[tuple[str, dict[str, Any]]] = [
    ("key_expired", {"not_after": NOW}),
    ("key_revoked", {"retires_at": NOW}),
    ("operation_not_allowed", {"operations": frozenset({"read"})}),
    ("path_not_allowed", {"scopes": ((Scope("/other"),),)}),
    ("source_not_allowed", {"networks": (parse_networks("192.0.2.0/24"),)}),
    ("https_required", {"tls_only": True}),
    ("header_required", {"headers": (("x-team", "red"),)}),
    ("too_large", {"length_max": 9}),
    ("type_not_allowed", {"types": (("text/plain",),)}),
]


@pytest.mark.parametrize("first", range(len(TROUBLES)))
def test_a_refusal_names_the_first_condition_that_fails(first: int) -> None:
    worse: dict[str, Any] = {}
    for _, trouble in TROUBLES[first:]:
        worse |= trouble
    with refused(TROUBLES[first][0]):
        enforce(grant(**worse), PUT, ask("PUT", "/b/k"))


@given(st.sets(st.integers(0, len(TROUBLES) - 1)))
def test_of_any_conditions_that_fail_the_first_in_order_is_named(failing: set[int]) -> None:
    worse: dict[str, Any] = {}
    for number in failing:
        worse |= TROUBLES[number][1]
    if not failing:
        enforce(grant(), PUT, ask("PUT", "/b/k"))
        return
    with refused(TROUBLES[min(failing)][0]):
        enforce(grant(**worse), PUT, ask("PUT", "/b/k"))


def test_nothing_after_a_refusal_is_looked_at() -> None:
    assert len(CHECKS) == len(TROUBLES)


LEAST: list[tuple[str, Any]] = [
    ("not_before", NOW + 1),
    ("issued_at", NOW + 1),
    ("issued_at", NOW - 9),
    ("not_after", NOW),
    ("ttl_max", 5),
    ("retires_at", NOW),
    ("operations", frozenset({"read", "list"})),
    ("scopes", ((Scope("/b/k"),),)),
    ("scopes", ((Scope("/b/", is_prefix=True), Scope("/x")), (Scope("/b/k"), Scope("/b/a/", is_prefix=True)))),
    ("scopes", ((),)),
    ("networks", (parse_networks("192.0.2.0/24"),)),
    ("tls_only", True),
    ("headers", (("x-team", "red"),)),
    ("length_min", 11),
    ("length_max", 9),
    ("types", (("text/plain",),)),
]
INTENTS = [
    READ,
    PUT,
    Intent("list", "/b/"),
    Intent("list", "/b/a/"),
    Intent("list", "/b/", partly=True),
    Intent("delete", "/b/k", KEY),
    Intent("write", "/b/k", KEY, length=10, upload="u"),
    Intent("write", "/b/k", KEY, copied=True),
    Intent("write", "/b/"),
]


@given(
    st.lists(st.sampled_from(LEAST), max_size=4),
    st.sampled_from(INTENTS),
    st.sampled_from(["192.0.2.1", "198.51.100.1", ""]),
    st.booleans(),
    st.sampled_from([{}, {"x-team": "red"}]),
)
def test_all_conditions_are_judged_as_if_each_were_asked_in_turn(
    conditions: list[tuple[str, Any]], intent: Intent, peer: str, tls: bool, headers: dict[str, str]
) -> None:
    """Without the condition, nothing is asked; with it, all is."""
    limited = grant(**dict(conditions))
    inbound = ask("PUT", "/b/k", headers, tls=tls, peer=plain_address(peer) if peer else None)

    def in_turn() -> None:
        for check in CHECKS:
            check(limited, intent, inbound)

    assert _said(lambda: enforce(limited, intent, inbound)) == _said(in_turn)


def _said(judge: Callable[[], None]) -> tuple[str, str, dict[str, object]] | None:
    try:
        judge()
    except Denied as denied:
        return denied.code, denied.text, denied.evidence
    return None


# Time


def at(now: float) -> Inbound:
    return ask(now=now)


def outcome(limited: Grant, intent: Intent, inbound: Inbound) -> str:
    try:
        enforce(limited, intent, inbound)
    except Denied as denied:
        return denied.code
    return "ok"


def admitted(limited: Grant, now: float) -> str:
    return outcome(limited, READ, at(now))


@pytest.mark.parametrize("skew", [0, 10])
def test_expiry_to_the_second(skew: int) -> None:
    limited = grant(skew=skew)
    assert admitted(limited, NOW + 59.999 + skew) == "ok"
    assert admitted(limited, NOW + 60 + skew) == "key_expired"
    assert admitted(limited, NOW + 60.001 + skew) == "key_expired"


@pytest.mark.parametrize("skew", [0, 10])
@pytest.mark.parametrize("name", ["not_before", "issued_at"])
def test_the_beginning_to_the_second(skew: int, name: str) -> None:
    limited = grant(skew=skew, early=skew, **{name: NOW})
    assert admitted(limited, NOW - skew) == "ok"
    assert admitted(limited, NOW - skew - 0.001) == "key_not_yet_valid"


def test_fractions_of_a_second_count() -> None:
    limited = grant(not_before=NOW + 0.5, not_after=NOW + 1.5)
    assert [admitted(limited, NOW + at) for at in (0.4, 0.5, 1.4, 1.5)] == [
        "key_not_yet_valid",
        "ok",
        "ok",
        "key_expired",
    ]


def test_a_key_that_ends_before_it_begins_never_opens() -> None:
    limited = grant(not_before=NOW + 50, not_after=NOW + 40)
    assert {admitted(limited, NOW + second) for second in range(100)} == {"key_not_yet_valid", "key_expired"}


def test_a_key_may_not_live_longer_than_its_signing_key_allows() -> None:
    assert admitted(grant(ttl_max=60, issued_at=NOW), NOW) == "ok"
    assert admitted(grant(ttl_max=59, issued_at=NOW), NOW) == "ttl_too_long"
    assert admitted(grant(ttl_max=59, issued_at=NOW), NOW + 59) == "ttl_too_long"
    with refused("ttl_too_long", "At most 59s"):
        enforce(grant(ttl_max=59, issued_at=NOW), READ, at(NOW))


def test_a_key_that_does_not_say_when_it_was_issued_is_measured_by_what_is_left() -> None:
    assert admitted(grant(ttl_max=59), NOW) == "ttl_too_long"
    assert admitted(grant(ttl_max=59), NOW + 1) == "ok"


def test_a_later_beginning_does_not_make_a_long_life_shorter() -> None:
    assert admitted(grant(ttl_max=30, issued_at=NOW, not_before=NOW + 40), NOW + 50) == "ttl_too_long"


def test_a_retired_signing_key_opens_until_its_second() -> None:
    assert admitted(grant(retires_at=NOW), NOW - 0.001) == "ok"
    assert admitted(grant(retires_at=NOW), NOW) == "key_revoked"


MOMENTS = st.integers(-30, 30).map(lambda quarters: NOW + quarters / 4)
MAYBE = st.none() | MOMENTS


@given(
    st.fixed_dictionaries(
        {
            "not_after": MOMENTS,
            "not_before": MAYBE,
            "issued_at": MAYBE,
            "retires_at": MAYBE,
            "ttl_max": st.none() | st.integers(0, 15),
            "skew": st.sampled_from([0, 2]),
            "early": st.sampled_from([0, 2]),
        }
    ),
    MOMENTS,
    MOMENTS,
)
def test_the_term_of_a_key_is_when_it_is_in_force(limits: dict[str, Any], first: float, now: float) -> None:
    """Of one that was let in at some moment; and a key whose own age is not known has none."""
    limited = grant(**limits)
    term = term_of(limited)
    assert (term is None) == (limited.ttl_max is not None and limited.issued_at is None)
    if term is not None and admitted(limited, first) == "ok":
        assert (term.since <= now < term.until) == (admitted(limited, now) == "ok")


# Operation and path


@pytest.mark.parametrize("allowed", sorted(OPERATIONS))
@pytest.mark.parametrize("asked", sorted(OPERATIONS))
def test_every_operation_needs_its_own_permission(allowed: str, asked: Any) -> None:
    limited = grant(operations=frozenset({allowed}))
    if allowed == asked:
        enforce(limited, Intent(asked, "/b/k"), ask())
        return
    with refused("operation_not_allowed", asked, allowed):
        enforce(limited, Intent(asked, "/b/k"), ask())


def covers(scope: Scope, intent: Intent) -> bool:
    code = outcome(grant(scopes=((scope,),)), intent, ask())
    assert code in {"ok", "path_not_allowed"}
    return code == "ok"


@pytest.mark.parametrize(
    ("prefix", "path", "is_open"),
    [
        ("/u/1/", "/u/1/k", True),
        ("/u/1/", "/u/1/", True),
        ("/u/1/", "/u/10/k", False),
        ("/u/1/", "/u/1", False),
        ("/u/1/", "/u/", False),
        ("/u/1/", "/U/1/k", False),
        ("/", "/u/1", True),
        ("/u/1/", "/u//1/k", False),
        ("/u/\u00e9/", "/u/e\u0301/k", False),
    ],
)
def test_a_prefix_ends_at_its_slash(prefix: str, path: str, is_open: bool) -> None:
    for operation in ("read", "write", "delete", "list"):
        assert covers(Scope(prefix, is_prefix=True), Intent(operation, path)) is is_open


def test_an_exact_path_opens_itself() -> None:
    assert covers(Scope("/b/k"), READ)
    for path in ("/b/k/", "/b/kk", "/b/", "/b", "/b/K", "/b/k%"):
        assert not covers(Scope("/b/k"), Intent("read", path))


def test_only_a_prefix_opens_a_list() -> None:
    assert not covers(Scope("/b/"), Intent("list", "/b/"))
    assert not covers(Scope("/b/k"), Intent("list", "/b/k"))
    assert covers(Scope("/b/a/", is_prefix=True), Intent("list", "/b/a/x"))
    assert not covers(Scope("/b/a/", is_prefix=True), Intent("list", "/b/a"))
    assert not covers(Scope("/b/a/", is_prefix=True), Intent("list", "/b/"))


def test_every_group_of_paths_must_hold() -> None:
    two = ((Scope("/b/", is_prefix=True),), (Scope("/a/", is_prefix=True), Scope("/b/k")))
    enforce(grant(scopes=two), READ, ask())
    with refused("path_not_allowed"):
        enforce(grant(scopes=two), Intent("read", "/b/other"), ask())


# Source, TLS, headers


@pytest.mark.parametrize(
    ("networks", "peer", "is_open"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.0/24", "::ffff:192.0.2.7", True),
        ("::ffff:192.0.2.0/120", "192.0.2.7", True),
        ("::/0", "192.0.2.7", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("0.0.0.0/0", None, False),
        ("::/0", None, False),
    ],
)
def test_source_networks(networks: str, peer: str | None, is_open: bool) -> None:
    inbound = ask(peer=plain_address(peer) if peer else None)
    limited = grant(networks=(parse_networks(networks),))
    if is_open:
        enforce(limited, READ, inbound)
        return
    with refused("source_not_allowed"):
        enforce(limited, READ, inbound)


def test_every_group_of_networks_must_hold() -> None:
    two = (parse_networks(["192.0.2.0/24", "2001:db8::/32"]), parse_networks("192.0.2.128/25"))
    enforce(grant(networks=two), READ, ask(peer=plain_address("192.0.2.200")))
    for peer in ("192.0.2.1", "2001:db8::1"):
        with refused("source_not_allowed"):
            enforce(grant(networks=two), READ, ask(peer=plain_address(peer)))


def test_tls_only() -> None:
    enforce(grant(tls_only=True), READ, ask(tls=True))
    with refused("https_required"):
        enforce(grant(tls_only=True), READ, ask())


@pytest.mark.parametrize(
    ("headers", "is_open"),
    [
        ({"x-team": "red"}, True),
        ({"X-Team": "red"}, True),
        ({"x-team": "Red"}, False),
        ({"x-team": ""}, False),
        ({}, False),
        ({"x-team": "red, red"}, False),
        ({"x-teams": "red"}, False),
    ],
)
def test_a_required_header_has_exactly_its_value(headers: dict[str, str], is_open: bool) -> None:
    limited = grant(headers=(("x-team", "red"),))
    if is_open:
        enforce(limited, READ, ask(headers=headers))
        return
    with refused("header_required", "x-team") as denied:
        enforce(limited, READ, ask(headers=headers))
    assert "red" not in denied.text


def test_a_required_value_beyond_ascii_is_sent_as_utf_8() -> None:
    limited = grant(headers=(("x-team", "caf\u00e9"),))
    enforce(limited, READ, ask(headers={"x-team": "caf\u00e9".encode().decode("latin-1")}))
    with refused("header_required"):
        enforce(limited, READ, ask(headers={"x-team": "caf\u00e9"}))


# Length and type


@pytest.mark.parametrize(
    ("length", "code"), [(5, ""), (10, ""), (4, "too_small"), (11, "too_large"), (0, "too_small"), (None, "")]
)
def test_an_announced_length_lies_within_the_range(length: int | None, code: str) -> None:
    limited = grant(length_min=5, length_max=10)
    put = Intent("write", "/b/k", KEY, length=length)
    if not code:
        enforce(limited, put, ask())
        return
    with refused(code, "10" if code == "too_large" else "5"):
        enforce(limited, put, ask())


def test_length_and_type_are_only_for_uploads() -> None:
    limited = grant(length_min=5, length_max=10, types=(("image/png",),))
    for operation in ("read", "delete", "list"):
        enforce(limited, Intent(operation, "/b/k", length=99, content_type="text/html"), ask())


@pytest.mark.parametrize(
    ("given", "pattern", "fits"),
    [
        ("image/png", "image/png", True),
        ("image/png", "image/*", True),
        ("image/png", "*/*", True),
        ("image/svg+xml", "image/*", True),
        ("image/png", "image/gif", False),
        ("image/png", "text/*", False),
        ("images/png", "image/*", False),
        ("image", "image/*", False),
        ("image/", "image/*", False),
        ("/png", "*/*", False),
        ("", "*/*", False),
        ("/", "*/*", False),
        ("image/png/x", "image/*", False),
        # What a browser would take for text/html.
        ("image/png, text/html", "image/*", False),
        ("image/png,text/html", "*/*", False),
        ("image/png text/html", "image/*", False),
        ("image/png\t", "image/*", False),
        ("image/\u00e9", "image/*", False),
    ],
)
def test_type_patterns(given: str, pattern: str, fits: bool) -> None:
    assert type_matches(given, pattern) is fits


@pytest.mark.parametrize(
    ("content_type", "is_open"),
    [
        ("image/png", True),
        ("IMAGE/PNG", True),
        ("image/png; q=1", True),
        ("image/png;", True),
        (" image/png ", True),
        ("text/html", False),
        ("image/png, text/html", False),
        ("text/html;image/png", False),
        (None, False),
        ("", False),
        (";image/png", False),
    ],
)
def test_an_upload_has_one_of_the_types(content_type: str | None, is_open: bool) -> None:
    limited = grant(types=(("image/*", "text/plain"),))
    put = Intent("write", "/b/k", KEY, content_type=content_type)
    if is_open:
        enforce(limited, put, ask())
        return
    with refused("type_not_allowed", "image/*, text/plain"):
        enforce(limited, put, ask())


def test_every_group_of_types_must_hold() -> None:
    limited = grant(types=(("image/*",), ("image/png", "text/plain")))
    enforce(limited, PUT, ask())
    for content_type in ("image/gif", "text/plain"):
        with refused("type_not_allowed"):
            enforce(limited, Intent("write", "/b/k", KEY, content_type=content_type), ask())


def test_a_copys_type_and_length_are_judged_once_they_are_known() -> None:
    limited = grant(types=(("image/*",),), length_max=10)
    enforce(limited, Intent("write", "/b/k", KEY, copied=True), ask())
    enforce_content(limited, Intent("write", "/b/k", KEY, length=10, content_type="image/png"), ask())
    with refused("type_not_allowed"):
        enforce_content(limited, Intent("write", "/b/k", KEY, length=10, content_type="text/html"), ask())
    with refused("too_large"):
        enforce_content(limited, Intent("write", "/b/k", KEY, length=11, content_type="image/png"), ask())


def test_a_key_with_an_empty_list_of_types_allows_no_upload() -> None:
    with refused("type_not_allowed"):
        enforce(grant(types=((),)), PUT, ask())


def test_the_checks_are_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_a_clock() -> float:
        raise AssertionError("a check read a clock")

    monkeypatch.setattr("time.time", read_a_clock)
    enforce(grant(ttl_max=100), READ, ask())
