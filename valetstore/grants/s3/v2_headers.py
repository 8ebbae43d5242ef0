"""Signature Version 2 in an Authorization header: what clients sent before V4, and some still do when told to.

Rule 1: it signs what a presigned URL of V2 signs, with the request's date where that has its end; so it grants the
profile, for fifteen minutes, as signed headers of V4 do.
Rule 2: of a body it signs nothing but Content-MD5 and what `x-amz-` headers say.
Rule 3: headers are headers: none stands in the query, or an old date there would be what was signed and a new one in
the head what counts.

Sources: Amazon S3 developer guide, "Signing and authenticating REST requests (AWS signature version 2)".
"""

import hmac
import math
import re
from typing import Final

from valetstore.encoding import parse_http_date
from valetstore.errors import Denied
from valetstore.grants.s3 import session, v2
from valetstore.grants.s3.proven import HEADERS_VALID_SECONDS, Proven
from valetstore.grants.s3.rules import Rules
from valetstore.grants.sigv4 import moment_of
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

_AUTHORIZATION: Final = re.compile(r"AWS ([^: ]+):([A-Za-z0-9+/=]+)", re.ASCII)
_DATE: Final = "x-amz-date"
_TOKEN: Final = b"x-amz-security-token"


def verify_header(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove signed headers. Raises `key_malformed`, `header_required`, `signature_mismatch`, `key_expired` (of a
    session), `parameter_invalid`.
    """
    if not rules.sigv2:
        raise v2.unsupported()
    access_key_id, signature = _claim(inbound)
    issued_at, line = _date(inbound)
    _refuse_hoisted(inbound)
    headers = v2.signed_headers(inbound)
    token = headers.get(_TOKEN)
    signer = session.signer_of(access_key_id, token.decode("latin-1") if token else None, keys, inbound.now)
    mac = v2.decoded_mac(signature)
    texts = [v2.strings_to_sign(inbound, rules, line, headers) for _ in range(2)]
    if not any(hmac.compare_digest(v2.signature_of(signer.secret, text), mac) for text in texts[0]):
        raise v2.mismatch(access_key_id, signature, next(texts[1])).because(signing_key=signer.key.name)
    v2.refuse_unsigned(inbound, headers)
    return Proven(
        key=signer.key,
        mac=mac,
        not_after=math.nextafter(issued_at + HEADERS_VALID_SECONDS, math.inf),
        issued_at=issued_at,
        exact=False,
        session=signer.session,
        sha256=v2.payload_of(headers),
    )


def _claim(inbound: Inbound) -> tuple[str, str]:
    """The access key id and the signature; raises `key_malformed`."""
    (value,) = (value for value in inbound.header_values("authorization") if v2.in_header(value))
    found = _AUTHORIZATION.fullmatch(value)
    if not found:
        said = "AWS authorization header is invalid. Expected AwsAccessKeyId:signature"
        raise Denied("key_malformed", said).saying("InvalidArgument", said, 400, ArgumentName="Authorization")
    return found[1], found[2]


def _date(inbound: Inbound) -> tuple[int, str]:
    """When it was signed, in seconds since the epoch, and the line that stands for it; raises `header_required`.

    x-amz-date is signed among the headers, and leaves its line empty.
    """
    amz = inbound.header(_DATE)
    text = inbound.header("date") or "" if amz is None else amz
    moment = parse_http_date(text)
    if moment is None:
        moment = moment_of(text)
    if moment is None or moment < 0:
        said = "AWS authentication requires a valid Date or x-amz-date header"
        raise Denied("header_required", said).saying("AccessDenied", said, 403)
    return moment, text if amz is None else ""


def _refuse_hoisted(inbound: Inbound) -> None:
    """Raise `parameter_invalid` for a parameter that a presigned URL would have in a signed header's place."""
    for name, _ in inbound.query:
        if v2.is_signed(name.lower()):
            said = f"{name} is a header of signed headers, and no query parameter."
            raise Denied("parameter_invalid", said).saying("InvalidArgument", said, 400, ArgumentName=name)
