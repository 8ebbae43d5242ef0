"""CloudFrontCalls: the table of operations that keys of CloudFront open, and what is the same around each of them."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from valetstore.edge.call import Call, Operation
from valetstore.edge.cloudfront import voice
from valetstore.edge.cloudfront.reading import get_object
from valetstore.edge.exchange import Exchange
from valetstore.edge.forms import is_form
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import OnAdmitted, Services
from valetstore.errors import Denied
from valetstore.grants.cloudfront import NAME, Rules
from valetstore.grants.cloudfront.claim import in_cookies, in_query
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.objectkey import split_path

_OPERATIONS: Final[Mapping[str, Operation]] = {"GetObject": get_object, "HeadObject": get_object}
"""All others are refused by the gate: keys of CloudFront read."""


class CloudFrontCalls:
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
        reply.headers.append(("X-Amz-Cf-Id", request_id))
        return reply

    def carries(self, inbound: Inbound) -> bool:
        """Whether a request carries a signed URL of CloudFront's, in whatever state."""
        try:
            return in_query(inbound)
        except Denied:
            return False

    def hints(self, inbound: Inbound) -> bool:
        """Whether signed cookies came, and nothing explicit. With another dialect's form they come by themselves."""
        return in_cookies(inbound) and not is_form(inbound)

    def place(self, inbound: Inbound) -> tuple[str, str]:
        """The bucket that a request names, and the name in it; nothing is checked."""
        return split_path(inbound.path)

    def refusal(self, denied: Denied, inbound: Inbound, request_id: str) -> Reply:
        """A refusal in this dialect's words."""
        return voice.refusal(denied, inbound, request_id)
