"""`valetstore check`: is everything as the gateway needs it, and does a proxy in front leave requests as they are?"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import click

from valetstore.cli import machine
from valetstore.cli.options import Settings, json_option, print_json, settings_options
from valetstore.cli.probe import probe
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.errors import ConfigInvalid
from valetstore.keys.ringfile import RingFile

Verdict = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """One thing looked at, and what was found."""

    name: str
    verdict: Verdict
    text: str


@click.command("check")
@settings_options
@json_option
@click.option("--public-url", metavar="URL", help="Probe through this address; default: listen.public-url.")
def command(settings: Settings, public_url: str | None, as_json: bool) -> int:
    """Check the settings, the key ring, the machine, and what a proxy in front does to requests.

    The probes go through the public URL to the running gateway and need no more than that. Exit status 1 where
    something is a fault; warnings leave it 0.
    """
    config = settings.load()
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
    for name, check in _MACHINE:
        verdict, text = check(config)
        yield Finding(name, verdict, text)
    running = holder(config.data)
    if running is None:
        yield Finding("gateway", "warning", f"none is serving {config.data}, so requests were not probed")
        return
    yield Finding("gateway", "ok", f"process {running.pid} serves on {', '.join(running.addresses)}")
    direct = next((url for url in running.addresses if url.startswith("http")), "")
    if not public_url:
        yield Finding("proxy", "ok", "listen.public-url is not set, so none is expected")
    for label, url in (("gateway directly", direct), ("public URL", public_url)):
        if url:
            faults = probe(url, RingFile(config.data))
            yield Finding(label, "fault" if faults else "ok", "; ".join(faults) or f"{url} leaves requests as they are")


def _keys(config: Config) -> Finding:
    try:
        ring = RingFile(config.data).load()
    except ConfigInvalid as error:
        return Finding("signing keys", "fault", str(error))
    names = [key.name for key in ring if not key.name.startswith("_")]
    if not names:
        return Finding("signing keys", "warning", "there is none yet; the gateway makes `default` when it starts")
    return Finding("signing keys", "ok", ", ".join(names))


_MACHINE: tuple[tuple[str, Callable[[Config], tuple[Verdict, str]]], ...] = (
    ("clock", machine.clock),
    ("file system", machine.volumes),
    ("free space", machine.free_space),
    ("file descriptors", machine.descriptors),
)
