"""What an operator sets about keys of CloudFront."""

import msgspec


class Rules(msgspec.Struct, frozen=True, dict=True):
    """`sha1` takes RSA signatures over SHA-1. `public_url` is the URL that clients use, without a final slash; "" where
    that is not known.
    """

    sha1: bool = True
    public_url: str = ""
