"""Headers of a download that a signed URL says: `response-content-type` and its kin, as S3 and Google have them."""

from collections.abc import Iterable
from typing import Final

RESPONSE_HEADERS: Final = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    }
)
"""What a key of any dialect may set on a download."""

OVERRIDES: Final = {f"response-{name}": name for name in sorted(RESPONSE_HEADERS)}
"""Query parameters that set a download's headers, where they are signed."""


def overrides_of(query: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """(header, value) for each of them in a query that is signed as a whole."""
    return tuple([(OVERRIDES[name], value) for name, value in query if name in OVERRIDES])
