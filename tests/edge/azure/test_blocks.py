"""Blobs that come in blocks: by Azure's own client, and by requests that it would not send."""

import asyncio
import base64
import hashlib

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlockState, ContentSettings
from azure.storage.blob.aio import BlobClient as AsyncBlobClient

from tests.edge.azure.blocks import DATA, SMALL, Stream, blocks_of, body_of, commit, id_of, latest, stage, told
from tests.edge.azure.conftest import Account, refused
from valetstore.storage.checksums import new
from valetstore.storage.promise import CRC64NVME


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("kind", ["bytes", "stream"])
def test_a_large_blob_goes_up_in_blocks_and_down_in_ranges(account: Account, connections: int, kind: str) -> None:
    blob = account.blob(f"large/{kind}", **SMALL, max_single_get_size=100_000, max_chunk_get_size=90_000)
    settings = ContentSettings(content_type="image/x", content_md5=bytearray(hashlib.md5(DATA).digest()))
    blob.upload_blob(
        DATA if kind == "bytes" else Stream(DATA),  # type: ignore[arg-type]
        max_concurrency=connections,
        overwrite=True,
        metadata={"a": "1"},
        content_settings=settings,
    )
    assert blob.download_blob(max_concurrency=connections).readall() == DATA
    found = blob.get_blob_properties()
    assert (found.size, found.metadata, found.content_settings.content_type) == (len(DATA), {"a": "1"}, "image/x")
    assert bytes(found.content_settings.content_md5 or b"") == hashlib.md5(DATA).digest()
    committed, waiting = blob.get_block_list("all")
    assert [row.size for row in committed] == [150_000] * 6 + [100_000]
    assert waiting == []


def test_the_async_client_transfers_in_blocks_and_ranges(account: Account) -> None:
    async def story() -> None:
        url = account.blob("async").url
        async with AsyncBlobClient.from_blob_url(
            url, **SMALL, retry_total=0, max_single_get_size=9, max_chunk_get_size=200_000
        ) as blob:
            await blob.upload_blob(DATA, max_concurrency=3, overwrite=True)
            assert await (await blob.download_blob(max_concurrency=3)).readall() == DATA

    asyncio.run(story())


def test_blocks_are_staged_committed_and_listed(account: Account) -> None:
    blob = account.blob("staged")
    for name, data in (("b1", b"one"), ("b2", b"two!")):
        told = blob.stage_block(name, data, validate_content=True)
        assert bytes(told["content_md5"]) == hashlib.md5(data).digest()
    with pytest.raises(ResourceNotFoundError):
        blob.get_blob_properties()
    committed, waiting = blob.get_block_list("all")
    assert committed == []
    assert [(row.id, row.size) for row in waiting] == [("b1", 3), ("b2", 4)]
    told = blob.commit_block_list([BlobBlock("b2"), BlobBlock("b1")], metadata={"k": "v"})
    assert told["etag"] == blob.get_blob_properties().etag
    assert blob.download_blob().readall() == b"two!one"
    blob.stage_block("b3", b"3")
    blob.commit_block_list(
        [BlobBlock("b1", BlockState.COMMITTED), BlobBlock("b3", BlockState.UNCOMMITTED), BlobBlock("b2")]
    )
    assert blob.download_blob().readall() == b"one3two!"
    committed, waiting = blob.get_block_list("all")
    assert [(row.id, row.size) for row in committed] == [("b1", 3), ("b3", 1), ("b2", 4)]
    assert waiting == []


def test_a_stage_and_a_commit_by_the_clients_conditions(account: Account) -> None:
    blob = account.blob("conditions")
    blob.stage_block("a", b"1")
    first = str(blob.commit_block_list([BlobBlock("a")], if_none_match="*")["etag"])
    unchanged = MatchConditions.IfNotModified
    blob.stage_block("b", b"2")
    with pytest.raises(ResourceModifiedError):
        blob.commit_block_list([BlobBlock("b")], etag='"0"', match_condition=unchanged)
    blob.commit_block_list([BlobBlock("a"), BlobBlock("b")], etag=first, match_condition=unchanged)
    assert blob.download_blob().readall() == b"12"
    with pytest.raises(HttpResponseError) as caught:
        blob.upload_blob(DATA, overwrite=False)
    assert told(caught.value) == "BlobAlreadyExists"


# --- what waits -----------------------------------------------------------------------------------------------------


def test_what_waits_is_no_blob_and_a_put_of_the_blob_discards_it(account: Account) -> None:
    assert stage(account, "hidden", "a", b"1").status == 201
    assert refused(account.ask("GET", "hidden")) == (404, "BlobNotFound")
    assert b"hidden" not in account.ask("GET", "", restype="container", comp="list").body
    assert blocks_of(account, "hidden") == {"CommittedBlocks": [], "UncommittedBlocks": [("a", 1)]}
    assert blocks_of(account, "hidden", "uncommitted") == {"UncommittedBlocks": [("a", 1)]}
    account.put("hidden", b"whole")
    assert blocks_of(account, "hidden") == {"CommittedBlocks": [], "UncommittedBlocks": []}
    assert refused(account.ask("GET", "no-such", comp="blocklist")) == (404, "BlobNotFound")
    assert refused(account.ask("GET", "hidden", comp="blocklist", blocklisttype="some"))[0] == 400


def test_a_commit_discards_what_it_does_not_name(account: Account) -> None:
    for name in "abc":
        stage(account, "leftover", name, name.encode())
    assert commit(account, "leftover", latest("b")).status == 201
    assert blocks_of(account, "leftover") == {"CommittedBlocks": [("b", 1)], "UncommittedBlocks": []}
    # A client that lost the answer asks again.
    assert commit(account, "leftover", latest("b")).status == 201
    assert body_of(account, "leftover") == b"b"


def test_an_empty_list_makes_an_empty_blob(account: Account) -> None:
    assert commit(account, "empty", latest()).status == 201
    assert body_of(account, "empty") == b""
    assert blocks_of(account, "empty", "committed") == {"CommittedBlocks": []}


@pytest.mark.parametrize(
    ("block_id", "code"),
    [
        ("", "InvalidBlockId"),
        ("not base64!", "InvalidBlockId"),
        ("YQ", "InvalidBlockId"),
        ("YR==", "InvalidBlockId"),
        (base64.b64encode(bytes(65)).decode(), "InvalidBlockId"),
        (id_of("other"), "InvalidBlobOrBlock"),
    ],
)
def test_a_block_id_that_cannot_be_is_refused(account: Account, block_id: str, code: str) -> None:
    assert stage(account, "ids", "abc", b"1").status == 201
    assert refused(account.ask("PUT", "ids", b"x", comp="block", blockid=block_id)) == (400, code)
    assert blocks_of(account, "ids", "uncommitted") == {"UncommittedBlocks": [("abc", 1)]}


def test_the_longest_block_id_there_is_serves(account: Account) -> None:
    block_id = base64.b64encode(bytes(range(64))).decode()
    assert account.ask("PUT", "long-id", b"x", comp="block", blockid=block_id).status == 201
    body = f"<BlockList><Uncommitted> {block_id}\n</Uncommitted></BlockList>".encode()
    assert commit(account, "long-id", body).status == 201


def test_a_block_without_an_id_or_without_bytes_is_refused(account: Account) -> None:
    assert refused(account.ask("PUT", "ids", b"x", comp="block")) == (400, "MissingRequiredQueryParameter")
    assert refused(account.ask("PUT", "ids", b"", comp="block", blockid="YWJj")) == (400, "InvalidHeaderValue")
    answer = account.ask("PUT", "ids", b"x", {"If-Match": "*"}, comp="block", blockid="YWJj")
    assert refused(answer) == (400, "ConditionHeadersNotSupported")


def test_a_block_is_what_its_digests_say(account: Account) -> None:
    crc = new(CRC64NVME)
    crc.update(b"abc")
    right = {
        "Content-MD5": base64.b64encode(hashlib.md5(b"abc").digest()).decode(),
        "x-ms-content-crc64": base64.b64encode(crc.digest()[::-1]).decode(),
    }
    for sent in ({}, *({name: value} for name, value in right.items())):
        answer = account.ask("PUT", "digests", b"abc", sent, comp="block", blockid="YQ==")
        assert answer.status == 201
        # Both are told, whatever was sent.
        assert {told: answer.headers[told.lower()] for told in right} == right
        assert answer.headers["x-ms-request-server-encrypted"] == "false"
    both = account.ask("PUT", "digests", b"abc", right, comp="block", blockid="YQ==")
    assert refused(both) == (400, "BothCrc64AndMd5HeaderPresent")
    for name, code in (("Content-MD5", "Md5Mismatch"), ("x-ms-content-crc64", "Crc64Mismatch")):
        wrong = account.ask("PUT", "digests", b"abd", {name: right[name]}, comp="block", blockid="YQ==")
        assert refused(wrong) == (400, code)
        wrong = commit(account, "digests", latest("a"), {name: right[name]})
        assert refused(wrong) == (400, code)
    assert commit(account, "digests", latest("a")).status == 201
    assert body_of(account, "digests") == b"abc"
