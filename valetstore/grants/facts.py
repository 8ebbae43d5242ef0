"""Facts: what a vendor's key says of itself, proven or not, in a shape that fits every dialect: for explaining it.

Rule: nothing here is a secret or a signature; `computed` is what was signed, as it is computed here.
"""

from typing import NamedTuple

from valetstore.grants.scheme import Carrier


class Fact(NamedTuple):
    """One thing a key says: in words for a person, by a name and a value for a program."""

    name: str
    value: str
    words: str


class Facts(NamedTuple):
    """What a key says. Times are seconds since the epoch, None where it does not say.

    `kind` is what its vendor calls it ("service SAS"), `signer` whom it names (an e-mail address, an account, a key
    pair id; "" for nobody). `method` is the one that it is for, "" where it does not say. `headers` are what a request
    must come with (lower-case name, value; "" where the value is the client's to know). `said` is everything else.
    `computed` is the string to sign as computed here, "" where there is none to show; `causes` are sentences: why its
    signature does not hold here, as far as that can be found out.
    """

    kind: str
    signer: str
    carrier: Carrier
    method: str = ""
    signed_at: float | None = None
    starts_at: float | None = None
    expires_at: float | None = None
    networks: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    said: tuple[Fact, ...] = ()
    computed: str = ""
    causes: tuple[str, ...] = ()
