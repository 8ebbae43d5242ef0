"""What the commands that make and take signing keys ask of every vendor's file here."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from valetstore.cli.options import read_file
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.ring import KeyRecord, KeyRing


class Given(NamedTuple):
    """What the options say in vendors' own terms; which of them a scheme has is in `options.SCHEMES_OF`."""

    access_key_id: str | None = None
    access_id: str | None = None
    secret_file: Path | None = None
    account: str | None = None
    account_key_file: Path | None = None
    connection_string_file: Path | None = None
    client_email: str | None = None
    key_pair_id: str | None = None
    public_key: Path | None = None
    service_account: Path | None = None
    hmac: bool = False
    ec: bool = False


class Place(NamedTuple):
    """Where a signing key is made: the ring as it stands, and where clients reach the gateway.

    `endpoint` is "" where that is not known; `likely` is where it would be then. `region` is S3's.
    """

    ring: KeyRing
    endpoint: str
    likely: str
    region: str


class Made(NamedTuple):
    """A new signing key, as the ring keeps it and as its user takes it away.

    `private` is its private half for `sign` on this machine (PEM; "" where it has none). `file` is what its user's
    tools load or take: what --out FILE gets. `members` are what else JSON says of it.
    """

    record: KeyRecord
    private: str = ""
    file: str = ""
    members: tuple[tuple[str, object], ...] = ()


class Maker(NamedTuple):
    """One vendor's way: make a signing key, take one that exists elsewhere, say in words what was made.

    `take` is None where `create` takes one too, and prints it all the same. `lines` is told the file that holds what
    its user takes away; None where that is kept nowhere. `file_member` is what JSON calls this file, "" where it holds
    but a copy of what is printed.
    """

    create: Callable[[str, Profile, Given, Place], Made]
    take: Callable[[str, Profile, Given], KeyRecord] | None
    lines: Callable[[Made, Place, Path | None], list[str]]
    file_member: str = ""


def checked(option: str, check: Callable[[str], str], text: str) -> str:
    """A value that an option gave. Raises ConfigInvalid that names the option."""
    try:
        return check(text)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{option}: {error}") from None


def one_line(option: str, path: Path) -> bytes:
    """What a file holds that the user named with an option, without a final newline. Raises ConfigInvalid."""
    return read_file(option, path).removesuffix(b"\n").removesuffix(b"\r")


def needed(scheme: str, options: dict[str, object]) -> None:
    """Raise ConfigInvalid unless all of these were given to `keys import`."""
    missing = [option for option, value in options.items() if value is None]
    if missing:
        raise ConfigInvalid(f"keys import --scheme {scheme}: needs {' and '.join(options)}")


def refuse_shared(option: str, scheme: str, key_id: str, ring: KeyRing) -> None:
    """Raise ConfigInvalid where a key id that was made of a name is another's: that it is shared has to be said."""
    others = ring.find_all(scheme, key_id)
    if others:
        raise ConfigInvalid(
            f"{option}: {key_id!r}, as made of this name, is that of the signing key {others[0].name!r}; give {option} "
            "with another, or with this one for a second key of the same"
        )
