"""What an operator sets about keys of OpenStack Swift."""

import msgspec


class Rules(msgspec.Struct, frozen=True, dict=True):
    """`sha1` takes signatures made with HMAC-SHA1."""

    sha1: bool = True
