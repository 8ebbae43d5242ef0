"""What the tests of Google share: a gate that has signing keys of Google's, and signed requests as its SDK makes them.

`google()` is the gate's own account, which may do everything; `google(Profile(...))` one of its own. An account signs
(`url`, `form`), sends what it has signed (`ask`), and begins resumable sessions (`begin`). `Accounts(gate)` makes
accounts of any other gate that runs.
"""

import base64
import datetime
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, fromstring

import google_crc32c
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.storage.client import Client
from google.oauth2 import service_account

from tests.edge.conftest import inspect
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile
from valetstore.keys.material import public_pem
from valetstore.keys.ringfile import RingFile, record_of
from valetstore.keys.vendor import GCS, RSA

BUCKET: Final = "things"
KIB: Final = 1024
QUANTUM: Final = 256 * KIB
"""What every chunk but the last is a multiple of."""
_NUMBERS: Final = itertools.count(1)


@cache
def private_key() -> rsa.RSAPrivateKey:
    """One for all accounts of a process: it takes long to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def service_account_info(email: str) -> dict[str, str]:
    """What a service account's file holds, as far as signing needs it."""
    pem = private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "gate",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": email,
        "token_uri": "http://127.0.0.1:9/none",
    }


@cache
def credentials_of(email: str) -> Any:
    """As google-auth has them; reading a private key takes it long."""
    kind: Any = service_account.Credentials
    return kind.from_service_account_info(service_account_info(email))


def md5_of(data: bytes) -> str:
    """As headers carry it."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def crc32c_of(data: bytes) -> str:
    """The same, of the CRC that Google goes by."""
    crc: int = google_crc32c.value(data)
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


@dataclass
class Session:
    """A resumable upload that was begun."""

    gate: Gate
    url: str

    def put(self, body: Any = None, content_range: str | None = None, **headers: str) -> Answer:
        """PUT to it; `content_range` without its unit."""
        asked = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_range is not None:
            asked["Content-Range"] = f"bytes {content_range}"
        return self.gate.ask("PUT", self.url, b"" if body is None else body, asked)

    def persisted(self) -> int | None:
        """How much has arrived; None where it is whole."""
        answer = self.put(None, "*/*")
        if answer.status == 200:
            return None
        assert answer.status == 308, (answer.status, answer.body)
        assert answer.body == b""
        if "range" not in answer.headers:
            return 0
        start, _, end = answer.headers["range"].removeprefix("bytes=").partition("-")
        assert start == "0"
        return int(end) + 1

    def cancel(self) -> Answer:
        """DELETE it."""
        return self.gate.ask("DELETE", self.url)


@dataclass
class Account:
    """What a user of Google holds: a service account, and where its buckets are."""

    gate: Gate
    email: str

    @property
    def credentials(self) -> Any:
        """As google-auth has them."""
        return credentials_of(self.email)

    def client(self) -> Client:
        """The SDK's client, which signs without asking anybody."""
        return Client(project="gate", credentials=self.credentials, client_options={"api_endpoint": self.gate.base})

    def url(
        self,
        method: str,
        name: str,
        headers: Mapping[str, str] | None = None,
        *,
        bucket: str = BUCKET,
        version: str = "v4",
        seconds: float = 300,
        **asked: Any,
    ) -> str:
        """A signed URL for one request; with no name, for the bucket. `asked` are the SDK's further arguments."""
        found = self.client().bucket(bucket)
        holder: Any = found.blob(name) if name else found
        if "bucket_bound_hostname" not in asked:
            asked["api_access_endpoint"] = self.gate.base
        url: str = holder.generate_signed_url(
            expiration=datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds),
            method=method,
            version=version,
            headers=dict(headers or {}),
            **asked,
        )
        return url

    def ask(
        self,
        method: str,
        name: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        unsigned: Mapping[str, str] | None = None,
        **asked: Any,
    ) -> Answer:
        """One request, its `headers` signed."""
        url = self.url(method, name, headers, **asked)
        return self.gate.ask(method, url, body, {**(headers or {}), **(unsigned or {})})

    def start(self, name: str, headers: Mapping[str, str] | None = None, **asked: Any) -> Answer:
        """The POST that begins a session; its `headers` are signed."""
        url = self.url("RESUMABLE", name, headers, **asked)
        return self.gate.ask("POST", url, b"", {"x-goog-resumable": "start", **(headers or {})})

    def begin(self, name: str, headers: Mapping[str, str] | None = None, **asked: Any) -> Session:
        """A session."""
        answer = self.start(name, headers, **asked)
        assert answer.status == 201, (answer.status, answer.body)
        return Session(self.gate, answer.headers["location"])

    def body(self, name: str) -> bytes:
        """The object that stands there now."""
        answer = self.ask("GET", name)
        assert answer.status == 200, answer.body
        return answer.body


@dataclass
class Accounts:
    """Makes accounts of one gate that runs; called without a profile it gives the gate's own that may do everything."""

    gate: Gate
    _own: Account | None = None

    def __call__(self, profile: Profile | None = None) -> Account:
        """An account with this profile."""
        if profile is not None:
            return self._new(profile)
        if self._own is None:
            self._own = self._new(Profile())
        return self._own

    def _new(self, profile: Profile) -> Account:
        email = f"signer{next(_NUMBERS)}@gate.iam.gserviceaccount.com"
        record = record_of(
            email.partition("@")[0], RSA, profile, kid=email, public_key=public_pem(private_key()), scheme=GCS
        )
        with self.gate.reloading():
            RingFile(self.gate.data).add(record)
        return Account(self.gate, email)


def document(answer: Answer) -> Element:
    """The XML of an answer, names without their namespace."""
    root = fromstring(answer.body)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def refused(answer: Answer, code: str, status: int, ours: str) -> dict[str, str]:
    """An answer must be Google's refusal, with our code beside; the members of its document."""
    told = (answer.status, answer.code, answer.body[:400])
    assert (answer.status, answer.code) == (status, ours), told
    assert answer.headers["content-type"] == "application/xml; charset=UTF-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body.startswith(b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>"), told
    members = {element.tag: element.text or "" for element in document(answer)}
    assert members["Code"] == code, told
    return members


def target_of(url: str) -> str:
    """Path and query of a URL, for a raw request."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """A gateway with default settings, shared by a module's tests, and its accounts; inspected at the end."""
    with Gate(tmp_path_factory.mktemp("google")) as running:
        yield Accounts(running)
        inspect(running)


@pytest.fixture(scope="module")
def gate(google: Accounts) -> Gate:
    """The same gateway, for requests that no client would send."""
    return google.gate
