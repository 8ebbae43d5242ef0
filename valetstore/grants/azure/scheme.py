"""The dialect of Azure Blob: which of its keys came, what the request asks for, and the grant that follows.

Rule 1: a shared access signature opens what its letters open within its resource, as often as it likes: it names no
method. What else is to hold (single use, lengths, types) comes from the signing key's profile.
Rule 2: the order is shape, the account's keys, the signature; then what was signed and cannot be given here (a stored
policy, an encryption scope). Time, operation, path, source and TLS are the gate's to judge.
"""

from collections.abc import Hashable
from typing import Final

from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.grants.azure.address import Address, address_of, text_of
from valetstore.grants.azure.claim import OVERRIDES, SIGNATURE, Claim, in_query, readings_of
from valetstore.grants.azure.layout import directory_of
from valetstore.grants.azure.operations import Action, action_of
from valetstore.grants.azure.permissions import is_create_only, opens, operations_of
from valetstore.grants.azure.rules import Rules
from valetstore.grants.azure.signer import proven
from valetstore.grants.covered import covered_by_request
from valetstore.grants.grant import Grant, Intent, Proof, Scope
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import AZURE as NAME
from valetstore.objectkey import ObjectKey, check_beginning

_TYPED: Final = frozenset({"PutBlob", "PutBlockList", "SetBlobProperties"})
_OF_ONE_VERSION: Final = frozenset({"read", "delete"})


class Azure:
    """The scheme, with the operator's rules."""

    name = NAME
    signs_method = False
    marks = SIGNATURE

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """The shared access signature in the query."""
        return [Credential(self, "query", "sas")] if in_query(inbound) else []

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for. Raises `not_implemented`, `object_key_invalid`, `parameter_invalid`, ..."""
        address = address_of(inbound)
        return _intent(inbound, address, action_of(inbound, address))

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent | None = None) -> Proof:
        """Prove the credential. Raises `key_malformed`, `signature_mismatch`, `not_implemented`."""
        readings, address = readings_of(inbound), address_of(inbound)
        claim, key = proven(readings, address, inbound, keys)
        not_after = _end(claim, key)
        try:
            action: Action | None = action_of(inbound, address)
        except Denied:  # a key that was pasted without what makes a request of it
            action = None
        if action is not None and action.operation == "write" and claim.get("ses"):
            raise _scope_missing(claim).because(signing_key=key.name)
        return Proof(_grant(claim, address, inbound, action, key, not_after), key.limits)

    def covered(self, inbound: Inbound, credential: Credential) -> Hashable:
        """The request: what it asks for decides which letters count."""
        return covered_by_request(inbound, credential)


# --- what is asked -----------------------------------------------------------------------------------------------


def content_type_of(inbound: Inbound, action: str) -> str | None:
    """The content type that a blob is to have; None where the request names none.

    The Content-Type of a block list or of properties is that of the request's own body.
    """
    own = inbound.header("x-ms-blob-content-type")
    if own is None and action == "PutBlob":
        return inbound.header("content-type")
    return own if action in _TYPED else None


def _intent(inbound: Inbound, address: Address, action: Action) -> Intent:
    if not address.blob:
        prefix = text_of(inbound, "prefix") if action.name == "ListBlobs" else ""
        check_beginning(prefix)
        return Intent(action.operation, address.path + prefix, action=action.name, partly=action.partly)
    key = ObjectKey.of(address.container, address.blob)
    return Intent(
        action.operation,
        key.path,
        key,
        length=_length_of(inbound) if action.name in ("PutBlob", "PutBlock") else None,
        content_type=content_type_of(inbound, action.name),
        action=action.name,
        # Metadata leave the bytes and their type as they are: there is nothing to judge of them.
        copied=action.name == "SetBlobMetadata",
        staged=action.name == "PutBlock",
    )


def _length_of(inbound: Inbound) -> int | None:
    text = inbound.header("content-length")
    try:
        return None if text is None else wire_int(text)
    except ValueError:
        raise Denied("parameter_invalid", "Content-Length is not a number of bytes.").saying(
            "InvalidHeaderValue", HeaderName="Content-Length", HeaderValue=text or ""
        ) from None


# --- what was signed and cannot be given --------------------------------------------------------------------------


def _end(claim: Claim, key: SigningKey) -> float:
    """When it ends. Containers have no stored access policies here: one that is named is unknown: `key_malformed`."""
    if claim.get("si") or claim.expires_at is None:
        said = f"The stored access policy {claim.get('si')!r} does not exist."
        raise Denied("key_malformed", said, signing_key=key.name).saying(
            "AuthenticationFailed", AuthenticationErrorDetail=said
        )
    return claim.expires_at


def _scope_missing(claim: Claim) -> Denied:
    """What is written is to be encrypted under a scope, and there are none. What is read needs none."""
    said = f"The encryption scope {claim.get('ses')!r} does not exist."
    return Denied("not_implemented", said).saying("RequestForbiddenByContainerEncryptionPolicy", said, 403)


# --- what it opens -----------------------------------------------------------------------------------------------


def _grant(
    claim: Claim, address: Address, inbound: Inbound, action: Action | None, key: SigningKey, not_after: float
) -> Grant:
    return Grant(
        scheme=NAME,
        signing_key=key.name,
        identity=key.identity_of(claim.mac),
        operations=_operations(claim, action),
        scopes=((_scope(claim, address, inbound),),),
        not_after=not_after,
        not_before=claim.starts_at,
        networks=(claim.networks,) if claim.networks else (),
        tls_only=claim.get("spr") == "https",
        create_only=is_create_only(claim.get("sp")),
        response=tuple((header, claim.get(name)) for name, header in OVERRIDES.items() if claim.get(name)),
    )


def _operations(claim: Claim, action: Action | None) -> frozenset[str]:
    """What the letters open in our terms; with what is asked among them exactly where they open that too.

    Letters are finer than our operations: `c` makes a blob, and may not change one's metadata.
    """
    letters = claim.get("sp")
    if claim.is_account and "b" not in claim.get("ss"):
        return frozenset()
    operations = operations_of(letters)
    if action is not None:
        is_open = opens(action, letters, claim.resource_types)
        operations = operations | {action.operation} if is_open else operations - {action.operation}
    return operations & _OF_ONE_VERSION if claim.version_of else operations


def _scope(claim: Claim, address: Address, inbound: Inbound) -> Scope:
    match claim.resource:
        case "":
            return Scope("/", is_prefix=True)
        case "c":
            return Scope(f"/{address.container}/", is_prefix=True)
        case "d":
            directory = directory_of(claim, address.blob or text_of(inbound, "prefix")) or ""
            return Scope(f"/{address.container}/{directory}", is_prefix=True)
        case _:
            return Scope(address.path)
