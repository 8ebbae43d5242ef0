"""Signing keys of Swift as its users know them: an account and the text of a TempURL key."""

import shlex
from pathlib import Path
from typing import Final

import click

from valetstore.cli.vendors.maker import Given, Made, Maker, Place, checked, needed, one_line, refuse_shared
from valetstore.cli.vendors.names import secret_of
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.ring import KeyRecord
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import (
    HMAC,
    SWIFT,
    SWIFT_KEY_CHARACTERS_ENOUGH,
    check_swift_account,
    check_swift_key,
    new_swift_key,
)


def _create(name: str, profile: Profile, given: Given, place: Place) -> Made:
    account = checked("--account", check_swift_account, given.account or f"AUTH_{name}")
    if given.account is None:
        refuse_shared("--account", SWIFT, account, place.ring)
    key = new_swift_key()
    record = record_of(name, HMAC, profile, kid=account, secret=key.encode(), scheme=SWIFT)
    return Made(record, file=f"{key}\n")


def _take(name: str, profile: Profile, given: Given) -> KeyRecord:
    """A key of a cluster, as it is: URLs that its users have signed must go on to hold."""
    needed(SWIFT, {"--account": given.account, "--secret-file": given.secret_file})
    assert given.account is not None
    assert given.secret_file is not None
    account = checked("--account", check_swift_account, given.account)
    key = one_line("--secret-file", given.secret_file)
    try:
        check_swift_key(key)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--secret-file {given.secret_file}: {error}") from None
    if len(key) < SWIFT_KEY_CHARACTERS_ENOUGH:
        click.echo(
            f"note: the key has {len(key)} characters; fewer than {SWIFT_KEY_CHARACTERS_ENOUGH} can be guessed from "
            "one URL that it has signed: rotate to a longer one",
            err=True,
        )
    return record_of(name, HMAC, profile, kid=account, secret=key, scheme=SWIFT)


def _lines(made: Made, place: Place, file: Path | None) -> list[str]:
    record = made.record
    about = f"# Signing key {record.name} (Swift), account {record.kid}"
    key = secret_of(record)["key"] if file is None else f'"$(cat {shlex.quote(str(file))})"'
    where = f"what this prints goes after {place.likely}" if file is None else f"its key is in {file}"
    return [f"{about}; {where}", f"swift tempurl GET 3600 /v1/{record.kid}/CONTAINER/OBJECT {key}"]


MAKER: Final = Maker(_create, _take, _lines)
