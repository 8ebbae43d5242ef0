"""DeleteObjects: up to a thousand objects by one document; what became of each is told of each.

Rule 1: the key must open every object by itself; what it does not open stays, and nothing is told of it.
Rule 2: every delete is one step of its own: the request may end half way, with what was told and no more.
Source: S3's API reference.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from valetstore.edge.call import Call
from valetstore.edge.changing import changing
from valetstore.edge.replies import Reply
from valetstore.edge.s3.bodies import small
from valetstore.edge.s3.buckets import bucket_of
from valetstore.edge.s3.changes import require_digest
from valetstore.edge.s3.heads import refuse_unserved
from valetstore.edge.s3.removing import Wanted, bound, seconds_of
from valetstore.edge.s3.voice import saying_of
from valetstore.edge.xml import Node, malformed, parsed, xml_reply
from valetstore.errors import Denied
from valetstore.grants.grant import Intent
from valetstore.objectkey import KEY_BYTES_MAX, ObjectKey

KEYS_MAX: Final = 1000
_BYTES_MAX: Final = 4 * 2**20
_AT_ONCE: Final = 16
"""Deletes under way at a time: each waits for a disk."""
_NULL: Final = "null"
_MEMBERS: Final = frozenset({"Key", "VersionId", "ETag", "LastModifiedTime", "Size"})


class _Entry(NamedTuple):
    """One object to delete, and what it must be."""

    name: str
    version: str | None
    wanted: Wanted


async def delete_objects(call: Call) -> Reply:
    """Delete what the document names; one that is missing is deleted."""
    refuse_unserved(call.inbound)
    require_digest(call.inbound)
    call.on_admitted()
    entries, quiet = await asyncio.to_thread(_asked, await small(call, _BYTES_MAX))
    await call.services.store.buckets.one(call.admission)
    told: list[Node] = []
    async with changing(call):
        for start in range(0, len(entries), _AT_ONCE):
            told += await asyncio.gather(*(_deleted(call, entry) for entry in entries[start : start + _AT_ONCE]))
    return xml_reply("DeleteResult", [node for node in told if not quiet or node[0] == "Error"])


async def _deleted(call: Call, entry: _Entry) -> Node:
    """Delete one; what is told of it."""
    about: list[Node] = [("Key", entry.name), ("VersionId", entry.version)]
    try:
        await _delete(call, entry)
    except Denied as denied:
        said = saying_of(denied, call.inbound)
        return ("Error", [*about, ("Code", said.code), ("Message", said.message)])
    return ("Deleted", about)


async def _delete(call: Call, entry: _Entry) -> None:
    if len(entry.name.encode()) > KEY_BYTES_MAX:
        raise Denied("object_key_invalid").saying("KeyTooLongError")
    key = ObjectKey.of(bucket_of(call), entry.name)
    intent = Intent("delete", key.path, key, action=call.admission.intent.action)
    admission = call.services.gateway.extend(call.admission, intent)
    if entry.version not in (None, _NULL):
        raise Denied("not_found", "There is no such version.").saying("NoSuchVersion")
    try:
        conditions = await bound(call.services.store, admission, entry.wanted)
        await call.services.store.delete(admission, conditions, partial(call.services.recheck, admission))
    except Denied as denied:
        if denied.code != "not_found":
            raise


# --- the document --------------------------------------------------------------------------------------------------


def _asked(body: bytes) -> tuple[Sequence[_Entry], bool]:
    """The objects of a document, and whether only errors are to be told. Raises `parameter_invalid`."""
    tree = parsed(body, "Delete")
    if any(child.tag not in ("Object", "Quiet") for child in tree):
        raise malformed("it holds objects, and whether to be quiet")
    entries = [_entry(child) for child in tree if child.tag == "Object"]
    if not 1 <= len(entries) <= KEYS_MAX:
        raise malformed(f"it names 1 to {KEYS_MAX} objects")
    quiet = [(child.text or "").strip().lower() for child in tree if child.tag == "Quiet"]
    return entries, quiet[-1:] == ["true"]


def _entry(element: Element) -> _Entry:
    members = {child.tag: child.text or "" for child in element}
    if len(members) != len(element) or not members.keys() <= _MEMBERS or not members.get("Key"):
        raise malformed("an object has a key, and each member once")
    size, modified = members.get("Size"), members.get("LastModifiedTime")
    if size is not None and not (size.isascii() and size.isdecimal() and len(size) <= 19):
        raise malformed("a size is a number of bytes")
    return _Entry(
        members["Key"],
        members.get("VersionId") or None,
        Wanted(
            members.get("ETag") or None,
            None if size is None else int(size),
            None if modified is None else _seconds(modified),
        ),
    )


def _seconds(text: str) -> int:
    try:
        return seconds_of(text)
    except (ValueError, OverflowError):
        raise malformed("a date is none") from None
