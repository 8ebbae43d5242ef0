"""What is left of the logs decides: a tail that nobody was promised is dropped, damage refuses, nothing is guessed."""

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.gate import Answer, Gate
from tests.single.crowd import Keys, same_again
from valetstore.journal import Journal
from valetstore.journal.format import HEADER_BYTES, ID_BYTES, MAGIC, SEAL_BYTES, group, seed_of
from valetstore.replay.table import ReplayTable

SKEW_SECONDS: Final = 0
Damage = Callable[[Path], object]


@dataclass
class Past:
    """A gateway that has ended well, and keys from its time: spent in this order, never used, revoked in this order."""

    gate: Gate
    used: list[str]
    fresh: list[str]
    revoked: list[str]
    plain: str


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Made once; every test works on a copy."""
    with Gate(tmp_path_factory.mktemp("past")) as gate:
        keys = Keys(gate)
        keys.put("/w/here")
        used = [keys("GET", "/w/here", uses=1) for _ in range(6)]
        for target in used:
            assert gate.ask("GET", target).status == 200
        revoked = [keys("GET", "/w/here") for _ in range(3)]
        for target in revoked:
            gate.cli("revoke", gate.base + target)
        fresh = [keys("GET", "/w/here", uses=1) for _ in range(3)]
        return Past(gate, used, fresh, revoked, keys("GET", "/w/here"))


@contextmanager
def after(past: Past, folder: Path, damage: Damage, workers: int = 1) -> Iterator[Gate]:
    """A gateway that finds what `damage` (of the state folder) has left."""
    gate = damaged(past, folder, damage)
    gate.args = ("--workers", str(workers))
    with gate:
        yield gate
    assert "Traceback" not in gate.log, gate.log[-4000:]


def damaged(past: Past, folder: Path, damage: Damage) -> Gate:
    """The same, not started."""
    gate = same_again(past.gate, folder)
    damage(gate.data / "state")
    return gate


def holds(gate: Gate, past: Past, but_last: int = 0) -> None:
    """All is as it was; of the keys used `but_last` may have been forgotten."""
    for target in past.used[: len(past.used) - but_last]:
        assert gate.ask("GET", target).code == "key_used"
        assert gate.ask("HEAD", target).code == "key_used"
    for target in past.fresh:
        assert [gate.ask("GET", target).status for _ in range(2)] == [200, 403]
    for target in past.revoked:
        assert gate.ask("GET", target).code == "key_revoked"
    assert gate.ask("GET", past.plain).status == 200


def cannot_decide(gate: Gate, past: Past) -> None:
    """Keys of limited use are refused for now, everything else goes on."""
    keys = Keys(gate)
    for _ in range(2):
        for target in (*past.used, *past.fresh, keys("GET", "/w/here", uses=1)):
            unavailable(gate.ask("GET", target), "replay_unavailable")
        assert gate.ask("HEAD", past.fresh[0]).status == 503
    unavailable(gate.ask("PUT", keys("PUT", "/w/once", uses=1), b"once"), "replay_unavailable")
    assert gate.ask("GET", keys("GET", "/w/once")).code == "not_found"
    unavailable(gate.ask("DELETE", keys("DELETE", "/w/here", uses=1)), "replay_unavailable")
    unavailable(gate.ask("GET", keys("LIST", "/w/", uses=1)), "replay_unavailable")
    unavailable(gate.ask("POST", f"/_valet/release?{past.fresh[0].partition('?')[2]}"), "replay_unavailable")
    assert gate.ask("PUT", keys("PUT", "/w/other"), b"other").status == 201
    assert gate.ask("GET", keys("LIST", "/w/")).status == 200
    assert gate.ask("DELETE", keys("DELETE", "/w/other")).status == 204
    assert gate.ask("GET", past.plain).body == b"here"
    assert gate.ask("GET", past.revoked[0]).code == "key_revoked"
    assert gate.ask("GET", "/_valet/ready").status == 200


def unavailable(answer: Answer, code: str) -> None:
    """Refused for now, and the client is told when to come back."""
    assert (answer.status, answer.code) == (503, code)
    assert int(answer.headers["retry-after"]) >= 1


# --- what may be done to a log -------------------------------------------------------------------------


def append(log: str, data: bytes) -> Damage:
    """Bytes behind its end."""

    def damage(state: Path) -> None:
        with open(state / f"{log}.log", "ab") as file:
            file.write(data)

    return damage


def half_a_group(log: str) -> Damage:
    """The next group of the log, as a power cut leaves it."""

    def damage(state: Path) -> None:
        data = (state / f"{log}.log").read_bytes()
        log_id = data[: data.index(MAGIC, 1)][-ID_BYTES - SEAL_BYTES : -SEAL_BYTES]
        more = group(seed_of(log_id), data.count(MAGIC), time.time(), [b"\0" * 100])
        append(log, more[: HEADER_BYTES + 40])(state)

    return damage


def cut(log: str, count: int) -> Damage:
    """So many bytes off its end."""
    return lambda state: os.truncate(state / f"{log}.log", (state / f"{log}.log").stat().st_size - count)


def shorten(log: str, share: float) -> Damage:
    """To a share of its length."""
    return lambda state: os.truncate(state / f"{log}.log", int((state / f"{log}.log").stat().st_size * share))


def flip(log: str, share: float) -> Damage:
    """One bit, at this share of its length."""

    def damage(state: Path) -> None:
        path = state / f"{log}.log"
        data = bytearray(path.read_bytes())
        data[int(share * (len(data) - 1))] ^= 0x10
        path.write_bytes(data)

    return damage


def delete(*names: str) -> Damage:
    """These files."""

    def damage(state: Path) -> None:
        for name in names:
            (state / name).unlink()

    return damage


def replaced_by_folder(log: str) -> Damage:
    """Something lies there that cannot be read, whoever asks."""

    def damage(state: Path) -> None:
        (state / f"{log}.log").unlink()
        (state / f"{log}.log").mkdir()

    return damage


def replaced_by(other: Path) -> Damage:
    """Another gateway's log."""
    return lambda state: shutil.copyfile(other, state / other.name)


def nothing(_state: Path) -> None:
    """All stays as it is."""


def both(*damages: Damage) -> Damage:
    """One after the other."""

    def damage(state: Path) -> None:
        for one in damages:
            one(state)

    return damage


# --- a tail that nobody was promised ----------------------------------------------------------------------

TAILS: Final[dict[str, Damage]] = {
    "garbage": append("replay", b"\xa5" * 7),
    "half a group": half_a_group("replay"),
    "no mark": delete("replay.mark"),
    "torn mark": lambda state: os.truncate(state / "replay.mark", 11),
    "no mark, half a group": both(delete("replay.mark"), half_a_group("replay")),
    "revocations: half a group": half_a_group("revocations"),
    "revocations: no mark": delete("revocations.mark"),
}


@pytest.mark.parametrize("name", TAILS)
def test_a_torn_tail_is_dropped_with_a_warning(past: Past, tmp_path: Path, name: str) -> None:
    with after(past, tmp_path, TAILS[name]) as gate:
        holds(gate, past)
        assert re.search(r"warning.*(dropped|made anew)", gate.log, re.IGNORECASE), gate.log
        if "half a group" in name:  # the log goes on where the tail was
            gate.kill()
            gate.start()
            assert {gate.ask("GET", target).code for target in past.used + past.fresh} == {"key_used"}


def test_room_for_more_behind_its_end_needs_no_word(past: Past, tmp_path: Path) -> None:
    """What a gateway that is killed leaves."""
    with after(past, tmp_path, both(append("replay", b"\0" * 4096), append("revocations", b"\0" * 70_000))) as gate:
        holds(gate, past)
        assert "warning" not in gate.log.lower(), gate.log
        gate.kill()
        assert (gate.data / "state/replay.log").read_bytes().endswith(b"\0" * 1000)
        gate.start()
        assert {gate.ask("GET", target).code for target in past.used + past.fresh} == {"key_used"}
        assert "warning" not in gate.log.lower(), gate.log


@pytest.mark.parametrize("count", [1, 5, 20, SEAL_BYTES, SEAL_BYTES + 5])
def test_a_last_group_that_is_cut_costs_no_more_than_itself(past: Past, tmp_path: Path, count: int) -> None:
    """And not even that while only its seal is: the record before it is whole."""
    with after(past, tmp_path, cut("replay", count)) as gate:
        holds(gate, past, but_last=int(count > SEAL_BYTES))
        assert gate.says("dropped"), gate.log
        last = past.used[-1]
        gate.ask("GET", last)
        assert gate.ask("GET", last).code == "key_used"


def test_two_workers_find_what_one_left(past: Past, tmp_path: Path) -> None:
    with after(past, tmp_path, nothing, workers=2) as gate:
        holds(gate, past)


# --- damage --------------------------------------------------------------------------------------------

DAMAGES: Final[dict[str, Damage]] = {
    **{f"a bit at {share}": flip("replay", share) for share in (0.0, 0.1, 0.5, 0.8, 1.0)},
    "half": shorten("replay", 0.5),
    "empty": shorten("replay", 0.0),
    "deleted": delete("replay.log"),
    "deleted with its mark and the format": delete("replay.log", "replay.mark", "format"),
    "a folder": replaced_by_folder("replay"),
    "its mark is a folder": both(delete("replay.mark"), lambda state: (state / "replay.mark").mkdir()),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_refuses_keys_of_limited_use_and_nothing_else(past: Past, tmp_path: Path, name: str) -> None:
    with after(past, tmp_path, DAMAGES[name]) as gate:
        cannot_decide(gate, past)
        assert gate.says("single use cannot be decided"), gate.log
        if name == "half":  # and it does not heal by being started again
            gate.kill()
            gate.start()
            cannot_decide(gate, past)


def test_damage_is_the_same_in_every_worker(past: Past, tmp_path: Path) -> None:
    with after(past, tmp_path, flip("replay", 0.5), workers=2) as gate:
        cannot_decide(gate, past)


def test_an_earlier_copy_of_the_log_is_found_out(past: Past, tmp_path: Path) -> None:
    """Put back from a backup, whole: its mark says that more was acknowledged."""

    def earlier(state: Path) -> None:
        data = (state / "replay.log").read_bytes()
        (state / "replay.log").write_bytes(data[: data.rindex(MAGIC, 0, data.rindex(MAGIC))])

    with after(past, tmp_path, earlier) as gate:
        cannot_decide(gate, past)


def test_another_gateways_log_is_found_out(past: Past, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Gate(tmp_path / "other") as other:
        pass
    (tmp_path / "gate").mkdir()
    with after(past, tmp_path / "gate", replaced_by(other.data / "state/replay.log")) as gate:
        cannot_decide(gate, past)


def test_a_first_start_is_no_damage(tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        keys = Keys(gate)
        keys.put("/w/here")
        target = keys("GET", "/w/here", uses=1)
        assert [gate.ask("GET", target).status for _ in range(2)] == [200, 403]
        assert not re.search("warning|error", gate.log, re.IGNORECASE), gate.log


def test_without_its_state_folder_the_gateway_knows_that_there_was_one(past: Past, tmp_path: Path) -> None:
    with after(past, tmp_path, shutil.rmtree) as gate:
        for target in (past.plain, *past.used, *past.fresh, *past.revoked):
            unavailable(gate.ask("GET", target), "revocation_unavailable")
        gate.stop()
        assert set(json.loads(gate.cli("repair", "--yes", "--json"))["damaged"]) == {"replay", "revocations"}
        gate.start()
        assert gate.ask("GET", past.plain).status == 200
        assert {gate.ask("GET", target).code for target in past.used + past.fresh} == {"key_used"}


# --- the clock -----------------------------------------------------------------------------------------


def seen_at(seconds: float) -> Damage:
    """The log has seen a time so many seconds from now."""

    async def append_one(path: Path) -> None:
        journal = Journal(path)
        journal.open(lambda _record: None, expected=True)
        await journal.append(ReplayTable(1).clock_record(), time.time() + seconds)
        await journal.close()

    return lambda state: asyncio.run(append_one(state / "replay.log"))


def test_a_clock_far_behind_the_log_is_not_believed(past: Past, tmp_path: Path) -> None:
    with after(past, tmp_path, seen_at(3600)) as gate:
        cannot_decide(gate, past)


def test_a_clock_a_little_behind_is(past: Past, tmp_path: Path) -> None:
    with after(past, tmp_path, seen_at(20)) as gate:
        holds(gate, past)


def test_a_log_that_was_written_by_a_wrong_clock_can_be_repaired(past: Past, tmp_path: Path) -> None:
    """Or single use would have to wait until that time has come."""
    gate = damaged(past, tmp_path, seen_at(365 * 86400))
    assert "clock" in gate.cli("repair", status=1)
    repaired(gate, past)


# --- repair --------------------------------------------------------------------------------------------


def repaired(gate: Gate, past: Past) -> None:
    """Repair it; then no key from before is believed, and new ones are."""
    settings = gate.folder / "strict.toml"
    settings.write_text(f"[keys]\nclock-skew-seconds = {SKEW_SECONDS}\n")
    gate.cli("repair", "--yes", "--config", str(settings))
    time.sleep(SKEW_SECONDS + 1.1)  # signers may be ahead, and keys say in whole seconds when they were issued
    with gate:
        assert {gate.ask("GET", target).code for target in past.used + past.fresh} == {"key_used"}
        assert {gate.ask("GET", target).code for target in past.revoked} == {"key_revoked"}
        assert gate.ask("GET", past.plain).status == 200
        target = Keys(gate)("GET", "/w/here", uses=1)
        assert [gate.ask("GET", target).status for _ in range(2)] == [200, 403]
        gate.kill()
        gate.start()
        assert gate.ask("GET", target).code == "key_used"
        assert {gate.ask("GET", other).code for other in past.fresh} == {"key_used"}


@pytest.mark.parametrize("name", ["a bit at 0.5", "deleted", "a folder", "empty"])
def test_a_repair_brings_single_use_back(past: Past, tmp_path: Path, name: str) -> None:
    gate = damaged(past, tmp_path, DAMAGES[name])
    before = sorted(path.name for path in (gate.data / "state").iterdir())
    said = gate.cli("repair", status=1)
    assert "replay.log" in said
    assert "--yes" in said
    assert sorted(path.name for path in (gate.data / "state").iterdir()) == before
    repaired(gate, past)
    aside = [path.name for path in (gate.data / "state").iterdir() if "damaged" in path.name]
    assert len(aside) == (0 if name == "deleted" else 1)
    assert json.loads(gate.cli("repair", "--json")) == {"damaged": {}, "done": []}


def test_a_repair_waits_for_the_gateway_to_end(past: Past, tmp_path: Path) -> None:
    with after(past, tmp_path, flip("replay", 0.5)) as gate:
        for arguments in (("repair",), ("repair", "--yes")):
            assert gate.base in gate.cli(*arguments, status=3)
        cannot_decide(gate, past)


def test_where_all_is_whole_a_repair_changes_nothing(past: Past, tmp_path: Path) -> None:
    gate = damaged(past, tmp_path, nothing)
    before = (gate.data / "state/replay.log").read_bytes()
    assert "whole" in gate.cli("repair", "--yes")
    assert (gate.data / "state/replay.log").read_bytes() == before


# --- revocations ---------------------------------------------------------------------------------------

REVOCATION_DAMAGES: Final[dict[str, Damage]] = {
    "a bit": flip("revocations", 0.5),
    "half": shorten("revocations", 0.5),
    "empty": shorten("revocations", 0.0),
    "deleted with its mark": delete("revocations.log", "revocations.mark"),
    "a folder": replaced_by_folder("revocations"),
}


@pytest.mark.parametrize("name", REVOCATION_DAMAGES)
def test_revocations_that_cannot_be_read_refuse_every_key(past: Past, tmp_path: Path, name: str) -> None:
    with after(past, tmp_path, REVOCATION_DAMAGES[name], workers=2 if name == "half" else 1) as gate:
        keys = Keys(gate)
        for target in (past.plain, *past.used, *past.fresh, *past.revoked, keys("LIST", "/w/")):
            unavailable(gate.ask("GET", target), "revocation_unavailable")
        unavailable(gate.ask("PUT", keys("PUT", "/w/new"), b"new"), "revocation_unavailable")
        unavailable(gate.ask("DELETE", keys("DELETE", "/w/here")), "revocation_unavailable")
        unavailable(gate.ask("POST", f"/_valet/release?{past.plain.partition('?')[2]}"), "revocation_unavailable")
        ready = gate.ask("GET", "/_valet/ready")
        assert (ready.status, ready.json()["reasons"]) == (503, ["revocations"])
        assert gate.ask("GET", "/_valet/live").status == 200
        assert "repair" in gate.cli("revoke", "--subject", "alice", status=1)


def test_a_repair_keeps_the_revocations_that_can_be_read(past: Past, tmp_path: Path) -> None:
    gate = damaged(past, tmp_path, flip("revocations", 1.0))
    size = (gate.data / "state/revocations.log").stat().st_size
    flip("revocations", 1 - 40 / size)(gate.data / "state")  # the last record as well as its group's check
    assert "revocations.log" in gate.cli("repair", status=1)
    assert "valid again" in gate.cli("repair", "--yes")
    with gate:
        codes = [gate.ask("GET", target).code for target in past.revoked]
        assert codes == ["key_revoked", "key_revoked", None]
        # The other log was whole, and is as it was.
        assert {gate.ask("GET", target).code for target in past.used} == {"key_used"}
        assert gate.ask("GET", past.fresh[0]).status == 200
        gate.cli("revoke", gate.base + past.revoked[2])
        assert gate.ask("GET", past.revoked[2]).code == "key_revoked"
        assert gate.ask("GET", "/_valet/ready").status == 200
