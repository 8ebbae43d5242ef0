"""What the tests of Swift share: a gate with signing keys of Swift's, and strangers who sign with them.

`swift()` is an account with a key that may do everything; `swift(Profile(...))` one of its own. URLs are signed by
python-swiftclient, forms as Swift's documentation says.
"""

import hmac
import itertools
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest
from swiftclient.utils import generate_temp_url

from tests.edge.conftest import inspect
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile
from valetstore.keys.ringfile import RingFile, record_of
from valetstore.keys.vendor import HMAC, SWIFT

BOUNDARY: Final = "----FormBoundary7MA4YWxk"


class File(NamedTuple):
    """A file in a form."""

    data: bytes
    name: str = "a.txt"
    content_type: str | None = "text/plain"
    field: str = "file"


@dataclass
class Account:
    """An account of one gate, and a key of it."""

    gate: Gate
    name: str
    key: str
    signing_key: str

    def url(self, method: str, path: str, seconds: int = 300, digest: str = "sha256", **options: Any) -> str:
        """A TempURL's target for `/container/name`, as a client sends it."""
        whole = f"/v1/{self.name}{path}"
        made: str = generate_temp_url(
            whole, int(time.time()) + seconds, self.key, method, True, digest=digest, **options
        )
        return quote(whole) + made[len(whole) :]

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request with a TempURL of its own."""
        return self.gate.ask(method, self.url(method, path), body, dict(headers or {}))

    def put(self, path: str, body: bytes, **headers: str) -> None:
        """Store something."""
        answer = self.ask("PUT", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        assert answer.status == 201, answer

    def fields(
        self,
        path: str,
        size: int = 1000,
        count: int = 10,
        redirect: str = "",
        seconds: int = 300,
        digest: str = "sha256",
    ) -> dict[str, str]:
        """A form's fields."""
        expires = int(time.time()) + seconds
        text = f"/v1/{self.name}{path}\n{redirect}\n{size}\n{count}\n{expires}"
        mac = hmac.new(self.key.encode(), text.encode(), digest).hexdigest()
        own = {"max_file_size": str(size), "max_file_count": str(count), "expires": str(expires), "signature": mac}
        return ({"redirect": redirect} if redirect else {}) | own

    def post(self, path: str, files: Sequence[File], fields: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """Send a form with these files."""
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = encoded(self.fields(path) if fields is None else fields, files)
        return self.gate.ask("POST", quote(f"/v1/{self.name}{path}"), body, kind | named)


@dataclass
class Accounts:
    """Makes accounts of one gate that runs; called as a function it makes one."""

    gate: Gate
    _usual: Account | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __call__(self, profile: Profile | None = None) -> Account:
        """One with this profile; without one, the gate's own that may do everything."""
        if profile is None:
            if self._usual is None:
                self._usual = self.new(Profile())
            return self._usual
        return self.new(profile)

    def new(self, profile: Profile, name: str = "") -> Account:
        """One more signing key; `name` is an account's that is there."""
        number = next(self._numbers)
        made = Account(self.gate, name or f"AUTH_test{number}", secrets.token_urlsafe(30), f"swift-{number}")
        record = record_of(made.signing_key, HMAC, profile, kid=made.name, secret=made.key.encode(), scheme=SWIFT)
        with self.gate.reloading():
            RingFile(self.gate.data).add(record)
        return made


def encoded(fields: Mapping[str, str], files: Sequence[File], after: Mapping[str, str] | None = None) -> bytes:
    """A form as browsers write it."""
    parts = [_field(name, value) for name, value in fields.items()]
    for file in files:
        kind = "" if file.content_type is None else f"\r\nContent-Type: {file.content_type}"
        head = f'Content-Disposition: form-data; name="{file.field}"; filename="{file.name}"{kind}\r\n\r\n'
        parts += [f"--{BOUNDARY}\r\n{head}".encode(), file.data, b"\r\n"]
    parts += [_field(name, value) for name, value in (after or {}).items()]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def _field(name: str, value: str) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """A gateway with default settings, shared by a module's tests, and its accounts; inspected at the end."""
    with Gate(tmp_path_factory.mktemp("swift")) as running:
        accounts = Accounts(running)
        yield accounts
        inspect(running)
        written = running.log + (running.data / "audit.log").read_text()
        assert "temp_url_sig=" not in written


@pytest.fixture(scope="module")
def gate(swift: Accounts) -> Gate:
    """The same gateway, for requests that no client would send."""
    return swift.gate
