"""`valetstore buckets`: list, create, delete."""

import click

from valetstore.cli.options import Settings, json_option, print_json, settings_options
from valetstore.errors import ConfigInvalid
from valetstore.storage.buckets import create_bucket, delete_bucket, list_buckets


@click.group("buckets")
def command() -> None:
    """Buckets: list, create, delete. A bucket exists when its folder does."""


@command.command("list")
@settings_options
@json_option
def list_(settings: Settings, as_json: bool) -> None:
    """List the buckets."""
    config = settings.load()
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
    created = create_bucket(config.data, config.buckets, bucket)
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
    if not delete_bucket(config.data, config.buckets, bucket):
        raise ConfigInvalid(f"bucket {bucket!r}: there is none of that name; `valetstore buckets list` shows them")
    if as_json:
        print_json({"bucket": bucket, "deleted": True})
    else:
        click.echo(f"Bucket {bucket} is deleted.")
