"""AWS's SDK for JavaScript: objects, lib-storage, the request presigner, presigned forms."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop import tools
from tests.interop.boto import client
from tests.interop.house import NAMES, House

Node = Callable[..., Any]


@pytest.fixture
def node(house: House, bucket: str, tmp_path: Path) -> Node:
    """Run a script of node/ with arguments as JSON; what it told."""
    modules = tools.node_modules()
    program = tools.program("node", "nodejs")
    for script in tools.NODE.glob("*.mjs"):
        shutil.copy(script, tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)

    def run(script: str, *args: Any) -> Any:
        done = subprocess.run(
            [program, script, *map(json.dumps, args)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | house.web.environment | {"ENDPOINT": house.endpoint, "BUCKET": bucket},
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_an_objects_life(node: Node) -> None:
    told = node("objects.mjs", NAMES)
    assert told["back"] == list(NAMES)
    assert (told["type"], told["metadata"], told["part"]) == ("text/x-cat", {"who": "me"}, NAMES[0][1:4])
    assert told["listed"] == sorted(NAMES, key=str.encode)
    assert (told["removed"], told["left"]) == (len(NAMES), ["copied"])
    assert told["uploaded"].endswith('-3"')
    assert told["same"]
    assert told["missing"] == ["NoSuchKey", 404]
    assert told["exists"] == ["PreconditionFailed", 412]
    assert told["noBucket"] == ["NoSuchBucket", 404]
    assert told["refused"] == ["SignatureDoesNotMatch", 403]


def test_presigned_urls(node: Node, house: House, bucket: str) -> None:
    urls = node("presign.mjs", NAMES)
    for name, put, get in zip(NAMES, urls["put"], urls["get"], strict=True):
        assert house.fetch("PUT", put, name.encode()).status == 200
        assert house.fetch("GET", get).body == name.encode()
    assert house.fetch("HEAD", urls["head"]).status == 200
    assert house.fetch("GET", urls["download"]).headers["content-disposition"] == 'attachment; filename="cat.txt"'


def test_headers_are_hoisted_or_not(node: Node, house: House, bucket: str) -> None:
    """Metadata that the SDK has put into the URL need not be sent; what it has left outside must be."""
    urls = node("presign.mjs", NAMES[:1])
    assert house.fetch("PUT", urls["typed"], b"x", {"Content-Type": "text/html"}).status == 403
    assert house.fetch("PUT", urls["typed"], b"x", {"Content-Type": "image/png"}).status == 200
    assert house.fetch("PUT", urls["unhoisted"], b"x").status == 403
    assert house.fetch("PUT", urls["unhoisted"], b"x", {"x-amz-meta-who": "me"}).status == 200
    s3 = client(house)
    assert [s3.head_object(Bucket=bucket, Key=key)["Metadata"] for key in ("typed", "unhoisted")] == [{"who": "me"}] * 2


def test_the_checksum_of_nothing_is_named_in_the_refusal(node: Node, house: House) -> None:
    """The SDK as it is shipped signs the CRC32 of an empty body into an upload URL."""
    trap = node("presign.mjs", NAMES[:1])["trap"]
    assert "x-amz-checksum-crc32=AAAAAA%3D%3D" in trap
    refused = house.fetch("PUT", trap, b"not empty")
    assert refused.status == 400
    assert b"WHEN_REQUIRED" in refused.body


def test_conditions_of_the_gateways_own(node: Node, house: House) -> None:
    url = node("presign.mjs", NAMES[:1])["limited"]
    assert house.fetch("PUT", url, b"123456").headers["x-valet-error"] == "too_large"
    assert house.fetch("PUT", url, b"12345").status == 200
    assert house.fetch("PUT", url, b"12345").headers["x-valet-error"] == "key_used"


def test_a_form(node: Node, house: House, bucket: str) -> None:
    told = node("post.mjs")
    assert told["taken"][0] == 201, told
    assert "<Key>in/grüße.png</Key>" in told["taken"][1]
    assert told["large"][0] == 400
    assert "EntityTooLarge" in told["large"][1]
    assert told["html"][0] == 403
    assert client(house).get_object(Bucket=bucket, Key="in/grüße.png")["Body"].read() == b"0123456789"
