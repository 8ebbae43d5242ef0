"""`valetstore buckets`: list, create, delete.

Rule 1: an error names the bucket; what the settings or the bucket's content forbid is exit status 1.
Rule 2: a bucket's folder that root makes belongs to whoever owns the data directory, so that the daemon can use it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from valetstore.cli.options import Refused, Settings, check_served, json_option, print_json, settings_options
from valetstore.config import Config
from valetstore.errors import ConfigInvalid, Denied
from valetstore.keys.owner import hand_over_folder
from valetstore.objectkey import RESERVED_BUCKET
from valetstore.storage.buckets import create_bucket, delete_bucket, list_buckets


@click.group("buckets", short_help="Buckets: list, create, delete.")
def command() -> None:
    """Buckets: list, create, delete. A bucket exists when its folder does."""


@command.command("list")
@settings_options
@json_option
def list_(settings: Settings, as_json: bool) -> None:
    """List the buckets."""
    config = settings.load()
    with _named("", config):
        names = list_buckets(config.data, config.buckets)
    if as_json:
        print_json(names)
        return
    for name in names:
        click.echo(name)


@command.command("create")
@click.argument("bucket")
@settings_options
@json_option
def create(settings: Settings, bucket: str, as_json: bool) -> None:
    """Create BUCKET; harmless where it exists."""
    config = settings.load()
    with _named(bucket, config):
        created = create_bucket(config.data, config.buckets, bucket)
    if created:
        _hand_over(config, bucket)
    if as_json:
        print_json({"bucket": bucket, "created": created})
    else:
        click.echo(f"Bucket {bucket} {'is created' if created else 'exists already'}.")


@command.command("delete")
@click.argument("bucket")
@settings_options
@json_option
def delete(settings: Settings, bucket: str, as_json: bool) -> None:
    """Delete BUCKET, which must be empty."""
    config = settings.load()
    with _named(bucket, config):
        deleted = delete_bucket(config.data, config.buckets, bucket)
    if not deleted:
        raise ConfigInvalid(f"bucket {bucket!r}: there is none of that name; `valetstore buckets list` shows them")
    if as_json:
        print_json({"bucket": bucket, "deleted": True})
    else:
        click.echo(f"Bucket {bucket} is deleted.")


def _hand_over(config: Config, bucket: str) -> None:
    setting = config.buckets.get(bucket)
    folder = Path(setting.root) if setting and setting.root else config.data / "objects" / bucket
    try:
        hand_over_folder(folder, config.data)
    except OSError as error:
        raise ConfigInvalid(f"bucket {bucket!r}: {folder}: cannot be given away: {error.strerror}") from error


_SAID = {"conflict": "is not empty", "operation_not_allowed": "is read-only in the settings"}


@contextlib.contextmanager
def _named(bucket: str, config: Config) -> Iterator[None]:
    """Say what a store refuses as it reads on a command line: with the bucket's name, and nothing about keys."""
    check_served(config)
    try:
        yield
    except Denied as denied:
        if denied.code == "object_key_invalid":
            why = "is reserved: it is the gateway's own" if bucket == RESERVED_BUCKET else f"is none. {denied.detail}"
            raise ConfigInvalid(f"bucket name {bucket!r}: {why}") from None
        raise Refused(f"bucket {bucket!r}: {_SAID.get(denied.code, denied.detail or denied.text)}") from None
