"""azure-storage-blob, by shared access signatures: containers, blobs of all sizes and names, pages, conditions."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient, ContentSettings
from azure.storage.blob.aio import ContainerClient as AsyncContainerClient

from tests.interop.azure import AzureHouse, new_container, opened
from tests.interop.house import NAMES

LARGE = os.urandom(5 * 2**20 + 7)
BY_BLOCKS: dict[str, Any] = {
    "max_single_put_size": 2**16,
    "max_block_size": 2**20,
    "max_single_get_size": 2**20,
    "max_chunk_get_size": 2**20,
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureHouse]:
    with opened(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture
def container(house: AzureHouse) -> ContainerClient:
    """A new container, by the signature of the account."""
    return house.service(**BY_BLOCKS).create_container(new_container())


# The SDK takes the slash at the end of a name away from its URL.
@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("/")])
def test_any_name_holds_a_blob(house: AzureHouse, container: ContainerClient, name: str) -> None:
    container.upload_blob(name, name.encode())
    assert container.download_blob(name).readall() == name.encode()
    assert [blob.name for blob in container.list_blobs()] == [name]
    assert [blob.name for blob in container.list_blobs(name_starts_with=name[:3])] == [name]
    blob = container.get_blob_client(name)
    blob.upload_blob(bytes(200_000), overwrite=True)
    assert blob.get_blob_properties().size == 200_000
    blob.delete_blob()
    assert not blob.exists()


def test_a_large_blob_by_its_url(house: AzureHouse, container: ContainerClient) -> None:
    sas = house.container_sas(container.container_name)
    url = f"{house.url}/{container.container_name}/large?{sas}"
    blob = BlobClient.from_blob_url(url, retry_total=0, **BY_BLOCKS)
    settings = ContentSettings(content_type="application/x-large", cache_control="no-cache")
    blob.upload_blob(LARGE, max_concurrency=4, metadata={"who": "me"}, content_settings=settings, validate_content=True)
    assert blob.download_blob(max_concurrency=4).readall() == LARGE
    assert blob.download_blob(offset=1_000_000, length=2_500_000).readall() == LARGE[1_000_000:3_500_000]
    found = blob.get_blob_properties()
    assert (found.metadata, found.content_settings.content_type) == ({"who": "me"}, "application/x-large")
    blob.upload_blob((LARGE[start : start + 300_000] for start in range(0, len(LARGE), 300_000)), overwrite=True)
    assert b"".join(blob.download_blob().chunks()) == LARGE
    with pytest.raises(ResourceExistsError):
        blob.upload_blob(LARGE, max_concurrency=2)
    with pytest.raises(ResourceModifiedError):
        blob.upload_blob(LARGE, overwrite=True, etag='"0"', match_condition=MatchConditions.IfNotModified)


def test_a_connection_string(house: AzureHouse) -> None:
    said = f"BlobEndpoint={house.url};SharedAccessSignature={house.account_sas()}"
    service = BlobServiceClient.from_connection_string(said, retry_total=0)
    name = new_container()
    container = service.create_container(name, metadata={"a": "1"})
    container.upload_blob("x", b"1")
    assert name in [found.name for found in service.list_containers()]
    container.delete_blob("x")
    service.delete_container(name)
    assert name not in [found.name for found in service.list_containers()]


def test_the_async_client(house: AzureHouse, container: ContainerClient) -> None:
    async def story() -> None:
        url = f"{house.url}/{container.container_name}?{house.container_sas(container.container_name)}"
        async with AsyncContainerClient.from_container_url(url, retry_total=0, **BY_BLOCKS) as here:
            await asyncio.gather(*(here.upload_blob(f"a/{number}", LARGE, max_concurrency=2) for number in range(3)))
            assert await (await here.download_blob("a/1", max_concurrency=3)).readall() == LARGE
            assert [blob.name async for blob in here.walk_blobs()] == ["a/"]
            for name in [blob.name async for blob in here.list_blobs()]:
                await here.delete_blob(name)
            assert [blob async for blob in here.list_blobs()] == []

    asyncio.run(story())


def test_what_is_not_served_says_so(house: AzureHouse, container: ContainerClient) -> None:
    blob = container.upload_blob("x", b"1")
    for refused in (
        blob.create_append_blob,
        blob.create_snapshot,
        blob.acquire_lease,
        container.get_container_access_policy,
        lambda: container.delete_blobs("x"),
        lambda: blob.start_copy_from_url(blob.url),
        lambda: blob.set_blob_tags({"a": "1"}),
    ):
        with pytest.raises(HttpResponseError) as caught:
            refused()
        assert caught.value.status_code in (403, 501), refused
    assert blob.download_blob().readall() == b"1"
