"""Signature Version 4 as S3 has it: presigned URLs and signed headers.

Rule 1: the order is shape (400), who signed, the signature, then what else S3 asks of a signed request. When it is
valid is judged later, by what `Proven` says.
Rule 2: every `x-amz-` header that arrives is signed, or says what a signed parameter says: an unsigned one
(x-amz-copy-source) could turn one request into another.

Sources: Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from valetstore.errors import Denied
from valetstore.grants import sigv4, terms
from valetstore.grants.address import hosts_signed
from valetstore.grants.grant import Intent
from valetstore.grants.s3 import alike, session
from valetstore.grants.s3.body import Streaming
from valetstore.grants.s3.claim import (
    PARAMETERS,
    TOKEN,
    Claim,
    not_signed,
    of_headers,
    of_url,
    parameters_of,
    payload_missing,
)
from valetstore.grants.s3.credential import mismatch, shown
from valetstore.grants.s3.payload import HEADER as PAYLOAD
from valetstore.grants.s3.payload import body_of
from valetstore.grants.s3.proven import HEADERS_VALID_SECONDS, Proven, end_of
from valetstore.grants.s3.rules import Rules
from valetstore.grants.sigv4 import AWS
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

MARKS: Final = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-signature"})
"""Query parameters of which each alone says that a key of this kind is meant."""
# In the string to sign or the canonical request by another way, or sealed by itself.
_SIGNED_OTHERWISE: Final = frozenset({PAYLOAD, TOKEN, "x-amz-date"})


def in_query(inbound: Inbound) -> bool:
    """Whether a presigned V4 URL came, well-formed or not."""
    return not MARKS.isdisjoint(inbound.names)


def in_header(value: str) -> bool:
    """Whether this Authorization value is V4's, of whatever algorithm."""
    return value.startswith("AWS4-")


def verify_query(inbound: Inbound, rules: Rules, keys: KeyRing, intent: Intent | None = None) -> Proven:
    """Prove a presigned URL; `intent` is what it asks for, where that is known.

    Raises `key_malformed`, `signature_mismatch`, `header_required`, `parameter_invalid`.
    """
    proven = alike.proven_as_before(inbound, rules, keys)
    return _verify_query(inbound, rules, keys, intent) if proven is None else proven


def _verify_query(inbound: Inbound, rules: Rules, keys: KeyRing, intent: Intent | None) -> Proven:
    parameters = parameters_of(inbound)
    claim, life = of_url(parameters, inbound, rules)
    signer = _signer(claim, inbound, rules, keys)
    payload = _payload_of_url(claim, parameters, inbound)
    _check_all_signed(claim, inbound, exempt=frozenset({PAYLOAD}) if payload else frozenset())
    sha256, body = body_of(payload, lambda: _streaming(claim, signer, inbound), inbound)
    proven = Proven(
        key=signer.key,
        mac=claim.signed.signature,
        not_after=end_of(claim.issued_at, life),
        issued_at=claim.issued_at,
        session=signer.session,
        terms=() if inbound.names <= PARAMETERS else terms.of_query(inbound.query),
        sha256=sha256,
        body=body,
    )
    alike.note(inbound, rules, keys, intent, claim.signed, signer.secret, proven, life)
    return proven


def verify_header(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove signed headers. Raises as `verify_query` does."""
    (authorization,) = (value for value in inbound.header_values("authorization") if in_header(value))
    claim = of_headers(inbound, authorization, rules)
    try:
        signer = _signer(claim, inbound, rules, keys)
    except Denied as denied:
        if denied.code == "signature_mismatch" and inbound.header(PAYLOAD) is None:
            raise payload_missing(denied.code).because(**denied.evidence) from None
        raise
    _check_all_signed(claim, inbound, exempt=_SIGNED_OTHERWISE)
    terms.refuse_query(inbound.query)
    sha256, body = body_of(claim.signed.payloads[0], lambda: _streaming(claim, signer, inbound), inbound)
    return Proven(
        key=signer.key,
        mac=claim.signed.signature,
        not_after=end_of(claim.issued_at, HEADERS_VALID_SECONDS),
        issued_at=claim.issued_at,
        exact=False,
        session=signer.session,
        sha256=sha256,
        body=body,
    )


def _signer(claim: Claim, inbound: Inbound, rules: Rules, keys: KeyRing) -> session.Signer:
    """Who signed; raises `signature_mismatch`, `key_expired` for a session that is over."""
    signer = session.signer_of(claim.access_key_id, claim.token, keys, inbound.now)
    if not sigv4.holds(
        AWS, sigv4.mac_check(AWS, signer.secret, claim.signed), claim.signed, inbound, hosts_signed(inbound, rules)
    ):
        raise _mismatch(claim, inbound).because(signing_key=signer.key.name)
    return signer


def _mismatch(claim: Claim, inbound: Inbound) -> Denied:
    canonical = sigv4.canonical_request(AWS, claim.signed, inbound)
    return mismatch(
        claim.access_key_id,
        claim.provided,
        sigv4.string_to_sign(AWS, claim.signed, canonical),
        reason="the signature differs",
        **shown(canonical),
    )


def _payload_of_url(claim: Claim, parameters: Mapping[str, str], inbound: Inbound) -> str:
    """What the body has to be; "" where the URL and its headers leave it open.

    An unsigned header may promise a digest, as Content-MD5 does. It may not say that the body is framed.
    """
    signed, sent = parameters.get(PAYLOAD), inbound.header(PAYLOAD)
    if signed is None and sent is not None and (PAYLOAD in claim.names or not sent.startswith("STREAMING-")):
        return sent
    return signed or ""


def _check_all_signed(claim: Claim, inbound: Inbound, exempt: frozenset[str]) -> None:
    """Raise `header_required` for x-amz- headers that nothing signed. Those `exempt` are signed in another way."""
    if not inbound.further_names:
        return
    amazon = {raw.decode("latin-1") for raw in inbound.further_names if raw.startswith(b"x-amz-")}
    unsigned = amazon - claim.names - exempt
    if unsigned:
        # What repeats a signed parameter says nothing that was not signed.
        said = {(name.lower(), value.encode().decode("latin-1")) for name, value in inbound.query}
        unsigned = {name for name in unsigned if (name, (inbound.header(name) or "").strip(" \t")) not in said}
    if unsigned:
        raise not_signed(sorted(unsigned))


def _streaming(claim: Claim, signer: session.Signer, inbound: Inbound) -> Streaming:
    """What signs the pieces of a body, after the request's own signature."""
    signed = claim.signed
    key = sigv4.signing_key(AWS, signer.secret, signed.stamp[:8], signed.region)
    made, asked_by = partial(sigv4.canonical_request, AWS, signed, inbound), claim.access_key_id
    return Streaming(key, signed.stamp, signed.scope(AWS), claim.provided, asked_by, made)
