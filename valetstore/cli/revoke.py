"""`valetstore revoke`: refuse keys from now on, list what is refused, take it back.

Rule: a key that was pasted is not shown again.
"""

import re
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import click
import msgspec

from valetstore.cli.keeper import Entry, Keeper, Wanted, with_keeper
from valetstore.cli.options import Settings, check_served, json_option, plain, print_json, settings_options
from valetstore.datalock import DataHeld
from valetstore.encoding import http_date
from valetstore.errors import ConfigInvalid
from valetstore.policy.wanted import moment_of

EXIT_HELD: Final = 3

_STDIN_BYTES_MAX: Final = 65_536
_IDENTITY: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_EPOCH: Final = re.compile(r"[0-9]{9,11}(?:\.[0-9]{1,6})?", re.ASCII)


@click.command("revoke", short_help="Refuse keys from now on; list, undo.")
@click.argument("key", required=False)
@settings_options
@json_option
@click.option("--signing-key", metavar="NAME", help="Every key that this signing key has signed or will sign.")
@click.option("--subject", metavar="WHO", help="Every key for this subject (`sub`).")
@click.option("--prefix", metavar="/BUCKET/FOLDER/", help="Every request for an object below.")
@click.option("--issued-before", metavar="WHEN", help="Only keys issued before: `now`, a date, or epoch seconds.")
@click.option("--reason", metavar="TEXT", help="Why; kept with the entry, and told to no client.")
@click.option("--list", "list_", is_flag=True, help="Show what is revoked, the newest last.")
@click.option("--undo", metavar="ID", help="Take the entry of this id back.")
def command(settings: Settings, as_json: bool, **options: Any) -> int:
    """Refuse a key, or many, from now on.

    KEY is what was handed out: the URL, the token, an Authorization or Cookie line, JSON with `url` and a form's
    `fields` or `cookies`; or the 32 digits by which the audit and `inspect` name it. `-` reads it from stdin: other
    users of this machine see what stands on a command line.

    A key without an issue time counts as issued before any WHEN. When the command returns, the revocation holds in
    every worker of a running gateway, and outlasts restarts; one key's entry goes 15 minutes after that key's end.
    """
    action = _action(options)
    config = settings.load()
    check_served(config)
    try:
        return with_keeper(config, lambda keeper: _act(keeper, action, options, as_json))
    except DataHeld as held:
        click.echo(f"valetstore: {held}", err=True)
        return EXIT_HELD


def _action(options: Mapping[str, Any]) -> str:
    """What is asked for; a usage error unless it is exactly one thing."""
    adding = [name for name in ("key", "signing_key", "subject", "prefix") if options[name] is not None]
    given = [*adding, *(name for name in ("list_", "undo") if options[name])]
    if len(given) != 1:
        raise click.UsageError("Give exactly one of KEY, --signing-key, --subject, --prefix, --list and --undo.")
    if not adding and (options["issued_before"] is not None or options["reason"] is not None):
        raise click.UsageError("--issued-before and --reason belong to KEY, --signing-key, --subject or --prefix.")
    return "add" if adding else given[0].removesuffix("_")


def _act(keeper: Keeper, action: str, options: Mapping[str, Any], as_json: bool) -> int:
    if action == "list":
        _show_all(keeper.entries(), as_json)
    elif action == "undo":
        _undo(keeper, options["undo"], as_json)
    else:
        entry, is_new = keeper.add(_wanted(options))
        if as_json:
            print_json(msgspec.to_builtins(entry))
        else:
            _tell(entry, is_new)
    return 0


def _wanted(options: Mapping[str, Any]) -> Wanted:
    key = sys.stdin.read(_STDIN_BYTES_MAX).strip() if options["key"] == "-" else options["key"]
    is_identity = key is not None and _IDENTITY.fullmatch(key) is not None
    return Wanted(
        key=None if is_identity else key,
        identity=key.lower() if is_identity else None,
        signing_key=options["signing_key"],
        subject=options["subject"],
        prefix=options["prefix"],
        issued_before=None if options["issued_before"] is None else _moment(options["issued_before"]),
        reason=options["reason"],
    )


def _moment(text: str) -> float:
    if text == "now":
        return time.time()
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        return moment_of(text)
    except ValueError:
        raise ConfigInvalid(
            f"--issued-before {text!r}: must be `now`, a date with a zone (2026-11-21T16:00:00Z) or epoch seconds"
        ) from None


def _undo(keeper: Keeper, entry_id: str, as_json: bool) -> None:
    if not keeper.undo(entry_id):
        raise ConfigInvalid(f"--undo {entry_id!r}: there is no such revocation; `valetstore revoke --list` shows them")
    if as_json:
        print_json({"id": entry_id, "undone": True})
    else:
        click.echo(f"Revocation {entry_id} is undone.")


def _tell(entry: Entry, is_new: bool) -> None:
    click.echo(f"{'Revoked' if is_new else 'Revoked already'}: {_named(entry)}.")
    if entry.expires_at is not None:
        kept = f"until {http_date(int(entry.expires_at))}, when the key has ended by itself"
    elif entry.kind == "key" or entry.issued_before is None:
        kept = "until it is undone"
    else:
        kept = "until it is undone, or nothing that was issued by then can be valid any longer (keys create --ttl-max)"
    click.echo(f"Kept {kept}. To take it back: valetstore revoke --undo {entry.id}")


def _named(entry: Entry) -> str:
    """What an entry refuses, in words."""
    value = plain(entry.value)
    what = {
        "key": f"key {value}",
        "signing-key": f"keys of the signing key {value}",
        "subject": f"keys for the subject {value}",
        "prefix": f"keys for what lies below {value}",
    }[entry.kind]
    if entry.issued_before is None:
        return what
    return f"{what}, issued before {http_date(int(entry.issued_before))}"


def _show_all(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(entries))
        return
    for entry in entries:
        until = f", until {http_date(int(entry.expires_at))}" if entry.expires_at is not None else ""
        reason = f": {plain(entry.reason)}" if entry.reason else ""
        click.echo(
            f"{entry.id}  {http_date(int(entry.created_at))}  {_named(entry)}{until} [{plain(entry.by)}]{reason}"
        )
    if not entries:
        click.echo("Nothing is revoked.", err=True)
