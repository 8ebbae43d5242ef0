"""SwiftCalls: the table of operations that keys of OpenStack Swift open, and what is the same around each of them."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from valetstore.edge.call import Call, Operation
from valetstore.edge.exchange import Exchange
from valetstore.edge.replies import Reply
from valetstore.edge.swift import forms, reading, voice, writing
from valetstore.edge.uploading import OnAdmitted, Services
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.grants.swift import NAME, Rules
from valetstore.grants.swift.address import place_of
from valetstore.grants.swift.formpost import ACTION
from valetstore.inbound import Inbound
from valetstore.objectkey import split_path

_OPERATIONS: Final[Mapping[str, Operation]] = {
    "GetObject": reading.get_object,
    "HeadObject": reading.get_object,
    "PutObject": writing.put_object,
    "PostObject": writing.post_object,
    "DeleteObject": writing.delete_object,
    ACTION: forms.post_form,
}


class SwiftCalls:
    """See `edge.dialect.Dialect`."""

    name = NAME

    def __init__(self, services: Services, rules: Rules) -> None:
        self._services = services
        self._rules = rules

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted, request_id: str) -> Reply:
        """The reply to an admitted request, by the action of its intent."""
        operation = _OPERATIONS.get(admission.intent.action)
        if operation is None:
            raise Denied("not_implemented")
        refusal = partial(self.refusal, inbound=admission.inbound, request_id=request_id)
        reply = await operation(Call(self._services, exchange, admission, on_admitted, refusal))
        reply.headers += voice.traced(request_id)
        return reply

    def carries(self, inbound: Inbound) -> bool:
        """Whether a request carries a key of this dialect, in whatever state."""
        return voice.carries(inbound)

    def hints(self, inbound: Inbound) -> bool:
        """Whether a request without any key comes from a client of this dialect."""
        return voice.hints(inbound)

    def place(self, inbound: Inbound) -> tuple[str, str]:
        """The bucket that a request names, and the name in it; nothing is checked."""
        place = place_of(inbound)
        return split_path(inbound.path) if place is None else (place.container, place.name)

    def refusal(self, denied: Denied, inbound: Inbound, request_id: str) -> Reply:
        """A refusal in this dialect's words."""
        return voice.refusal(denied, inbound, request_id)
