"""Logs as another process finds them: the same answers as their owner's, without touching anything."""

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minting import NOW, refused
from tests.owner.test_revocations import with_store
from tests.policy.test_revocation import ONE, TWO, grant, is_refused
from tests.replay.contract import code, use
from valetstore.grants.grant import Use
from valetstore.journal import JournalDamaged, replace, salvaged
from valetstore.owner import offline
from valetstore.owner.revocations import FILE, RevocationStore
from valetstore.policy.revocation import KINDS, Revocation
from valetstore.replay import logged
from valetstore.replay.logged import LOG_NAME, LoggedReplaySet
from valetstore.replay.table import SPENT

Story = Callable[[LoggedReplaySet], Coroutine[Any, Any, None]]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def played(folder: Path, story: Story, *, expected: bool = False) -> None:
    """Let a replay set of the folder live through a story, and close it."""

    async def play() -> None:
        replay = LoggedReplaySet(folder, 100_000, 10)
        replay.open(expected)
        await story(replay)
        await replay.close()

    asyncio.run(play())


def claimed(*uses: Use) -> Story:
    """Each of these uses."""

    async def story(replay: LoggedReplaySet) -> None:
        for one in uses:
            await replay.claim(one, NOW)

    return story


def found(folder: Path, one: Use, *, expected: bool = True) -> offline.KeyUses:
    """What the log says of the key of a use."""
    return offline.uses(folder, one.identity, expected=expected, skew=10)


def revoked(folder: Path, *entries: Revocation, undo: int = 0) -> None:
    """Put these in force, and take the first `undo` of them back."""

    async def story(store: RevocationStore) -> None:
        made = [(await store.add(entry))[0] for entry in entries]
        for entry in made[:undo]:
            assert await store.undo(entry.id)

    with_store(folder, story)


# What was used


def test_a_data_directory_that_was_never_served_has_no_logs(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "state"):
        assert found(folder, use(), expected=False).left(use(allowed=3)) == 3
        assert len(offline.revocations(folder, grant(), expected=False)) == 0
        assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_counted(tmp_path: Path) -> None:
    five = use("b", allowed=5)
    played(tmp_path, claimed(use("a"), five, five, *(use(str(number)) for number in range(50))))
    table = found(tmp_path, five)
    assert (table.left(five), table.released(five)) == (3, False)
    table.look(five, NOW)
    assert len(table) < 3
    assert found(tmp_path, use("new")).left(use("new")) == 1
    with refused("key_used"):
        found(tmp_path, use("a")).look(use("a"), NOW)


def test_a_key_that_was_given_back_has_nothing_left(tmp_path: Path) -> None:
    async def story(replay: LoggedReplaySet) -> None:
        await replay.claim(one, NOW)
        await replay.spend(one, NOW)

    one = use(allowed=5, window=30)
    played(tmp_path, story)
    table = found(tmp_path, one)
    assert (table.left(one), table.released(one), table.repeatable_until(one, NOW)) == (0, True, None)
    with refused("key_used"):
        table.look(one, NOW)


def test_a_window_is_open_for_its_source(tmp_path: Path) -> None:
    one, other = use(window=30), use(window=30, source="192.0.2.9")
    played(tmp_path, claimed(one))
    table = found(tmp_path, one)
    table.look(one, NOW + 29)
    assert (table.left(one), table.repeatable_until(one, NOW), table.repeatable_until(other, NOW)) == (
        0,
        NOW + 30,
        None,
    )
    assert table.repeatable_until(one, NOW + 30) is None
    for asked, now in ((one, NOW + 31), (other, NOW)):
        with refused("key_used"):
            table.look(asked, now)


def test_a_clock_behind_the_logs_is_not_believed(tmp_path: Path) -> None:
    played(tmp_path, claimed(use("a")))
    with refused("replay_unavailable"):
        found(tmp_path, use("new")).look(use("new"), NOW - 100)


def test_keys_from_before_a_repair_are_used(tmp_path: Path) -> None:
    played(tmp_path, claimed(use("a")))
    logged.repair(tmp_path, NOW + 1)
    with refused("key_used") as denied:
        found(tmp_path, use("new")).look(use("new"), NOW + 1)
    assert "repaired" in str(denied.evidence["reason"])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "upload", "failed upload", "spend"]), st.sampled_from("ab"), st.integers(0, 40)
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(STEPS)
def test_it_says_what_the_owner_says(steps: list[tuple[str, str, int]]) -> None:
    """In every state in between, from the same bytes."""

    async def story(replay: LoggedReplaySet) -> None:
        now = float(NOW)
        for step, name, seconds in steps:
            now += seconds
            one = use(name, allowed=3, window=20, life=10_000)
            if step == "spend":
                await replay.spend(one, now)
            elif step == "claim":
                await code(replay.claim(one, now))
            elif await code(replay.look(one, now)) == "ok":
                held = await replay.reserve(one, now)
                await replay.committing(held, now)
                await (replay.commit(held, now) if step == "upload" else replay.release(held))
            for name_ in "abc":
                for source in ("192.0.2.1", "192.0.2.2"):
                    asked = use(name_, allowed=3, window=20, source=source, life=10_000)
                    table = found(folder, asked)
                    said = await code(replay.look(asked, now))
                    assert await code(_looked(table, asked, now)) == said
                    spent = replay._table._entries.get(int.from_bytes(asked.identity), 0) & SPENT
                    assert (table.left(asked), table.released(asked)) == (max(0, 3 - spent), spent == SPENT)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        played(folder, story)


async def _looked(table: offline.KeyUses, one: Use, now: float) -> None:
    table.look(one, now)


# What was revoked


@pytest.mark.parametrize(
    ("kind", "value"), [("key", ONE.hex()), ("signing-key", "web"), ("subject", "alice"), ("prefix", "/photos/")]
)
def test_every_kind_is_found(tmp_path: Path, kind: Any, value: str) -> None:
    others = [Revocation("", "subject", f"user {number}", reason="prefix") for number in range(20)]
    revoked(tmp_path, *others, Revocation("", kind, value, reason="leaked"))
    table = offline.revocations(tmp_path, grant(), expected=True)
    with refused("key_revoked") as denied:
        table.check(grant(), "/photos/cat.jpg", NOW)
    entry = table.get(str(denied.evidence["revocation"]))
    assert entry
    assert (entry.kind, entry.value, entry.reason) == (kind, value, "leaked")
    other = grant(identity=TWO, signing_key="app", subject="")
    assert not is_refused(offline.revocations(tmp_path, other, expected=True), other, "/docs/x")


NAMES = {
    "key": [ONE.hex(), TWO.hex()],
    "signing-key": ["web", "we"],
    "subject": ["alice", "web"],
    "prefix": ["/a/", "/"],
}
ENTRIES = st.sampled_from(KINDS).flatmap(
    lambda kind: st.builds(
        Revocation,
        st.just(""),
        st.just(kind),
        st.sampled_from(NAMES[kind]),
        st.sampled_from([None, NOW - 100.0, NOW - 10.0]),
        reason=st.sampled_from(["", "prefix", "alice"]),
    )
)


@settings(max_examples=40)
@given(st.lists(ENTRIES, max_size=6), st.integers(0, 6))
def test_they_mean_what_the_owner_means(entries: list[Revocation], undo: int) -> None:
    async def story(store: RevocationStore) -> None:
        made = [(await store.add(entry))[0] for entry in entries]
        for entry in made[:undo]:
            await store.undo(entry.id)
        for identity in (ONE, TWO):
            for signing_key, subject in (("web", "alice"), ("we", ""), ("other", "web")):
                key = grant(identity=identity, signing_key=signing_key, subject=subject)
                table = offline.revocations(folder, key, expected=True)
                for path in ("/a/b", "/photos/cat.jpg", "/_valet/revocations"):
                    assert is_refused(table, key, path) == is_refused(store.table, key, path)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with_store(folder, story)


# What cannot be read


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _others(path: Path) -> None:
    replace(path.with_name("other.log"), [b"x"], NOW)
    path.with_name("other.log").rename(path)


HARMS: list[Callable[[Path], None]] = [
    _flipped,
    _directory,
    _linked,
    _others,
    Path.unlink,
    lambda path: os.truncate(path, 0),
    lambda path: os.truncate(path, path.stat().st_size * 2 // 3),
    lambda path: replace(path, [b"\x07unknown"], NOW),
]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("expected", [True, False])
def test_a_log_that_is_harmed_is_no_answer(tmp_path: Path, harm: Callable[[Path], None], expected: bool) -> None:
    played(tmp_path, claimed(use("a"), use("b"), use("c")))
    revoked(tmp_path, *(Revocation("", "subject", name) for name in ("x", "y", "z")))
    for name in (LOG_NAME, FILE):
        harm(tmp_path / name)
    with pytest.raises(JournalDamaged, match=LOG_NAME):
        found(tmp_path, use("new"), expected=expected)
    with pytest.raises(JournalDamaged, match=FILE):
        offline.revocations(tmp_path, grant(), expected=expected)


def test_a_record_of_a_later_version_is_found_out_wherever_it_is(tmp_path: Path) -> None:
    """Also where nothing in it names the key."""
    played(tmp_path, claimed(use("a")))
    (entry,) = salvaged(tmp_path / LOG_NAME)
    for strange in (b"\x07" * 9, b"\x07" * 25, b"\x07" * 60):
        replace(tmp_path / LOG_NAME, [entry, strange, entry], NOW)
        with pytest.raises(JournalDamaged, match="unknown kind"):
            found(tmp_path, use("new"))


def test_where_all_is_gone_and_something_was_there_is_damage(tmp_path: Path) -> None:
    for read in (lambda: found(tmp_path, use()), lambda: offline.revocations(tmp_path, grant(), expected=True)):
        with pytest.raises(JournalDamaged, match="the log is missing"):
            read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_may_not_read_it_is_told_so(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        played(folder, claimed(use("a")))
        folder.chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(JournalDamaged, match="cannot be read: Permission denied"):
                found(folder, use("a"))
        finally:
            os.seteuid(0)


def test_a_torn_tail_counts_as_far_as_it_is_whole(tmp_path: Path) -> None:
    """As it does for the owner that is started on it."""
    played(tmp_path, claimed(use("a")))
    before = (tmp_path / LOG_NAME).read_bytes()
    mark = (tmp_path / "replay.mark").read_bytes()
    played(tmp_path, claimed(use("b")), expected=True)
    grown = (tmp_path / LOG_NAME).read_bytes()
    record_ends = grown.index(last := salvaged(tmp_path / LOG_NAME)[-1]) + len(last)
    (tmp_path / "replay.mark").write_bytes(mark)
    for size in range(len(before), len(grown)):
        (tmp_path / LOG_NAME).write_bytes(grown[:size])
        assert found(tmp_path, use("a")).left(use("a")) == 0
        is_whole = size >= record_ends
        assert found(tmp_path, use("b")).left(use("b")) == (0 if is_whole else 1)


# Nothing is touched


_watched: list[tuple[str, tuple[Any, ...]]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event.partition(".")[0] in ("open", "os", "fcntl", "shutil"):
        _watched.append((event, arguments))


@contextmanager
def watched() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """What is asked of the file system meanwhile. Hooks cannot be taken away, so there is one."""
    global _watched
    if not getattr(sys, "_valetstore_watched", False):
        sys.addaudithook(_watch)
        sys._valetstore_watched = True  # type: ignore[attr-defined]
    seen: list[tuple[str, tuple[Any, ...]]] = []
    _watched = seen
    try:
        yield seen
    finally:
        _watched = None


def test_nothing_is_opened_for_writing_made_or_locked(tmp_path: Path) -> None:
    played(tmp_path, claimed(use("a")))
    revoked(tmp_path, Revocation("", "subject", "x"))
    (tmp_path / "replay.log.new").write_bytes(b"being written")
    with open(tmp_path / LOG_NAME, "ab") as file:
        file.write(b"vjg1")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    with watched() as seen:
        found(tmp_path, use("a"))
        offline.revocations(tmp_path, grant(), expected=True)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before
    assert {event for event, _ in seen} == {"open"}
    assert len(seen) >= 4
    assert not [arguments for _, arguments in seen if arguments[2] & WRITES]


def test_a_log_that_is_written_and_switched_meanwhile_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged before a look is seen by it; nothing is taken for damage."""
    monkeypatch.setattr(logged, "SLACK_BYTES", 0)
    many = use("many", allowed=1_000_000, life=10_000)
    acknowledged, compactions, end = 0, 0, threading.Event()

    async def story(replay: LoggedReplaySet) -> None:
        nonlocal acknowledged, compactions
        while not end.is_set():
            held = replay.bytes_held
            await asyncio.gather(*(replay.claim(many, NOW) for _ in range(8)))
            acknowledged += 8
            compactions += replay.bytes_held < held

    played(tmp_path, claimed(use("a")))
    writer = threading.Thread(target=played, args=(tmp_path, story), kwargs={"expected": True})
    writer.start()
    try:
        looks = 0
        while looks < 300 or (compactions < 20 and looks < 10_000):
            before = acknowledged
            table = found(tmp_path, many)
            assert many.allowed - table.left(many) >= before
            looks += 1
    finally:
        end.set()
        writer.join()
    assert compactions >= 20
