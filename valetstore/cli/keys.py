"""`valetstore keys`: create, import, list, show, retire signing keys. A running gateway notices at once.

Rule 1: a secret is printed when it is made and when it is asked for, never otherwise.
Rule 2: names that begin with `_` are the gateway's own; no command here touches them.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from valetstore.cli.budget import budget_option
from valetstore.cli.options import (
    Duration,
    Settings,
    Size,
    comma_list,
    json_option,
    new_file,
    print_json,
    read_file,
    settings_options,
)
from valetstore.encoding import b64url_decode, http_date
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import (
    DEFAULT_OPERATIONS,
    OPERATIONS,
    SINGLE_USE_OPERATIONS,
    Budget,
    Operation,
    Profile,
)
from valetstore.keys.jwk import Jwk, read_jwks
from valetstore.keys.material import (
    ALGORITHMS,
    algorithm_of,
    check_secret,
    load_public,
    private_pem,
    public_pem,
)
from valetstore.keys.ring import USES_MAX, KeyRecord, check_not_reserved
from valetstore.keys.ringfile import RingFile, new_record, record_of, unknown_name, write_private
from valetstore.units import show_duration, show_size


def profile_options(function: Any) -> Any:
    """The options that make a signing key's profile, given to the command as its members."""
    for option in reversed(
        (
            click.option(
                "--prefix",
                "prefixes",
                multiple=True,
                callback=comma_list,
                metavar="/PREFIX/",
                help="Only below.",
            ),
            click.option(
                "--ops",
                multiple=True,
                callback=comma_list,
                metavar="OPS",
                help=f"Operations, of {', '.join(sorted(OPERATIONS))}. [{','.join(DEFAULT_OPERATIONS)}]",
            ),
            click.option("--ttl-max", type=Duration(minimum=1), help="Longest life of a key it signs."),
            click.option("--length-max", type=Size(), help="Largest upload."),
            click.option(
                "--type",
                "types",
                multiple=True,
                callback=comma_list,
                help="Content type allowed, as image/*.",
            ),
            click.option(
                "--ip", "networks", multiple=True, callback=comma_list, metavar="CIDR", help="Source network."
            ),
            click.option("--create-only", is_flag=True, help="Never replace an object."),
            click.option("--https", is_flag=True, help="Only over TLS."),
            click.option(
                "--single-use",
                multiple=True,
                callback=comma_list,
                metavar="OPS",
                help=f"Operations of which each key has one use, of {', '.join(sorted(SINGLE_USE_OPERATIONS))}.",
            ),
            click.option("--uses", type=click.IntRange(1, USES_MAX), metavar="N", help="Uses of each key."),
            budget_option("What all its keys together may ask for"),
        )
    ):
        function = option(function)
    return function


def make_profile(
    prefixes: tuple[str, ...],
    ops: tuple[str, ...],
    ttl_max: int | None,
    length_max: int | None,
    types: tuple[str, ...],
    networks: tuple[str, ...],
    create_only: bool,
    https: bool,
    single_use: tuple[str, ...],
    uses: int | None,
    budget: Budget | None,
) -> Profile:
    """A profile from the options; raises ConfigInvalid."""
    return Profile(
        operations=_operations("--ops", ops or DEFAULT_OPERATIONS, OPERATIONS),
        prefixes=prefixes,
        ttl_seconds_max=ttl_max,
        length_bytes_max=length_max,
        types=types,
        networks=networks,
        create_only=create_only,
        https=https,
        single_use=_operations("--single-use", single_use, SINGLE_USE_OPERATIONS),
        uses=uses,
        budget=budget,
    )


def _operations(option: str, given: Sequence[str], allowed: frozenset[str]) -> tuple[Operation, ...]:
    unknown = sorted(set(given) - allowed)
    if unknown:
        raise ConfigInvalid(f"{option} {unknown[0]!r}: must be some of {', '.join(sorted(allowed))}")
    return msgspec.convert(given, type=tuple[Operation, ...])


@click.group("keys", short_help="Signing keys: create, import, list, show, retire.")
def command() -> None:
    """Signing keys: create, import, list, show, retire."""


@command.command("create", short_help="Create a signing key.")
@click.argument("name")
@settings_options
@json_option
@click.option("--alg", type=click.Choice(list(ALGORITHMS)), default="HS256", show_default=True, help="JWS algorithm.")
@profile_options
@click.option(
    "--private-out",
    metavar="FILE",
    help="Write the private key there; keep no copy.",
)
def create(settings: Settings, name: str, alg: str, private_out: str | None, as_json: bool, **limits: Any) -> None:
    """Create a signing key NAME.

    What the options say is its profile: what keys signed by it may do at most. HS256 has one secret for signing
    and checking; for the others the gateway keeps the public half, and the private half beside the ring for `sign`
    on this machine, or in --private-out FILE alone.
    """
    check_not_reserved(name)
    ring = RingFile(settings.load().data)
    record, private = new_record(name, alg, make_profile(**limits))
    if private is None and private_out is not None:
        raise ConfigInvalid("--private-out: HS256 has no private half; take EdDSA, ES256 or RS256")
    pem = None if private is None else private_pem(private)
    out = None if private_out is None else new_file("--private-out", private_out)
    if pem is not None and out is not None:
        write_private(out, pem.encode())
    try:
        ring.add(record, None if out else pem)
    except ConfigInvalid:
        if pem is not None and out is not None:
            out.unlink(missing_ok=True)
        raise
    kept = None if pem is None else (out or ring.private_path(name)).absolute()
    if as_json:
        print_json(_created(record, kept))
        return
    click.echo(f"Created signing key {name} ({alg}).")
    if record.secret is not None:
        click.echo(f"secret (base64url): {record.secret}")
    else:
        click.echo(f"{record.public_key}private key: {kept}")


@command.command("import", short_help="Import a public key, a JWK Set or a shared secret.")
@click.argument("name")
@settings_options
@json_option
@click.option("--public-key", type=click.Path(path_type=Path), metavar="FILE", help="PEM public key.")
@click.option("--jwks", type=click.Path(path_type=Path), metavar="FILE", help="JWK or JWK Set.")
@click.option("--secret-file", type=click.Path(path_type=Path), metavar="FILE", help="HS256 secret, 32 bytes or more.")
@click.option(
    "--secret-encoding",
    type=click.Choice(["text", "base64url", "hex"]),
    help="How the secret is written; text is the bytes as they are, without a final newline.  [default: text]",
)
@click.option("--kid", help="The key id that tokens name; default NAME, or as in the JWK.")
@profile_options
def import_(
    settings: Settings,
    name: str,
    public_key: Path | None,
    jwks: Path | None,
    secret_file: Path | None,
    secret_encoding: str | None,
    kid: str | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Import a signing key NAME that exists elsewhere: a public key, a JWK Set, or a shared secret.

    Of a JWK Set with several keys, each is imported as NAME-1, NAME-2, and so on, under its own key id.
    """
    if sum(source is not None for source in (public_key, jwks, secret_file)) != 1:
        raise ConfigInvalid("keys import: give exactly one of --public-key, --jwks and --secret-file")
    if secret_encoding is not None and secret_file is None:
        raise ConfigInvalid(f"--secret-encoding {secret_encoding}: is for --secret-file alone")
    check_not_reserved(name)
    profile = make_profile(**limits)
    if public_key is not None:
        found = [_from_pem(public_key)]
    elif jwks is not None:
        found = _from_jwks(jwks)
    else:
        assert secret_file is not None
        found = [_from_secret(secret_file, secret_encoding or "text")]
    if kid is not None and len(found) > 1:
        raise ConfigInvalid("--kid: the JWK Set holds several keys, which have ids of their own")
    names = [name] if len(found) == 1 else [f"{name}-{number}" for number in range(1, len(found) + 1)]
    records = [
        record_of(n, key.algorithm, profile, kid=kid or key.kid, secret=key.secret, public_key=key.public_key)
        for n, key in zip(names, found, strict=True)
    ]
    RingFile(settings.load().data).add_all(records)
    if as_json:
        print_json([_described(record) for record in records])
    else:
        for record in records:
            click.echo(f"Imported signing key {record.name} ({record.algorithm}, kid {record.kid}).")


@command.command("list")
@settings_options
@json_option
def list_(settings: Settings, as_json: bool) -> None:
    """List the signing keys."""
    records = [key.record for key in RingFile(settings.load().data).load() if not key.name.startswith("_")]
    if as_json:
        print_json([_described(record) for record in records])
        return
    if not records:
        click.echo("There is no signing key yet; `valetstore serve` or `valetstore keys create` makes one.", err=True)
    else:
        _print_table(records)


@command.command("show", short_help="Show a signing key.")
@click.argument("name")
@settings_options
@json_option
@click.option("--secret", "with_secret", is_flag=True, help="Print an HS256 key's secret too.")
def show(settings: Settings, name: str, with_secret: bool, as_json: bool) -> None:
    """Show the signing key NAME: its public half, its state, its profile."""
    check_not_reserved(name)
    key = RingFile(settings.load().data).load().named(name)
    if key is None:
        raise unknown_name(name)
    record = key.record
    about = _described(record)
    if with_secret and record.secret is not None:
        about["secret"] = record.secret
    if as_json:
        print_json(about)
        return
    click.echo(f"{record.name}: {record.algorithm}, kid {record.kid}, {_state(record)}")
    click.echo(f"created {http_date(record.created_at)}")
    click.echo(f"allows {_limits(record.profile)}")
    if record.public_key:
        click.echo(record.public_key, nl=False)
    if "secret" in about:
        click.echo(f"secret (base64url): {record.secret}")


@command.command("retire", short_help="Retire a signing key, at once or after a while.")
@click.argument("name")
@settings_options
@json_option
@click.option("--after", type=Duration(), default="0", help="How long its keys still open; 0 is at once.")
def retire(settings: Settings, name: str, after: int, as_json: bool) -> None:
    """Retire the signing key NAME: keys it signed are refused, at once or --after a while.

    To rotate: create a new signing key, sign with it, then retire the old one after the longest life of its keys.
    What is retired stays so; a later end than the one that is set is refused.
    """
    at = int(time.time()) + after
    RingFile(settings.load().data).retire(name, at)
    if as_json:
        print_json({"name": name, "retires_at": at})
    else:
        click.echo(f"Signing key {name} is retired{f' in {show_duration(after)}' if after else ''}.")


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


def _created(record: KeyRecord, private: Path | None) -> dict[str, object]:
    """What an application needs to mint keys with its own JWT library, or with `valetstore.Signer`."""
    about: dict[str, object] = {"name": record.name, "kid": record.kid, "alg": record.algorithm}
    if record.secret is not None:
        about["secret"] = record.secret
    else:
        about |= {"public_key": record.public_key, "private_key_file": str(private)}
    return about | {"profile": record.profile}


def _described(record: KeyRecord) -> dict[str, object]:
    return {
        "name": record.name,
        "kid": record.kid,
        "alg": record.algorithm,
        "scheme": record.scheme,
        "created_at": record.created_at,
        "retires_at": record.retires_at,
        "public_key": record.public_key,
        "profile": record.profile,
    }


def _print_table(records: Sequence[KeyRecord]) -> None:
    """One line for each, below the heads; the key id only where one differs from its name."""
    rows = [("NAME", "KID", "ALG", "STATE", "ALLOWS")]
    rows += [(r.name, r.kid, r.algorithm, _state(r), _limits(r.profile)) for r in records]
    shown = [0, 1, 2, 3] if any(r.kid != r.name for r in records) else [0, 2, 3]
    widths = {column: max(len(row[column]) for row in rows) for column in shown}
    for row in rows:
        cells = [row[column].ljust(widths[column]) for column in shown]
        click.echo("  ".join([*cells, row[4]]))


def _state(record: KeyRecord) -> str:
    if record.retires_at is None:
        return "active"
    left = record.retires_at - time.time()
    return f"retires in {show_duration(left)}" if left > 0 else "retired"


def _limits(profile: Profile) -> str:
    said = [", ".join(profile.operations)]
    said += [f"below {' or '.join(profile.prefixes)}"] if profile.prefixes else []
    said += [f"for up to {show_duration(profile.ttl_seconds_max)}"] if profile.ttl_seconds_max is not None else []
    said += [f"at most {show_size(profile.length_bytes_max)}"] if profile.length_bytes_max is not None else []
    said += [f"types {', '.join(profile.types)}"] if profile.types else []
    said += [f"from {', '.join(profile.networks)}"] if profile.networks else []
    said += ["create only"] if profile.create_only else []
    said += ["https only"] if profile.https else []
    said += [f"single-use {', '.join(profile.single_use)}"] if profile.single_use else []
    said += [f"uses of each key at most {profile.uses}"] if profile.uses is not None else []
    said += [f"all keys together {profile.budget}"] if profile.budget is not None else []
    return "; ".join(said)
