"""GcsCalls: the table of operations of Google Cloud Storage, and what is the same around each of them."""

from collections.abc import Mapping
from functools import partial

from valetstore.edge.call import Call, Operation
from valetstore.edge.exchange import Exchange
from valetstore.edge.gcs import forms, lists, reading, resumable, voice, writing
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import OnAdmitted, Services
from valetstore.errors import Denied
from valetstore.grants.address import bucket_in_host
from valetstore.grants.gcs import NAME, Rules
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.objectkey import split_path


class GcsCalls:
    """See `edge.dialect.Dialect`."""

    name = NAME

    def __init__(self, services: Services, rules: Rules) -> None:
        self._services = services
        self._rules = rules
        self._operations: Mapping[str, Operation] = {
            "GetObject": reading.get_object,
            "HeadObject": reading.get_object,
            "PutObject": writing.put_object,
            "PostObject": forms.post_object,
            "DeleteObject": writing.delete_object,
            "ListObjects": lists.list_objects,
            # A resumable session: begun, fed and asked about, given up.
            "StartResumable": partial(resumable.start_resumable, rules),
            "PutChunk": resumable.put_chunk,
            "CancelResumable": resumable.cancel_resumable,
        }

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted, request_id: str) -> Reply:
        """The reply to an admitted request, by the action of its intent."""
        operation = self._operations.get(admission.intent.action)
        if operation is None:
            raise Denied("not_implemented").saying("NotImplemented")
        refusal = partial(self.refusal, inbound=admission.inbound, request_id=request_id)
        try:
            return await operation(Call(self._services, exchange, admission, on_admitted, refusal))
        except Denied as denied:
            if denied.code == "not_found" and denied.said is None:
                await self._services.store.buckets.one(admission)  # raises `bucket_not_found`
            raise

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
        """A refusal as Google's error document."""
        return voice.refusal(denied, inbound, request_id)
