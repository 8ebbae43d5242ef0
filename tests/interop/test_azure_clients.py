"""Azure's other clients: adlfs, obstore (Rust's object_store), opendal, rclone."""

import asyncio
import datetime
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adlfs
import obstore
import opendal
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import AzureStore

from tests.gate import Answer
from tests.interop import tools
from tests.interop.azure import AzureHouse, new_container, opened
from tests.interop.house import NAMES
from tests.interop.test_programs import run

LARGE = os.urandom(3 * 2**20 + 7)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureHouse]:
    with opened(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture
def container() -> str:
    """The name of a container that is not there yet: the first upload makes it."""
    return new_container()


def fetch(house: AzureHouse, method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
    """Use a signed URL as anybody would."""
    return house.gate.ask(method, url, body, {name.replace("_", "-"): value for name, value in headers.items()})


# --- adlfs ---------------------------------------------------------------------------------------------------------


def test_adlfs(house: AzureHouse, container: str, tmp_path: Path) -> None:
    # `account_host` is always spoken to over HTTPS: an address with a scheme and a path goes by a connection string.
    said = f"BlobEndpoint={house.url};SharedAccessSignature={house.account_sas()}"
    files: Any = adlfs.AzureBlobFileSystem(connection_string=said, skip_instance_cache=True)
    files.mkdir(container)
    files.pipe_file(f"{container}/a/ä b.txt", b"hello")
    assert files.cat(f"{container}/a/ä b.txt") == b"hello"
    (tmp_path / "up").write_bytes(LARGE)
    files.put(str(tmp_path / "up"), f"{container}/large")
    files.get(f"{container}/large", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == LARGE
    with files.open(f"{container}/written", "wb", block_size=2**20) as file:
        for start in range(0, len(LARGE), 700_000):
            file.write(LARGE[start : start + 700_000])
    with files.open(f"{container}/written", "rb", block_size=2**20) as file:
        file.seek(1_000_000)
        assert file.read(1_500_000) == LARGE[1_000_000:2_500_000]
    assert sorted(files.ls(container)) == [f"{container}/a", f"{container}/large", f"{container}/written"]
    assert container in files.ls("")
    assert sorted(files.find(container)) == [f"{container}/a/ä b.txt", f"{container}/large", f"{container}/written"]
    assert files.info(f"{container}/large")["size"] == len(LARGE)
    files.rm(f"{container}/a", recursive=True)
    files.rm_file(f"{container}/large")
    assert files.ls(container, refresh=True) == [f"{container}/written"]


# --- obstore -------------------------------------------------------------------------------------------------------


def store(house: AzureHouse, container: str, **auth: str) -> AzureStore:
    return AzureStore(
        container,
        account_name=house.name,
        endpoint=house.url,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
        **auth,  # type: ignore[arg-type]
    )


# object_store itself has no empty segments in paths.
@pytest.mark.parametrize("name", [name for name in NAMES if "//" not in name and not name.endswith("/")])
def test_obstore_holds_any_name(house: AzureHouse, container: str, name: str) -> None:
    here = store(house, container, sas_key=house.container_sas(container))
    obstore.put(here, name, name.encode())
    assert bytes(obstore.get(here, name).bytes()) == name.encode()
    assert obstore.head(here, name)["size"] == len(name.encode())
    assert [row["path"] for row in obstore.list(here).collect()] == [name]


def test_obstore(house: AzureHouse, container: str) -> None:
    here = store(house, container, sas_key=house.container_sas(container))
    tag = obstore.put(here, "a b/x", b"0123456789", mode="create", attributes={"Content-Type": "text/x-cat"})["e_tag"]
    assert obstore.get(here, "a b/x").attributes["Content-Type"] == "text/x-cat"
    assert [bytes(part) for part in obstore.get_ranges(here, "a b/x", starts=[0, 8], ends=[1, 10])] == [b"0", b"89"]
    with pytest.raises(AlreadyExistsError):
        obstore.put(here, "a b/x", b"1", mode="create")
    obstore.put(here, "a b/x", b"2", mode={"e_tag": tag})
    with pytest.raises(PreconditionError):
        obstore.put(here, "a b/x", b"3", mode={"e_tag": tag})
    obstore.put(here, "large", LARGE, chunk_size=2**20, max_concurrency=3, use_multipart=True)
    assert bytes(obstore.get(here, "large").bytes()) == LARGE
    found = obstore.list_with_delimiter(here)
    assert (found["common_prefixes"], [row["path"] for row in found["objects"]]) == (["a b"], ["large"])
    assert [row["path"] for row in obstore.list(here, "a b").collect()] == ["a b/x"]
    with pytest.raises(BaseError, match="501"):
        obstore.copy(here, "large", "copied")
    with pytest.raises(BaseError, match="501"):
        obstore.delete(here, "large")  # always a batch, also of one


@pytest.mark.parametrize("name", ["plain.txt", "a b+ü/%41.txt"])
def test_obstore_signs(house: AzureHouse, container: str, name: str) -> None:
    here = store(house, container, account_key=house.key)
    soon = datetime.timedelta(seconds=60)
    assert fetch(house, "PUT", obstore.sign(here, "PUT", name, soon), b"1", x_ms_blob_type="BlockBlob").status == 201
    assert fetch(house, "GET", obstore.sign(here, "GET", name, soon)).body == b"1"
    # It signs a HEAD for no permission at all; whoever may read may ask.
    assert fetch(house, "HEAD", obstore.sign(here, "HEAD", name, soon)).status == 403
    assert fetch(house, "HEAD", obstore.sign(here, "GET", name, soon)).status == 200
    assert fetch(house, "DELETE", obstore.sign(here, "DELETE", name, soon)).status == 202


# --- opendal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain.txt", "ä b.txt"])
def test_opendal_signs(house: AzureHouse, container: str, name: str) -> None:
    async def story() -> None:
        # It signs for the account twice where the endpoint has a path.
        here = opendal.AsyncOperator(
            "azblob", endpoint=house.url, account_name=house.name, account_key=house.key, container=container
        )
        for sign, body in ((here.presign_write, b"1"), (here.presign_read, None), (here.presign_stat, None)):
            request = await sign(name, 60)
            answer = house.gate.ask(request.method, request.url, body, dict(request.headers))
            assert answer.status in (200, 201), answer
            assert request.method != "GET" or answer.body == b"1"

    asyncio.run(story())


def test_opendal_transfers_by_a_signature(house: AzureHouse, container: str) -> None:
    async def story() -> None:
        sas = house.container_sas(container)
        here = opendal.AsyncOperator(
            "azblob", endpoint=house.url, account_name=house.name, sas_token=sas, container=container
        )
        await here.write("a/x", LARGE)
        assert await here.read("a/x") == LARGE
        assert (await here.stat("a/x")).content_length == len(LARGE)
        assert [entry.path async for entry in await here.list("a/")] == ["a/x"]
        await here.delete("a/x")
        assert [entry.path async for entry in await here.list("a/")] == []

    asyncio.run(story())


# --- rclone --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["account", "container"])
def test_rclone(house: AzureHouse, container: str, tmp_path: Path, of: str) -> None:
    program = tools.program("rclone", "rclone")
    if of == "account":
        sas_url = f"{house.url}?{house.account_sas()}"
    else:
        sas_url = f"{house.url}/{container}?{house.container_sas(container)}"

    def rclone(*args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        settings = {"TYPE": "azureblob", "SAS_URL": sas_url, "UPLOAD_CUTOFF": "1Mi", "CHUNK_SIZE": "1Mi"}
        environment = {f"RCLONE_CONFIG_GATE_{name}": value for name, value in settings.items()}
        options = ["--config", os.devnull, "--retries", "1", "--low-level-retries", "1"]
        return run([program, *options, *args], tmp_path, status, **environment)

    (tmp_path / "up/deep er").mkdir(parents=True)
    (tmp_path / "up/deep er/grüße+1%.txt").write_text("a cat")
    (tmp_path / "up/large").write_bytes(LARGE)
    if of == "account":
        rclone("mkdir", f"gate:{container}")
    rclone("copy", "up", f"gate:{container}/tree")
    rclone("check", "--download", "up", f"gate:{container}/tree")
    assert sorted(rclone("lsf", "-R", f"gate:{container}/tree").stdout.splitlines()) == [
        "deep er/",
        "deep er/grüße+1%.txt",
        "large",
    ]
    rclone("delete", f"gate:{container}")
    if of == "account":
        rclone("rmdir", f"gate:{container}")
        assert container not in rclone("lsf", "gate:").stdout
