"""What Azure's clients are pointed at: a gateway with one account, and signatures as its users make them."""

import contextlib
import datetime
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from azure.storage.blob import BlobServiceClient, generate_account_sas, generate_container_sas

from tests.gate import Gate
from tests.interop.signers import make_key

_numbers = itertools.count()


class AzureHouse(NamedTuple):
    """A gateway, and the account's name and key as the command line printed them."""

    gate: Gate
    name: str
    key: str

    @property
    def url(self) -> str:
        """Where the account is: path style, as an emulator's."""
        return f"{self.gate.base}/{self.name}"

    def account_sas(self, permission: str = "rwdlac") -> str:
        """A signature for all of the account."""
        signed: str = generate_account_sas(self.name, self.key, "sco", permission, _soon())
        return signed

    def container_sas(self, container: str, permission: str = "racwdl") -> str:
        """A signature for one container and its blobs."""
        signed: str = generate_container_sas(
            self.name, container, account_key=self.key, permission=permission, expiry=_soon()
        )
        return signed

    def service(self, **options: Any) -> BlobServiceClient:
        """The SDK's client of the account."""
        return BlobServiceClient(self.url, credential=self.account_sas(), retry_total=0, **options)


def _soon() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=10)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[AzureHouse]:
    """A gateway in `folder`, its account made by the command that operators use."""
    made = make_key(folder, "azure")
    with Gate(folder) as gate:
        yield AzureHouse(gate, made["account_name"], made["account_key"])


def new_container() -> str:
    """The name of a container that is not there yet."""
    return f"container-{next(_numbers)}"
