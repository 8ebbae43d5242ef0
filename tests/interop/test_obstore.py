"""obstore, Rust's object_store for Python: objects, ranges, conditions, lists, signed URLs."""

import datetime

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from tests.interop.house import NAMES, House, Secret, md5


def store(house: House, bucket: str, secret: Secret | None = None) -> S3Store:
    """A store of one bucket, as an application makes it."""
    secret = secret or house.web
    return S3Store(
        bucket,
        endpoint=house.endpoint,
        access_key_id=secret.access_key_id,
        secret_access_key=secret.secret_access_key,
        region=secret.region,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


# object_store itself has no empty segments in paths.
@pytest.mark.parametrize("name", [name for name in NAMES if "//" not in name and not name.endswith("/")])
def test_any_name_holds_an_object(house: House, bucket: str, name: str) -> None:
    here = store(house, bucket)
    obstore.put(here, name, name.encode())
    assert bytes(obstore.get(here, name).bytes()) == name.encode()
    assert obstore.head(here, name)["size"] == len(name.encode())
    assert [row["path"] for row in obstore.list(here).collect()] == [name]
    obstore.copy(here, name, "copied")
    obstore.rename(here, name, "renamed")
    assert sorted(row["path"] for row in obstore.list(here).collect()) == ["copied", "renamed"]
    obstore.delete(here, ["copied", "renamed"])
    assert not obstore.list(here).collect()


def test_what_is_said_of_an_object(house: House, bucket: str) -> None:
    here = store(house, bucket)
    obstore.put(here, "x", b"0123456789", attributes={"Content-Type": "text/x-cat", "who": "me"})
    found = obstore.get(here, "x")
    assert found.attributes["Content-Type"] == "text/x-cat"
    assert found.attributes["who"] == "me"
    assert found.meta["e_tag"] == f'"{md5(b"0123456789")}"'
    assert bytes(obstore.get_range(here, "x", start=2, end=5)) == b"234"
    assert [bytes(part) for part in obstore.get_ranges(here, "x", starts=[0, 8], ends=[1, 10])] == [b"0", b"89"]


def test_conditions(house: House, bucket: str) -> None:
    here = store(house, bucket)
    tag = obstore.put(here, "x", b"1", mode="create")["e_tag"]
    with pytest.raises(AlreadyExistsError):
        obstore.put(here, "x", b"2", mode="create")
    obstore.put(here, "x", b"2", mode={"e_tag": tag})
    with pytest.raises(PreconditionError):
        obstore.put(here, "x", b"3", mode={"e_tag": tag})
    assert bytes(obstore.get(here, "x").bytes()) == b"2"


def test_large_objects_go_up_in_parts(house: House, bucket: str) -> None:
    here = store(house, bucket)
    content = bytes(range(256)) * (11 * 2**20 // 256)
    obstore.put(here, "x", content, use_multipart=True, chunk_size=5 * 2**20)
    assert bytes(obstore.get(here, "x").bytes()) == content
    assert (obstore.head(here, "x")["e_tag"] or "").endswith('-3"')


def test_folders(house: House, bucket: str) -> None:
    here = store(house, bucket)
    for name in ("top", "a/1", "a/2", "b c/1"):
        obstore.put(here, name, b"x")
    listed = obstore.list_with_delimiter(here)
    assert [row["path"] for row in listed["objects"]] == ["top"]
    assert listed["common_prefixes"] == ["a", "b c"]
    assert [row["path"] for row in obstore.list(here, "a", offset="a/1").collect()] == ["a/2"]


def test_signed_urls(house: House, bucket: str) -> None:
    here = store(house, bucket)
    minutes = datetime.timedelta(minutes=5)
    for name in ("plain", "a b/ü+%.txt"):
        assert house.fetch("PUT", obstore.sign(here, "PUT", name, minutes), name.encode()).status == 200
        assert house.fetch("GET", obstore.sign(here, "GET", name, minutes)).body == name.encode()
        assert house.fetch("HEAD", obstore.sign(here, "HEAD", name, minutes)).status == 200
        assert house.fetch("DELETE", obstore.sign(here, "DELETE", name, minutes)).status == 204


def test_errors(house: House, bucket: str) -> None:
    obstore.put(store(house, bucket), "x", b"x")
    with pytest.raises(FileNotFoundError):
        obstore.get(store(house, bucket), "not there")
    with pytest.raises(BaseError, match="SignatureDoesNotMatch"):
        obstore.get(store(house, bucket, house.web.wrong), "x")
    with pytest.raises(BaseError, match="AccessDenied"):
        obstore.put(store(house, bucket, house.keys["reader"]), "x", b"x")
