"""The options of `valetstore sign`, and what they mean to whoever signs."""

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

import click

from valetstore.cli.budget import budget_option
from valetstore.cli.options import Duration, SizeRange, comma_list
from valetstore.cli.vendors.options import why_not
from valetstore.cli.wanted import OPTION_OF, Asked, Pairs
from valetstore.errors import ConfigInvalid
from valetstore.keys.vendor import AZURE, CLOUDFRONT, GCS, S3, SWIFT
from valetstore.signing import OPERATION_OF, Terms
from valetstore.units import parse_duration

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\x20-\x7e\t]*)")

FORM_METHOD: Final = "POST"
"""A form that a browser sends."""

METHODS: Final = (*OPERATION_OF, FORM_METHOD)


class Method(click.ParamType[Any]):
    """One of METHODS, in any case; click's own Choice would show it in lower case."""

    name = "method"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.upper() not in METHODS:
            self.fail(f"{value!r}: must be one of {', '.join(METHODS)}", param, ctx)
        return str(value.upper())


def _signed_headers(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> Pairs:
    """Callback: `NAME: VALUE`, as (lower-case name, value)."""
    found = [_HEADER.fullmatch(text) for text in texts]
    if None in found:
        raise click.BadParameter(f"{texts[found.index(None)]!r}: must be written 'NAME: VALUE', in ASCII")
    return tuple({match[1].lower(): match[2].strip() for match in found if match}.items())


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


_VENDORS_TERMS: Final = (
    click.option("--sigv2", is_flag=True, help="S3, Google: signature version 2, for clients that know no other."),
    click.option(
        "--signed-header",
        "headers",
        multiple=True,
        callback=_signed_headers,
        metavar="'NAME: VALUE'",
        help="S3, Google: sign this header, which must then be sent.",
    ),
    click.option(
        "--post", is_flag=True, help="S3, Google, Swift: a form that uploads, as JSON; the same as METHOD POST."
    ),
    click.option("--html", is_flag=True, help="S3, Google, Swift: the form as a page."),
    click.option(
        "--success-status", type=click.Choice(["200", "201", "204"]), help="S3, Google: how a form is answered."
    ),
    click.option("--success-redirect", metavar="URL", help="S3, Google, Swift: where a form leads."),
    click.option("--resumable", is_flag=True, help="Google: begin an upload in chunks."),
    click.option("--account-sas", "account", is_flag=True, help="Azure: for the account, not one container or blob."),
    click.option("--permissions", metavar="LETTERS", help="Azure: the signed permissions, as rwd; default: METHOD's."),
    click.option("--cookie", is_flag=True, help="CloudFront: cookies, not a URL."),
    click.option(
        "--hash",
        "hashed",
        type=click.Choice(["sha1", "sha256", "sha512"]),
        help="CloudFront (sha1, sha256), Swift: what is signed with.",
    ),
)

FORMS: Final = (S3, GCS, SWIFT)
"""The schemes whose METHOD may be POST."""

SCHEMES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "sigv2": (S3, GCS),
    "headers": (S3, GCS),
    "post": FORMS,
    "html": FORMS,
    "success_status": (S3, GCS),
    "success_redirect": FORMS,
    "resumable": (GCS,),
    "account": (AZURE,),
    "permissions": (AZURE,),
    "cookie": (CLOUDFRONT,),
    "hashed": (CLOUDFRONT, SWIFT),
}
"""Which schemes have what is asked for in vendors' own terms, by the members of `Asked`."""


def terms_options(function: Any) -> Any:
    """The options that make `Terms` and `Asked`, given to the command as their members."""
    for option in reversed((*_TERMS, *_VENDORS_TERMS)):
        function = option(function)
    return function


def terms_of(gateway: str, *, once: bool, uses: int | None, window: int, start: str | None, **others: Any) -> Terms:
    """The options as terms; a key is for this `gateway` unless they say otherwise."""
    if once and uses not in (None, 1):
        raise ConfigInvalid(f"--once and --uses {uses}: give one of them")
    if window and not (once or uses):
        raise ConfigInvalid(f"--window {window}: needs --once or --uses")
    others["audience"] = others["audience"] or gateway or None
    moment = None if start is None else _moment(start)
    return cast(Terms, others | {"uses": 1 if once else uses, "window": window, "start": moment})


def asked_of(said: dict[str, Any]) -> Asked:
    """Those of the options that are in vendors' terms, which are taken out of `said`."""
    return Asked(**{name: said.pop(name) for name in Asked._fields if name in said})


def refuse_foreign(scheme: str, method: str, asked: Asked) -> None:
    """Raise ConfigInvalid for what the scheme has no word for at all; both are named."""
    if method == FORM_METHOD and scheme not in FORMS:
        raise ConfigInvalid(f"{FORM_METHOD}: {why_not(scheme, FORMS)}")
    for name, having in SCHEMES_OF.items():
        if getattr(asked, name) and scheme not in having:
            raise ConfigInvalid(f"{OPTION_OF[name]}: {why_not(scheme, having)}")


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
