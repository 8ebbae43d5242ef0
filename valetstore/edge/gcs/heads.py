"""The heads of Google's requests and replies: metadata, hashes, and what is refused because it is not done here.

Rule 1: a header that would change what is stored, or who may see it, is honoured or refused, never passed over.
Rule 2: what is served stays safe to open in a browser: `edge.served` writes it, under Google's names. What was stored
compressed is served as it was stored.
Source: Google Cloud, "HTTP headers and query string parameters for XML".
"""

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

from valetstore.conditions import Conditions
from valetstore.edge.gcs.generations import generation_headers
from valetstore.edge.nodes import argument_invalid
from valetstore.edge.replies import Header
from valetstore.edge.served import download_headers, kept_of, sendable, user_of
from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.inbound import Inbound
from valetstore.storage.promise import CRC32C, MD5, Metadata, ObjectInfo

META_PREFIX: Final = "x-goog-meta-"
HASH: Final = "x-goog-hash"
_HASHES: Final[Mapping[str, int]] = {CRC32C: 4, MD5: 16}
"""Bytes of each, by the name that Google and the store have for it."""
KEPT_DIGESTS: Final = frozenset(_HASHES)
"""What every upload is hashed with, so that every download can tell it."""

_ACLS: Final = frozenset(
    {
        "project-private",
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
    }
)
"""Predefined ACLs. Each says who may do more than a key allows, and nobody may: they are taken, and open nothing."""

_UNSERVED: Final = (
    "x-goog-copy-source",
    "x-goog-custom-time",
    "x-goog-encryption-",
    "x-goog-event-based-hold",
    "x-goog-metadata-directive",
    "x-goog-object-lock-",
    "x-goog-temporary-hold",
)


def metadata_of(inbound: Inbound) -> Metadata:
    """What an upload's head says about its object, entity tag by MD5. Raises `metadata_too_large`."""
    return msgspec.structs.replace(kept_of(inbound, user_of(inbound, META_PREFIX)), md5_etag=True)


def refuse_unserved(inbound: Inbound) -> None:
    """Raise where a header asks for what is not done here. Every operation that writes calls this."""
    acl = inbound.header("x-goog-acl")
    if acl is not None and acl not in _ACLS:
        raise argument_invalid("It is none of the predefined ACLs.", "x-goog-acl", acl)
    storage_class = inbound.header("x-goog-storage-class")
    if storage_class not in (None, "", "STANDARD"):
        raise argument_invalid("There is one storage class, STANDARD.", "x-goog-storage-class", str(storage_class))
    for raw_name, _ in inbound.headers:
        name = raw_name.decode("latin-1").lower()
        if name.startswith(_UNSERVED):
            raise unserved(f"The header {name} is not served here.")


def refuse_unreadable(inbound: Inbound) -> None:
    """A read with a customer's encryption key is of an object that was never stored so. Raises `parameter_invalid`."""
    for raw_name, _ in inbound.headers:
        if raw_name.lower().startswith(b"x-goog-encryption-"):
            said = "The target object is not encrypted by a customer-supplied encryption key."
            raise Denied("parameter_invalid", said).saying("ResourceNotEncryptedWithCustomerEncryptionKey", said, 400)


def unserved(said: str) -> Denied:
    """501, in Google's words, with ours beside them."""
    return Denied("not_implemented", said).saying("NotImplemented", Details=said)


def promised_hashes(inbound: Inbound) -> dict[str, bytes]:
    """Content-MD5 and x-goog-hash, by the store's names. Raises `parameter_invalid`."""
    promised: dict[str, bytes] = {}
    md5 = inbound.header("content-md5")
    if md5 is not None:
        data = _decoded(md5)
        if len(data) != _HASHES[MD5]:
            raise Denied("parameter_invalid", "Content-MD5 is not the base64 of 16 bytes.").saying("InvalidDigest")
        promised[MD5] = data
    text = inbound.header(HASH)
    for member in text.split(",") if text is not None else ():
        name, _, value = member.strip(" \t").partition("=")
        data = _decoded(value)
        if len(data) != _HASHES.get(name) or promised.setdefault(name, data) != data:
            raise argument_invalid("It is crc32c=base64 or md5=base64, each once.", HASH, str(text))
    return promised


def hash_text(digests: Mapping[str, bytes]) -> str:
    """As x-goog-hash carries digests; "" where it has none of them."""
    known = [(name, digests[name]) for name in _HASHES if name in digests]
    return ",".join(f"{name}={base64.b64encode(value).decode()}" for name, value in known)


def stored_headers(info: ObjectInfo) -> list[Header]:
    """What Google tells of a stored state beside HTTP's own headers, in answers to reads and writes alike."""
    digests = dict(info.digests)
    checksum = info.metadata.checksum
    if checksum is not None and checksum.algorithm == CRC32C and not checksum.parts:
        digests.setdefault(CRC32C, _decoded(checksum.value))
    hashes = hash_text(digests)
    return [
        *generation_headers(info),
        *([(HASH, hashes)] if hashes else []),
        ("x-goog-stored-content-encoding", sendable(info.metadata.headers.get("content-encoding", "identity"))),
        ("x-goog-stored-content-length", str(info.size)),
        ("x-goog-storage-class", "STANDARD"),
    ]


def object_headers(info: ObjectInfo, grant: Grant) -> list[Header]:
    """The head of a GET or HEAD but for its length."""
    return [*download_headers(info, grant, META_PREFIX), *stored_headers(info)]


def written_headers(info: ObjectInfo) -> list[Header]:
    """What an upload is answered with."""
    return [("ETag", info.etag), *stored_headers(info)]


def conditions_of(inbound: Inbound) -> Conditions:
    """HTTP's own conditions; entity tags are taken without their quotes as well."""
    return Conditions.of(inbound, bare_tags=True)


def _decoded(text: str) -> bytes:
    """Strict base64; b"" for anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        return b""
    return data if base64.b64encode(data).decode() == text else b""
