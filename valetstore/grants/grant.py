"""Grant: what a verified key allows. Profile: what its signing key lets any key allow at most.

Rule 1: both are immutable values; nothing here reads a clock, a socket or a signature.
Rule 2: narrowing only ever takes away. Conditions that may be given twice (paths, networks, types) are
kept as groups: every group must hold, one member of it is enough. So "the key's networks" and "the
signing key's networks" are two groups, and no intersection has to be computed or can be got wrong.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

import msgspec

from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.objectkey import ObjectKey

Operation = Literal["read", "write", "delete", "list", "admin"]
Network = IPv4Network | IPv6Network

OPERATIONS: Final[frozenset[str]] = frozenset({"read", "write", "delete", "list", "admin"})
DEFAULT_OPERATIONS: Final = ("read", "write", "delete", "list")
"""What a signing key may allow unless told otherwise: never `admin`."""


class Scope(msgspec.Struct, frozen=True):
    """Where a key applies: exactly one path, or everything below a prefix. Paths are decoded."""

    path: str
    is_prefix: bool = False

    def covers(self, path: str) -> bool:
        """Whether an object's path lies within. A prefix ends at a slash, so `/u/1` cannot open `/u/10`."""
        return path.startswith(self.path) if self.is_prefix else path == self.path

    def __str__(self) -> str:
        return f"everything below {self.path}" if self.is_prefix else self.path


class Intent(msgspec.Struct, frozen=True):
    """What a request asks for, as its dialect reads it: the operation and the path it touches.

    `key` is None where no single object is meant (a list, whose `path` is `/bucket/` and the prefix asked
    for; the gateway's own paths). `length` and `content_type` are what an upload announces, if it does.
    """

    operation: Operation
    path: str
    key: ObjectKey | None = None
    length: int | None = None
    content_type: str | None = None


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """What keys of one signing key may do at most. Empty `prefixes`, `types`, `networks` mean any."""

    operations: tuple[Operation, ...] = DEFAULT_OPERATIONS
    prefixes: tuple[str, ...] = ()
    ttl_seconds_max: int | None = None
    length_bytes_min: int = 0
    length_bytes_max: int | None = None
    types: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    create_only: bool = False
    https: bool = False


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One key's permission. Times are seconds since the epoch, lengths bytes, `identity` 16 bytes.

    `skew` is the tolerance at both ends of the validity: the gateway's setting for native keys, 0 where the
    dialect's vendor judges to the second. `identity` names the key for single use, revocation and the audit;
    it is derived from what is verified, never from the key's text.
    """

    scheme: str
    signing_key: str
    identity: bytes
    operations: frozenset[str]
    scopes: tuple[tuple[Scope, ...], ...]
    not_after: float
    not_before: float | None = None
    issued_at: float | None = None
    skew: float = 0
    subject: str = ""
    ttl_max: int | None = None
    length_min: int = 0
    length_max: int | None = None
    types: tuple[tuple[str, ...], ...] = ()
    networks: tuple[tuple[Network, ...], ...] = ()
    tls_only: bool = False
    uses: int | None = None
    window: int = 0
    create_only: bool = False
    retires_at: int | None = None
    sha256: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    response: tuple[tuple[str, str], ...] = ()
    ctx: object = None

    def narrowed_by(self, limits: "Limits") -> "Grant":
        """This grant within a signing key's limits: never wider than either."""
        if limits.unconditional and self.operations <= limits.operations:
            return self
        return msgspec.structs.replace(
            self,
            operations=self.operations & limits.operations,
            scopes=self.scopes + limits.scopes,
            ttl_max=_least(self.ttl_max, limits.ttl_max),
            length_min=max(self.length_min, limits.length_min),
            length_max=_least(self.length_max, limits.length_max),
            types=self.types + limits.types,
            networks=self.networks + limits.networks,
            tls_only=self.tls_only or limits.tls_only,
            create_only=self.create_only or limits.create_only,
            retires_at=_least(self.retires_at, limits.retires_at),
        )


class Limits(msgspec.Struct, frozen=True):
    """A Profile made ready for narrowing: parsed once when the key ring is loaded.

    `unconditional` says that it limits nothing but the operations: most rings, and then narrowing is free.
    """

    operations: frozenset[str]
    scopes: tuple[tuple[Scope, ...], ...]
    ttl_max: int | None
    length_min: int
    length_max: int | None
    types: tuple[tuple[str, ...], ...]
    networks: tuple[tuple[Network, ...], ...]
    tls_only: bool
    create_only: bool
    retires_at: int | None
    unconditional: bool


class Use(msgspec.Struct, frozen=True):
    """What a replay set needs to know of one request with a limited key.

    `allowed` uses; for `window` seconds after a use the same `source` may repeat it; the entry must live
    until `keep_until` (seconds since the epoch: expiry and skew).
    """

    identity: bytes
    allowed: int
    window: int
    source: str
    keep_until: float


class Proof(msgspec.Struct, frozen=True):
    """What `verify` hands on: the grant as signed, and its signing key's limits."""

    grant: Grant
    limits: Limits


class Admission(msgspec.Struct, frozen=True):
    """A request that was let in. Only `Gateway.admit` makes one; storage takes nothing less.

    `use` is set where the key has limited uses: whoever serves the request claims it as the last step
    before the first byte, or reserves and commits it around an upload.
    """

    inbound: Inbound
    intent: Intent
    grant: Grant
    use: Use | None

    @property
    def key(self) -> ObjectKey:
        """The one object this admission is for."""
        if self.intent.key is None:
            raise Denied("object_key_invalid", "The path names no object.")
        return self.intent.key


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
