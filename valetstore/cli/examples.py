"""Signed curl lines for a first try: an upload, a download, a one-time download."""

import shlex
from typing import Final

import click

from valetstore.cli.address import default_base_url
from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.keys.ringfile import RingFile
from valetstore.signing import Signer, active_names, sign

SECONDS: Final = 900
_PATH: Final = "/photos/hello.txt"


def print_examples(config: Config) -> None:
    """Print them, signed with the key `default` for 15 minutes, against the gateway that runs."""
    ring = RingFile(config.data)
    if "default" not in active_names(ring.load()):
        return
    signer = Signer.from_ring(ring, "default")
    try:
        base = default_base_url(config)
    except ConfigInvalid:  # only a Unix socket: no URL leads there
        return

    def signed(method: str, uses: int | None = None) -> str:
        return shlex.quote(sign(signer, method, _PATH, expires=SECONDS, base_url=base, uses=uses))

    click.echo("\n# Try it (these keys are good for 15 minutes):")
    click.echo("# upload")
    click.echo(f"echo 'Hello, valet.' | curl -T - {signed('PUT')}")
    click.echo("# download")
    click.echo(f"curl {signed('GET')}")
    click.echo("# download, once: the second time it answers key_used")
    click.echo(f"curl {signed('GET', uses=1)}\n")
