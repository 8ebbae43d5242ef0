"""CopyObject, and how the source of any copy is named, allowed and opened.

Rule 1: a source's name is decoded once, as a path is, and the key must open it as it would a GET of it.
Rule 2: what the key asks of an upload (length, type, create-only) it asks of a copy: it is the source that has them.
"""

from typing import Final, NamedTuple

import msgspec

from valetstore.conditions import Conditions, Outcome
from valetstore.edge.call import Call
from valetstore.edge.nodes import argument_invalid, instant
from valetstore.edge.replies import Reply
from valetstore.edge.s3 import bodies
from valetstore.edge.s3.checksums import asked_algorithm, kind_of, known, member_of, text_of
from valetstore.edge.s3.heads import UNTYPED, metadata_of, refuse_unserved, write_conditions
from valetstore.edge.s3.waiting import answered_in_time
from valetstore.edge.s3.writing import refuse_unmet
from valetstore.edge.uploading import keep
from valetstore.edge.xml import Node, xml_reply
from valetstore.encoding import percent_decode, split_query
from valetstore.errors import Denied
from valetstore.grants.grant import Admission, Intent
from valetstore.inbound import Inbound
from valetstore.objectkey import ObjectKey
from valetstore.policy.body import BodyRules
from valetstore.policy.request import enforce_content
from valetstore.storage.promise import MD5, Checksum, Metadata, OpenObject

SOURCE: Final = "x-amz-copy-source"
_IF: Final = f"{SOURCE}-"
_NAMELESS: Final = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
_ITSELF: Final = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
    "metadata, storage class, website redirect location or encryption attributes."
)


class _Plan(NamedTuple):
    """What is to be made of the source: all that could be refused has been."""

    metadata: Metadata
    algorithm: str
    conditions: Conditions


async def copy_object(call: Call) -> Reply:
    """One object as another. A long copy begins its answer before it is done."""
    refuse_unserved(call.inbound)
    part = call.inbound.header("range")
    if part is not None:
        raise argument_invalid("RANGE is not supported in Copy!", "Range", part)
    await bodies.empty(call)
    opened = await open_source(call)
    try:
        plan = await _planned(call, opened)
    except BaseException:
        opened.close()
        raise
    return await answered_in_time(call, _carried_out(call, opened, plan))


async def open_source(call: Call) -> OpenObject:
    """The object that is copied from; its own conditions hold. Whoever asked closes it.

    Raises what a GET of it would, and `precondition_failed`.
    """
    key = source_of(call.inbound)
    reading = call.services.gateway.extend(call.admission, Intent("read", key.path, key, action="GetObject"))
    opened = await _opened(call, reading)
    try:
        _check_source_conditions(call.inbound, opened)
    except BaseException:
        opened.close()
        raise
    return opened


def source_of(inbound: Inbound) -> ObjectKey:
    """x-amz-copy-source: `bucket/name`, percent-encoded, a slash before it or not. Raises `parameter_invalid`."""
    values = inbound.header_values(SOURCE)
    text = values[0] if values else ""
    path, _, query = text.encode("latin-1").partition(b"?")
    if b" ".join(path.split()) != path:
        # SigV4 signs any run of white space as one: written raw, it could be another object's name.
        raise argument_invalid("Copy Source must be URL encoded: it has a run of white space.", SOURCE, text)
    path = path.replace(b"+", b"%20")  # as Amazon reads it; s5cmd writes a space so
    try:
        key = ObjectKey.parse(f"/{percent_decode(path).removeprefix('/')}")
        parameters = dict(split_query(query))
    except (Denied, ValueError):
        raise argument_invalid(_NAMELESS, SOURCE, text) from None
    version = parameters.pop("versionId", "null")
    if len(values) != 1 or parameters:
        raise argument_invalid(_NAMELESS, SOURCE, text)
    if version != "null":
        raise Denied("not_found", "There is no such version.").saying("NoSuchVersion", Key=key.name, VersionId=version)
    return key


async def _opened(call: Call, reading: Admission) -> OpenObject:
    store, key = call.services.store, reading.key
    try:
        return await store.open(reading)
    except Denied as denied:
        if denied.code != "not_found":
            raise
    try:
        await store.buckets.one(reading)
    except Denied as denied:
        raise denied.saying("NoSuchBucket", BucketName=key.bucket) from None
    raise Denied("not_found").saying("NoSuchKey", Key=key.name)


def _check_source_conditions(inbound: Inbound, opened: OpenObject) -> None:
    conditions, info = Conditions.of(inbound, _IF, bare_tags=True), opened.info
    if conditions.judge(info.etag, info.modified, is_read=True) is Outcome.PROCEED:
        return
    kinds = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since")
    named = next((_IF + kind for kind in kinds if inbound.header(_IF + kind) is not None), _IF)
    raise Denied("precondition_failed").saying("PreconditionFailed", Condition=named)


async def _planned(call: Call, opened: OpenObject) -> _Plan:
    inbound, grant, source = call.inbound, call.admission.grant, opened.info
    is_replaced = _is_replaced(inbound)
    if not is_replaced and source_of(inbound) == call.admission.key:
        raise Denied("parameter_invalid", _ITSELF).saying("InvalidRequest", _ITSELF)
    metadata = metadata_of(inbound) if is_replaced else source.metadata
    metadata = msgspec.structs.replace(
        metadata, content_type=metadata.content_type or UNTYPED, md5_etag=True, checksum=None, upload=""
    )
    limits = BodyRules.of(call.admission, call.services.config.limits.upload_bytes_max)
    limits.check_so_far(source.size)
    key = call.admission.key
    wanted = Intent("write", key.path, key, length=source.size, content_type=metadata.content_type)
    enforce_content(grant, wanted, inbound)
    kept = known(source.metadata.checksum)
    algorithm = asked_algorithm(inbound) or (kept.algorithm if kept else "")
    conditions = write_conditions(inbound)
    await refuse_unmet(call, conditions)
    return _Plan(metadata, algorithm, conditions)


def _is_replaced(inbound: Inbound) -> bool:
    for name in ("x-amz-metadata-directive", "x-amz-tagging-directive"):
        value = inbound.header(name)
        if value not in (None, "COPY", "REPLACE"):
            kind = name.split("-")[2]
            raise argument_invalid(f"Unknown {kind} directive.", name, str(value))
    return inbound.header("x-amz-metadata-directive") == "REPLACE"


async def _carried_out(call: Call, opened: OpenObject, plan: _Plan) -> Reply:
    services, admission = call.services, call.admission
    wanted = frozenset({MD5, plan.algorithm}) - {""}
    try:
        async with services.lease(admission) as lease:
            call.on_admitted()
            upload = await lease.during(services.store.copy(admission, opened, None, wanted))
            try:
                digests = await lease.during(upload.finish())
                checksum = Checksum(plan.algorithm, text_of(digests[plan.algorithm])) if plan.algorithm else None
                metadata = msgspec.structs.replace(plan.metadata, checksum=checksum)
                create_only = admission.grant.create_only
                stored = await keep(
                    services, admission, lease, upload, metadata, plan.conditions, create_only=create_only
                )
            finally:
                await upload.abort()
    finally:
        opened.close()
    members: list[Node] = [("LastModified", instant(stored.info.modified_ns)), ("ETag", stored.info.etag)]
    if checksum is not None:
        members += [("ChecksumType", kind_of(checksum)), (member_of(checksum.algorithm), checksum.value)]
    return xml_reply("CopyObjectResult", members)
