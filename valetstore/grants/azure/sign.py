"""Sign for Azure Blob as its SDKs do: a service SAS for a blob, a container or a directory, and an account SAS.

Rule 1: the clock is the caller's, and so is whether the signing key's profile allows what is signed.
Rule 2: nothing of this is shared with what verifies, but the names of parameters: each would show the other's mistake.

Sources: Azure Storage REST reference, "Create a service SAS", "Create an account SAS".
"""

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from valetstore.grants.azure.claim import OVERRIDES

VERSION: Final = "2022-11-02"
"""`sv`: its layout is that of every version since 2020-12-06."""

_HEADER_PARAMETERS: Final = {header: name for name, header in OVERRIDES.items()}


class Key(NamedTuple):
    """Who signs: `secret` is the account key, decoded from base64."""

    account: str
    secret: bytes

    def __repr__(self) -> str:
        """Never shows the secret."""
        return f"Key({self.account!r})"


class Terms(NamedTuple):
    """What any SAS says: `permissions` as Azure orders them, times in whole seconds since the epoch.

    `addresses` is `sip`: one address, or two with a hyphen. `response` are headers of a download by lower-case name,
    of those in OVERRIDES; only a service SAS has them.
    """

    permissions: str
    expires_at: int
    starts_at: int | None = None
    addresses: str = ""
    https: bool = False
    response: Mapping[str, str] = {}


def blob_sas(key: Key, terms: Terms, container: str, blob: str) -> str:
    """A SAS for one blob, as a query without its `?`."""
    return _service_sas(key, terms, "b", f"{container}/{blob}", {})


def container_sas(key: Key, terms: Terms, container: str) -> str:
    """A SAS for all blobs of a container and the list of them."""
    return _service_sas(key, terms, "c", container, {})


def directory_sas(key: Key, terms: Terms, container: str, directory: str) -> str:
    """A SAS for all blobs below a directory, which is written without a slash at its end."""
    depth = len(directory.split("/"))
    return _service_sas(key, terms, "d", f"{container}/{directory}", {"sdd": str(depth)})


def account_sas(key: Key, terms: Terms, *, services: str = "b", resource_types: str = "sco") -> str:
    """A SAS for the account: services as letters of `bqtf`, resource types as letters of `sco`."""
    said = _common(terms) | {"ss": services, "srt": resource_types}
    order = ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")
    lines = [key.account, *(said.get(name, "") for name in order)]
    return _query(said, key, "".join(f"{line}\n" for line in lines))


def _service_sas(key: Key, terms: Terms, resource: str, path: str, further: Mapping[str, str]) -> str:
    response = {_HEADER_PARAMETERS[header]: value for header, value in terms.response.items()}
    said = _common(terms) | {"sr": resource, **further, **response}
    before = [said.get(name, "") for name in ("sp", "st", "se")]
    # No stored policy (si), no snapshot, no encryption scope (ses).
    after = ["", said.get("sip", ""), said.get("spr", ""), VERSION, resource, "", ""]
    after += [said.get(name, "") for name in ("rscc", "rscd", "rsce", "rscl", "rsct")]
    return _query(said, key, "\n".join([*before, f"/blob/{key.account}/{path}", *after]))


def _common(terms: Terms) -> dict[str, str]:
    said = {
        "sv": VERSION,
        "st": "" if terms.starts_at is None else _date(terms.starts_at),
        "se": _date(terms.expires_at),
        "sp": terms.permissions,
        "sip": terms.addresses,
        "spr": "https" if terms.https else "",
    }
    return {name: value for name, value in said.items() if value}


def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _query(said: Mapping[str, str], key: Key, text: str) -> str:
    signature = base64.b64encode(hmac.digest(key.secret, text.encode(), "sha256")).decode()
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in {**said, "sig": signature}.items())
