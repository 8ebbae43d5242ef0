"""Make a vendor's signing key, or take one, and tell of it: what is the same for all of them.

Rule 1: a file that holds a secret is its owner's alone to read, and was not there before.
Rule 2: with --out, what is in that file is kept nowhere else but in the ring, and its secret not shown on a terminal.
"""

from pathlib import Path
from typing import Any, Final

import click

from valetstore.cli.address import endpoint_of, likely_endpoint_of
from valetstore.cli.options import Settings, new_file, print_json
from valetstore.cli.profile import described, make_profile
from valetstore.cli.taken import wait_until_taken
from valetstore.cli.vendors import MAKERS
from valetstore.cli.vendors.aws import region_of
from valetstore.cli.vendors.maker import Given, Made, Place, refuse_twice
from valetstore.cli.vendors.names import in_words, key_id_of, names_of, secret_of
from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.private import write_private
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import RingFile
from valetstore.keys.vendor import S3, VENDORS

_NO_ENDPOINT: Final = "listen.public-url is not set, and no gateway runs here."
_LIKELY: Final = "The address is where a gateway would listen: "


def create(
    settings: Settings, name: str, scheme: str, given: Given, out: str | None, as_json: bool, limits: dict[str, Any]
) -> None:
    """Make a signing key and print it; `limits` are the profile's options."""
    config = settings.load()
    place = _place(config)
    made = MAKERS[scheme].create(name, _profile(scheme, limits), given, place)
    refuse_twice(made.record, place.ring)
    ring, file = _add(RingFile(config.data), made, out)
    wait_until_taken(config.data, ring)
    if as_json:
        print_json(_as_json(made, place, file))
        return
    click.echo("\n".join(MAKERS[scheme].lines(made, place, file)))
    if not place.endpoint:
        click.echo(("Add endpoint_url: " if scheme == S3 else _LIKELY) + _NO_ENDPOINT, err=True)


def take(settings: Settings, name: str, scheme: str, given: Given, as_json: bool, limits: dict[str, Any]) -> None:
    """Take a signing key that exists elsewhere, and say so without its secret."""
    maker = MAKERS[scheme]
    if maker.take is None:
        create(settings, name, scheme, given, None, as_json, limits)
        return
    data = settings.load().data
    ring = RingFile(data)
    record = maker.take(name, _profile(scheme, limits), given)
    refuse_twice(record, ring.load())
    wait_until_taken(data, ring.add(record))
    if as_json:
        print_json(described(record))
    else:
        key_id = f"{in_words(names_of(record).key_id)} {record.kid}"
        click.echo(f"Imported signing key {name} ({VENDORS[scheme].title}, {key_id}).")


def _place(config: Config) -> Place:
    return Place(RingFile(config.data).load(), endpoint_of(config), likely_endpoint_of(config), region_of(config))


def _profile(scheme: str, limits: dict[str, Any]) -> Profile:
    profile = make_profile(**limits)
    if "admin" in profile.operations:
        title = VENDORS[scheme].title
        raise ConfigInvalid(f"--ops 'admin': nothing of {title} is administration; a native signing key can have it")
    return profile


def _add(ring: RingFile, made: Made, out: str | None) -> tuple[KeyRing, Path | None]:
    """Add it to the ring; where its file is kept then, None where nowhere. Raises ConfigInvalid, and leaves no file."""
    name = made.record.name
    if out is not None:
        file = new_file("--out", out)
        write_private(file, made.file.encode())
        try:
            return ring.add(made.record), file.absolute()
        except ConfigInvalid:
            file.unlink(missing_ok=True)
            raise
    if not made.private:
        return ring.add(made.record), None
    if made.file == made.private:
        return ring.add(made.record, made.private), ring.private_path(name).absolute()
    file = ring.service_account_path(name)
    return ring.add(made.record, made.private, {file: made.file}), file.absolute()


def _as_json(made: Made, place: Place, file: Path | None) -> dict[str, object]:
    record = made.record
    file_member = MAKERS[record.scheme].file_member if made.private else ""
    return {
        "name": record.name,
        "scheme": record.scheme,
        **key_id_of(record),
        **secret_of(record),
        **({file_member: str(file)} if file_member else {}),
        **dict(made.members),
        "endpoint_url": place.endpoint or None,
        "profile": record.profile,
    }
