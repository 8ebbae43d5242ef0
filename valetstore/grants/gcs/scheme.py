"""The dialect of Google Cloud Storage: which of its keys came, what is asked for, and the grant that follows.

Rule 1: a signed URL and a form allow exactly the request they sign, within the signing key's profile. A URL that was
signed for POST begins a resumable session and does nothing else; the session's URI is a key of its own.
Rule 2: what the request asks for is read once, here; the operations in the edge go by the Intent.
"""

from collections.abc import Hashable
from typing import Final

from valetstore.config import RESUMABLE_SECONDS_MAX
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.grants import terms
from valetstore.grants.address import Address, address_of
from valetstore.grants.covered import covered_by_request
from valetstore.grants.gcs import fault, form, session, v2, v4
from valetstore.grants.gcs.conditions import conditions_of
from valetstore.grants.gcs.operations import FORM, LIST, OF_SESSIONS, START, Action, action_of
from valetstore.grants.gcs.proven import Proven
from valetstore.grants.gcs.rules import Rules
from valetstore.grants.gcs.session import EARLY_SECONDS
from valetstore.grants.grant import Grant, Intent, Proof, Scope
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import GCS as NAME
from valetstore.objectkey import ObjectKey, check_beginning

# The length of the whole, where the client knows it when it begins.
_WHOLE_LENGTH: Final = "x-upload-content-length"


class Gcs:
    """The scheme, with the operator's rules."""

    name = NAME
    signs_method = True
    marks = v4.MARKS | v2.MARKS | {session.PARAMETER}

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """Every key of this dialect in the request: in its query, its form; a session's where nothing else came."""
        found = [
            Credential(self, "query", kind) for kind, module in (("v4", v4), ("v2", v2)) if module.in_query(inbound)
        ]
        found += [Credential(self, "form", kind) for kind in form.kinds_of(inbound)]
        if not found and inbound.parameters(session.PARAMETER):
            found.append(Credential(self, "query", "session"))
        return found

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for. Raises `not_implemented`, `object_key_invalid`, `parameter_invalid`, ..."""
        address = address_of(inbound, self.rules)
        return _intent(inbound, address, action_of(inbound, address))

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent | None = None) -> Proof:
        """Prove the credential. Raises `key_malformed`, `signature_mismatch`, and what a policy document refuses."""
        match credential.carrier, credential.text:
            case "query", "session":
                return session.verify(inbound, keys)
            case "query", "v4":
                proven = v4.verify_query(inbound, self.rules, keys)
            case "query", _:
                proven = v2.verify_query(inbound, self.rules, keys)
            case _:
                proven = form.verify(inbound, self.rules, keys)
        if intent is None:
            intent = self.intent(inbound)
        if intent.action in OF_SESSIONS:
            said = "A session's URI is a key of its own: send no other with it."
            raise Denied("operation_not_allowed", said).saying("AccessDenied", "Access denied.", 403, Details=said)
        return Proof(_grant(proven, intent, inbound), proven.key.limits)

    def covered(self, inbound: Inbound, credential: Credential) -> Hashable | None:
        """The request; None for forms and for a session's URI, which end while they are judged."""
        if credential.carrier != "query" or credential.text == "session" or inbound.form is not None:
            return None
        # One that is written in another way counts as more; one that is there twice is refused, whatever the headers.
        host_alone = credential.text == "v2" or _HOST_ALONE in inbound.raw_query
        return covered_by_request(inbound, credential, every_header=not host_alone)


_HOST_ALONE: Final = b"&X-Goog-SignedHeaders=host&"


def _intent(inbound: Inbound, address: Address, action: Action) -> Intent:
    if action.name == FORM:
        return form.intent_of(inbound, address)
    if not address.name:
        prefix = (inbound.parameter("prefix") or "") if action.name == LIST else ""
        check_beginning(prefix)
        return Intent(action.operation, address.path + prefix, action=action.name)
    key = ObjectKey.of(address.bucket, address.name)
    if action.name in OF_SESSIONS:
        # Unproven, as everything in an intent is; `verify` reads the same text.
        upload = session.parsed(session.token_of(inbound) or "").upload
        return Intent(
            "write", key.path, key, length=_length(inbound, "content-length"), action=action.name, upload=upload
        )
    is_write = action.operation == "write"
    return Intent(
        action.operation,
        key.path,
        key,
        length=_length(inbound, _WHOLE_LENGTH if action.name == START else "content-length") if is_write else None,
        content_type=inbound.header("content-type") if is_write else None,
        action=action.name,
    )


def _length(inbound: Inbound, header: str) -> int | None:
    """How many bytes were announced. Raises `parameter_invalid`."""
    text = inbound.header(header)
    if text is None:
        return None
    try:
        return wire_int(text)
    except ValueError:
        raise fault.argument(f"{header} is not a number of bytes.") from None


def _grant(proven: Proven, intent: Intent, inbound: Inbound) -> Grant:
    asked = conditions_of(inbound, intent.action)
    low, high = proven.length or (asked.length_min, asked.length_max)
    grant = Grant(
        scheme=NAME,
        signing_key=proven.key.name,
        identity=proven.key.identity_of(proven.signature),
        operations=frozenset({intent.operation}),
        scopes=((Scope(intent.path, is_prefix=intent.key is None),),),
        not_after=proven.not_after,
        issued_at=proven.issued_at,
        early=EARLY_SECONDS,
        outlived_by=RESUMABLE_SECONDS_MAX if intent.action == START else 0,
        length_min=low,
        length_max=high,
        sha256=asked.sha256,
        create_only=asked.create_only,
        response=proven.response,
    )
    return terms.applied(grant, proven.terms) if proven.terms else grant
