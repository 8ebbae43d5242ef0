"""`valetstore sign --scheme gcs`: signed URLs and POST forms, as Google's own SDKs would sign them.

Rule 1: a condition is signed, or refused with the reason: none that was asked for is left out in silence.
Rule 2: what the signing key's profile forbids is refused as it is for native keys, by the same code.
"""

import time
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

import click
import msgspec

from valetstore.cli.options import print_json
from valetstore.cli.sign_form import conditions_of, form_terms, page_of
from valetstore.cli.wanted import Asked, Wanted
from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import Claims
from valetstore.grants.gcs.sign import PAYLOAD, START, V4_SECONDS_MAX, Key, post_form, sign_v2, sign_v4, v2_signs
from valetstore.grants.presign import FILENAME, Form, Request
from valetstore.keys.ring import SigningKey
from valetstore.keys.ringfile import RingFile
from valetstore.objectkey import split_path
from valetstore.signing import Terms, claims_for, download_headers, refuse_beyond

_NOT_IN_GCS: Final = {
    "start": "--start: what is signed for Google holds at once; sign it when it is to begin",
    "budget": "--budget: no key of Google's has one of its own; its signing key's holds (`keys create --budget`)",
    "subject": "--sub: a key of Google's names its signer alone",
    "audience": "--aud: Google signs the Host instead",
    "https": "--https: no key of Google's says so; its signing key's profile can (`keys create --https`)",
}
_NOT_IN_V2: Final = {
    "uses": "--once, --uses",
    "types": "--type",
    "networks": "--ip",
}
_NOT_FOR_GCS: Final = frozenset({"--account-sas", "--permissions", "--cookie", "--hash"})
_FORM_FIELDS: Final = frozenset({"cache-control", "content-disposition", "content-encoding", "content-type"})
_NOT_TO_SIGN: Final = frozenset({"host", "authorization", START[0], PAYLOAD})
_NATIVE_METHODS: Final = {"POST": "PUT"}
"""What `claims_for` calls a method that it does not know."""


def sign_gcs(config: Config, key: SigningKey, wanted: Wanted, *, as_json: bool) -> None:
    """Sign and print. Raises SigningRefused, ConfigInvalid, Denied (`object_key_invalid`)."""
    method, path, expires, base_url, terms, asked = wanted
    is_form, now = asked.post or (method == "POST" and not asked.resumable), int(time.time())
    _refuse_foreign(method, terms, asked, is_form)
    if asked.sigv2:
        _refuse_in_v2(config, terms, asked, is_form)
    elif expires > V4_SECONDS_MAX:
        raise ConfigInvalid(f"--expires {expires}: signature version 4 allows at most {V4_SECONDS_MAX} seconds (7d)")
    known = cast(Terms, {name: value for name, value in terms.items() if name not in ("filename", "inline")})
    claims = claims_for(_NATIVE_METHODS.get(method, method), path, expires=expires, **known)
    refuse_beyond(_with_signed_type(claims, asked), key.limits)
    signer = _signer(config, key)
    if is_form:
        _tell_form(_form(signer, base_url, path, claims, asked, now=now, expires=expires), claims, asked)
        return
    if asked.sigv2:
        request = _request(method, base_url, path, _as_headers(claims), asked, terms, conditions={})
        url = sign_v2(signer, request, expires_at=now + expires)
    else:
        request = _request(method, base_url, path, (), asked, terms, conditions_of(claims))
        request = request._replace(payload=(claims.sha256 or "").lower())
        url = sign_v4(signer, request, now=now, expires=expires)
    _tell(key, request, url, now + expires, as_json=as_json)


def _signer(config: Config, key: SigningKey) -> Key:
    material = key.material if isinstance(key.material, bytes) else RingFile(config.data).private_half(key.name)
    return Key(key.record.kid, material)


def _with_signed_type(claims: Claims, asked: Asked) -> Claims:
    """A content type that is signed as a header is asked for like one that a condition names."""
    signed = dict(asked.headers).get("content-type")
    if signed is None or claims.type is not None:
        return claims
    return msgspec.structs.replace(claims, type=[signed.partition(";")[0].strip()])


def _refuse_foreign(method: str, terms: Terms, asked: Asked, is_form: bool) -> None:
    """Raise ConfigInvalid for what is asked for and cannot be signed, and say why."""
    said = cast(Mapping[str, Any], terms)
    for name, why in _NOT_IN_GCS.items():
        if said.get(name):
            raise ConfigInvalid(why)
    for option in asked.options:
        if option in _NOT_FOR_GCS:
            raise ConfigInvalid(f"{option}: Google has nothing of the kind")
    if is_form:
        _refuse_in_form(method, terms, asked)
    else:
        _refuse_in_url(method, terms, asked)
    for name, _ in asked.headers:
        if name in _NOT_TO_SIGN or name.startswith("x-valet-"):
            raise ConfigInvalid(f"--signed-header {name}: is no header to sign; it is signed by itself, or an option")
        if is_form and name not in _FORM_FIELDS and not name.startswith("x-goog-meta-"):
            raise ConfigInvalid(f"--signed-header {name}: a form has no field for it")


def _refuse_in_form(method: str, terms: Terms, asked: Asked) -> None:
    if method not in ("PUT", "POST"):
        raise ConfigInvalid(f"--post: a form uploads; METHOD is POST or PUT, not {method}")
    if asked.resumable:
        raise ConfigInvalid("--resumable: begins an upload in chunks, and --post signs a form; take one of them")
    if asked.sigv2:
        raise ConfigInvalid("--sigv2: forms are signed by version 4 here; leave it away")
    if terms.get("filename") or terms.get("inline"):
        raise ConfigInvalid("--filename, --inline: are for a GET; of a form, sign the field content-disposition")
    if terms.get("sha256"):
        raise ConfigInvalid("--sha256: a form of Google's has no field for it; sign a PUT")
    if asked.success_redirect is not None and urlsplit(asked.success_redirect).scheme not in ("http", "https"):
        raise ConfigInvalid(f"--success-redirect {asked.success_redirect!r}: must start with http:// or https://")


def _refuse_in_url(method: str, terms: Terms, asked: Asked) -> None:
    if asked.html or asked.success_status or asked.success_redirect:
        raise ConfigInvalid("--html, --success-status, --success-redirect: are for a form (--post)")
    if terms.get("prefix"):
        raise ConfigInvalid("--prefix: a URL of Google's is for one object; --post signs a form for a prefix")
    if (terms.get("filename") or terms.get("inline")) and method not in ("GET", "HEAD"):
        raise ConfigInvalid("--filename, --inline: are for a GET; of a PUT, sign the header content-disposition")
    if asked.resumable and method not in ("PUT", "POST"):
        raise ConfigInvalid(f"--resumable: begins an upload; METHOD is PUT or POST, not {method}")
    if terms.get("sha256") and (method != "PUT" or asked.resumable):
        raise ConfigInvalid("--sha256: is of an upload by one PUT")


def _refuse_in_v2(config: Config, terms: Terms, asked: Asked, is_form: bool) -> None:
    if not config.gcs.gcs_v2:
        raise ConfigInvalid("--sigv2: the gateway refuses it (gcs.gcs-v2 = false); leave --sigv2 away")
    said = cast(Mapping[str, Any], terms)
    for name, option in _NOT_IN_V2.items():
        if said.get(name):
            raise ConfigInvalid(f"{option}: signature version 2 does not sign it; leave --sigv2 away")
    for name, _ in () if is_form else asked.headers:
        if not v2_signs(name):
            raise ConfigInvalid(f"--signed-header {name}: signature version 2 does not sign it; leave --sigv2 away")


def _as_headers(claims: Claims) -> tuple[tuple[str, str], ...]:
    """What version 2 signs of the conditions: as Google's own headers, which the client must then send."""
    said = {
        "x-goog-content-length-range": None if claims.length is None else ",".join(map(str, claims.length)),
        "x-goog-if-generation-match": "0" if claims.create else None,
        PAYLOAD: (claims.sha256 or "").lower() or None,
    }
    return tuple((name, value) for name, value in said.items() if value is not None)


def _request(
    method: str,
    base_url: str,
    path: str,
    further: tuple[tuple[str, str], ...],
    asked: Asked,
    terms: Terms,
    conditions: Mapping[str, str],
) -> Request:
    """What is to be signed, but for its payload."""
    parameters = list(conditions.items())
    response = download_headers({}, terms.get("filename"), terms.get("inline", False))
    parameters += [(f"response-{name}", value) for name, value in response.items()]
    headers = (*asked.headers, *further)
    if method == "LIST":
        bucket, within = split_path(path)
        parameters += [("prefix", within)] if within else []
        return Request("GET", base_url, f"/{bucket}", headers, tuple(parameters))
    if asked.resumable:
        return Request("POST", base_url, path, (*headers, START), tuple(parameters))
    return Request(method, base_url, path, headers, tuple(parameters))


def _form(signer: Key, base_url: str, path: str, claims: Claims, asked: Asked, *, now: int, expires: int) -> Form:
    bucket, name = split_path(path)
    conditions, fields = form_terms(claims, asked)
    name += FILENAME if claims.prefix is not None else ""
    return post_form(signer, base_url, bucket, name, now=now, expires=expires, conditions=conditions, fields=fields)


def _tell_form(form: Form, claims: Claims, asked: Asked) -> None:
    if asked.html:
        click.echo(page_of(form, claims), nl=False)
    else:
        print_json({"url": form.url, "fields": form.fields})


def _tell(key: SigningKey, request: Request, url: str, expires_at: int, *, as_json: bool) -> None:
    headers = dict(request.headers) | ({PAYLOAD: request.payload} if request.payload else {})
    if as_json:
        print_json(
            {
                "method": request.method,
                "url": url,
                "headers": headers,
                "client_email" if key.record.public_key else "access_id": key.record.kid,
                "expires_at": expires_at,
            }
        )
        return
    click.echo(url)
    for name, value in headers.items():
        click.echo(f"Send it with the header {name}: {value}", err=True)
