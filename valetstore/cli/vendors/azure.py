"""Signing keys of Azure Blob as its users know them: an account, its key in base64, a connection string.

Rule: a connection string that is printed has a BlobEndpoint: without one an SDK would talk to Azure.
"""

import base64
import binascii
from pathlib import Path
from typing import Final

from valetstore.cli.options import read_file
from valetstore.cli.vendors.maker import Given, Made, Maker, Place, checked, one_line, refuse_shared
from valetstore.cli.vendors.names import secret_of
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.ring import KeyRecord
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import (
    AZURE,
    HMAC,
    account_name_from,
    check_account_key,
    check_account_name,
    new_account_key,
)

_NOT_BASE64: Final = "the account key is not base64, as Azure shows it"


def connection_string(record: KeyRecord, endpoint: str) -> str:
    """What Azure's SDKs and tools take in place of a URL and a key; the account is the first part of the path."""
    members = {
        "DefaultEndpointsProtocol": endpoint.partition("://")[0],
        "AccountName": record.kid,
        "AccountKey": secret_of(record)["account_key"],
        "BlobEndpoint": f"{endpoint}/{record.kid}",
    }
    return ";".join(f"{name}={value}" for name, value in members.items()) + ";"


def _create(name: str, profile: Profile, given: Given, place: Place) -> Made:
    if given.account is None:
        account = checked("--account", account_name_from, name)
        refuse_shared("--account", AZURE, account, place.ring)
    else:
        account = checked("--account", check_account_name, given.account)
    record = record_of(name, HMAC, profile, kid=account, secret=new_account_key(), scheme=AZURE)
    text = connection_string(record, place.likely)
    known = connection_string(record, place.endpoint) if place.endpoint else None
    return Made(record, file=f"{text}\n", members=(("connection_string", known),))


def _take(name: str, profile: Profile, given: Given) -> KeyRecord:
    """From an account and its key, or from a connection string."""
    if given.connection_string_file is not None:
        if given.account is not None or given.account_key_file is not None:
            raise ConfigInvalid("--connection-string-file: says --account and --account-key-file; leave them away")
        account, key = _connection(given.connection_string_file)
        return record_of(name, HMAC, profile, kid=account, secret=key, scheme=AZURE)
    if given.account is None or given.account_key_file is None:
        raise ConfigInvalid(
            "keys import --scheme azure: needs --account and --account-key-file, or --connection-string-file"
        )
    account = checked("--account", check_account_name, given.account)
    text = one_line("--account-key-file", given.account_key_file)
    try:
        key = _decoded(text)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--account-key-file {given.account_key_file}: {error}") from None
    return record_of(name, HMAC, profile, kid=account, secret=key, scheme=AZURE)


def _connection(path: Path) -> tuple[str, bytes]:
    """Account and decoded key of a connection string, whose names are read in any case. Raises ConfigInvalid."""
    text = read_file("--connection-string-file", path).decode("utf-8", "replace").strip()
    pairs = (part.partition("=") for part in text.split(";"))
    members = {name.strip().lower(): value.strip() for name, _, value in pairs}
    account, key = members.get("accountname"), members.get("accountkey")
    try:
        if not account or not key:
            raise ConfigInvalid("is not a connection string with AccountName and AccountKey")
        return check_account_name(account), _decoded(key.encode())
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--connection-string-file {path}: {error}") from None


def _decoded(text: bytes) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigInvalid(_NOT_BASE64) from None
    return check_account_key(key)


def _lines(made: Made, place: Place, file: Path | None) -> list[str]:
    record = made.record
    about = f"# Signing key {record.name} (Azure Blob), account {record.kid}"
    if file is not None:
        return [f"{about}; its connection string is in {file}"]
    return [
        f"{about}, as a connection string:",
        connection_string(record, place.likely),
        f"# account key: {secret_of(record)['account_key']}",
    ]


MAKER: Final = Maker(_create, _take, _lines)
