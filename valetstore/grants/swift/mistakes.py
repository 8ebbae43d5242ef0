"""The usual mistakes in signing for Swift, found out by the signature itself.

Rule: a cause is told only where the signature holds for what is then different, so that it is a fact; one that cannot
be found out is left out.
"""

import hmac
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final

from valetstore.grants.swift import formpost, tempurl
from valetstore.grants.swift.address import Place, path_of
from valetstore.grants.swift.signature import Signature, mac_of
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import SWIFT as NAME

METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")

_ENCODED: Final = "The path was signed percent-encoded; Swift signs it decoded."
_SHORTER: Final = "The path was signed without its last slash."
_LONGER: Final = "The path was signed with a slash at its end."


def causes_of_url(
    inbound: Inbound, place: Place, signature: Signature, said: Mapping[str, str], expires: int, keys: KeyRing
) -> Iterator[str]:
    """Why a TempURL holds for no method, as far as that can be found out; `said` are its parameters."""
    ip_range, prefix, written = (said.get(name) for name in (tempurl.IP_RANGE, tempurl.PREFIX, tempurl.EXPIRES))
    yield from _no_key(place, keys)
    if prefix is not None and not place.name.startswith(prefix):
        yield f"The object's name does not begin with the prefix {prefix!r}."
    for method, (path, cause) in product(METHODS, _paths(inbound, place, prefix).items()):
        for text, further in (
            (tempurl.text_to_sign(method, expires, path, ip_range or ""), ""),
            (tempurl.text_to_sign(method, expires, path), "It was signed without its temp_url_ip_range."),
            (f"{method}\n{written}\n{path}".encode(), "The date was signed as it is written; Swift signs seconds."),
        ):
            key = _signer(text, place, signature, keys)
            if key is not None:
                yield from filter(None, (cause, further, _of_another(key, place)))
                return


def causes_of_form(
    inbound: Inbound, place: Place, signature: Signature, fields: Mapping[str, str], keys: KeyRing
) -> Iterator[str]:
    """Why a form does not hold, as far as that can be found out."""
    yield from _no_key(place, keys)
    whole = inbound.path
    paths = {
        whole: "",
        inbound.raw_path.decode("latin-1"): _ENCODED,
        whole.rstrip("/"): _SHORTER,
        f"{whole}/": _LONGER,
        place.path: f"The path was signed without /v1/{place.account}.",
    }
    paths[whole] = ""
    without = {name: value for name, value in fields.items() if name != formpost.REDIRECT}
    for path, cause in paths.items():
        for said, further in ((fields, ""), (without, "It was signed without its redirect.")):
            key = _signer(formpost.text_of(path, said), place, signature, keys)
            if key is not None:
                yield from filter(None, (cause, further, _of_another(key, place)))
                return


def holds(key: SigningKey, text: bytes, signature: Signature) -> bool:
    """Whether this key signed this text."""
    return isinstance(key.material, bytes) and hmac.compare_digest(
        mac_of(key.material, text, signature.hash), signature.mac
    )


def _paths(inbound: Inbound, place: Place, prefix: str | None) -> dict[str, str]:
    """What may have been signed as the path, and the mistake that it would be; "" for what should have been."""
    whole, base = path_of(place.account, place.path), f"prefix:{path_of(place.account, f'/{place.container}/')}"
    paths = {
        place.path: f"The path was signed without /v1/{place.account}.",
        inbound.raw_path.decode("latin-1"): _ENCODED,
        whole.rstrip("/"): _SHORTER,
        f"{whole}/": _LONGER,
        whole: "It was signed for this one object, not for a prefix: leave temp_url_prefix out.",
    }
    rest = ": add temp_url_prefix." if prefix is None else f", not {prefix!r}."
    for beginning in _beginnings(place):
        paths[base + beginning] = f"It was signed for the prefix {beginning!r}{rest}"
    paths[whole if prefix is None else base + prefix] = ""
    return paths


def _beginnings(place: Place) -> list[str]:
    """The folders that a name is in: what a prefix most likely was."""
    parts = place.name.split("/")
    return ["/".join(parts[:count]) + "/" if count else "" for count in range(len(parts))]


def _no_key(place: Place, keys: KeyRing) -> Iterator[str]:
    if not keys.find_all(NAME, place.account):
        accounts = sorted({key.record.kid for key in keys if key.record.scheme == NAME})
        yield f"No signing key is for the account {place.account}; there are: {', '.join(accounts) or 'none'}."


def _signer(text: bytes, place: Place, signature: Signature, keys: KeyRing) -> SigningKey | None:
    """Who signed this: a key of the account, or else of another one."""
    others = (key for key in keys if key.record.scheme == NAME)
    return next((key for key in (*keys.find_all(NAME, place.account), *others) if holds(key, text, signature)), None)


def _of_another(key: SigningKey, place: Place) -> str:
    return "" if key.record.kid == place.account else f"It was made with the key of the account {key.record.kid}."
