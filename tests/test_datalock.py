"""The data directory's lock: who has it, and what does not take it away."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from valetstore.datalock import DataHeld, DataLock, Holder, holder
from valetstore.errors import ConfigInvalid


def test_it_says_who_holds_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with DataLock(tmp_path) as lock:
        lock.say(["http://127.0.0.1:1"])
        found = holder(tmp_path)
        assert found
        assert (found.pid, found.addresses) == (os.getpid(), ["http://127.0.0.1:1"])
        with pytest.raises(DataHeld, match=f"process {os.getpid()} "):
            DataLock(tmp_path)
    assert holder(tmp_path) is None


def test_who_only_asks_keeps_nobody_from_serving(tmp_path: Path) -> None:
    DataLock(tmp_path).close()
    asking = os.open(tmp_path / "state/lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    asked = threading.Timer(0.1, os.close, (asking,))
    asked.start()
    DataLock(tmp_path).close()
    asked.join()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_where_nothing_can_be_written_it_is_held_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", fail)
        lock = DataLock(tmp_path)
        lock.say(["http://127.0.0.1:1"])
    assert holder(tmp_path) == Holder(0, [])
    with pytest.raises(DataHeld, match="another process"):
        DataLock(tmp_path)
    lock.close()
    DataLock(tmp_path).close()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever owns the folder must not have root empty a file elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "data" / "state").mkdir(parents=True)
    (tmp_path / "data" / "state" / "lock").symlink_to(victim)
    with pytest.raises(ConfigInvalid, match="cannot be written"):
        DataLock(tmp_path / "data")
    assert victim.read_text() == "kept"
