"""What a key of CloudFront's says of itself, proven or not, and where what was signed and what was asked for part.

Rule 1: nothing here is proof. A cause is named where the signature holds for something that was not asked for.
Rule 2: what is not there or cannot be read is left out: whoever refuses the key says why.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from valetstore.errors import Denied
from valetstore.grants.cloudfront.claim import Claim, claim_of, in_cookies, in_query
from valetstore.grants.cloudfront.policy import Policy, canned_text, custom_policy
from valetstore.grants.cloudfront.resource import Asked, asked_of, opens
from valetstore.grants.cloudfront.rules import Rules
from valetstore.grants.cloudfront.scheme import hashes_of, holds, signed_texts
from valetstore.grants.facts import Fact, Facts
from valetstore.grants.scheme import Carrier
from valetstore.inbound import Inbound
from valetstore.keys.material import SignatureHash
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import CLOUDFRONT as NAME

_HASH_NAMES: Final[Mapping[SignatureHash, str]] = {"sha1": "SHA-1", "sha256": "SHA-256"}


def facts_of(inbound: Inbound, rules: Rules, keys: KeyRing) -> Facts | None:
    """What a key of CloudFront's says; None where none came, or nothing of it can be read."""
    try:
        carrier: Carrier | None = "query" if in_query(inbound) else "cookie" if in_cookies(inbound) else None
        if carrier is None:
            return None
        claim, asked = claim_of(inbound, carrier), asked_of(inbound, rules)
        policy = None if claim.policy is None else custom_policy(claim.policy)
    except Denied:
        return None
    key = keys.find(NAME, claim.key_pair_id)
    computed = next(signed_texts(claim, asked), b"")
    return Facts(
        kind=_kind(carrier, policy),
        signer=claim.key_pair_id,
        carrier=carrier,
        starts_at=_start(policy),
        expires_at=claim.expires if policy is None else policy.not_after,
        networks=() if policy is None else tuple(map(str, policy.networks)),
        said=tuple(_said(claim, policy)),
        computed=computed.decode("latin-1"),
        causes=tuple(_causes(claim, policy, asked, key, rules)),
    )


def _kind(carrier: Carrier, policy: Policy | None) -> str:
    what = "signed cookies" if carrier == "cookie" else "signed URL"
    return f"{what} with a {'canned' if policy is None else 'custom'} policy"


def _start(policy: Policy | None) -> float | None:
    """As the policy says it: the last moment at which it does not hold."""
    if policy is None or policy.not_before is None:
        return None
    return math.floor(policy.not_before)


def _said(claim: Claim, policy: Policy | None) -> Iterator[Fact]:
    if policy is not None:
        words = "every URL that this fits" if {"*", "?"} & set(policy.resource) else "this URL"
        yield Fact("resource", policy.resource, f"opens {words}: {policy.resource}")
    hashed = claim.hashed or "sha1"
    words = "says that it signs" if claim.hashed else "does not say what it signs, which means"
    yield Fact("hash", hashed, f"{words} {_HASH_NAMES[hashed]}")


def _causes(claim: Claim, policy: Policy | None, asked: Asked, key: SigningKey | None, rules: Rules) -> Iterator[str]:
    if policy is not None and not opens(policy.resource, asked):
        yield _elsewhere(policy.resource, asked)
    if key is None:
        yield f"No signing key here has the key pair id {claim.key_pair_id}."
        return
    texts = list(signed_texts(claim, asked))
    if any(holds(key, text, claim.signature, hashed) for text in texts for hashed in hashes_of(claim, key, rules)):
        return
    for hashed, name in _HASH_NAMES.items():
        if any(holds(key, text, claim.signature, hashed) for text in texts):
            yield _other_hash(name, claim, rules)
            return
        if policy is None:
            for url, cause in _other_urls(asked):
                if holds(key, canned_text(url, claim.expires), claim.signature, hashed):
                    yield cause
                    return


def _elsewhere(resource: str, asked: Asked) -> str:
    url = next(asked.urls, asked.rest)
    if "://" not in resource and not resource.startswith("*"):
        return f"Its resource {resource} is not a whole URL, as {url} is."
    return f"Its resource {resource} does not fit {url}."


def _other_hash(name: str, claim: Claim, rules: Rules) -> str:
    if name == "SHA-1" and not rules.sha1:
        return "It signs SHA-1, which is refused here (cloudfront.cloudfront-sha1 = false)."
    if claim.hashed is None:
        return f"It signs {name} and does not say so: Hash-Algorithm=SHA256 is missing."
    return f"It signs {name}, and says that it signs {_HASH_NAMES[claim.hashed]}."


def _other_urls(asked: Asked) -> Iterator[tuple[str, str]]:
    """URLs that signers take for the one that was asked for, and what to say of each."""
    for front in asked.fronts:
        scheme, _, host = front.partition("://")
        other = "http" if scheme == "https" else "https"
        yield f"{other}://{host}{asked.rest}", f"It was signed for {other}, and asked for by {scheme}."
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else ""
        if name:
            yield f"{scheme}://{name}{asked.rest}", f"It was signed for {name}, without the port of {host}."
        if asked.query is not None:
            yield front + asked.path, f"It was signed without the query {asked.query}."
        for path, words in _other_paths(asked):
            query = "" if asked.query is None else f"?{asked.query}"
            if "\\" not in path and '"' not in path:
                yield (
                    f"{front}{path}{query}",
                    f"It was signed for a path {words}; the client sends {asked.path}.",
                )


def _other_paths(asked: Asked) -> Iterator[tuple[str, str]]:
    # One character a byte, as all that is signed.
    yield asked.decoded_path.encode("utf-8").decode("latin-1"), "that is not percent-encoded"
    yield quote(asked.decoded_path, safe="/~"), "percent-encoded in another way"
    yield quote(asked.decoded_path, safe="/~!*'()"), "percent-encoded in another way"
