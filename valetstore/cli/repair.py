"""`valetstore repair`: go on after the logs of used or revoked keys were damaged or lost.

Rule 1: nothing is forgiven. What can still be read stays used and revoked, and of limited keys that were issued
before the repair, none is believed to be unused.
Rule 2: the damaged file is set aside, never deleted; and nothing happens unless `--yes` says so.
"""

import time

import click

from valetstore.cli.options import (
    Settings,
    check_served,
    check_user,
    json_option,
    print_json,
    settings_options,
)
from valetstore.config import Config
from valetstore.datalock import DataHeld, DataLock
from valetstore.keys.ringfile import RingFile
from valetstore.owner import revocations
from valetstore.owner.offline import troubles
from valetstore.owner.owner import logs_are_expected
from valetstore.replay import logged

EXIT_HELD = 3


@click.command("repair", short_help="Start anew where the log of used or revoked keys is damaged.")
@settings_options
@json_option
@click.option("--yes", is_flag=True, help="Do it; without, only say what is damaged (exit status 1).")
def command(settings: Settings, yes: bool, as_json: bool) -> int:
    """Find out whether the logs of used and revoked keys are whole and, with --yes, start damaged ones anew.

    While the replay log is damaged, keys with limited uses are answered 503; while the revocations are, all keys
    are. A repair keeps every record that can still be read and sets the damaged file aside. What it cannot bring
    back: a limited key issued before the repair is refused from then on, since nobody can know whether it was used;
    and what was revoked in the damaged part has to be revoked again.

    The gateway must not be running.
    """
    config = settings.load()
    check_served(config)
    check_user(config, "repair")
    try:
        with DataLock(config.data):
            damaged = _damaged(config)
            done = _repair(config, damaged) if yes else []
    except DataHeld as held:
        click.echo(f"valetstore: {held}", err=True)
        return EXIT_HELD
    if as_json:
        print_json({"damaged": damaged, "done": done})
    else:
        for sentence in [*damaged.values(), *done]:
            click.echo(sentence)
        if not damaged:
            click.echo("The logs of used and revoked keys are whole.")
        elif not yes:
            click.echo("Nothing was changed; --yes repairs.", err=True)
    return 1 if damaged and not yes else 0


def _damaged(config: Config) -> dict[str, str]:
    """What is wrong, by log; {} where all is well."""
    expected = logs_are_expected(config, RingFile(config.data).load())
    return troubles(config.data / "state", expected=expected, now=time.time(), skew=config.keys.clock_skew_seconds)


def _repair(config: Config, damaged: dict[str, str]) -> list[str]:
    folder, now = config.data / "state", time.time()
    done = []
    if "replay" in damaged:
        done.append(logged.repair(folder, now, config.keys.clock_skew_seconds))
    if "revocations" in damaged:
        done.append(revocations.repair(folder, now))
    return done
