"""What a shared access signature says of itself: its parameters, checked for their shape; nothing is proved here.

Rule 1: each parameter counts once, decoded once, by its lower-case name; where a `+` in it may mean two things,
both are read (`readings_of`), and what was signed decides.
Rule 2: no value holds a control character: lines are all that keeps apart what is signed.
Rule 3: what the kind or the version of a SAS does not sign is refused in it, not passed over: a stranger could have
added it.

Sources: Azure Storage REST reference, "Create a service SAS", "Create an account SAS".
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from valetstore.encoding import UNSAFE_IN_HEADER
from valetstore.grants.azure.address import text_of
from valetstore.grants.azure.fields import mac_of, malformed, moment_of, networks_of
from valetstore.grants.azure.permissions import RESOURCE_TYPES, SERVICES, in_order, is_set_of
from valetstore.grants.grant import Network
from valetstore.inbound import Inbound

OLDEST: Final = "2015-04-05"
"""The first version with `sip` and `spr`: what was signed before is refused."""
SIGNS_RESOURCE: Final = "2018-11-09"
"""From here on `sr` and the snapshot or version are signed."""
HAS_DIRECTORIES: Final = "2020-02-10"
SIGNS_SCOPE: Final = "2020-12-06"
"""From here on the encryption scope is signed."""

OVERRIDES: Final = {
    "rscc": "cache-control",
    "rscd": "content-disposition",
    "rsce": "content-encoding",
    "rscl": "content-language",
    "rsct": "content-type",
}
"""Parameters of a service SAS that set a download's headers."""

_COMMON: Final = frozenset({"sig", "sv", "sp", "st", "se", "sip", "spr", "ses"})
_SERVICE: Final = _COMMON | {"sr", "si", "sdd"} | OVERRIDES.keys()
_ACCOUNT: Final = _COMMON | {"ss", "srt"}
_DELEGATED: Final = frozenset(
    {"skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "skdutid", "sduoid", "srh", "srq"}
)
_ALL: Final = _SERVICE | _ACCOUNT | _DELEGATED
SIGNATURE: Final = frozenset({"sig"})
"""The parameter without which there is no SAS."""
_MARKS: Final = frozenset({"sv", "sp", "se", "sr", "ss"})
_RESOURCES: Final = ("b", "bs", "bv", "c", "d")

_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DEPTH: Final = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A SAS's own words. `values` are its parameters as they are signed; times are seconds since the epoch.

    `resource` is `sr`, "" for an account SAS. `expires_at` is None only where a stored access policy was to say it.
    `version_of` is the snapshot or version that `bs` and `bv` are for. `depth` is `sdd`.
    """

    values: Mapping[str, str]
    mac: bytes
    resource: str
    starts_at: float | None
    expires_at: float | None
    networks: tuple[Network, ...]
    version_of: str = ""
    depth: int = 0

    def get(self, name: str) -> str:
        """A parameter, "" where it is not there: what is signed for it then."""
        return self.values.get(name, "")

    @property
    def is_account(self) -> bool:
        """Whether it is an account SAS."""
        return not self.resource

    @property
    def resource_types(self) -> str | None:
        """`srt` of an account SAS, None for a service SAS."""
        return self.get("srt") if self.is_account else None


def in_query(inbound: Inbound) -> bool:
    """Whether a SAS came, well-formed or not. A `sig` alone is somebody else's."""
    return not SIGNATURE.isdisjoint(inbound.names) and not _MARKS.isdisjoint(inbound.names)


def claim_of(inbound: Inbound) -> Claim:
    """The request's SAS. Raises `key_malformed`."""
    values = _parameters(inbound)
    delegated = sorted(_DELEGATED & values.keys())
    if delegated:
        raise malformed(f"{delegated[0]}: signatures by a user delegation key are not taken here; use an account key.")
    is_account = "ss" in values or "srt" in values
    _refuse_unsigned(values, is_account=is_account)
    _check_version(values)
    if is_account:
        _check_account(values)
    elif values.get("sr") not in _RESOURCES:
        raise malformed(f"sr is one of {', '.join(_RESOURCES)}.")
    if "sp" in values or is_account or "si" not in values:
        _check_permissions(values, is_account=is_account)
    if values.get("spr", "https,http") not in ("https", "https,http"):
        raise malformed("spr is `https` or `https,http`.")
    return Claim(
        values=values,
        mac=mac_of(values["sig"]),
        resource=values.get("sr", ""),
        starts_at=_moment(values, "st"),
        expires_at=_expiry(values),
        networks=networks_of(values["sip"]) if "sip" in values else (),
        version_of=_version_of(inbound, values),
        depth=_depth(values),
    )


def readings_of(inbound: Inbound) -> tuple[Claim, ...]:
    """The request's SAS, and where a header of its has a bare `+`, the same with spaces: Go's clients write them so.

    What was signed tells them apart. Raises `key_malformed`.
    """
    claim = claim_of(inbound)
    spaced = {name: text_of(inbound, name) for name in OVERRIDES if name in claim.values}
    if all(claim.values[name] == value for name, value in spaced.items()):
        return (claim,)
    return (claim, msgspec.structs.replace(claim, values={**claim.values, **spaced}))


# --- one parameter after the other --------------------------------------------------------------------------------


def _parameters(inbound: Inbound) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in inbound.query:
        lower = name.lower()
        if lower.startswith("x-valet-"):
            # It would narrow what is allowed, and is not signed.
            raise malformed(f"{lower} cannot be part of a SAS: its signing key's profile can say so.")
        if lower not in _ALL:
            continue
        if lower in values or name != lower:
            raise malformed(f"{lower} is given once, in lower case.")
        if UNSAFE_IN_HEADER.search(value) or not value:
            raise malformed(f"{lower} is empty or has a control character.")
        values[lower] = value
    if "sig" not in values:
        raise malformed("sig is mandatory.")
    return values


def _refuse_unsigned(values: Mapping[str, str], *, is_account: bool) -> None:
    strange = sorted(values.keys() - (_ACCOUNT if is_account else _SERVICE))
    if strange:
        raise malformed(f"{strange[0]} is no part of {'an account' if is_account else 'a service'} SAS.")


def _check_version(values: Mapping[str, str]) -> None:
    """`sv` chooses what is signed: what an old version does not sign cannot be in it."""
    version = values.get("sv", "")
    if not _VERSION.fullmatch(version) or moment_of(version) is None:
        raise malformed("sv is a version of the service, as 2022-11-02.")
    needs = {"bs": SIGNS_RESOURCE, "bv": SIGNS_RESOURCE, "d": HAS_DIRECTORIES}.get(values.get("sr", ""), OLDEST)
    if "ses" in values:
        needs = max(needs, SIGNS_SCOPE)
    if version < needs:
        raise malformed(f"sv={version}: this needs {needs} or later.")


def _check_account(values: Mapping[str, str]) -> None:
    for name, known in (("ss", SERVICES), ("srt", RESOURCE_TYPES)):
        if not is_set_of(values.get(name, ""), known):
            raise malformed(f"{name} is some of the letters {known}.")


def _check_permissions(values: Mapping[str, str], *, is_account: bool) -> None:
    if "sp" not in values:
        raise malformed("sp is mandatory. Cannot be empty")
    if not in_order(values["sp"], account=is_account):
        raise malformed("sp has letters that are not known, given twice, or not in the order that Azure asks for.")


def _moment(values: Mapping[str, str], name: str) -> float | None:
    if name not in values:
        return None
    moment = moment_of(values[name])
    if moment is None:
        raise malformed(f"{name} is a date in UTC, as 2026-11-21T16:23:18Z.")
    return moment


def _expiry(values: Mapping[str, str]) -> float | None:
    if "se" not in values and "si" not in values:
        raise malformed("se is mandatory. Cannot be empty")
    return _moment(values, "se")


def _version_of(inbound: Inbound, values: Mapping[str, str]) -> str:
    """The parameter that names the snapshot or version is the operation's; of these it is signed as well."""
    name = {"bs": "snapshot", "bv": "versionid"}.get(values.get("sr", ""))
    if name is None:
        return ""
    given = [value for other, value in inbound.query if other.lower() == name]
    if len(given) != 1 or not given[0] or UNSAFE_IN_HEADER.search(given[0]) or not inbound.parameters(name):
        raise malformed(f"sr={values['sr']} needs {name}, once.")
    return given[0]


def _depth(values: Mapping[str, str]) -> int:
    is_directory = values.get("sr") == "d"
    if is_directory != ("sdd" in values):
        raise malformed("sdd is the depth of a directory, and sr=d needs it.")
    if is_directory and not _DEPTH.fullmatch(values["sdd"]):
        raise malformed("sdd is a whole number.")
    return int(values["sdd"]) if is_directory else 0
