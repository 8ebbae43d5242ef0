"""About: what was found out about a vendor's key, in a shape that `inspect` can put whatever the vendor."""

from collections.abc import Iterator
from typing import Protocol

from valetstore.errors import Denied, Saying
from valetstore.inbound import Inbound
from valetstore.units import show_duration


class About(Protocol):
    """One vendor's key: what it says, how its vendor puts a refusal, why it does not hold, how to mend that."""

    @property
    def scheme(self) -> str:
        """Whose it is, as `--scheme` has it."""

    def says(self, inbound: Inbound) -> Iterator[str]:
        """One line for each thing that the key says; `inbound` is the request that it is judged with."""

    def ends_early(self, not_after: float, now: float) -> Iterator[str]:
        """A line where it says more than what it is made with allows."""

    def own_uses(self) -> int | None:
        """How often the key itself says that it opens."""

    def vendors(self, denied: Denied, inbound: Inbound) -> Saying:
        """The code and status that the gateway answers this vendor's clients with."""

    def why(self, denied: Denied | None) -> Iterator[str]:
        """What keeps it from holding, and what its maker may not know."""

    def mend(self, denied: Denied) -> str:
        """How to mend a refusal that the vendor has a word of its own for; "" for any other."""

    def as_json(self) -> dict[str, object]:
        """What it says and why it does not hold, for a program."""


def told(about: About, denied: Denied, inbound: Inbound) -> str:
    """A refusal as the client met it, with the code of ours that the audit has."""
    said = about.vendors(denied, inbound)
    return f"{said.code} ({said.status}; {denied.code})"


def distance(moment: float, now: float) -> str:
    """How far that is from now, in words."""
    seconds = moment - now
    return f"{show_duration(seconds)} from now" if seconds > 0 else f"{show_duration(-seconds)} ago"
