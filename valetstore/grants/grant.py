"""Grant: what a verified key allows. Profile: what its signing key lets any key allow at most.

Rule 1: both are immutable values; nothing here reads a clock, a socket or a signature.
Rule 2: narrowing only ever takes away. Conditions that may be given twice (paths, networks, types) are
kept as groups: every group must hold, one member of it is enough. So "the key's networks" and "the
signing key's networks" are two groups, and no intersection has to be computed or can be got wrong.

What is made for each request has `gc=False`: nothing that it holds leads back to it, so the collector of cycles need
not count it.
"""

import math
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.objectkey import ObjectKey

Operation = Literal["read", "write", "delete", "list", "admin"]
Network = IPv4Network | IPv6Network
_Number = TypeVar("_Number", int, float)

OPERATIONS: Final[frozenset[str]] = frozenset({"read", "write", "delete", "list", "admin"})
DEFAULT_OPERATIONS: Final = ("read", "write", "delete", "list")
"""What a signing key may allow unless told otherwise: never `admin`."""
SINGLE_USE_OPERATIONS: Final = frozenset(DEFAULT_OPERATIONS)
"""What a profile may make single-use: never `admin`, or a mistake could lock the operator out."""

RATE_MIN: Final = 1e-6
RATE_MAX: Final = 1e6
"""Requests a second: one in eleven days is the slowest, and as fast as one machine could ever answer."""
AT_ONCE_MAX: Final = 1_000_000
"""The largest burst, and the most transfers at once."""


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Where a key applies: exactly one path, or everything below a prefix. Paths are decoded."""

    path: str
    is_prefix: bool = False

    def covers(self, path: str) -> bool:
        """Whether an object's path lies within. A prefix ends at a slash, so `/u/1` cannot open `/u/10`."""
        return path.startswith(self.path) if self.is_prefix else path == self.path

    def __str__(self) -> str:
        return f"everything below {self.path}" if self.is_prefix else self.path


class Intent(msgspec.Struct, frozen=True, gc=False):
    """What a request asks for, as its dialect reads it: the operation and the path it touches.

    `key` is None where no single object is meant (a list, whose `path` is `/bucket/` and the prefix asked
    for; the gateway's own paths). `length` and `content_type` are what an upload announces, if it does.

    `action` is the dialect's own name for it ("PutObject"), "" where there is one for each operation. `partly`
    marks a path (`/bucket/`, or `/`) of which the key need only open a part, because what is touched there is
    judged one by one (`Gateway.extend`). `upload` is the multipart upload that a request belongs to: the use of a
    limited key was set aside when that began, so such a request uses nothing of its own. `staged` says that what is
    kept has no name until another request, which takes the use, gives it one: a limited key must have a use left.
    `copied` says that the bytes are another object's: their number and type are judged once that is open
    (`policy.request.enforce_content`).
    """

    operation: Operation
    path: str
    key: ObjectKey | None = None
    length: int | None = None
    content_type: str | None = None
    action: str = ""
    partly: bool = False
    upload: str = ""
    copied: bool = False
    staged: bool = False

    @property
    def in_part(self) -> bool:
        """Whether its body is only a part of what an object will be."""
        return bool(self.upload) or self.staged


class BodyProof(Protocol):
    """What a body must still prove while it arrives: a dialect's framing, chunk signatures, trailers.

    `length` is the number of decoded bytes that was announced, None where it was not. Give it all bytes, then call
    `finish`: what was decoded before that is not to be kept unless `finish` returns.
    """

    length: int | None

    def feed(self, data: bytes) -> list[bytes]:
        """The next bytes from the wire as decoded pieces. Raises `request_malformed`, `signature_mismatch`, ..."""

    def finish(self) -> Mapping[str, str]:
        """No more bytes: the trailers, by lower-case name. Raises `body_incomplete`, `signature_mismatch`, ..."""


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much may be asked of the gateway: `rate` requests a second, `burst` of them at once after a pause,
    `transfers` running at once. At least one of rate and transfers; a burst needs a rate, and is the rate itself,
    rounded up, where it is left out.

    Raises ValueError where a number is out of range (msgspec makes it a ValidationError that says where): a rate is
    RATE_MIN to RATE_MAX, the others are 1 to AT_ONCE_MAX.
    """

    rate: float | None = None
    burst: int | None = None
    transfers: int | None = None

    def __post_init__(self) -> None:
        if self.rate is None and self.transfers is None:
            raise ValueError("needs `rate` or `transfers`")
        # Written so that NaN fails as well.
        if self.rate is not None and not RATE_MIN <= self.rate <= RATE_MAX:
            raise ValueError(f"`rate` is requests a second, {RATE_MIN:f} to {RATE_MAX:.0f}")
        if self.burst is not None and self.rate is None:
            raise ValueError("`burst` needs `rate`")
        for name, count in (("burst", self.burst), ("transfers", self.transfers)):
            if count is not None and not 1 <= count <= AT_ONCE_MAX:
                raise ValueError(f"`{name}` is a whole number, 1 to {AT_ONCE_MAX}")

    @property
    def at_once(self) -> int:
        """Requests at once after a pause; 0 where requests are not limited."""
        return self.burst or math.ceil(self.rate or 0)

    def narrowed_by(self, other: "Budget") -> "Budget":
        """The less of each."""
        bursts = [budget.at_once for budget in (self, other) if budget.rate is not None]
        return Budget(_least(self.rate, other.rate), min(bursts, default=None), _least(self.transfers, other.transfers))

    def __str__(self) -> str:
        said = []
        if self.rate is not None:
            # Twelve digits without an exponent: 0.000001 and 1000000 as they are.
            rate = f"{self.rate:.6f}".rstrip("0").rstrip(".")
            said.append(f"{rate} requests a second, {self.at_once} at once")
        if self.transfers is not None:
            said.append(f"{self.transfers} transfer{'s' if self.transfers > 1 else ''} at once")
        return ", ".join(said)


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """One budget that a request counts against, and who is counted: 16 bytes for a key, a signing key, a subject,
    an address (`policy.budget.charges_of` makes them). `whose` says which of these, for the audit.
    """

    caller: bytes
    budget: Budget
    whose: str = ""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """What keys of one signing key may do at most. Empty `prefixes`, `types`, `networks` mean any.

    `uses` is how often each key may be used, all operations together; of a `single_use` operation a key has one use.
    `budget` is for all keys of the signing key together.
    """

    operations: tuple[Operation, ...] = DEFAULT_OPERATIONS
    prefixes: tuple[str, ...] = ()
    ttl_seconds_max: int | None = None
    length_bytes_min: int = 0
    length_bytes_max: int | None = None
    types: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    create_only: bool = False
    https: bool = False
    single_use: tuple[Operation, ...] = ()
    uses: int | None = None
    budget: Budget | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One key's permission. Times are seconds since the epoch, lengths bytes, `identity` 16 bytes.

    `skew` is the tolerance at the end of the validity, `early` the one at its beginning: the gateway's setting for
    native keys; others go by their vendor's rule, which judges the end to the second.

    `identity` names the key for single use, revocation and the audit; it is derived from what is verified, never from
    the key's text. `outlived_by` is for how many seconds at most what it begins may go on after its end, as an upload
    in chunks does, and whatever else its identity names: so long its revocation counts. `uses` counts all operations
    together; how many an operation has is `uses_for`. `budget` is the key's own, `shared_budget` that of all keys of
    its signing key.
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
    early: float = 0
    subject: str = ""
    outlived_by: int = 0
    ttl_max: int | None = None
    length_min: int = 0
    length_max: int | None = None
    types: tuple[tuple[str, ...], ...] = ()
    networks: tuple[tuple[Network, ...], ...] = ()
    tls_only: bool = False
    uses: int | None = None
    single_use: frozenset[str] = frozenset()
    window: int = 0
    budget: Budget | None = None
    shared_budget: Budget | None = None
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
            uses=_least(self.uses, limits.uses),
            # A window repeats uses beyond their count: what a profile counts, a key cannot stretch.
            window=self.window if limits.uses is None else 0,
            single_use=self.single_use | limits.single_use,
            shared_budget=_least_budget(self.shared_budget, limits.budget),
            create_only=self.create_only or limits.create_only,
            retires_at=_least(self.retires_at, limits.retires_at),
        )

    def uses_for(self, operation: str) -> int | None:
        """How often the key may be used until this operation is refused; None for any number of times.

        A key has one count of uses. Where `uses` is limited every operation counts; where it is not, only the
        single-use ones do, and they share the one use.
        """
        return 1 if operation in self.single_use else self.uses


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
    uses: int | None
    single_use: frozenset[str]
    budget: Budget | None
    create_only: bool
    retires_at: int | None
    unconditional: bool


class Use(msgspec.Struct, frozen=True, gc=False):
    """What a replay set needs to know of one request with a limited key.

    `allowed` uses; for `window` seconds after a use the same `source` may repeat it; the entry must live
    until `keep_until` (seconds since the epoch: expiry and skew). `issued_at` is when the key says it was
    signed: after a damaged log was repaired, a key from before is not believed to be unused.
    """

    identity: bytes
    allowed: int
    window: int
    source: str
    keep_until: float
    issued_at: float | None = None


class Proof(msgspec.Struct, frozen=True, gc=False):
    """What `verify` hands on: the grant as signed, its signing key's limits, and what the body has yet to prove."""

    grant: Grant
    limits: Limits
    body: BodyProof | None = None


class Admission(msgspec.Struct, frozen=True, gc=False):
    """A request that was let in. Only `Gateway.admit` and `extend` make one; storage takes nothing less.

    `use` is set where the key has limited uses: whoever serves the request claims it as the last step
    before the first byte, or reserves and commits it around an upload. `charges` are the budgets it has entered
    against, until `Gateway.leave`. `body` is what its body must still prove, before anything of it is kept.
    """

    inbound: Inbound
    intent: Intent
    grant: Grant
    use: Use | None
    charges: tuple[Charge, ...] = ()
    body: BodyProof | None = None

    @property
    def key(self) -> ObjectKey:
        """The one object this admission is for."""
        if self.intent.key is None:
            raise Denied("object_key_invalid", "The path names no object.")
        return self.intent.key


def _least(one: _Number | None, other: _Number | None) -> _Number | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _least_budget(one: Budget | None, other: Budget | None) -> Budget | None:
    if one is None or other is None:
        return other if one is None else one
    return one.narrowed_by(other)
