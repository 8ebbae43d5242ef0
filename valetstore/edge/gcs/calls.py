"""GcsCalls: the table of operations of Google Cloud Storage, and what is the same around each of them."""

from valetstore.edge.exchange import Exchange
from valetstore.edge.replies import Reply, problem
from valetstore.edge.uploading import OnAdmitted, Services
from valetstore.errors import Denied
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

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted, request_id: str) -> Reply:
        """The reply to an admitted request, by the action of its intent."""
        raise Denied("not_implemented")

    def carries(self, inbound: Inbound) -> bool:
        """Whether a request carries a key of this dialect, in whatever state."""
        return False

    def hints(self, inbound: Inbound) -> bool:
        """Whether a request without any key comes from a client of this dialect."""
        return False

    def place(self, inbound: Inbound) -> tuple[str, str]:
        """The bucket that a request names, and the name in it; nothing is checked."""
        return split_path(inbound.path)

    def refusal(self, denied: Denied, inbound: Inbound, request_id: str) -> Reply:
        """A refusal in this dialect's words."""
        return problem(denied)
