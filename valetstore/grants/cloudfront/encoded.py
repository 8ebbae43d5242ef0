"""CloudFront's base64: the standard one with `+`, `=` and `/` written as `-`, `_` and `~`, which are safe in a URL.

Source: Amazon CloudFront Developer Guide, "Create a signed URL using a canned policy".
"""

import base64
import binascii
from typing import Final

_TO_STANDARD: Final = bytes.maketrans(b"-_~", b"+=/")
_FROM_STANDARD: Final = bytes.maketrans(b"+=/", b"-_~")


def encode(data: bytes) -> str:
    """The one text of these bytes."""
    return base64.b64encode(data).translate(_FROM_STANDARD).decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a text, if it is the one text of them (`QQ__` and `QR__` decode alike). Raises ValueError."""
    try:
        data = base64.b64decode(text.encode("ascii").translate(_TO_STANDARD), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not CloudFront's base64") from error
    if encode(data) != text:
        raise ValueError("not the canonical text of its bytes")
    return data
