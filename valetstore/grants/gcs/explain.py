"""What a key of Google's says of itself, proven or not: for explaining it.

Rule 1: nothing here is proof. What it is for is found out by the very checks that serve (`nearby`).
Rule 2: what is not there or cannot be read is left out: whoever refuses the key says why.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from valetstore.errors import Denied
from valetstore.grants import sigv4
from valetstore.grants.facts import Fact, Facts
from valetstore.grants.gcs import form, session, v2, v4
from valetstore.grants.gcs.nearby import Fitting, causes_of, fitting
from valetstore.grants.gcs.rules import Rules
from valetstore.grants.gcs.signer import algorithm_by_length
from valetstore.grants.overrides import OVERRIDES
from valetstore.grants.postpolicy import read_policy
from valetstore.grants.terms import of_query
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import GCS

_NETWORKS: Final = "x-valet-ip"
_KINDS: Final = {"HMAC": "HMAC key", "RSA": "service account"}


def facts_of(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts | None:
    """What a key of Google's says; None where none came, or nothing of it can be read."""
    try:
        if form.kinds_of(inbound):
            return _of_form(inbound, keys)
        if v4.in_query(inbound):
            return _of_v4(inbound, rules, keys)
        if v2.in_query(inbound):
            return _of_v2(inbound, rules, keys)
        token = session.token_of(inbound)
        return None if token is None else _of_session(session.parsed(token), token, keys)
    except Denied:
        return None


def _of_v4(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts:
    claim = v4.claim_of(inbound)
    scope, signed = claim.scope, claim.signed
    found = fitting(inbound, rules, keys)
    known = dict(found.headers) if found else {}
    names = sorted(claim.names - {"host"})
    terms = of_query(inbound.query)
    canonical = sigv4.canonical_request(scope.family, signed, inbound)
    return Facts(
        kind=f"signed URL (V4, {_KINDS[scope.kind]})",
        signer=scope.client,
        carrier="query",
        method=found.method if found else "",
        signed_at=scope.issued_at,
        expires_at=scope.issued_at + claim.life,
        networks=_networks(terms),
        headers=tuple((name, known.get(name) or (inbound.header(name) or "").strip(" \t")) for name in names),
        said=(*_said_of(terms), *_overrides(inbound.query)),
        computed=canonical.decode("utf-8", "replace"),
        causes=() if found and found.is_asked else tuple(causes_of(inbound, rules, keys, found)),
    )


def _of_v2(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts:
    claim = v2.claim_of(inbound)
    found = fitting(inbound, rules, keys)
    kind = algorithm_by_length(claim.signature)
    return Facts(
        kind=f"signed URL (V2, {_KINDS[kind]})",
        signer=claim.client,
        carrier="query",
        method=found.method if found else "",
        expires_at=claim.expires,
        headers=found.headers if found else (),
        computed=next(v2.texts_to_sign(inbound, rules, claim.expires)).line.decode("utf-8", "replace"),
        causes=_causes_in_v2(inbound, rules, keys, found),
    )


def _causes_in_v2(inbound: Inbound, rules: Rules, keys: KeyRing, found: Fitting | None) -> tuple[str, ...]:
    if not rules.v2:
        return ("It was signed with version 2, which the gateway does not take (gcs.gcs-v2 = false).",)
    return () if found and found.is_asked else tuple(causes_of(inbound, rules, keys, found))


def _of_form(inbound: Inbound, keys: KeyRing) -> Facts:
    fields = form.fields_of(inbound)
    if "googleaccessid" in fields:
        kind, signer, signed_at = "POST policy (V2)", fields["googleaccessid"], None
    else:
        kind, signer = "POST policy (V4)", fields.get("x-goog-credential", "").partition("/")[0]
        signed_at = sigv4.moment_of(fields.get("x-goog-date", ""))
    terms = of_query(tuple(fields.items()))
    end, conditions = _of_policy(fields.get("policy", ""))
    return Facts(
        kind=kind,
        signer=signer,
        carrier="form",
        method="POST",
        signed_at=signed_at,
        expires_at=end,
        networks=_networks(terms),
        said=(*_said_of(terms), *conditions),
        computed=fields.get("policy", ""),
        causes=() if keys.find_all(GCS, signer) else (f"No signing key here is {signer}'s.",),
    )


def _of_session(held: session.Session, token: str, keys: KeyRing) -> Facts:
    try:
        session.opened(token, keys)
        causes: tuple[str, ...] = ()
    except Denied:
        causes = ("It was sealed by another gateway, or changed since.",)
    low, high = held.length_min, held.length_max
    length = [] if not low and high is None else [Fact("length", f"{low}-{high or ''}", f"{low} to {high} bytes")]
    return Facts(
        kind="resumable session",
        signer=held.key_name,
        carrier="query",
        method="PUT",
        signed_at=held.issued_at,
        expires_at=held.not_after,
        networks=tuple(network for group in held.networks for network in group),
        said=(Fact("object", held.key.path, f"makes {held.key.path}"), *length),
        causes=causes,
    )


def _of_policy(encoded: str) -> tuple[float | None, tuple[Fact, ...]]:
    """When a policy ends, and what it asks of the form beyond its signature's own fields."""
    try:
        policy = read_policy(encoded)
    except Denied:
        return None, ()
    rows = [row.written for row in policy.conditions if not row.field.startswith(("x-goog-", "x-valet-"))]
    length = [] if policy.length is None else [json.dumps(["content-length-range", *policy.length])]
    return policy.expires_at, tuple(Fact("condition", row, f"with the condition {row}") for row in (*length, *rows))


def _said_of(terms: Iterable[tuple[str, str]]) -> Iterator[Fact]:
    for name, value in terms:
        if name != _NETWORKS:
            yield Fact(name.removeprefix("x-valet-"), value, f"{name}: {value}")


def _overrides(query: Iterable[tuple[str, str]]) -> Iterator[Fact]:
    for name, value in query:
        if name in OVERRIDES:
            yield Fact(name, value, f"answered with {OVERRIDES[name]}: {value}")


def _networks(terms: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    listed = dict(terms).get(_NETWORKS, "")
    return tuple(part.strip(" ") for part in listed.split(",") if part)
