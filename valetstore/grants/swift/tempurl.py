"""TempURL: one request in its query's word, until a moment, perhaps for a prefix or a network.

Rule 1: everything but the signature, the file name and `inline` is signed; whatever else a query says is not
looked at, as in Swift.
Rule 2: the expiry is judged by the gate, to the second; here it is only what was signed.

Source: OpenStack Swift, `tempurl` middleware: string to sign, the order of `ip=`, HEAD by other methods' signatures.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from valetstore.encoding import SECONDS_MAX, percent_decode, wire_int
from valetstore.errors import Denied
from valetstore.grants.grant import Network
from valetstore.grants.networks import parse_networks
from valetstore.grants.swift.address import Place, place_of
from valetstore.grants.swift.rules import Rules
from valetstore.grants.swift.signature import Held, Signature, held_by, read_signature
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

SIGNATURE: Final = "temp_url_sig"
EXPIRES: Final = "temp_url_expires"
PREFIX: Final = "temp_url_prefix"
IP_RANGE: Final = "temp_url_ip_range"
FILENAME: Final = "filename"
INLINE: Final = "inline"
MARKS: Final = frozenset({SIGNATURE, EXPIRES})
"""Either of them makes a request one by TempURL."""

SIGNED_BY: Final[Mapping[str, tuple[str, ...]]] = {"HEAD": ("HEAD", "GET", "POST", "PUT")}
"""Whose signatures open a method beside its own: who may read or write an object may look at its head."""

_OWN: Final = (SIGNATURE, EXPIRES, PREFIX, IP_RANGE, FILENAME, INLINE)
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


class TempUrl(NamedTuple):
    """What a query says. `expires` is seconds since the epoch, `ip_range` "" and `prefixes` () where not given.

    A prefix has two readings where it holds a `+`, which some clients write for a space: what was signed decides.
    """

    signature: Signature
    expires: int
    ip_range: str
    prefixes: tuple[str, ...]

    def __repr__(self) -> str:
        """Never shows the signature."""
        return f"TempUrl(expires={self.expires})"


class Proven(NamedTuple):
    """A TempURL that holds."""

    held: Held
    temp_url: TempUrl
    networks: tuple[Network, ...]


def in_query(inbound: Inbound) -> bool:
    """Whether a TempURL came, well-formed or not. Raises `target_invalid`."""
    return any(name in MARKS for name, _ in inbound.query)


def read_query(inbound: Inbound, rules: Rules) -> TempUrl:
    """What the query says. Raises `key_malformed`, and `parameter_invalid` where something is said twice."""
    said = {name: inbound.parameter(name) for name in _OWN}
    signature, expires = said[SIGNATURE], said[EXPIRES]
    if not signature or not expires:
        raise Denied("key_malformed", f"A TempURL has both {SIGNATURE} and {EXPIRES}.")
    moment = moment_of(expires)
    if moment is None:
        raise Denied("key_malformed", f"Its {EXPIRES} is seconds since the epoch, or a date as 2026-11-21T16:00:00Z.")
    prefix, prefixes = said[PREFIX], tuple[str, ...]()
    if prefix is not None:
        prefixes = tuple(dict.fromkeys((prefix, spaced(inbound, PREFIX) or "")))
    return TempUrl(read_signature(signature, rules), moment, said[IP_RANGE] or "", prefixes)


def verify(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove a TempURL. Raises as `read_query`, `signature_mismatch`, `path_not_allowed`."""
    temp_url = read_query(inbound, rules)
    place = place_of(inbound)
    if place is None:
        raise Denied("signature_mismatch", reason="the path names no account")
    networks = _networks(temp_url.ip_range)
    texts = [
        text_to_sign(method, temp_url.expires, path, temp_url.ip_range)
        for path in signed_paths(place, temp_url.prefixes)
        for method in SIGNED_BY.get(inbound.method, (inbound.method,))
    ]
    if not texts:
        raise Denied("path_not_allowed", "The object's name does not begin with the prefix that was signed.")
    return Proven(held_by(place.account, temp_url.signature, texts, keys), temp_url, networks)


def text_to_sign(method: str, expires: int, path: str, ip_range: str = "") -> bytes:
    """The text whose HMAC is the signature. `path` is decoded, and begins with `prefix:` where it is a prefix."""
    # First, as a path may hold line ends: nothing behind it can be taken for a network.
    lines = [f"ip={ip_range}"] if ip_range else []
    return "\n".join([*lines, method, str(expires), path]).encode()


def signed_paths(place: Place, prefixes: tuple[str, ...]) -> list[str]:
    """What may have been signed for this place: its path, or each reading of the prefix that its name begins with."""
    base = f"/v1/{place.account}/{place.container}/"
    if not prefixes:
        return [base + place.name]
    return [f"prefix:{base}{prefix}" for prefix in prefixes if place.name.startswith(prefix)]


def moment_of(text: str) -> int | None:
    """Seconds since the epoch, from their number or from the one date form that Swift reads; None for anything else."""
    try:
        if _ISO.fullmatch(text):
            return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
        moment = wire_int(text)
    except ValueError:
        return None
    return moment if moment <= SECONDS_MAX else None


def spaced(inbound: Inbound, name: str) -> str | None:
    """The first value of a query parameter, read as a form's field is: `+` is a space."""
    for pair in inbound.raw_query.split(b"&"):
        given, _, value = pair.partition(b"=")
        if percent_decode(given) == name:
            return percent_decode(value.replace(b"+", b" "))
    return None


def _networks(ip_range: str) -> tuple[Network, ...]:
    try:
        return parse_networks(ip_range) if ip_range else ()
    except ValueError:
        raise Denied("key_malformed", f"Its {IP_RANGE} is an address or a network, as 203.0.113.0/24.") from None
