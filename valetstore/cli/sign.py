"""`valetstore sign`: mint a key and print the URL that carries it.

Rule 1: what is wrong is named as it was typed: the option or argument, its value, and what is allowed.
Rule 2: a signing key is chosen for the user only where there is one that could be meant.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import click

from valetstore.cli.aws import SCHEMES
from valetstore.cli.door import reachable
from valetstore.cli.options import Duration, Settings, json_option, print_json, settings_options
from valetstore.cli.sign_options import FORM_METHOD, METHODS, Method, asked_of, terms_of, terms_options
from valetstore.cli.sign_s3 import sign_s3, usual_key
from valetstore.cli.wanted import Wanted
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.errors import ConfigInvalid, Denied
from valetstore.keys.ring import NATIVE, check_not_reserved
from valetstore.keys.ringfile import RingFile
from valetstore.keys.vendor import S3
from valetstore.signing import (
    ArgumentInvalid,
    Signer,
    Terms,
    active_names,
    check_base_url,
    claims_for,
    signing_key,
    token_for,
    url_for,
)

_OPTION_OF: Final = {
    "method": "METHOD",
    "path": "PATH",
    "networks": "--ip",
    "types": "--type",
    "base_url": "--base-url",
}
"""What `sign` calls an argument and a user calls otherwise; the others are options of the same name."""


@click.command("sign", short_help="Sign a key and print the URL that carries it.")
@click.argument("method", type=Method(), metavar="|".join(METHODS))
@click.argument("path")
@settings_options
@json_option
@click.option("--expires", type=Duration(), default="15m", show_default=True, help="How long it is valid.")
@click.option(
    "--scheme", type=click.Choice(list(SCHEMES)), default=NATIVE, show_default=True, help="What kind of key it is."
)
@terms_options
@click.option(
    "--key", metavar="NAME", help="Signing key; default: `default`, or the only one of the scheme that is in force."
)
@click.option("--base-url", metavar="URL", help="What the printed URL starts with.")
@click.option("--header", "as_header", is_flag=True, help="Print an Authorization header instead of a URL.")
def command(
    settings: Settings,
    method: str,
    path: str,
    expires: int,
    scheme: str,
    key: str | None,
    base_url: str | None,
    as_header: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Sign a key for METHOD on PATH and print the URL that carries it.

    PATH is /bucket/name as it is, not percent-encoded; for LIST, and with --prefix, it ends in a slash. What the
    signing key's profile forbids is refused here, with the reason (exit status 1).

    With --scheme s3 it is a presigned URL of S3's; for METHOD POST, or with --post, the fields of a form. What S3
    cannot say is refused.
    """
    config, asked = settings.load(), asked_of(said)
    if scheme == S3:
        if as_header:
            raise ConfigInvalid("--header: S3 signs one request; `keys session` makes credentials to sign others with")
        ring = RingFile(config.data).load()
        signs = signing_key(ring, usual_key(ring) if key is None else _given_key(key), S3)
        with _as_typed(path):
            base = _base_url(config, base_url)
            terms = terms_of("", **said)
            sign_s3(config, signs, Wanted(method, path, expires, base, terms, asked), as_json=as_json)
        return
    if asked.given or method == FORM_METHOD:
        raise ConfigInvalid(f"{asked.given or FORM_METHOD}: needs --scheme s3")
    terms = terms_of(config.keys.audience, **said)
    _sign_native(config, key, method, path, expires, base_url, terms, as_header=as_header, as_json=as_json)


def _sign_native(
    config: Config,
    key: str | None,
    method: str,
    path: str,
    expires: int,
    base_url: str | None,
    terms: Terms,
    *,
    as_header: bool,
    as_json: bool,
) -> None:
    ring = RingFile(config.data)
    signer = Signer.from_ring(ring, _usual_key(ring) if key is None else _given_key(key))
    with _as_typed(path):
        if base_url is not None:
            check_base_url(base_url)
        claims = claims_for(method, path, expires=expires, **terms)
    token = token_for(signer, claims)
    url = url_for(method, path, token, _base_url(config, base_url))
    header = f"Authorization: Bearer {token}"
    if as_json:
        print_json({"method": method, "url": url, "header": header, "kid": signer.kid, "expires_at": int(claims.exp)})
    else:
        click.echo(header if as_header else url)


@contextlib.contextmanager
def _as_typed(path: str) -> Iterator[None]:
    """What is wrong with an argument is said of the option it was typed as."""
    try:
        yield
    except ArgumentInvalid as wrong:
        option = _OPTION_OF.get(wrong.name, f"--{wrong.name}")
        raise ConfigInvalid(f"{option} {wrong.value!r}: {wrong.why}") from None
    except Denied as denied:
        raise ConfigInvalid(f"PATH {path!r}: {denied.detail}") from None


def _base_url(config: Config, given: str | None) -> str:
    """What the URL starts with; raises ArgumentInvalid, ConfigInvalid."""
    if given is None:
        return default_base_url(config)
    check_base_url(given)
    return given


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
