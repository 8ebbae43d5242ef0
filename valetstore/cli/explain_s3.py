"""A key of S3's in words and as JSON: what it says, and what in the request keeps its signature from holding.

Rule 1: neither a signature nor a secret is printed; a session token is masked where a canonical request shows it.
Rule 2: a cause is named only where the request holds without it.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from valetstore.cli.about import distance
from valetstore.encoding import http_date
from valetstore.errors import Denied, Saying
from valetstore.grants.s3 import Rules
from valetstore.grants.s3.explain import (
    Difference,
    Facts,
    facts_of,
    first_difference,
    missing_headers,
    signs_empty_checksum,
)
from valetstore.grants.s3.nearby import Change, holding
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import S3
from valetstore.redact import MASK

_MISMATCH: Final = "SignatureDoesNotMatch"
_MEND: Final = {
    "InvalidAccessKeyId": "Sign with an access key id of this ring (`valetstore keys list`); `valetstore keys import "
    "--scheme s3` brings one along.",
    "InvalidToken": "Take the session token whole, with the access key id that it was made with; a retired signing key "
    "ends its sessions. `valetstore keys session` makes another.",
    "ExpiredToken": "`valetstore keys session` makes another; a URL ends with the session that signed it.",
}
_UNSIGNED: Final = "Do not send these headers, or have them signed: tell the SDK of them when it presigns."
_WHOLE: Final = "Take the whole of what the SDK has made; in a shell, put a URL in single quotes."
_SIGNATURE_CHARACTERS: Final = 64
_ENTITY: Final = b"&amp;"
_SHAPES: Final = frozenset({"object_key_invalid", "target_invalid", "not_implemented", "method_not_allowed"})
"""What is refused before its signature is looked at."""

_SHOWN: Final = frozenset({"content-type", "content-md5", "content-length"})
"""Signed headers whose value a client has to send, and that say nothing which is secret."""

_WEEK: Final = "Sign one that lives at most 604800 seconds (7 days)."
_NO_V2: Final = "Sign with version 4 (boto3: Config(signature_version='s3v4')), or set s3.sigv2 = true."
_UNEXPLAINED: Final = (
    "No other method, Host, path, query or region that was tried makes it hold: it was signed with another secret, or "
    "for another request. --canonical-request FILE compares with what the signer says that it signed."
)
_V2_DROPS: Final = (
    "Signature version 2 signs no other headers than Content-MD5, Content-Type and x-amz-*, no Host, and no list's "
    "prefix. What else the signer was told (If-None-Match, Range, a length) it has dropped without a word, and binds "
    "nobody: sign with version 4, or let the signing key's profile say it (`keys create --create-only`)."
)
_EMPTY_CHECKSUM: Final = (
    "It signs x-amz-checksum-crc32=AAAAAA==, the checksum of an empty body: an SDK writes it that knows no body yet, "
    "and any other upload fails with BadDigest. Make that client with requestChecksumCalculation: "
    '"WHEN_REQUIRED" (JavaScript) or request_checksum_calculation="when_required" (boto3).'
)
_TOKEN: Final = re.compile(r"(?i)(x-amz-security-token(?:=|:))[^&\n]+")


class Explained(NamedTuple):
    """What was found out about a key of S3's, as `About`: the `changes` would make its signature hold.

    `causes` keep any signature from holding. `canonical` is what we computed, "" where it was not needed; `difference`
    is where another one differs.
    """

    facts: Facts
    changes: tuple[Change, ...] = ()
    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    canonical: str = ""
    difference: Difference | None = None
    compared: bool = False

    @property
    def scheme(self) -> str:
        """See About."""
        return S3

    def says(self, inbound: Inbound) -> Iterator[str]:
        """See About."""
        facts, now = self.facts, inbound.now
        carrier = {"query": "presigned URL", "header": "signed request", "form": "POST form"}[facts.carrier]
        yield f"{carrier}, signature version {facts.version}, access key id {facts.access_key_id or 'missing'}"
        if facts.region:
            yield f"for the region {facts.region}"
        if facts.signed_at is not None:
            yield f"signed {http_date(facts.signed_at)} ({distance(facts.signed_at, now)})"
        if facts.expires_at is not None:
            yield f"until {http_date(int(facts.expires_at))} ({distance(facts.expires_at, now)})"
        if facts.signed_headers:
            shown = [name if name not in _SHOWN else f"{name}: {inbound.header(name)}" for name in facts.signed_headers]
            yield f"signed headers {', '.join(shown)}"
        if facts.with_session:
            yield "by temporary credentials (session token)"
        yield from (f"{name} {value}" for name, value in facts.terms)
        yield from (f"condition {condition}" for condition in facts.conditions)

    def ends_early(self, not_after: float, now: float) -> Iterator[str]:
        """See About: a URL may say more than the session that signed it allows."""
        facts = self.facts
        if facts.with_session and facts.expires_at is not None and not_after < facts.expires_at:
            yield f"ends with its session, {http_date(int(not_after))} ({distance(not_after, now)})"

    def own_uses(self) -> int | None:
        """See About."""
        uses = dict(self.facts.terms).get("x-valet-uses", "")
        return int(uses) if uses.isascii() and uses.isdigit() else None

    def vendors(self, denied: Denied, inbound: Inbound) -> Saying:
        """See About."""
        # Here, since it brings the whole server along, which no other command needs.
        from valetstore.edge.s3.voice import saying_of

        return saying_of(denied, inbound)

    def why(self, denied: Denied | None) -> Iterator[str]:
        """See About."""
        yield from (_in_words(change) for change in self.changes)
        if len(self.changes) > 1:
            yield "Only all of these together make it hold."
        if denied is not None and denied.said is not None and denied.said.code == _MISMATCH:
            if not self.changes and not self.causes:
                yield _UNEXPLAINED
            yield "What was computed here:"
            yield from (f"  | {line}" for line in self.canonical.split("\n"))
        if self.difference is not None:
            number, part, ours, theirs = self.difference
            yield f"It differs from the given one first in line {number} ({part}):"
            yield f"  here:  {_masked(ours)}"
            yield f"  given: {_masked(theirs)}"
        elif self.compared:
            yield "It is the same as the given one: only the secret can be another."
        yield from self.causes
        yield from self.notes

    def mend(self, denied: Denied) -> str:
        """See About."""
        said = denied.said
        if said is None:
            return ""
        members = dict(said.members)
        if "HeadersNotSigned" in members:
            return _UNSIGNED
        if "X-Amz-Expires must be less than a week" in said.message:
            return _WEEK
        if said.code == "InvalidRequest" and self.facts.version == "2":
            return _NO_V2
        return _MEND.get(said.code, _WHOLE if denied.code == "key_malformed" else "")

    def as_json(self) -> dict[str, object]:
        """See About."""
        facts = self.facts._asdict() | {"terms": dict(self.facts.terms)}
        return facts | {
            "would_hold": [change._asdict() for change in self.changes],
            "notes": [*self.causes, *self.notes],
            "computed": self.canonical or None,
            "difference": None if self.difference is None else _difference(self.difference),
        }


def explained(
    inbound: Inbound, rules: Rules, keys: KeyRing, denied: Denied | None, theirs: str | None, hosts: tuple[str, ...]
) -> Explained | None:
    """Find out what can be; None where there is no key of S3's. `theirs` is a canonical request to compare with."""
    facts = facts_of(inbound) or facts_of(_from_html(inbound))
    if facts is None:
        return None
    said = denied.said if denied is not None else None
    members = dict(said.members) if said is not None else {}
    canonical = members.get("CanonicalRequest") or members.get("StringToSign", "")
    changes = holding(inbound, rules, keys, hosts) if denied is not None and _may_be_rewritten(inbound, denied) else ()
    difference = first_difference(canonical, theirs) if theirs is not None and canonical else None
    causes, notes = tuple(_causes(inbound, facts)), tuple(_notes(inbound, facts))
    compared = theirs is not None and bool(canonical)
    return Explained(facts, changes, causes, notes, _masked(canonical), difference, compared)


def _may_be_rewritten(inbound: Inbound, denied: Denied) -> bool:
    """Whether it may be refused for not being the request that was signed."""
    said = denied.said
    if said is not None and (said.code == _MISMATCH or "Region" in dict(said.members)):
        return True
    return denied.code in _SHAPES or _ENTITY in inbound.raw_query


def _from_html(inbound: Inbound) -> Inbound:
    """The request as its URL was meant, where that was copied out of HTML."""
    target = inbound.target.replace(_ENTITY, b"&")
    return Inbound(inbound.method, target, inbound.headers, now=inbound.now, tls=inbound.tls, form=inbound.form)


def is_proven(denied: Denied) -> bool:
    """Whether a key of S3's is refused for what its request brings, its signature being good."""
    said = denied.said
    if said is None or denied.code not in ("header_required", "path_not_allowed", "key_expired"):
        return False
    unsigned = dict(said.members).get("HeadersNotSigned", "host")
    return unsigned != "host" or said.message.startswith("Invalid according to Policy")


def _difference(found: Difference) -> dict[str, object]:
    return found._asdict() | {"ours": _masked(found.ours), "theirs": _masked(found.theirs)}


def _causes(inbound: Inbound, facts: Facts) -> Iterator[str]:
    gone = missing_headers(inbound)
    if gone:
        yield f"It signs headers that did not come: {', '.join(gone)}. Send them as they were signed; --header judges."
    signature = next((value for name, value in inbound.query if name.lower() == "x-amz-signature"), None)
    if facts.version == "4" and signature is not None and len(signature) != _SIGNATURE_CHARACTERS:
        yield f"Its signature has {len(signature)} characters, and not {_SIGNATURE_CHARACTERS}: {_WHOLE}"


def _notes(inbound: Inbound, facts: Facts) -> Iterator[str]:
    if signs_empty_checksum(inbound):
        yield _EMPTY_CHECKSUM
    if facts.version == "2" and facts.carrier == "query":
        yield _V2_DROPS


def _in_words(change: Change) -> str:
    kind, found, wanted = change
    match kind:
        case "method":
            return f"It was signed for {wanted}, not for {found}."
        case "host":
            return (
                f"It was signed for the Host {wanted}, and came for {found}: sign for the URL that clients use, have "
                "the proxy pass the Host on, or set listen.public-url."
            )
        case "path" if found.endswith(wanted) and found != wanted:
            return f"The path was signed without {found.removesuffix(wanted)} before it: have the proxy take it away."
        case "path":
            return f"The path was signed as {wanted}, and came as {found}: send it exactly as it was signed."
        case "query" if found.startswith("the parameter"):
            return f"The signature holds without {found}: added to the URL after signing."
        case "query":
            return f"The query was rewritten: it came with {found}. Send it exactly as it was signed."
        case "header" if ":" in found:
            name, _, value = found.partition(": ")
            if not wanted:
                return f"It was signed without the header {name}, and came with {value}: do not send it."
            return f"It was signed with the header {name}: {wanted}, and came with {value}."
        case "header":
            return f"It signs the header {found}, which did not come: it holds with {found}: {wanted}."
        case _:
            return f"It was signed for the region {found}: give the client {wanted}, or set s3.region."


def _masked(text: str) -> str:
    return _TOKEN.sub(rf"\g<1>{MASK}", text)
