"""Dialect: what the edge asks of every vendor's dialect; Dialects: which of them a request speaks.

Rule: the key that came says which dialect a request speaks, and so how a refusal is put. Only where none came do a
client's other habits count.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from valetstore.edge.exchange import Exchange
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import OnAdmitted
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.objectkey import RESERVED_BUCKET

_NATIVE_PARAMETER: Final = "valet"


class Dialect(Protocol):
    """One vendor's operations and words. Nothing but `answer` and `place` may raise."""

    name: str

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted, request_id: str) -> Reply:
        """The reply to an admitted request, by the action of its intent. Raises Denied."""

    def carries(self, inbound: Inbound) -> bool:
        """Whether a request carries a key of this dialect, in whatever state."""

    def hints(self, inbound: Inbound) -> bool:
        """Whether a request without any key comes from a client of this dialect."""

    def place(self, inbound: Inbound) -> tuple[str, str]:
        """The bucket that a request names, and the name in it; nothing is checked.

        Raises `target_invalid`, `object_key_invalid`.
        """

    def refusal(self, denied: Denied, inbound: Inbound, request_id: str) -> Reply:
        """A refusal in this dialect's words."""


class Dialects:
    """All of them but our own; `usual` is the one by whose addresses a request is read that speaks none."""

    def __init__(self, usual: Dialect, others: Sequence[Dialect]) -> None:
        self._usual = usual
        # The usual one last: its hints (any form, any POST to a bucket) are the widest.
        self._all = (*others, usual)
        self._by_name = {dialect.name: dialect for dialect in self._all}

    def of(self, scheme: str) -> Dialect | None:
        """The dialect that keys of this scheme belong to; None for our own."""
        return self._by_name.get(scheme)

    def spoken(self, inbound: Inbound) -> Dialect | None:
        """The dialect that a request speaks, admitted or not; None where it is our own."""
        if inbound.raw_path.startswith(f"/{RESERVED_BUCKET}/".encode()):
            return None
        for dialect in self._all:
            if dialect.carries(inbound):
                return dialect
        if _is_native(inbound):
            return None
        return next((dialect for dialect in self._all if dialect.hints(inbound)), None)

    def place(self, inbound: Inbound) -> tuple[str, str]:
        """The bucket that a request names, by the dialect that it speaks. Raises as `Dialect.place`."""
        return (self.spoken(inbound) or self._usual).place(inbound)


def query_of(inbound: Inbound) -> dict[str, str]:
    """Parameters by lower-case name, the last of each; none where the query cannot be read."""
    try:
        return {name.lower(): value for name, value in inbound.query}
    except Denied:
        return {}


def _is_native(inbound: Inbound) -> bool:
    """Whether a key of our own came."""
    return _NATIVE_PARAMETER in query_of(inbound) or any(
        value.lower().startswith("bearer ") for value in inbound.header_values("authorization")
    )
