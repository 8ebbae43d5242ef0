"""What an operator sets about keys of Azure Blob."""

import msgspec


class Rules(msgspec.Struct, frozen=True, dict=True):
    """`public_host` is the authority of the URL that clients use, "" where that is not known."""

    public_host: str = ""
