"""The key ring: which signing keys there are, and what their keys may do at most.

Rule 1: a ring is immutable. A change makes a new ring with a new generation, swapped in whole, so that
one request never sees half of a rotation.
Rule 2: everything that can be wrong with a record is found when the ring is made, and named.
"""

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

import msgspec

from valetstore.encoding import b64url_decode
from valetstore.errors import ConfigInvalid
from valetstore.grants.grant import OPERATIONS, SINGLE_USE_OPERATIONS, Limits, Profile, Scope
from valetstore.grants.networks import parse_networks
from valetstore.keys.material import (
    ALGORITHMS,
    VENDOR_ALGORITHMS,
    Algorithm,
    Holds,
    PublicKey,
    Secret,
    algorithm_of,
    check_secret,
    framed,
    load_public,
    load_vendor_public,
    verifier_of,
)
from valetstore.keys.vendor import HMAC, VENDORS

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
USES_MAX: Final = 2**53
"""As many as a native key can say in its claims."""
NATIVE: Final = "native"
IDENTITY_KINDS: Final = ("jti", "mac")
"""What may tell one native key from another: see `SigningKey.identity_of`. Other dialects have one such thing."""
SHARING_MAX: Final = 8
"""How many signing keys that do not retire may have one key id, where a dialect has rotations: each may cost a
verification. Of those that do retire so many are tried too, the last to retire; rotations would run out else."""
INTERNAL_NAME: Final = "_valet"
"""The gateway's own signing key: it opens the probes of `valetstore check` and the way of `valetstore revoke`."""


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """A signing key as the ring's file holds it.

    `id` is internal, random and never reused: key identities are derived from it, so a new key under an old
    name cannot meet the old one's used or revoked keys. `kid` is what a token's header names; a vendor's credential
    has its own word for it (`keys.vendor`). Exactly one of `secret` (base64url) and `public_key` (PEM) is set. Times
    are seconds since the epoch.
    """

    id: str
    name: str
    kid: str
    algorithm: str
    created_at: int
    scheme: str = NATIVE
    secret: str | None = None
    public_key: str | None = None
    retires_at: int | None = None
    profile: Profile = Profile()

    def __repr__(self) -> str:
        """Never shows the secret."""
        return f"KeyRecord({self.name!r}, kid={self.kid!r}, algorithm={self.algorithm!r})"


class SigningKey:
    """A record made ready for verifying: material loaded, profile parsed.

    `holds` is `algorithm.verify` by this material, with what can be done once done: a message and its signature.
    """

    __slots__ = ("_fronts", "algorithm", "holds", "id", "limits", "material", "name", "record")

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self.name = record.name
        self.id: bytes = record.id.encode()
        self.algorithm: Algorithm = _algorithm(record)
        self.material: Secret | PublicKey = _material(record)
        self.limits: Limits = limits_of(record.profile, record.retires_at)
        self.holds: Holds = verifier_of(self.algorithm, self.material)
        front = framed(record.scheme.encode(), self.id)
        self._fronts = {"": front} | {kind: front + framed(kind.encode()) for kind in IDENTITY_KINDS}

    def identity_of(self, nonce: bytes, kind: str = "") -> bytes:
        """The identity of a key that this one has signed: `nonce` is what tells it from its others, and of what `kind`
        that is, in a dialect that has several; the `fingerprint` of scheme, key id, kind and nonce.
        """
        return sha256(self._fronts[kind] + len(nonce).to_bytes(4, "big") + nonce).digest()[:16]

    def retired(self, now: float) -> bool:
        """Whether what it signed is refused by now (seconds since the epoch)."""
        return self.record.retires_at is not None and self.record.retires_at <= now


class KeyRing:
    """Signing keys by scheme and key id. Raises ConfigInvalid where two share one or a record is wrong."""

    def __init__(self, records: Iterable[KeyRecord] = (), generation: int = 0) -> None:
        self.generation = generation
        self._by_kid: dict[tuple[str, str], tuple[SigningKey, ...]] = {}
        self._by_name: dict[str, SigningKey] = {}
        for record in records:
            try:
                key = SigningKey(record)
            except ConfigInvalid as error:
                raise ConfigInvalid(f"signing key {record.name!r}: {error}") from error
            if record.name in self._by_name:
                raise ConfigInvalid(f"signing key {record.name!r}: the name is used twice")
            others = self._by_kid.get((record.scheme, record.kid), ())
            if others and not _may_share(record, others):
                raise ConfigInvalid(f"signing key {record.name!r}: the key id {record.kid!r} is used twice")
            if record.retires_at is None and sum(o.record.retires_at is None for o in others) >= SHARING_MAX:
                raise ConfigInvalid(
                    f"signing key {record.name!r}: {SHARING_MAX} others have the key id {record.kid!r} already; retire "
                    "one first"
                )
            self._by_name[record.name] = key
            self._by_kid[record.scheme, record.kid] = (*others, key)
        self._tried = {kid: _tried(keys) for kid, keys in self._by_kid.items()}

    def find(self, scheme: str, kid: str) -> SigningKey | None:
        """The signing key a credential names, retired or not; None where there is none."""
        found = self._by_kid.get((scheme, kid))
        return found[0] if found else None

    def find_all(self, scheme: str, kid: str) -> tuple[SigningKey, ...]:
        """All that a credential may mean where its dialect has rotations, in the ring's order.

        At most SHARING_MAX that do not retire, and as many that do: those before them are as unknown.
        """
        return self._tried.get((scheme, kid), ())

    def named(self, name: str) -> SigningKey | None:
        """The signing key of that name."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[SigningKey]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)


def limits_of(profile: Profile, retires_at: int | None = None) -> Limits:
    """A profile parsed for narrowing; raises ConfigInvalid that names the member and what is allowed."""
    if not profile.operations or not set(profile.operations) <= OPERATIONS:
        raise ConfigInvalid(f"operations: must be some of {', '.join(sorted(OPERATIONS))}")
    for prefix in profile.prefixes:
        if not (prefix.startswith("/") and prefix.endswith("/")):
            raise ConfigInvalid(f"prefixes: {prefix!r}: must start and end with a slash, as /photos/")
    for pattern in profile.types:
        check_type_pattern(pattern)
    try:
        networks = parse_networks(list(profile.networks)) if profile.networks else ()
    except ValueError as error:
        raise ConfigInvalid(f"networks: {error}: must be a network such as 203.0.113.0/24") from error
    if profile.length_bytes_max is not None and profile.length_bytes_min > profile.length_bytes_max:
        raise ConfigInvalid("length-bytes-min: is larger than length-bytes-max")
    check_uses(profile)
    scopes = tuple(Scope(prefix, is_prefix=True) for prefix in profile.prefixes)
    limits = Limits(
        operations=frozenset(profile.operations),
        scopes=(scopes,) if scopes else (),
        ttl_max=profile.ttl_seconds_max,
        length_min=profile.length_bytes_min,
        length_max=profile.length_bytes_max,
        types=(tuple(pattern.lower() for pattern in profile.types),) if profile.types else (),
        networks=(networks,) if networks else (),
        tls_only=profile.https,
        uses=profile.uses,
        single_use=frozenset(profile.single_use),
        budget=profile.budget,
        create_only=profile.create_only,
        retires_at=retires_at,
        unconditional=False,
    )
    only_operations = Profile(operations=profile.operations) == profile and retires_at is None
    return msgspec.structs.replace(limits, unconditional=only_operations)


def check_uses(profile: Profile) -> None:
    """Raise ConfigInvalid unless its single use is one that keys can have."""
    strange = sorted(set(profile.single_use) - SINGLE_USE_OPERATIONS)
    if strange:
        allowed = ", ".join(sorted(SINGLE_USE_OPERATIONS))
        raise ConfigInvalid(f"single-use: {strange[0]!r}: must be some of {allowed}")
    if profile.uses is not None and not 1 <= profile.uses <= USES_MAX:
        raise ConfigInvalid(f"uses: {profile.uses}: must be 1 to {USES_MAX}")


def check_type_pattern(pattern: str) -> None:
    """Raise ConfigInvalid unless this is `type/subtype`, `type/*` or `*/*`."""
    token = r"[A-Za-z0-9!#$%&'+.^_`|~-]+"  # noqa: S105 - RFC 9110's token, not a secret
    if not re.fullmatch(rf"(?:{token}/(?:{token}|\*)|\*/\*)", pattern, re.ASCII):
        raise ConfigInvalid(f"type {pattern!r}: must be type/subtype, type/* or */*")


def check_not_reserved(name: str) -> None:
    """Raise ConfigInvalid for a name that only the gateway itself may give."""
    if name.startswith("_"):
        raise ConfigInvalid(
            f"signing key {name!r}: names that begin with `_` are the gateway's own; begin with a letter or digit"
        )


def _may_share(record: KeyRecord, others: Iterable[SigningKey]) -> bool:
    """Whether a dialect lets these signing keys have one key id: of one kind, as a rotation makes them."""
    vendor = VENDORS.get(record.scheme)
    return vendor is not None and vendor.rotates and all(o.record.algorithm == record.algorithm for o in others)


def _tried(keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
    """Without those that retire before SHARING_MAX others."""
    retiring = sorted((key.record.retires_at, at) for at, key in enumerate(keys) if key.record.retires_at is not None)
    left_out = {at for _, at in retiring[:-SHARING_MAX]}
    return tuple(key for at, key in enumerate(keys) if at not in left_out)


def _algorithm(record: KeyRecord) -> Algorithm:
    if not NAME.fullmatch(record.name):
        raise ConfigInvalid("the name has 1 to 64 letters, digits, dots, hyphens or underscores")
    if record.scheme in VENDORS:
        vendor = VENDORS[record.scheme]
        vendor.check_key_id(record.kid)
        if record.algorithm not in vendor.algorithms:
            allowed = " or ".join(vendor.algorithms)
            raise ConfigInvalid(f"algorithm {record.algorithm!r}: a signing key for {vendor.title} has {allowed}")
        return VENDOR_ALGORITHMS[record.algorithm]
    if record.scheme != NATIVE:
        raise ConfigInvalid(f"scheme {record.scheme!r}: must be one of {', '.join((NATIVE, *VENDORS))}")
    if record.algorithm not in ALGORITHMS:
        raise ConfigInvalid(f"algorithm {record.algorithm!r}: must be one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[record.algorithm]


def _material(record: KeyRecord) -> Secret | PublicKey:
    is_vendors = record.scheme in VENDORS
    if (record.algorithm != HMAC) if is_vendors else ALGORITHMS[record.algorithm].asymmetric:
        if record.public_key is None or record.secret is not None:
            raise ConfigInvalid(f"{record.algorithm} needs public-key, and no secret")
        if is_vendors:
            return load_vendor_public(record.public_key, record.algorithm)
        public = load_public(record.public_key)
        if algorithm_of(public) != record.algorithm:
            raise ConfigInvalid(f"the public key is for {algorithm_of(public)}, not {record.algorithm}")
        return public
    if record.secret is None or record.public_key is not None:
        raise ConfigInvalid(f"{record.algorithm} needs secret, and no public-key")
    try:
        secret = b64url_decode(record.secret.encode())
    except ValueError as error:
        raise ConfigInvalid("the secret is not unpadded base64url") from error
    return VENDORS[record.scheme].check_secret(secret) if is_vendors else check_secret(secret)
