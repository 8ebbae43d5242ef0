"""What a grant is checked against before any byte moves: the head of the request.

The order is part of the promise (docs/SECURITY.md): time, revocation, operation, path, source, TLS,
headers, length, type. A refusal names the first that fails, and nothing later is looked at.
"""

import math
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Intent, Scope
from valetstore.grants.networks import contains
from valetstore.inbound import Inbound
from valetstore.policy.revocation import RevocationTable
from valetstore.units import show_duration

# Two types joined by a comma are none: browsers take the last, so `image/png, text/html` is no image.
_TYPE: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+/[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)

Check = Callable[[Grant, Intent, Inbound], None]


def enforce(grant: Grant, intent: Intent, inbound: Inbound, revocations: RevocationTable | None = None) -> None:
    """Raise Denied unless the grant is in force and covers this request."""
    # The checks of VALIDITY and COVERAGE in their order, without a call for a condition that most keys do not have.
    _time(grant, intent, inbound)
    if grant.retires_at is not None:
        _retirement(grant, intent, inbound)
    if revocations is not None:
        revocations.check(grant, intent.path, inbound.now)
    if intent.operation not in grant.operations:
        _operation(grant, intent, inbound)
    _path(grant, intent, inbound)
    if grant.networks:
        _source(grant, intent, inbound)
    if grant.tls_only:
        _tls(grant, intent, inbound)
    if grant.headers:
        _headers(grant, intent, inbound)
    if intent.operation == "write":
        _length(grant, intent, inbound)
        _type(grant, intent, inbound)


class Term(NamedTuple):
    """When a grant is in force: from `since` on and before `until`, in seconds since the epoch."""

    since: float
    until: float


def term_of(grant: Grant) -> Term | None:
    """The moments at which the checks of VALIDITY hold; None where a request's own moment is measured against more.

    For a grant that was enforced once: what is wrong at any moment is not asked.
    """
    if grant.ttl_max is not None and grant.issued_at is None:
        return None
    starts = [moment - grant.early for moment in (grant.not_before, grant.issued_at) if moment is not None]
    end = grant.not_after + grant.skew
    return Term(max(starts, default=-math.inf), end if grant.retires_at is None else min(end, grant.retires_at))


def enforce_further(grant: Grant, intent: Intent, inbound: Inbound, revocations: RevocationTable) -> None:
    """Raise Denied unless a grant that was let in covers this too: one more object that the request touches."""
    revocations.check(grant, intent.path, inbound.now)
    for check in (_operation, _path):
        check(grant, intent, inbound)


def enforce_content(grant: Grant, intent: Intent, inbound: Inbound) -> None:
    """Raise Denied unless a grant that was let in covers this length and type: of a copy they are known late."""
    for check in (_length, _type):
        check(grant, intent, inbound)


def enforce_holding(grant: Grant, intent: Intent, inbound: Inbound, revocations: RevocationTable) -> None:
    """Raise Denied unless the key is in force and may be held by whoever sent this, whatever it opens."""
    for check in VALIDITY:
        check(grant, intent, inbound)
    revocations.check(grant, intent.path, inbound.now)
    for check in (_source, _tls):
        check(grant, intent, inbound)


def _time(grant: Grant, _intent: Intent, inbound: Inbound) -> None:
    now, issued_at = inbound.now, grant.issued_at
    if grant.not_before is not None and now < grant.not_before - grant.early:
        raise Denied("key_not_yet_valid", not_before=grant.not_before)
    if issued_at is not None and now < issued_at - grant.early:
        raise Denied("key_not_yet_valid", "It was issued in the future: a clock is wrong.", issued_at=issued_at)
    # RFC 7519 section 4.1.4: on or after `exp` it must not be accepted.
    if now >= grant.not_after + grant.skew:
        raise Denied("key_expired", expired_at=grant.not_after)
    if grant.ttl_max is not None:
        # A key that does not say when it was issued is measured by what is left of it.
        since = now if issued_at is None else issued_at
        # A vendor whose last second is valid ends in the next number after it, which is no longer life.
        if grant.not_after > math.nextafter(since + grant.ttl_max, math.inf):
            raise Denied("ttl_too_long", f"At most {show_duration(grant.ttl_max)}.")


def _retirement(grant: Grant, _intent: Intent, inbound: Inbound) -> None:
    if grant.retires_at is not None and inbound.now >= grant.retires_at:
        raise Denied("key_revoked", "Its signing key is retired.")


def _operation(grant: Grant, intent: Intent, _inbound: Inbound) -> None:
    if intent.operation not in grant.operations:
        allowed = ", ".join(sorted(grant.operations)) or "nothing"
        raise Denied("operation_not_allowed", f"This is {intent.operation}; it allows {allowed}.")


def _path(grant: Grant, intent: Intent, _inbound: Inbound) -> None:
    for group in grant.scopes:
        for scope in group:
            if _opens(scope, intent):
                break
        else:
            raise Denied("path_not_allowed")


def _opens(scope: Scope, intent: Intent) -> bool:
    if intent.partly and scope.path.startswith(intent.path):
        return True
    # The names that start with a prefix are more than one path: only a prefix can open a list.
    return scope.covers(intent.path) and (scope.is_prefix or intent.operation != "list" or intent.partly)


def _source(grant: Grant, _intent: Intent, inbound: Inbound) -> None:
    for group in grant.networks:
        if inbound.peer is None or not contains(group, inbound.peer):
            raise Denied("source_not_allowed")


def _tls(grant: Grant, _intent: Intent, inbound: Inbound) -> None:
    if grant.tls_only and not inbound.tls:
        raise Denied("https_required")


def _headers(grant: Grant, _intent: Intent, inbound: Inbound) -> None:
    for name, value in grant.headers:
        given = inbound.header(name)
        if given is None or given.encode("latin-1") != value.encode("utf-8"):
            raise Denied("header_required", f"It requires {name}.")


def _length(grant: Grant, intent: Intent, _inbound: Inbound) -> None:
    if intent.operation != "write" or intent.length is None:
        return
    if grant.length_max is not None and intent.length > grant.length_max:
        raise Denied("too_large", f"At most {grant.length_max} bytes.", size_max=grant.length_max)
    # A part may be smaller than the whole has to be.
    if intent.length < grant.length_min and not intent.in_part:
        raise Denied("too_small", f"At least {grant.length_min} bytes.", size_min=grant.length_min)


def _type(grant: Grant, intent: Intent, _inbound: Inbound) -> None:
    # The parts of an upload have no type of their own, nor has a bucket; a copy's may be its source's.
    if intent.operation != "write" or not grant.types or intent.in_part or intent.copied or intent.key is None:
        return
    given = (intent.content_type or "").partition(";")[0].strip().lower()
    for group in grant.types:
        if not any(type_matches(given, pattern) for pattern in group):
            raise Denied("type_not_allowed", f"Allowed: {', '.join(group)}.")


def type_matches(given: str, pattern: str) -> bool:
    """Whether a lower-case content type without parameters fits `type/subtype`, `type/*` or `*/*`."""
    if not _TYPE.fullmatch(given):
        return False
    return pattern in ("*/*", given) or (pattern.endswith("/*") and given.startswith(pattern[:-1]))


VALIDITY: Final[tuple[Check, ...]] = (_time, _retirement)
"""Is the key good at all? Revocation is asked next."""

COVERAGE: Final[tuple[Check, ...]] = (_operation, _path, _source, _tls, _headers, _length, _type)
"""Does it allow this?"""

CHECKS: Final = (*VALIDITY, *COVERAGE)
