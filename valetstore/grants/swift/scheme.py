"""The dialect of OpenStack Swift: which of its keys came, what the request asks for, and the grant that follows.

Rule 1: a TempURL allows one method on one object, or on all whose names begin with a prefix; a form allows uploads.
Rule 2: the account in the path says which signing keys may have signed; the containers of all accounts are the same
buckets, of which a signing key's profile says what it reaches.
"""

import math
from collections.abc import Hashable
from typing import Final

from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.grants.covered import covered_by_request
from valetstore.grants.grant import Grant, Intent, Operation, Proof, Scope
from valetstore.grants.scheme import Credential
from valetstore.grants.swift import formpost, tempurl
from valetstore.grants.swift.address import not_an_object, place_of
from valetstore.grants.swift.rules import Rules
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import SWIFT as NAME
from valetstore.objectkey import ObjectKey, check_beginning, check_bucket

ACTIONS: Final[dict[str, tuple[str, Operation]]] = {
    "GET": ("GetObject", "read"),
    "HEAD": ("HeadObject", "read"),
    "PUT": ("PutObject", "write"),
    "POST": ("PostObject", "write"),
    "DELETE": ("DeleteObject", "delete"),
}
"""The methods that Swift lets a TempURL be for: our name of the operation, and what a key must allow."""


class Swift:
    """The scheme, with the operator's rules."""

    name = NAME
    signs_method = True
    marks = tempurl.MARKS

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """Every key of this dialect in the request: in its query, in its form. Raises `target_invalid`."""
        found = [Credential(self, "query", "")] if tempurl.in_query(inbound) else []
        return [*found, Credential(self, "form", "")] if formpost.in_form(inbound) else found

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for. Raises `path_not_allowed`, `method_not_allowed`, `object_key_invalid`,
        `parameter_invalid`.
        """
        if formpost.in_form(inbound):
            return _form_intent(inbound)
        place = place_of(inbound)
        if place is None or not place.container or not place.name.strip("/"):
            raise not_an_object()
        if inbound.method not in ACTIONS:
            raise Denied("method_not_allowed", allow=", ".join(ACTIONS))
        action, operation = ACTIONS[inbound.method]
        key = ObjectKey.of(place.container, place.name)
        return Intent(
            operation,
            key.path,
            key,
            length=_announced(inbound) if action == "PutObject" else None,
            content_type=inbound.header("content-type") if operation == "write" else None,
            action=action,
        )

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent | None = None) -> Proof:
        """Prove the credential. Raises `key_malformed`, `signature_mismatch`, `parameter_invalid`."""
        if credential.carrier == "form":
            return self._verify_form(inbound, keys)
        held, temp_url, networks = tempurl.verify(inbound, self.rules, keys)
        if intent is None:
            intent = self.intent(inbound)
        grant = Grant(
            scheme=NAME,
            signing_key=held.key.name,
            identity=held.key.identity_of(temp_url.signature.mac),
            operations=frozenset({intent.operation}),
            # A prefix of Swift's need not end at a slash, as scopes do. It was held against this object's name with
            # the signature, so this request is allowed this object, and no other prefix reaches the gate.
            scopes=((Scope(intent.path),),),
            not_after=_end(temp_url.expires),
            networks=(networks,) if networks else (),
        )
        return Proof(grant, held.key.limits)

    def covered(self, inbound: Inbound, credential: Credential) -> Hashable | None:
        """The request; None for forms."""
        return None if inbound.form is not None else covered_by_request(inbound, credential)

    def _verify_form(self, inbound: Inbound, keys: KeyRing) -> Proof:
        held, signature, asked = formpost.verify(inbound, self.rules, keys)
        grant = Grant(
            scheme=NAME,
            signing_key=held.key.name,
            identity=held.key.identity_of(signature.mac),
            operations=frozenset({"write"}),
            # Swift lets the names of a form's files begin with anything: this prefix need not end at a slash either.
            scopes=((Scope(_form_intent(inbound).path, is_prefix=True),),),
            not_after=_end(asked.expires),
            length_max=asked.size_max,
        )
        return Proof(grant, held.key.limits)


def _form_intent(inbound: Inbound) -> Intent:
    """A form writes somewhere below its path: where exactly is judged file by file (`Gateway.extend`)."""
    place = place_of(inbound)
    if place is None:
        raise not_an_object()
    check_bucket(place.container)
    check_beginning(place.name)
    return Intent("write", place.path, action=formpost.ACTION, partly=True)


def _end(expires: int) -> float:
    # Swift refuses what `expires < now`: the moment itself is still good.
    return math.nextafter(expires, math.inf)


def _announced(inbound: Inbound) -> int | None:
    length = inbound.header("content-length")
    try:
        return None if length is None else wire_int(length)
    except ValueError:
        raise Denied("parameter_invalid", "Content-Length is not a number of bytes.") from None
