"""What every client of these tests is pointed at: gateways with S3 keys, addresses of buckets, names that hurt.

Rule 1: a client gets an endpoint, an access key id and a secret, as its users have them, and nothing of the inside.
Rule 2: keys are made before the gateway starts, by the command that operators use.
"""

import contextlib
import hashlib
import itertools
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tests.edge.doors import make_certificate, toml
from tests.gate import Answer, Gate, run_cli

REGION: Final = "us-east-1"

NAMES: Final = (
    "plain.txt",
    "a b/c  d.txt",
    "one+one=2.txt",
    "100%.txt",
    "%41 is not A.txt",
    "~tilde/-dash_under.dot",
    "grüße/日本語/🐈.txt",
    "e\u0301 decomposed.txt",
    "quotes'\"()!*.txt",
    "amp&semi;colon:at@comma,dollar$.txt",
    "question?hash#.txt",
    "brackets[1]{2}<3>|4^`.txt",
    "a//b.txt",
    "folder/",
    "back\\slash.txt",
    "trailing space ",
)
"""Names of objects that clients encode each in its own way."""

KEYS: Final = {
    "web": (),
    "reader": ("--ops", "read,list"),
    "scoped": ("--prefix", "/scoped/inside/"),
    "uploads": ("--ops", "write", "--single-use", "write"),
    "creator": ("--ops", "read,write", "--create-only"),
    "pictures": ("--ops", "read,write", "--type", "image/*", "--length-max", "1KiB"),
    "brief": ("--ttl-max", "60s"),
}
"""Signing keys of each gateway, by name, with the options they are made with."""

_numbers = itertools.count()


class Secret(NamedTuple):
    """What an application is given."""

    access_key_id: str
    secret_access_key: str
    region: str = REGION

    @property
    def wrong(self) -> "Secret":
        """The same access key id with a secret that is not its own."""
        return self._replace(secret_access_key=self.secret_access_key[::-1])

    @property
    def environment(self) -> dict[str, str]:
        """As AWS's tools read it; files of whoever runs the tests are kept out of it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class House(NamedTuple):
    """A gateway and its keys."""

    gate: Gate
    keys: dict[str, Secret]

    @property
    def endpoint(self) -> str:
        """The URL that a client is pointed at."""
        return self.gate.base

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.gate.address[1]

    @property
    def web(self) -> Secret:
        """The key that may do everything but administer."""
        return self.keys["web"]

    def fetch(self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Use a presigned URL as a browser would: its own Host, and only these headers."""
        return self.gate.ask(method, url, body, {"Host": urlsplit(url).netloc, **(headers or {})})


@contextlib.contextmanager
def opened(folder: Path, *, tls: bool = False, settings: dict[str, dict[str, object]] | None = None) -> Iterator[House]:
    """A gateway with all of KEYS, looked through when it is over."""
    tables = dict(settings or {})
    cafile = None
    if tls:
        cafile, key = make_certificate(folder)
        tables["listen"] = {"tls-cert": str(cafile), "tls-key": str(key)}
    keys = {name: make_key(folder, name, *options) for name, options in KEYS.items()}
    with Gate(folder, toml(tables) if tables else "", cafile=cafile) as gate:
        yield House(gate, keys)
    look_through(gate, keys)


def make_key(folder: Path, name: str, *options: str) -> Secret:
    """A signing key, made by the command line."""
    done = run_cli(
        "keys", "create", name, "--scheme", "s3", *options, "--json", "--data", str(folder / "data"), cwd=folder
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    return Secret(made["access_key_id"], made["secret_access_key"], made["region"])


def look_through(gate: Gate, keys: dict[str, Secret]) -> None:
    """No traceback, no secret and no signature in what the gateway wrote."""
    written = gate.log + (gate.data / "audit.log").read_text()
    assert "Traceback" not in written, written[-4000:]
    for forbidden in ("X-Amz-Signature=", "Signature=", *(key.secret_access_key for key in keys.values())):
        assert forbidden not in written


def new_bucket() -> str:
    """A bucket's name that no other test has."""
    return f"b{next(_numbers)}-{uuid.uuid4().hex[:12]}"


def md5(data: bytes) -> str:
    """What S3 has for an ETag of an object put whole, without its quotes."""
    return hashlib.md5(data).hexdigest()


def md5_of_parts(*parts: bytes) -> str:
    """The same of an object put in parts."""
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts))
    return f"{whole.hexdigest()}-{len(parts)}"
