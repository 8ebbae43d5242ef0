"""Put Block List: what a list may name, what it makes, and when it is refused."""

import base64
import hashlib
import threading
from collections.abc import Sequence

import pytest

from tests.edge.azure.blocks import blocks_of, body_of, commit, latest, listed, stage
from tests.edge.azure.conftest import Account, refused
from valetstore.edge.azure.block_list import Named, block_list
from valetstore.errors import Denied


@pytest.mark.parametrize(
    "entries",
    [
        [("Latest", "c")],
        [("Committed", "b")],
        [("Uncommitted", "a")],
        [("Latest", "a"), ("Latest", "z")],
    ],
)
def test_a_list_that_names_no_block_is_refused_and_changes_nothing(
    account: Account, entries: Sequence[tuple[str, str]]
) -> None:
    stage(account, "lists", "a", b"a")
    assert commit(account, "lists", latest("a")).status == 201
    stage(account, "lists", "b", b"b")
    assert refused(commit(account, "lists", listed(*entries))) == (400, "InvalidBlockList")
    assert body_of(account, "lists") == b"a"
    assert blocks_of(account, "lists") == {"CommittedBlocks": [("a", 1)], "UncommittedBlocks": [("b", 1)]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidXmlDocument"),
        (b"<BlockList>", "InvalidXmlDocument"),
        (b"<List/>", "InvalidXmlDocument"),
        (b"<BlockList><Newest>YQ==</Newest></BlockList>", "InvalidXmlDocument"),
        (b"<BlockList><Latest><a/></Latest></BlockList>", "InvalidXmlDocument"),
        (b'<!DOCTYPE a [<!ENTITY b "YQ==">]><BlockList><Latest>&b;</Latest></BlockList>', "InvalidXmlDocument"),
        (b"<BlockList><Latest>a</Latest></BlockList>", "InvalidBlockId"),
        (b"<BlockList>" + b"<Latest>YQ==</Latest>" * 50_001 + b"</BlockList>", "BlockListTooLong"),
        (b"<BlockList>" + b"<a/>" * 200_000 + b"</BlockList>", "InvalidXmlDocument"),
    ],
)
def test_a_document_that_is_no_block_list_is_refused(account: Account, body: bytes, code: str) -> None:
    assert refused(commit(account, "documents", body)) == (400, code)


def test_a_document_that_is_too_long_is_refused_before_it_is_read(account: Account) -> None:
    assert refused(commit(account, "documents", b" " * (8 * 2**20 + 1)))[0] == 413


def test_a_block_list_is_read_with_and_without_spaces() -> None:
    body = b"<BlockList>\n <Latest> YQ== </Latest>\n <Committed>Yg==</Committed></BlockList>"
    assert block_list(body) == [Named("Latest", "YQ=="), Named("Committed", "Yg==")]
    with pytest.raises(Denied):
        block_list(body[:-1])


def test_a_commit_describes_the_blob_and_believes_an_md5(account: Account) -> None:
    stage(account, "described", "a", b"abc")
    vouched = base64.b64encode(hashlib.md5(b"another").digest()).decode()
    answer = commit(
        account,
        "described",
        latest("a"),
        {
            "Content-Type": "application/xml",
            "x-ms-blob-content-type": "text/plain",
            "x-ms-blob-cache-control": "no-cache",
            "x-ms-blob-content-md5": vouched,
            "x-ms-meta-Colour": "blue",
        },
    )
    assert answer.status == 201
    found = account.ask("HEAD", "described").headers
    assert (found["content-type"], found["cache-control"], found["content-md5"]) == ("text/plain", "no-cache", vouched)
    assert (found["x-ms-meta-colour"], found["etag"]) == ("blue", answer.headers["etag"])
    assert answer.headers["content-md5"] == base64.b64encode(hashlib.md5(latest("a")).digest()).decode()
    assert commit(account, "described", latest("a")).status == 201
    assert account.ask("HEAD", "described").headers["content-type"] == "application/octet-stream"


def test_what_may_only_be_new_is_decided_with_the_publish(account: Account) -> None:
    stage(account, "new", "a", b"a")
    assert commit(account, "new", latest("a"), {"If-None-Match": "*"}).status == 201
    assert refused(commit(account, "new", latest("a"), {"If-None-Match": "*"})) == (409, "BlobAlreadyExists")
    stage(account, "race", "a", b"a")
    answers: list[int] = []

    def race() -> None:
        answers.append(commit(account, "race", latest("a"), {"If-None-Match": "*"}).status)

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201] + [409] * 5


def test_appends_by_relisting_are_never_lost(account: Account) -> None:
    """Each commit takes what is there and adds a block: with If-Match none of them overwrites another's."""
    stage(account, "log", "0000", b"0;")
    assert commit(account, "log", latest("0000")).status == 201

    def append(number: int) -> None:
        name = f"{number:04d}"
        while True:
            etag = account.ask("HEAD", "log").headers["etag"]
            there = [had for had, _ in blocks_of(account, "log", "committed")["CommittedBlocks"]]
            stage(account, "log", name, f"{number};".encode())
            entries = [*(("Committed", had) for had in there), ("Latest", name)]
            answer = commit(account, "log", listed(*entries), {"If-Match": etag})
            if answer.status == 201:
                return
            assert answer.status in (400, 412), answer

    threads = [threading.Thread(target=append, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [int(name) for name, _ in blocks_of(account, "log", "committed")["CommittedBlocks"]]
    assert sorted(names) == [0, 1, 2, 3]
    assert body_of(account, "log") == "".join(f"{name};" for name in names).encode()
