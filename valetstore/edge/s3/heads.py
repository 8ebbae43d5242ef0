"""The heads of S3's requests and replies: metadata, conditions, what is refused because it is not done here.

Rule 1: a header that would change what is stored, or who may see it, is honoured or refused, never passed over.
Rule 2: what is served stays safe to open in a browser: `edge.served` writes it, under S3's names.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from valetstore.conditions import Conditions
from valetstore.edge.nodes import argument_invalid
from valetstore.edge.replies import Header
from valetstore.edge.s3.checksums import checksum_headers, text_of
from valetstore.edge.served import download_headers, kept_of, user_of
from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.inbound import Inbound
from valetstore.storage.promise import Metadata, ObjectInfo, Part

META_PREFIX: Final = "x-amz-meta-"
USER_BYTES_MAX: Final = 2_048
"""All names and values of user metadata: S3's limit."""

UNTYPED: Final = "binary/octet-stream"
"""The content type that S3 gives an object whose uploader gave none."""

_ACLS: Final = frozenset(
    {
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
        "log-delivery-write",
    }
)
"""S3's canned ACLs. Each says who may do more than a key allows, and nobody may: they are taken, and open nothing."""

_UNSERVED: Final = (
    "x-amz-copy-source-server-side-",
    "x-amz-grant-",
    # Conditions that nothing but a delete has.
    "x-amz-if-match-",
    "x-amz-mfa",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
)
_CUSTOMER_KEY: Final = "x-amz-server-side-encryption-customer-"


def metadata_of(inbound: Inbound) -> Metadata:
    """What an upload's head says about its object, entity tag by MD5. Raises `metadata_too_large`."""
    user = user_of(inbound, META_PREFIX)
    size = sum([len(text.encode("utf-8")) for pair in user.items() for text in pair]) if user else 0
    if size > USER_BYTES_MAX:
        raise Denied("metadata_too_large", f"At most {USER_BYTES_MAX} bytes of {META_PREFIX}* headers.").saying(
            "MetadataTooLarge", Size=str(size), MaxSizeAllowed=str(USER_BYTES_MAX)
        )
    metadata = kept_of(inbound, user)
    headers = metadata.headers
    if "content-encoding" in headers:
        headers = dict(headers)
        coding = without_framing(headers.pop("content-encoding"))
        if coding:
            headers["content-encoding"] = coding
    content_type = metadata.content_type or UNTYPED
    return msgspec.structs.replace(metadata, content_type=content_type, headers=headers, md5_etag=True)


def without_framing(coding: str) -> str:
    """Content-Encoding without `aws-chunked`, which is how the body was sent and not how the object is coded."""
    codings = [part.strip() for part in coding.split(",")]
    return ", ".join(part for part in codings if part and part.lower() != "aws-chunked")


def refuse_unserved(inbound: Inbound, but: tuple[str, ...] = ()) -> None:
    """Raise where a header asks for what is not done here: `not_implemented`, or in S3's own words.

    Every operation that writes calls this; those that do honour a header name it in `but`.
    """
    if not inbound.further_names:
        return
    acl = inbound.header("x-amz-acl")
    if acl is not None and acl not in _ACLS:
        raise argument_invalid("It is none of S3's canned ACLs.", "x-amz-acl", acl)
    storage_class = inbound.header("x-amz-storage-class")
    if storage_class not in (None, "", "STANDARD"):
        raise Denied("parameter_invalid", "There is one storage class, STANDARD.").saying(
            "InvalidStorageClass", StorageClassRequested=str(storage_class)
        )
    for raw_name in inbound.further_names:
        name = raw_name.decode("latin-1")
        if name not in but and (
            name.startswith(_UNSERVED) or (name == "x-amz-tagging" and any(inbound.raw_values(raw_name)))
        ):
            raise unserved_header(name)
    if (inbound.header("x-amz-bucket-object-lock-enabled") or "false").lower() != "false":
        raise unserved_header("x-amz-bucket-object-lock-enabled")


def refuse_unreadable(inbound: Inbound) -> None:
    """A read with a customer's encryption key is of an object that was never stored so. Raises `parameter_invalid`."""
    if any(name.lower().startswith(_CUSTOMER_KEY.encode()) for name, _ in inbound.headers):
        said = "The encryption parameters are not applicable to this object."
        raise Denied("parameter_invalid", said).saying("InvalidRequest", said)


def unserved_header(name: str, detail: str = "") -> Denied:
    """501, naming the header."""
    said = f"A header you provided implies functionality that is not implemented: {name}."
    return Denied("not_implemented", said).saying("NotImplemented", f"{said} {detail}".strip(), Header=name)


def refuse_versions(inbound: Inbound) -> None:
    """Objects have one version here, `null`. Raises `not_found` (NoSuchVersion), `parameter_invalid`."""
    version = inbound.parameter("versionId")
    if version is None or version == "null":
        return
    if not version or len(version) > 1024 or not version.isascii() or not version.isprintable() or " " in version:
        raise Denied("parameter_invalid", "Invalid version id specified").saying(
            "InvalidArgument", "Invalid version id specified", ArgumentName="versionId", ArgumentValue=version
        )
    raise Denied("not_found", "There is no such version.").saying("NoSuchVersion", VersionId=version)


def read_conditions(inbound: Inbound) -> Conditions:
    """A read's conditions; S3 takes entity tags without their quotes."""
    return Conditions.of(inbound, bare_tags=True)


def write_conditions(inbound: Inbound) -> Conditions:
    """A write's conditions. Unlike S3, which knows If-None-Match only as `*`, any entity tag is taken."""
    return Conditions.of(inbound, bare_tags=True)


def plain_headers(info: ObjectInfo, grant: Grant) -> list[Header]:
    """The head of a GET or HEAD but for its length, where its headers ask for nothing else."""
    return download_headers(info, grant, META_PREFIX)


def object_headers(info: ObjectInfo, grant: Grant, inbound: Inbound, *, is_whole: bool) -> list[Header]:
    """The same with the checksum, where it is asked for, of the whole only."""
    headers = plain_headers(info, grant)
    if is_whole and _wants_checksum(inbound):
        headers += checksum_headers(info.metadata.checksum)
    return headers


def part_checksum(info: ObjectInfo, part: Part, inbound: Inbound) -> list[Header]:
    """The checksum of the one part that is sent, where it is asked for; its type is that of the whole."""
    checksum = info.metadata.checksum
    if checksum is None or checksum.algorithm not in part.digests or not _wants_checksum(inbound):
        return []
    return checksum_headers(msgspec.structs.replace(checksum, value=text_of(part.digests[checksum.algorithm])))


def _wants_checksum(inbound: Inbound) -> bool:
    return (inbound.header("x-amz-checksum-mode") or "").upper() == "ENABLED"


def values_of(inbound: Inbound, name: str) -> Sequence[str]:
    """The members of a header that is a list, empty ones left out."""
    return [part.strip() for part in (inbound.header(name) or "").split(",") if part.strip()]
