"""The options of `keys create` and `keys import` that are not every scheme's, and which scheme has which.

Rule: an option that the chosen scheme does not have is refused by its name, never ignored.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from valetstore.cli.vendors.maker import Given
from valetstore.errors import ConfigInvalid
from valetstore.keys.ring import NATIVE
from valetstore.keys.vendor import AZURE, CLOUDFRONT, GCS, S3, SWIFT, VENDORS

SCHEMES: Final = (NATIVE, *VENDORS)

SCHEME_OPTION: Final = click.option(
    "--scheme", type=click.Choice(list(SCHEMES)), default=NATIVE, show_default=True, help="What its keys are."
)

Schemes = Mapping[str, tuple[str, ...]]

CREATE: Final[Schemes] = {
    "alg": (NATIVE,),
    "private_out": (NATIVE,),
    "out": (GCS, AZURE, CLOUDFRONT, SWIFT),
    "access_key_id": (S3,),
    "secret_file": (S3,),
    "account": (AZURE, SWIFT),
    "client_email": (GCS,),
    "hmac": (GCS,),
    "key_pair_id": (CLOUDFRONT,),
    "ec": (CLOUDFRONT,),
}
"""Which schemes have an option of `keys create`."""

IMPORT: Final[Schemes] = {
    "public_key": (NATIVE, GCS, CLOUDFRONT),
    "jwks": (NATIVE,),
    "secret_file": (NATIVE, S3, GCS, SWIFT),
    "secret_encoding": (NATIVE,),
    "kid": (NATIVE,),
    "access_key_id": (S3,),
    "client_email": (GCS,),
    "service_account": (GCS,),
    "access_id": (GCS,),
    "account": (AZURE, SWIFT),
    "account_key_file": (AZURE,),
    "connection_string_file": (AZURE,),
    "key_pair_id": (CLOUDFRONT,),
}
"""Which schemes have an option of `keys import`."""


def _file(option: str, text: str) -> Any:
    return click.option(option, type=click.Path(path_type=Path), metavar="FILE", help=text)


_CREATE: Final = (
    click.option("--access-key-id", metavar="ID", help="S3: this one, not a new one."),
    _file("--secret-file", "S3: the secret access key in FILE, - for standard input, not a new one."),
    click.option(
        "--client-email", metavar="EMAIL", help="Google: the service account; default: NAME@valetstore.invalid."
    ),
    click.option("--hmac", is_flag=True, help="Google: an HMAC key, not a service account."),
    click.option(
        "--account", metavar="NAME", help="Azure, Swift: the account; default: made of NAME (Swift: AUTH_NAME)."
    ),
    click.option("--key-pair-id", metavar="ID", help="CloudFront: this one, not a new one."),
    click.option("--ec", is_flag=True, help="CloudFront: ECDSA (P-256), not RSA."),
    click.option(
        "--out",
        metavar="FILE",
        help="Google, CloudFront: the service account's file or private key; keep no copy. Azure: the connection "
        "string. Swift, --hmac: the key.",
    ),
)

_IMPORT: Final = (
    click.option("--access-key-id", metavar="ID", help="S3: the access key id, with --secret-file."),
    click.option("--client-email", metavar="EMAIL", help="Google: the service account of the --public-key."),
    _file("--service-account", "Google: a service account's JSON file, of which the public half is taken."),
    click.option("--access-id", metavar="ID", help="Google: an HMAC key's, with --secret-file."),
    click.option("--account", metavar="NAME", help="Azure, Swift: the account of the key."),
    _file("--account-key-file", "Azure: the account key in base64."),
    _file("--connection-string-file", "Azure: a connection string, in place of --account and the key."),
    click.option("--key-pair-id", metavar="ID", help="CloudFront: the id of the --public-key."),
)


def create_options(function: Any) -> Any:
    """What `keys create` has of vendors' options."""
    return _given_to(function, _CREATE)


def import_options(function: Any) -> Any:
    """What `keys import` has of vendors' options."""
    return _given_to(function, _IMPORT)


def given_of(said: dict[str, Any]) -> Given:
    """Those of the options that a vendor's own file reads, which are taken out of `said`."""
    return Given(**{name: said.pop(name) for name in Given._fields if name in said})


def refuse_others(scheme: str, schemes: Schemes, said: Mapping[str, object]) -> None:
    """Raise ConfigInvalid where an option was given that the scheme does not have."""
    for name, having in schemes.items():
        if scheme not in having and said.get(name) not in (None, False, ()):
            raise ConfigInvalid(f"{option_of(name)}: {why_not(scheme, having)}")


def why_not(scheme: str, having: tuple[str, ...]) -> str:
    """Why this scheme has not what others have; both are named."""
    vendors = " or ".join(having) if len(having) < 3 else f"{', '.join(having[:-1])} or {having[-1]}"
    if scheme == NATIVE:
        return f"needs --scheme {vendors}"
    if having == (NATIVE,):
        return f"is for JWTs, not for {VENDORS[scheme].title}"
    return f"is for --scheme {vendors}, not for {VENDORS[scheme].title}"


def option_of(name: str) -> str:
    """A parameter as the option that gives it."""
    return f"--{name.replace('_', '-')}"


def _given_to(function: Any, options: tuple[Any, ...]) -> Any:
    for option in reversed(options):
        function = option(function)
    return function
