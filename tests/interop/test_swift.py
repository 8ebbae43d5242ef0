"""python-swiftclient: its signer, its program, and its transfers over the URLs they sign."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest
import requests
from swiftclient import client as swiftclient
from swiftclient.exceptions import ClientException
from swiftclient.utils import generate_temp_url

from tests.gate import Answer, Gate, run_cli
from tests.interop.house import NAMES

CONTAINER: Final = "interop"


class Cloud(NamedTuple):
    """A gateway, and what its Swift users are given: an account and a key."""

    gate: Gate
    account: str
    key: str

    @property
    def storage_url(self) -> str:
        """What Swift's clients call the account's URL."""
        return f"{self.gate.base}/v1/{self.account}"

    def query(self, method: str, name: str, **options: Any) -> str:
        """The query of a TempURL as python-swiftclient makes it."""
        path = f"/v1/{self.account}/{CONTAINER}/{name}"
        made: str = generate_temp_url(path, "300", self.key, method, **options)
        return made[len(path) + 1 :]

    def ask(self, method: str, name: str, body: bytes | None = None, **options: Any) -> Answer:
        """One request as any client sends it that was given a TempURL."""
        where = quote(f"/v1/{self.account}/{CONTAINER}/{name}")
        return self.gate.ask(method, f"{where}?{self.query(method, name, **options)}", body)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A gateway whose key was made by the command that operators use."""
    folder = tmp_path_factory.mktemp("swift")
    made = run_cli("keys", "create", "swift", "--scheme", "swift", "--json", "--data", str(folder / "data"), cwd=folder)
    assert made.returncode == 0, made.stderr
    said = json.loads(made.stdout)
    with Gate(folder) as gate:
        yield Cloud(gate, said["account"], said["key"])
    written = gate.log + (gate.data / "audit.log").read_text()
    assert "Traceback" not in written
    assert "temp_url_sig=" not in written
    assert said["key"] not in written


@pytest.mark.parametrize("name", NAMES)
def test_names_that_hurt_go_round(cloud: Cloud, name: str) -> None:
    """Signed decoded, sent encoded."""
    assert cloud.ask("PUT", name, name.encode()).status == 201
    assert cloud.ask("HEAD", name).headers["content-length"] == str(len(name.encode()))
    assert cloud.ask("GET", name).body == name.encode()
    assert cloud.ask("DELETE", name).status == 204


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("options", [{}, {"iso8601": True}, {"ip_range": "127.0.0.1"}, {"ip_range": "127.0.0.0/8"}])
def test_every_kind_of_url_opens(cloud: Cloud, digest: str, options: dict[str, Any]) -> None:
    assert cloud.ask("PUT", "kinds", b"x", digest=digest, **options).status == 201
    assert cloud.ask("GET", "kinds", digest=digest, **options).body == b"x"


def test_a_prefix_opens_all_below_it(cloud: Cloud) -> None:
    query = cloud.query("PUT", "below/", prefix=True)
    for name in ("one", "two/three"):
        path = f"/v1/{cloud.account}/{CONTAINER}/below/{name}"
        assert cloud.gate.ask("PUT", f"{path}?{query}", name.encode()).status == 201
    assert cloud.ask("GET", "below/two/three").body == b"two/three"


def test_its_transfers_take_our_answers(cloud: Cloud) -> None:
    """Entity tags with their quotes, dates, metadata, chunks, ranges."""
    data = os.urandom(3_000_000)
    tag = hashlib.md5(data).hexdigest()
    put = swiftclient.put_object(
        cloud.storage_url, "", CONTAINER, "moved", data, etag=tag, content_type="a/b",
        headers={"X-Object-Meta-Public-Who": "ann"}, query_string=cloud.query("PUT", "moved"),
    )  # fmt: skip
    assert put == tag
    chunks = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    again = swiftclient.put_object(
        cloud.storage_url, "", CONTAINER, "moved", chunks, headers={"X-Object-Meta-Public-Who": "ann"},
        content_type="a/b", query_string=cloud.query("PUT", "moved"),
    )  # fmt: skip
    assert again == tag
    headers, got = swiftclient.get_object(
        cloud.storage_url, "", CONTAINER, "moved", query_string=cloud.query("GET", "moved")
    )
    assert got == data
    assert headers["etag"].strip('"') == tag
    assert (headers["content-type"], headers["x-object-meta-public-who"]) == ("a/b", "ann")
    part = swiftclient.get_object(
        cloud.storage_url, "", CONTAINER, "moved", query_string=cloud.query("GET", "moved"),
        headers={"Range": "bytes=5-9"},
    )  # fmt: skip
    assert part[1] == data[5:10]
    swiftclient.delete_object(cloud.storage_url, "", CONTAINER, "moved", query_string=cloud.query("DELETE", "moved"))


@pytest.mark.parametrize(
    ("signed", "etag", "status", "reason"),
    [
        ("PUT", "0" * 32, 422, "Unprocessable Entity"),
        ("GET", None, 401, "Unauthorized"),
    ],
)
def test_it_reads_our_refusals(cloud: Cloud, signed: str, etag: str | None, status: int, reason: str) -> None:
    with pytest.raises(ClientException) as caught:
        swiftclient.put_object(
            cloud.storage_url, "", CONTAINER, "refused", b"x", etag=etag, query_string=cloud.query(signed, "refused")
        )
    assert caught.value.http_status == status
    assert reason in str(caught.value)
    assert caught.value.transaction_id


def test_the_program_signs_what_opens(cloud: Cloud) -> None:
    """`swift tempurl`, with and without its options."""
    cloud.ask("PUT", "program", b"signed by a program")
    path = f"/v1/{cloud.account}/{CONTAINER}/program"
    program = Path(sys.executable).parent / "swift"
    for options in ([], ["--iso8601"], ["--digest", "sha512"], ["--ip-range", "127.0.0.1"], ["--prefix-based"]):
        done = subprocess.run(
            [str(program), "tempurl", *options, "GET", "60", path, cloud.key],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert cloud.gate.ask("GET", done.stdout.strip()).body == b"signed by a program", options


def test_what_we_sign_opens_for_anyone(cloud: Cloud) -> None:
    """`valetstore sign` to requests, which sends forms as browsers do."""
    url = cloud.gate.cli("sign", "PUT", f"/{CONTAINER}/by us.txt", "--scheme", "swift", "--base-url", cloud.gate.base)
    assert requests.put(url.strip(), b"x", timeout=20).status_code == 201
    form = json.loads(
        cloud.gate.cli(
            "sign", "POST", f"/{CONTAINER}/posted/", "--prefix", "--length", "0-1MiB", "--scheme", "swift",
            "--base-url", cloud.gate.base,
        )
    )  # fmt: skip
    sent = requests.post(form["url"], form["fields"], files={"any": ("grüße.txt", b"posted", "text/plain")}, timeout=20)
    assert (sent.status_code, sent.text) == (201, "201 Created")
    got = cloud.ask("GET", "posted/grüße.txt")
    assert (got.body, got.headers["content-type"]) == (b"posted", "text/plain")
