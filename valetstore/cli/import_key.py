"""`valetstore keys import`: signing keys that exist elsewhere, taken as they are.

Rule: a set of keys is imported whole or not at all.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from valetstore.cli.options import Settings, json_option, print_json, read_file, settings_options
from valetstore.cli.profile import described, make_profile, profile_options
from valetstore.cli.taken import wait_until_taken
from valetstore.cli.vendors import making
from valetstore.cli.vendors.maker import needed
from valetstore.cli.vendors.options import IMPORT, SCHEME_OPTION, given_of, import_options, refuse_others
from valetstore.encoding import b64url_decode
from valetstore.errors import ConfigInvalid
from valetstore.keys.jwk import Jwk, read_jwks
from valetstore.keys.material import algorithm_of, check_secret, load_public, public_pem
from valetstore.keys.ring import NATIVE, check_not_reserved
from valetstore.keys.ringfile import RingFile, record_of
from valetstore.keys.vendor import S3


@click.command("import", short_help="Import a public key, a JWK Set or a shared secret.")
@click.argument("name")
@settings_options
@json_option
@SCHEME_OPTION
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PEM public key; Google, CloudFront: or an X.509 certificate.",
)
@click.option("--jwks", type=click.Path(path_type=Path), metavar="FILE", help="JWK or JWK Set.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="HS256 secret, 32 bytes or more; S3: the secret access key; Google: an HMAC key's; Swift: the key.",
)
@click.option(
    "--secret-encoding",
    type=click.Choice(["text", "base64url", "hex"]),
    help="How the secret is written; text is the bytes as they are, without a final newline.  [default: text]",
)
@click.option("--kid", help="The key id that tokens name; default NAME, or as in the JWK.")
@import_options
@profile_options
def command(settings: Settings, name: str, scheme: str, as_json: bool, **said: Any) -> None:
    """Import a signing key NAME that exists elsewhere: a public key, a JWK Set, or a shared secret.

    Of a JWK Set with several keys, each is imported as NAME-1, NAME-2, and so on, under its own key id.

    With another --scheme it is what that vendor has given out: an access key id and its secret (s3); a public key and
    an e-mail address, a service account's file, or an HMAC key (gcs); an account and its key, or a connection string
    (azure); a public key and its id (cloudfront); an account and its key (swift). A second key of one account or
    e-mail address is a rotation: both hold until one is retired.
    """
    refuse_others(scheme, IMPORT, said)
    check_not_reserved(name)
    if scheme == NATIVE:
        _import_native(settings, name, as_json, said)
        return
    given = given_of(said)
    if scheme == S3:
        needed(S3, {"--access-key-id": given.access_key_id, "--secret-file": given.secret_file})
    for native in ("jwks", "secret_encoding", "kid"):
        del said[native]
    making.take(settings, name, scheme, given, as_json, said)


def _import_native(settings: Settings, name: str, as_json: bool, said: dict[str, Any]) -> None:
    given = given_of(said)
    public_key, secret_file = given.public_key, given.secret_file
    jwks, encoding, kid = said.pop("jwks"), said.pop("secret_encoding"), said.pop("kid")
    if sum(source is not None for source in (public_key, jwks, secret_file)) != 1:
        raise ConfigInvalid("keys import: give exactly one of --public-key, --jwks and --secret-file")
    if encoding is not None and secret_file is None:
        raise ConfigInvalid(f"--secret-encoding {encoding}: is for --secret-file alone")
    profile = make_profile(**said)
    if public_key is not None:
        found = [_from_pem(public_key)]
    elif jwks is not None:
        found = _from_jwks(jwks)
    else:
        assert secret_file is not None
        found = [_from_secret(secret_file, encoding or "text")]
    if kid is not None and len(found) > 1:
        raise ConfigInvalid("--kid: the JWK Set holds several keys, which have ids of their own")
    names = [name] if len(found) == 1 else [f"{name}-{number}" for number in range(1, len(found) + 1)]
    records = [
        record_of(n, key.algorithm, profile, kid=kid or key.kid, secret=key.secret, public_key=key.public_key)
        for n, key in zip(names, found, strict=True)
    ]
    data = settings.load().data
    wait_until_taken(data, RingFile(data).add_all(records))
    if as_json:
        print_json([described(record) for record in records])
    else:
        for record in records:
            click.echo(f"Imported signing key {record.name} ({record.algorithm}, kid {record.kid}).")


def _from_jwks(path: Path) -> list[Jwk]:
    data = read_file("--jwks", path)
    with _naming("--jwks", path):
        return read_jwks(data)


def _from_pem(path: Path) -> Jwk:
    data = read_file("--public-key", path)
    with _naming("--public-key", path):
        try:
            public = load_public(data.decode("ascii"))
        except UnicodeDecodeError:
            raise ConfigInvalid("is not PEM text") from None
        return Jwk("", algorithm_of(public), None, public_pem(public))


def _from_secret(path: Path, encoding: str) -> Jwk:
    data = read_file("--secret-file", path)
    with _naming("--secret-file", path):
        return Jwk("", "HS256", check_secret(_secret(data, encoding)), None)


def _secret(data: bytes, encoding: str) -> bytes:
    text = data.removesuffix(b"\n").removesuffix(b"\r")
    try:
        if encoding == "base64url":
            return b64url_decode(text.rstrip(b"="))
        return bytes.fromhex(text.decode("ascii")) if encoding == "hex" else text
    except ValueError:
        raise ConfigInvalid(f"its content is not {encoding}") from None


@contextlib.contextmanager
def _naming(option: str, path: Path) -> Iterator[None]:
    """Whatever is wrong with a file's content is said with the option and the file."""
    try:
        yield
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{option} {path}: {error}") from error
