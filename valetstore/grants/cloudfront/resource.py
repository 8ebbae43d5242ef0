"""The URL that a request asks for, as CloudFront's signers write it, and whether a policy's resource opens it.

Rule 1: the URL is what the client wrote, raw, without the parameters that are the key. It may have been written in a
few ways (`Asked.fronts`), never in others.
Rule 2: what is opened is the object at the path. So a resource must fit the path, and what is in the query can help no
other object: `*.jpg` does not open `/secret.pdf?.jpg`, though it fits that text.
Rule 3: the path must fit as it was sent and as it is decoded, because the object has the decoded name: `*41` does not
open `secret%41`, nor `a?b` the object `a%2Fb`.
Rule 4: a wildcard before the first slash of the path stays there: whoever asks chooses the path, and in
`http://*.example.com/photos/*` the first star must not reach `/secret/x.example.com/photos/`.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from valetstore.encoding import percent_decode
from valetstore.errors import Denied
from valetstore.grants.cloudfront.rules import Rules
from valetstore.grants.cloudfront.wildcard import decoded, matches, runs_of
from valetstore.inbound import Inbound

PARAMETERS: Final = ("Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm")
"""The parameters that are a key, in the spelling that counts: CloudFront's names are case-sensitive."""

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_SEPARATOR: Final = "://"
_QUERY: Final = re.compile(r"\*|[^?=&]+=.*", re.DOTALL)
"""What of a resource can follow the mark of a query: everything, or a name with a value."""


class Asked(NamedTuple):
    """A URL in parts: `fronts` are what its scheme and authority may have been signed as, the usual one first; `path`
    and `query` are raw, one character a byte; `query` is None where nothing but the key is in it.
    """

    fronts: tuple[str, ...]
    path: str
    query: str | None
    decoded_path: str

    @property
    def rest(self) -> str:
        """What follows the authority."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def urls(self) -> Iterator[str]:
        """The whole URL, in each way that it may have been signed."""
        return (front + self.rest for front in self.fronts)


def asked_of(inbound: Inbound, rules: Rules) -> Asked:
    """The URL of a request. Raises `target_invalid`, `object_key_invalid`."""
    fronts = tuple(dict.fromkeys(_fronts(inbound, rules)))
    return Asked(fronts, inbound.raw_path.decode("latin-1"), _query(inbound), inbound.path)


def opens(resource: str, asked: Asked) -> bool:
    """Whether a custom policy's resource covers this URL."""
    front, rest = _split(resource)
    runs = runs_of(front)
    return any(matches(runs, one) for one in asked.fronts) and _covers(rest, asked)


def _fronts(inbound: Inbound, rules: Rules) -> Iterator[str]:
    """By which scheme and authority the client may have asked; a proxy may have made others of the public ones."""
    public_scheme, _, public_host = rules.public_url.partition(_SEPARATOR)
    own_scheme = "https" if inbound.tls else "http"
    for scheme, host in ((own_scheme, inbound.host), (public_scheme, public_host)):
        if host:
            yield f"{scheme}{_SEPARATOR}{host}"
            yield f"{scheme}{_SEPARATOR}{_with_port_the_other_way(scheme, host)}"


def _with_port_the_other_way(scheme: str, host: str) -> str:
    """The same authority with its scheme's own port if it has none, and without if it has that one."""
    port = _DEFAULT_PORTS.get(scheme, "")
    if host.rpartition(":")[2].isdigit():
        return host.removesuffix(port)
    return host + port


def _query(inbound: Inbound) -> str | None:
    """The raw query but for the parameters of the key; the order of what remains is the client's."""
    kept = [part for part in inbound.raw_query.split(b"&") if not _is_of_key(part)] if inbound.raw_query else []
    return b"&".join(kept).decode("latin-1") if kept else None


def _is_of_key(part: bytes) -> bool:
    try:
        return percent_decode(part.partition(b"=")[0]) in PARAMETERS
    except ValueError as error:
        raise Denied("target_invalid", f"The query has {error}.") from None


def _split(resource: str) -> tuple[str, str]:
    """A resource before and from the first slash of its path. One that ends in a star before that is for any path."""
    separator = resource.find(_SEPARATOR)
    in_front = separator > 0 and resource.find("/") == separator + 1
    slash = resource.find("/", separator + len(_SEPARATOR) if in_front else 0)
    if slash < 0:
        return resource, "/*" if resource.endswith("*") else ""
    return resource[:slash], resource[slash:]


def _covers(rest: str, asked: Asked) -> bool:
    """Whether what a resource has from its path on covers path and query."""
    if rest == asked.rest:
        return True
    if asked.query is None:
        return _fits_path(rest, asked)
    if not matches(runs_of(rest), asked.rest):
        return False
    return _fits_path(rest, asked) or _fits_both(rest, asked)


def _fits_path(pattern: str, asked: Asked) -> bool:
    runs = runs_of(pattern)
    if not matches(runs, asked.path):
        return False
    try:
        return matches(decoded(runs), asked.decoded_path)
    except ValueError:
        return False


def _fits_both(rest: str, asked: Asked) -> bool:
    """Whether path and query each fit their own part of a resource.

    A `?` may be any character, or begin the query. It is taken to begin it where what follows could be a query; the
    last such one, since a query's own `?` is rarer than one of a path.
    """
    mark = rest.rfind("?")
    while mark >= 0 and not _QUERY.fullmatch(rest, mark + 1):
        mark = rest.rfind("?", 0, mark)
    return mark >= 0 and _fits_path(rest[:mark], asked) and matches(runs_of(rest[mark + 1 :]), asked.query or "")
