"""`valetstore sign --scheme s3`: presigned URLs and POST forms, as S3's own SDKs would sign them.

Rule 1: a condition is signed, or refused with the reason: none that was asked for is left out in silence.
Rule 2: what the signing key's profile forbids is refused as it is for native keys, by the same code.
"""

import base64
import time
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

import click
import msgspec

from valetstore.cli.options import print_json
from valetstore.cli.sign_form import conditions_of, form_terms, page_of
from valetstore.cli.vendors.aws import region_of, secret_of
from valetstore.cli.wanted import Asked, Wanted
from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import Claims
from valetstore.grants.presign import FILENAME, Form, Request
from valetstore.grants.s3.sign import V4_SECONDS_MAX, Key, post_form, presign_v2, presign_v4, v2_signs
from valetstore.grants.s3.v2 import EXPIRES_MAX
from valetstore.keys.ring import SigningKey
from valetstore.objectkey import split_path
from valetstore.signing import Terms, claims_for, download_headers, refuse_beyond

_NOT_IN_S3: Final = {
    "start": "--start: what is signed for S3 holds at once; sign it when it is to begin",
    "budget": "--budget: no key of S3's has one of its own; its signing key's holds (`keys create --budget`)",
    "subject": "--sub: S3 names nobody; `keys session` makes credentials whose access key id the audit shows",
    "audience": "--aud: S3 signs the Host instead",
    "https": "--https: no key of S3's says so; its signing key's profile can (`keys create --https`)",
}
_NOT_IN_V2: Final = {
    "uses": "--once, --uses",
    "length": "--length",
    "types": "--type",
    "networks": "--ip",
    "create_only": "--create-only",
    "sha256": "--sha256",
}
_FORM_FIELDS: Final = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}
)
_NOT_TO_SIGN: Final = frozenset({"host", "authorization", "x-amz-date", "x-amz-security-token", "x-amz-signature"})
_NATIVE_METHODS: Final = {"POST": "PUT"}
"""What `claims_for` calls a method that it does not know."""


def sign_s3(config: Config, key: SigningKey, wanted: Wanted, *, as_json: bool) -> None:
    """Sign and print. Raises SigningRefused, ConfigInvalid, Denied (`object_key_invalid`)."""
    method, path, expires, base_url, terms, asked = wanted
    is_form, now = asked.post or method == "POST", int(time.time())
    _refuse_foreign(method, terms, asked, is_form)
    if asked.sigv2:
        if not config.s3.sigv2:
            raise ConfigInvalid("--sigv2: the gateway refuses it (s3.sigv2 = false); leave --sigv2 away")
        _refuse_in_v2(method, terms, asked, expires_at=now + expires, is_form=is_form)
    elif expires > V4_SECONDS_MAX:
        raise ConfigInvalid(f"--expires {expires}: signature version 4 allows at most {V4_SECONDS_MAX} seconds (7d)")
    known = cast(Terms, {name: value for name, value in terms.items() if name not in ("filename", "inline")})
    claims = claims_for(_NATIVE_METHODS.get(method, method), path, expires=expires, **known)
    refuse_beyond(_with_signed_type(claims, asked), key.limits)
    signer = Key(key.record.kid, secret_of(key.record).encode())
    if is_form:
        region = "" if asked.sigv2 else region_of(config)
        form = _form(signer, base_url, path, claims, asked, now=now, expires=expires, region=region)
        click.echo(page_of(form, claims) if asked.html else "", nl=False)
        if not asked.html:
            print_json({"url": form.url, "fields": form.fields})
        return
    request = _request(method, base_url, path, claims, asked, terms)
    if asked.sigv2:
        url = presign_v2(signer, request, expires_at=now + expires)
    else:
        url = presign_v4(signer, request, now=now, expires=expires, region=region_of(config))
    _tell(key, request, url, now + expires, as_json=as_json)


def _with_signed_type(claims: Claims, asked: Asked) -> Claims:
    """A content type that is signed as a header is asked for like one that a condition names."""
    signed = dict(asked.headers).get("content-type")
    if signed is None or claims.type is not None:
        return claims
    return msgspec.structs.replace(claims, type=[signed.partition(";")[0].strip()])


def _refuse_foreign(method: str, terms: Terms, asked: Asked, is_form: bool) -> None:
    """Raise ConfigInvalid for what is asked for and cannot be signed, and say why."""
    said = cast(Mapping[str, Any], terms)
    for name, why in _NOT_IN_S3.items():
        if said.get(name):
            raise ConfigInvalid(why)
    if is_form:
        _refuse_in_form(method, terms, asked)
    else:
        _refuse_in_url(method, terms, asked)
    for name, _ in asked.headers:
        if name in _NOT_TO_SIGN or name.startswith("x-valet-"):
            raise ConfigInvalid(f"--signed-header {name}: is no header to sign; it is signed by itself, or an option")
        if is_form and name not in _FORM_FIELDS and not name.startswith(("x-amz-meta-", "x-amz-checksum-")):
            raise ConfigInvalid(f"--signed-header {name}: a form has no field for it")


def _refuse_in_form(method: str, terms: Terms, asked: Asked) -> None:
    if method not in ("PUT", "POST"):
        raise ConfigInvalid(f"--post: a form uploads; METHOD is POST or PUT, not {method}")
    if terms.get("filename") or terms.get("inline"):
        raise ConfigInvalid("--filename, --inline: are for a GET; of a form, sign the field content-disposition")
    if asked.success_redirect is not None and urlsplit(asked.success_redirect).scheme not in ("http", "https"):
        raise ConfigInvalid(f"--success-redirect {asked.success_redirect!r}: must start with http:// or https://")


def _refuse_in_url(method: str, terms: Terms, asked: Asked) -> None:
    if asked.html or asked.success_status or asked.success_redirect:
        raise ConfigInvalid("--html, --success-status, --success-redirect: are for a form (--post)")
    if terms.get("prefix"):
        raise ConfigInvalid(
            "--prefix: a URL of S3's is for one object; --post signs a form for a prefix, `keys session` credentials"
        )
    if (terms.get("filename") or terms.get("inline")) and method not in ("GET", "HEAD"):
        raise ConfigInvalid("--filename, --inline: are for a GET; of a PUT, sign the header content-disposition")
    if terms.get("sha256") and method != "PUT":
        raise ConfigInvalid(f"--sha256: is of an upload, not of {method}")


def _refuse_in_v2(method: str, terms: Terms, asked: Asked, *, expires_at: int, is_form: bool) -> None:
    said = cast(Mapping[str, Any], terms)
    for name, option in () if is_form else _NOT_IN_V2.items():
        if said.get(name):
            raise ConfigInvalid(f"{option}: signature version 2 does not sign it; leave --sigv2 away")
    if expires_at > EXPIRES_MAX:
        raise ConfigInvalid("--expires: signature version 2 ends in the year 2038")
    if method == "LIST":
        raise ConfigInvalid("LIST: signature version 2 does not sign a list's prefix; leave --sigv2 away")
    for name, _ in () if is_form else asked.headers:
        if not v2_signs(name):
            raise ConfigInvalid(f"--signed-header {name}: signature version 2 does not sign it; leave --sigv2 away")


def _request(method: str, base_url: str, path: str, claims: Claims, asked: Asked, terms: Terms) -> Request:
    parameters = list(conditions_of(claims).items())
    response = download_headers({}, terms.get("filename"), terms.get("inline", False))
    parameters += [(f"response-{name}", value) for name, value in response.items()]
    if method == "LIST":
        bucket, within = split_path(path)
        parameters += [("list-type", "2"), ("prefix", within)]
        return Request("GET", base_url, f"/{bucket}", asked.headers, tuple(parameters))
    return Request(method, base_url, path, asked.headers, tuple(parameters), (claims.sha256 or "").lower())


def _form(
    signer: Key, base_url: str, path: str, claims: Claims, asked: Asked, *, now: int, expires: int, region: str
) -> Form:
    bucket, name = split_path(path)
    conditions, fields = form_terms(claims, asked)
    if claims.sha256 is not None:
        fields["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(claims.sha256)).decode()
    name += FILENAME if claims.prefix is not None else ""
    return post_form(
        signer, base_url, bucket, name, now=now, expires=expires, region=region, conditions=conditions, fields=fields
    )


def _tell(key: SigningKey, request: Request, url: str, expires_at: int, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "method": request.method,
                "url": url,
                "headers": dict(request.headers),
                "access_key_id": key.record.kid,
                "expires_at": expires_at,
            }
        )
        return
    click.echo(url)
    for name, value in request.headers:
        click.echo(f"Send it with the header {name}: {value}", err=True)
