"""`valetstore sign --scheme azure`: shared access signatures, as Azure's own SDKs would sign them.

Rule 1: a condition is signed, or refused with the reason: none that was asked for is left out in silence.
Rule 2: what the signing key's profile forbids is refused as it is for native keys, by the same code.
"""

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote

import click
import msgspec

from valetstore.cli.options import print_json
from valetstore.cli.wanted import Wanted
from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.grants.azure import sign
from valetstore.grants.azure.permissions import ACCOUNT_ORDER, SERVICE_ORDER, in_order, operations_of
from valetstore.grants.claims import Claims, as_list
from valetstore.grants.grant import Operation
from valetstore.grants.networks import parse_networks
from valetstore.keys.ring import SigningKey
from valetstore.objectkey import split_path
from valetstore.signing import Terms, claims_for, download_headers, refuse_beyond

_PROFILE: Final = "no SAS says so; its signing key's profile can (`keys create {}`)"
_NOT_IN_A_SAS: Final = {
    "uses": "--once, --uses: " + _PROFILE.format("--single-use, --uses"),
    "length": "--length: " + _PROFILE.format("--length-max"),
    "types": "--type: " + _PROFILE.format("--type"),
    "budget": "--budget: " + _PROFILE.format("--budget"),
    "sha256": "--sha256: no SAS says what is uploaded; send Content-MD5 with it",
    "subject": "--sub: a SAS names nobody but the account",
    "audience": "--aud: a SAS is for its account",
}
_LETTERS: Final = {"GET": "r", "HEAD": "r", "PUT": "w", "DELETE": "d", "LIST": "l"}
_CREATE: Final = "c"
_UPLOAD_HEADERS: Final = {"x-ms-blob-type": "BlockBlob"}
"""What Put Blob asks for."""


def sign_azure(config: Config, key: SigningKey, wanted: Wanted, *, as_json: bool) -> None:
    """Sign and print. Raises SigningRefused, ConfigInvalid, Denied (`object_key_invalid`)."""
    letters = _letters(wanted)
    _refuse_foreign(wanted)
    claims = _claims(wanted, letters)
    refuse_beyond(claims, key.limits)
    if not isinstance(key.material, bytes):
        raise ConfigInvalid(f"signing key {key.name!r}: has no account key to sign with")
    query = _sas(sign.Key(key.record.kid, key.material), wanted, claims, letters)
    _tell(key, wanted, _url(key.record.kid, wanted, query), int(claims.exp), as_json=as_json)


def _letters(wanted: Wanted) -> str:
    """`sp`: what was typed, else what METHOD needs."""
    asked = wanted.asked
    if asked.permissions is None:
        is_new = wanted.method == "PUT" and wanted.terms.get("create_only")
        return _CREATE if is_new else _LETTERS[wanted.method]
    if not in_order(asked.permissions, account=asked.account):
        order = ACCOUNT_ORDER if asked.account else SERVICE_ORDER
        raise ConfigInvalid(f"--permissions {asked.permissions!r}: must be letters in Azure's order, as {order}")
    if not operations_of(asked.permissions):
        raise ConfigInvalid(f"--permissions {asked.permissions!r}: opens nothing here; some of r, c, w, d, l do")
    return asked.permissions


def _refuse_foreign(wanted: Wanted) -> None:
    """Raise ConfigInvalid for what is asked for and cannot be signed, and say why."""
    method, path, _, _, terms, asked = wanted
    said = cast(Mapping[str, Any], terms)
    for name, why in _NOT_IN_A_SAS.items():
        if said.get(name):
            raise ConfigInvalid(why)
    if terms.get("create_only") and (method != "PUT" or asked.permissions is not None):
        raise ConfigInvalid("--create-only: is the permission `c` of a PUT, without --permissions")
    if len(terms.get("networks", ())) > 1:
        raise ConfigInvalid("--ip: a SAS has one address or one range; leave the others away")
    if terms.get("filename") or terms.get("inline"):
        if asked.account:
            raise ConfigInvalid("--filename, --inline: an account SAS does not say so; leave --account-sas away")
        if method not in ("GET", "HEAD"):
            raise ConfigInvalid("--filename, --inline: are for a GET; of a PUT, send x-ms-blob-content-disposition")
    if path == "/" and terms.get("prefix") and not asked.account:
        raise ConfigInvalid("--prefix /: a SAS for all containers is one for the account: --account-sas")


def _claims(wanted: Wanted, letters: str) -> Claims:
    """What is asked for in our own terms, to be held against the profile. Raises ArgumentInvalid, Denied."""
    method, path, expires, _, terms, asked = wanted
    known = cast(Terms, {name: value for name, value in terms.items() if name not in ("filename", "inline")})
    if asked.account and method == "LIST" and path == "/":
        known["prefix"] = True
        claims = claims_for("GET", path, expires=expires, **known)
    else:
        claims = claims_for(method, path, expires=expires, **known)
    return msgspec.structs.replace(claims, ops=cast(list[Operation], sorted(operations_of(letters))))


def _sas(key: sign.Key, wanted: Wanted, claims: Claims, letters: str) -> str:
    terms = sign.Terms(
        letters,
        int(claims.exp),
        None if claims.nbf is None else int(claims.nbf),
        _addresses(as_list(claims.ip)),
        claims.https,
        download_headers({}, wanted.terms.get("filename"), wanted.terms.get("inline", False)),
    )
    if wanted.asked.account:
        return sign.account_sas(key, terms)
    container, name = split_path(wanted.path)
    if claims.prefix is None:
        return sign.blob_sas(key, terms, container, name)
    if not name:
        return sign.container_sas(key, terms, container)
    directory = name.removesuffix("/")
    if "" in directory.split("/"):
        raise ConfigInvalid(f"PATH {wanted.path!r}: a directory without a name cannot be signed")
    return sign.directory_sas(key, terms, container, directory)


def _addresses(networks: list[str]) -> str:
    """`sip` of at most one network."""
    if not networks:
        return ""
    (network,) = parse_networks(networks)
    first, last = network[0], network[-1]
    return str(first) if first == last else f"{first}-{last}"


def _url(account: str, wanted: Wanted, query: str) -> str:
    base = f"{wanted.base_url.rstrip('/')}/{account}"
    if wanted.method != "LIST":
        return f"{base}{quote(wanted.path, safe='/~')}?{query}"
    container, prefix = split_path(wanted.path)
    if not container:
        return f"{base}?comp=list&{query}"
    within = f"&prefix={quote(prefix, safe='')}" if prefix else ""
    return f"{base}/{quote(container)}?restype=container&comp=list{within}&{query}"


def _tell(key: SigningKey, wanted: Wanted, url: str, expires_at: int, *, as_json: bool) -> None:
    headers = _UPLOAD_HEADERS if wanted.method == "PUT" else {}
    if as_json:
        method = "GET" if wanted.method == "LIST" else wanted.method
        said = {"method": method, "url": url, "headers": headers}
        print_json(said | {"account_name": key.record.kid, "expires_at": expires_at})
        return
    click.echo(url)
    for name, value in headers.items():
        click.echo(f"Send it with the header {name}: {value}", err=True)
