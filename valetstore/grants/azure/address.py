"""Where a request of Azure's points: `/account/container/blob`, as its emulators and path-style clients have it.

Rule 1: the account is not part of any scope: a container is the bucket of the same name, whoever's signing key it is.
Rule 2: the name is the path decoded once. Nobody here normalises it.
"""

from typing import NamedTuple

from valetstore.encoding import percent_decode
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.objectkey import RESERVED_BUCKET, check_bucket, split_path


class Address(NamedTuple):
    """An account, a container ("" for the account itself), the name of a blob in it ("" for the container)."""

    account: str
    container: str
    blob: str

    @property
    def path(self) -> str:
        """As scopes are compared: `/`, `/container/` or `/container/blob`."""
        return f"/{self.container}/{self.blob}" if self.container else "/"


def address_of(inbound: Inbound) -> Address:
    """Where the request points. Raises `object_key_invalid`, `target_invalid`, `operation_not_allowed`."""
    account, rest = split_path(inbound.path)
    if account == RESERVED_BUCKET:
        raise Denied("operation_not_allowed", "These paths are the gateway's own.").saying("AuthorizationFailure")
    container, _, blob = rest.partition("/")
    if not account:
        raise Denied("object_key_invalid", "The path names no account: it is /account/container/blob.")
    if container:
        check_bucket(container)
    elif blob:
        raise Denied("object_key_invalid", "The path names no container: it is /account/container/blob.")
    return Address(account, container, blob)


def text_of(inbound: Inbound, name: str) -> str:
    """A parameter that is a name or a part of one; "" where it is not there.

    The service reads its query as forms are written: a plus is a space, and Go's and Rust's clients send it so.
    Raises as `Inbound.parameter`.
    """
    if inbound.parameter(name) is None or b"+" not in inbound.raw_query:
        return inbound.parameter(name) or ""
    pairs = (part.partition(b"=") for part in inbound.raw_query.split(b"&"))
    return next(percent_decode(value.replace(b"+", b" ")) for key, _, value in pairs if percent_decode(key) == name)
