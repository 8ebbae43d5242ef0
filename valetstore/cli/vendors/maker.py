"""What the commands that make and take signing keys ask of every vendor's file here."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from valetstore.cli.options import read_file
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.material import public_pem
from valetstore.keys.ring import KeyRecord, KeyRing, SigningKey
from valetstore.keys.vendor import CLOUDFRONT, GCS, S3


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


_ID_UNSIGNED: Final = (S3, GCS, CLOUDFRONT)
"""Where the id that a URL names is not signed with it (S3 and Google: by version 2)."""


def refuse_twice(record: KeyRecord, ring: KeyRing) -> None:
    """Raise ConfigInvalid where another signing key of the scheme has the same secret or public key, retired or not.

    What one of them signed would open as the other's, with that one's profile, once its id is put into the URL. The
    ring itself takes both: that an operator has written them there must not end the service.
    """
    if record.scheme not in _ID_UNSIGNED:
        return
    new = _identity(*KeyRing([record]))
    for other in ring:
        if other.record.scheme == record.scheme and _identity(other) == new:
            what = "public key" if record.secret is None else "secret"
            raise ConfigInvalid(
                f"signing key {record.name!r}: {other.name!r} has the same {what}; URLs do not sign the id that they "
                "name, so each would open with the other's profile: give it one of its own"
            )


def _identity(key: SigningKey) -> bytes | str:
    """What signs, or what checks it, in one form."""
    return key.material if isinstance(key.material, bytes) else public_pem(key.material)
