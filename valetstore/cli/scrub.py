"""`valetstore scrub`: read everything again, compare with the digests kept at upload.

Root sets nothing aside in another's data directory: the folders would be root's, and shut the gateway out.
"""

import sys
import time

import click

from valetstore.cli.options import (
    Settings,
    Size,
    check_served,
    check_user,
    json_option,
    print_json,
    settings_options,
)
from valetstore.storage.scrub import Report, Scrub
from valetstore.units import show_size

_PROGRESS_SECONDS = 0.5


class _Progress:
    """One line on stderr that is written over, where stderr is a terminal; else a line now and then."""

    def __init__(self) -> None:
        self._started = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._every = _PROGRESS_SECONDS if self._terminal else 20 * _PROGRESS_SECONDS

    def __call__(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._shown < self._every:
            return
        self._shown = now
        objects = report.sound + report.edited + report.foreign + len(report.bad)
        rate = show_size(int(report.bytes_read / (now - self._started)))
        line = f"{objects} objects, {show_size(report.bytes_read)} read ({rate}/s), {len(report.bad)} bad"
        click.echo(f"\r{line}\033[K" if self._terminal else line, err=True, nl=not self._terminal)

    def end(self) -> None:
        """Leave the terminal on a fresh line."""
        if self._terminal:
            click.echo("\r\033[K", err=True, nl=False)


@click.command("scrub", short_help="Compare all objects with the digests kept at upload.")
@settings_options
@json_option
@click.option("--rate", type=Size(minimum=1), metavar="BYTES", help="Read at most so many bytes a second, as 20MiB.")
@click.option("--dry-run", is_flag=True, help="Report bad objects and leave them where they are.")
def command(settings: Settings, rate: int | None, dry_run: bool, as_json: bool) -> int:
    """Re-read all objects and compare them with the digests kept when they were uploaded.

    A bad object is set aside below DATA/state/quarantine and reported. Files that were edited in place, or came
    without metadata, are counted and not judged. May run beside the gateway. Exit status 1 where a bad one was found.
    """
    config = settings.load()
    check_served(config)
    if not dry_run:
        check_user(config, "scrub")
    progress = _Progress()
    scrub = Scrub(config.data, config.buckets, bytes_per_second=rate, set_aside=not dry_run, progress=progress)
    try:
        report = scrub.run()
    finally:
        progress.end()
    if as_json:
        print_json(report)
    else:
        _tell(report)
    return 1 if report.bad else 0


def _tell(report: Report) -> None:
    for bad in report.bad:
        where = f"set aside as {bad.set_aside}" if bad.set_aside else "left where it is"
        click.echo(f"/{bad.bucket}/{bad.name}: {bad.reason}; {where}")
    click.echo(
        f"{report.sound} sound, {len(report.bad)} bad, {report.edited} edited in place, "
        f"{report.foreign} without a digest; {show_size(report.bytes_read)} read"
    )
