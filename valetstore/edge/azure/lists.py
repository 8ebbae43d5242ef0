"""List Blobs, and what it shares with the list of containers.

Rule 1: a page ends at the last name or group that it shows; its marker is ours to read, and nobody takes it for a name.
Rule 2: what is asked to be included is shown, is nothing here, or is refused: it is never left out in silence.
Source: Azure's REST reference, "List Blobs", of which the elements and their order are.
"""

import asyncio
import base64
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote

from valetstore.edge.azure.digests import content_md5
from valetstore.edge.azure.heads import refuse_leases, version_id
from valetstore.edge.azure.voice import HEAD, parameter_invalid
from valetstore.edge.call import Call
from valetstore.edge.pages import Asked, named_by, page_of, token_of
from valetstore.edge.replies import Reply
from valetstore.edge.xml import Node, is_carried, tag, xml_reply
from valetstore.encoding import http_date
from valetstore.errors import Denied
from valetstore.grants.azure.address import text_of
from valetstore.inbound import Inbound
from valetstore.objectkey import split_path
from valetstore.storage.promise import Listed

ENTRIES_MAX: Final = 5_000
"""As many as Azure shows on a page, whatever is asked for."""

_SHOWN: Final = frozenset({"metadata", "versions"})
# There are no snapshots, copies, tags, policies, and nothing that was deleted is kept: what could be shown is nothing.
_NOTHING: Final = frozenset(
    {"copy", "deleted", "deletedwithversions", "immutabilitypolicy", "legalhold", "snapshots", "tags"}
)
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_ELEMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_REPRESENTATION: Final = ("Content-Encoding", "Content-Language", "Cache-Control", "Content-Disposition")


async def list_blobs(call: Call) -> Reply:
    """GET ?restype=container&comp=list: a page of a container's blobs, grouped by a delimiter where there is one."""
    inbound = call.inbound
    refuse_leases(inbound)
    if any(name.lower() == "startfrom" for name, _ in inbound.query):
        raise Denied("not_implemented", "A list goes on behind a marker, not from a name.").saying("NotImplemented")
    container, prefix = split_path(call.admission.intent.path)
    asked_for = included(inbound, _SHOWN | _NOTHING)
    number = asked_number(inbound, ENTRIES_MAX)
    limit = min(number or ENTRIES_MAX, call.services.config.limits.list_entries_max)
    delimiter = text_of(inbound, "delimiter")
    page = await page_of(call, Asked(container, prefix, delimiter, limit, None, str), asked_marker(inbound))
    blobs: list[Node] = [("Blob", _members(row, asked_for)) for row in page.rows]
    blobs += [("BlobPrefix", [_name(group)]) for group in page.prefixes]
    members: list[Node] = [
        ("Prefix", prefix or None),
        ("Marker", inbound.parameter("marker") or None),
        ("MaxResults", number),
        ("Delimiter", delimiter or None),
        ("Blobs", blobs),
        ("NextMarker", token_of(page.next_after) if page.next_after is not None else ""),
    ]
    return await asyncio.to_thread(partial(results, call, container, members))  # long ones take long


def _members(row: Listed, asked_for: frozenset[str]) -> list[Node]:
    kept = row.metadata
    md5 = content_md5(row.info)
    with_version = "versions" in asked_for
    properties: list[Node] = [
        ("Creation-Time", http_date(row.info.modified)),
        ("Last-Modified", http_date(row.info.modified)),
        ("Etag", row.etag.strip('"')),
        ("Content-Length", row.size),
        ("Content-Type", kept.content_type or "application/octet-stream"),
        *((name, kept.headers.get(name.lower())) for name in _REPRESENTATION),
        ("Content-MD5", base64.b64encode(md5).decode() if md5 is not None else None),
        ("BlobType", "BlockBlob"),
        ("AccessTier", "Hot"),
        ("AccessTierInferred", True),
        ("LeaseStatus", "unlocked"),
        ("LeaseState", "available"),
        ("ServerEncrypted", False),
    ]
    return [
        _name(row.name),
        ("VersionId", version_id(row.info) if with_version else None),
        ("IsCurrentVersion", True if with_version else None),
        ("Properties", properties),
        ("Metadata", metadata_nodes(kept.user) if "metadata" in asked_for else None),
    ]


def _name(name: str) -> Node:
    """A name that XML would not give back as it is is percent-encoded, and says so."""
    return ("Name", name) if is_carried(name) else (tag("Name", Encoded="true"), quote(name, safe="/"))


# --- what both lists share -----------------------------------------------------------------------------------------


def metadata_nodes(user: Mapping[str, str]) -> Sequence[Node]:
    """Metadata as elements. A name that came by another dialect, and that no element can have, is left out."""
    return [(name, value) for name, value in user.items() if _ELEMENT.fullmatch(name)]


def results(call: Call, container: str, members: Sequence[Node]) -> Reply:
    """The document of a list; `container` is "" for the list of containers."""
    inbound = call.inbound
    account, _ = split_path(inbound.path)
    endpoint = f"{'https' if inbound.tls else 'http'}://{inbound.host}/{account}/"
    attributes = {"ServiceEndpoint": endpoint} | ({"ContainerName": container} if container else {})
    return xml_reply(tag("EnumerationResults", **attributes), members, namespace=False, head=HEAD)


def asked_marker(inbound: Inbound) -> str:
    """The name behind which the list goes on, "" for its beginning. Raises `parameter_invalid`."""
    marker = inbound.parameter("marker")
    if not marker:
        return ""
    try:
        return named_by(marker)
    except Denied:
        raise parameter_invalid("marker", marker, "It is none that a list has given.") from None


def asked_number(inbound: Inbound, most: int) -> int | None:
    """`maxresults`, `most` where it is more; None where it is not given. Raises `parameter_invalid`."""
    text = inbound.parameter("maxresults")
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or int(text) > 2**31 - 1:
        raise parameter_invalid("maxresults", text, "It is not a number.")
    if int(text) < 1:
        raise Denied("parameter_invalid", "`maxresults` is at least 1.").saying(
            "OutOfRangeQueryParameterValue", QueryParameterName="maxresults", QueryParameterValue=text
        )
    return min(int(text), most)


def included(inbound: Inbound, known: frozenset[str]) -> frozenset[str]:
    """What `include` names. Raises `parameter_invalid`, `not_implemented`."""
    values = inbound.parameters("include")
    asked = frozenset(part.strip().lower() for value in values for part in value.split(",") if part.strip())
    for name in asked - known:
        if name in ("uncommittedblobs", "permissions"):
            raise Denied("not_implemented", f"include={name} is not served here.").saying("NotImplemented")
        raise parameter_invalid("include", name)
    return asked
