"""The ring's file is private, whole at every moment, and the same for everyone who changes it at once."""

import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.minting import minter
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Budget, Profile
from valetstore.keys.material import private_pem, public_pem
from valetstore.keys.private import write_private
from valetstore.keys.ring import INTERNAL_NAME, KeyRecord
from valetstore.keys.ringfile import FORMAT, RingFile, new_record, record_of

ADD_TEN = """
import sys
from pathlib import Path
from valetstore.grants.grant import Profile
from valetstore.keys.ringfile import RingFile, new_record
for number in range(10):
    RingFile(Path(sys.argv[1])).add(new_record(f"{sys.argv[2]}-{number}", "HS256", Profile())[0])
"""


@pytest.fixture
def ring_file(tmp_path: Path) -> RingFile:
    return RingFile(tmp_path)


def record(name: str = "app") -> KeyRecord:
    return record_of(name, "HS256", Profile(prefixes=("/a/",)), secret=bytes(range(32)))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_a_file_the_ring_is_empty_and_stays_absent(ring_file: RingFile) -> None:
    assert len(ring_file.load()) == 0
    assert ring_file.stamp() is None
    assert not ring_file.folder.exists()


def test_what_is_added_comes_back(ring_file: RingFile) -> None:
    made = record()
    ring = ring_file.add(made)
    loaded = ring_file.load()
    assert [key.record for key in loaded] == [key.record for key in ring] == [made]
    assert loaded.generation == ring.generation == 1
    assert ring_file.add(record("b")).generation == 2


def test_a_profile_comes_back_as_it_was_made(ring_file: RingFile) -> None:
    profile = Profile(single_use=("write", "delete"), uses=3, budget=Budget(2.5, 5, 2))
    ring_file.add(msgspec.structs.replace(record(), profile=profile))
    (key,) = ring_file.load()
    assert key.record.profile == profile
    said = json.loads(ring_file.path.read_bytes())["keys"][0]["profile"]
    assert said["single-use"] == ["write", "delete"]
    assert said["budget"] == {"rate": 2.5, "burst": 5, "transfers": 2}


def test_a_ring_from_before_there_were_uses_and_budgets_still_loads(ring_file: RingFile) -> None:
    ring_file.add(record())
    assert not {"single-use", "uses", "budget"} & json.loads(ring_file.path.read_bytes())["keys"][0]["profile"].keys()
    (key,) = ring_file.load()
    assert (key.limits.uses, key.limits.single_use, key.limits.budget) == (None, frozenset(), None)


@pytest.mark.parametrize("budget", [{}, {"rate": 0}, {"rate": 1, "per": "minute"}, 5])
def test_a_profile_with_a_wrong_budget_is_refused_and_named(ring_file: RingFile, budget: object) -> None:
    ring_file.add(record())
    document = json.loads(ring_file.path.read_bytes())
    document["keys"][0]["profile"]["budget"] = budget
    ring_file.path.write_text(json.dumps(document))
    with pytest.raises(ConfigInvalid, match="budget"):
        ring_file.load()


def test_the_file_and_its_folder_are_private_whatever_the_umask(ring_file: RingFile) -> None:
    before = os.umask(0)
    try:
        new, private = new_record("ed", "EdDSA", Profile())
        assert private
        ring_file.add(new, private_pem(private))
    finally:
        os.umask(before)
    assert mode(ring_file.path) == mode(ring_file.private_path("ed")) == mode(ring_file.folder / "lock") == 0o600
    assert mode(ring_file.folder) == 0o700


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666, 0o777])
def test_a_file_that_others_may_touch_is_refused(ring_file: RingFile, bits: int) -> None:
    ring_file.add(record())
    ring_file.path.chmod(bits)
    with pytest.raises(ConfigInvalid, match=f"others may read it .mode 0{bits:o}.; it must be 0600"):
        ring_file.load()
    with pytest.raises(ConfigInvalid, match="others may read it"):
        ring_file.add(record("b"))


def rewritten(ring_file: RingFile, **more: Any) -> None:
    ring_file.add(record())
    document = json.loads(ring_file.path.read_text())
    ring_file.path.write_text(json.dumps(document | more))


@pytest.mark.parametrize("number", [0, FORMAT + 1, -1])
def test_another_format_is_refused(ring_file: RingFile, number: int) -> None:
    rewritten(ring_file, format=number)
    with pytest.raises(ConfigInvalid, match=f"has format {number}; this version reads {FORMAT}"):
        ring_file.load()


def test_an_unknown_member_is_refused_and_named(ring_file: RingFile) -> None:
    rewritten(ring_file, extra=1)
    with pytest.raises(ConfigInvalid, match=r"ring\.json: is not a key ring: .*extra"):
        ring_file.load()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format":"1"}', b"\0" * 100])
def test_a_broken_file_is_refused(ring_file: RingFile, data: bytes) -> None:
    ring_file.add(record())
    ring_file.path.write_bytes(data)
    with pytest.raises(ConfigInvalid, match="is not a key ring"):
        ring_file.load()


def test_a_wrong_record_in_the_file_is_named(ring_file: RingFile) -> None:
    ring_file.add(record())
    ring_file.path.write_text(ring_file.path.read_text().replace('"/a/"', '"/a"'))
    with pytest.raises(ConfigInvalid, match="signing key 'app': prefixes: '/a'"):
        ring_file.load()


def test_a_change_that_fails_changes_nothing(ring_file: RingFile) -> None:
    ring_file.add(record())
    before, stamp = ring_file.path.read_bytes(), ring_file.stamp()

    def break_it(records: list[KeyRecord]) -> list[KeyRecord]:
        return [*records, msgspec.structs.replace(records[0], name="b")]

    def give_up(records: list[KeyRecord]) -> list[KeyRecord]:
        records.clear()
        raise RuntimeError

    with pytest.raises(ConfigInvalid, match="the key id 'app' is used twice"):
        ring_file.change(break_it)
    with pytest.raises(RuntimeError):
        ring_file.change(give_up)
    assert (ring_file.path.read_bytes(), ring_file.stamp()) == (before, stamp)
    assert sorted(path.name for path in ring_file.folder.iterdir()) == ["lock", "ring.json"]


def test_a_name_that_is_taken_is_refused_and_its_private_half_left_alone(ring_file: RingFile) -> None:
    new, private = new_record("ed", "EdDSA", Profile())
    assert private
    ring_file.add(new, private_pem(private))
    other, other_private = new_record("ed", "EdDSA", Profile())
    assert other_private
    with pytest.raises(ConfigInvalid, match="signing key 'ed' exists"):
        ring_file.add(other, private_pem(other_private))
    assert public_pem(ring_file.private_half("ed")) == new.public_key


@pytest.mark.parametrize("name", ["../escaped", "a/b", "", ".", "..", "a\0b", ".hidden", "x" * 65])
def test_a_name_that_is_none_never_becomes_a_file(ring_file: RingFile, name: str) -> None:
    new, private = new_record(name, "EdDSA", Profile())
    assert private
    with pytest.raises(ConfigInvalid, match="the name has 1 to 64"):
        ring_file.add(new, private_pem(private))
    assert sorted(path.name for path in ring_file.folder.parent.rglob("*")) == ["keys", "lock"]


def test_a_key_id_that_is_taken_leaves_no_private_half(ring_file: RingFile) -> None:
    ring_file.add(record())
    private = minter("EdDSA").material
    assert not isinstance(private, bytes)
    with pytest.raises(ConfigInvalid, match="the key id 'app' is used twice"):
        ring_file.add(
            record_of("b", "EdDSA", Profile(), kid="app", public_key=public_pem(private)), private_pem(private)
        )
    assert not ring_file.private_path("b").exists()


def test_changes_by_several_processes_at_once_are_all_kept(ring_file: RingFile) -> None:
    command = [sys.executable, "-c", ADD_TEN, str(ring_file.folder.parent)]
    running = [subprocess.Popen([*command, f"p{number}"]) for number in range(4)]
    seen = 0
    while any(one.poll() is None for one in running):
        now = len(ring_file.load())  # a reader never sees half of a ring
        assert now >= seen
        seen = now
    assert [one.returncode for one in running] == [0] * 4
    ring = ring_file.load()
    assert {key.name for key in ring} == {f"p{p}-{n}" for p in range(4) for n in range(10)}
    assert ring.generation == 40


def test_the_stamp_differs_after_every_change(ring_file: RingFile) -> None:
    stamps = set()
    for number in range(20):
        ring_file.add(record(f"k{number % 10}{number}"))
        stamps.add(ring_file.stamp())
        retired = number

        def retire(records: list[KeyRecord], at: int = retired) -> list[KeyRecord]:
            return [msgspec.structs.replace(one, retires_at=1000 + at) for one in records]

        ring_file.change(retire)
        stamps.add(ring_file.stamp())
    assert len(stamps) == 40


def test_the_first_start_makes_a_key_to_sign_with_and_one_for_itself(ring_file: RingFile) -> None:
    ring_file.begin()
    ring = ring_file.load()
    assert {key.name for key in ring} == {"default", INTERNAL_NAME}
    own = ring.named(INTERNAL_NAME)
    assert own
    assert own.limits.operations == {"read", "admin"}
    scopes = [str(scope.path) for group in own.limits.scopes for scope in group]
    assert scopes == ["/_valet/echo/", "/_valet/revocations/"]
    ring_file.begin()
    assert ring_file.load().generation == ring.generation


def test_a_ring_with_keys_gets_no_default(ring_file: RingFile) -> None:
    ring_file.add(record())
    ring_file.begin()
    assert {key.name for key in ring_file.load()} == {"app", INTERNAL_NAME}


def test_a_private_half_that_is_elsewhere_or_broken_says_so(ring_file: RingFile) -> None:
    with pytest.raises(ConfigInvalid, match=r"its private half is not kept here .*ed\.pem.; sign where it is"):
        ring_file.private_half("ed")
    for data in (b"", b"x", b"\xff\xfe"):
        write_private(ring_file.private_path("ed"), data)
        with pytest.raises(ConfigInvalid, match="PEM"):
            ring_file.private_half("ed")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigInvalid, match="cannot be"):
            RingFile(data).add(record())


def test_a_private_write_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    for data in (b"one", b"longer than one", b""):
        write_private(path, data)
        assert path.read_bytes() == data
        assert mode(path) == 0o600
        assert [found.name for found in path.parent.iterdir()] == ["secret"]


def test_two_first_starts_at_once_make_one_default(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: RingFile(tmp_path).begin(), range(8)))
    assert {key.name for key in RingFile(tmp_path).load()} == {"default", INTERNAL_NAME}


def own_of(ring_file: RingFile) -> KeyRecord:
    own = ring_file.load().named(INTERNAL_NAME)
    assert own
    return own.record


@pytest.mark.parametrize(
    "broken",
    [
        {"retires_at": 1000},
        {"profile": Profile()},
        {"algorithm": "EdDSA", "secret": None, "public_key": new_record("x", "EdDSA", Profile())[0].public_key},
    ],
)
def test_the_gateways_own_key_is_made_anew_where_it_is_not_as_it_must_be(
    ring_file: RingFile, broken: dict[str, Any]
) -> None:
    ring_file.add(record())
    ring_file.begin()
    before = own_of(ring_file)
    ring_file.change(
        lambda records: [msgspec.structs.replace(r, **broken) if r.name == INTERNAL_NAME else r for r in records]
    )
    ring_file.begin()
    after = own_of(ring_file)
    assert after.id != before.id
    assert (after.retires_at, after.profile, after.algorithm) == (None, before.profile, "HS256")
    assert {key.name for key in ring_file.load()} == {"app", INTERNAL_NAME}
    ring_file.begin()
    assert own_of(ring_file) == after


def test_a_name_of_the_gateways_own_is_refused(ring_file: RingFile) -> None:
    with pytest.raises(ConfigInvalid, match="'_app': names that begin with `_` are the gateway's own"):
        ring_file.add(record("_app"))
    ring_file.begin()
    with pytest.raises(ConfigInvalid, match="the gateway's own"):
        ring_file.retire(INTERNAL_NAME, 0)


def test_a_retirement_comes_earlier_or_not_at_all(ring_file: RingFile) -> None:
    now = int(time.time())
    ring_file.add(record())
    ring_file.retire("app", now + 100)
    ring_file.retire("app", now + 50)
    with pytest.raises(ConfigInvalid, match=r"retires on .*; that may only come earlier, not on "):
        ring_file.retire("app", now + 51)
    ring_file.retire("app", now - 5)
    for at in (now - 10, now - 5, now + 60):
        with pytest.raises(ConfigInvalid, match=r"signing key 'app': is retired since .* GMT; nothing un-retires it"):
            ring_file.retire("app", at)
    (key,) = ring_file.load()
    assert key.record.retires_at == now - 5
    with pytest.raises(ConfigInvalid, match="'nobody': there is none of that name"):
        ring_file.retire("nobody", now)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files in another's place")
def test_what_root_writes_belongs_to_the_owner_of_the_data(ring_file: RingFile, tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12346)
    new, private = new_record("ed", "EdDSA", Profile())
    assert private
    ring_file.add(new, private_pem(private))
    ring_file.begin()
    made = [ring_file.folder, *ring_file.folder.iterdir()]
    assert [path.name for path in sorted(made)] == ["keys", "ed.pem", "lock", "ring.json"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12345, 12346)}
    assert {mode(path) for path in made} == {0o600, 0o700}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_that_lies_in_the_way_gives_nothing_away(ring_file: RingFile, tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12346)
    ring_file.folder.mkdir()
    os.chown(ring_file.folder, 12345, 12346)
    (tmp_path / "precious").write_text("")
    (ring_file.folder / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigInvalid, match="cannot be written"):
        ring_file.add(record())
    assert (tmp_path / "precious").stat().st_uid == 0


def test_further_files_of_a_signing_key_are_private_and_written_with_it_or_not_at_all(ring_file: RingFile) -> None:
    made, private = new_record("ed", "EdDSA", Profile())
    assert private is not None
    file = ring_file.service_account_path("ed")
    ring_file.add(made, private_pem(private), {file: "text"})
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("text", 0o600)
    assert ring_file.private_path("ed").exists()
    with pytest.raises(ConfigInvalid, match="exists"):
        ring_file.add(made, None, {file: "other"})
    assert file.read_text() == "text"
    assert ring_file.service_account_path("ring") != ring_file.path
