"""`valetstore sign --scheme cloudfront`: signed URLs and cookies, as AWS's own signers make them.

Rule 1: a canned policy says a URL and an end. Whatever else is asked for makes it a custom one, or is refused with the
reason: nothing is left out in silence.
Rule 2: what the signing key's profile forbids is refused as it is for native keys, by the same code.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import click

from valetstore.cli.options import print_json
from valetstore.cli.wanted import Asked, Wanted
from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import Claims, as_list
from valetstore.grants.cloudfront.sign import (
    Key,
    Parameters,
    canned,
    cookies_of,
    custom,
    policy_text,
    url_of,
    with_key,
)
from valetstore.keys.material import SignatureHash
from valetstore.keys.ring import SigningKey
from valetstore.keys.ringfile import RingFile
from valetstore.signing import Terms, claims_for, refuse_beyond

_NOT_IN_CLOUDFRONT: Final = {
    "uses": "--once, --uses: no policy of CloudFront's says so; its signing key's profile can (`keys create --uses`)",
    "budget": "--budget: no key of CloudFront's has one of its own; its signing key's holds (`keys create --budget`)",
    "length": "--length: is of an upload; keys of CloudFront read",
    "types": "--type: is of an upload; keys of CloudFront read",
    "create_only": "--create-only: is of an upload; keys of CloudFront read",
    "sha256": "--sha256: is of an upload; keys of CloudFront read",
    "filename": "--filename: the gateway answers keys of CloudFront with the object's own headers",
    "inline": "--inline: the gateway answers keys of CloudFront with the object's own headers",
    # That its URL begins so says nothing where listen.public-url does and the gateway is reached over plain HTTP.
    "https": "--https: no key of CloudFront's says so; its signing key's profile can (`keys create --https`)",
    "subject": "--sub: a policy of CloudFront's names nobody",
    "audience": "--aud: a policy of CloudFront's has the URL instead",
}
_HASHES: Final[Mapping[str, SignatureHash]] = {"sha1": "sha1", "sha256": "sha256"}
_METHODS: Final = ("GET", "HEAD")


def sign_cloudfront(config: Config, key: SigningKey, wanted: Wanted, *, as_json: bool) -> None:
    """Sign and print. Raises SigningRefused, ConfigInvalid, Denied (`object_key_invalid`)."""
    method, path, expires, base_url, terms, asked = wanted
    _refuse_foreign(method, terms)
    known = cast(Terms, {name: value for name, value in terms.items() if name not in _NOT_IN_CLOUDFRONT})
    claims = claims_for(method, path, expires=expires, **known)
    refuse_beyond(claims, key.limits)
    private = RingFile(config.data).private_half(key.name)
    signer = Key(key.record.kid, key.record.algorithm, private, _hash(config, asked))
    url = url_of(base_url, path)
    parameters = _parameters(signer, url, claims)
    if asked.cookie:
        _tell_cookies(url, cookies_of(parameters), claims, as_json=as_json)
    else:
        _tell_url(method, with_key(url, parameters), key, claims, as_json=as_json)


def _refuse_foreign(method: str, terms: Terms) -> None:
    """Raise ConfigInvalid for what is asked for and cannot be signed, and say why."""
    if method not in _METHODS:
        raise ConfigInvalid(f"METHOD {method}: keys of CloudFront read; it is {' or '.join(_METHODS)}")
    said = cast(Mapping[str, Any], terms)
    for name, why in _NOT_IN_CLOUDFRONT.items():
        if said.get(name):
            raise ConfigInvalid(why)
    if len(said.get("networks") or ()) > 1:
        raise ConfigInvalid("--ip: a policy of CloudFront's has one network")


def _hash(config: Config, asked: Asked) -> SignatureHash:
    """SHA-1 unless told otherwise, since every verifier of CloudFront's keys knows it; not where it is refused here."""
    if asked.hashed is None:
        return "sha1" if config.cloudfront.cloudfront_sha1 else "sha256"
    if asked.hashed not in _HASHES:
        raise ConfigInvalid(f"--hash {asked.hashed!r}: CloudFront has {' and '.join(_HASHES)}")
    if asked.hashed == "sha1" and not config.cloudfront.cloudfront_sha1:
        raise ConfigInvalid("--hash sha1: the gateway refuses it (cloudfront.cloudfront-sha1 = false)")
    return _HASHES[asked.hashed]


def _parameters(signer: Key, url: str, claims: Claims) -> Parameters:
    """A canned policy where that says all that is asked for."""
    networks, ends = as_list(claims.ip), int(claims.exp)
    if claims.prefix is None and claims.nbf is None and not networks:
        return canned(signer, url, ends)
    resource = url if claims.prefix is None else f"{url}*"
    starts = None if claims.nbf is None else int(claims.nbf)
    return custom(signer, policy_text(resource, ends=ends, starts=starts, network=next(iter(networks), None)))


def _tell_cookies(url: str, cookies: dict[str, str], claims: Claims, *, as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "cookies": cookies, "expires_at": int(claims.exp)})
        return
    for name, value in cookies.items():
        click.echo(f"{name}={value}")


def _tell_url(method: str, url: str, key: SigningKey, claims: Claims, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "method": method,
                "url": url,
                "headers": {},
                "key_pair_id": key.record.kid,
                "expires_at": int(claims.exp),
            }
        )
        return
    click.echo(url)
    if claims.prefix is not None:
        click.echo("Put an object's name between the path and the question mark; the key stays the same.", err=True)
