"""Inbound: one request as frozen facts, before anyone judges it.

Rule 1: the target is kept as the bytes that arrived; it is split once and percent-decoded once.
Rule 2: the clock is read once, by whoever makes the Inbound; nothing behind it reads a clock.
Rule 3: nothing here knows a socket or a server: a captured request of any date can be replayed.
"""

import re
from collections.abc import Callable, KeysView, Sequence, Set
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from valetstore.encoding import percent_decode, split_query
from valetstore.errors import Denied
from valetstore.frame import Framed, framed

Address = IPv4Address | IPv6Address
Headers = tuple[tuple[bytes, bytes], ...]

_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ]+) HTTP/1\.[01]")
# A field name is a token; a value holds no control but the tab (RFC 9110 section 5.5).
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)")

# Space and controls would split the request line elsewhere, `#` is never sent (RFC 9112 section 3.2).
_TARGET_FORBIDDEN: Final = re.compile(rb"[\x00-\x20\x7f#]")
# reg-name, IPv4 or [IPv6], with a port (RFC 9110 section 7.2, RFC 3986 section 3.2.2), no userinfo.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


Form = tuple[tuple[str, str], ...]
"""The fields of a `multipart/form-data` body up to its file, in order, names in lower case."""


_View = TypeVar("_View")


class _once(Generic[_View]):  # noqa: N801 - reads as the decorator it is
    """A view that is made when it is first asked for. functools.cached_property is the same; until Python 3.12 it takes
    a lock each time, 0.3 us, which is more than most views take to make.
    """

    def __init__(self, make: Callable[[Any], _View]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, inbound: "Inbound", _owner: object = None) -> _View:
        view = self._make(inbound)
        setattr(inbound, self._name, view)  # a look at its __dict__ would make all its attributes slower
        return view

    if TYPE_CHECKING:  # whoever knows a view sets it, as any attribute: there is nothing else to be done then

        def __set__(self, inbound: "Inbound", view: _View) -> None: ...


class Inbound:
    """A request: method, raw target, headers, source, TLS, and the moment it was received.

    `peer` is the client's address after trusted-proxy rules (None for a Unix socket without a proxy),
    `tls` whether the client spoke HTTPS, `host` the authority it asked for, `now` seconds since the epoch.
    `form` is set where a form was read up to its file: its fields are part of what is judged. `by_name` is what the
    function of that name makes of the headers, where that is known.
    """

    # A plain class with views made once: most requests need two of these views, none needs all.
    def __init__(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        *,
        now: float,
        peer: Address | None = None,
        tls: bool = False,
        host: str | None = None,
        form: Form | None = None,
        by_name: "ByName | None" = None,
    ) -> None:
        if not target_is_valid(target):
            raise Denied("target_invalid", "It must start with a slash and hold no space, control or `#`.")
        self.method = method
        self.target = target
        self.headers = headers
        self.now = now
        self.peer = peer
        self.tls = tls
        self.raw_path, _, self.raw_query = target.partition(b"?")
        if by_name is not None:
            self._by_name = by_name
        self.host = host if host is not None else (self.header("host") or "")
        self.form = form

    @classmethod
    def from_raw(cls, head: bytes, *, now: float, peer: str | None = None, tls: bool = False) -> "Inbound":
        """From a request's raw head (request line and headers), as captured or published.

        Raises `request_malformed` where the head is not one. The daemon itself parses with aiohttp's C
        parser; this is for vectors and `inspect`, which go through the very `verify` that serves.
        """
        lines = head.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0].removesuffix(b"\n").split(b"\n")
        request = _REQUEST_LINE.fullmatch(lines[0])
        if not request:
            raise Denied("request_malformed", "The request line has a method, a target and HTTP/1.1.")
        headers = []
        for line in lines[1:]:
            field = _FIELD.fullmatch(line)
            if not field:
                raise Denied("request_malformed", "A header line is a name, a colon and a value.")
            headers.append((field[1], field[2].strip(b" \t")))
        address = ip_address(peer) if peer else None
        return cls(request[1].decode("ascii"), request[2], tuple(headers), now=now, peer=address, tls=tls)

    def at(self, now: float) -> "Inbound":
        """The same request, received again: what was read of it so far need not be read again."""
        again = object.__new__(Inbound)
        again.__dict__.update(self.__dict__)
        again.now = now
        return again

    def asking(self, method: str, target: bytes, now: float) -> "Inbound":
        """Another request from the same client, whose headers are the same: they need not be read again.

        Nor is `target` looked at: the caller knows that it is valid, as is the path of this one.
        """
        other = object.__new__(Inbound)
        other.method = method
        other.target = target
        other.headers = self.headers
        other.now = now
        other.peer = self.peer
        other.tls = self.tls
        other.host = self.host
        other.form = None
        other.raw_path, _, other.raw_query = target.partition(b"?")
        other._by_name = self._by_name
        other.further_names = self.further_names
        if other.raw_path == self.raw_path:
            other.path = self.path
        return other

    def with_form(self, form: Form) -> "Inbound":
        """The same request, its form read."""
        return self._with(self.method, self.headers, form)

    def with_method(self, method: str) -> "Inbound":
        """The same request, as if by another method."""
        return self._with(method, self.headers, self.form)

    def with_headers(self, further: Headers) -> "Inbound":
        """The same request with further headers: what a dialect lets a query say in their place."""
        return self._with(self.method, self.headers + further, self.form)

    def without_header(self, name: bytes) -> "Inbound":
        """The same request without a header, by its lower-case name."""
        return self._with(self.method, tuple(pair for pair in self.headers if pair[0].lower() != name), self.form)

    def _with(self, method: str, headers: Headers, form: Form | None) -> "Inbound":
        now, peer, tls, host = self.now, self.peer, self.tls, self.host
        return Inbound(method, self.target, headers, now=now, peer=peer, tls=tls, host=host, form=form)

    @_once
    def path(self) -> str:
        """The path, decoded once; raises `target_invalid` or `object_key_invalid`."""
        raw = self.raw_path
        try:
            return percent_decode(raw) if b"%" in raw else raw.decode()
        except UnicodeDecodeError:
            raise Denied("object_key_invalid", "The path is not UTF-8 once decoded.") from None
        except ValueError as error:
            raise Denied("target_invalid", f"The path has {error}.") from None

    @_once
    def framed(self) -> Framed | None:
        """The query in its frame, which others share; None for most that are not signed in Amazon's or Google's way."""
        return framed(self.raw_query)

    @_once
    def query(self) -> tuple[tuple[str, str], ...]:
        """The query as decoded pairs in order; raises `target_invalid`."""
        if self.framed is not None:
            return self.framed.pairs
        try:
            return split_query(self.raw_query)
        except UnicodeDecodeError:
            raise Denied("target_invalid", "The query is not UTF-8 once decoded.") from None
        except ValueError as error:
            raise Denied("target_invalid", f"The query has {error}.") from None

    @_once
    def names(self) -> Set[str]:
        """The names of all query parameters, each in lower case; raises `target_invalid`."""
        return {name.lower() for name, _ in self.query} if self.framed is None else self.framed.frame.names

    def parameters(self, name: str) -> list[str]:
        """Every value of one query parameter, in order."""
        return [value for key, value in self.query if key == name]

    def parameter(self, name: str) -> str | None:
        """The one value of a query parameter; given twice, `parameter_invalid`."""
        values = self.parameters(name)
        if len(values) > 1:
            raise Denied("parameter_invalid", f"`{name}` is given more than once.")
        return values[0] if values else None

    @_once
    def _by_name(self) -> "ByName":
        return by_name(self.headers)

    def header_values(self, name: str) -> list[str]:
        """Every field value of one header, in order. Bytes become characters one to one (latin-1)."""
        return [value.decode("latin-1") for value in self._by_name.get(name.encode("ascii"), ())]

    def raw_values(self, name: bytes) -> Sequence[bytes]:
        """Every field value of one header by its lower-case name, in order, as they arrived."""
        return self._by_name.get(name, ())

    def header(self, name: str) -> str | None:
        """A header by its lower-case name, its values joined as RFC 9110 section 5.3 says; or None."""
        values = self._by_name.get(name.encode("ascii"))
        if values is None:
            return None
        return (values[0] if len(values) == 1 else b", ".join(values)).decode("latin-1")

    def headers_but(self, names: Set[bytes]) -> list[tuple[bytes, ...]]:
        """Every header that is none of these, sorted: its name in lower case, and its values in order, as they came."""
        found = [(name, *values) for name, values in self._by_name.items() if name not in names]
        found.sort()
        return found

    @property
    def header_names(self) -> KeysView[bytes]:
        """The names of all headers, each in lower case."""
        return self._by_name.keys()

    @_once
    def further_names(self) -> Sequence[bytes]:
        """Of these the ones that begin with `x-`, as all do that vendors have added; most requests have none."""
        return [name for name in self._by_name if name.startswith(b"x-")]

    @_once
    def cookies(self) -> tuple[tuple[str, str], ...]:
        """All cookie pairs (RFC 6265 section 4.2.1), in order."""
        pairs = []
        for line in self.header_values("cookie"):
            for part in line.split(";"):
                name, equals, value = part.strip(" \t").partition("=")
                if equals:
                    pairs.append((name, value.strip('"')))
        return tuple(pairs)


def are_short(headers: Headers, count_max: int, bytes_max: int) -> bool:
    """Whether there are at most so many headers, and bytes of names and values."""
    return len(headers) <= count_max and sum([len(name) + len(value) for name, value in headers]) <= bytes_max


ByName = dict[bytes, list[bytes]]


def by_name(headers: Headers) -> ByName:
    """The values of each header, in order, by its name in lower case."""
    found: ByName = {}
    for name, value in headers:
        lower = name.lower()
        if lower in found:
            found[lower].append(value)
        else:
            found[lower] = [value]
    return found


def target_is_valid(target: bytes) -> bool:
    """Whether it names a path: absolute-form would override Host, authority-form and `*` name no object."""
    return target.startswith(b"/") and _TARGET_FORBIDDEN.search(target) is None


def host_is_valid(host: str) -> bool:
    """Whether this is an authority without userinfo: a name or an address, perhaps with a port."""
    return _HOST.fullmatch(host.encode("latin-1", "replace")) is not None
