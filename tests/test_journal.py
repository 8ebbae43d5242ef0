"""The journal: what was acknowledged is there or the log says that it is damaged, whatever is done to its files."""

import asyncio
import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.journal import Journal, JournalDamaged, Recovered, replace, salvaged
from valetstore.journal import format as journal_format
from valetstore.journal.log import GROUP_BYTES_MAX

NOW = 1_800_000_000.0


class Opened:
    """A log that was opened: its records, and what was said."""

    def __init__(self, folder: Path, *, expected: bool = True) -> None:
        self.records: list[bytes] = []
        self.journal = Journal(folder / "replay.log")
        self.recovered: Recovered = self.journal.open(self.records.append, expected=expected)

    @property
    def warning(self) -> str:
        return self.recovered.warning

    def release(self) -> None:
        """Let go of the files without writing anything, as the end of a process does."""
        for part in (self.journal._file, self.journal._mark, self.journal._copy):
            if part is not None:
                part.close()


def run(folder: Path, story: Callable[[Journal], Coroutine[Any, Any, Any]], *, expected: bool = True) -> None:
    """Play a story on the log and close it."""

    async def play() -> None:
        opened = Opened(folder, expected=expected)
        await story(opened.journal)
        await opened.journal.close()

    asyncio.run(play())


def write(folder: Path, *groups: Iterable[bytes], expected: bool = False) -> None:
    """A log of these groups."""

    async def story(journal: Journal) -> None:
        for number, records in enumerate(groups):
            futures = [journal.submit(record, NOW + number) for record in records]
            # What waits while another is written is one group: the first is alone.
            await asyncio.gather(*futures)

    run(folder, story, expected=expected)


def read(folder: Path) -> list[bytes]:
    """What a start finds, without a word of warning."""
    opened = Opened(folder)
    opened.release()
    assert opened.warning == ""
    return opened.records


def log(folder: Path) -> Path:
    return folder / "replay.log"


def mark(folder: Path) -> Path:
    return folder / "replay.mark"


def ends_of_groups(data: bytes) -> list[int]:
    """Where each group ends, the first included."""
    at, ends = 0, []
    while at < len(data):
        at += int.from_bytes(data[at + 20 : at + 24], "little") + journal_format.GROUP_BYTES
        ends.append(at)
    return ends


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As a volume that is full: what goes beyond is written in part, or not at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Appending


def test_what_was_appended_is_there_in_order(tmp_path: Path) -> None:
    records = [b"%d" % number * (number + 1) for number in range(100)]
    write(tmp_path, *[[record] for record in records[:50]])
    write(tmp_path, records[50:], expected=True)
    assert read(tmp_path) == records


def test_of_200_appends_few_wait_for_a_sync_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs, real = 0, os.fdatasync

    def counted(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        real(fd)

    monkeypatch.setattr("os.fdatasync", counted)
    records = [b"%d" % number for number in range(200)]
    write(tmp_path, records)
    assert syncs <= 3
    assert read(tmp_path) == records


def test_a_group_wakes_the_loop_once_and_a_turn_of_the_loop_is_one_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What costs a group is shared by all who wait for it."""
    woken = 0

    async def story(journal: Journal) -> None:
        nonlocal woken
        loop = asyncio.get_running_loop()
        real = loop.call_soon_threadsafe

        def counted(*args: Any) -> asyncio.Handle:
            nonlocal woken
            woken += 1
            return real(*args)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        await asyncio.gather(*(journal.append(b"%d" % number, NOW) for number in range(200)))
        assert woken == 1

    run(tmp_path, story, expected=False)
    assert len(ends_of_groups(log(tmp_path).read_bytes())) == 2


def test_who_was_told_and_who_asks_in_the_turn_after_are_one_group(tmp_path: Path) -> None:
    """A group is not begun for the first that comes while others are there already."""

    async def story(journal: Journal) -> None:
        loop = asyncio.get_running_loop()
        ends = [loop.create_future() for _ in range(2)]

        def told(error: OSError | None) -> None:
            assert error is None
            journal.write(b"2", NOW, ends[0].set_result)
            loop.call_soon(journal.write, b"3", NOW, ends[1].set_result)

        journal.write(b"1", NOW, told)
        assert await asyncio.gather(*ends) == [None, None]

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"1", b"2", b"3"]
    assert len(ends_of_groups(log(tmp_path).read_bytes())) == 3


def test_who_is_told_may_write_and_what_fails_is_told_last_one_first(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        told: list[tuple[int, bool]] = []
        over = asyncio.Event()

        def write(number: int) -> None:
            journal.write(b"%d" % number, NOW, lambda error: heard(number, error))

        def heard(number: int, error: OSError | None) -> None:
            told.append((number, error is None))
            if error is None and number < 10:
                write(number + 10)
            if error is None and number == 13:
                raise ZeroDivisionError
            if len(told) in {20, 25}:
                over.set()

        for number in range(10):
            write(number)
        await asyncio.wait_for(over.wait(), 10)
        assert told == [(number, True) for number in range(20)]
        over.clear()
        with no_file_larger_than(journal.bytes_held):
            for number in range(20, 25):
                write(number)
            assert len(told) == 20
            await asyncio.wait_for(over.wait(), 10)
        assert told[20:] == [(number, False) for number in range(24, 19, -1)]

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"%d" % number for number in range(20)]


def test_a_waiter_that_is_cancelled_hurts_no_other(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        calls = [asyncio.ensure_future(journal.append(b"%d" % number, NOW)) for number in range(10)]
        await asyncio.sleep(0)
        for number in (0, 4):
            calls[number].cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [number for number, end in enumerate(ends) if end is not None] == [0, 4]

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"%d" % number for number in range(10)]


def test_much_at_once_goes_into_several_groups(tmp_path: Path) -> None:
    records = [bytes([number]) * 65_535 for number in range(40)]
    write(tmp_path, records)
    assert read(tmp_path) == records
    ends = ends_of_groups(log(tmp_path).read_bytes())
    assert max(after - before for before, after in pairwise(ends)) < 1.2 * GROUP_BYTES_MAX


def test_a_record_has_a_size(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        for record in (b"", b"x" * 65_536):
            with pytest.raises(ValueError, match="1 to 65535 bytes"):
                await journal.append(record, NOW)
        await journal.append(b"x" * 65_535, NOW)

    run(tmp_path, story, expected=False)
    assert len(read(tmp_path)[0]) == 65_535


def test_the_clock_is_the_highest_time_of_any_group(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        await asyncio.gather(*(journal.append(b"x", NOW + second) for second in (3, 9, 5)))
        await journal.append(b"y", NOW + 1)

    run(tmp_path, story, expected=False)
    opened = Opened(tmp_path)
    assert opened.recovered.clock == NOW + 9
    opened.release()


def test_before_it_is_open_and_after_it_is_closed_nothing_can_be_appended(tmp_path: Path) -> None:
    async def story() -> None:
        journal = Journal(log(tmp_path))
        with pytest.raises(RuntimeError):
            await journal.append(b"x", NOW)
        journal.open(lambda record: None, expected=False)
        waits = journal.submit(b"x", NOW)
        await journal.close()
        await journal.close()
        assert waits.done()
        with pytest.raises(RuntimeError):
            await journal.append(b"x", NOW)

    asyncio.run(story())
    assert read(tmp_path) == [b"x"]


def test_its_files_are_private(tmp_path: Path) -> None:
    write(tmp_path, [b"x"])
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"replay.log", "replay.mark"}


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=30))
def test_salvage_finds_every_record_of_a_whole_log(records: list[bytes]) -> None:
    records = [record for record in records if not record.startswith(journal_format.BEGIN)]
    log_id = b"i" * journal_format.ID_BYTES
    data = journal_format.first_group(log_id, NOW)
    for number, record in enumerate(records, start=1):
        data += journal_format.group(journal_format.seed_of(log_id), number, NOW, [journal_format.frame(record)])
    assert list(journal_format.salvage(data)) == records


# A file that is not as it was left


GROUPS = [[b"first"], [b"second", b"third record"], [b"the", b"last", b"three"]]
ALL = [record for records in GROUPS for record in records]


class Victim:
    """A log to harm, again and again: its bytes, and what its groups hold in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write(folder, *GROUPS)
        self.data = log(folder).read_bytes()
        self.mark = mark(folder).read_bytes()
        self.ends = ends_of_groups(self.data)
        self.acknowledged = len(self.ends) - 1

    def mark_of(self, acknowledged: int) -> bytes:
        """A mark that says less than the truth, as one that a power cut set back."""
        return journal_format.Mark({self.log_id: acknowledged}).pack()

    @property
    def log_id(self) -> bytes:
        known = journal_format.unpack_mark(self.mark)
        assert known is not None
        return next(iter(known.acknowledged))

    def opened(self, data: bytes | None, marked: bytes | None) -> "Opened | None":
        """What a start makes of these files; None where it says they are damaged."""
        for path, content in ((log(self.folder), data), (mark(self.folder), marked)):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        try:
            opened = Opened(self.folder)
        except JournalDamaged:
            return None
        opened.release()
        return opened

    def check_again(self, opened: Opened) -> None:
        """What was kept is kept for good, and the log goes on."""
        write(self.folder, [b"more"], expected=True)
        assert read(self.folder) == [*opened.records, b"more"]


def test_a_log_that_ends_anywhere_is_whole_torn_or_damaged(tmp_path: Path) -> None:
    """With each mark it may have: of nothing less than all, set back by a power cut, and none."""
    victim = Victim(tmp_path)
    marks: list[tuple[int | None, bytes | None]] = [(None, None)]
    marks += [(number, victim.mark_of(number)) for number in range(victim.acknowledged + 1)]
    for size in range(len(victim.data) + 1):
        whole = sum(1 for end in victim.ends if end <= size) - 1  # the last group that is all there
        is_cut = size not in victim.ends
        for acknowledged, marked in marks:
            opened = victim.opened(victim.data[:size], marked)
            if acknowledged is None:
                fine = whole >= 0
            else:
                fine = whole >= acknowledged or (whole >= 0 and whole == acknowledged - 1 and is_cut)
            assert (opened is not None) == fine, (size, acknowledged)
            if opened is None:
                continue
            kept = salvaged_of(victim, size)
            assert opened.records == kept
            assert bool(opened.warning) == (is_cut or acknowledged is None)
    opened = victim.opened(victim.data[:-3], victim.mark)
    assert opened is not None
    victim.check_again(opened)


def salvaged_of(victim: Victim, size: int) -> list[bytes]:
    """The records whose last byte is there."""
    kept, at = [], victim.ends[0]
    for number, records in enumerate(groups_of(victim)):
        at = victim.ends[number] + journal_format.HEADER_BYTES
        for record in records:
            at += journal_format.FRAME_BYTES + len(record)
            if at <= size:
                kept.append(record)
    return kept


def groups_of(victim: Victim) -> list[list[bytes]]:
    """The records of each group but the first."""
    return [
        list(journal_format.records(victim.data[start + journal_format.HEADER_BYTES : end - journal_format.SEAL_BYTES]))
        for start, end in pairwise(victim.ends)
    ]


def test_a_flipped_bit_anywhere_in_what_was_acknowledged_is_damage(tmp_path: Path) -> None:
    """With the mark as it was, and without one."""
    victim = Victim(tmp_path)
    for at in range(len(victim.data)):
        flipped = bytearray(victim.data)
        flipped[at] ^= 1 << (at % 8)
        assert victim.opened(bytes(flipped), victim.mark) is None, at
        assert victim.opened(bytes(flipped), None) is None, at


def test_behind_the_mark_it_is_a_torn_tail_only_in_the_last_group(tmp_path: Path) -> None:
    """A whole group behind a broken one proves that the broken one had been synced."""
    victim = Victim(tmp_path)
    behind = victim.mark_of(victim.acknowledged - 2)
    last = victim.ends[-2]
    for at in range(victim.ends[-3], len(victim.data)):
        flipped = bytearray(victim.data)
        flipped[at] ^= 0x80
        opened = victim.opened(bytes(flipped), behind)
        assert (opened is None) == (at < last), at
        if opened is not None:
            before = [record for records in groups_of(victim)[:-1] for record in records]
            assert opened.records[: len(before)] == before
            assert set(opened.records) <= set(ALL)
            assert opened.warning


def test_a_flipped_bit_in_the_mark_costs_a_warning(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    for at in range(len(victim.mark)):
        flipped = bytearray(victim.mark)
        flipped[at] ^= 1
        opened = victim.opened(victim.data, bytes(flipped))
        assert opened is not None
        assert opened.records == ALL
        assert "mark" in opened.warning
        assert read(tmp_path) == ALL


@pytest.mark.parametrize(
    "garbage", [b"\0" * 5000 + b"\1", b"\1" + b"\0" * 5000, b"vjg1", b"vjg1" * 100, os.urandom(300)]
)
def test_garbage_behind_the_last_group_is_dropped(tmp_path: Path, garbage: bytes) -> None:
    victim = Victim(tmp_path)
    opened = victim.opened(victim.data + garbage, victim.mark)
    assert opened is not None
    assert opened.records == ALL
    assert str(len(garbage)) in opened.warning
    assert log(tmp_path).read_bytes() == victim.data
    victim.check_again(opened)


@pytest.mark.parametrize("count", [1, journal_format.HEADER_BYTES, 5000, 200_000])
def test_zeros_behind_the_last_group_are_room_for_the_next(tmp_path: Path, count: int) -> None:
    """With every mark it may have; and what a mark says was acknowledged is not among them."""
    victim = Victim(tmp_path)
    for marked in (victim.mark, victim.mark_of(0)):
        opened = victim.opened(victim.data + bytes(count), marked)
        assert opened is not None
        assert (opened.records, opened.warning) == (ALL, "")
    unmarked = victim.opened(victim.data + bytes(count), None)
    assert unmarked is not None
    assert unmarked.records == ALL
    assert victim.opened(victim.data[: victim.ends[-2]] + bytes(count), victim.mark) is None
    opened = victim.opened(victim.data + bytes(count), victim.mark)
    assert opened is not None
    victim.check_again(opened)


def test_a_write_into_that_room_is_whole_torn_or_damaged_wherever_it_ends(tmp_path: Path) -> None:
    """As a crash leaves it: the first bytes of a group, and zeros where the others should be."""
    victim = Victim(tmp_path)
    marks = [(None, None), *((number, victim.mark_of(number)) for number in range(victim.acknowledged + 1))]
    for size in range(len(victim.data) + 1):
        data = victim.data[:size] + bytes(len(victim.data) + 100 - size)
        # A group whose last bytes are zeros anyway is whole without them.
        whole = sum(data[:end] == victim.data[:end] for end in victim.ends) - 1
        is_torn = whole < 0 or any(data[victim.ends[whole] :])
        for acknowledged, marked in marks:
            opened = victim.opened(data, marked)
            fine = whole >= 0 and (not is_torn if acknowledged is None else whole >= acknowledged)
            assert (opened is not None) == fine, (size, acknowledged)
            if opened is not None:
                assert bool(opened.warning) == (is_torn or acknowledged is None)
                assert set(opened.records) <= set(ALL)
                assert opened.records[: sum(map(len, GROUPS[:1]))] == ALL[: min(1, len(opened.records))]


def test_a_flipped_bit_is_found_with_room_behind_it_too(tmp_path: Path) -> None:
    """In what was acknowledged it is damage; in the room it is something that nobody was promised."""
    victim = Victim(tmp_path)
    room = bytes(300)
    for at in range(len(victim.data) + len(room)):
        flipped = bytearray(victim.data + room)
        flipped[at] ^= 1 << (at % 8)
        assert victim.opened(bytes(flipped), None) is None, at
        opened = victim.opened(bytes(flipped), victim.mark)
        assert (opened is None) == (at < len(victim.data)), at
        if opened is not None:
            assert opened.records == ALL
            assert "dropped" in opened.warning


def test_groups_are_written_into_room_that_is_there_and_the_room_goes_when_it_is_closed(tmp_path: Path) -> None:
    """A file whose size changes with every group would cost a commit of the file system with every sync."""

    async def story(journal: Journal) -> None:
        sizes = set()
        for number in range(200):
            await journal.append(b"%d" % number, NOW)
            sizes.add(log(tmp_path).stat().st_size)
            assert journal.bytes_held < log(tmp_path).stat().st_size
        assert len(sizes) == 1

    run(tmp_path, story, expected=False)
    data = log(tmp_path).read_bytes()
    assert ends_of_groups(data)[-1] == len(data)
    assert read(tmp_path) == [b"%d" % number for number in range(200)]


def test_a_volume_without_room_for_room_is_written_to_its_end(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        written, begun = 0, journal.bytes_held
        with no_file_larger_than(begun + 3000):
            with suppress(OSError):
                while True:
                    await journal.append(b"%d" % written, NOW)
                    written += 1
            assert 2900 < journal.bytes_held - begun <= 3000
        journal._retry_at = 0
        await journal.append(b"%d" % written, NOW)
        assert log(tmp_path).stat().st_size > journal.bytes_held
        assert written > 30

    run(tmp_path, story, expected=False)
    records = read(tmp_path)
    assert records == [b"%d" % number for number in range(len(records))]


def test_groups_that_were_cut_out_or_moved_are_damage(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    starts = [0, *victim.ends]
    parts = [victim.data[start:end] for start, end in zip(starts, victim.ends, strict=False)]
    for number in range(len(parts)):
        assert victim.opened(b"".join(parts[:number] + parts[number + 1 :]), victim.mark) is None
        assert victim.opened(b"".join(parts[: number + 1] + parts[number:]), victim.mark) is None or (
            number == len(parts) - 1  # the last one twice: what is behind the mark was not acknowledged
        )
    assert victim.opened(b"".join([parts[0], *reversed(parts[1:])]), victim.mark) is None


def test_another_log_under_the_mark_is_damage(tmp_path: Path) -> None:
    """An old copy that was put back, too: its groups are whole, but it is not the one that was acknowledged."""
    victim = Victim(tmp_path)
    asyncio.run(_rewritten(tmp_path, [[b"new"]]))
    assert victim.opened(victim.data, mark(tmp_path).read_bytes()) is None
    other = tmp_path / "other"
    other.mkdir()
    write(other, *GROUPS)
    assert victim.opened(log(other).read_bytes(), victim.mark) is None


def test_a_group_of_another_log_is_none_of_this(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    write(other, *GROUPS)
    strange = log(other).read_bytes()[victim.ends[1] :]
    assert victim.opened(victim.data[: victim.ends[1]] + strange, victim.mark) is None
    opened = victim.opened(victim.data[: victim.ends[1]] + strange, victim.mark_of(1))
    assert opened is not None
    assert opened.warning


def test_a_missing_log_is_damage_where_it_was_there_before(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    assert victim.opened(None, victim.mark) is None
    assert victim.opened(None, None) is None
    mark(tmp_path).write_bytes(victim.mark)
    with pytest.raises(JournalDamaged, match="is missing"):
        Opened(tmp_path, expected=False)
    assert not log(tmp_path).exists()
    mark(tmp_path).unlink()
    fresh = Opened(tmp_path, expected=False)
    assert fresh.recovered == Recovered(0.0, "")
    fresh.release()
    assert read(tmp_path) == []


def test_a_mark_that_is_deleted_meanwhile_is_made_anew_when_the_log_is_rewritten(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        await journal.append(b"old", NOW)
        mark(tmp_path).unlink()
        journal._mark.close()
        await journal.append(b"more", NOW)
        assert not mark(tmp_path).exists()
        await journal.rewrite([[b"old", b"more"]], NOW)
        await journal.append(b"last", NOW)

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"old", b"more", b"last"]


def test_a_log_without_its_mark_gets_one_with_a_warning(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    for marked in (None, b"", b"short"):
        opened = victim.opened(victim.data, marked)
        assert opened is not None
        assert opened.records == ALL
        assert "mark" in opened.warning
        assert mark(tmp_path).read_bytes() == victim.mark


def test_what_is_no_readable_file_is_damage(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    for make in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to(tmp_path / "kept")):
        (tmp_path / "kept").write_bytes(victim.data)
        for path in (log(tmp_path), mark(tmp_path)):
            shutil.copy(tmp_path / "kept", log(tmp_path))
            mark(tmp_path).write_bytes(victim.mark)
            path.unlink()
            make(path)
            is_garbled = path == mark(tmp_path) and stat.S_ISFIFO(path.lstat().st_mode)
            with suppress(JournalDamaged):
                Opened(tmp_path).release()
                assert is_garbled
            path.rmdir() if path.is_dir() else path.unlink()


def test_a_disk_that_cannot_be_read_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = Victim(tmp_path)

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for name in ("valetstore.journal.log.scan", "os.read"):
        with monkeypatch.context() as patch:
            patch.setattr(name, failing)
            with pytest.raises(JournalDamaged, match="cannot be read: Input/output error"):
                Opened(tmp_path)
    assert log(tmp_path).read_bytes() == victim.data
    assert read(tmp_path) == ALL


def test_damage_is_told_in_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    log(tmp_path).write_bytes(victim.data[: victim.ends[1]])
    with pytest.raises(JournalDamaged) as damaged:
        Opened(tmp_path)
    assert str(damaged.value) == f"{log(tmp_path)}: group 2, at byte {victim.ends[1]}, is missing"


def test_a_log_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    newer = journal_format._BEGIN.pack(journal_format.BEGIN, journal_format.VERSION + 1, b"i" * 16)
    log(tmp_path).write_bytes(journal_format.group(0, 0, NOW, [journal_format.frame(newer)]))
    with pytest.raises(JournalDamaged, match="format 2"):
        Opened(tmp_path)


def test_a_log_that_lost_its_last_few_bytes_has_lost_no_record(tmp_path: Path) -> None:
    """Whatever cut them off: a copy that was broken off, a disk that lied about its last sync."""
    victim = Victim(tmp_path)
    for cut in range(1, journal_format.SEAL_BYTES + 1):
        opened = victim.opened(victim.data[:-cut], victim.mark)
        assert opened is not None
        assert opened.records == ALL
        assert "cut short" in opened.warning


def test_what_was_dropped_with_whole_records_comes_first_again(tmp_path: Path) -> None:
    """A crash while it is put right included: the same records are still where they were."""
    victim = Victim(tmp_path)
    torn = victim.data[:-2]
    opened = victim.opened(torn, victim.mark)
    assert opened is not None
    assert opened.records == ALL
    assert f"kept of them: {len(groups_of(victim)[-1])}" in opened.warning
    assert read(tmp_path) == ALL


# A disk that fails


def test_a_full_volume_fails_all_that_wait_and_loses_nothing(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        await journal.append(b"before", NOW)
        with no_file_larger_than(journal.bytes_held + 50):
            calls = [journal.append(b"%d" % number * 20, NOW) for number in range(20)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(end, OSError) and end.errno == errno.EFBIG for end in ends)
            with pytest.raises(OSError, match="too large"):
                await journal.append(b"at once refused", NOW)
        assert journal.failure is not None
        journal._retry_at = 0
        await journal.append(b"after", NOW)
        assert journal.failure is None

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"before", b"after"]


def test_after_a_failure_the_disk_is_asked_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valetstore.journal.log.RETRY_SECONDS", 0.2)

    async def story(journal: Journal) -> None:
        with no_file_larger_than(journal.bytes_held), pytest.raises(OSError, match="too large"):
            await journal.append(b"lost", NOW)
        with pytest.raises(OSError, match="too large"):
            await journal.append(b"too soon", NOW)
        await asyncio.sleep(0.25)
        await journal.append(b"after", NOW)

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"after"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_failed_call_is_not_repeated_on_its_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    used: list[int] = []

    def failing(fd: int, *_: object) -> int:
        used.append(fd)
        raise OSError(code, os.strerror(code))

    async def story(journal: Journal) -> None:
        await journal.append(b"before", NOW)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            with pytest.raises(OSError, match=os.strerror(code)):
                await journal.append(b"lost", NOW)
            assert len(used) == 1
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(used[0])
        journal._retry_at = 0
        await journal.append(b"after", NOW)

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"before", b"after"]


def test_a_fault_of_the_writer_itself_fails_those_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise MemoryError

    async def story(journal: Journal) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("valetstore.journal.files.group", broken)
            with pytest.raises(OSError, match="MemoryError"):
                await journal.append(b"lost", NOW)
        assert journal.failure is not None
        journal._retry_at = 0
        await journal.append(b"after", NOW)

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"after"]


def test_a_write_that_is_short_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:7], at))
    write(tmp_path, *GROUPS)
    assert read(tmp_path) == ALL


def test_what_failed_may_be_there_after_a_crash_and_is_then_kept(tmp_path: Path) -> None:
    """It was refused, so nobody was promised that it is not there: the gate is only stricter for it."""
    write(tmp_path, *GROUPS)

    async def story() -> None:
        opened = Opened(tmp_path)
        with no_file_larger_than(opened.journal.bytes_held + 60):
            calls = [opened.journal.append(b"x" * 20, NOW)]
            await asyncio.gather(*calls, *(opened.journal.append(b"y" * 20, NOW) for _ in range(9)),
                                 return_exceptions=True)  # fmt: skip
        opened.release()

    asyncio.run(story())
    again = Opened(tmp_path)
    again.release()
    assert again.records[: len(ALL)] == ALL
    assert set(again.records[len(ALL) :]) <= {b"x" * 20, b"y" * 20}


def test_where_nothing_can_be_written_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a torn tail too: it is put right when the volume can be written again."""
    victim = Victim(tmp_path)
    log(tmp_path).write_bytes(victim.data[:-1])
    real = os.open

    def read_only(path: Any, flags: int, *mode: int, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *mode, **options)

    async def story() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", read_only)
            opened = Opened(tmp_path)
            assert opened.records == ALL
            assert opened.journal.failure is not None
            for _ in range(2):
                with pytest.raises(OSError, match="Read-only"):
                    await opened.journal.append(b"refused", NOW)
            with pytest.raises(OSError, match="Read-only"):
                await opened.journal.rewrite([[b"x"]], NOW)
        opened.journal._retry_at = 0
        await opened.journal.append(b"more", NOW)
        await opened.journal.close()

    asyncio.run(story())
    assert read(tmp_path) == [*ALL, b"more"]


def test_a_first_start_where_nothing_can_be_written_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "later"

    async def story() -> None:
        opened = Opened(folder, expected=False)
        with pytest.raises(OSError, match="No such file"):
            await opened.journal.append(b"refused", NOW)
        folder.mkdir()
        opened.journal._retry_at = 0
        await opened.journal.append(b"x", NOW)
        await opened.journal.close()

    asyncio.run(story())
    assert read(folder) == [b"x"]


def test_a_log_that_appears_where_there_was_none_is_not_written_over(tmp_path: Path) -> None:
    """A volume that was mounted late: what is in it was not read, so nothing can be decided."""
    folder, mounted = tmp_path / "later", tmp_path / "mounted"
    mounted.mkdir()
    write(mounted, *GROUPS)

    async def story() -> None:
        opened = Opened(folder, expected=False)
        mounted.rename(folder)
        opened.journal._retry_at = 0
        with pytest.raises(OSError, match="has appeared"):
            await opened.journal.append(b"x", NOW)
        await opened.journal.close()

    asyncio.run(story())
    assert read(folder) == ALL


def test_a_log_that_was_replaced_while_it_failed_is_not_written(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        with no_file_larger_than(journal.bytes_held), pytest.raises(OSError, match="too large"):
            await journal.append(b"lost", NOW)
        other = tmp_path / "other"
        shutil.copy(log(tmp_path), other)
        other.rename(log(tmp_path))
        journal._retry_at = 0
        with pytest.raises(OSError, match="another file"):
            await journal.append(b"x", NOW)

    run(tmp_path, story, expected=False)


# Rewriting


async def _rewritten(folder: Path, chunks: Iterable[Iterable[bytes]], now: float = NOW) -> None:
    opened = Opened(folder)
    await opened.journal.rewrite(chunks, now)
    await opened.journal.close()


def test_a_rewritten_log_has_what_it_was_given(tmp_path: Path) -> None:
    write(tmp_path, *([b"x" * 50] for _ in range(100)))
    before = log(tmp_path).stat().st_size
    asyncio.run(_rewritten(tmp_path, [[b"a", b"b"], [], [b"c"]], NOW + 500))
    opened = Opened(tmp_path)
    opened.release()
    assert opened.records == [b"a", b"b", b"c"]
    assert opened.recovered.clock == NOW + 500
    assert log(tmp_path).stat().st_size < before / 10
    assert {path.name for path in tmp_path.iterdir()} == {"replay.log", "replay.mark"}


def test_what_is_appended_meanwhile_is_behind_it(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        appended: list[asyncio.Future[None]] = []

        def chunks() -> Iterator[list[bytes]]:
            for number in range(20):
                appended.append(journal.submit(b"live %d" % number, NOW))
                yield [b"chunk %d" % number]

        await journal.append(b"old", NOW)
        await journal.rewrite(chunks(), NOW)
        await asyncio.gather(*appended)
        await journal.append(b"after", NOW)

    run(tmp_path, story, expected=False)
    records = read(tmp_path)
    assert b"old" not in records
    assert [record for record in records if record.startswith(b"live")] == [b"live %d" % n for n in range(20)]
    assert [record for record in records if record.startswith(b"chunk")] == [b"chunk %d" % n for n in range(20)]
    assert records[-1] == b"after"


def test_appends_are_acknowledged_while_it_is_rewritten(tmp_path: Path) -> None:
    """And until the switch they are in the old log: a crash finds them there."""

    async def story() -> None:
        opened = Opened(tmp_path, expected=False)
        journal = opened.journal

        async def live() -> None:
            for number in range(50):
                await journal.append(b"live %d" % number, NOW)

        task = asyncio.ensure_future(live())
        await journal.rewrite(([b"%d" % number] * 100 for number in range(200)), NOW)
        await task
        opened.release()

    asyncio.run(story())
    records = read(tmp_path)
    assert [record for record in records if record.startswith(b"live")] == [b"live %d" % n for n in range(50)]


def test_a_rewrite_that_fails_leaves_the_old_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any call that it makes; afterwards it can be done again."""
    write(tmp_path, *GROUPS)

    def chunks(mistake: bool) -> Iterator[list[bytes]]:
        yield [b"new"]
        if mistake:
            raise ZeroDivisionError

    async def story() -> None:
        opened = Opened(tmp_path)
        with pytest.raises(ZeroDivisionError):
            await opened.journal.rewrite(chunks(True), NOW)
        for name, ending in (("pwrite", ".new"), ("fsync", ".new"), ("fsync", ".mark"), ("rename", ".new")):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, _failing(getattr(os, name), {ending}))
                if ending == ".mark":
                    patch.setattr(os, "fdatasync", _failing(os.fdatasync, {ending}))
                with pytest.raises(OSError, match="Input/output"):
                    await opened.journal.rewrite(chunks(False), NOW)
            await opened.journal.append(name.encode(), NOW)
            assert not (tmp_path / "replay.log.new").exists()
        await opened.journal.close()

    asyncio.run(story())
    assert read(tmp_path) == [*ALL, b"pwrite", b"fsync", b"fsync", b"rename"]
    asyncio.run(_rewritten(tmp_path, chunks(False)))
    assert read(tmp_path) == [b"new"]


def _failing(real: Callable[..., Any], endings: set[str]) -> Callable[..., Any]:
    """The call, but for files whose name ends so it fails with EIO."""

    def call(first: Any, *rest: Any) -> Any:
        name = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
        if any(name.endswith(ending) for ending in endings):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(first, *rest)

    return call


def test_where_the_rename_may_not_be_durable_nothing_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(journal: Journal) -> None:
        await journal.append(b"old", NOW)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _failing(os.fsync, {tmp_path.name}))
            with pytest.raises(OSError, match="Input/output"):
                await journal.rewrite([[b"new"]], NOW)
            for _ in range(2):
                journal._retry_at = 0
                with pytest.raises(OSError, match="Input/output"):
                    await journal.append(b"lost", NOW)
        journal._retry_at = 0
        await journal.append(b"after", NOW)

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"new", b"after"]


def test_a_live_append_that_fails_ends_the_rewrite(tmp_path: Path) -> None:
    """Its owner takes the change back, and the chunks may tell of it already."""

    async def story(journal: Journal) -> None:
        await journal.append(b"x" * 3000, NOW)
        live: list[asyncio.Future[None]] = []

        def chunks() -> Iterator[list[bytes]]:
            for number in range(5):
                if number == 2:
                    live.append(journal.submit(b"lost", NOW))
                yield [b"new"]

        with no_file_larger_than(journal.bytes_held):
            with pytest.raises(OSError, match="too large"):
                await journal.rewrite(chunks(), NOW)
            with pytest.raises(OSError, match="too large"):
                await live[0]
        journal._retry_at = 0
        await journal.append(b"after", NOW)

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"x" * 3000, b"after"]


def test_a_cancelled_rewrite_leaves_the_old_log_and_no_file(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        await journal.append(b"old", NOW)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(journal.rewrite(([b"new"] for _ in range(10**9)), NOW), 0.02)
        await journal.append(b"after", NOW)

    run(tmp_path, story, expected=False)
    assert read(tmp_path) == [b"old", b"after"]
    assert not (tmp_path / "replay.log.new").exists()


def test_what_a_crash_left_of_a_rewrite_is_removed(tmp_path: Path) -> None:
    write(tmp_path, *GROUPS)
    (tmp_path / "replay.log.new").write_bytes(b"left")
    assert read(tmp_path) == ALL
    assert not (tmp_path / "replay.log.new").exists()


# Crashes: a child process that dies before its Nth call, and a copy of the folder at each


CALLS = ("open", "pwrite", "fdatasync", "fsync", "rename", "ftruncate", "unlink", "close")


def _die_before(number: int) -> None:
    left = number

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


async def _live(folder: Path, promised: int) -> None:
    """Appends before, during and after a rewrite; each is told on a pipe when it is acknowledged."""
    opened = Opened(folder, expected=False)
    journal = opened.journal
    state = list(opened.records)

    async def append(record: bytes) -> None:
        state.append(record)
        await journal.append(record, NOW)
        os.write(promised, record + b"\n")

    def chunks() -> Iterator[list[bytes]]:
        for at in range(0, len(state), 2):
            yield state[at : at + 2]

    for number in range(4):
        await append(b"before %d" % number)
    rewriting = asyncio.ensure_future(journal.rewrite(chunks(), NOW))
    for number in range(3):
        await append(b"during %d" % number)
    await rewriting
    await append(b"after")
    await journal.close()


def _child(folder: Path, number: int) -> tuple[int, list[bytes]]:
    """Its exit code, and what it promised before."""
    receiver, sender = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(receiver)
        _die_before(number)
        try:
            asyncio.run(_live(folder, sender))
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(sender)
    with open(receiver, "rb") as stream:
        promised = stream.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), promised


def test_killed_before_any_call_it_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    script = "from tests.test_journal import kill_at_every_call; from pathlib import Path; import sys;"
    script += "kill_at_every_call(Path(sys.argv[1]))"
    # A process without threads of others, so that it may fork.
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    survived, most = done.stdout.split()
    assert int(most) > 40
    assert survived == "8"


def kill_at_every_call(base: Path) -> None:
    """Once for each call, on a folder of its own; the last child finds no call left to die before."""
    for number in range(1, 1000):
        folder = base / str(number)
        folder.mkdir()
        ended, promised = _child(folder, number)
        assert ended in {0, 9}, ended
        opened = Opened(folder, expected=bool(promised))
        opened.release()
        assert set(promised) <= set(opened.records), (number, promised, opened.records)
        # Whole groups of a process that was killed are never torn; only the mark may not be there yet.
        assert "dropped" not in opened.warning
        assert read(folder) == opened.records
        if ended == 0:
            print(len(promised), number)
            return
    raise AssertionError("it never ended by itself")


def test_a_power_cut_at_any_step_of_a_rewrite_leaves_a_log_without_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder as it is durably between the steps, with the mark as old as its last sync may leave it."""
    folder = tmp_path / "log"
    folder.mkdir()
    write(folder, *GROUPS)
    shots: list[Path] = []
    durable_mark = mark(folder).read_bytes()

    def shot() -> None:
        for number, marked in enumerate({mark(folder).read_bytes(), durable_mark}):
            copy = tmp_path / f"{len(shots)}-{number}"
            shutil.copytree(folder, copy)
            mark(copy).write_bytes(marked)
            shots.append(copy)

    def watched(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any) -> Any:
            nonlocal durable_mark
            shot()
            result = real(*args)
            if name == "fdatasync" and os.readlink(f"/proc/self/fd/{args[0]}").endswith(".mark"):
                durable_mark = mark(folder).read_bytes()
            shot()
            return result

        return call

    async def story(journal: Journal) -> None:
        with monkeypatch.context() as patch:
            for name in ("pwrite", "fdatasync", "fsync", "rename"):
                patch.setattr(os, name, watched(name))
            await journal.rewrite([ALL[:3], ALL[3:]], NOW)

    run(folder, story)
    assert len(shots) >= 20
    for copy in shots:
        opened = Opened(copy)
        opened.release()
        assert opened.records == ALL
        assert opened.warning == ""


# Replacing a damaged one


def test_a_log_is_replaced_with_its_mark(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    for harmed in (victim.data[:-40] + b"x" * 40, None, b""):
        victim.opened(harmed, victim.mark)
        log(tmp_path).unlink(missing_ok=True)
        if harmed is not None:
            log(tmp_path).write_bytes(harmed)
        kept = salvaged(log(tmp_path))
        assert set(kept) <= set(ALL)
        replace(log(tmp_path), [*kept, b"more"], NOW + 1)
        opened = Opened(tmp_path)
        opened.release()
        assert opened.records == [*kept, b"more"]
        assert opened.recovered == Recovered(NOW + 1, "")


def test_of_a_damaged_log_every_whole_record_can_be_read(tmp_path: Path) -> None:
    victim = Victim(tmp_path)
    for at in range(len(victim.data)):
        flipped = bytearray(victim.data)
        flipped[at] ^= 0x10
        log(tmp_path).write_bytes(flipped)
        kept = salvaged(log(tmp_path))
        assert set(kept) <= set(ALL)
        # At most the group that was hit is lost.
        assert len(kept) >= len(ALL) - max(map(len, groups_of(victim)))


# Speed


def test_a_hundred_thousand_records_are_read_in_a_moment(tmp_path: Path) -> None:
    """A million in about a third of a second on a small machine (`bench/replay.py`); the bound is for a busy one."""
    replace(log(tmp_path), (os.urandom(25) for _ in range(100_000)), NOW)
    opened = Opened(tmp_path)
    opened.release()
    assert len(opened.records) == 100_000
