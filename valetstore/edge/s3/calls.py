"""S3Calls: the table of S3's operations, and what is the same around each of them."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from valetstore.edge.call import Call, Operation
from valetstore.edge.exchange import Exchange
from valetstore.edge.receive import is_continue
from valetstore.edge.replies import Header, Reply
from valetstore.edge.s3 import (
    attributes,
    bucket_cors,
    buckets,
    copying,
    deletes,
    forms,
    lists,
    multipart,
    multipart_complete,
    multipart_parts,
    reading,
    voice,
    writing,
)
from valetstore.edge.s3.heads import plain_headers
from valetstore.edge.uploading import OnAdmitted, Plan, Services, Stored
from valetstore.errors import Denied
from valetstore.grants import terms
from valetstore.grants.address import bucket_in_host
from valetstore.grants.grant import Admission, Grant
from valetstore.grants.overrides import OVERRIDES
from valetstore.grants.s3 import NAME, v2
from valetstore.grants.s3.claim import PARAMETERS
from valetstore.grants.s3.promote import promoted
from valetstore.grants.s3.rules import Rules
from valetstore.inbound import Inbound
from valetstore.objectkey import split_path
from valetstore.storage.promise import ObjectInfo

_OPERATIONS: Final[Mapping[str, Operation]] = {
    # Objects.
    "GetObject": reading.get_object,
    "HeadObject": reading.head_object,
    "PutObject": writing.put_object,
    "PostObject": forms.post_object,
    "DeleteObject": writing.delete_object,
    "CopyObject": copying.copy_object,
    "GetObjectAttributes": attributes.get_object_attributes,
    # Uploads in parts.
    "CreateMultipartUpload": multipart.create_multipart_upload,
    "UploadPart": multipart_parts.upload_part,
    "UploadPartCopy": multipart_parts.upload_part_copy,
    "CompleteMultipartUpload": multipart_complete.complete_multipart_upload,
    "AbortMultipartUpload": multipart.abort_multipart_upload,
    "ListParts": multipart.list_parts,
    # Many objects.
    "DeleteObjects": deletes.delete_objects,
    "ListObjects": lists.list_objects,
    "ListObjectsV2": lists.list_objects_v2,
    "ListObjectVersions": lists.list_object_versions,
    "ListMultipartUploads": lists.list_multipart_uploads,
    # Buckets.
    "ListBuckets": buckets.list_buckets,
    "CreateBucket": buckets.create_bucket,
    "DeleteBucket": buckets.delete_bucket,
    "HeadBucket": buckets.head_bucket,
    "GetBucketLocation": buckets.get_bucket_location,
    "GetBucketVersioning": buckets.get_bucket_versioning,
    "PutBucketCors": bucket_cors.put_bucket_cors,
    "GetBucketCors": bucket_cors.get_bucket_cors,
    "DeleteBucketCors": bucket_cors.delete_bucket_cors,
}


_READS: Final = frozenset({"GetObject", "HeadObject"})
_OF_THE_KEY: Final = PARAMETERS | v2.PARAMETERS | terms.NAMES | OVERRIDES.keys() | {"x-id"}
"""Names of query parameters, in lower case, of which a read of a whole object may have any (`x-id` says its action)."""


class S3Calls:
    """Answers admitted S3 requests, and refusals of those that were not: see `edge.dialect.Dialect`."""

    name = NAME

    def __init__(self, services: Services, rules: Rules) -> None:
        self._services = services
        self._rules = rules

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted, request_id: str) -> Reply:
        """The reply to an admitted request, by the action of its intent."""
        operation = _OPERATIONS.get(admission.intent.action)
        if operation is None:
            raise Denied("not_implemented").saying("NotImplemented")
        meant = _as_meant(admission.inbound)
        if meant is not admission.inbound:
            admission = msgspec.structs.replace(admission, inbound=meant)
        try:
            refusal = partial(self.refusal, inbound=admission.inbound, request_id=request_id)
            reply = await operation(Call(self._services, exchange, admission, on_admitted, refusal))
        except Denied as denied:
            await self.explain(denied, admission)
            raise
        return _numbered(reply, request_id)

    def is_whole(self, admission: Admission) -> bool:
        """See `Reader`: those whose query has nothing but the key and what the grant says."""
        return admission.intent.action in _READS and admission.inbound.names <= _OF_THE_KEY

    def whole(self, info: ObjectInfo, grant: Grant, request_id: str) -> list[Header]:
        """See `Reader`."""
        return [*plain_headers(info, grant), (voice.REQUEST_ID, request_id)]

    def is_planned(self, admission: Admission) -> bool:
        """See `Planner`: of PutObjects, those that say nothing of it in their query."""
        return admission.intent.action == "PutObject" and _as_meant(admission.inbound) is admission.inbound

    def plan(self, admission: Admission) -> Plan:
        """See `Planner`."""
        return writing.plan_of(admission, self._services.config.limits)

    def stored(self, stored: Stored, request_id: str) -> Reply:
        """See `Planner`."""
        return _numbered(writing.stored_reply(stored), request_id)

    async def explain(self, denied: Denied, admission: Admission) -> None:
        """See `Planner`: whether it is the bucket that is not there."""
        if denied.code == "not_found" and denied.said is None:
            await self._services.store.buckets.one(admission)  # raises `bucket_not_found`

    def carries(self, inbound: Inbound) -> bool:
        """See `Dialect`."""
        return voice.carries(inbound)

    def hints(self, inbound: Inbound) -> bool:
        """See `Dialect`."""
        return voice.hints(inbound)

    def place(self, inbound: Inbound) -> tuple[str, str]:
        """The bucket that a request names, in its Host or its path, and the name in it; nothing is checked.

        Raises `target_invalid`, `object_key_invalid`.
        """
        bucket = bucket_in_host(inbound.host, self._rules)
        return (bucket, inbound.path[1:]) if bucket else split_path(inbound.path)

    def refusal(self, denied: Denied, inbound: Inbound, request_id: str) -> Reply:
        """A refusal as S3's error document."""
        return voice.refusal(denied, inbound, request_id, self._rules)


def _numbered(reply: Reply, request_id: str) -> Reply:
    """With the header that all of S3's answers have."""
    reply.headers.append((voice.REQUEST_ID, request_id))
    return reply


def _as_meant(inbound: Inbound) -> Inbound:
    """With hoisted headers in their place, and without an expectation that S3 passes over, as it does any other's."""
    expected = inbound.header("expect")
    if expected is not None and not is_continue(expected):
        inbound = inbound.without_header(b"expect")
    return promoted(inbound)
