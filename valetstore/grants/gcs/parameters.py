"""The parameters of a URL that are its key's own: each counts once, in whatever case its name is written."""

from collections.abc import Sequence

from valetstore.grants.gcs import fault
from valetstore.inbound import Inbound


def own_of(inbound: Inbound, required: Sequence[str]) -> dict[str, str]:
    """The values of all that are `required`, by lower-case name. Raises `key_malformed` for one twice, or missing."""
    known = {name.lower() for name in required}
    found: dict[str, str] = {}
    for name, value in inbound.query:
        lower = name.lower()
        if lower in known:
            if lower in found:
                raise fault.malformed(name, f"{name} is given more than once.")
            found[lower] = value
    for name in required:
        if not found.get(name.lower()):
            raise fault.malformed(name, f"{name} is missing.")
    return found
