"""Call: one admitted request of a vendor's dialect, as its operation works with it."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from valetstore.edge.exchange import Exchange
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import OnAdmitted, Services
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound


class Call(NamedTuple):
    """`admission.inbound` is the request as its dialect means it: S3's has its hoisted parameters among the headers.

    `on_admitted` is called before a body is asked for, and before anything is done that cannot be taken back.
    `refusal` puts a refusal into the dialect's words, for an answer that has begun before the work was done.
    """

    services: Services
    exchange: Exchange
    admission: Admission
    on_admitted: OnAdmitted
    refusal: Callable[[Denied], Reply]

    @property
    def inbound(self) -> Inbound:
        """The request's facts."""
        return self.admission.inbound


Operation = Callable[[Call], Awaitable[Reply]]
"""One operation: a call in, a reply out. Raises Denied."""
