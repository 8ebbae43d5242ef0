"""`valetstore buckets` names the bucket, and says nothing about keys."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gate import Gate, run_cli

Start = Callable[..., Gate]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files in another's place")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("A B", "bucket name 'A B': is none. A bucket's name starts with"),
        ("_valet", "bucket name '_valet': is reserved"),
    ],
)
def test_a_name_that_is_none_is_named(gate: Gate, name: str, why: str) -> None:
    for action in ("create", "delete"):
        assert why in gate.cli("buckets", action, name, status=2)


def test_a_full_bucket_is_not_deleted(gate: Gate) -> None:
    gate.ask("PUT", gate.sign("PUT", "/photos/x"), b"x")
    assert gate.cli("buckets", "delete", "photos", status=1) == "valetstore: bucket 'photos': is not empty\n"


def test_a_read_only_bucket_is_not_deleted(start: Start) -> None:
    gate = start("[buckets.ro]\nread-only = true\n")
    settings = ("--config", str(gate.folder / "valetstore.toml"))
    out = gate.cli("buckets", "delete", "ro", *settings, status=1)
    assert out == "valetstore: bucket 'ro': is read-only in the settings\n"


@pytest.mark.parametrize(
    "arguments",
    [["buckets", "list"], ["buckets", "create", "photos"], ["buckets", "delete", "photos"], ["scrub"]],
)
def test_before_the_first_start_it_says_what_sets_it_up(arguments: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        done = run_cli(*arguments, "--data", "data", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == f"valetstore: {tmp_path}/data: is not set up yet; `valetstore serve` does that\n"
        assert not list(tmp_path.glob("data/*"))
        (tmp_path / "data").mkdir(exist_ok=True)  # and the same where there is a folder of that name


@as_root
def test_scrub_as_root_leaves_anothers_data_alone(start: Start) -> None:
    gate = start()
    gate.stop()
    os.chown(gate.data, 12345, 12346)
    assert "belongs to user id 12345; run scrub as that user, not as root" in gate.cli("scrub", status=2)
    assert "0 sound" in gate.cli("scrub", "--dry-run")  # sets nothing aside


@as_root
def test_what_root_makes_belongs_to_the_owner_of_the_data(start: Start) -> None:
    gate = start()
    gate.stop()
    os.chown(gate.data, 12345, 12346)
    gate.cli("buckets", "create", "photos")
    made = (gate.data / "objects/photos").stat()
    assert (made.st_uid, made.st_gid) == (12345, 12346)
    out = gate.cli("check")
    assert "data directory's owner (user id 12345), not as root" in out
