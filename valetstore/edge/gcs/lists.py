"""ListObjects: a page of a bucket, in the first version (by marker) or the second (by token).

Rule 1: it is S3's document with Google's members: a generation with each object.
Source: Google Cloud, XML API, "List objects".
"""

from collections.abc import Sequence
from typing import Final

from valetstore.edge.call import Call
from valetstore.edge.gcs.generations import METAGENERATION, generation_of
from valetstore.edge.gcs.voice import CONTENT_TYPE, HEAD
from valetstore.edge.nodes import argument_invalid, instant
from valetstore.edge.pages import Asked, asked_of, common_prefixes, named_by, page_of, token_of
from valetstore.edge.replies import Reply
from valetstore.edge.xml import Node, document
from valetstore.storage.promise import Listed

NAMESPACE: Final = "http://doc.s3.amazonaws.com/2006-03-01"


async def list_objects(call: Call) -> Reply:
    """GET of a bucket."""
    list_type = call.inbound.parameter("list-type")
    if list_type not in (None, "", "1", "2"):
        raise argument_invalid("There are the versions 1 and 2.", "list-type", str(list_type))
    return await (_second(call) if list_type == "2" else _first(call))


async def _first(call: Call) -> Reply:
    asked = asked_of(call)
    marker = call.inbound.parameter("marker") or ""
    page = await page_of(call, asked, marker)
    return _reply(
        [
            ("Name", asked.bucket),
            ("Prefix", asked.coded(asked.prefix)),
            ("Marker", asked.coded(marker)),
            # Unlike S3, Google gives it without a delimiter as well.
            ("NextMarker", asked.coded(page.next_after) if page.next_after is not None else None),
            *asked.shared(),
            ("IsTruncated", page.next_after is not None),
            *(("Contents", _contents(row, asked)) for row in page.rows),
            *common_prefixes(page.prefixes, asked),
        ]
    )


async def _second(call: Call) -> Reply:
    inbound, asked = call.inbound, asked_of(call)
    token, start_after = inbound.parameter("continuation-token"), inbound.parameter("start-after")
    page = await page_of(call, asked, named_by(token) if token else start_after or "")
    return _reply(
        [
            ("Name", asked.bucket),
            ("Prefix", asked.coded(asked.prefix)),
            ("ContinuationToken", token),
            ("NextContinuationToken", token_of(page.next_after) if page.next_after is not None else None),
            ("StartAfter", asked.coded(start_after) if start_after else None),
            ("KeyCount", len(page.rows) + len(page.prefixes)),
            *asked.shared(),
            ("IsTruncated", page.next_after is not None),
            *(("Contents", _contents(row, asked)) for row in page.rows),
            *common_prefixes(page.prefixes, asked),
        ]
    )


def _reply(members: Sequence[Node]) -> Reply:
    text = document("ListBucketResult", members, namespace=NAMESPACE, head=HEAD)
    return Reply(200, [("Content-Type", CONTENT_TYPE)], text)


def _contents(row: Listed, asked: Asked) -> list[Node]:
    return [
        ("Key", asked.coded(row.name)),
        ("Generation", generation_of(row.modified_ns)),
        ("MetaGeneration", METAGENERATION),
        ("LastModified", instant(row.modified_ns)),
        ("ETag", row.etag),
        ("Size", row.size),
        ("StorageClass", "STANDARD"),
    ]
