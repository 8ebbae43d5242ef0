"""The heads of Azure's requests and replies: what describes a blob, conditions, what is refused because it is not
done here.

Rule 1: a header that would change what is stored, or who may see it, is honoured or refused, never passed over.
Rule 2: what is served stays safe to open in a browser: `edge.served` writes it, under Azure's names.
"""

import datetime
import re
import zlib
from typing import Final

import msgspec

from valetstore.conditions import Conditions
from valetstore.edge.azure.voice import header_invalid, parameter_invalid
from valetstore.edge.replies import Header
from valetstore.edge.served import described, download_headers, user_of, validators
from valetstore.encoding import http_date
from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.inbound import Inbound
from valetstore.storage.promise import Metadata, ObjectInfo

META_PREFIX: Final = "x-ms-meta-"
UNTYPED: Final = "application/octet-stream"
"""The content type that Azure gives a blob whose uploader gave none."""

_BLOB: Final = "x-ms-blob-"
_KEPT: Final = ("cache-control", "content-disposition", "content-encoding", "content-language")
# A C# identifier of header characters: what Azure takes for a name.
_META_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)

_UNSERVED: Final = (
    # RFC 9110 section 14.4: what would replace the whole by a part. `curl -C` sends it.
    "content-range",
    "x-ms-acl",
    "x-ms-blob-content-length",
    "x-ms-blob-sequence-number",
    "x-ms-copy-",
    "x-ms-default-encryption-scope",
    "x-ms-deny-encryption-scope-override",
    "x-ms-encryption-",
    "x-ms-expiry-",
    "x-ms-group",
    "x-ms-immutability-policy-",
    "x-ms-owner",
    "x-ms-permissions",
    "x-ms-rehydrate-priority",
    "x-ms-requires-sync",
    "x-ms-seal-blob",
    "x-ms-sequence-number-action",
    "x-ms-source-",
    "x-ms-structured-",
    "x-ms-tags",
)


# --- what describes a blob ---------------------------------------------------------------------------------------


def metadata_of(inbound: Inbound, *, is_plain: bool = False) -> Metadata:
    """What a request's head says about its blob: `x-ms-blob-*` and `x-ms-meta-*` headers.

    With `is_plain` the body is the blob, and the headers without the prefix count where there is none with it.
    Raises `metadata_too_large`, `parameter_invalid`.
    """
    content_type = inbound.header(f"{_BLOB}content-type")
    if content_type is None and is_plain:
        content_type = inbound.header("content-type")
    headers = {}
    for name in _KEPT:
        value = inbound.header(_BLOB + name)
        # Azure takes no Content-Disposition without the prefix.
        if value is None and is_plain and name != "content-disposition":
            value = inbound.header(name)
        if value:
            headers[name] = value
    return described(content_type or UNTYPED, headers, metadata_headers(inbound))


def metadata_headers(inbound: Inbound) -> dict[str, str]:
    """The `x-ms-meta-*` headers by lower-case name. Raises `parameter_invalid` (EmptyMetadataKey, InvalidMetadata)."""
    user = user_of(inbound, META_PREFIX)
    for name in user:
        if not name:
            raise Denied("parameter_invalid", "A name of metadata is empty.").saying("EmptyMetadataKey")
        if not _META_NAME.fullmatch(name):
            said = "A name of metadata is letters, digits and underscores, and does not begin with a digit."
            raise Denied("parameter_invalid", said).saying("InvalidMetadata")
    return user


# --- what replies say --------------------------------------------------------------------------------------------


def version_id(info: ObjectInfo) -> str:
    """When this state came to be, as Azure names versions: a time in ticks of 100 ns.

    A file system's clock may stand still for milliseconds: below these the digits are the entity tag's, and tell apart
    what was written in one of its moments.
    """
    seconds, rest = divmod(info.modified_ns, 1_000_000_000)
    ticks = rest // 1_000_000 * 10_000 + zlib.crc32(info.etag.encode()) % 10_000
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{ticks:07d}Z"


def blob_headers(info: ObjectInfo, grant: Grant) -> list[Header]:
    """The head of a GET or HEAD but for its length, its range and its MD5."""
    return [
        *download_headers(info, grant, META_PREFIX),
        ("x-ms-blob-type", "BlockBlob"),
        # A blob is what was put last: it came to be when it was changed.
        ("x-ms-creation-time", http_date(info.modified)),
        ("x-ms-lease-status", "unlocked"),
        ("x-ms-lease-state", "available"),
        ("x-ms-server-encrypted", "false"),
        ("x-ms-access-tier", "Hot"),
        ("x-ms-access-tier-inferred", "true"),
        ("x-ms-version-id", version_id(info)),
        ("x-ms-is-current-version", "true"),
    ]


def changed_headers(info: ObjectInfo) -> list[Header]:
    """What the reply to every write says of the new state."""
    return [
        *validators(info),
        ("x-ms-version-id", version_id(info)),
        ("x-ms-request-server-encrypted", "false"),
    ]


# --- what a request asks for beside that -------------------------------------------------------------------------


def conditions_of(inbound: Inbound) -> Conditions:
    """The conditions of a read or a write; Azure takes entity tags without their quotes. Raises `parameter_invalid`."""
    refuse_leases(inbound)
    if inbound.header("x-ms-if-tags") is not None:
        raise Denied("not_implemented", "Blobs have no tags here.").saying("ConditionHeadersNotSupported")
    return Conditions.of(inbound, bare_tags=True)


def write_conditions(inbound: Inbound) -> Conditions:
    """A write's. Unlike HTTP, Azure holds writes to If-Modified-Since too. Raises `parameter_invalid`."""
    conditions = conditions_of(inbound)
    return msgspec.structs.replace(conditions, modified_binds_writes=conditions.if_modified_since is not None)


def refuse_leases(inbound: Inbound) -> None:
    """There are no leases here, so none of them can be held. Raises `precondition_failed`."""
    if inbound.header("x-ms-lease-id") is not None:
        raise Denied("precondition_failed", "There are no leases here.").saying("LeaseNotPresentWithBlobOperation")


def refuse_unserved(inbound: Inbound) -> None:
    """Raise where a header asks of a write what is not done here: `not_implemented`, `parameter_invalid`."""
    tier = inbound.header("x-ms-access-tier")
    if tier not in (None, "", "Hot"):
        raise header_invalid("x-ms-access-tier", str(tier), "There is one access tier, Hot.")
    if (inbound.header("x-ms-legal-hold") or "false").lower() != "false":
        raise unserved_header("x-ms-legal-hold")
    for raw_name, _ in inbound.headers:
        name = raw_name.decode("latin-1").lower()
        if name.startswith(_UNSERVED):
            raise unserved_header(name)


def refuse_unreadable(inbound: Inbound) -> None:
    """Raise where a read asks for what is not done here: a customer's key, a framed body."""
    if inbound.header("x-ms-encryption-key") is not None:
        raise Denied("parameter_invalid", "No blob is encrypted with a customer's key.").saying(
            "BlobDoesNotUseCustomerSpecifiedEncryption"
        )
    if inbound.header("x-ms-structured-body") is not None:
        raise unserved_header("x-ms-structured-body")


def unserved_header(name: str) -> Denied:
    """501, naming the header."""
    said = f"The header {name} asks for what is not implemented here."
    return Denied("not_implemented", said).saying("NotImplemented", said, HeaderName=name)


def asked_version(inbound: Inbound) -> str | None:
    """The one state of the blob that a request is about, None for the present one.

    Raises `not_found` for a snapshot, since there is none, and `parameter_invalid`.
    """
    if _parameter(inbound, "snapshot") is not None:
        raise Denied("not_found", "There are no snapshots here.")
    return _parameter(inbound, "versionid")


def refuse_versions(inbound: Inbound) -> None:
    """What writes the present state cannot be about another. Raises `parameter_invalid`."""
    for name in ("snapshot", "versionid"):
        value = _parameter(inbound, name)
        if value is not None:
            raise parameter_invalid(name, value, "A version or a snapshot cannot be written.")


def _parameter(inbound: Inbound, name: str) -> str | None:
    values = [value for given, value in inbound.query if given.lower() == name]
    if len(values) > 1:
        raise parameter_invalid(name, values[-1], "It is given more than once.")
    return values[0] if values else None


def check_version(inbound: Inbound, info: ObjectInfo) -> None:
    """Of a blob there is one version, its present state. Raises `not_found`."""
    version = asked_version(inbound)
    if version is not None and version != version_id(info):
        raise Denied("not_found", "There is no such version.")


def with_md5(metadata: Metadata) -> Metadata:
    """With the body's MD5 for an entity tag, as Azure's clients of other stores expect of a blob in one piece."""
    return msgspec.structs.replace(metadata, md5_etag=True)
