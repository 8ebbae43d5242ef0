"""What the verification of a key that is bound to its request depends on, as one value that can be compared.

Rule 1: what is not known to be without effect is part of it. Too much costs a verification; too little would let one
request in by another's signature.
Rule 2: two values are equal only where every part is: nothing is joined, hashed or folded.
"""

from collections.abc import Hashable
from typing import Final

from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound, are_short

_HEADERS_MAX: Final = 16
_HEADERS_BYTES_MAX: Final = 1_024
"""A request with more of them is not kept beside what was proven of it."""

# Headers that every client and proxy adds, and that no dialect reads when it verifies, unless its signature names them.
_UNREAD: Final = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"cookie",
        b"dnt",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"origin",
        b"pragma",
        b"priority",
        b"range",
        b"referer",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"te",
        b"traceparent",
        b"tracestate",
        b"upgrade-insecure-requests",
        b"user-agent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-request-id",
    }
)


_UNREAD_BESIDE_COOKIES: Final = _UNREAD - {b"cookie"}


def covered_by_request(
    inbound: Inbound, credential: Credential, *, every_header: bool = False, cookies: bool = False
) -> Hashable:
    """The request but for its body, its time and its source. Without `every_header` those that say nothing of a key are
    left out; cookies count among them unless they are the key.
    """
    unread: frozenset[bytes] = frozenset() if every_header else _UNREAD_BESIDE_COOKIES if cookies else _UNREAD
    return (
        credential.carrier,
        credential.text,
        inbound.method,
        inbound.target,
        inbound.host,
        inbound.tls,
        tuple(inbound.headers_but(unread)),
    )


def may_be_kept(inbound: Inbound) -> bool:
    """Whether a request takes no more room than is reckoned for one that is remembered."""
    return inbound.form is None and are_short(inbound.headers, _HEADERS_MAX, _HEADERS_BYTES_MAX)
