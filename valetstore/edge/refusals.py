"""Refusals: what was denied, in the words of the dialect that the request speaks."""

from valetstore.edge.cors import Cors
from valetstore.edge.dialect import Dialects
from valetstore.edge.replies import Reply, problem
from valetstore.errors import Denied
from valetstore.inbound import Inbound


class Refusals:
    """Finds the words. The dialect of a key that was found says so in the refusal's evidence."""

    def __init__(self, cors: Cors, dialects: Dialects) -> None:
        self._cors = cors
        self._dialects = dialects

    def reply(self, denied: Denied, inbound: Inbound | None, request_id: str) -> Reply:
        """The answer to a request that was refused; None for one that has no shape."""
        if inbound is None:
            return problem(denied)
        name = self._cors.answers_as(inbound) or denied.evidence.get("dialect")
        dialect = self._dialects.of(str(name)) if name else self._dialects.spoken(inbound)
        return problem(denied) if dialect is None else dialect.refusal(denied, inbound, request_id)
