"""`valetstore check`: is everything as the gateway needs it, and does a proxy in front leave requests as they are?

Rule 1: it looks and leaves nothing behind: no data directory, no file that the gateway's user could not read.
Rule 2: what could not be looked at is a warning that says so, never an "ok".
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import click

from valetstore.cli import machine
from valetstore.cli.door import doors
from valetstore.cli.options import Settings, json_option, print_json, settings_options
from valetstore.cli.probe import probe
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.errors import ConfigInvalid
from valetstore.keys.ringfile import RingFile
from valetstore.signing import ArgumentInvalid, active_names, check_base_url

Verdict = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """One thing looked at, and what was found."""

    name: str
    verdict: Verdict
    text: str


@click.command("check", short_help="Check settings, keys, machine, and a proxy in front.")
@settings_options
@json_option
@click.option("--public-url", metavar="URL", help="Probe through this address; default: listen.public-url.")
def command(settings: Settings, public_url: str | None, as_json: bool) -> int:
    """Check the settings, the key ring, the machine, and what a proxy in front does to requests.

    The probes go through the public URL to the running gateway and need no more than that. Exit status 1 where
    something is a fault; warnings leave it 0.
    """
    config = settings.load()
    if public_url is not None:
        _check_url(public_url)
    findings = []
    for finding in _findings(config, public_url or config.listen.public_url):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.verdict:8} {finding.name}: {finding.text}")
    if as_json:
        print_json([finding._asdict() for finding in findings])
    return 1 if any(finding.verdict == "fault" for finding in findings) else 0


def _findings(config: Config, public_url: str) -> Iterator[Finding]:
    yield Finding("settings", "ok", "are well-formed")
    yield _keys(config)
    exists = config.data.is_dir()
    if not exists:
        yield Finding("data directory", "warning", f"{config.data} does not exist yet; `valetstore serve` makes it")
    for name, check, needs_data in _MACHINE:
        if needs_data and not exists:
            continue
        verdict, text = check(config)
        yield Finding(name, verdict, text)
    running = holder(config.data)
    if running is None:
        yield Finding("gateway", "warning", f"none is serving {config.data}, so requests were not probed")
        return
    if not running.addresses:
        yield Finding("gateway", "warning", "one is serving and has not written down where, so it was not asked")
        return
    yield Finding("gateway", "ok", f"process {running.pid} serves on {', '.join(running.addresses)}")
    if not public_url:
        yield Finding("proxy", "ok", "listen.public-url is not set, so none is expected")
    direct = next((url for url in doors(running.addresses) if url.startswith("http")), "")
    for label, url in (("gateway directly", direct), ("public URL", public_url)):
        if url:
            faults = probe(url, RingFile(config.data), direct=url is direct)
            yield Finding(label, "fault" if faults else "ok", "; ".join(faults) or f"{url} leaves requests as they are")
        elif label == "gateway directly":
            yield Finding(label, "warning", "was not probed: no address of it is HTTP, or HTTPS on loopback")


def _check_url(public_url: str) -> None:
    try:
        check_base_url(public_url)
    except ArgumentInvalid as wrong:
        raise ConfigInvalid(f"--public-url {public_url!r}: {wrong.why}") from None


def _keys(config: Config) -> Finding:
    try:
        ring = RingFile(config.data).load()
    except ConfigInvalid as error:
        return Finding("signing keys", "fault", str(error))
    active = active_names(ring)
    retired = [key.name for key in ring if not key.name.startswith("_") and key.name not in active]
    if not active and not retired:
        return Finding("signing keys", "warning", "there is none yet; the gateway makes `default` when it starts")
    ended = f"retired: {', '.join(retired)}" if retired else ""
    if not active:
        return Finding("signing keys", "warning", f"none is in force, so nothing can be signed; {ended}")
    return Finding("signing keys", "ok", "; ".join(filter(None, (", ".join(active), ended))))


# Each check, and whether it looks at the data directory.
_MACHINE: tuple[tuple[str, Callable[[Config], tuple[Verdict, str]], bool], ...] = (
    ("clock", machine.clock, False),
    ("file system", machine.volumes, True),
    ("free space", machine.free_space, True),
    ("file descriptors", machine.descriptors, False),
)
