"""What the tests of S3 share: a gate that has signing keys of S3's, and clients as applications make them.

`s3()` is a client with a key that may do everything; `s3(profile=Profile(...))` one with a key of its own;
`s3(s3={"addressing_style": "virtual"}, ...)` gives botocore's Config further settings. `Clients(gate)` makes clients
of any other gate that runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import boto3
import pytest
from botocore.config import Config

from tests.edge.conftest import inspect
from tests.gate import Gate
from valetstore.grants.grant import Profile
from valetstore.keys.ringfile import RingFile, record_of
from valetstore.keys.vendor import HMAC, S3, new_access_key_id, new_secret_access_key

REGION: Final = "us-east-1"


class Credentials(NamedTuple):
    """What a user of S3 holds. `token` is a session's, None for a signing key itself."""

    access_key_id: str
    secret_access_key: str
    token: str | None = None


@dataclass
class Clients:
    """Makes clients of one gate that runs; called as a function it makes one."""

    gate: Gate
    session: boto3.session.Session = field(default_factory=boto3.session.Session)
    _credentials: Credentials | None = None

    def __call__(
        self,
        *,
        profile: Profile | None = None,
        credentials: Credentials | None = None,
        endpoint: str = "",
        region: str = REGION,
        verify: str | bool | None = None,
        **config: Any,
    ) -> Any:
        """A boto3 client: no retries, path style unless told otherwise."""
        settings: dict[str, Any] = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}}
        if credentials is None:
            credentials = self.credentials(profile)
        return self.session.client(
            "s3",
            endpoint_url=endpoint or self.gate.base,
            region_name=region,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.token,
            verify=verify,
            config=Config(**(settings | config)),
        )

    def credentials(self, profile: Profile | None = None) -> Credentials:
        """Those of a new signing key with this profile; without one, of the gate's own that may do everything."""
        if profile is None:
            if self._credentials is None:
                self._credentials = self._new(Profile())
            return self._credentials
        return self._new(profile)

    def _new(self, profile: Profile) -> Credentials:
        made = Credentials(new_access_key_id(), new_secret_access_key())
        record = record_of(
            f"s3-{made.access_key_id.lower()}",
            HMAC,
            profile,
            kid=made.access_key_id,
            secret=made.secret_access_key.encode(),
            scheme=S3,
        )
        with self.gate.reloading():
            RingFile(self.gate.data).add(record)
        return made


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """A gateway with default settings, shared by a module's tests, and its clients; inspected at the end."""
    with Gate(tmp_path_factory.mktemp("s3")) as running:
        yield Clients(running)
        inspect(running)


@pytest.fixture(scope="module")
def gate(s3: Clients) -> Gate:
    """The same gateway, for requests that no client would send."""
    return s3.gate
