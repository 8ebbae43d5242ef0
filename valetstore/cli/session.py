"""`valetstore keys session`: temporary credentials for S3, which nobody stores.

Rule: they are never wider than the signing key that makes them; what asks for more is refused here, with the reason.
"""

import time
from datetime import UTC, datetime

import click

from valetstore.cli.options import Duration, Settings, comma_list, json_option, print_json, settings_options
from valetstore.cli.profile import operations_of
from valetstore.cli.vendors.aws import Credentials, credentials_of
from valetstore.encoding import http_date
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import OPERATIONS, Limits
from valetstore.grants.s3.session import mint
from valetstore.keys.ring import check_not_reserved
from valetstore.keys.ringfile import RingFile
from valetstore.keys.vendor import S3
from valetstore.signing import refuse_life, refuse_operations, refuse_path, signing_key


@click.command("session", short_help="Temporary credentials for S3.")
@click.argument("name")
@settings_options
@json_option
@click.option("--expires", type=Duration(minimum=1), default="1h", show_default=True, help="How long they are valid.")
@click.option("--prefix", "prefixes", multiple=True, callback=comma_list, metavar="/PREFIX/", help="Only below.")
@click.option(
    "--ops",
    multiple=True,
    callback=comma_list,
    metavar="OPS",
    help=f"Operations, of {', '.join(sorted(OPERATIONS - {'admin'}))}.  [default: what NAME allows]",
)
@click.option(
    "--credential-process", is_flag=True, help="Print what `credential_process` of an AWS profile is to print."
)
def command(
    settings: Settings,
    name: str,
    expires: int,
    prefixes: tuple[str, ...],
    ops: tuple[str, ...],
    credential_process: bool,
    as_json: bool,
) -> None:
    """Make temporary credentials with the signing key NAME: access key id, secret and session token.

    They are printed as a profile of the AWS command line and SDKs. They open what NAME allows, or less: below --prefix,
    for --ops; asking for more is refused (exit status 1). They end by themselves, with NAME, or when they are revoked:
    `valetstore revoke --subject ACCESS_KEY_ID`.
    """
    if as_json and credential_process:
        raise ConfigInvalid("--json and --credential-process: give one of them")
    check_not_reserved(name)
    config = settings.load()
    key = signing_key(RingFile(config.data).load(), name, S3)
    operations = operations_of("--ops", ops, OPERATIONS - {"admin"})
    _refuse_beyond(operations, prefixes, expires, key.limits)
    parent = credentials_of(config, key.record)
    made = mint(
        parent.access_key_id,
        parent.secret_access_key.encode(),
        int(time.time()) + expires,
        operations,
        prefixes,
    )
    session = Credentials(
        f"{name}-session",
        made.access_key_id,
        made.secret_access_key,
        parent.region,
        parent.endpoint_url,
        made.session_token,
    )
    if credential_process:
        print_json(_for_credential_process(session, made.expires_at))
    elif as_json:
        print_json(_as_json(session, made.expires_at))
    else:
        click.echo(f"# Until {http_date(made.expires_at)}, as a profile of ~/.aws/credentials:")
        click.echo(session.profile())


def _refuse_beyond(operations: tuple[str, ...], prefixes: tuple[str, ...], seconds: int, limits: Limits) -> None:
    refuse_operations(operations, limits)
    refuse_life(seconds, limits)
    for prefix in prefixes:
        if not (prefix.startswith("/") and prefix.endswith("/")):
            raise ConfigInvalid(f"--prefix {prefix!r}: must start and end with a slash, as /photos/")
        refuse_path(prefix, limits)


def _as_json(session: Credentials, expires_at: int) -> dict[str, object]:
    return {
        "access_key_id": session.access_key_id,
        "secret_access_key": session.secret_access_key,
        "session_token": session.session_token,
        "expiration": _iso(expires_at),
        "region": session.region,
        "endpoint_url": session.endpoint_url or None,
    }


def _for_credential_process(session: Credentials, expires_at: int) -> dict[str, object]:
    """As AWS's tools read it: "Sourcing credentials with an external process", version 1."""
    return {
        "Version": 1,
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "SessionToken": session.session_token,
        "Expiration": _iso(expires_at),
    }


def _iso(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
