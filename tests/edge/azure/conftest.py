"""What the tests of Azure share: a gate that has signing keys of Azure's, and clients as applications make them.

`azure()` is the gate's own account, which may do everything; `azure(Profile(...))` one of its own. An account signs
(`sas`, `container_sas`, `account_sas`), and makes the SDK's clients (`blob`, `container`); `azure.ask` sends what none
of them would. `Accounts(gate)` makes accounts of any other gate that runs.
"""

import base64
import datetime
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from xml.etree.ElementTree import fromstring

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobClient,
    ContainerClient,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from tests.edge.conftest import inspect
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile
from valetstore.keys.ringfile import RingFile, record_of
from valetstore.keys.vendor import AZURE, HMAC

CONTAINER: Final = "things"
ALL: Final = "racwdxltmei"
"""Every permission that a container's signature can have, in the order that the service asks for."""


@dataclass
class Account:
    """What a user of Azure holds: an account's name and key, and where it is. `signing_key` is its name in the ring."""

    gate: Gate
    name: str
    key: str
    signing_key: str

    @property
    def url(self) -> str:
        """Path style: the account is the first segment."""
        return f"{self.gate.base}/{self.name}"

    def sas(
        self, blob: str, permission: str = "rcwd", *, container: str = CONTAINER, seconds: float = 300, **terms: Any
    ) -> str:
        """A signature for one blob, as a query."""
        signed: str = generate_blob_sas(
            self.name, container, blob, account_key=self.key, permission=permission, **_until(seconds, terms)
        )
        return signed

    def container_sas(
        self, permission: str = ALL, *, container: str = CONTAINER, seconds: float = 300, **terms: Any
    ) -> str:
        """A signature for a container and its blobs."""
        signed: str = generate_container_sas(
            self.name, container, account_key=self.key, permission=permission, **_until(seconds, terms)
        )
        return signed

    def account_sas(
        self, resource_types: str = "sco", permission: str = "rwdlacup", *, seconds: float = 300, **terms: Any
    ) -> str:
        """A signature for the whole account."""
        signed: str = generate_account_sas(
            self.name,
            self.key,
            resource_types,
            permission,
            **_until(seconds, terms),
        )
        return signed

    def at(self, blob: str, sas: str = "", *, container: str = CONTAINER, **parameters: str) -> str:
        """A blob's target (the container's, for ""), with a signature and further parameters."""
        path = f"/{self.name}/{container}" + (f"/{quote(blob)}" if blob else "")
        query = "&".join([*(f"{name}={quote(value, safe='')}" for name, value in parameters.items()), sas])
        return f"{path}?{query.strip('&')}" if query else path

    def blob(self, blob: str, permission: str = "rcwd", *, container: str = CONTAINER, **options: Any) -> BlobClient:
        """The SDK's client of one blob, by a signature that allows this."""
        sas = self.sas(blob, permission, container=container)
        return BlobClient.from_blob_url(self.gate.base + self.at(blob, sas, container=container), **_once(options))

    def container(self, permission: str = ALL, *, container: str = CONTAINER, **options: Any) -> ContainerClient:
        """The SDK's client of a container, by a signature that allows this."""
        sas = self.container_sas(permission, container=container)
        return ContainerClient.from_container_url(f"{self.url}/{container}?{sas}", **_once(options))

    def ask(
        self,
        method: str,
        blob: str,
        body: Any = b"",
        headers: Mapping[str, str] | None = None,
        *,
        sas: str | None = None,
        container: str = CONTAINER,
        **parameters: str,
    ) -> Answer:
        """One request as no client would send it, with a signature that allows everything unless one is given."""
        sas = self.container_sas(container=container) if sas is None else sas
        target = self.at(blob, sas, container=container, **parameters)
        return self.gate.ask(method, target, body, dict(headers or {}))

    def put(self, blob: str, body: Any = b"", headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """Put Blob."""
        return self.ask("PUT", blob, body, {"x-ms-blob-type": "BlockBlob"} | dict(headers or {}), **more)


@dataclass
class Accounts:
    """Makes accounts of one gate that runs; called as a function it makes one."""

    gate: Gate
    _own: Account | None = None

    def __call__(self, profile: Profile | None = None) -> Account:
        """One with this profile; without, the gate's own that may do everything."""
        if profile is not None:
            return self.new(profile)
        if self._own is None:
            self._own = self.new(Profile())
        return self._own

    def new(self, profile: Profile, name: str = "") -> Account:
        """One more signing key; `name` is an account's that has one already."""
        secret = secrets.token_bytes(64)
        account = name or f"acc{secrets.token_hex(6)}"
        key = f"azure-{secrets.token_hex(6)}"
        with self.gate.reloading():
            RingFile(self.gate.data).add(record_of(key, HMAC, profile, kid=account, secret=secret, scheme=AZURE))
        return Account(self.gate, account, base64.b64encode(secret).decode(), key)


def error_of(answer: Answer) -> dict[str, str]:
    """The members of an error document, in order; it has exactly Azure's shape."""
    assert answer.headers["content-type"] == "application/xml", answer
    assert answer.body.startswith(b'<?xml version="1.0" encoding="utf-8"?><Error><Code>'), answer
    members = {child.tag: child.text or "" for child in fromstring(answer.body)}
    assert list(members)[:2] == ["Code", "Message"]
    assert members["Code"] == answer.headers["x-ms-error-code"]
    _, request_id, when = members["Message"].rsplit("\n", 2)
    assert request_id == f"RequestId:{answer.headers['x-ms-request-id']}"
    assert when.startswith("Time:20")
    return members


def refused(answer: Answer) -> tuple[int, str]:
    """Status and Azure's code of a refusal."""
    return answer.status, error_of(answer)["Code"]


def code_of(error: HttpResponseError) -> str:
    """Azure's code, as the SDK's error has it."""
    found: Any = error  # set where it is raised, and in no declaration
    return str(getattr(found.error_code, "value", found.error_code))


def _until(seconds: float, terms: dict[str, Any]) -> dict[str, Any]:
    return {"expiry": datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)} | terms


def _once(options: dict[str, Any]) -> dict[str, Any]:
    """No retries: a test sees the first answer."""
    return {"retry_total": 0} | options


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """A gateway with default settings, shared by a module's tests, and its accounts; inspected at the end."""
    with Gate(tmp_path_factory.mktemp("azure")) as running:
        yield Accounts(running)
        inspect(running)


@pytest.fixture(scope="module")
def account(azure: Accounts) -> Account:
    """The same gateway's own account."""
    return azure()


@pytest.fixture(scope="module")
def gate(azure: Accounts) -> Gate:
    """The same gateway."""
    return azure.gate
