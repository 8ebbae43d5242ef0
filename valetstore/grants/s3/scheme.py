"""The S3 dialect: which of its keys came, what the request asks for, and the grant that follows.

Rule 1: a presigned URL and a form allow exactly the request they sign, within the signing key's profile; signed
headers allow the profile, for fifteen minutes, and never what the profile makes single-use.
Rule 2: what the request asks for is read once, here; the operations in the edge go by the Intent.
"""

import math
import re
from collections.abc import Hashable
from typing import Final

from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.grants import terms
from valetstore.grants.address import Address, address_of
from valetstore.grants.covered import covered_by_request
from valetstore.grants.grant import OPERATIONS, Grant, Intent, Proof, Scope
from valetstore.grants.overrides import OVERRIDES, overrides_of
from valetstore.grants.s3 import alike, form, v2, v2_headers, v4
from valetstore.grants.s3.claim import TOKEN
from valetstore.grants.s3.operations import COPIES, Action, action_of
from valetstore.grants.s3.payload import HEADER as PAYLOAD
from valetstore.grants.s3.promote import promoted
from valetstore.grants.s3.proven import Proven
from valetstore.grants.s3.rules import Rules
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import S3 as NAME
from valetstore.objectkey import ObjectKey, check_beginning

FUTURE_SECONDS: Final = 900
"""How far ahead of this gateway's clock a signature's date may be, and how old signed headers may be."""

_UPLOAD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class S3:
    """The scheme, with the operator's rules."""

    name = NAME
    signs_method = True
    marks = v4.MARKS | v2.MARKS

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """Every S3 key in the request: in its query, its Authorization, its form."""
        found = []
        if v4.in_query(inbound):
            found.append(Credential(self, "query", "v4"))
        if v2.in_query(inbound):
            found.append(Credential(self, "query", "v2"))
        found += [
            Credential(self, "header", value)
            for value in inbound.header_values("authorization")
            if v4.in_header(value) or v2.in_header(value)
        ]
        if form.in_form(inbound):
            found.append(Credential(self, "form", ""))
        return found

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for. Raises `not_implemented`, `object_key_invalid`, `parameter_invalid`, ..."""
        asked = alike.asked_as_before(inbound, self.rules)
        if asked is not None:
            return asked
        address = address_of(inbound, self.rules)
        action = action_of(inbound, address)
        return _intent(inbound, address, action)

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent | None = None) -> Proof:
        """Prove the credential. Raises `key_malformed`, `signature_mismatch`, and what a policy document refuses."""
        match credential.carrier, credential.text:
            case "query", "v4":
                proven = v4.verify_query(inbound, self.rules, keys, intent)
            case "query", _:
                proven = v2.verify_query(inbound, self.rules, keys)
            case "form", _:
                proven = form.verify_form(inbound, self.rules, keys)
            case _, text if v2.in_header(text):
                proven = v2_headers.verify_header(inbound, self.rules, keys)
            case _:
                proven = v4.verify_header(inbound, self.rules, keys)
        if intent is None:
            intent = self.intent(inbound)
        if not proven.exact:
            _refuse_single_use(proven, intent)
        return Proof(_grant(proven, intent, inbound), proven.key.limits, proven.body)

    def covered(self, inbound: Inbound, credential: Credential) -> Hashable | None:
        """The request; None for a session's keys, which have an end of their own, for bodies that are signed, forms,
        and signed headers, which come once.
        """
        if credential.carrier != "query" or inbound.form is not None:
            return None
        if not inbound.names.isdisjoint(_FOR_ONCE) or not _FOR_ONCE_RAW.isdisjoint(inbound.further_names):
            return None
        # One that is written in another way counts as more; one that is there twice is refused, whatever the headers.
        host_alone = credential.text == "v2" or _HOST_ALONE in inbound.raw_query
        return covered_by_request(inbound, credential, every_header=not host_alone)


_HOST_ALONE: Final = b"&X-Amz-SignedHeaders=host&"
_FOR_ONCE: Final = frozenset({TOKEN, PAYLOAD})
_FOR_ONCE_RAW: Final = frozenset(name.encode() for name in _FOR_ONCE)


def _intent(inbound: Inbound, address: Address, action: Action) -> Intent:
    inbound = promoted(inbound)
    if action.name == form.ACTION:
        return form.intent_of(inbound, address)
    if not address.name:
        prefix = (inbound.parameter("prefix") or "") if action.name in _LISTS else ""
        check_beginning(prefix)
        return Intent(action.operation, address.path + prefix, action=action.name, partly=action.partly)
    key = ObjectKey.of(address.bucket, address.name)
    upload = _upload_id(inbound) if "uploadid" in inbound.names and inbound.parameters("uploadId") else ""
    has_body = action.name in ("PutObject", "UploadPart")
    return Intent(
        action.operation,
        key.path,
        key,
        length=length_of(inbound) if has_body else None,
        content_type=inbound.header("content-type") if action.operation == "write" else None,
        action=action.name,
        upload=upload,
        copied=action.name in COPIES,
    )


_LISTS: Final = frozenset({"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"})


def length_of(inbound: Inbound) -> int | None:
    """How many bytes of the object were announced: decoded ones, where the body is framed. `parameter_invalid`."""
    decoded = inbound.header("x-amz-decoded-content-length") if inbound.further_names else None
    text = inbound.header("content-length") if decoded is None else decoded
    if text is None:
        return None
    try:
        return wire_int(text)
    except ValueError:
        raise Denied("parameter_invalid", "The announced length is not a number of bytes.").saying(
            "MissingContentLength"
        ) from None


def _upload_id(inbound: Inbound) -> str:
    upload_id = inbound.parameter("uploadId") or ""
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise Denied("upload_not_found").saying("NoSuchUpload", UploadId=upload_id)
    return upload_id


def _refuse_single_use(proven: Proven, intent: Intent) -> None:
    """Signed headers are not a key that could be used up: each request has a signature of its own."""
    limits = proven.key.limits
    if limits.uses is not None or intent.operation in limits.single_use:
        said = "This signing key's keys have limited uses: presign the request; signed headers have no use to count."
        raise Denied("operation_not_allowed", said, signing_key=proven.key.name).saying("AccessDenied", said)


def _grant(proven: Proven, intent: Intent, inbound: Inbound) -> Grant:
    session = proven.session
    not_after = proven.not_after if session is None else min(proven.not_after, session.expires_at)
    if not proven.exact and proven.key.limits.ttl_max is not None and proven.issued_at is not None:
        # One request is what was signed: a shorter life than S3's fifteen minutes narrows, and refuses nothing.
        not_after = min(not_after, math.nextafter(proven.issued_at + proven.key.limits.ttl_max, math.inf))
    operations = frozenset({intent.operation}) if proven.exact else OPERATIONS - {"admin"}
    if intent.copied:
        operations |= {"read"}
    if session is not None and session.operations:
        operations &= frozenset(session.operations)
    grant = Grant(
        scheme=NAME,
        signing_key=proven.key.name,
        identity=proven.key.identity_of(proven.mac),
        operations=operations,
        scopes=(_scopes(proven, intent), *proven.scopes_of_session()),
        not_after=not_after,
        issued_at=proven.issued_at,
        early=FUTURE_SECONDS,
        subject=session.access_key_id if session else "",
        length_min=proven.length[0] if proven.length else 0,
        length_max=proven.length[1] if proven.length else None,
        sha256=proven.sha256,
        response=() if inbound.names.isdisjoint(OVERRIDES) else overrides_of(inbound.query),
    )
    return terms.applied(grant, proven.terms) if proven.terms else grant


def _scopes(proven: Proven, intent: Intent) -> tuple[Scope, ...]:
    """What was signed: one path, or what begins with it; for signed headers and copies' sources, everything."""
    if not proven.exact or intent.copied:
        # The source of a copy is signed as the destination is; the profile says which sources there may be.
        return (Scope("/", is_prefix=True),)
    return (Scope(intent.path, is_prefix=intent.key is None),)
