"""A key of Google's, Azure's, CloudFront's or Swift's in words and as JSON: what it says, and why it does not hold.

Rule 1: what a key says is its dialect's own file's to find out (`grants/*/explain.py`); here it is only put.
Rule 2: neither a signature nor a secret is printed, and a cause only where the dialect's file has named it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from valetstore.cli.about import distance
from valetstore.dialects import Rules
from valetstore.encoding import http_date
from valetstore.errors import Denied, Saying
from valetstore.grants.azure import explain as azure
from valetstore.grants.cloudfront import explain as cloudfront
from valetstore.grants.facts import Facts
from valetstore.grants.gcs import explain as gcs
from valetstore.grants.swift import explain as swift
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import AZURE, CLOUDFRONT, GCS, SWIFT, VENDORS

_FACTS_OF: Final[Mapping[str, Callable[[Inbound, Any, KeyRing], Facts | None]]] = {
    GCS: gcs.facts_of,
    AZURE: azure.facts_of,
    CLOUDFRONT: cloudfront.facts_of,
    SWIFT: swift.facts_of,
}

_ENTITY: Final = b"&amp;"
_FROM_HTML: Final = "The URL was copied out of HTML: it has `&amp;` in place of `&`."
_WHOLE: Final = "Take the whole of what the signer has made; in a shell, put a URL in single quotes."
_UNEXPLAINED: Final = "Nothing that was tried makes it hold: it was signed with another key, or for another request."
_AS_SIGNED: Final = "Send it as it was signed, or sign one for this request."
_SIGNED_BY: Final = {
    GCS: "Sign with the service account or HMAC key of a signing key of this ring (`valetstore keys list`).",
    AZURE: "Sign with the key of this account in this ring (`valetstore keys list`).",
    CLOUDFRONT: "Sign with the key pair of a signing key of this ring (`valetstore keys list`).",
    SWIFT: "Sign with the key of this account in this ring (`valetstore keys list`), for this method and path.",
}


class Explained(NamedTuple):
    """What was found out about a key of one of these vendors; see `About`. `causes` are the dialect's, and ours."""

    scheme: str
    facts: Facts
    causes: tuple[str, ...] = ()

    def says(self, inbound: Inbound) -> Iterator[str]:
        """See About."""
        facts, now = self.facts, inbound.now
        signer = f", {VENDORS[self.scheme].key_id} {facts.signer}" if facts.signer else ""
        yield f"{VENDORS[self.scheme].title}: {facts.kind}{signer}"
        if facts.method:
            yield f"for {facts.method}"
        for words, moment in (
            ("signed", facts.signed_at),
            ("not before", facts.starts_at),
            ("until", facts.expires_at),
        ):
            if moment is not None:
                yield f"{words} {http_date(int(moment))} ({distance(moment, now)})"
        if facts.networks:
            yield f"from {', '.join(facts.networks)}"
        for name, value in facts.headers:
            yield f"with the header {name}" + (f": {value}" if value else "")
        yield from (fact.words for fact in facts.said)

    def ends_early(self, not_after: float, now: float) -> Iterator[str]:
        """See About: these are made with nothing that ends."""
        yield from ()

    def own_uses(self) -> int | None:
        """See About: none of them can say it, but for the terms of ours that Google's may carry."""
        uses = next((fact.value for fact in self.facts.said if fact.name == "uses"), "")
        return int(uses) if uses.isascii() and uses.isdigit() else None

    def vendors(self, denied: Denied, inbound: Inbound) -> Saying:
        """See About. Swift has no codes: there it is the line that its clients compare."""
        said = _saying(self.scheme, denied, inbound)
        return said._replace(code=said.message.strip()) if self.scheme == SWIFT else said

    def why(self, denied: Denied | None) -> Iterator[str]:
        """See About."""
        yield from self.causes
        if denied is not None and denied.code == "signature_mismatch":
            if not self.causes:
                yield _UNEXPLAINED
            if self.facts.computed:
                yield "What was signed, as it is computed here:"
                yield from (f"  | {line}" for line in self.facts.computed.split("\n"))

    def mend(self, denied: Denied) -> str:
        """See About."""
        if denied.code == "signature_mismatch":
            return _AS_SIGNED if self.causes else _SIGNED_BY[self.scheme]
        return _WHOLE if denied.code == "key_malformed" and not self.causes else ""

    def as_json(self) -> dict[str, object]:
        """See About."""
        facts = self.facts
        return {
            "kind": facts.kind,
            "carrier": facts.carrier,
            "signer": facts.signer,
            "method": facts.method or None,
            "signed_at": facts.signed_at,
            "starts_at": facts.starts_at,
            "expires_at": facts.expires_at,
            "networks": list(facts.networks),
            "headers": dict(facts.headers),
            "says": {fact.name: fact.value for fact in facts.said},
            "computed": facts.computed or None,
            "causes": list(self.causes),
        }


def explained(inbound: Inbound, rules: Rules, keys: KeyRing) -> Explained | None:
    """Find out what can be; None where there is no key of these vendors'. Raises `target_invalid`."""
    is_html = _ENTITY in inbound.raw_query
    meant = _from_html(inbound) if is_html else inbound
    for scheme, facts_of in _FACTS_OF.items():
        facts = facts_of(meant, getattr(rules, scheme), keys)
        if facts is not None:
            return Explained(scheme, facts, ((_FROM_HTML,) if is_html else ()) + facts.causes)
    return None


def _from_html(inbound: Inbound) -> Inbound:
    """The request as its URL was meant."""
    target = inbound.target.replace(_ENTITY, b"&")
    return Inbound(inbound.method, target, inbound.headers, now=inbound.now, tls=inbound.tls, form=inbound.form)


def _saying(scheme: str, denied: Denied, inbound: Inbound) -> Saying:
    # Here, since they bring the whole server along, which no other command needs.
    from valetstore.edge.azure.voice import saying_of as azure_saying
    from valetstore.edge.cloudfront.voice import saying_of as cloudfront_saying
    from valetstore.edge.gcs.voice import saying_of as gcs_saying
    from valetstore.edge.swift.voice import saying_of as swift_saying

    sayings = {GCS: gcs_saying, AZURE: azure_saying, CLOUDFRONT: cloudfront_saying, SWIFT: swift_saying}
    return sayings[scheme](denied, inbound)
