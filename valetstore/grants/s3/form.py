"""POST forms: a browser's upload under a signed policy, of signature version 4 or 2.

Rule 1: the form's fields say what is asked, its policy says whether that may be asked, and the policy is proven first.
Rule 2: a field is there once. `${filename}` is the client's file name, put in before anything is judged, so that what
the policy allowed is what is stored.
Rule 3: a form opens its bucket by its own policy alone, never by a key beside it: nothing else signs the fields.
Rule 4: a policy signs neither path nor query: it allows the upload of the form that it came with, and nothing else.

Sources: Amazon S3 API reference, "Authenticating requests in browser-based uploads using POST" (version 4); Amazon S3
developer guide, "Browser-based uploads using POST" (version 2).
"""

import hmac
import math
import re
from collections.abc import Mapping
from typing import Final

from valetstore.errors import Denied
from valetstore.grants import postpolicy, sigv4
from valetstore.grants.address import Address, address_of
from valetstore.grants.grant import Intent
from valetstore.grants.postpolicy import Policy, expired, read_policy
from valetstore.grants.s3 import session, v2
from valetstore.grants.s3.credential import Words, check_day, credential_of
from valetstore.grants.s3.operations import action_of
from valetstore.grants.s3.proven import Proven
from valetstore.grants.s3.rules import Rules
from valetstore.grants.sigv4 import AWS, moment_of
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.objectkey import KEY_BYTES_MAX, ObjectKey

V4_SECONDS_MAX: Final = 604_800
"""A version 4 form is good for a week from its date, however late its policy ends."""

ACTION: Final = "PostObject"
"""S3's name for what a form asks for."""

_V4: Final = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "policy", "x-amz-signature")
_V2: Final = ("AWSAccessKeyId", "policy", "signature")
_V4_OWN: Final = frozenset(_V4) - {"policy"}
_V2_OWN: Final = frozenset({"awsaccesskeyid", "signature"})
_OWN: Final = _V4_OWN | _V2_OWN | {"policy"}
_TOKEN: Final = "x-amz-security-token"  # noqa: S105 - the name of a field
_TERMS: Final = "x-valet-"
_CHECKSUM: Final = "x-amz-checksum-"
_GOOGLE: Final = re.compile(r"x-goog-(?:algorithm|credential|date|signature)|googleaccessid")
# A form of Swift's has a `signature` as well, and one of these, which S3 never had.
_SWIFT: Final = frozenset({"max_file_size", "max_file_count"})
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WORDS: Final = Words("InvalidArgument", "")


def in_form(inbound: Inbound) -> bool:
    """Whether a form with an S3 policy came, well-formed or not."""
    if inbound.form is None:
        return False
    names = {name for name, _ in inbound.form}
    if any(_GOOGLE.fullmatch(name) for name in names) or not names.isdisjoint(_SWIFT):
        return False
    return not names.isdisjoint(_OWN)


def fields_of(inbound: Inbound) -> dict[str, str]:
    """A form's fields by lower-case name but for its file, the client's file name put in where it is asked for.

    Raises `precondition_failed` where there is no form, `parameter_invalid` where a field is given twice.
    """
    if inbound.form is None:
        raise no_form()
    return postpolicy.fields_of(inbound.form, _OWN)


def intent_of(inbound: Inbound, address: Address) -> Intent:
    """What a form asks for: a write of the object that its field `key` names.

    Raises as `fields_of`, and `object_key_invalid`, `key_missing` for a form without a policy.
    """
    fields = fields_of(inbound)
    if not in_form(inbound):
        raise Denied("key_missing", "A form needs a signed policy among its fields; no other key opens it.")
    if "key" not in fields:
        raise _missing("key")
    key = _key(address.bucket, fields["key"])
    return Intent("write", key.path, key, content_type=fields.get("content-type"), action=ACTION)


def verify_form(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove a form's policy and hold its fields against it.

    Raises `operation_not_allowed`, `key_malformed`, `signature_mismatch`, `key_expired`, `key_ambiguous`, and as
    `Policy.check`.
    """
    if action_of(inbound, address_of(inbound, rules)).name != ACTION:
        said = "A POST policy allows the upload of its form to a bucket, and nothing else."
        raise Denied("operation_not_allowed", said).saying("AccessDenied", said)
    fields = fields_of(inbound)
    is_v4, is_v2 = (not own.isdisjoint(fields) for own in (_V4_OWN, _V2_OWN))
    if is_v4 and is_v2:
        raise Denied("key_ambiguous", "The form is signed by version 4 and by version 2.")
    for name in _V4 if is_v4 else _V2:
        if name.lower() not in fields:
            raise _missing(name)
    if is_v4:
        return _verify_v4(fields, inbound, rules, keys)
    return _verify_v2(fields, inbound, rules, keys)


def no_form() -> Denied:
    """The refusal of a POST to a bucket that is not a form."""
    return Denied("precondition_failed", "A POST to a bucket is a form (multipart/form-data).").saying(
        "PreconditionFailed", Condition="Bucket POST must be of the enclosure-type multipart/form-data"
    )


def _key(bucket: str, name: str) -> ObjectKey:
    try:
        return ObjectKey.of(bucket, name)
    except Denied as denied:
        size = len(name.encode())
        if size > KEY_BYTES_MAX:
            raise denied.saying("KeyTooLongError", Size=str(size), MaxSizeAllowed=str(KEY_BYTES_MAX)) from None
        raise denied.saying("InvalidArgument", denied.text, 400, ArgumentName="key", ArgumentValue=name) from None


def _verify_v4(fields: Mapping[str, str], inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    if fields["x-amz-algorithm"] != AWS.algorithm:
        raise _invalid("x-amz-algorithm", f'X-Amz-Algorithm only supports "{AWS.algorithm}"')
    credential = credential_of(fields["x-amz-credential"], rules, _WORDS)
    stamp = fields["x-amz-date"]
    issued_at = moment_of(stamp)
    if issued_at is None:
        raise _invalid("x-amz-date", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    check_day(credential, stamp, _WORDS)
    signer = session.signer_of(credential.access_key_id, fields.get(_TOKEN), keys, inbound.now)
    provided, encoded = fields["x-amz-signature"], fields["policy"]
    key = sigv4.signing_key(AWS, signer.secret, credential.date, credential.region)
    mac = bytes.fromhex(provided) if _SIGNATURE.fullmatch(provided) else b""
    if not hmac.compare_digest(hmac.digest(key, encoded.encode(), "sha256"), mac):
        raise v2.mismatch(credential.access_key_id, provided, encoded.encode()).because(signing_key=signer.key.name)
    policy = _checked(fields, inbound, rules, exempt=frozenset({"policy", "x-amz-signature"}))
    not_after = min(policy.expires_at, issued_at + V4_SECONDS_MAX)
    if inbound.now > not_after:
        raise expired()
    return _proven(signer, mac, policy, fields, not_after, issued_at)


def _verify_v2(fields: Mapping[str, str], inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    if not rules.sigv2:
        raise v2.unsupported()
    access_key_id, provided, encoded = fields["awsaccesskeyid"], fields["signature"], fields["policy"]
    signer = session.signer_of(access_key_id, fields.get(_TOKEN), keys, inbound.now)
    mac = v2.decoded_mac(provided)
    if not hmac.compare_digest(v2.signature_of(signer.secret, encoded.encode()), mac):
        raise v2.mismatch(access_key_id, provided, encoded.encode()).because(signing_key=signer.key.name)
    policy = _checked(fields, inbound, rules, exempt=frozenset({"policy", *_V2_OWN}))
    return _proven(signer, mac, policy, fields, policy.expires_at)


def _checked(fields: Mapping[str, str], inbound: Inbound, rules: Rules, exempt: frozenset[str]) -> Policy:
    """The policy, which is not over and which the fields fit."""
    policy = read_policy(fields["policy"])
    if inbound.now > policy.expires_at:
        raise expired()
    # A checksum can only refuse the body that comes with it: S3 lets SDKs send one that no condition names.
    checksums = {name for name in fields if name.startswith(_CHECKSUM)}
    policy.check(fields, address_of(inbound, rules).bucket, exempt | checksums)
    return policy


def _proven(
    signer: session.Signer,
    mac: bytes,
    policy: Policy,
    fields: Mapping[str, str],
    not_after: float,
    issued_at: int | None = None,
) -> Proven:
    return Proven(
        key=signer.key,
        mac=mac,
        # The last moment is valid, as it is for presigned URLs.
        not_after=math.nextafter(not_after, math.inf),
        issued_at=issued_at,
        session=signer.session,
        # All of them are named by the policy: what it does not name has been refused.
        terms=tuple((name, value) for name, value in fields.items() if name.startswith(_TERMS)),
        length=policy.length,
    )


def _missing(name: str) -> Denied:
    said = (
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    )
    return _invalid(name, said)


def _invalid(name: str, said: str) -> Denied:
    return Denied("parameter_invalid", said).saying("InvalidArgument", said, 400, ArgumentName=name, ArgumentValue="")
