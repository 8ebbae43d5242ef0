"""Query parameters that stand for headers: what SDKs hoist into a presigned URL is read as if it had been sent.

Rule 1: only what is signed counts. SigV4 signs every parameter; SigV2 signs `x-amz-*`, `content-type` and
`content-md5` as the header values they stand for.
Rule 2: a parameter and a header that say different things are refused; that the client repeats one is fine.
Rule 3: what could not be a header is refused: it would be kept, and then sent to whoever reads the object.
"""

import re
from typing import Final

from valetstore.encoding import UNSAFE_IN_HEADER
from valetstore.errors import Denied
from valetstore.inbound import Inbound

AUTH: Final = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)
"""The parameters that carry the key itself, in lower case."""

_V2_HEADERS: Final = frozenset({"content-type", "content-md5"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)


def promoted(inbound: Inbound) -> Inbound:
    """The request with its hoisted headers in place; itself where there are none. Raises `parameter_invalid`."""
    if inbound.names <= AUTH:
        return inbound
    is_v2 = any(name == "AWSAccessKeyId" for name, _ in inbound.query)
    further = []
    for name, value in inbound.query:
        lower = name.lower()
        if lower in AUTH or not (lower.startswith("x-amz-") or (is_v2 and lower in _V2_HEADERS)):
            continue
        if not _NAME.fullmatch(lower) or UNSAFE_IN_HEADER.search(value):
            said = "A query parameter that stands for a header could not be one."
            raise Denied("parameter_invalid", said).saying("InvalidArgument", said, ArgumentName=name)
        sent = inbound.header(lower)
        if sent is None:
            further.append((lower.encode("utf-8"), value.encode("utf-8")))
        elif sent.strip(" \t") != value.encode("utf-8").decode("latin-1"):
            raise Denied("parameter_invalid", f"The header {lower} differs from what the URL was signed with.").saying(
                "InvalidArgument", f"The header {lower} differs from the signed query parameter of that name."
            )
    return inbound.with_headers(tuple(further)) if further else inbound
