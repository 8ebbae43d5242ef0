"""Revocation: what an entry means, what it does not, and how long it is kept."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minting import NOW, refused
from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Profile
from valetstore.keys.ring import KeyRecord, KeyRing
from valetstore.keys.ringfile import new_record
from valetstore.policy.bounds import SKEW_SECONDS_MAX, Bounds, bound, key_end
from valetstore.policy.revocation import EXPIRE_AT_ONCE, KEEP_SECONDS, Kind, Revocation, RevocationTable
from valetstore.policy.wanted import AHEAD_SECONDS_MAX, check_wanted, member_of, moment_of

ONE = bytes(range(16))
TWO = bytes(16)


def grant(**more: Any) -> Grant:
    """A proven key."""
    usual: dict[str, Any] = {
        "scheme": "native",
        "signing_key": "web",
        "identity": ONE,
        "operations": frozenset({"read"}),
        "scopes": (),
        "not_after": NOW + 60,
        "issued_at": NOW - 60,
        "subject": "alice",
    }
    return Grant(**(usual | more))


def entry(kind: Kind = "key", value: str = ONE.hex(), number: int = 1, **more: Any) -> Revocation:
    """An entry; its id is made of the number."""
    return Revocation(f"{number:011x}", kind, value, **more)


def is_refused(table: RevocationTable, key: Grant, path: str = "/photos/cat.jpg", now: float = NOW) -> bool:
    """Whether the table refuses the key; nothing but `key_revoked` may come."""
    try:
        table.check(key, path, now)
    except Denied as denied:
        if (denied.code, denied.detail) != ("key_revoked", ""):
            raise
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "value", "other"),
    [
        ("key", ONE.hex(), {"identity": TWO}),
        ("signing-key", "web", {"signing_key": "web-2"}),
        ("subject", "alice", {"subject": "alice2"}),
        ("subject", "alice", {"subject": ""}),
    ],
)
def test_each_kind_means_its_keys_and_no_others(kind: Kind, value: str, other: dict[str, Any]) -> None:
    table = RevocationTable([entry(kind, value)])
    assert is_refused(table, grant())
    assert not is_refused(table, grant(**other))


@pytest.mark.parametrize(
    ("path", "revoked"),
    [
        ("/photos/2024/cat.jpg", True),
        ("/photos/2024/", True),
        ("/photos/2024/a/b/c", True),
        ("/photos/2024", False),
        ("/photos/20245/cat.jpg", False),
        ("/photos/", False),
        ("/photos/20", False),
        ("/Photos/2024/cat.jpg", False),
        ("/photos//2024/cat.jpg", False),
        ("photos/2024/cat.jpg", False),
        ("", False),
    ],
)
def test_a_prefix_means_what_lies_below_it(path: str, revoked: bool) -> None:
    assert is_refused(RevocationTable([entry("prefix", "/photos/2024/")]), grant(), path) is revoked


def test_everything_may_be_revoked_but_the_way_to_undo_it() -> None:
    table = RevocationTable([entry("prefix", "/")])
    for path in ("/a/b", "/a/", "/_valetx/y"):
        assert is_refused(table, grant(), path)
    assert not is_refused(table, grant(), "/_valet/revocations/")


@pytest.mark.parametrize("kind", ["key", "signing-key", "subject", "prefix"])
def test_issued_before_means_earlier_keys_and_those_that_do_not_say(kind: Kind) -> None:
    value = {"key": ONE.hex(), "signing-key": "web", "subject": "alice", "prefix": "/photos/"}[kind]
    table = RevocationTable([entry(kind, value, issued_before=NOW)])
    assert is_refused(table, grant(issued_at=NOW - 0.001))
    assert is_refused(table, grant(issued_at=None))
    assert not is_refused(table, grant(issued_at=NOW))
    assert not is_refused(table, grant(issued_at=NOW + 1))


def test_the_evidence_names_the_entry_and_its_reason_and_the_public_text_neither() -> None:
    table = RevocationTable([entry(number=77, reason="leaked to a forum")])
    with refused("key_revoked") as denied:
        table.check(grant(), "/a/b", NOW)
    assert denied.evidence == {"revocation": "0000000004d", "reason": "leaked to a forum"}
    assert "forum" not in denied.text


def test_trouble_refuses_every_key_until_it_is_over() -> None:
    table = RevocationTable()
    table.trouble = "the log is damaged"
    with refused("revocation_unavailable") as denied:
        table.check(grant(), "/_valet/revocations/", NOW)
    assert denied.evidence["reason"] == "the log is damaged"
    assert denied.evidence["retry_after"]
    table.trouble = ""
    assert not is_refused(table, grant())


def test_of_several_entries_alike_each_counts_until_it_is_gone() -> None:
    rows = [entry("subject", "alice", n, issued_before=moment) for n, moment in ((1, NOW), (2, NOW + 50), (3, NOW))]
    table = RevocationTable([*rows, entry("subject", "alice", 4)])
    assert is_refused(table, grant(issued_at=NOW + 99))
    table.remove(f"{4:011x}")
    assert not is_refused(table, grant(issued_at=NOW + 99))
    assert is_refused(table, grant(issued_at=NOW + 49))
    table.remove(f"{2:011x}")
    assert not is_refused(table, grant(issued_at=NOW + 49))
    table.remove(f"{1:011x}")
    assert is_refused(table, grant(issued_at=NOW - 1))
    assert [row.id for row in table] == [f"{3:011x}"]
    table.remove(f"{3:011x}")
    assert not is_refused(table, grant(issued_at=None))
    assert len(table) == 0


def test_an_expired_entry_means_nothing_any_more_and_is_found_again_by_a_clock_set_back() -> None:
    table = RevocationTable([entry(expires_at=NOW + 10)])
    assert is_refused(table, grant(), now=NOW + 9.99)
    assert not is_refused(table, grant(), now=NOW + 10)
    assert table.expire(NOW + 10 + KEEP_SECONDS - 1) == []
    assert is_refused(table, grant(), now=NOW)
    assert table.expire(NOW + 10 + KEEP_SECONDS) == [f"{1:011x}"]
    assert not is_refused(table, grant(), now=NOW)


def test_one_that_expired_does_not_hide_one_that_has_not() -> None:
    table = RevocationTable(
        [entry(expires_at=NOW), entry(number=2, expires_at=NOW + 20), entry(number=3, expires_at=1)]
    )
    assert is_refused(table, grant(), now=NOW + 10)


def test_expiry_goes_through_all_entries_a_part_at_a_time() -> None:
    count = EXPIRE_AT_ONCE * 2 + 10
    names = [index.to_bytes(16).hex() for index in range(count)]
    ends = [NOW if index % 2 else NOW + 10**6 for index in range(count)]
    table = RevocationTable(entry("key", names[i], i + 1, expires_at=ends[i]) for i in range(count))
    later = NOW + KEEP_SECONDS
    dropped = [table.expire(later) for _ in range(3)]
    assert [len(part) for part in dropped] == [EXPIRE_AT_ONCE // 2, EXPIRE_AT_ONCE // 2, 5]
    assert len(table) == count // 2
    assert table.expire(later) == []
    assert not is_refused(table, grant(identity=bytes.fromhex(names[1])))
    assert is_refused(table, grant(identity=bytes.fromhex(names[2])))
    assert [row.value for row in table] == names[::2]


def test_pages_go_on_where_one_ended_even_where_that_one_is_gone() -> None:
    table = RevocationTable(entry("subject", f"s{n}", n) for n in range(1, 8))
    first = table.page("", 3)
    assert [row.value for row in first] == ["s1", "s2", "s3"]
    table.remove(first[-1].id)
    table.remove(f"{4:011x}")
    assert [row.value for row in table.page(first[-1].id, 3)] == ["s5", "s6", "s7"]
    assert table.page(f"{7:011x}", 3) == []
    for wrong in ("x", "1", "0000000000G", "00000000000000001", " 00000000001"):
        with pytest.raises(ValueError, match="is not the id"):
            table.page(wrong, 3)
        assert table.get(wrong) is None
        assert table.remove(wrong) is False


def test_ids_grow_even_where_the_clock_does_not_and_the_last_is_gone() -> None:
    table = RevocationTable()
    seen = []
    for moment in (NOW, NOW, NOW - 100, NOW + 1):
        new = table.next_id(moment)
        table.add(Revocation(new, "subject", "x"))
        table.remove(new)
        seen.append(new)
    assert seen == sorted(set(seen))


def test_the_same_is_found_where_it_says_as_much_and_as_long() -> None:
    table = RevocationTable(
        [entry(expires_at=NOW + 10), entry("subject", "a", 2, issued_before=5), entry("subject", "a", 3)]
    )
    for wanted, found in (
        (entry(expires_at=NOW + 10), 1),
        (entry(expires_at=NOW + 9, reason="another"), 1),
        (entry(expires_at=NOW + 11), None),
        (entry(), None),
        (entry(issued_before=5), None),
        (entry("subject", "a", issued_before=5), 2),
        (entry("subject", "a", issued_before=6), None),
        (entry("subject", "a"), 3),
        (entry("subject", "b"), None),
    ):
        same = table.same(wanted)
        assert (None if same is None else int(same.id, 16)) == found, wanted


# --- a table against a list that is gone through ---------------------------------------------------

VALUES = {
    "key": [ONE.hex(), TWO.hex()],
    "signing-key": ["web", "app"],
    "subject": ["alice", "bob", "/a/"],
    "prefix": ["/", "/a/", "/a/b/", "/a/b//", "/é/"],
}
moments = st.none() | st.integers(0, 6)


@st.composite
def entries(draw: st.DrawFn) -> Revocation:
    kind: Kind = draw(st.sampled_from(["key", "signing-key", "subject", "prefix"]))
    value = draw(st.sampled_from(VALUES[kind]))
    return Revocation("", kind, value, draw(moments), draw(moments), 3.5, draw(st.sampled_from(["", "why: é"])), "ops")


keys = st.builds(
    grant,
    identity=st.sampled_from([ONE, TWO]),
    signing_key=st.sampled_from(["web", "app"]),
    subject=st.sampled_from(["", "alice", "bob", "/a/"]),
    issued_at=moments,
)
paths = st.sampled_from(["/a/b/c", "/a/b/", "/a/", "/a", "/", "/a/b//", "/é/x", "/_valet/echo/", "/c/a/b/"])


def means(row: Revocation, key: Grant, path: str, now: float) -> bool:
    """Word for word what docs say."""
    named = {
        "key": row.value == key.identity.hex(),
        "signing-key": row.value == key.signing_key,
        "subject": row.value == key.subject,
        "prefix": path.startswith(row.value) and not path.startswith("/_valet/"),
    }[row.kind]
    earlier = row.issued_before is None or key.issued_at is None or key.issued_at < row.issued_before
    return named and earlier and (row.expires_at is None or now < row.expires_at)


@settings(max_examples=300)
@given(
    steps=st.lists(
        st.tuples(st.just("add"), entries())
        | st.tuples(st.just("remove"), st.integers(0, 20))
        | st.tuples(st.just("check"), st.tuples(keys, paths, st.integers(0, 6)))
        | st.tuples(st.just("expire"), st.integers(0, 6))
        | st.tuples(st.just("replace"), st.none()),
        max_size=40,
    )
)
def test_a_table_answers_as_a_list_that_is_gone_through(steps: list[tuple[str, Any]]) -> None:
    table, model = RevocationTable(), dict[str, Revocation]()
    for step, what in steps:
        if step == "add":
            new = Revocation(table.next_id(1.0), *(getattr(what, name) for name in what.__struct_fields__[1:]))
            table.add(new)
            table.add(new)
            model[new.id] = new
        elif step == "remove":
            chosen = [*model, "00000000001"][what % (len(model) + 1)]
            assert table.remove(chosen) is (model.pop(chosen, None) is not None)
        elif step == "expire":
            gone = [row.id for row in model.values() if row.expires_at is not None and row.expires_at <= what]
            assert table.expire(what + KEEP_SECONDS) == gone
            for entry_id in gone:
                del model[entry_id]
        elif step == "replace":
            table.replace(reversed(model.values()))
        else:
            key, path, now = what
            assert is_refused(table, key, path, now) is any(means(row, key, path, now) for row in model.values())
        assert list(table) == list(model.values())
        assert len(table) == len(model)


# --- how long an entry is kept ----------------------------------------------------------------------


def signing_key(name: str, ttl_max: int | None = None, retires_at: int | None = None) -> KeyRecord:
    """A signing key with these limits."""
    made, _ = new_record(name, "HS256", Profile(ttl_seconds_max=ttl_max))
    return msgspec.structs.replace(made, retires_at=retires_at)


MARGIN = 2 * SKEW_SECONDS_MAX
DAY = 86_400


def test_the_gateways_own_key_is_not_meant_by_a_subject() -> None:
    """It names whoever runs the command, who must be able to take this back."""
    table = RevocationTable()
    table.add(msgspec.structs.replace(entry("subject", "root"), id="1a2000f0f33"))
    own = msgspec.structs.replace(grant(subject="root"), signing_key="_valet")
    table.check(own, "/_valet/revocations/", NOW)
    with refused("key_revoked"):
        table.check(grant(subject="root"), "/a/b", NOW)


@pytest.mark.parametrize(
    ("row", "end"),
    [
        (entry(expires_at=NOW + 5), NOW + 5),
        (entry(created_at=NOW), None),
        (entry(issued_before=NOW, created_at=NOW), None),
        (entry("subject", "alice", created_at=NOW), None),
        (entry("prefix", "/a/", created_at=NOW), None),
        (entry("signing-key", "short", created_at=NOW), None),
        (entry("subject", "alice", issued_before=NOW - 50, created_at=NOW), NOW + DAY + MARGIN),
        (entry("prefix", "/a/", issued_before=NOW + 50, created_at=NOW), NOW + 50 + DAY + MARGIN),
        (entry("signing-key", "short", issued_before=NOW, created_at=NOW), NOW + 60 + MARGIN),
        (entry("signing-key", "none", issued_before=NOW, created_at=NOW), None),
    ],
)
def test_ttl_max_bounds_what_was_signed_by_then(row: Revocation, end: float | None) -> None:
    ring = KeyRing([signing_key("short", 60), signing_key("long", DAY), signing_key("gone", None, NOW + 7)])
    assert bound(row, ring) == end
    assert Bounds(ring)(row) == end


def test_without_ttl_max_on_every_signing_key_there_is_no_bound() -> None:
    row = entry("subject", "alice", issued_before=NOW, created_at=NOW)
    assert bound(row, KeyRing([signing_key("short", 60), signing_key("any")])) is None
    assert bound(row, KeyRing()) is None
    assert (
        bound(entry("signing-key", "short", issued_before=NOW, created_at=NOW), KeyRing([signing_key("any")])) is None
    )


@given(
    ttl_max=st.integers(1, 10_000),
    skew=st.integers(0, SKEW_SECONDS_MAX),
    issued_at=st.none() | st.integers(-10_000, 10_000),
    life=st.integers(1, 30_000),
    asked=st.integers(0, 60_000),
)
def test_no_key_that_opened_anything_by_then_opens_after_the_bound(
    ttl_max: int, skew: int, issued_at: int | None, life: int, asked: int
) -> None:
    """By the rule of `policy.request`: what could be admitted when it was revoked is over when the entry goes."""
    row = entry("subject", "alice", issued_before=0.0, created_at=0.0)
    end = bound(row, KeyRing([signing_key("web", ttl_max)]))
    assert end is not None
    not_after = (issued_at or 0) + life

    def admitted(now: float) -> bool:
        since = now if issued_at is None else issued_at
        return now < not_after + skew and since - skew <= now and not_after - since <= ttl_max

    if admitted(0):
        assert not admitted(max(end, float(asked)))


def test_the_end_of_a_key_leaves_room_for_any_tolerance() -> None:
    assert key_end(NOW) == NOW + SKEW_SECONDS_MAX


# --- what can be revoked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        entry(),
        entry(expires_at=NOW + 1),
        entry(issued_before=0),
        entry(issued_before=NOW + AHEAD_SECONDS_MAX),
        entry("signing-key", "web.2_x-y"),
        entry("subject", "ünïcode \n whatever"),
        entry("prefix", "/"),
        entry("prefix", "/b/"),
        entry("prefix", "/b/é //.x/"),
        entry(reason="é" * 512),
    ],
)
def test_what_can_be_revoked(row: Revocation) -> None:
    check_wanted(row, NOW)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (entry("key", ONE.hex().upper() + "A"), "`identity`"),
        (entry("key", ONE.hex()[:-1]), "32 hexadecimal digits"),
        (entry("key", "٣" * 32), "`identity`"),
        (entry("signing-key", "_valet"), "the gateway's own"),
        (entry("signing-key", "a b"), "`signing_key`"),
        (entry("subject", ""), "`subject` is empty"),
        (entry("subject", "\ud800"), "not Unicode"),
        (entry("subject", "x" * 9000), "8192"),
        (entry("prefix", "/b"), "starts and ends with a slash"),
        (entry("prefix", "b/"), "starts and ends with a slash"),
        (entry("prefix", ""), "starts and ends with a slash"),
        (entry("prefix", "//"), "could hold no object"),
        (entry("prefix", "/_valet/"), "could hold no object"),
        (entry("prefix", "/b/./"), "could hold no object"),
        (entry("prefix", "/b/\0/"), "could hold no object"),
        (entry(issued_before=NOW * 1000), "`issued_before`"),
        (entry(issued_before=-1), "`issued_before`"),
        (entry(issued_before=float("nan")), "`issued_before`"),
        (entry(issued_before=float("inf")), "`issued_before`"),
        (entry(expires_at=NOW), "`expires_at` is in the past"),
        (entry(expires_at=float("inf")), "`expires_at`"),
        (entry("subject", "a", expires_at=NOW + 1), "for one key alone"),
        (entry(reason="é" * 513), "1024"),
        (entry(reason="two\nlines"), "one line"),
        (entry(reason="\x1b[2J"), "one line"),
    ],
)
def test_what_cannot_be_revoked_is_named(row: Revocation, named: str) -> None:
    with refused("parameter_invalid", named):
        check_wanted(row, NOW)


def test_members_are_called_as_requests_call_them() -> None:
    assert [member_of(kind) for kind in ("key", "signing-key", "subject", "prefix")] == [
        "identity",
        "signing_key",
        "subject",
        "prefix",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01z", 1),
        ("1970-01-01 01:00:00.5+01:00", 0.5),
        ("2027-01-15T08:00:00-00:00", NOW),
    ],
)
def test_dates_are_read(text: str, seconds: float) -> None:
    assert moment_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-02-31T00:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-W01-1T00:00:00Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_is_no_date_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date with a zone"):
        moment_of(text)
