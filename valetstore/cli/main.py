"""`valetstore`: the command, its subcommands, and how any of them fails.

Exit status: 0 done; 1 refused or found wanting; 2 a setting, option or file is wrong; 3 the data directory
is served by another gateway; 4 an address is taken; 70 a fault of the program itself.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Final

import click

from valetstore import __version__
from valetstore.cli.options import Refused
from valetstore.errors import ConfigInvalid, Denied
from valetstore.signing import SigningRefused

DEBUG: Final = "VALETSTORE_DEBUG"
"""Set in the environment, an unforeseen failure of a command shows its traceback."""

# By name, so that `sign` does not import a web server.
_COMMANDS: Final[Mapping[str, str]] = {
    "serve": "valetstore.cli.serve",
    "keys": "valetstore.cli.keys",
    "sign": "valetstore.cli.sign",
    "inspect": "valetstore.cli.inspect",
    "buckets": "valetstore.cli.buckets",
    "revoke": "valetstore.cli.revoke",
    "check": "valetstore.cli.check",
    "scrub": "valetstore.cli.scrub",
    "repair": "valetstore.cli.repair",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name]).command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="valetstore")
def command() -> None:
    """A storage gateway that serves and accepts files only against a valid signed key."""


def main() -> None:
    """Run, and end with one sentence on stderr where something is wrong; never with a traceback."""
    try:
        status = command.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigInvalid as error:
        _fail(str(error), 2)
    except Denied as denied:
        # The table's sentences are for a client with a key; the detail is about what was named here.
        _fail(denied.detail or denied.text, 2)
    except SigningRefused as refused:
        _fail(f"refused: {refused}", 1)
    except Refused as refused:
        _fail(str(refused), 1)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        _fail(f"failed: {type(error).__name__}: {error}; set {DEBUG}=1 to see where", 70)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(sentence: str, status: int) -> None:
    click.echo(f"valetstore: {sentence}", err=True)
    sys.exit(status)
