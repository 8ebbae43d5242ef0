"""Blobs in one piece as azure-storage-blob sends and reads them: what goes in comes out, described as it was."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobProperties, ContentSettings
from azure.storage.blob.aio import BlobClient as AsyncBlobClient

from tests.edge.azure.conftest import Account, code_of

SETTINGS: Final = ContentSettings(
    content_type="text/csv",
    content_encoding="identity",
    content_language="de",
    content_disposition='attachment; filename="a.csv"',
    cache_control="max-age=60",
)


def described(settings: ContentSettings) -> dict[str, str | None]:
    """The settings but for the MD5."""
    names = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")
    return {name: settings[name] for name in names}


def md5_of(found: BlobProperties) -> bytes:
    """Content-MD5, b"" where there is none."""
    return bytes(found.content_settings.content_md5 or b"")


def test_a_blob_comes_back_as_it_went_in(account: Account) -> None:
    """Bytes, type, headers and metadata; its MD5 is its entity tag and Content-MD5."""
    blob = account.blob("dir/a ü+b.csv")
    body = b"1,2\n" * 1000
    told: dict[str, Any] = blob.upload_blob(body, metadata={"owner": "me", "n_1": "2"}, content_settings=SETTINGS)
    digest = hashlib.md5(body, usedforsecurity=False)
    assert told["etag"] == f'"{digest.hexdigest()}"'
    assert told["content_md5"] == digest.digest()
    read = blob.download_blob()
    assert read.readall() == body
    for found in (read.properties, blob.get_blob_properties()):
        assert found.metadata == {"owner": "me", "n_1": "2"}
        assert described(found.content_settings) == described(SETTINGS)
        assert md5_of(found) == digest.digest()
        assert (found.etag, found.size, found.blob_type) == (told["etag"], len(body), "BlockBlob")
        assert found.last_modified == told["last_modified"]
        assert (found.lease.status, found.lease.state) == ("unlocked", "available")
        assert (found.blob_tier, found.server_encrypted) == ("Hot", False)


def test_a_blob_without_a_word_on_it_has_azures_type(account: Account) -> None:
    """application/octet-stream, and no metadata."""
    blob = account.blob("plain")
    blob.upload_blob(b"x")
    found = blob.get_blob_properties()
    assert found.content_settings.content_type == "application/octet-stream"
    assert found.metadata == {}


def test_an_empty_blob_goes_in_and_out(account: Account) -> None:
    """The SDK asks for a range of it first, and takes 416 for an answer."""
    blob = account.blob("empty")
    blob.upload_blob(b"")
    assert blob.download_blob().readall() == b""
    assert blob.get_blob_properties().size == 0


def test_without_overwrite_nothing_is_replaced(account: Account) -> None:
    """BlobAlreadyExists; with it the blob is replaced whole, its description too."""
    blob = account.blob("once")
    blob.upload_blob(b"one", metadata={"a": "1"})
    with pytest.raises(ResourceExistsError) as caught:
        blob.upload_blob(b"two")
    assert (caught.value.status_code, code_of(caught.value)) == (409, "BlobAlreadyExists")
    blob.upload_blob(b"three", overwrite=True)
    assert blob.download_blob().readall() == b"three"
    assert blob.get_blob_properties().metadata == {}


def test_a_long_blob_is_read_in_ranges_each_with_its_digest(account: Account) -> None:
    """The SDK proves every range by its MD5, and holds all of them to the first one's entity tag."""
    body = secrets.token_bytes(100_000)
    small = account.blob("long", max_single_get_size=30_000, max_chunk_get_size=30_000)
    small.upload_blob(body)
    assert small.download_blob(validate_content=True, max_concurrency=2).readall() == body
    assert small.download_blob(offset=10, length=50_000).readall() == body[10:50_010]
    part = small.download_blob(offset=99_990, length=10)
    assert part.readall() == body[-10:]
    assert md5_of(part.properties) == hashlib.md5(body, usedforsecurity=False).digest()


def test_metadata_is_set_anew_and_nothing_else_changes(account: Account) -> None:
    """The bytes, their MD5 and the headers stay; the entity tag is another, for who waits for a change."""
    blob = account.blob("meta")
    before = blob.upload_blob(b"body", metadata={"a": "1", "b": "2"}, content_settings=SETTINGS)
    told = blob.set_blob_metadata({"c": "3"})
    assert told["etag"] != before["etag"]
    found = blob.get_blob_properties()
    assert found.metadata == {"c": "3"}
    assert found.etag == told["etag"]
    assert described(found.content_settings) == described(SETTINGS)
    assert md5_of(found) == hashlib.md5(b"body", usedforsecurity=False).digest()
    assert blob.download_blob().readall() == b"body"
    assert blob.set_blob_metadata({})["etag"] != told["etag"]
    assert blob.get_blob_properties().metadata == {}


def test_what_came_in_blocks_keeps_them_when_it_is_described_anew(account: Account) -> None:
    """They can be named in the next block list; the entity tag changes all the same."""
    blob = account.blob("in-blocks", max_single_put_size=4, max_block_size=4)
    settings = ContentSettings(content_type="text/plain", content_md5=bytearray(range(16)))
    tags = [blob.upload_blob(b"0123456789", content_settings=settings)["etag"]]
    committed, _ = blob.get_block_list("all")
    assert len(committed) == 3
    tags.append(blob.set_blob_metadata({"a": "1"})["etag"])
    tags.append(blob.set_http_headers(ContentSettings(content_type="text/csv"))["etag"])
    assert len(set(tags)) == 3
    again, _ = blob.get_block_list("all")
    assert [(block.id, block.size) for block in again] == [(block.id, block.size) for block in committed]
    blob.stage_block(committed[0].id, b"new ")
    blob.commit_block_list([again[2], again[0]])
    assert blob.download_blob().readall() == b"89new "


def test_what_came_in_blocks_is_whole_even_where_the_table_of_them_was_lost(account: Account) -> None:
    """A long table is a file of its own, which somebody may have removed: the bytes are what counts."""
    body = secrets.token_bytes(400)
    account.blob("tableless", max_single_put_size=4, max_block_size=4).upload_blob(body)
    tables = [path for path in (account.gate.data / "state" / "spill").rglob("*") if path.is_file()]
    assert tables
    for path in tables:
        path.unlink()
    account.blob("tableless").set_blob_metadata({"a": "1"})
    read = account.blob("tableless").download_blob()
    assert (read.readall(), read.properties.metadata) == (body, {"a": "1"})


def test_the_md5_of_what_came_in_blocks_is_its_uploaders_word(account: Account) -> None:
    """New with the headers, or withdrawn; nobody has computed it. Metadata leave it."""
    blob = account.blob("vouched", max_single_put_size=4, max_block_size=4)
    one, other = bytearray(range(16)), bytearray(range(16, 32))
    blob.upload_blob(b"0123456789", content_settings=ContentSettings(content_md5=one))
    blob.set_blob_metadata({"a": "1"})
    assert md5_of(blob.get_blob_properties()) == one
    blob.set_http_headers(ContentSettings(content_md5=other))
    assert md5_of(blob.get_blob_properties()) == other
    blob.set_http_headers(ContentSettings(content_type="text/plain"))
    assert md5_of(blob.get_blob_properties()) == b""


def test_headers_are_set_anew_and_nothing_else_changes(account: Account) -> None:
    """What is not sent is gone, but for the type, which falls back to Azure's; the metadata stays."""
    blob = account.blob("headers")
    blob.upload_blob(b"body", metadata={"a": "1"}, content_settings=SETTINGS)
    blob.set_http_headers(ContentSettings(content_type="image/png", content_language="fr"))
    found = blob.get_blob_properties()
    assert found.content_settings.content_type == "image/png"
    assert found.content_settings.content_language == "fr"
    assert found.content_settings.content_encoding is None
    assert found.metadata == {"a": "1"}
    assert blob.download_blob().readall() == b"body"


def test_a_deleted_blob_is_gone_and_cannot_be_deleted_again(account: Account) -> None:
    """BlobNotFound for everything that is asked of it."""
    blob = account.blob("gone")
    blob.upload_blob(b"x")
    blob.delete_blob(delete_snapshots="include")
    assert not blob.exists()
    asks: tuple[Callable[[], object], ...] = (
        blob.delete_blob,
        blob.download_blob,
        lambda: blob.set_blob_metadata({"a": "1"}),
    )
    for ask in asks:
        with pytest.raises(ResourceNotFoundError) as caught:
            ask()
        assert (caught.value.status_code, code_of(caught.value)) == (404, "BlobNotFound")
    with pytest.raises(ResourceNotFoundError):
        blob.get_blob_properties()


def test_a_container_that_is_not_there_is_told_apart_from_a_blob_that_is_not(account: Account) -> None:
    """ContainerNotFound."""
    with pytest.raises(ResourceNotFoundError) as caught:
        account.blob("a", container="nowhere").download_blob()
    assert code_of(caught.value) == "ContainerNotFound"


def test_conditions_hold_reads_and_writes_to_one_state(account: Account) -> None:
    """If-Match on the entity tag, with the SDK's own words for it."""
    blob = account.blob("state")
    first = str(blob.upload_blob(b"one")["etag"])
    same: dict[str, Any] = {"etag": first, "match_condition": MatchConditions.IfNotModified}
    other: dict[str, Any] = {"etag": first, "match_condition": MatchConditions.IfModified}
    assert blob.download_blob(**same).readall() == b"one"
    with pytest.raises(HttpResponseError) as unchanged:
        blob.download_blob(**other)
    assert (unchanged.value.status_code, code_of(unchanged.value)) == (304, "ConditionNotMet")
    second = str(blob.set_blob_metadata({"a": "1"}, **same)["etag"])
    for write in (
        lambda: blob.set_blob_metadata({"a": "2"}, **same),
        lambda: blob.set_http_headers(SETTINGS, **same),
        lambda: blob.upload_blob(b"two", overwrite=True, **same),
        lambda: blob.delete_blob(**same),
        lambda: blob.download_blob(**same),
    ):
        with pytest.raises(ResourceModifiedError) as caught:
            write()
        assert (caught.value.status_code, code_of(caught.value)) == (412, "ConditionNotMet")
    assert blob.get_blob_properties().metadata == {"a": "1"}
    blob.upload_blob(b"two", overwrite=True, etag=second, match_condition=MatchConditions.IfNotModified)
    blob.delete_blob(etag=first, match_condition=MatchConditions.IfModified)


def test_conditions_hold_reads_and_writes_to_a_time(account: Account) -> None:
    """If-Modified-Since and If-Unmodified-Since, on all."""
    blob = account.blob("when")
    blob.upload_blob(b"one")
    now = datetime.now(UTC)
    past, future = now - timedelta(hours=1), now + timedelta(hours=1)
    assert blob.download_blob(if_modified_since=past, if_unmodified_since=future).readall() == b"one"
    with pytest.raises(HttpResponseError) as unchanged:
        blob.download_blob(if_modified_since=future)
    assert unchanged.value.status_code == 304
    failing: list[dict[str, Any]] = [{"if_unmodified_since": past}, {"if_modified_since": future}]
    for condition in failing:
        for write in (
            partial(blob.set_blob_metadata, {"a": "2"}, **condition),
            partial(blob.delete_blob, **condition),
            partial(blob.upload_blob, b"two", overwrite=True, **condition),
            partial(blob.commit_block_list, [], **condition),
        ):
            with pytest.raises(HttpResponseError) as caught:
                write()
            assert (caught.value.status_code, code_of(caught.value)) == (412, "ConditionNotMet")
    assert blob.download_blob().readall() == b"one"
    blob.upload_blob(b"two", overwrite=True, if_modified_since=past)
    blob.delete_blob(if_modified_since=past)


def test_what_is_sent_with_its_digest_is_proven(account: Account) -> None:
    """`validate_content` on both ways."""
    blob = account.blob("proven")
    blob.upload_blob(b"proven", validate_content=True)
    assert blob.download_blob(validate_content=True).readall() == b"proven"


def test_the_asynchronous_client_does_the_same(account: Account) -> None:
    """Up, down, properties, gone."""

    async def run() -> None:
        url = account.gate.base + account.at("async", account.sas("async"))
        async with AsyncBlobClient.from_blob_url(url, retry_total=0) as blob:
            await blob.upload_blob(b"async", metadata={"a": "1"})
            assert await (await blob.download_blob()).readall() == b"async"
            assert (await blob.get_blob_properties()).metadata == {"a": "1"}
            await blob.delete_blob()

    asyncio.run(run())


def test_many_changes_at_once_lose_nothing_of_each_other(account: Account) -> None:
    """Each change of metadata or headers is made of the state before it: at the end both are there."""
    blob = account.blob("busy")
    blob.upload_blob(b"body", metadata={"a": "0"})

    async def run() -> None:
        changes = [
            asyncio.to_thread(blob.set_http_headers, ContentSettings(content_type="text/plain")),
            asyncio.to_thread(account.blob("busy").set_blob_metadata, {"a": "1"}),
        ]
        await asyncio.gather(*changes)

    asyncio.run(run())
    found = blob.get_blob_properties()
    assert (found.metadata, found.content_settings.content_type) == ({"a": "1"}, "text/plain")


def test_of_many_changes_of_one_state_one_is_made(account: Account) -> None:
    """If-Match holds to the publish: whoever comes second is told, and nothing is lost."""
    account.put("counted", b"body", {"x-ms-meta-n": "0"})
    for _ in range(3):
        etag = account.ask("HEAD", "counted").headers["etag"]

        def change(number: int, etag: str = etag) -> tuple[int, int]:
            headers = {"If-Match": etag, "x-ms-meta-n": str(number)}
            return account.ask("PUT", "counted", headers=headers, comp="metadata").status, number

        with ThreadPoolExecutor(6) as pool:
            answers = sorted(pool.map(change, range(6)))
        assert [status for status, _ in answers] == [200] + [412] * 5
        assert account.ask("HEAD", "counted").headers["x-ms-meta-n"] == str(answers[0][1])


@pytest.mark.parametrize("kind", ["container", "account"])
def test_wider_signatures_open_their_blobs_too(account: Account, kind: str) -> None:
    """Of a container, of the account."""
    sas = account.container_sas("rcwd") if kind == "container" else account.account_sas("o", "rwdc")
    blob = BlobClient.from_blob_url(account.gate.base + account.at(f"wide-{kind}", sas), retry_total=0)
    blob.upload_blob(b"wide")
    assert blob.download_blob().readall() == b"wide"
    blob.delete_blob()
