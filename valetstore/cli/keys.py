"""`valetstore keys`: create, import, list, show, retire signing keys. A running gateway notices at once.

Rule 1: a secret is printed when it is made and when it is asked for, never otherwise.
Rule 2: names that begin with `_` are the gateway's own; no command here touches them.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from valetstore.cli import import_key, session
from valetstore.cli.options import (
    Duration,
    Settings,
    json_option,
    new_file,
    print_json,
    settings_options,
)
from valetstore.cli.profile import described, limits_in_words, make_profile, profile_options
from valetstore.cli.taken import wait_until_taken
from valetstore.cli.vendors import making
from valetstore.cli.vendors.names import in_words, names_of, secret_of
from valetstore.cli.vendors.options import CREATE, SCHEME_OPTION, create_options, given_of, refuse_others
from valetstore.encoding import http_date
from valetstore.errors import ConfigInvalid
from valetstore.keys.material import (
    ALGORITHMS,
    private_pem,
)
from valetstore.keys.private import write_private
from valetstore.keys.ring import NATIVE, KeyRecord, check_not_reserved
from valetstore.keys.ringfile import RingFile, new_record, unknown_name
from valetstore.keys.vendor import VENDORS
from valetstore.units import show_duration

_USUAL: Final = "HS256"


@click.group("keys", short_help="Signing keys: create, import, list, show, retire; sessions.")
def command() -> None:
    """Signing keys: create, import, list, show, retire; temporary credentials of one for S3."""


command.add_command(import_key.command)
command.add_command(session.command)


@command.command("create", short_help="Create a signing key.")
@click.argument("name")
@settings_options
@json_option
@SCHEME_OPTION
@click.option("--alg", type=click.Choice(list(ALGORITHMS)), help=f"JWS algorithm.  [default: {_USUAL}]")
@profile_options
@click.option(
    "--private-out",
    metavar="FILE",
    help="Write the private key there; keep no copy.",
)
@create_options
def create(settings: Settings, name: str, scheme: str, as_json: bool, **said: Any) -> None:
    """Create a signing key NAME.

    What the options say is its profile: what keys signed by it may do at most. HS256 has one secret for signing
    and checking; for the others the gateway keeps the public half, and the private half beside the ring for `sign`
    on this machine, or in --private-out FILE alone.

    With another --scheme it is what that vendor's users sign with, printed as their tools take it: an access key id
    and a secret (s3), a service account's file or an HMAC key (gcs), an account and its key (azure, swift), a key pair
    id and a private key (cloudfront). What its users take away goes to --out FILE, alone; without it, files stay
    beside the ring.
    """
    check_not_reserved(name)
    refuse_others(scheme, CREATE, said)
    alg, private_out, out, given = said.pop("alg"), said.pop("private_out"), said.pop("out"), given_of(said)
    if scheme == NATIVE:
        _create_native(settings, name, alg or _USUAL, private_out, as_json, said)
    else:
        making.create(settings, name, scheme, given, out, as_json, said)


def _create_native(
    settings: Settings, name: str, alg: str, private_out: str | None, as_json: bool, limits: dict[str, Any]
) -> None:
    data = settings.load().data
    ring = RingFile(data)
    record, private = new_record(name, alg, make_profile(**limits))
    if private is None and private_out is not None:
        raise ConfigInvalid("--private-out: HS256 has no private half; take EdDSA, ES256 or RS256")
    pem = None if private is None else private_pem(private)
    out = None if private_out is None else new_file("--private-out", private_out)
    if pem is not None and out is not None:
        write_private(out, pem.encode())
    try:
        made = ring.add(record, None if out else pem)
    except ConfigInvalid:
        if pem is not None and out is not None:
            out.unlink(missing_ok=True)
        raise
    wait_until_taken(data, made)
    kept = None if pem is None else (out or ring.private_path(name)).absolute()
    if as_json:
        print_json(_created(record, kept))
        return
    click.echo(f"Created signing key {name} ({alg}).")
    if record.secret is not None:
        click.echo(f"secret (base64url): {record.secret}")
    else:
        click.echo(f"{record.public_key}private key: {kept}")


@command.command("list")
@settings_options
@json_option
def list_(settings: Settings, as_json: bool) -> None:
    """List the signing keys."""
    records = [key.record for key in RingFile(settings.load().data).load() if not key.name.startswith("_")]
    if as_json:
        print_json([described(record) for record in records])
        return
    if not records:
        click.echo("There is no signing key yet; `valetstore serve` or `valetstore keys create` makes one.", err=True)
    else:
        _print_table(records)


@command.command("show", short_help="Show a signing key.")
@click.argument("name")
@settings_options
@json_option
@click.option("--secret", "with_secret", is_flag=True, help="Print a shared secret too, where it has one.")
def show(settings: Settings, name: str, with_secret: bool, as_json: bool) -> None:
    """Show the signing key NAME: its public half, its state, its profile."""
    check_not_reserved(name)
    key = RingFile(settings.load().data).load().named(name)
    if key is None:
        raise unknown_name(name)
    record = key.record
    about = described(record)
    secret = secret_of(record) if with_secret else {}
    if as_json:
        print_json(about | secret)
        return
    key_id = in_words(names_of(record).key_id)
    kind = f"{record.algorithm if record.scheme == NATIVE else VENDORS[record.scheme].title}, {key_id}"
    click.echo(f"{record.name}: {kind} {record.kid}, {_state(record)}")
    click.echo(f"created {http_date(record.created_at)}")
    click.echo(f"allows {limits_in_words(record.profile)}")
    if record.public_key:
        click.echo(record.public_key, nl=False)
    for member, value in secret.items():
        click.echo(f"{in_words(member)}{' (base64url)' if record.scheme == NATIVE else ''}: {value}")


@command.command("retire", short_help="Retire a signing key, at once or after a while.")
@click.argument("name")
@settings_options
@json_option
@click.option("--after", type=Duration(), default="0", help="How long its keys still open; 0 is at once.")
def retire(settings: Settings, name: str, after: int, as_json: bool) -> None:
    """Retire the signing key NAME: keys it signed are refused, at once or --after a while.

    To rotate: create a new signing key, sign with it, then retire the old one after the longest life of its keys.
    What is retired stays so; a later end than the one that is set is refused.
    """
    at = int(time.time()) + after
    data = settings.load().data
    wait_until_taken(data, RingFile(data).retire(name, at))
    if as_json:
        print_json({"name": name, "retires_at": at})
    else:
        click.echo(f"Signing key {name} is retired{f' in {show_duration(after)}' if after else ''}.")


def _created(record: KeyRecord, private: Path | None) -> dict[str, object]:
    """What an application needs to mint keys with its own JWT library, or with `valetstore.Signer`."""
    about: dict[str, object] = {"name": record.name, "kid": record.kid, "alg": record.algorithm}
    if record.secret is not None:
        about["secret"] = record.secret
    else:
        about |= {"public_key": record.public_key, "private_key_file": str(private)}
    return about | {"profile": record.profile}


def _print_table(records: Sequence[KeyRecord]) -> None:
    """One line for each, below the heads; scheme and key id only where one's is not the usual."""
    rows = [("NAME", "SCHEME", "KID", "ALG", "STATE", "ALLOWS")]
    rows += [(r.name, r.scheme, r.kid, r.algorithm, _state(r), limits_in_words(r.profile)) for r in records]
    shown = [0, 3, 4]
    shown += [1] if any(r.scheme != NATIVE for r in records) else []
    shown += [2] if any(r.kid != r.name for r in records) else []
    widths = {column: max(len(row[column]) for row in rows) for column in sorted(shown)}
    for row in rows:
        cells = [row[column].ljust(width) for column, width in widths.items()]
        click.echo("  ".join([*cells, row[5]]))


def _state(record: KeyRecord) -> str:
    if record.retires_at is None:
        return "active"
    left = record.retires_at - time.time()
    return f"retires in {show_duration(left)}" if left > 0 else "retired"
