"""From a parsed head to an Inbound: the last look at HTTP itself, stricter than the parser.

What is refused here is what two parties on the way could read differently: another version's request line,
a transfer coding beside `chunked`, a Host that is none (RFC 9112 sections 3.2, 6.1; RFC 9110 section 7.2).
"""

import time
from collections import OrderedDict
from typing import Final, Protocol

from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion

from valetstore.edge.exchange import Connection
from valetstore.edge.proxies import Forwarded, TrustedProxies
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.inbound import ByName, Headers, Inbound, are_short, by_name, host_is_valid, target_is_valid

METHODS: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"})
_LENGTH_MAX: Final = 2**63 - 1

_READ_MAX: Final = 128
_FIELDS_MAX: Final = 32
_FIELDS_BYTES_MAX: Final = 2_048
"""So many blocks of fields are remembered, of up to so many fields and bytes."""

_Fields = tuple[Headers, HttpVersion, tuple[str, bool]]
"""All that is read of a request beside its line, and where it came from."""


class Arriving(Protocol):
    """A parsed head and the connection that it came on (`Exchange` is one)."""

    @property
    def message(self) -> RawRequestMessage: ...
    @property
    def protocol(self) -> Connection: ...


class Arrivals:
    """Makes Inbounds, by the rules of the trusted proxies.

    Most clients send the same fields with each request: what they say is read the first time.
    """

    def __init__(self, proxies: TrustedProxies) -> None:
        self._proxies = proxies
        self._read: OrderedDict[_Fields, Inbound] = OrderedDict()

    def inbound(self, exchange: Arriving) -> Inbound:
        """The facts of a request. Raises `request_malformed`, `target_invalid`, `method_not_allowed`."""
        message, protocol = exchange.message, exchange.protocol
        fields = message.raw_headers, message.version, protocol.origin
        former = self._read.get(fields)
        if former is not None and target_is_valid(target := _target_of(message)):
            return former.asking(message.method, target, time.time())
        inbound = self._new(message, protocol)
        if are_short(message.raw_headers, _FIELDS_MAX, _FIELDS_BYTES_MAX):
            if len(self._read) >= _READ_MAX:
                self._read.popitem(last=False)
            self._read[fields] = inbound.asking("GET", b"/", inbound.now)  # no more of it than its fields
        return inbound

    def _new(self, message: RawRequestMessage, protocol: Connection) -> Inbound:
        if message.version not in ((1, 0), (1, 1)):
            raise Denied("request_malformed", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        # What names a path is refused by the handler, in the words of the dialect that it speaks.
        if message.method not in METHODS and not message.path.startswith("/"):
            raise Denied("method_not_allowed")
        values = by_name(message.raw_headers)
        _check_framing(values, message.version == (1, 1))
        hosts = values.get(b"host", ())
        host = hosts[0].decode("latin-1") if hosts else ""
        if len(hosts) > 1 or (hosts and not host_is_valid(host)):
            raise Denied("request_malformed", "Its Host is not a host.")
        origin = self._proxies.origin(protocol.address, protocol.origin[1], host, _forwarded(values))
        if origin.host is not host and origin.host and not host_is_valid(origin.host):
            raise Denied("request_malformed", "Its X-Forwarded-Host is not a host.")
        return Inbound(
            message.method,
            _target_of(message),
            message.raw_headers,
            now=time.time(),
            peer=origin.peer,
            tls=origin.tls,
            host=origin.host,
            by_name=values,
        )


def _target_of(message: RawRequestMessage) -> bytes:
    return message.path.encode("utf-8", "surrogateescape")


_FORWARDED: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_NOTHING: Final = Forwarded(None, None, None)


def _forwarded(values: ByName) -> Forwarded:
    if values.keys().isdisjoint(_FORWARDED):
        return _NOTHING
    joined = [
        b",".join(values[name]).decode("utf-8", "surrogateescape") if name in values else None for name in _FORWARDED
    ]
    return Forwarded(*joined)


def _check_framing(values: ByName, is_1_1: bool) -> None:
    codings, lengths = values.get(b"transfer-encoding", ()), values.get(b"content-length", ())
    if codings and (not is_1_1 or lengths or [coding.lower() for coding in codings] != [b"chunked"]):
        raise Denied("request_malformed", "Transfer-Encoding may only be chunked, without Content-Length.")
    for length in lengths:
        try:
            sane = wire_int(length.decode("latin-1")) <= _LENGTH_MAX
        except ValueError:
            sane = False
        if not sane:
            raise Denied("request_malformed", "Content-Length is not a number of bytes.")
