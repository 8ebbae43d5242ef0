"""Policies of CloudFront: the canned one, which is rebuilt from a request, and custom ones, which come with it.

Rule 1: what is signed is bytes. A canned policy's are made here, to the byte; a custom one's are those that came.
Rule 2: a custom policy says one thing, once: one statement, no member that is not known here. One without a resource,
which would open everything, is refused.

Source: Amazon CloudFront Developer Guide, "Create a signed URL using a canned policy", "... using a custom policy".
"""

import math
import re
from collections.abc import Set
from ipaddress import ip_network
from typing import Final

import msgspec

from valetstore.encoding import SECONDS_MAX, strict_json
from valetstore.errors import Denied
from valetstore.grants.grant import Network
from valetstore.grants.networks import parse_networks

EPOCH: Final = "AWS:EpochTime"
SOURCE: Final = "AWS:SourceIp"

_RESOURCE: Final = re.compile(r"[\x21-\x7e]+")
_ADDRESS: Final = re.compile(r"[0-9.]{7,15}(?:/[0-9]{1,2})?|[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?", re.ASCII)
_UNQUOTABLE: Final = re.compile(r'["\\]')


class Policy(msgspec.Struct, frozen=True):
    """What a custom policy says. Times are seconds since the epoch; `not_before` is the first moment at which it holds.

    `networks` are empty where any address is allowed.
    """

    resource: str
    not_after: int
    not_before: float | None = None
    networks: tuple[Network, ...] = ()


def canned_text(url: str, expires: int) -> bytes:
    """The canned policy for a URL that is written one character a byte. Raises ValueError where it cannot be one."""
    if _UNQUOTABLE.search(url):
        # It would end the JSON text early, and whoever asks writes the URL.
        raise ValueError("a quote or a backslash that is not percent-encoded")
    text = f'{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"{EPOCH}":{expires}}}}}}}]}}'
    return text.encode("latin-1")


def custom_policy(text: bytes) -> Policy:
    """A custom policy. Raises `key_malformed` (MalformedPolicy)."""
    try:
        statement = _only(_members(strict_json(text), {"Statement"})["Statement"])
        said = _members(statement, {"Resource", "Condition"})
        conditions = _members(said["Condition"], {"DateLessThan"}, {"DateGreaterThan", "IpAddress"})
        start = _time(conditions["DateGreaterThan"]) if "DateGreaterThan" in conditions else None
        return Policy(
            resource=_resource(said["Resource"]),
            not_after=_time(conditions["DateLessThan"]),
            # "On or before" this moment it does not hold yet.
            not_before=None if start is None else math.nextafter(start, math.inf),
            networks=_networks(conditions["IpAddress"]) if "IpAddress" in conditions else (),
        )
    except ValueError as error:
        raise Denied("key_malformed", f"Its policy is not one that is served here: {error}.").saying(
            "MalformedPolicy", "Malformed Policy", 403
        ) from None


def _members(value: object, needed: Set[str], allowed: Set[str] = frozenset()) -> dict[str, object]:
    """A JSON object with all of the needed members, and no others than these and the allowed ones."""
    if not isinstance(value, dict):
        raise ValueError(f"an object with {', '.join(sorted(needed))} is not one")
    missing, strange = sorted(needed - value.keys()), sorted(value.keys() - needed - allowed)
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    if strange:
        raise ValueError(f"it has a member that is not known, {strange[0][:40]!r}")
    return value


def _only(value: object) -> object:
    if not isinstance(value, list) or len(value) != 1:
        raise ValueError("Statement is a list of one")
    return value[0]


def _time(value: object) -> int:
    moment = _members(value, {EPOCH})[EPOCH]
    if isinstance(moment, bool) or not isinstance(moment, int) or not 0 <= moment <= SECONDS_MAX:
        raise ValueError(f"{EPOCH} is not a whole number of seconds since 1970")
    return moment


def _resource(value: object) -> str:
    if not isinstance(value, str) or not _RESOURCE.fullmatch(value):
        raise ValueError("Resource is not a URL, percent-encoded")
    return value


def _networks(value: object) -> tuple[Network, ...]:
    """One network, as AWS reads it: host bits do not count. IPv6 is read as well, which CloudFront does not."""
    text = _members(value, {SOURCE})[SOURCE]
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise ValueError(f"{SOURCE} is not an address or a network")
    try:
        network = ip_network(text, strict=False)
        # Documented as the way to say any address, an IPv6 one too.
        return () if not network.prefixlen else parse_networks(str(network))
    except ValueError:
        raise ValueError(f"{SOURCE} is not an address or a network") from None
