"""What the tests of CloudFront's dialect share: a gate, signing keys of it, and a signer that knows nothing of it.

`cloudfront.canned(path)` is a signed URL, `cloudfront.custom(path, resource)` one with a custom policy,
`cloudfront.cookies(resource)` the cookies; `profile=Profile(...)` takes a signing key of its own.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.edge.conftest import inspect
from tests.gate import Answer, Gate
from tests.grants.cloudfront import stranger
from valetstore.cli.taken import wait_until_taken
from valetstore.grants.grant import Profile
from valetstore.keys.ringfile import RingFile, record_of


@dataclass
class CloudFront:
    """Signs for one gate that runs."""

    gate: Gate
    _key_pairs: dict[Profile, str] = field(default_factory=dict)

    def key_pair(self, profile: Profile | None = None) -> str:
        """The id of a signing key with this profile. All have the one key that the tests have made."""
        profile = profile or Profile()
        if profile not in self._key_pairs:
            kid = f"K{secrets.token_hex(6).upper()}"
            public = stranger.pem_of(stranger.rsa_key())
            record = record_of(f"cf-{kid}", "RSA", profile, kid=kid, public_key=public, scheme="cloudfront")
            wait_until_taken(self.gate.data, RingFile(self.gate.data).add(record))
            self._key_pairs[profile] = kid
        return self._key_pairs[profile]

    def new_key_pair(self, profile: Profile) -> str:
        """One that no other test has."""
        self._key_pairs.pop(profile, None)
        return self.key_pair(profile)

    def canned(self, path: str, *, profile: Profile | None = None, seconds: float = 300, base: str = "") -> str:
        """A URL with a canned policy; `path` is percent-encoded."""
        url = (base or self.gate.base) + path
        ends = int(time.time() + seconds)
        return stranger.url_with(url, stranger.canned(url, ends) | {"Key-Pair-Id": self.key_pair(profile)})

    def members(
        self, resource: str, *, profile: Profile | None = None, seconds: float = 300, **conditions: Any
    ) -> dict[str, str]:
        """A key with a custom policy; a resource that begins with a slash is one of the gate's."""
        whole = self.gate.base + resource if resource.startswith("/") else resource
        said = stranger.policy(whole, int(time.time() + seconds), **conditions)
        return stranger.custom(said) | {"Key-Pair-Id": self.key_pair(profile)}

    def custom(self, path: str, resource: str = "/*", **more: Any) -> str:
        """A URL with a custom policy."""
        return stranger.url_with(self.gate.base + path, self.members(resource, **more))

    def cookies(self, resource: str = "/*", **more: Any) -> dict[str, str]:
        """Cookies with a custom policy, by their names."""
        return stranger.as_cookies(self.members(resource, **more))

    def put(self, path: str, body: bytes, content_type: str = "application/octet-stream", **headers: str) -> None:
        """Store an object, with a native key; underscores in header names stand for hyphens."""
        sent = {"Content-Type": content_type} | {name.replace("_", "-"): text for name, text in headers.items()}
        assert self.gate.ask("PUT", self.gate.sign("PUT", path), body, sent).status in (200, 201)


def as_header(cookies: dict[str, str]) -> dict[str, str]:
    """Cookies as a request's header."""
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def refused(answer: Answer) -> tuple[int, str]:
    """Status and CloudFront's code of a refusal."""
    assert answer.headers["content-type"] == "text/xml"
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in answer.headers
    return answer.status, answer.body.decode().partition("<Code>")[2].partition("</Code>")[0]


@pytest.fixture(scope="module")
def cloudfront(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudFront]:
    """A gateway with default settings, shared by a module's tests; inspected at the end."""
    with Gate(tmp_path_factory.mktemp("cloudfront")) as running:
        yield CloudFront(running)
        inspect(running)
        for path in (running.folder / "stderr.log", running.data / "audit.log"):
            assert "Signature=" not in path.read_text(), f"{path.name} holds a signature"


@pytest.fixture(scope="module")
def gate(cloudfront: CloudFront) -> Gate:
    """The same gateway."""
    return cloudfront.gate
