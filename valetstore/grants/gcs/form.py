"""POST forms: a browser's upload under a policy document that Google's key has signed, of version 4 or 2.

Rule 1: the form's fields say what is asked, its policy says whether that may be asked, and the policy is proven first.
Rule 2: a form opens its bucket by its own policy alone, and allows the upload of the form that it came with.
Rule 3: version 4 lets a form live for a week from its date, however late its policy ends.

Sources: Google Cloud, "POST Object", "Policy documents" (the signature is over the encoded policy itself).
"""

import math
from collections.abc import Mapping
from typing import Final

from valetstore.errors import Denied
from valetstore.grants import postpolicy, terms
from valetstore.grants.address import Address, address_of
from valetstore.grants.gcs import fault, v2
from valetstore.grants.gcs.operations import FORM, action_of
from valetstore.grants.gcs.proven import Proven
from valetstore.grants.gcs.rules import Rules
from valetstore.grants.gcs.signer import algorithm_by_length, base64_signature, hex_signature, sha1_mac, signer_of
from valetstore.grants.gcs.v4 import mac_in, scope_of
from valetstore.grants.grant import Intent
from valetstore.grants.postpolicy import Policy, expired, read_policy
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.objectkey import ObjectKey

V4_SECONDS_MAX: Final = 604_800

_V4: Final = ("x-goog-algorithm", "x-goog-credential", "x-goog-date", "policy", "x-goog-signature")
_V2: Final = ("googleaccessid", "policy", "signature")
_V4_MARKS: Final = frozenset(_V4) - {"policy"}
_V2_MARKS: Final = frozenset({"googleaccessid"})
_OWN: Final = frozenset({*_V4, *_V2})


def kinds_of(inbound: Inbound) -> tuple[str, ...]:
    """The versions of which a signed policy came, well-formed or not."""
    names = {name for name, _ in inbound.form or ()}
    marks = (("v4", _V4_MARKS), ("v2", _V2_MARKS))
    return tuple(kind for kind, own in marks if not own.isdisjoint(names))


def intent_of(inbound: Inbound, address: Address) -> Intent:
    """What a form asks for: a write of the object that its field `key` names.

    Raises `precondition_failed` where there is no form, `key_missing` for one without a policy, `parameter_invalid`,
    `object_key_invalid`.
    """
    fields = fields_of(inbound)
    if not kinds_of(inbound):
        raise Denied("key_missing", "A form needs a signed policy among its fields; no other key opens it.")
    if not fields.get("key"):
        raise _missing("key")
    key = ObjectKey.of(address.bucket, fields["key"])
    return Intent("write", key.path, key, content_type=fields.get("content-type"), action=FORM)


def fields_of(inbound: Inbound) -> dict[str, str]:
    """A form's fields by lower-case name but for its file, the client's file name put in where it is asked for.

    Raises `precondition_failed` where there is no form, `parameter_invalid` where a field is given twice.
    """
    if inbound.form is None:
        raise Denied("precondition_failed", "A POST to a bucket is a form (multipart/form-data).").saying(
            "PreconditionFailed", "Bucket POST must be of the enclosure-type multipart/form-data.", 412
        )
    return postpolicy.fields_of(inbound.form, _OWN)


def verify(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove a form's policy and hold its fields against it.

    Raises `operation_not_allowed`, `key_malformed`, `parameter_invalid`, `signature_mismatch`, `key_expired`, and as
    `Policy.check`.
    """
    if action_of(inbound, address_of(inbound, rules)).name != FORM:
        said = "A policy document allows the upload of its form to a bucket, and nothing else."
        raise Denied("operation_not_allowed", said).saying("AccessDenied", "Access denied.", 403, Details=said)
    fields = fields_of(inbound)
    is_v4 = not _V4_MARKS.isdisjoint(fields)
    for name in _V4 if is_v4 else _V2:
        if not fields.get(name):
            raise _missing(name)
    return _verify_v4(fields, inbound, rules, keys) if is_v4 else _verify_v2(fields, inbound, rules, keys)


def _verify_v4(fields: Mapping[str, str], inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    scope, encoded = scope_of(fields, "x-goog-"), fields["policy"].encode()
    signature = hex_signature(fields["x-goog-signature"])
    key = signer_of(scope.client, scope.kind, signature, mac_in(scope), keys, lambda check: check(encoded))
    if key is None:
        raise fault.mismatch(encoded, "no signing key of this client made the signature")
    policy = _checked(fields, inbound, rules, exempt=frozenset({"policy", "x-goog-signature"}))
    not_after = min(policy.expires_at, scope.issued_at + V4_SECONDS_MAX)
    if inbound.now > not_after:
        raise expired()
    return Proven(
        key=key,
        signature=signature,
        # The last moment is valid.
        not_after=math.nextafter(not_after, math.inf),
        issued_at=scope.issued_at,
        # All of them are named by the policy: what it does not name has been refused.
        terms=terms.of_query(tuple(fields.items())),
        length=policy.length,
    )


def _verify_v2(fields: Mapping[str, str], inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    if not rules.v2:
        raise v2.unsupported()
    encoded, signature = fields["policy"].encode(), base64_signature(fields["signature"])
    kind = algorithm_by_length(signature)
    key = signer_of(fields["googleaccessid"], kind, signature, sha1_mac, keys, lambda check: check(encoded))
    if key is None:
        raise fault.mismatch(encoded, "no signing key of this client made the signature")
    policy = _checked(fields, inbound, rules, exempt=frozenset(_V2))
    return Proven(
        key=key,
        signature=signature,
        not_after=math.nextafter(policy.expires_at, math.inf),
        terms=terms.of_query(tuple(fields.items())),
        length=policy.length,
    )


def _checked(fields: Mapping[str, str], inbound: Inbound, rules: Rules, exempt: frozenset[str]) -> Policy:
    """The policy, which is not over and which the fields fit."""
    policy = read_policy(fields["policy"])
    if inbound.now > policy.expires_at:
        raise expired()
    policy.check(fields, address_of(inbound, rules).bucket, exempt)
    return policy


def _missing(name: str) -> Denied:
    return fault.argument(f"The form must contain the field '{name}', before its file.", ArgumentName=name)
