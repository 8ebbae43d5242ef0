"""What an operator sets about S3: the region, the hosts, whether SigV2 still opens the door."""

import msgspec

from valetstore.grants.address import Hosting


class Rules(msgspec.Struct, Hosting, frozen=True, dict=True):
    """`region` is the one that keys are signed for, "" for any. `hosts` are the domains below which a bucket may be
    a label of the Host (`photos.files.example.com`), lower-case and without a port. `public_host` is the authority of
    the URL that clients use, where that is known: a signature for it holds, whatever Host a proxy has made of it.
    """

    region: str = "us-east-1"
    sigv2: bool = True
    hosts: tuple[str, ...] = ()
    public_host: str = ""
