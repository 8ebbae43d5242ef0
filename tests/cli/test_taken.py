"""Whoever changes the key ring may go on when the gateway that runs goes by it."""

import time
from pathlib import Path

import pytest

from valetstore.cli import taken
from valetstore.cli.taken import wait_until_taken
from valetstore.datalock import DataLock, holder
from valetstore.keys.ring import KeyRing


def test_where_no_gateway_runs_nothing_is_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    wait_until_taken(tmp_path, KeyRing((), 7))
    assert time.monotonic() - began < 1


def test_a_gateway_that_goes_by_it_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DataLock(tmp_path) as lock:
        lock.say(["http://127.0.0.1:1"])
        lock.goes_by(7)
        found = holder(tmp_path)
        assert found is not None
        assert (found.addresses, found.generation) == (["http://127.0.0.1:1"], 7)
        wait_until_taken(tmp_path, KeyRing((), 7))
        wait_until_taken(tmp_path, KeyRing((), 6))
    assert capsys.readouterr().err == ""


def test_one_that_does_not_take_it_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The change is made all the same."""
    monkeypatch.setattr(taken, "PATIENCE_SECONDS", 0.1)
    with DataLock(tmp_path) as lock:
        lock.goes_by(6)
        wait_until_taken(tmp_path, KeyRing((), 7))
    assert capsys.readouterr().err == "note: the running gateway has not taken the change yet; its log says why\n"
