"""Signing keys of Google Cloud Storage as its users know them: a service account's JSON file, or an HMAC key.

Rule: nothing in a file that is made here leads to Google: its addresses are in a domain that cannot exist (RFC 2606),
so that an SDK which asks for an access token fails at once, and tells nobody.
"""

import json
import secrets
import shlex
from pathlib import Path
from typing import Final

import msgspec

from valetstore.cli.options import read_file
from valetstore.cli.vendors.maker import Given, Made, Maker, Place, checked, needed, one_line, refuse_shared
from valetstore.cli.vendors.names import secret_of
from valetstore.encoding import strict_json
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import Profile
from valetstore.keys.material import private_pem, public_pem
from valetstore.keys.pairs import new_pair, public_half, public_half_of_private
from valetstore.keys.ring import KeyRecord
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import (
    GCS,
    HMAC,
    RSA,
    check_google_id,
    check_secret_access_key,
    new_access_key_id,
    new_secret_access_key,
)

_NOWHERE: Final = "valetstore.invalid"
_CLIENT_ID_DIGITS: Final = 21


class _ServiceAccount(msgspec.Struct):
    """What is read of a service account's file; the rest of it is Google's."""

    client_email: str
    private_key: str

    def __repr__(self) -> str:
        """Never shows the private key."""
        return f"_ServiceAccount({self.client_email!r})"


def _create(name: str, profile: Profile, given: Given, place: Place) -> Made:
    if given.hmac:
        if given.client_email is not None:
            raise ConfigInvalid("--client-email: is a service account's; a key with --hmac has an access id")
        secret = new_secret_access_key()
        record = record_of(name, HMAC, profile, kid=new_access_key_id(), secret=secret.encode(), scheme=GCS)
        return Made(record, file=f"{secret}\n")
    email = given.client_email or f"{name}@{_NOWHERE}"
    checked("--client-email", check_google_id, email)
    if given.client_email is None:
        refuse_shared("--client-email", GCS, email, place.ring)
    pair = new_pair(RSA)
    record = record_of(name, RSA, profile, kid=email, public_key=public_pem(pair), scheme=GCS)
    pem = private_pem(pair)
    return Made(record, pem, service_account(email, pem))


def service_account(email: str, private_key: str) -> str:
    """A service account's file as Google's SDKs load it, with all members that one of Google's has."""
    members = {
        "type": "service_account",
        "project_id": "valetstore",
        "private_key_id": secrets.token_hex(20),
        "private_key": private_key,
        "client_email": email,
        "client_id": str(secrets.randbelow(10**_CLIENT_ID_DIGITS)).zfill(_CLIENT_ID_DIGITS),
        "auth_uri": f"https://{_NOWHERE}/auth",
        "token_uri": f"https://{_NOWHERE}/token",
        "auth_provider_x509_cert_url": f"https://{_NOWHERE}/certificates",
        "client_x509_cert_url": f"https://{_NOWHERE}/certificates/{email}",
        # A client refuses credentials of another universe than its own, and this is every client's.
        "universe_domain": "googleapis.com",
    }
    return json.dumps(members, indent=2) + "\n"


def _take(name: str, profile: Profile, given: Given) -> KeyRecord:
    """From a public key, a service account's file (its public half alone), or an HMAC key."""
    sources = (given.public_key, given.service_account, given.access_id or given.secret_file)
    if sum(source is not None for source in sources) != 1:
        raise ConfigInvalid(
            "keys import --scheme gcs: give exactly one of --public-key (with --client-email), --service-account, and "
            "--access-id with --secret-file"
        )
    if given.service_account is not None:
        return _from_service_account(name, profile, given.service_account, given.client_email)
    if given.public_key is not None:
        return _from_public_key(name, profile, given.public_key, given.client_email)
    return _from_hmac(name, profile, given)


def _from_hmac(name: str, profile: Profile, given: Given) -> KeyRecord:
    if given.client_email is not None:
        raise ConfigInvalid("--client-email: is a service account's; an HMAC key has --access-id")
    needed(GCS, {"--access-id": given.access_id, "--secret-file": given.secret_file})
    assert given.access_id is not None
    assert given.secret_file is not None
    checked("--access-id", check_google_id, given.access_id)
    secret = one_line("--secret-file", given.secret_file)
    try:
        check_secret_access_key(secret)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--secret-file {given.secret_file}: {error}") from None
    return record_of(name, HMAC, profile, kid=given.access_id, secret=secret, scheme=GCS)


def _from_public_key(name: str, profile: Profile, path: Path, email: str | None) -> KeyRecord:
    needed(GCS, {"--public-key": path, "--client-email": email})
    assert email is not None
    checked("--client-email", check_google_id, email)
    data = read_file("--public-key", path)
    try:
        _, public = public_half(data, (RSA,))
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--public-key {path}: {error}") from None
    return record_of(name, RSA, profile, kid=email, public_key=public, scheme=GCS)


def _from_service_account(name: str, profile: Profile, path: Path, email: str | None) -> KeyRecord:
    if email is not None:
        raise ConfigInvalid("--client-email: the --service-account file says it")
    data = read_file("--service-account", path)
    try:
        account = msgspec.convert(strict_json(data), _ServiceAccount)
    except (ValueError, msgspec.ValidationError):
        # What is wrong with it is not told: its reader would show what stands in the file.
        raise ConfigInvalid(
            f"--service-account {path}: is not a service account's JSON file, with `client_email` and `private_key`"
        ) from None
    try:
        check_google_id(account.client_email)
        public = public_half_of_private(account.private_key)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"--service-account {path}: {error}") from None
    return record_of(name, RSA, profile, kid=account.client_email, public_key=public, scheme=GCS)


def _lines(made: Made, place: Place, file: Path | None) -> list[str]:
    record = made.record
    if record.algorithm == HMAC:
        return [
            f"# Signing key {record.name} (Google Cloud Storage), an HMAC key; the endpoint is {place.likely}",
            f"access id: {record.kid}",
            f"secret: {secret_of(record)['secret']}" if file is None else f"secret in: {file}",
        ]
    return [
        f"# Signing key {record.name} (Google Cloud Storage), the service account {record.kid}; for Google's SDKs:",
        f"export GOOGLE_APPLICATION_CREDENTIALS={shlex.quote(str(file))}",
        f'# storage.Client(client_options={{"api_endpoint": "{place.likely}"}})       (Python)',
        f'# new Storage({{ apiEndpoint: "{place.likely}" }})                            (Node)',
    ]


MAKER: Final = Maker(_create, _take, _lines, file_member="service_account_file")
