"""Put Blob: one body as one block blob."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from valetstore.edge.azure.digests import Promised, md5_header
from valetstore.edge.azure.discarding import discard_blocks
from valetstore.edge.azure.heads import (
    changed_headers,
    metadata_of,
    refuse_unserved,
    refuse_versions,
    with_md5,
    write_conditions,
)
from valetstore.edge.azure.voice import header_invalid, header_missing
from valetstore.edge.call import Call
from valetstore.edge.receive import BodySource
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import Incoming, refuse_early, take_in
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import MD5, Metadata

BLOB_TYPE: Final = "x-ms-blob-type"


async def put_blob(call: Call) -> Reply:
    """One body as one blob; its MD5 is its entity tag."""
    inbound, admission, services = call.inbound, call.admission, call.services
    _check_type(inbound)
    refuse_unserved(inbound)
    refuse_versions(inbound)
    proof = Promised(inbound)
    rules = BodyRules.of(admission, services.config.limits.upload_bytes_max)
    metadata = with_md5(metadata_of(inbound, is_plain=True))
    conditions = write_conditions(inbound)
    await refuse_early(services.store, admission, conditions)
    digests: dict[str, bytes] = {}

    def describe(found: Mapping[str, bytes], _trailers: Mapping[str, str]) -> Metadata:
        proof.check(found)
        digests.update(found)
        return metadata

    length = admission.intent.length
    incoming = Incoming(
        BodySource(call.exchange, length, admission.body),
        rules,
        partial(services.store.begin, admission, length, rules.hashes | proof.hashes | {MD5}),
        describe,
        conditions,
        admission.grant.create_only,
    )
    stored = await take_in(services, call.exchange, admission, incoming, call.on_admitted)
    await discard_blocks(call)
    headers = [*changed_headers(stored.info), *md5_header("Content-MD5", digests[MD5])]
    return Reply(201, [*headers, *proof.told()])


def _check_type(inbound: Inbound) -> None:
    kind = inbound.header(BLOB_TYPE)
    if kind is None:
        raise header_missing(BLOB_TYPE)
    if kind in ("AppendBlob", "PageBlob"):
        said = f"{kind} is not implemented here: block blobs are."
        raise Denied("not_implemented", said).saying("NotImplemented", said, HeaderName=BLOB_TYPE)
    if kind != "BlockBlob":
        raise header_invalid(BLOB_TYPE, kind)
