"""A change of the key ring, and the gateway that runs: whoever made a key may use it at once."""

import time
from pathlib import Path
from typing import Final

import click

from valetstore.datalock import holder
from valetstore.keys.ring import KeyRing

PATIENCE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.02


def wait_until_taken(data: Path, ring: KeyRing) -> None:
    """Return once the gateway of this data directory goes by that ring, at once where none runs.

    One that does not take it in time is told of on stderr: the change is made all the same.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := holder(data)) is not None and found.generation < ring.generation:
        if time.monotonic() > deadline:
            click.echo("note: the running gateway has not taken the change yet; its log says why", err=True)
            return
        time.sleep(_PAUSE_SECONDS)
