"""`valetstore buckets`: list, create, delete."""

import click

from valetstore.cli.options import Settings, json_option, print_json, settings_options
from valetstore.storage.buckets import create_bucket, delete_bucket, list_buckets


@click.group("buckets")
def command() -> None:
    """Buckets: a bucket exists when its folder does."""
