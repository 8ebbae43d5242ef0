"""Signing keys of S3 as a user of AWS's tools knows them: access key id, secret, a profile to paste.

Rule: what is printed as a profile is one of `~/.aws/credentials`, whole: a user may append it there.
"""

import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from valetstore.cli.door import reachable
from valetstore.cli.options import Settings, print_json, read_file
from valetstore.cli.profile import make_profile
from valetstore.cli.taken import wait_until_taken
from valetstore.config import Config
from valetstore.datalock import holder
from valetstore.encoding import b64url_decode
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.ring import NATIVE, KeyRecord
from valetstore.keys.ringfile import RingFile, record_of
from valetstore.keys.vendor import (
    HMAC,
    S3,
    check_access_key_id,
    check_secret_access_key,
    new_access_key_id,
    new_secret_access_key,
)

SCHEMES: Final = (NATIVE, S3)

SCHEME_OPTION: Final = click.option(
    "--scheme", type=click.Choice(list(SCHEMES)), default=NATIVE, show_default=True, help="What its keys are."
)
ACCESS_KEY_ID_OPTION: Final = click.option("--access-key-id", metavar="ID", help="S3: this one, not a new one.")

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


def new_s3_record(name: str, profile: Profile, access_key_id: str | None, secret_file: Path | None) -> KeyRecord:
    """A signing key for S3; what is not given is made. Raises ConfigInvalid."""
    if "admin" in profile.operations:
        raise ConfigInvalid("--ops 'admin': nothing of S3 is administration; a native signing key can have it")
    if access_key_id is not None:
        try:
            check_access_key_id(access_key_id)
        except ConfigInvalid as error:
            raise ConfigInvalid(f"--access-key-id: {error}") from None
    secret = new_secret_access_key().encode() if secret_file is None else _secret(secret_file)
    return record_of(name, HMAC, profile, kid=access_key_id or new_access_key_id(), secret=secret, scheme=S3)


def secret_of(record: KeyRecord) -> str:
    """The secret access key, as its characters."""
    return b64url_decode((record.secret or "").encode()).decode("ascii")


def credentials_of(config: Config, record: KeyRecord) -> Credentials:
    """What an SDK needs to sign with this signing key."""
    return Credentials(record.name, record.kid, secret_of(record), region_of(config), endpoint_of(config))


def region_of(config: Config) -> str:
    """The region that keys are to be signed for."""
    return config.s3.region or _ANY_REGION


def endpoint_of(config: Config) -> str:
    """Where clients reach the gateway: its public URL, else where the running one accepts; "" where neither is."""
    if config.listen.public_url:
        return config.listen.public_url.rstrip("/")
    running = holder(config.data)
    urls = [reachable(address) for address in running.addresses if address.startswith("http")] if running else []
    return urls[0] if urls else ""


def refuse_others(scheme: str, options: dict[str, tuple[str, object]]) -> None:
    """Raise ConfigInvalid where an option was given that is another scheme's; each with its own and its value."""
    for option, (its_scheme, value) in options.items():
        if its_scheme != scheme and value not in (None, ()):
            why = "is for JWTs, not for S3" if its_scheme == NATIVE else "needs --scheme s3"
            raise ConfigInvalid(f"{option}: {why}")


def _tell_created(record: KeyRecord, credentials: Credentials, *, as_json: bool) -> None:
    """Print a new signing key with its secret."""
    if as_json:
        print_json(
            {
                "name": record.name,
                "scheme": S3,
                "access_key_id": credentials.access_key_id,
                "secret_access_key": credentials.secret_access_key,
                "region": credentials.region,
                "endpoint_url": credentials.endpoint_url or None,
                "profile": record.profile,
            }
        )
        return
    click.echo(f"# Signing key {record.name} (S3), as a profile of ~/.aws/credentials:")
    click.echo(credentials.profile())
    if not credentials.endpoint_url:
        click.echo("Add endpoint_url: listen.public-url is not set, and no gateway runs here.", err=True)


def create_s3(
    settings: Settings,
    name: str,
    access_key_id: str | None,
    secret_file: Path | None,
    as_json: bool,
    limits: dict[str, Any],
) -> None:
    """Make a signing key for S3, or take the given one, and print it; `limits` are the profile's options."""
    config = settings.load()
    record = new_s3_record(name, make_profile(**limits), access_key_id, secret_file)
    wait_until_taken(config.data, RingFile(config.data).add(record))
    _tell_created(record, credentials_of(config, record), as_json=as_json)


def _secret(path: Path) -> bytes:
    """A secret access key from a file, or from standard input for `-`, without a final newline."""
    data = sys.stdin.buffer.read() if str(path) == "-" else read_file("--secret-file", path)
    try:
        return check_secret_access_key(data.removesuffix(b"\n").removesuffix(b"\r"))
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--secret-file {path}: {error}") from error
