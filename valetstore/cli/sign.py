"""`valetstore sign`: mint a key and print the URL that carries it.

Rule 1: what is wrong is named as it was typed: the option or argument, its value, and what is allowed.
Rule 2: a signing key is chosen for the user only where there is one that could be meant.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import click

from valetstore.cli.address import default_base_url
from valetstore.cli.options import Duration, Settings, json_option, print_json, settings_options
from valetstore.cli.sign_azure import sign_azure
from valetstore.cli.sign_cloudfront import sign_cloudfront
from valetstore.cli.sign_gcs import sign_gcs
from valetstore.cli.sign_options import METHODS, Method, asked_of, refuse_foreign, terms_of, terms_options
from valetstore.cli.sign_s3 import sign_s3
from valetstore.cli.sign_swift import sign_swift
from valetstore.cli.vendors.options import SCHEMES
from valetstore.cli.wanted import Wanted
from valetstore.config import Config
from valetstore.errors import ConfigInvalid, Denied
from valetstore.keys.ring import NATIVE, KeyRing, SigningKey, check_not_reserved
from valetstore.keys.ringfile import RingFile
from valetstore.keys.vendor import AZURE, CLOUDFRONT, GCS, S3, SWIFT, VENDORS
from valetstore.signing import (
    ArgumentInvalid,
    Signer,
    Terms,
    active_names,
    check_base_url,
    claims_for,
    other_names,
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

_NO_HEADER: Final = {S3: "S3 signs one request; `keys session` makes credentials to sign others with"}


class _Signs(Protocol):
    """Sign what is wanted, and print it. Raises SigningRefused, ConfigInvalid, Denied (`object_key_invalid`)."""

    def __call__(self, config: Config, key: SigningKey, wanted: Wanted, *, as_json: bool) -> None: ...


SIGNERS: Final[Mapping[str, _Signs]] = {
    S3: sign_s3,
    GCS: sign_gcs,
    AZURE: sign_azure,
    CLOUDFRONT: sign_cloudfront,
    SWIFT: sign_swift,
}
"""Every dialect but our own, by the name that `--scheme` has for it."""


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

    With another --scheme it is a URL as that vendor's own tools sign it: a presigned URL (s3), a signed URL (gcs,
    cloudfront), a shared access signature (azure), a TempURL (swift). For METHOD POST, or with --post, it is the fields
    of a form (s3, gcs, swift); with --cookie, cookies (cloudfront). What the vendor's keys cannot say is refused.
    """
    config, asked = settings.load(), asked_of(said)
    refuse_foreign(scheme, method, asked)
    if scheme == NATIVE:
        terms = terms_of(config.keys.audience, **said)
        _sign_native(config, key, method, path, expires, base_url, terms, as_header=as_header, as_json=as_json)
        return
    if as_header:
        raise ConfigInvalid(f"--header: {_NO_HEADER.get(scheme, f'{VENDORS[scheme].title} has no such key')}")
    ring = RingFile(config.data).load()
    signs = signing_key(ring, usual_key(ring, scheme) if key is None else _given_key(key), scheme)
    with _as_typed(path):
        wanted = Wanted(method, path, expires, _base_url(config, base_url), terms_of("", **said), asked)
        SIGNERS[scheme](config, signs, wanted, as_json=as_json)


def usual_key(ring: KeyRing, scheme: str) -> str:
    """The only signing key of a scheme that is in force. Raises ConfigInvalid where there are none or several."""
    active = active_names(ring, scheme)
    if len(active) != 1:
        raise ConfigInvalid(f"--key: is needed for --scheme {scheme}; {other_names(ring, scheme)}")
    return active[0]


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
