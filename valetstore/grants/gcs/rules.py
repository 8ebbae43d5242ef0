"""What an operator sets about keys of Google Cloud Storage."""

import msgspec

from valetstore.grants.address import Hosting


class Rules(msgspec.Struct, Hosting, frozen=True, dict=True):
    """`v2` takes signed URLs of the older process. `resumable_seconds` is how long a session may go on. `hosts` are the
    domains below which a bucket may be a label of the Host, lower-case and without a port; `public_host` is the
    authority of the URL that clients use, "" where that is not known.
    """

    v2: bool = True
    resumable_seconds: int = 604_800
    hosts: tuple[str, ...] = ()
    public_host: str = ""
