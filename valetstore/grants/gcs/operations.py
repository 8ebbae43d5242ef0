"""Which operation of Google's XML API a request asks for, and what a key must allow for it: one table.

Rule 1: what is not in the table is not served: 501 for what Google knows, 405 for methods nothing has there.
Rule 2: a sub-resource or a header that makes another operation of a request is never passed over: `GET /b/k?acl` is
no download, and a PUT with a copy's source no upload.

Sources: Google Cloud, "XML API reference: methods", "Subresources", "HTTP headers and common query string parameters".
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.grants.address import Address
from valetstore.grants.gcs import fault
from valetstore.grants.gcs.session import PARAMETER as SESSION
from valetstore.grants.grant import Operation
from valetstore.inbound import Inbound


class Action(NamedTuple):
    """One operation by its name, and what a key must allow."""

    name: str
    operation: Operation


LIST: Final = "ListObjects"
PUT: Final = "PutObject"
FORM: Final = "PostObject"
START: Final = "StartResumable"
CHUNK: Final = "PutChunk"
CANCEL: Final = "CancelResumable"
OF_SESSIONS: Final = frozenset({CHUNK, CANCEL})
"""What a session's URI opens, and nothing else does."""

RESUMABLE: Final = "x-goog-resumable"

_BUCKET: Final[Mapping[tuple[str, str], Action]] = {
    ("GET", ""): Action(LIST, "list"),
    ("POST", ""): Action(FORM, "write"),
}
_OBJECT: Final[Mapping[tuple[str, str], Action]] = {
    ("GET", ""): Action("GetObject", "read"),
    ("HEAD", ""): Action("HeadObject", "read"),
    ("PUT", ""): Action(PUT, "write"),
    ("DELETE", ""): Action("DeleteObject", "delete"),
    ("POST", ""): Action(START, "write"),
    ("PUT", SESSION): Action(CHUNK, "write"),
    ("DELETE", SESSION): Action(CANCEL, "write"),
}
# Methods that Google's storage has on the service and on buckets.
_KNOWN: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})

# fmt: off
_SUB_RESOURCES: Final = frozenset({
    SESSION, "acl", "billing", "compose", "cors", "defaultObjectAcl", "delete", "encryption", "encryptionConfig", "iam",
    "ipFilter", "legal-hold", "lifecycle", "location", "logging", "notification", "notificationConfig", "object-lock",
    "partNumber", "policy", "publicAccessBlock", "requestPayment", "restore", "retention", "storageClass", "tagging",
    "tiering", "torrent", "uploadId", "uploads", "versioning", "versions", "website", "websiteConfig",
})
# A customer's own encryption key (CSEK): what is kept unencrypted under such a request would be a broken promise.
_UNSERVED_HEADERS: Final = (
    "x-goog-copy-source", "x-goog-encryption-algorithm", "x-goog-encryption-key", "x-goog-encryption-key-sha256",
    "x-goog-encryption-kms-key-name",
)
# fmt: on
# Signed in the query they would bind nobody: Google reads them in headers alone.
_HEADERS_ONLY: Final = frozenset(
    {
        *_UNSERVED_HEADERS,
        RESUMABLE,
        "x-goog-content-length-range",
        "x-goog-content-sha256",
        "x-goog-if-generation-match",
        "x-goog-if-metageneration-match",
    }
)


def action_of(inbound: Inbound, address: Address) -> Action:
    """The operation. Raises `not_implemented`, `method_not_allowed`, `parameter_invalid`."""
    _refuse_headers(inbound)
    table = _OBJECT if address.name else _BUCKET if address.bucket else {}
    named = {name for name, _ in inbound.query if name in _SUB_RESOURCES}
    if len(named) > 1:
        raise fault.unserved(f"{inbound.method} ?{'&'.join(sorted(named))}.")
    sub = next(iter(named), "")
    action = table.get((inbound.method, sub))
    if action is None:
        if sub or (inbound.method in _KNOWN and not address.name):
            raise fault.unserved(f"{inbound.method} {'?' + sub if sub else 'of a bucket, or of all of them'}.")
        raise Denied("method_not_allowed").saying("MethodNotAllowed")
    _check_resumable(inbound, action)
    return action


def _check_resumable(inbound: Inbound, action: Action) -> None:
    """Raise `parameter_invalid`, `not_implemented` unless x-goog-resumable and the operation are one thing."""
    asked = inbound.header(RESUMABLE)
    if action.name == START:
        if asked is None or asked.strip(" \t").lower() != "start":
            raise fault.argument(f"A POST to an object needs the header {RESUMABLE}: start.")
    # Google's libraries send it with each chunk again.
    elif asked is not None and action.name not in OF_SESSIONS:
        raise fault.unserved(f"{inbound.method} with {RESUMABLE}: begin a session by POST.")


def _refuse_headers(inbound: Inbound) -> None:
    for name in _UNSERVED_HEADERS:
        if inbound.header(name) is not None:
            raise fault.unserved(f"{name}.")
    for name, _ in inbound.query:
        if name.lower() in _HEADERS_ONLY:
            raise fault.argument(f"{name} is a header, and no query parameter: sign it as one.")
