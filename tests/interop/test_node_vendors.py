"""The vendors' SDKs for JavaScript sign, and Node's fetch or the SDK itself transfers: Google, Azure, CloudFront."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.gate import Gate
from tests.interop import signers, tools
from tests.interop.house import new_bucket

Node = Callable[..., Any]

NAMES: Final = ("plain.txt", "a b/c+d.txt", "grüße/日本語.txt", "100% {sure}.txt", "it's (fine)!*.txt")


class Keys:
    """A gateway, and what an application holds for each dialect."""

    def __init__(self, gate: Gate, made: dict[str, dict[str, Any]]) -> None:
        self.gate = gate
        self.made = made


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """A gateway with a signing key of each."""
    folder = tmp_path_factory.mktemp("node")
    made = {scheme: signers.make_key(folder, scheme) for scheme in ("native", "gcs", "azure", "cloudfront")}
    with Gate(folder) as gate:
        yield Keys(gate, made)
        assert "Traceback" not in gate.log


@pytest.fixture
def node(keys: Keys, tmp_path: Path) -> Node:
    """Run a script of node/ with arguments as JSON, for a bucket; what it told."""
    modules = tools.node_modules()
    program = tools.program("node", "nodejs")
    for script in tools.NODE.glob("*.mjs"):
        shutil.copy(script, tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)

    def run(script: str, bucket: str, *args: Any) -> Any:
        done = subprocess.run(
            [program, script, *map(json.dumps, args)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"ENDPOINT": keys.gate.base, "BUCKET": bucket},
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_google(node: Node, keys: Keys) -> None:
    """Both versions of signed URLs, headers that are signed, resumable uploads, a policy's form."""
    told = node("google.mjs", new_bucket(), keys.made["gcs"]["service_account_file"], NAMES)
    assert told["back"] == {version: [f"{version} {name}" for name in NAMES] for version in ("v2", "v4")}
    assert told["typed"] == [403, 200]
    content_type, who, disposition = told["typedBack"]
    assert (content_type, who) == ("image/png", "me")
    assert disposition.startswith("attachment;")
    assert "cat.png" in disposition
    chunk = 256 * 1024
    assert told["resumed"] == {version: [201, 308, f"bytes=0-{chunk - 1}", 200, chunk + 3] for version in ("v2", "v4")}
    assert told["streamed"] == [True, True]
    assert told["form"]["taken"][0] == 204, told["form"]
    assert told["form"]["large"][0] == 400
    assert "EntityTooLarge" in told["form"]["large"][1]
    assert told["gone"] == [204, 404, True]


def test_azure(node: Node, keys: Keys) -> None:
    """One piece and blocks, properties and lists, and refusals by the codes that the SDK reads."""
    key = keys.made["azure"]
    told = node("azure.mjs", new_bucket(), key["account_name"], key["account_key"], NAMES)
    assert told["back"] == list(NAMES)
    assert told["properties"] == ["text/x-cat", "me", len(NAMES[0])]
    assert told["big"] is True
    assert sorted(told["listed"]) == sorted([*NAMES, "big"])
    assert told["refused"]["missing"][1] == 404
    assert told["refused"]["permission"] == ["AuthorizationPermissionMismatch", 403]
    assert told["refused"]["exists"] == ["BlobAlreadyExists", 409]
    assert told["refused"]["overwrite"] == ["UnauthorizedBlobOverwrite", 403]
    assert told["gone"] is False


def test_cloudfront(node: Node, keys: Keys) -> None:
    """Canned and custom policies, an address, SHA-256, cookies."""
    bucket = new_bucket()
    put = signers.native(keys.made["native"], keys.gate.base).put
    assert put is not None
    request = put(bucket, "cat.txt")
    assert keys.gate.ask("PUT", request.url, b"a cat").status == 201
    key = keys.made["cloudfront"]
    told = node("cloudfront.mjs", bucket, key["key_pair_id"], key["private_key_file"], "cat.txt")
    refused = {name: answer[0] for name, answer in told.items() if name in ("fromAnother", "elsewhere")}
    assert refused == {"fromAnother": 403, "elsewhere": 403}
    opened = {name: answer for name, answer in told.items() if name not in refused}
    assert opened == {name: [200, "a cat"] for name in opened}
