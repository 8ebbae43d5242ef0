"""Many files that are synced side by side: each is told apart, and where the kernel does not do it, threads do."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from valetstore.errors import Denied
from valetstore.storage import together
from valetstore.storage.disk import DiskStore
from valetstore.storage.syncs import AT_ONCE, QUEUES, Queue, Queues, _Numbers

from .contract import Client
from .test_together import MANY, put_many, run

NO_SUCH_CALL = _Numbers(100_000, 100_001, 100_002)


@pytest.fixture
def queue() -> Queue:
    """One that works, where the kernel has any."""
    borrowed = QUEUES.borrow()
    if borrowed is None:
        pytest.skip("this kernel has none")
    return borrowed


def opened(folder: Path, count: int) -> list[int]:
    """Descriptors of files that have been written to."""
    fds = [os.open(folder / str(number), os.O_RDWR | os.O_CREAT) for number in range(count)]
    for fd in fds:
        os.write(fd, b"x" * 1000)
    return fds


@pytest.mark.parametrize("count", [0, 1, 2, AT_ONCE])
def test_all_are_durable_each_time(queue: Queue, tmp_path: Path, count: int) -> None:
    """A queue is used again and again."""
    fds = opened(tmp_path, count)
    assert queue.sync(fds) == [0] * count
    assert queue.sync(fds[::2]) == [0] * len(fds[::2])


@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_cannot_be_synced_is_told_of_that_one_alone(queue: Queue, tmp_path: Path, place: int) -> None:
    """A pipe cannot, nor a descriptor that is none."""
    fds = opened(tmp_path, 3)
    pipe, closed = os.pipe()
    os.close(closed)
    assert queue.sync([*fds[:place], pipe, *fds[place:]]) == [0] * place + [errno.EINVAL] + [0] * (3 - place)
    assert queue.sync([*fds[:place], closed, *fds[place:]]) == [0] * place + [errno.EBADF] + [0] * (3 - place)
    assert queue.sync(fds) == [0] * 3


def test_without_a_queue_threads_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has no such call is asked once."""
    lacking = Queues(NO_SUCH_CALL)
    assert lacking.borrow() is None
    monkeypatch.setattr(together, "QUEUES", lacking)

    async def story(client: Client) -> None:
        assert await put_many(client) == [True] * MANY
        for number in range(MANY):
            assert await client.get(f"f/{number}") == b"%d" % number

    run(tmp_path, story)


def test_a_sync_that_fails_has_failed_for_its_own_upload_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets no name, and the bucket is suspect from then on; the others are kept."""
    sync, injected = Queue.sync, [errno.EIO]

    def fails_once(queue: Queue, fds: Sequence[int]) -> list[int]:
        told = sync(queue, fds)
        if injected:
            told[1] = injected.pop()
        return told

    monkeypatch.setattr(Queue, "sync", fails_once)

    async def story(client: Client) -> None:
        outcomes = await put_many(client)
        if injected:
            pytest.skip("this kernel has none")
        (refused,) = [number for number, outcome in enumerate(outcomes) if outcome is not True]
        denied = outcomes[refused]
        assert isinstance(denied, Denied)
        assert (denied.code, denied.evidence["failed"]) == ("storage_error", "fsync")
        assert "unsure" not in denied.evidence
        assert isinstance(client.store, DiskStore)
        assert client.store.suspect == ("b",)
        kept = {f"f/{number}" for number in range(MANY) if number != refused}
        assert set(await client.names()) == kept | {"f/first"}

    run(tmp_path, story)


def test_where_nobody_knows_what_became_of_the_syncs_none_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of that group are refused, and who comes later is served."""
    asked: list[int] = []

    def lost(_queue: Queue, fds: Sequence[int]) -> list[int]:
        asked.append(len(fds))
        raise OSError(errno.EFAULT, "injected")

    monkeypatch.setattr(Queue, "sync", lost)

    async def story(client: Client) -> None:
        outcomes = await put_many(client)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Denied)]
        assert len(refused) == sum(asked)
        assert {outcome.code for outcome in refused} <= {"storage_error"}
        assert await client.put("f/later", b"later")

    run(tmp_path, story)
