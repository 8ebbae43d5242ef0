"""Containers as things of their own: made, removed, described, listed.

Rule 1: a container is the bucket of its name; what Azure's clients say about it is kept beside it.
Rule 2: a container goes with the blobs in it, as at Azure: each is judged and removed by itself, and a request that
ends half way has removed what it has. What comes in meanwhile stays, and the container with it.
Rule 3: a list of containers shows those that the key opens a part of, and no other.
"""

import asyncio
import re
import time
from functools import partial
from typing import Final

import msgspec

from valetstore.conditions import Conditions, Outcome
from valetstore.edge.azure.bodies import no_body
from valetstore.edge.azure.heads import META_PREFIX, metadata_headers, refuse_unserved, write_conditions
from valetstore.edge.azure.lists import (
    asked_marker,
    asked_number,
    included,
    metadata_nodes,
    results,
)
from valetstore.edge.call import Call
from valetstore.edge.changing import changing
from valetstore.edge.pages import token_of
from valetstore.edge.replies import Header, Reply
from valetstore.edge.served import described, sendable
from valetstore.edge.xml import Node
from valetstore.encoding import http_date
from valetstore.errors import Denied
from valetstore.grants.grant import Intent
from valetstore.objectkey import ObjectKey, split_path
from valetstore.storage.promise import BucketInfo

_SETTING: Final = "azure-container"
_LISTED_MAX: Final = 5_000
"""Azure's limit."""
_EMPTIED_TIMES_MAX: Final = 3
_EMPTIED_AT_ONCE: Final = 16
"""Removals under way at a time: each waits for a disk."""

# Azure's rules for new names: 3 to 63 small letters, digits and single hyphens, that begin and end without one.
_NAME: Final = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*|\$root|\$web", re.ASCII)
_INCLUDES: Final = frozenset({"metadata", "deleted", "system"})


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept beside a container: its metadata, and when that was set (nanoseconds since the epoch)."""

    user: dict[str, str] = {}
    modified_ns: int = 0


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Kept).decode


class Container(msgspec.Struct, frozen=True):
    """One that is there."""

    name: str
    user: dict[str, str]
    modified_ns: int

    @property
    def etag(self) -> str:
        """Quoted. Two states of one container have different ones."""
        return f'"0x{self.modified_ns:X}"'

    @property
    def modified(self) -> int:
        """Whole seconds."""
        return self.modified_ns // 1_000_000_000


async def create_container(call: Call) -> Reply:
    """PUT ?restype=container: 201, or `bucket_exists`."""
    buckets = call.services.store.buckets
    _refuse_unserved(call)
    _check_new_name(split_path(call.admission.intent.path)[0])
    user = _metadata(call)
    await no_body(call)
    async with changing(call):
        if not await buckets.create(call.admission):
            raise Denied("bucket_exists")
        if user:
            await buckets.keep(call.admission, _SETTING, _encode(_Kept(user, time.time_ns())))
    return Reply(201, _validators(await _present(call)))


async def delete_container(call: Call) -> Reply:
    """DELETE ?restype=container: 202; `conflict` where blobs come in as fast as they are removed."""
    _refuse_unserved(call)
    await no_body(call)
    _check_conditions(call, await _present(call))
    async with changing(call):
        for _ in range(_EMPTIED_TIMES_MAX):
            await _empty(call)
            try:
                await call.services.store.buckets.delete(call.admission)
            except Denied as denied:
                if denied.code != "conflict":
                    raise
            else:
                return Reply(202)
        raise Denied("conflict").saying("ContainerBeingDeleted", "Blobs are written to the container: try again.")


async def _empty(call: Call) -> None:
    """Remove all blobs of the container; of one that came in behind the list's place the next time."""
    store, bucket = call.services.store, split_path(call.admission.intent.path)[0]
    after: str | None = ""
    while after is not None:
        page = await store.list(call.admission, "", after, call.services.config.limits.list_entries_max)
        for start in range(0, len(page.rows), _EMPTIED_AT_ONCE):
            rows = page.rows[start : start + _EMPTIED_AT_ONCE]
            await asyncio.gather(*(_remove(call, ObjectKey.of(bucket, row.name)) for row in rows))
        after = page.next_after


async def _remove(call: Call, key: ObjectKey) -> None:
    services, intent = call.services, Intent("delete", key.path, key, action=call.admission.intent.action)
    admission = services.gateway.extend(call.admission, intent)
    await services.store.delete(admission, Conditions(), partial(services.recheck, admission))


async def get_container_properties(call: Call) -> Reply:
    """GET or HEAD ?restype=container: what is known of it, without a body."""
    _refuse_leases(call)
    found = await _present(call)
    await call.services.gateway.claim(call.admission, time.time)
    return Reply(
        200,
        [
            *_validators(found),
            *_user_headers(found),
            ("x-ms-lease-status", "unlocked"),
            ("x-ms-lease-state", "available"),
            ("x-ms-has-immutability-policy", "false"),
            ("x-ms-has-legal-hold", "false"),
        ],
    )


async def get_container_metadata(call: Call) -> Reply:
    """GET or HEAD ?restype=container&comp=metadata: its metadata alone."""
    _refuse_leases(call)
    found = await _present(call)
    await call.services.gateway.claim(call.admission, time.time)
    return Reply(200, [*_validators(found), *_user_headers(found)])


async def set_container_metadata(call: Call) -> Reply:
    """PUT ?restype=container&comp=metadata: these, in place of all that there were."""
    _refuse_unserved(call)
    user = _metadata(call)
    await no_body(call)
    _check_conditions(call, await _present(call))
    async with changing(call):
        await call.services.store.buckets.keep(call.admission, _SETTING, _encode(_Kept(user, time.time_ns())))
    return Reply(200, _validators(await _present(call)))


async def list_containers(call: Call) -> Reply:
    """GET ?comp=list on the account: the containers that the key opens a part of, by name, a page at a time."""
    inbound = call.inbound
    prefix, after = inbound.parameter("prefix") or "", asked_marker(inbound)
    limit = asked_number(inbound, _LISTED_MAX)
    with_metadata = "metadata" in included(inbound, _INCLUDES)
    found = await call.services.store.buckets.all(call.admission)
    shown = [info for info in found if info.name.startswith(prefix) and info.name > after and _opens(call, info)]
    page = shown[: limit or _LISTED_MAX]
    rows: list[Node] = [("Container", _members(_container(call, info), with_metadata)) for info in page]
    await call.services.gateway.claim(call.admission, time.time)
    return results(
        call,
        "",
        [
            ("Prefix", prefix or None),
            ("Marker", inbound.parameter("marker") or None),
            ("MaxResults", limit),
            ("Containers", rows),
            ("NextMarker", token_of(page[-1].name) if len(shown) > len(page) else ""),
        ],
    )


def _members(container: Container, with_metadata: bool) -> list[Node]:
    properties: list[Node] = [
        ("Last-Modified", http_date(container.modified)),
        ("Etag", container.etag),
        ("LeaseStatus", "unlocked"),
        ("LeaseState", "available"),
        ("HasImmutabilityPolicy", False),
        ("HasLegalHold", False),
    ]
    metadata = metadata_nodes(container.user) if with_metadata else None
    return [("Name", container.name), ("Properties", properties), ("Metadata", metadata)]


async def _present(call: Call) -> Container:
    """Raises `bucket_not_found`."""
    info = await call.services.store.buckets.one(call.admission)
    return _container(call, info)


def _container(call: Call, info: BucketInfo) -> Container:
    raw = call.services.store.buckets.setting_now(info.name, _SETTING)
    kept = _decode(raw) if raw is not None else _Kept()
    return Container(info.name, kept.user, kept.modified_ns or info.created_ns)


def _opens(call: Call, info: BucketInfo) -> bool:
    """Whether the key opens some of a container."""
    admission = call.admission
    try:
        place = Intent("list", f"/{info.name}/", action=admission.intent.action, partly=True)
        call.services.gateway.extend(admission, place)
    except Denied:
        return False
    return True


def _metadata(call: Call) -> dict[str, str]:
    """Raises `metadata_too_large`, `parameter_invalid`."""
    user = metadata_headers(call.inbound)
    described(None, {}, user)  # as large as a blob's may be
    return user


def _validators(container: Container) -> list[Header]:
    return [("ETag", container.etag), ("Last-Modified", http_date(container.modified))]


def _user_headers(container: Container) -> list[Header]:
    return [(META_PREFIX + name, sendable(value)) for name, value in container.user.items()]


def _check_new_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Denied("parameter_invalid", "Azure lets no container have this name.").saying("InvalidResourceName")


def _check_conditions(call: Call, container: Container) -> None:
    """Raises `precondition_failed`."""
    conditions = write_conditions(call.inbound)
    if conditions.judge(container.etag, container.modified, is_read=False) is not Outcome.PROCEED:
        raise Denied("precondition_failed")


def _refuse_unserved(call: Call) -> None:
    _refuse_leases(call)
    refuse_unserved(call.inbound)
    if call.inbound.header("x-ms-blob-public-access") is not None:
        said = "Public access is not permitted on this storage account."
        raise Denied("operation_not_allowed", said).saying("PublicAccessNotPermitted", said, 409)


def _refuse_leases(call: Call) -> None:
    if call.inbound.header("x-ms-lease-id") is not None:
        raise Denied("precondition_failed", "There are no leases here.").saying("LeaseNotPresentWithContainerOperation")
