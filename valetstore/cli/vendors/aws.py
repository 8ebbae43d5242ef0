"""Signing keys of S3 as a user of AWS's tools knows them: access key id, secret, a profile to paste.

Rule: what is printed as a profile is one of `~/.aws/credentials`, whole: a user may append it there.
"""

import sys
from pathlib import Path
from typing import Final

import msgspec

from valetstore.cli.address import endpoint_of
from valetstore.cli.vendors.maker import Given, Made, Maker, Place, checked, one_line
from valetstore.config import Config
from valetstore.encoding import b64url_decode
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.ring import KeyRecord
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import (
    HMAC,
    S3,
    check_access_key_id,
    check_secret_access_key,
    new_access_key_id,
    new_secret_access_key,
)

_ANY_REGION: Final = "us-east-1"
"""What SDKs take for granted; it is as good as any where the gateway takes any."""


class Credentials(msgspec.Struct, frozen=True):
    """What an SDK signs with, and where it sends what it has signed; `endpoint_url` is "" where that is not known."""

    name: str
    access_key_id: str
    secret_access_key: str
    region: str
    endpoint_url: str
    session_token: str = ""

    def __repr__(self) -> str:
        """Never shows the secret."""
        return f"Credentials({self.access_key_id!r})"

    def profile(self) -> str:
        """The lines of one profile."""
        said = {
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "aws_session_token": self.session_token,
            "region": self.region,
            "endpoint_url": self.endpoint_url,
        }
        return "\n".join([f"[{self.name}]", *(f"{name} = {value}" for name, value in said.items() if value)])


def secret_of(record: KeyRecord) -> str:
    """The secret access key, as its characters."""
    return b64url_decode((record.secret or "").encode()).decode("ascii")


def credentials_of(config: Config, record: KeyRecord) -> Credentials:
    """What an SDK needs to sign with this signing key."""
    return Credentials(record.name, record.kid, secret_of(record), region_of(config), endpoint_of(config))


def region_of(config: Config) -> str:
    """The region that keys are to be signed for."""
    return config.s3.region or _ANY_REGION


def _create(name: str, profile: Profile, given: Given, place: Place) -> Made:
    """A signing key; what is not given is made. All of it given, it is one that exists elsewhere."""
    if given.access_key_id is not None:
        checked("--access-key-id", check_access_key_id, given.access_key_id)
    secret = new_secret_access_key().encode() if given.secret_file is None else _secret(given.secret_file)
    kid = given.access_key_id or new_access_key_id()
    record = record_of(name, HMAC, profile, kid=kid, secret=secret, scheme=S3)
    return Made(record, members=(("region", place.region),))


def _lines(made: Made, place: Place, _file: Path | None) -> list[str]:
    record = made.record
    credentials = Credentials(record.name, record.kid, secret_of(record), place.region, place.endpoint)
    return [f"# Signing key {record.name} (S3), as a profile of ~/.aws/credentials:", credentials.profile()]


def _secret(path: Path) -> bytes:
    """A secret access key from a file, or from standard input for `-`, without a final newline."""
    if str(path) == "-":
        data = sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")
    else:
        data = one_line("--secret-file", path)
    try:
        return check_secret_access_key(data)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--secret-file {path}: {error}") from error


MAKER: Final = Maker(_create, None, _lines)
