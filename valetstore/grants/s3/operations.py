"""Which operation of S3 a request asks for, and what a key must allow for it: one table.

Rule 1: what is not in the table is not served: 501 for what S3 knows, 405 for methods nothing has there.
Rule 2: a sub-resource that S3 knows is never passed over: `GET /b/k?acl` is not a download.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.grants.address import Address
from valetstore.grants.grant import Operation
from valetstore.inbound import Inbound


class Action(NamedTuple):
    """One operation by the name S3's documentation has for it, and what a key must allow.

    `partly`: the bucket is only the place; what is touched there is judged one by one (`Intent.partly`).
    """

    name: str
    operation: Operation
    partly: bool = False


_SERVICE: Final = {"GET": Action("ListBuckets", "list", partly=True)}

_BUCKET: Final[Mapping[tuple[str, str], Action]] = {
    ("HEAD", ""): Action("HeadBucket", "list", partly=True),
    ("GET", ""): Action("ListObjects", "list"),
    ("GET", "list-type"): Action("ListObjectsV2", "list"),
    ("GET", "versions"): Action("ListObjectVersions", "list"),
    ("GET", "uploads"): Action("ListMultipartUploads", "list"),
    ("GET", "location"): Action("GetBucketLocation", "list", partly=True),
    ("GET", "versioning"): Action("GetBucketVersioning", "list", partly=True),
    ("GET", "cors"): Action("GetBucketCors", "list", partly=True),
    ("PUT", "cors"): Action("PutBucketCors", "write"),
    ("DELETE", "cors"): Action("DeleteBucketCors", "write"),
    ("PUT", ""): Action("CreateBucket", "write"),
    ("DELETE", ""): Action("DeleteBucket", "delete"),
    ("POST", "delete"): Action("DeleteObjects", "delete", partly=True),
    ("POST", ""): Action("PostObject", "write"),
}

_OBJECT: Final[Mapping[tuple[str, str], Action]] = {
    ("GET", ""): Action("GetObject", "read"),
    ("HEAD", ""): Action("HeadObject", "read"),
    ("GET", "attributes"): Action("GetObjectAttributes", "read"),
    ("PUT", ""): Action("PutObject", "write"),
    ("DELETE", ""): Action("DeleteObject", "delete"),
    ("POST", "uploads"): Action("CreateMultipartUpload", "write"),
    ("PUT", "uploadId"): Action("UploadPart", "write"),
    ("POST", "uploadId"): Action("CompleteMultipartUpload", "write"),
    ("DELETE", "uploadId"): Action("AbortMultipartUpload", "write"),
    ("GET", "uploadId"): Action("ListParts", "write"),
}

# Named in S3's API reference; each is an operation of its own. Those in the tables above are served.
# fmt: off
_SUB_RESOURCES: Final = frozenset({
    "abac", "accelerate", "acl", "analytics", "annotation", "attributes", "cors", "delete", "encryption",
    "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "list-type", "location", "logging",
    "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics",
    "notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock",
    "renameObject", "replication", "requestPayment", "restore", "retention", "select", "select-type", "session",
    "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
})
# fmt: on
_SUB_RESOURCES_LOWER: Final = frozenset(map(str.lower, _SUB_RESOURCES))
_COPIES: Final = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
COPIES: Final = frozenset(_COPIES.values())
"""Actions whose bytes are another object's."""


def action_of(inbound: Inbound, address: Address) -> Action:
    """The operation. Raises `not_implemented`, `method_not_allowed`."""
    if not address.bucket:
        if inbound.method in _SERVICE:
            return _SERVICE[inbound.method]
        raise _not_allowed()
    table = _OBJECT if address.name else _BUCKET
    named = []
    if not inbound.names.isdisjoint(_SUB_RESOURCES_LOWER):
        named = [name for name, _ in inbound.query if name in _SUB_RESOURCES]
    # `PUT ?partNumber=1&uploadId=x`, `GET ?uploads`: at most one of a request's parameters is a sub-resource.
    sub = named[0] if named else ""
    # SelectObjectContent has two: what is not served in any reading is not implemented, not contradictory.
    if len(set(named)) > 1 and any((inbound.method, name) in table for name in named):
        raise Denied("parameter_invalid", f"`{named[0]}` and `{named[1]}` exclude each other.").saying("InvalidRequest")
    action = table.get((inbound.method, sub))
    if action is None:
        raise _not_implemented(inbound, sub) if sub else _not_allowed()
    if action.name in _COPIES and is_copy(inbound):
        return Action(_COPIES[action.name], action.operation)
    return action


def is_copy(inbound: Inbound) -> bool:
    """Whether the bytes are to come from another object: by a header, or a signed query parameter in its place."""
    return b"x-amz-copy-source" in inbound.header_names or "x-amz-copy-source" in inbound.names


def _not_implemented(inbound: Inbound, sub: str) -> Denied:
    return Denied("not_implemented", f"{inbound.method} ?{sub}.").saying("NotImplemented")


def _not_allowed() -> Denied:
    return Denied("method_not_allowed").saying("MethodNotAllowed")
