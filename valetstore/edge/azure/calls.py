"""AzureCalls: the table of operations that keys of Azure Blob open, and what is the same around each of them."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from valetstore.edge.azure import (
    block_list,
    blocks,
    committing,
    containers,
    deleting,
    lists,
    properties,
    reading,
    voice,
    writing,
)
from valetstore.edge.call import Call, Operation
from valetstore.edge.exchange import Exchange
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import OnAdmitted, Services
from valetstore.errors import Denied
from valetstore.grants.azure import NAME, Azure, Rules
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.objectkey import split_path

_OPERATIONS: Final[Mapping[str, Operation]] = {
    # Blobs.
    "GetBlob": reading.get_blob,
    "GetBlobProperties": reading.get_blob_properties,
    "GetBlobMetadata": reading.get_blob_metadata,
    "PutBlob": writing.put_blob,
    "SetBlobMetadata": properties.set_blob_metadata,
    "SetBlobProperties": properties.set_blob_properties,
    "DeleteBlob": deleting.delete_blob,
    # Blobs in blocks.
    "PutBlock": blocks.put_block,
    "PutBlockList": committing.put_block_list,
    "GetBlockList": block_list.get_block_list,
    # Containers.
    "ListBlobs": lists.list_blobs,
    "ListContainers": containers.list_containers,
    "CreateContainer": containers.create_container,
    "DeleteContainer": containers.delete_container,
    "GetContainerProperties": containers.get_container_properties,
    "GetContainerMetadata": containers.get_container_metadata,
    "SetContainerMetadata": containers.set_container_metadata,
}


class AzureCalls:
    """Answers admitted requests of Azure's, and refusals of those that were not: see `edge.dialect.Dialect`."""

    name = NAME

    def __init__(self, services: Services, rules: Rules) -> None:
        self._services = services
        self._scheme = Azure(rules)

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted, request_id: str) -> Reply:
        """The reply to an admitted request, by the action of its intent."""
        operation = _OPERATIONS.get(admission.intent.action)
        if operation is None:
            raise Denied("not_implemented").saying("NotImplemented")
        refusal = partial(self.refusal, inbound=admission.inbound, request_id=request_id)
        try:
            reply = await operation(Call(self._services, exchange, admission, on_admitted, refusal))
        except Denied as denied:
            if denied.code == "not_found" and denied.said is None:
                await self._services.store.buckets.one(admission)  # raises `bucket_not_found`
            raise
        reply.headers += voice.common_headers(admission.inbound, request_id)
        return reply

    def carries(self, inbound: Inbound) -> bool:
        """Whether a request carries a key of this dialect, in whatever state."""
        try:
            return bool(self._scheme.recognises(inbound))
        except Denied:  # of a query that cannot be read nobody knows
            return False

    def hints(self, inbound: Inbound) -> bool:
        """See `Dialect`."""
        return voice.hints(inbound)

    def place(self, inbound: Inbound) -> tuple[str, str]:
        """The container that a request names after the account, and the blob in it; nothing is checked.

        Raises `target_invalid`, `object_key_invalid`.
        """
        _account, rest = split_path(inbound.path)
        container, _, blob = rest.partition("/")
        return container, blob

    def refusal(self, denied: Denied, inbound: Inbound, request_id: str) -> Reply:
        """A refusal as Azure's error document."""
        return voice.refusal(denied, inbound, request_id)
