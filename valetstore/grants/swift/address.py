"""Where a request of Swift's goes: an account, a container, a name in it. A container is a bucket of the same name.

Rule 1: the path is split after it was decoded, as Swift splits it; what is signed is the same decoded text.
Rule 2: which POSTs are forms is said here once, for all who must agree on it, by the raw path.

Source: OpenStack Swift, Object Storage API reference.
"""

import re
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.inbound import Inbound

VERSION: Final = "v1"

# An account and a container; what follows is what the names of a form's files begin with.
_FORM_PATH: Final = re.compile(rb"/v1/[^/]+/[^/]")


class Place(NamedTuple):
    """What a path names: "" for what it leaves out. Nothing is checked but the version."""

    account: str
    container: str
    name: str

    @property
    def path(self) -> str:
        """`/container/name`: the form that scopes are compared with."""
        return f"/{self.container}/{self.name}"


def place_of(inbound: Inbound) -> Place | None:
    """Where a request goes; None where its path is none of Swift's. Raises `target_invalid`, `object_key_invalid`."""
    return place_in(inbound.path)


def place_in(path: str) -> Place | None:
    """The same of a decoded path."""
    parts = path.split("/", 4)
    if len(parts) < 3 or parts[0] or parts[1] != VERSION or not parts[2]:
        return None
    account, container, name = (*parts[2:], "", "")[:3]
    return Place(account, container, name)


def path_of(account: str, path: str) -> str:
    """The decoded path that a client asks for: `/container/name` in an account."""
    return f"/{VERSION}/{account}{path}"


def is_form_path(inbound: Inbound) -> bool:
    """Whether a multipart/form-data body that is posted there is a form of Swift's. Never raises."""
    # What is signed in a query is another request's business: a TempURL's POST, Google's resumable upload.
    return _FORM_PATH.match(inbound.raw_path) is not None and not inbound.raw_query


def not_an_object() -> Denied:
    """The refusal of a path that no TempURL can be for."""
    return Denied("path_not_allowed", "A TempURL opens one object, /v1/account/container/name; none lists a container.")
