"""What a V4 key says of itself, taken from a query or from headers and checked for its shape; nothing is proved here.

Rule 1: every fault of shape is found here and answered with 400, before any signing key is looked at.
Rule 2: a parameter of the key is read once: given twice, however it is spelled, it is refused.

Sources: Amazon S3 API reference, "Authenticating Requests: Using Query Parameters" and "Using the Authorization
Header".
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from valetstore.encoding import parse_http_date
from valetstore.errors import Denied
from valetstore.grants import terms
from valetstore.grants.s3.credential import (
    HEADER,
    QUERY,
    Credential,
    Words,
    check_day,
    credential_of,
    signed_names,
)
from valetstore.grants.s3.payload import HEADER as PAYLOAD
from valetstore.grants.s3.payload import check_payload
from valetstore.grants.s3.rules import Rules
from valetstore.grants.sigv4 import AWS, UNSIGNED_PAYLOAD, Signed, framed_by, moment_of, stamp_of
from valetstore.inbound import Inbound

EXPIRES_SECONDS_MAX: Final = 604_800
TOKEN: Final = "x-amz-security-token"  # noqa: S105 - the name of a header

_REQUIRED: Final = tuple(
    f"x-amz-{name}" for name in ("algorithm", "credential", "signature", "date", "signedheaders", "expires")
)
PARAMETERS: Final = frozenset((*_REQUIRED, TOKEN, PAYLOAD))
"""The parameters of a presigned URL that are its key's own, in lower case."""
_DATE_NAME: Final = AWS.date.lower()
_SIGNATURE_NAME: Final = AWS.signature.lower()
_SAID: Final = "s3: said"
"""The note of a frame: what was read of its parameters, by which rules."""
_HOST_ALONE: Final = (("host",), frozenset({"host"}))
_COMPONENTS: Final = ("Credential", "SignedHeaders", "Signature")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_EMPTY: Final = hashlib.sha256().hexdigest()

_MISSING: Final = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
    "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)
_TOO_LONG: Final = (
    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
    f"{EXPIRES_SECONDS_MAX} seconds"
)


class Claim(NamedTuple):
    """Who signed, what was signed, with which session; `names` are the signed headers in lower case.

    `provided` is the signature as it was written. Times are in seconds since the epoch.
    """

    access_key_id: str
    signed: Signed
    names: frozenset[str]
    provided: str
    token: str | None
    issued_at: int


def parameters_of(inbound: Inbound) -> dict[str, str]:
    """The parameters of a presigned URL's key, and perhaps others, by their names in lower case.

    Raises `key_malformed`.
    """
    framed = framed_by(AWS, inbound)
    if framed is not None and framed.frame.values is not None:
        return {**framed.frame.values, _DATE_NAME: framed.date, _SIGNATURE_NAME: framed.value}
    found: dict[str, str] = {}
    for name, value in inbound.query:
        lower = name.lower()
        if lower in PARAMETERS:
            if lower in found:
                raise QUERY.fault(f"{name} is given more than once.")
            found[lower] = value
    return found


def of_url(parameters: Mapping[str, str], inbound: Inbound, rules: Rules) -> tuple[Claim, int]:
    """The claim and its life in seconds; raises `key_malformed`, `header_required`."""
    said = _said(parameters, inbound, rules)
    provided = parameters[_SIGNATURE_NAME]
    # A key for GET answers HEAD as well; the other way round would give away the body.
    methods = ("HEAD", "GET") if inbound.method == "HEAD" else (inbound.method,)
    payloads = _payloads(parameters.get(PAYLOAD), said.lower, inbound)
    signed = Signed(said.stamp, said.credential.region, said.names, payloads, methods, _signature(provided))
    token = parameters.get(TOKEN) or (inbound.header(TOKEN) if TOKEN in said.lower else None)
    return Claim(said.credential.access_key_id, signed, said.lower, provided, token, said.issued_at), said.life


class _Said(NamedTuple):
    """What a URL says beside its signature: see `Claim` and `Signed`; `life` is in seconds."""

    credential: Credential
    stamp: str
    issued_at: int
    life: int
    names: tuple[str, ...]
    lower: frozenset[str]

    def at(self, stamp: str) -> "_Said":
        """The same by a URL of another date; raises `key_malformed`."""
        return self._replace(stamp=stamp, issued_at=_issued_at(stamp, self.credential))


def _said(parameters: Mapping[str, str], inbound: Inbound, rules: Rules) -> _Said:
    """Noted with the frame, beside the rules that it was read by."""
    framed = framed_by(AWS, inbound)
    if framed is None:
        return _read(parameters, rules)
    noted: tuple[Rules, _Said] | None = framed.frame.notes.get(_SAID)
    if noted is not None and noted[0] is rules:
        return noted[1].at(framed.date)
    said = _read(parameters, rules)
    framed.frame.notes[_SAID] = rules, said
    return said


def _read(parameters: Mapping[str, str], rules: Rules) -> _Said:
    values = [parameters.get(name, "") for name in _REQUIRED]
    if not all(values):
        raise QUERY.fault(_MISSING)
    algorithm, credential_text, _, stamp, names_text, expires = values
    if algorithm == "AWS4-ECDSA-P256-SHA256":
        raise unsupported(algorithm)
    if algorithm != AWS.algorithm:
        raise QUERY.fault('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
    credential = credential_of(credential_text, rules, QUERY)
    issued_at = _issued_at(stamp, credential)
    life = _life(expires)
    names, lower = _names(names_text, QUERY)
    return _Said(credential, stamp, issued_at, life, names, lower)


def _issued_at(stamp: str, credential: Credential) -> int:
    """When a URL was signed, in seconds since the epoch; raises `key_malformed`."""
    issued_at = moment_of(stamp)
    if issued_at is None:
        raise QUERY.fault("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    check_day(credential, stamp, QUERY)
    return issued_at


def of_headers(inbound: Inbound, authorization: str, rules: Rules) -> Claim:
    """The claim in an Authorization value; raises `key_malformed`, `header_required`, `parameter_invalid`."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != AWS.algorithm:
        raise unsupported(algorithm)
    credential_text, names_text, provided = _components(rest)
    credential = credential_of(credential_text, rules, HEADER)
    stamp, issued_at = _date(inbound)
    check_day(credential, stamp, HEADER)
    names, lower = _names(names_text, HEADER)
    payload = inbound.header(PAYLOAD)
    if payload is None:
        payload = _payload_unsaid(inbound)
    check_payload(payload)
    signed = Signed(stamp, credential.region, names, (payload,), (inbound.method,), _signature(provided))
    return Claim(credential.access_key_id, signed, lower, provided, inbound.header(TOKEN), issued_at)


def unsupported(algorithm: str) -> Denied:
    """The refusal of an algorithm that S3 may know, and nothing here does."""
    said = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    return Denied("key_malformed", said, algorithm=algorithm).saying("InvalidRequest", said, 400)


def not_signed(names: list[str]) -> Denied:
    """The refusal of headers that came without being signed."""
    said, listed = "There were headers present in the request which were not signed", ", ".join(names)
    return Denied("header_required", f"{said}: {listed}.").saying("AccessDenied", said, 403, HeadersNotSigned=listed)


def payload_missing(code: str) -> Denied:
    """The refusal of signed headers that do not say what the body is, where no body is not what was signed."""
    said = f"Missing required header for this request: {PAYLOAD}"
    return Denied(code, said).saying("InvalidRequest", said, 400)


def _life(expires: str) -> int:
    """X-Amz-Expires in seconds; raises `key_malformed`."""
    if not _NUMBER.fullmatch(expires):
        raise QUERY.fault("X-Amz-Expires should be a number")
    if expires.startswith("-"):
        raise QUERY.fault("X-Amz-Expires must be non-negative")
    life = int(expires)
    if life > EXPIRES_SECONDS_MAX:
        raise QUERY.fault(_TOO_LONG)
    return life


def _payloads(signed: str | None, names: frozenset[str], inbound: Inbound) -> tuple[str, ...]:
    """What may stand for the body of a presigned URL. Some signers put a header's value there, if it is signed."""
    sent = inbound.header(PAYLOAD) if signed is None and PAYLOAD in names else None
    usual = signed or UNSIGNED_PAYLOAD
    return (usual,) if sent is None else (usual, sent)


def _components(text: str) -> tuple[str, str, str]:
    """Credential, SignedHeaders and Signature; raises `key_malformed`."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.strip(" \t").partition("=")
        if not equals or name in found:
            # Its text is the client's to see, and not the audit's: it may be a signature that only lacks its `=`.
            said = f'{HEADER.beginning}the authorization component "{part.strip()}" is malformed.'
            raise Denied("key_malformed", "A component of its Authorization is malformed.").saying(
                HEADER.code, said, 400
            )
        found[name] = value
    if found.keys() != set(_COMPONENTS):
        wanted = "Credential, SignedHeaders, and Signature"
        raise HEADER.about(f"the authorization header requires three components: {wanted}.")
    for name in _COMPONENTS:
        if not found[name]:
            raise HEADER.about(f"missing {name}.")
    return found["Credential"], found["SignedHeaders"], found["Signature"]


def _date(inbound: Inbound) -> tuple[str, int]:
    """The date as it was signed, and in seconds since the epoch; raises `header_required`.

    x-amz-date, else Date, which is an HTTP date or written as the other is.
    """
    stamp = inbound.header("x-amz-date") or inbound.header("date") or ""
    moment = moment_of(stamp)
    if moment is None and inbound.header("x-amz-date") is None and (moment := parse_http_date(stamp)) is not None:
        stamp = stamp_of(moment)
    if moment is None:
        said = "AWS authentication requires a valid Date or x-amz-date header"
        raise Denied("header_required", said).saying("AccessDenied", said, 403)
    return stamp, moment


def _payload_unsaid(inbound: Inbound) -> str:
    """Old clients of generic V4 sign the hash of no body without saying so; anybody else has to say it."""
    if inbound.header("transfer-encoding") is None and (inbound.header("content-length") or "0") == "0":
        return _EMPTY
    raise payload_missing("header_required")


def _names(text: str, words: Words) -> tuple[tuple[str, ...], frozenset[str]]:
    """The signed headers as written, and in lower case; raises `key_malformed`, `header_required`.

    The host is one of them, or a key would open every gateway that holds its secret.
    """
    if text == "host":
        return _HOST_ALONE
    names = signed_names(text)
    if names is None:
        raise words.about('SignedHeaders is mal-formed; expecting "host;x-amz-date".')
    lower = frozenset(map(str.lower, names))
    if "host" not in lower:
        raise not_signed(["host"])
    terms.refuse_headers(lower)
    return names, lower


def _signature(provided: str) -> bytes:
    """The bytes of a signature; none that could hold where it is not one."""
    return bytes.fromhex(provided) if _SIGNATURE.fullmatch(provided) else b""
