"""Ways to a bucket: in the path, in the Host, over TLS, through nginx and Caddy; and temporary credentials."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.edge.doors import Door
from tests.edge.doors import opened as opened_door
from tests.interop.boto import client, raises
from tests.interop.house import NAMES, House, Secret, make_key


@pytest.fixture
def localhosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below `localhost` are this machine (RFC 6761), also where the C library does not know it."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if str(host).endswith(".localhost") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.usefixtures("localhosts")
def test_a_client_with_buckets_in_the_host(house: House, bucket: str) -> None:
    s3 = client(house, style="virtual", endpoint=f"http://localhost:{house.port}")
    s3.create_bucket(Bucket=bucket)
    for name in NAMES:
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode()
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": NAMES[0]})
    by_path = client(house).list_objects_v2(Bucket=bucket)["Contents"]
    assert [row["Key"] for row in by_path] == sorted([*NAMES, "copied"], key=str.encode)
    assert bucket in [row["Name"] for row in s3.list_buckets()["Buckets"]]


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_presigned_urls_over_tls(tls: House, bucket: str, signature: str) -> None:
    s3 = client(tls, signature=signature)
    here = {"Bucket": bucket, "Key": "a b+ü.txt"}
    assert tls.fetch("PUT", s3.generate_presigned_url("put_object", Params=here), b"over TLS").status == 200
    assert tls.fetch("GET", s3.generate_presigned_url("get_object", Params=here)).body == b"over TLS"


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, Secret]]:
    """A gateway behind a proxy that is configured as the docs say."""
    folder = tmp_path_factory.mktemp(request.param)
    secret = make_key(folder, "web")
    with opened_door(request.param, folder) as door:
        yield door, secret


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_through_a_proxy(proxied: tuple[Door, Secret], name: str, signature: str) -> None:
    door, secret = proxied
    s3 = client(House(door.gate, {"web": secret}), signature=signature, endpoint=door.base)
    here = {"Bucket": f"proxied-{signature}", "Key": name}
    put = door.ask("PUT", s3.generate_presigned_url("put_object", Params=here), name.encode())
    assert put.status == 200, put.body
    assert door.ask("GET", s3.generate_presigned_url("get_object", Params=here)).body == name.encode()
    if signature == "s3v4":
        assert s3.get_object(**here)["Body"].read() == name.encode()


def test_temporary_credentials_open_less_than_their_key(house: House, bucket: str) -> None:
    options = ("--expires", "10m", "--prefix", f"/{bucket}/mine/", "--ops", "read,write,list", "--json")
    made = json.loads(house.gate.cli("keys", "session", "web", *options))
    secret = Secret(made["access_key_id"], made["secret_access_key"], made["region"])
    for signature in ("s3v4", "s3"):
        s3 = client(house, secret, signature=signature, token=made["session_token"])
        for key, status in ((f"mine/{signature}", 200), ("other", 403)):
            url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})
            assert house.fetch("PUT", url, b"x").status == status
    s3 = client(house, secret, token=made["session_token"])
    s3.put_object(Bucket=bucket, Key="mine/x", Body=b"mine")
    assert s3.get_object(Bucket=bucket, Key="mine/x")["Body"].read() == b"mine"
    with raises("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="other", Body=b"x")
    with raises("AccessDenied", 403):
        s3.delete_object(Bucket=bucket, Key="mine/x")
    with raises("InvalidToken", 400):
        client(house, secret, token=made["session_token"][:-4] + "AAAA").list_objects_v2(Bucket=bucket, Prefix="mine/")
    with raises("InvalidAccessKeyId", 403):
        client(house, secret).list_objects_v2(Bucket=bucket, Prefix="mine/")
