"""The options that make a signing key's profile, and a signing key and its profile as they are shown."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from valetstore.cli.budget import budget_option
from valetstore.cli.options import Duration, Size, comma_list
from valetstore.cli.vendors.names import key_id_of
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import (
    DEFAULT_OPERATIONS,
    OPERATIONS,
    SINGLE_USE_OPERATIONS,
    Budget,
    Operation,
    Profile,
)
from valetstore.keys.ring import NATIVE, USES_MAX, KeyRecord
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
        operations=operations_of("--ops", ops or DEFAULT_OPERATIONS, OPERATIONS),
        prefixes=prefixes,
        ttl_seconds_max=ttl_max,
        length_bytes_max=length_max,
        types=types,
        networks=networks,
        create_only=create_only,
        https=https,
        single_use=operations_of("--single-use", single_use, SINGLE_USE_OPERATIONS),
        uses=uses,
        budget=budget,
    )


def operations_of(option: str, given: Sequence[str], allowed: frozenset[str]) -> tuple[Operation, ...]:
    """What an option says, if it is some of these; raises ConfigInvalid."""
    unknown = sorted(set(given) - allowed)
    if unknown:
        raise ConfigInvalid(f"{option} {unknown[0]!r}: must be some of {', '.join(sorted(allowed))}")
    return msgspec.convert(given, type=tuple[Operation, ...])


def limits_in_words(profile: Profile) -> str:
    """A profile in one line."""
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


def described(record: KeyRecord) -> dict[str, object]:
    """A signing key as JSON, without its secret."""
    own = {} if record.scheme == NATIVE else key_id_of(record)
    return own | {
        "name": record.name,
        "kid": record.kid,
        "alg": record.algorithm,
        "scheme": record.scheme,
        "created_at": record.created_at,
        "retires_at": record.retires_at,
        "public_key": record.public_key,
        "profile": record.profile,
    }
