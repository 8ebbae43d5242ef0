"""What X-Request-Id says: 64 random bits, so that an answer and its audit lines find each other."""

import secrets
from collections.abc import Iterator
from typing import Final

_BYTES: Final = 8
_AT_ONCE: Final = 256
"""As many are drawn with one call of the system."""


def _drawn() -> Iterator[str]:
    while True:
        text = secrets.token_hex(_BYTES * _AT_ONCE)
        for start in range(0, len(text), 2 * _BYTES):
            yield text[start : start + 2 * _BYTES]


new_request_id: Final = _drawn().__next__
"""The next one, as 16 hexadecimal digits. For the event loop's thread."""
