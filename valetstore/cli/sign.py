"""`valetstore sign`: mint a key and print the URL that carries it.

Rule 1: what is wrong is named as it was typed: the option or argument, its value, and what is allowed.
Rule 2: a signing key is chosen for the user only where there is one that could be meant.
"""

import re
import time
from datetime import datetime
from typing import Any, Final, cast

import click

from valetstore.cli.budget import budget_option
from valetstore.cli.door import reachable
from valetstore.cli.options import (
    Duration,
    Settings,
    SizeRange,
    comma_list,
    json_option,
    print_json,
    settings_options,
)
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.errors import ConfigInvalid, Denied
from valetstore.keys.ring import check_not_reserved
from valetstore.keys.ringfile import RingFile
from valetstore.signing import (
    OPERATION_OF,
    ArgumentInvalid,
    Signer,
    Terms,
    active_names,
    check_base_url,
    claims_for,
    token_for,
    url_for,
)
from valetstore.units import parse_duration

_OPTION_OF: Final = {
    "method": "METHOD",
    "path": "PATH",
    "networks": "--ip",
    "types": "--type",
    "base_url": "--base-url",
}
"""What `sign` calls an argument and a user calls otherwise; the others are options of the same name."""


class _Method(click.ParamType[Any]):
    """One of OPERATION_OF, in any case; click's own Choice would show it in lower case."""

    name = "method"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.upper() not in OPERATION_OF:
            self.fail(f"{value!r}: must be one of {', '.join(OPERATION_OF)}", param, ctx)
        return str(value.upper())


_TERMS: Final = (
    click.option("--start", metavar="T", help="Not before: a duration from now, or a date (2026-11-21T16:00:00Z)."),
    click.option("--prefix", is_flag=True, help="PATH ends in a slash; open everything below it."),
    click.option("--once", is_flag=True, help="One use."),
    click.option("--uses", type=click.IntRange(min=1), metavar="N", help="N uses."),
    click.option(
        "--window",
        type=Duration(),
        default="0",
        help="How long a use may be repeated from one address; needs --once or --uses.",
    ),
    budget_option("What the key may ask for"),
    click.option("--length", type=SizeRange(), metavar="MIN-MAX", help="Length of an upload, as 1-10MiB."),
    click.option("--type", "types", multiple=True, callback=comma_list, help="Content type allowed, as image/*."),
    click.option("--ip", "networks", multiple=True, callback=comma_list, metavar="CIDR", help="Source network."),
    click.option("--https", is_flag=True, help="Only over TLS."),
    click.option("--create-only", is_flag=True, help="Never replace an object."),
    click.option("--sha256", metavar="HEX", help="The upload must have this digest."),
    click.option("--filename", metavar="NAME", help="The name a browser saves a download under."),
    click.option(
        "--inline",
        is_flag=True,
        help="Show a download in the browser rather than save it; active types (HTML, SVG, XML) are always saved.",
    ),
    click.option("--sub", "subject", metavar="WHO", help="Whom the key is for; goes to the audit."),
    click.option("--aud", "audience", metavar="NAME", help="The gateway it is for; default: keys.audience."),
)


def terms_options(function: Any) -> Any:
    """The options that make `Terms`, given to the command as its members."""
    for option in reversed(_TERMS):
        function = option(function)
    return function


@click.command("sign", short_help="Sign a key and print the URL that carries it.")
@click.argument("method", type=_Method(), metavar="|".join(OPERATION_OF))
@click.argument("path")
@settings_options
@json_option
@click.option("--expires", type=Duration(), default="15m", show_default=True, help="How long it is valid.")
@terms_options
@click.option("--key", metavar="NAME", help="Signing key; default: `default`, or the only one in force.")
@click.option("--base-url", metavar="URL", help="What the printed URL starts with.")
@click.option("--header", "as_header", is_flag=True, help="Print an Authorization header instead of a URL.")
def command(
    settings: Settings,
    method: str,
    path: str,
    expires: int,
    key: str | None,
    base_url: str | None,
    as_header: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Sign a key for METHOD (GET, HEAD, PUT, DELETE, LIST) on PATH and print the URL that carries it.

    PATH is /bucket/name as it is, not percent-encoded; for LIST, and with --prefix, it ends in a slash. What the
    signing key's profile forbids is refused here, with the reason (exit status 1).
    """
    config = settings.load()
    terms = _terms(config.keys.audience, **said)
    ring = RingFile(config.data)
    signer = Signer.from_ring(ring, _usual_key(ring) if key is None else _given_key(key))
    try:
        if base_url is not None:
            check_base_url(base_url)
        claims = claims_for(method, path, expires=expires, **terms)
    except ArgumentInvalid as wrong:
        option = _OPTION_OF.get(wrong.name, f"--{wrong.name}")
        raise ConfigInvalid(f"{option} {wrong.value!r}: {wrong.why}") from None
    except Denied as denied:
        raise ConfigInvalid(f"PATH {path!r}: {denied.detail}") from None
    token = token_for(signer, claims)
    url = url_for(method, path, token, default_base_url(config) if base_url is None else base_url)
    header = f"Authorization: Bearer {token}"
    if as_json:
        print_json({"method": method, "url": url, "header": header, "kid": signer.kid, "expires_at": int(claims.exp)})
    else:
        click.echo(header if as_header else url)


def _terms(gateway: str, *, once: bool, uses: int | None, window: int, start: str | None, **others: Any) -> Terms:
    """The options as terms; a key is for this `gateway` unless they say otherwise."""
    if once and uses not in (None, 1):
        raise ConfigInvalid(f"--once and --uses {uses}: give one of them")
    if window and not (once or uses):
        raise ConfigInvalid(f"--window {window}: needs --once or --uses")
    others["audience"] = others["audience"] or gateway or None
    moment = None if start is None else _moment(start)
    return cast(Terms, others | {"uses": 1 if once else uses, "window": window, "start": moment})


def _given_key(name: str) -> str:
    check_not_reserved(name)
    return name


def _usual_key(ring: RingFile) -> str:
    """`default`, unless it is not in force and exactly one other is."""
    active = active_names(ring.load())
    return active[0] if len(active) == 1 else "default"


def default_base_url(config: Config) -> str:
    """The public URL, else where the gateway of this data directory listens, else where it would.

    Raises ConfigInvalid where that is only a Unix socket, which no URL can name.
    """
    if config.listen.public_url:
        return config.listen.public_url
    found = holder(config.data)
    scheme = "https" if config.listen.tls_cert else "http"
    addresses = (found.addresses if found else None) or [
        address if address.startswith("unix:") else f"{scheme}://{address}" for address in config.listen.listen
    ]
    url = next((url for url in addresses if url.startswith("http")), None)
    if url is None:
        raise ConfigInvalid(f"--base-url: is needed, or listen.public-url, since {addresses[0]} is in no URL")
    return reachable(url)


def _moment(text: str) -> float:
    """Seconds since the epoch from a duration from now, an ISO 8601 date with a zone, or an epoch number."""
    if re.fullmatch(r"[0-9]{9,11}", text, re.ASCII):
        return int(text)
    try:
        return time.time() + parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigInvalid(f"--start {text!r}: must be a duration (10m) or a date with a zone (2026-11-21T16:00:00Z)")
    return moment.timestamp()
