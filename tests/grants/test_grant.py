"""Narrowing only ever takes away: what is admitted within a profile, both the key and the profile admit."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minting import ANYTHING, NOW, ask
from valetstore.errors import Denied
from valetstore.grants.grant import (
    DEFAULT_OPERATIONS,
    OPERATIONS,
    Budget,
    Grant,
    Intent,
    Limits,
    Operation,
    Profile,
    Scope,
)
from valetstore.grants.networks import parse_networks, plain_address
from valetstore.inbound import Inbound
from valetstore.keys.ring import limits_of
from valetstore.policy.request import enforce

PREFIXES = ["/", "/a/", "/a/b/", "/b/"]
TYPES = ["image/*", "image/png", "text/plain", "*/*"]
NETWORKS = ["192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32", "::/0", "0.0.0.0/0"]

BUDGETS = st.one_of(
    st.builds(Budget, rate=st.sampled_from([0.5, 2.0, 2.5]), burst=st.none() | st.integers(1, 4)),
    st.builds(Budget, rate=st.none() | st.just(1.0), transfers=st.integers(1, 3)),
)
PROFILES = st.builds(
    Profile,
    operations=st.lists(st.sampled_from(get_args(Operation)), min_size=1, unique=True).map(tuple),
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=2).map(tuple),
    ttl_seconds_max=st.none() | st.sampled_from([10, 60, 3600]),
    length_bytes_min=st.sampled_from([0, 0, 5]),
    length_bytes_max=st.none() | st.sampled_from([5, 50]),
    types=st.lists(st.sampled_from(TYPES), max_size=2).map(tuple),
    networks=st.lists(st.sampled_from(NETWORKS), max_size=2).map(tuple),
    create_only=st.booleans(),
    https=st.booleans(),
    single_use=st.lists(st.sampled_from(DEFAULT_OPERATIONS), max_size=2, unique=True).map(tuple),
    uses=st.none() | st.integers(1, 3),
    budget=st.none() | BUDGETS,
)
RETIREMENTS = st.none() | st.sampled_from([NOW - 1, NOW + 1])


def some_of(names: tuple[str, ...]) -> st.SearchStrategy[set[str]]:
    """Few conditions at once, or else the first hides the others."""
    return st.sets(st.sampled_from(names), max_size=2)


def relaxed_profile(profile: Profile, kept: set[str]) -> Profile:
    return Profile(**({"operations": ANYTHING.operations} | {name: getattr(profile, name) for name in kept}))


LIMITS = st.builds(
    limits_of,
    st.builds(relaxed_profile, PROFILES, some_of(Profile.__struct_fields__)),
    RETIREMENTS,
)
SCOPES = st.one_of(
    st.sampled_from(PREFIXES).map(lambda path: Scope(path, is_prefix=True)),
    st.sampled_from(["/a/k", "/a/b/k", "/b/k"]).map(Scope),
)
GRANTS_OF_ALL_KINDS = st.builds(
    Grant,
    scheme=st.just("native"),
    signing_key=st.just("k"),
    identity=st.just(bytes(16)),
    operations=st.sets(st.sampled_from(sorted(OPERATIONS)), min_size=1).map(frozenset),
    scopes=SCOPES.map(lambda scope: ((scope,),)),
    not_after=st.sampled_from([NOW + 5, NOW + 60, NOW + 6000]),
    not_before=st.none() | st.just(NOW - 5),
    issued_at=st.none() | st.sampled_from([NOW, NOW - 30]),
    length_min=st.sampled_from([0, 0, 5]),
    length_max=st.none() | st.sampled_from([5, 50]),
    types=st.lists(st.sampled_from(TYPES), max_size=2).map(lambda found: (tuple(found),) if found else ()),
    networks=st.lists(st.sampled_from(NETWORKS), max_size=2).map(
        lambda found: (parse_networks(found),) if found else ()
    ),
    tls_only=st.booleans(),
    uses=st.none() | st.integers(1, 3),
    budget=st.none() | BUDGETS,
    create_only=st.booleans(),
)
CONDITIONS = (
    "uses",
    "budget",
    "operations",
    "scopes",
    "length_min",
    "length_max",
    "types",
    "networks",
    "tls_only",
    "create_only",
)


def widest(like: Grant) -> Grant:
    """A key without any condition, of the same life."""
    return Grant(
        scheme=like.scheme,
        signing_key=like.signing_key,
        identity=like.identity,
        operations=OPERATIONS,
        scopes=(),
        not_after=like.not_after,
        not_before=like.not_before,
        issued_at=like.issued_at,
    )


def all_of(limits: Limits, like: Grant) -> Grant:
    """A key that uses its signing key's profile up."""
    names = set(Limits.__struct_fields__) - {"unconditional"}
    return msgspec.structs.replace(widest(like), **{name: getattr(limits, name) for name in names})


def relaxed(grant: Grant, kept: set[str]) -> Grant:
    return msgspec.structs.replace(widest(grant), **{name: getattr(grant, name) for name in kept})


GRANTS = st.builds(relaxed, GRANTS_OF_ALL_KINDS, some_of(CONDITIONS))
INTENTS = st.builds(
    Intent,
    operation=st.sampled_from(get_args(Operation)),
    path=st.sampled_from(["/a/k", "/a/b/k", "/b/k", "/a/", "/c/k"]),
    length=st.none() | st.sampled_from([0, 5, 6, 50, 51]),
    content_type=st.none() | st.sampled_from(["image/png", "IMAGE/gif", "text/plain; charset=x", "x"]),
)
REQUESTS = st.builds(
    lambda peer, tls: ask(peer=peer and plain_address(peer), tls=tls),
    st.sampled_from(["192.0.2.7", "192.0.2.8", "::ffff:192.0.2.7", "198.51.100.1", "2001:db8::1", "::1", None]),
    st.booleans(),
)


def admits(grant: Grant, intent: Intent, inbound: Inbound) -> bool:
    try:
        enforce(grant, intent, inbound)
    except Denied:
        return False
    return True


@given(GRANTS, LIMITS, st.lists(st.tuples(INTENTS, REQUESTS), min_size=1, max_size=8))
@settings(max_examples=300)
def test_a_narrowed_key_opens_exactly_what_the_key_and_the_profile_open(
    grant: Grant, limits: Limits, asked: list[tuple[Intent, Inbound]]
) -> None:
    narrowed, profile = grant.narrowed_by(limits), all_of(limits, grant)
    for intent, inbound in asked:
        both = admits(grant, intent, inbound) and admits(profile, intent, inbound)
        assert admits(narrowed, intent, inbound) == both


@given(
    GRANTS, st.lists(LIMITS, min_size=2, max_size=3), st.lists(st.tuples(INTENTS, REQUESTS), max_size=5), st.randoms()
)
@settings(max_examples=200)
def test_the_order_of_narrowing_does_not_matter(
    grant: Grant, limits: list[Limits], asked: list[tuple[Intent, Inbound]], chance: Any
) -> None:
    def after(order: list[Limits]) -> Grant:
        found = grant
        for one in order:
            found = found.narrowed_by(one)
        return found

    shuffled = limits.copy()
    chance.shuffle(shuffled)
    one, other = after(limits), after(shuffled)
    for intent, inbound in asked:
        assert admits(one, intent, inbound) == admits(other, intent, inbound)
    grouped = {"scopes": (), "types": (), "networks": ()}
    assert msgspec.structs.replace(one, **grouped) == msgspec.structs.replace(other, **grouped)
    for name in grouped:
        assert sorted(map(str, getattr(one, name))) == sorted(map(str, getattr(other, name)))


@given(GRANTS, LIMITS)
def test_narrowing_twice_by_the_same_profile_changes_nothing_more(grant: Grant, limits: Limits) -> None:
    once = grant.narrowed_by(limits)
    twice = once.narrowed_by(limits)
    assert (twice.operations, twice.ttl_max, twice.length_min, twice.length_max) == (
        once.operations,
        once.ttl_max,
        once.length_min,
        once.length_max,
    )
    assert (twice.tls_only, twice.create_only, twice.retires_at) == (once.tls_only, once.create_only, once.retires_at)


@given(GRANTS)
def test_a_profile_that_limits_nothing_gives_the_key_back(grant: Grant) -> None:
    assert grant.narrowed_by(limits_of(ANYTHING)) is grant


@given(GRANTS, LIMITS)
def test_what_is_not_limited_is_left_alone(grant: Grant, limits: Limits) -> None:
    narrowed = grant.narrowed_by(limits)
    for name in (
        "identity",
        "not_after",
        "not_before",
        "issued_at",
        "budget",
        "window",
        "sha256",
        "headers",
        "response",
    ):
        assert getattr(narrowed, name) == getattr(grant, name)


@given(GRANTS, LIMITS, st.sampled_from(sorted(OPERATIONS)))
def test_a_profile_never_gives_a_use_more(grant: Grant, limits: Limits, operation: str) -> None:
    narrowed = grant.narrowed_by(limits).uses_for(operation)
    said = [uses for uses in (grant.uses, limits.uses, 1 if operation in limits.single_use else None) if uses]
    assert narrowed == min(said, default=None)


def test_what_is_single_use_shares_one_use_and_the_rest_is_not_counted() -> None:
    limits = limits_of(Profile(single_use=("write", "delete")))
    narrowed = widest_of_all().narrowed_by(limits)
    assert [narrowed.uses_for(name) for name in ("write", "delete", "read", "list")] == [1, 1, None, None]
    counted = widest_of_all(uses=5).narrowed_by(limits)
    assert [counted.uses_for(name) for name in ("write", "read")] == [1, 5]
    fewer = widest_of_all(uses=5).narrowed_by(limits_of(Profile(single_use=("write",), uses=3)))
    assert [fewer.uses_for(name) for name in ("write", "read")] == [1, 3]


def test_a_keys_budget_and_its_signing_keys_are_counted_apart() -> None:
    own, shared = Budget(5.0), Budget(transfers=3)
    narrowed = widest_of_all(budget=own).narrowed_by(limits_of(Profile(budget=shared)))
    assert (narrowed.budget, narrowed.shared_budget) == (own, shared)


def widest_of_all(**more: Any) -> Grant:
    grant = Grant(scheme="s", signing_key="k", identity=b"", operations=OPERATIONS, scopes=(), not_after=NOW)
    return msgspec.structs.replace(grant, **more)


# Budgets


@given(BUDGETS, BUDGETS)
def test_of_two_budgets_the_less_of_each_holds(one: Budget, other: Budget) -> None:
    both = one.narrowed_by(other)
    assert both == other.narrowed_by(one) == both.narrowed_by(one) == both.narrowed_by(other)
    for name in ("rate", "transfers"):
        said = [getattr(budget, name) for budget in (one, other) if getattr(budget, name) is not None]
        assert getattr(both, name) == min(said, default=None)
    assert both.at_once == min([budget.at_once for budget in (one, other) if budget.rate], default=0)


@pytest.mark.parametrize(
    ("budget", "at_once", "words"),
    [
        (Budget(2.5, 5, 2), 5, "2.5 requests a second, 5 at once, 2 transfers at once"),
        (Budget(2.5), 3, "2.5 requests a second, 3 at once"),
        (Budget(0.1), 1, "0.1 requests a second, 1 at once"),
        (Budget(100.0), 100, "100 requests a second, 100 at once"),
        (Budget(1e-6), 1, "0.000001 requests a second, 1 at once"),
        (Budget(1e6), 1_000_000, "1000000 requests a second, 1000000 at once"),
        (Budget(transfers=1), 0, "1 transfer at once"),
    ],
)
def test_a_budget_in_words(budget: Budget, at_once: int, words: str) -> None:
    assert (budget.at_once, str(budget)) == (at_once, words)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "needs `rate` or `transfers`"),
        ({"burst": 5}, "needs `rate` or `transfers`"),
        ({"burst": 5, "transfers": 1}, "`burst` needs `rate`"),
        ({"rate": 0}, "`rate` is requests a second, 0.000001 to 1000000"),
        ({"rate": -1.0}, "`rate`"),
        ({"rate": float("nan")}, "`rate`"),
        ({"rate": float("inf")}, "`rate`"),
        ({"rate": 9e-7}, "`rate`"),
        ({"rate": 1000001}, "`rate`"),
        ({"rate": 1, "burst": 0}, "`burst` is a whole number, 1 to 1000000"),
        ({"rate": 1, "burst": 1000001}, "`burst`"),
        ({"transfers": 0}, "`transfers` is a whole number"),
        ({"transfers": 1000001}, "`transfers`"),
    ],
)
def test_a_budget_that_limits_nothing_or_too_little_is_none(members: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Budget(**members)


def test_the_default_profile_never_holds_admin() -> None:
    assert Profile().operations == ("read", "write", "delete", "list")


def test_a_prefix_ends_at_a_slash() -> None:
    scope = Scope("/u/1/", is_prefix=True)
    assert scope.covers("/u/1/k")
    assert scope.covers("/u/1/")
    assert not scope.covers("/u/1")
    assert not scope.covers("/u/10/k")
    assert not Scope("/u/1").covers("/u/1/")


A, B = (Scope("/a/", is_prefix=True),), (Scope("/b/", is_prefix=True),)


@pytest.mark.parametrize(
    ("name", "one", "other", "both"),
    [
        ("operations", frozenset({"read", "write"}), frozenset({"write", "list"}), frozenset({"write"})),
        ("scopes", (A,), (B,), (A, B)),
        ("ttl_max", 5, 9, 5),
        ("ttl_max", None, 9, 9),
        ("length_min", 0, 5, 5),
        ("length_max", 5, 9, 5),
        ("length_max", None, 0, 0),
        ("types", (("a/b",),), (("a/*",),), (("a/b",), ("a/*",))),
        (
            "networks",
            (parse_networks("::/0"),),
            (parse_networks("::1"),),
            (parse_networks("::/0"), parse_networks("::1")),
        ),
        ("tls_only", False, True, True),
        ("create_only", False, True, True),
        ("uses", 1, 5, 1),
        ("uses", None, 5, 5),
        ("single_use", frozenset({"read"}), frozenset({"write"}), frozenset({"read", "write"})),
        ("retires_at", None, 5, 5),
        ("retires_at", 4, 5, 4),
    ],
)
def test_each_condition_becomes_the_narrower_of_two(name: str, one: Any, other: Any, both: Any) -> None:
    for mine, theirs in ((one, other), (other, one)):
        limits = msgspec.structs.replace(limits_of(ANYTHING), unconditional=False, **{name: theirs})
        grant = Grant(scheme="s", signing_key="k", identity=b"", operations=OPERATIONS, scopes=(), not_after=NOW)
        found = getattr(msgspec.structs.replace(grant, **{name: mine}).narrowed_by(limits), name)
        assert found in (both, both[::-1] if isinstance(both, tuple) else both)
