"""Blocks that were taken are there for every worker, and after a kill."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.azure.blocks import DATA, SMALL, blocks_of, body_of, commit, id_of, latest, stage
from tests.edge.azure.conftest import Account, Accounts
from tests.gate import Gate
from valetstore.grants.grant import Profile


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Accounts]:
    """A gateway with two workers."""
    with Gate(tmp_path, args=("--workers", "2")) as gate:
        yield Accounts(gate)


def test_every_worker_sees_the_blocks_that_any_of_them_took(crowd: Accounts) -> None:
    blob = crowd().blob("shared", **SMALL, max_single_get_size=1000, max_chunk_get_size=100_000)
    blob.upload_blob(DATA, overwrite=True, max_concurrency=6)
    assert blob.download_blob(max_concurrency=4).readall() == DATA
    names = [f"{number:02d}" for number in range(12)]
    for name in names:
        assert stage(crowd(), "spread", name, name.encode()).status == 201
    assert commit(crowd(), "spread", latest(*names)).status == 201
    assert body_of(crowd(), "spread") == "".join(names).encode()


def test_a_single_use_key_commits_once_though_many_try_at_many_workers(crowd: Accounts) -> None:
    account = crowd(Profile(single_use=("write",)))
    sas = account.sas("once")
    account.ask("PUT", "once", b"x", sas=sas, comp="block", blockid=id_of("a"))
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(commit(account, "once", latest("a"), sas=sas).status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201] + [403] * 7


def test_what_was_staged_outlives_a_kill_and_the_rest_can_still_be_sent(tmp_path: Path) -> None:
    gate = Gate(tmp_path).start()
    try:
        account = Accounts(gate)()
        piece = os.urandom(200_000)
        assert stage(account, "killed", "a", piece).status == 201
        held = threading.Thread(target=_half, args=(account, piece))
        held.start()
        held.join()
        gate.stop(signal.SIGKILL)
        gate.start()
        assert blocks_of(account, "killed") == {"CommittedBlocks": [], "UncommittedBlocks": [("a", 200_000)]}
        assert stage(account, "killed", "b", piece).status == 201
        assert commit(account, "killed", latest("a", "b")).status == 201
        gate.stop(signal.SIGKILL)
        gate.start()
        assert body_of(account, "killed") == piece * 2
        assert blocks_of(account, "killed") == {
            "CommittedBlocks": [("a", 200_000), ("b", 200_000)],
            "UncommittedBlocks": [],
        }
    finally:
        gate.kill()


def _half(account: Account, piece: bytes) -> None:
    """Half of a block is on its way."""
    target = account.at("killed", account.container_sas(), comp="block", blockid=id_of("b"))
    head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(piece)}\r\n\r\n".encode()
    account.gate.raw(head + piece[: len(piece) // 2], seconds=0.5)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05])
def test_a_commit_that_is_killed_is_whole_or_can_be_made_again(tmp_path: Path, delay: float) -> None:
    gate = Gate(tmp_path).start()
    try:
        account = Accounts(gate)()
        names = [f"{number:02d}" for number in range(20)]
        account.put("cut", b"old")
        for name in names:
            assert stage(account, "cut", name, name.encode() * 10_000).status == 201

        def ask() -> None:
            with contextlib.suppress(OSError):
                commit(account, "cut", latest(*names))

        asking = threading.Thread(target=ask)
        asking.start()
        threading.Event().wait(delay)
        gate.stop(signal.SIGKILL)
        asking.join()
        gate.start()
        whole = "".join(name * 10_000 for name in names).encode()
        assert body_of(account, "cut") in (b"old", whole)
        assert commit(account, "cut", latest(*names)).status == 201
        assert body_of(account, "cut") == whole
    finally:
        gate.kill()
