"""What a shared access signature says of itself, proven or not, and why it does not hold here.

Rule 1: nothing here is proof. What cannot be read is left out: whoever refuses the key says why.
Rule 2: a cause is told only where the signature holds once it is taken away; no signature is handed on.
"""

import base64
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from valetstore.errors import Denied
from valetstore.grants.azure.address import Address, address_of
from valetstore.grants.azure.claim import (
    OLDEST,
    OVERRIDES,
    SIGNS_RESOURCE,
    SIGNS_SCOPE,
    Claim,
    in_query,
    readings_of,
)
from valetstore.grants.azure.fields import moment_of, networks_of
from valetstore.grants.azure.layout import account_string, directory_of, service_string, strings_to_sign
from valetstore.grants.azure.rules import Rules
from valetstore.grants.azure.signer import signs
from valetstore.grants.facts import Fact, Facts
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import AZURE
from valetstore.objectkey import split_path

_LETTERS: Final = {
    "r": "read",
    "a": "append",
    "c": "create",
    "w": "write",
    "d": "delete",
    "x": "delete a version",
    "l": "list",
    "t": "tags",
    "f": "find by tags",
    "m": "move",
    "e": "execute",
    "y": "delete for good",
    "i": "set immutability",
    "o": "own",
    "u": "update",
}
_RESOURCES: Final = {
    "b": "one blob",
    "bs": "one snapshot of a blob",
    "bv": "one version of a blob",
    "c": "all blobs of one container",
    "d": "all blobs below one directory",
}
_SERVICES: Final = {"b": "blobs", "q": "queues", "t": "tables", "f": "files"}
_LEVELS: Final = {"s": "the service", "c": "containers", "o": "objects"}
_OPTIONAL: Final = ("st", "sip", "spr", "ses", "si", *OVERRIDES)
_LAYOUTS: Final = (OLDEST, SIGNS_RESOURCE, SIGNS_SCOPE)


def facts_of(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts | None:
    """What a SAS says; None where none came. `computed` and `causes` are of one whose signature does not hold."""
    if not in_query(inbound):
        return None
    values: dict[str, str] = {}
    for name, value in inbound.query:
        values.setdefault(name.lower(), value)
    account, _ = split_path(inbound.path)
    computed, causes = _doubts(inbound, keys, values)
    return Facts(
        kind=_kind(values),
        signer=account,
        carrier="query",
        starts_at=moment_of(values.get("st", "")),
        expires_at=moment_of(values.get("se", "")),
        networks=_networks(values.get("sip")),
        said=tuple(_said(values)),
        computed=computed,
        causes=causes,
    )


def _kind(values: dict[str, str]) -> str:
    if "skoid" in values:
        return "user delegation SAS"
    return "account SAS" if "ss" in values or "srt" in values else "service SAS"


def _networks(text: str | None) -> tuple[str, ...]:
    try:
        return () if text is None else tuple(map(str, networks_of(text)))
    except Denied:
        return ()


def _said(values: dict[str, str]) -> Iterator[Fact]:
    """Everything but times and addresses, in the order in which a person would ask."""
    letters = _LETTERS | {"p": "process" if "ss" in values else "permissions"}
    tables: tuple[tuple[str, str, Callable[[str], str]], ...] = (
        ("sp", "permissions", lambda text: _in_words(text, letters)),
        ("sr", "resource", lambda text: _RESOURCES.get(text, text)),
        ("ss", "services", lambda text: _in_words(text, _SERVICES)),
        ("srt", "resource types", lambda text: _in_words(text, _LEVELS)),
        ("sdd", "directory depth", str),
        ("snapshot", "snapshot", str),
        ("versionid", "version", str),
        ("spr", "protocols", lambda text: "HTTPS only" if text == "https" else text),
        ("si", "stored access policy", str),
        ("ses", "encryption scope", str),
        *((name, header, str) for name, header in OVERRIDES.items()),
        ("sv", "version of the service", str),
    )
    for name, label, words in tables:
        if name in values:
            yield Fact(name, values[name], f"{label}: {words(values[name])}")


def _in_words(text: str, words: dict[str, str]) -> str:
    return ", ".join(words.get(letter, f"unknown {letter!r}") for letter in text)


# --- why it does not hold -----------------------------------------------------------------------------------------


def _doubts(inbound: Inbound, keys: KeyRing, values: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    """The string to sign as it is computed here, and the causes; nothing where the signature holds."""
    try:
        readings, address = readings_of(inbound), address_of(inbound)
    except Denied:
        return "", tuple(_misspelt(values))
    if any(_holds(claim, address, inbound, keys) for claim in readings):
        return "", ()
    claim = readings[-1]
    texts = list(strings_to_sign(claim, address, inbound))
    causes = tuple(cause for find in _FINDERS for cause in find(claim, address, inbound, keys))
    if not causes and not _secrets(keys, address.account):
        causes = (f"There is no signing key for the account {address.account}.",)
    return texts[0].decode("utf-8", "replace") if texts else "", causes


def _misspelt(values: dict[str, str]) -> Iterator[str]:
    signature = values.get("sig", "")
    if " " in signature:
        yield "sig has a space where it had a plus: in a query a plus is written %2B."
    elif "%" in signature:
        yield "sig is percent-encoded twice."


def _secrets(keys: KeyRing, account: str) -> list[bytes]:
    return [key.material for key in keys.find_all(AZURE, account) if isinstance(key.material, bytes)]


def _holds(claim: Claim, address: Address, inbound: Inbound, keys: KeyRing) -> bool:
    texts = list(strings_to_sign(claim, address, inbound))
    return any(signs(secret, texts, claim.mac) for secret in _secrets(keys, address.account))


def _other_account(claim: Claim, address: Address, inbound: Inbound, keys: KeyRing) -> Iterator[str]:
    for account in dict.fromkeys(key.record.kid for key in keys if key.record.scheme == AZURE):
        if account != address.account and _holds(claim, address._replace(account=account), inbound, keys):
            yield f"It was signed for the account {account}; the path names {address.account}."
        # As if the whole path were the container's and the blob's.
        lacking = Address(account, *split_path(inbound.path))
        if not claim.is_account and _holds(claim, lacking, inbound, keys):
            yield f"The path lacks its account: it is /{account}{inbound.path}."


def _other_name(claim: Claim, address: Address, inbound: Inbound, keys: KeyRing) -> Iterator[str]:
    for name, why in (
        (unquote(address.blob), "is percent-encoded once more than it should be"),
        (quote(address.blob, safe="/~"), "was signed percent-encoded; the name itself is signed"),
        (address.blob.removeprefix("/"), "begins with a slash that was not signed"),
        (f"/{address.blob}", "was signed with a slash before it"),
        (address.blob.removesuffix("/"), "ends with a slash that was not signed"),
    ):
        if address.blob not in ("", name) and _holds(claim, address._replace(blob=name), inbound, keys):
            yield f"The blob's name {why}."


def _other_resource(claim: Claim, address: Address, inbound: Inbound, keys: KeyRing) -> Iterator[str]:
    if claim.is_account:
        return
    depths = range(address.blob.count("/") + 1)
    others = [(resource, 0) for resource in ("b", "c")] + [("d", depth) for depth in depths]
    for resource, depth in others:
        changed = msgspec.structs.replace(claim, resource=resource, depth=depth)
        if _holds(changed, address, inbound, keys):
            if resource == claim.resource:
                yield f"It was signed for the directory {directory_of(changed, address.blob)!r}: sdd is {depth}."
            else:
                yield f"It was signed as sr={resource} ({_RESOURCES[resource]})."


def _added(claim: Claim, address: Address, inbound: Inbound, keys: KeyRing) -> Iterator[str]:
    for name in _OPTIONAL:
        if name in claim.values:
            values = {other: value for other, value in claim.values.items() if other != name}
            if _holds(msgspec.structs.replace(claim, values=values), address, inbound, keys):
                yield f"{name} was not signed: it was added to the URL later."


def _other_text(claim: Claim, address: Address, inbound: Inbound, keys: KeyRing) -> Iterator[str]:
    """Laid out otherwise, or signed with the key's text: the first that holds."""
    secrets = _secrets(keys, address.account)
    texts = list(strings_to_sign(claim, address, inbound))
    encoded = [base64.b64encode(secret) for secret in secrets]
    if claim.is_account:
        bare, why = [text.removesuffix(b"\n") for text in texts], "Its string to sign lacks the line feed at its end."
    else:
        bare = [text.replace(b"\n/blob/", b"\n/", 1) for text in texts]
        why = "Its canonical resource was signed without /blob before the account."
    tried = [(encoded, texts, "It was signed with the account key's text: decode that from base64 first.")]
    tried.append((secrets, bare, why))
    for version in _LAYOUTS:
        said = f"Its string to sign is that of version {version}; sv={claim.get('sv')} signs another."
        tried.append((secrets, [_text(claim, address, version)], said))
    found = (cause for by, signed, cause in tried if any(signs(secret, signed, claim.mac) for secret in by))
    yield from islice(found, 1)


def _text(claim: Claim, address: Address, version: str) -> bytes:
    if claim.is_account:
        return account_string(claim, address.account, version)
    within = f"/{address.blob}" if claim.resource != "c" else ""
    return service_string(claim, f"/blob/{address.account}/{address.container}{within}", version)


_FINDERS: Final[tuple[Callable[[Claim, Address, Inbound, KeyRing], Iterator[str]], ...]] = (
    _other_account,
    _other_name,
    _other_resource,
    _added,
    _other_text,
)
