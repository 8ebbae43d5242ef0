"""`valetstore sign --scheme swift`: TempURLs and forms, as Swift's own tools would sign them.

Rule 1: a condition is signed, or refused with the reason: none that was asked for is left out in silence.
Rule 2: what the signing key's profile forbids is refused as it is for native keys, by the same code.
"""

from collections.abc import Mapping
from html import escape
from typing import Any, Final, cast
from urllib.parse import urlsplit

import click

from valetstore.cli.options import print_json
from valetstore.cli.wanted import Asked, Wanted
from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import Claims, as_list
from valetstore.grants.swift.sign import HASHES, Form, Key, form, temp_url
from valetstore.keys.ring import SigningKey
from valetstore.signing import Terms, claims_for, refuse_beyond

_PROFILE: Final = "no key of Swift's says so; its signing key's profile can (`keys create {}`)"
_NOT_IN_SWIFT: Final = {
    "start": "--start: what is signed for Swift holds at once; sign it when it is to begin",
    "uses": "--once, --uses: " + _PROFILE.format("--single-use, --uses"),
    "budget": "--budget: " + _PROFILE.format("--budget"),
    "types": "--type: " + _PROFILE.format("--type"),
    "https": "--https: " + _PROFILE.format("--https"),
    "create_only": "--create-only: " + _PROFILE.format("--create-only"),
    "sha256": "--sha256: no key of Swift's says what is uploaded; send the header Etag (MD5) with it",
    "subject": "--sub: Swift names nobody but the account",
    "audience": "--aud: Swift signs the account instead",
}
_OPTIONS: Final = frozenset({"--post", "--html", "--success-redirect", "--hash"})
_FORM_METHODS: Final = ("PUT", "POST")
_FILES: Final = 1
"""How many files a form takes that is signed here."""


def sign_swift(config: Config, key: SigningKey, wanted: Wanted, *, as_json: bool) -> None:
    """Sign and print. Raises SigningRefused, ConfigInvalid, Denied (`object_key_invalid`)."""
    method, path, expires, base_url, terms, asked = wanted
    is_form = asked.post or method == "POST"
    _refuse_foreign(method, terms, asked, is_form=is_form)
    hashed = _hash(config, asked)
    known = cast(Terms, {name: value for name, value in terms.items() if name not in ("filename", "inline")})
    claims = claims_for("PUT" if is_form else method, path, expires=expires, **known)
    refuse_beyond(claims, key.limits)
    if not isinstance(key.material, bytes):
        raise ConfigInvalid(f"signing key {key.name!r}: has no secret to sign with")
    signer, ends = Key(key.record.kid, key.material), int(claims.exp)
    if is_form:
        size_max = _size_max(config, key, claims)
        redirect = asked.success_redirect or ""
        made = form(
            signer,
            base_url,
            path,
            expires_at=ends,
            size_max=size_max,
            count_max=_FILES,
            redirect=redirect,
            hashed=hashed,
        )
        if asked.html:
            click.echo(_page(made), nl=False)
        else:
            print_json({"url": made.url, "fields": made.fields})
        return
    url = temp_url(
        signer,
        base_url,
        method,
        path,
        expires_at=ends,
        hashed=hashed,
        prefix=claims.prefix is not None,
        ip_range=next(iter(as_list(claims.ip)), ""),
        filename=terms.get("filename"),
        inline=terms.get("inline", False),
    )
    _tell(key, method, url, claims, as_json=as_json)


def _refuse_foreign(method: str, terms: Terms, asked: Asked, *, is_form: bool) -> None:
    """Raise ConfigInvalid for what is asked for and cannot be signed, and say why."""
    for option in asked.options:
        if option not in _OPTIONS:
            raise ConfigInvalid(f"{option}: Swift has nothing of the kind")
    said = cast(Mapping[str, Any], terms)
    for name, why in _NOT_IN_SWIFT.items():
        if said.get(name):
            raise ConfigInvalid(why)
    if is_form:
        _refuse_in_form(method, terms, asked)
    else:
        _refuse_in_url(method, terms, asked)


def _refuse_in_form(method: str, terms: Terms, asked: Asked) -> None:
    if method not in _FORM_METHODS:
        raise ConfigInvalid(f"--post: a form uploads; METHOD is POST or PUT, not {method}")
    if not terms.get("prefix"):
        raise ConfigInvalid(
            "--post: the client names the files of a form of Swift's; give --prefix, and what they are in"
        )
    if terms.get("networks"):
        raise ConfigInvalid("--ip: a form of Swift's has no network; a TempURL has")
    if terms.get("filename") or terms.get("inline"):
        raise ConfigInvalid("--filename, --inline: are for a GET")
    length = terms.get("length")
    if length is not None and length[0]:
        raise ConfigInvalid(
            "--length: a form of Swift's has no smallest size, give 0-MAX; " + _PROFILE.format("--length-min")
        )
    if asked.success_redirect is not None and urlsplit(asked.success_redirect).scheme not in ("http", "https"):
        raise ConfigInvalid(f"--success-redirect {asked.success_redirect!r}: must start with http:// or https://")


def _refuse_in_url(method: str, terms: Terms, asked: Asked) -> None:
    if method == "LIST":
        raise ConfigInvalid("LIST: a TempURL opens objects, and lists no container")
    if asked.html or asked.success_redirect:
        raise ConfigInvalid("--html, --success-redirect: are for a form (--post)")
    if terms.get("length"):
        raise ConfigInvalid(
            "--length: a TempURL does not say so, a form (--post) does; " + _PROFILE.format("--length-max")
        )
    if len(terms.get("networks") or ()) > 1:
        raise ConfigInvalid("--ip: a TempURL has one address or network; leave the others away")
    if (terms.get("filename") or terms.get("inline")) and method not in ("GET", "HEAD"):
        raise ConfigInvalid("--filename, --inline: are for a GET; with a PUT, send the header Content-Disposition")


def _hash(config: Config, asked: Asked) -> str:
    hashed = asked.hashed or "sha256"
    if hashed not in HASHES:
        raise ConfigInvalid(f"--hash {hashed!r}: Swift has {', '.join(HASHES)}")
    if hashed == "sha1" and not config.swift.tempurl_sha1:
        raise ConfigInvalid("--hash sha1: the gateway refuses it (swift.tempurl-sha1 = false)")
    return hashed


def _size_max(config: Config, key: SigningKey, claims: Claims) -> int:
    """A form always says how large its files may be: as asked for, else as large as they can be."""
    if claims.length is not None:
        return claims.length[1]
    most = config.limits.upload_bytes_max
    return most if key.limits.length_max is None else min(most, key.limits.length_max)


def _page(made: Form) -> str:
    """A page with the form, ready for a browser."""
    lines = [
        "<!doctype html>",
        '<meta charset="utf-8">',
        "<title>Upload</title>",
        f'<form action="{escape(made.url)}" method="post" enctype="multipart/form-data">',
        *(f'  <input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in made.fields.items()),
        '  <input type="file" name="file" required>',
        "  <button>Upload</button>",
        "</form>",
        "",
    ]
    return "\n".join(lines)


def _tell(key: SigningKey, method: str, url: str, claims: Claims, *, as_json: bool) -> None:
    if as_json:
        said = {"method": method, "url": url, "headers": {}, "account": key.record.kid, "expires_at": int(claims.exp)}
        print_json(said)
        return
    click.echo(url)
    if claims.prefix is not None:
        click.echo("Put the rest of a name between the path and the question mark; the key stays the same.", err=True)
