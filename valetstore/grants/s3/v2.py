"""Signature Version 2 as S3 had it first: presigned URLs, still what boto3 makes in two regions and s3cmd everywhere.

Rule 1: it signs the method, the path, the end, Content-MD5, Content-Type, every `x-amz-` header and the sub-resources
of `SUB_RESOURCES`; a hoisted header counts as the header. It signs no other header, no Host and no other parameter.
So boto3's IfNoneMatch and Range are dropped in silence, and a list's `prefix` and `max-keys` are anybody's: such a URL
opens its bucket, as it does at Amazon. Only the signing key's profile narrows that.
Rule 2: what it cannot sign but would change what is allowed (`x-valet-`) is refused, not passed over.
Rule 3: lines and `&` are all that holds apart what is signed: a value with a line's end in it is refused, and one that
could be read as a further sub-resource.

Sources: Amazon S3 developer guide, "Signing and authenticating REST requests (AWS signature version 2)".
"""

import base64
import hmac
import math
import re
from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple

from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.grants.address import address_of
from valetstore.grants.s3 import session
from valetstore.grants.s3.proven import Proven
from valetstore.grants.s3.rules import Rules
from valetstore.grants.sigv4 import encode
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

# fmt: off
SUB_RESOURCES: Final = frozenset({
    "accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location",
    "logging", "metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment",
    "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-content-type", "response-expires", "restore", "select", "select-type",
    "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
})
# fmt: on
"""The parameters that are part of the signed resource, in the spelling that is signed."""

MARKS: Final = frozenset({"awsaccesskeyid"})
"""What a URL of this version has in its query, in lower case."""
PARAMETERS: Final = MARKS | {"signature", "expires"}
"""The parameters of a presigned URL that are its key's own, in lower case."""

EXPIRES_MAX: Final = 2**31 - 1

_MAC_BYTES: Final = 20
_STANDARD: Final = frozenset({"content-md5", "content-type"})
_TOKEN: Final = "x-amz-security-token"  # noqa: S105 - the name of a header
# Its sub-resource is not signed: without it, the same signature would open the object's bytes.
_ATTRIBUTES: Final = "x-amz-object-attributes"
_SHA256: Final = b"x-amz-content-sha256"
_UNSIGNED: Final = b"UNSIGNED-PAYLOAD"
_HEX: Final = re.compile(rb"[0-9a-f]{64}")
_LINE_END: Final = re.compile(r"[\x00\r\n]")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Claim(NamedTuple):
    """What a URL says of itself. `expires` is the text that was signed."""

    access_key_id: str
    signature: str
    expires: str


def in_query(inbound: Inbound) -> bool:
    """Whether a presigned V2 URL came, well-formed or not."""
    return not MARKS.isdisjoint(inbound.names) and any(name == "AWSAccessKeyId" for name, _ in inbound.query)


def in_header(value: str) -> bool:
    """Whether this Authorization value is V2's."""
    return value.startswith("AWS ")


def verify_query(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove a presigned URL. Raises `key_malformed`, `signature_mismatch`, `key_expired` (of a session),
    `parameter_invalid`.
    """
    if not rules.sigv2:
        raise unsupported()
    claim = _claim(inbound)
    expires = _seconds(claim.expires)
    headers = signed_headers(inbound)
    token = headers.get(_TOKEN.encode())
    signer = session.signer_of(claim.access_key_id, token.decode("latin-1") if token else None, keys, inbound.now)
    mac = decoded_mac(claim.signature)
    texts = strings_to_sign(inbound, rules, claim.expires, headers)
    if not any(hmac.compare_digest(signature_of(signer.secret, text), mac) for text in texts):
        shown = next(strings_to_sign(inbound, rules, claim.expires, headers))
        raise mismatch(claim.access_key_id, claim.signature, shown).because(signing_key=signer.key.name)
    refuse_unsigned(inbound, headers)
    return Proven(
        key=signer.key,
        mac=mac,
        # S3 takes the last second as valid.
        not_after=math.nextafter(expires, math.inf),
        session=signer.session,
        sha256=payload_of(headers),
    )


def strings_to_sign(
    inbound: Inbound, rules: Rules, expires: str, headers: dict[bytes, bytes] | None = None
) -> Iterator[bytes]:
    """What may have been signed, the usual first: a finite list, each of which means the same request.

    A HEAD may have been signed as GET, never the reverse. Signers write a bucket's path with and without its last
    slash, a sub-resource without a value with and without `=`; proxies write a path's escapes anew.
    """
    headers = signed_headers(inbound) if headers is None else headers
    extensions = [b"%b:%b" % pair for pair in sorted(headers.items()) if pair[0].startswith(b"x-amz-")]
    lines = [headers.get(b"content-md5", b""), headers.get(b"content-type", b""), expires.encode(), *extensions]
    methods = (b"HEAD", b"GET") if inbound.method == "HEAD" else (inbound.method.encode(),)
    for method, path, resources in product(methods, _paths(inbound, rules), _resources(inbound)):
        yield b"\n".join((method, *lines, path + resources))


def signed_headers(inbound: Inbound) -> dict[bytes, bytes]:
    """The headers that are signed, by lower-case name: what the query says in their place, else what was sent.

    Raises `parameter_invalid` where one is given twice or could not stand on one line.
    """
    found: dict[bytes, bytes] = {}
    for name, value in inbound.query:
        if is_signed(name.lower()):
            _put(found, name.lower().encode(), value.encode())
    hoisted = frozenset(found)
    for raw_name, raw_value in inbound.headers:
        lower = raw_name.lower()
        # One that was sent beside its parameter says the same, or was refused before (`promote`).
        if lower not in hoisted and is_signed(lower.decode("latin-1")):
            _put(found, lower, raw_value)
    return found


def signature_of(secret: bytes, text: bytes) -> bytes:
    """The 20 bytes that sign this text."""
    return hmac.digest(secret, text, "sha1")


def decoded_mac(text: str) -> bytes:
    """The bytes of a base64 signature; b"" where this is not the one text of 20 bytes (`QQ==` and `QR==` are one)."""
    try:
        mac = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        return b""
    return mac if len(mac) == _MAC_BYTES and base64.b64encode(mac).decode() == text else b""


def mismatch(access_key_id: str, signature: str, text: bytes) -> Denied:
    """SignatureDoesNotMatch, with what S3 shows: all of it the client's own request."""
    return Denied("signature_mismatch", reason="the signature differs").saying(
        "SignatureDoesNotMatch",
        AWSAccessKeyId=access_key_id,
        StringToSign=text.decode("utf-8", "replace"),
        SignatureProvided=signature,
        StringToSignBytes=text.hex(" "),
    )


def unsupported() -> Denied:
    """The refusal where this version opens nothing."""
    said = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    return Denied("key_malformed", said).saying("InvalidRequest", said, 400)


def _claim(inbound: Inbound) -> Claim:
    values = [inbound.parameter(name) for name in ("AWSAccessKeyId", "Signature", "Expires")]
    if not all(values):
        said = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise Denied("key_malformed", said).saying("AccessDenied", said, 403)
    return Claim(*map(str, values))


def _seconds(text: str) -> int:
    try:
        seconds = wire_int(text)
    except ValueError:
        seconds = EXPIRES_MAX + 1
    if seconds > EXPIRES_MAX:
        said = f"Invalid date (should be seconds since epoch): {text}"
        raise Denied("key_malformed", said).saying("AccessDenied", said, 403)
    return seconds


def payload_of(headers: dict[bytes, bytes]) -> bytes | None:
    """What the body's SHA-256 must be, where the request says it; raises `parameter_invalid` for a framed body."""
    text = headers.get(_SHA256, _UNSIGNED)
    if text == _UNSIGNED:
        return None
    if not _HEX.fullmatch(text):
        raise _invalid(_SHA256.decode(), "A body in signed chunks needs a signature of version 4 (AWS4-HMAC-SHA256).")
    return bytes.fromhex(text.decode())


def is_signed(lower: str) -> bool:
    """Whether a header of this lower-case name is part of what is signed."""
    return lower in _STANDARD or lower.startswith("x-amz-")


def _put(found: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    value = value.strip(b" \t")
    shown = name.decode("latin-1")
    if name in found:
        raise _invalid(shown, f"{shown} is given more than once: a signature of version 2 cannot hold that.")
    if not _NAME.fullmatch(name) or _LINE_END.search(value.decode("latin-1")):
        raise _invalid(shown, f"{shown} is not a header that a signature of version 2 can hold.")
    found[name] = value


def _paths(inbound: Inbound, rules: Rules) -> tuple[bytes, ...]:
    address = address_of(inbound, rules)
    front = b"/" + address.bucket.encode() if address.virtual else b""
    if address.bucket and not address.name:
        bucket = b"/" + address.bucket.encode()
        return (bucket + b"/", bucket)
    return tuple(dict.fromkeys((front + inbound.raw_path, front + encode(inbound.path, safe="/"))))


def _resources(inbound: Inbound) -> tuple[bytes, ...]:
    """The signed sub-resources, sorted by name, as they were sent and with those without a value bare."""
    parts = [part for part in inbound.raw_query.split(b"&") if part]
    # `Inbound.query` has the same pairs in the same order, decoded.
    rows = [(name, value, b"=" in part) for part, (name, value) in zip(parts, inbound.query, strict=True)]
    found = sorted((row for row in rows if row[0] in SUB_RESOURCES), key=lambda row: row[0])
    for name, value, _ in found:
        if _LINE_END.search(value) or any(piece.partition("=")[0] in SUB_RESOURCES for piece in value.split("&")[1:]):
            raise _invalid(name, f"{name} has a value that a signature of version 2 cannot hold.")
    if not found:
        return (b"",)
    as_sent = "&".join(f"{name}={value}" if has_equals else name for name, value, has_equals in found)
    bare = "&".join(f"{name}={value}" if value else name for name, value, _ in found)
    return tuple(f"?{text}".encode() for text in dict.fromkeys((as_sent, bare)))


def refuse_unsigned(inbound: Inbound, headers: dict[bytes, bytes]) -> None:
    """Raise `parameter_invalid` for what this version cannot sign and that would change what is allowed."""
    for name in [name for name, _ in inbound.query if name.lower().startswith("x-valet-")]:
        raise _invalid(name, f"{name} is not signed by version 2: sign this URL with version 4 (AWS4-HMAC-SHA256).")
    if _ATTRIBUTES.encode() in headers:
        raise _invalid("attributes", "GetObjectAttributes needs a signature of version 4 (AWS4-HMAC-SHA256).")


def _invalid(name: str, said: str) -> Denied:
    return Denied("parameter_invalid", said).saying("InvalidArgument", said, 400, ArgumentName=name)
