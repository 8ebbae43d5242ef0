"""LaneMemory: what the fast lane knows of requests that came before.

Rule 1: only requests that were admitted and answered with a whole object are learned from: a stranger teaches nothing.
Rule 2: whatever field of a request could change its answer, beside who asks and with what key, is not learned from.
Rule 3: what an answer rests on is kept with it, down to the key ring's very object; nothing keeps a connection.
"""

import re
import string
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from aiohttp.http_parser import RawRequestMessage

from valetstore.edge.bounded import Bounded
from valetstore.edge.exchange import Exchange, Shown
from valetstore.edge.template import Answer, Asker, answer_of, is_plain
from valetstore.frame import blanks_of
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission
from valetstore.grants.native import NAME as NATIVE
from valetstore.grants.networks import address_group
from valetstore.grants.recognise import recognise
from valetstore.grants.scheme import Credential
from valetstore.inbound import Headers, Inbound
from valetstore.policy.request import Term, term_of
from valetstore.storage.promise import ObjectInfo
from valetstore.storage.small import SMALL_BYTES

HEAD_BYTES_MAX: Final = 4_096

_ENTRY_BYTES: Final = 8_192
_TEXT_FACTOR: Final = 8
"""What one remembered head takes, reckoned high: a short one 11 KiB, the longest 30."""
_ONCE_BYTES: Final = 256

_FULL_EVERY: Final = 16
_TURN_ASKED: Final = 1_024
"""Of so many heads one gets a place where there is no room, and after so many others another one."""

_INERT: Final = frozenset(
    b"host user-agent accept accept-encoding accept-language authorization cookie connection keep-alive referer dnt "
    b"via cache-control pragma priority upgrade-insecure-requests save-data traceparent tracestate x-request-id "
    b"x-correlation-id x-real-ip forwarded x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port".split()
)
"""Fields that change nothing about a whole download, beside who asks and with what key."""
_INERT_PREFIX: Final = b"sec-"

KEY_MARK: Final = b"?valet="
_VERSION: Final = b" HTTP/1.1"
_LINE_ENDS: Final = _VERSION + b"\r\n"
_TARGET_CHARACTERS: Final = (string.ascii_letters + string.digits + "!$&'()*+,./:;=?@_~%-").encode()
# A key of these characters ends no parameter and begins none: whatever it is, it is the same one of the same query.
_KEY_CHARACTERS: Final = (string.ascii_letters + string.digits + "_.-").encode()
_BEFORE_KEY: Final = re.compile(rb"(GET|HEAD) /[A-Za-z0-9!$'()*+,./:;@_~%-]*\?valet=")


class Client(NamedTuple):
    """Who asks: its address as the audit says it, and as failures are counted."""

    address: bytes
    group: str

    @classmethod
    def of(cls, inbound: Inbound) -> "Client":
        """Nobody, where the address is not known."""
        return cls(b"", "") if inbound.peer is None else cls(str(inbound.peer).encode(), address_group(inbound.peer))


class Fields(NamedTuple):
    """The fields of a request that was admitted: the request as it came, from `origin`, and as the parser made it."""

    inbound: Inbound
    origin: tuple[str, bool]
    message: RawRequestMessage


class Known(NamedTuple):
    """A head that was answered before: by which rules, to whom, what let it in and when, what it was shown, how."""

    rules: tuple[object, object, object]
    origin: tuple[str, bool]
    client: Client
    inbound: Inbound
    message: RawRequestMessage
    admission: Admission
    info: ObjectInfo
    answer: Answer
    credential: Credential
    term: Term | None
    asker: Asker

    def by(self, admission: Admission, origin: tuple[str, bool], client: Client, asker: Asker) -> "Known":
        """What is known of a page, for one key on it that was admitted."""
        inbound = admission.inbound
        return self._replace(
            origin=origin,
            client=client,
            inbound=inbound.at(inbound.now),
            message=self.message._replace(path=inbound.target.decode()),
            admission=admission,
            term=term_of(admission.grant),
            asker=asker,
        )


class Page(msgspec.Struct, frozen=True, gc=False):
    """A head as the text without its key, its target, and the key: "" for one that is a date and a signature, of which
    a Credential says nothing.
    """

    text: bytes
    target: bytes
    key: str

    def credential(self, former: Credential) -> Credential:
        """Its key, where this was the one of another head of the same text."""
        return Credential(former.scheme, former.carrier, self.key) if self.key else former


class LaneMemory:
    """Up to `bytes_max` bytes of heads and fields. For the event loop's thread."""

    def __init__(self, gateway: Gateway, bytes_max: int) -> None:
        self._gateway = gateway
        self._fields: Bounded[Fields] = Bounded(bytes_max // 4, _ENTRY_BYTES, _TEXT_FACTOR)
        self._heads: Bounded[Known] = Bounded(bytes_max // 4, _ENTRY_BYTES, _TEXT_FACTOR)
        self._seen: Bounded[bool] = Bounded(bytes_max // 4, _ONCE_BYTES, 1)  # True where the object was too large
        self._pages: Bounded[Known] = Bounded(bytes_max // 4, _ENTRY_BYTES, _TEXT_FACTOR)
        self._asked = 0
        self._misfits = 0
        self.page = self._pages.get
        """What is known of a whole head but for its key: see `page_of`."""
        self.fields = self._fields.get
        """What is known of the bytes of a head behind its first line."""
        self.known = self._heads.get
        """What is known of a whole head."""

    def came_before(self, head: bytes) -> bool:
        """Whether a head that is not known has been seen; it has been from now on."""
        if not self.is_new(head):
            return True
        self._seen.put(head, False)
        return False

    def is_new(self, head: bytes) -> bool:
        """Whether a head that is not known has never been seen either, as far as is remembered. Marks nothing."""
        return head not in self._seen

    def is_valid(self, known: Known) -> bool:
        """Whether it was admitted by what is in force."""
        gateway, (schemes, keys, limits) = self._gateway, known.rules
        return schemes is gateway.schemes and keys is gateway.keys and limits is gateway.limits

    def is_large(self, head: bytes) -> bool:
        """Whether a head, when it was answered last, asked for an object that is not remembered."""
        return self._seen.get(head) is True

    def forget(self, head: bytes) -> None:
        """It is not answered as it was any more."""
        self._heads.forget(head)

    def learn(self, head: bytes, exchange: Exchange) -> None:
        """A head was answered the general way."""
        shown = exchange.shown
        if shown is None or len(head) > HEAD_BYTES_MAX or shown.inbound.form is not None:
            return
        end, message, origin = head.find(b"\r\n"), exchange.message, exchange.protocol.origin
        text = head[end:]
        known = self._fields.get(text)
        if known is None and not _is_inert(message.raw_headers):
            return
        # The parser passes over empty lines before a request, which are no request line; and what it has read of
        # HTTP/1.0 is not true of HTTP/1.1.
        is_new = known is None or known.origin != origin
        if is_new and end > 0 and message.version == (1, 1):
            self._fields.put(text, Fields(shown.inbound, origin, message))
        self.note(head, exchange)

    def note(self, head: bytes, exchange: Exchange) -> None:
        """A head was answered; one that comes again is worth an answer that is ready, with its key or with another."""
        shown = exchange.shown
        # An answer that was the last on its connection says so in its head, which is nobody else's.
        if shown is None or shown.admission.charges or not exchange.keep_alive:
            return
        if shown.info.size > SMALL_BYTES:  # the next answer will not be ready either
            if not self.is_large(head):
                self._seen.put(head, True)
            return
        known = None
        for memory, text in self._places(head, shown):
            if self.came_before(text) and self._gets_room(memory, text) and self._is_lasting(memory, shown):
                known = known or self._known_of(exchange, shown)
                if known is not None:
                    memory.put(text, known)

    def is_worth(self, head: bytes) -> bool:
        """Whether a head that is not known should be, when it is answered now: it was seen before, and has room."""
        return self.came_before(head) and self._gets_room(self._heads, head)

    def keep(self, head: bytes, known: Known) -> None:
        """A head was answered so."""
        self._heads.put(head, known)

    def keep_page(self, text: bytes, known: Known) -> None:
        """A page was answered so: see `page_of`."""
        self._pages.put(text, known)

    def _places(self, head: bytes, shown: Shown) -> Iterator[tuple[Bounded[Known], bytes]]:
        """Where a head is looked for when it comes again, and by what."""
        if shown.admission.use is None:
            yield self._heads, head
        grant, page = shown.admission.grant, page_of(head)
        # What else a key says to the audit is not left out of a page's lines.
        if page is None or grant.ctx is not None or (grant.subject and not is_plain(grant.subject)):
            return
        if self._is_page(head, page, shown) and not self._is_taken(page.text, shown):
            yield self._pages, page.text

    def _is_page(self, head: bytes, page: Page, shown: Shown) -> bool:
        """Whether it was this page's key that opened, and the page is written as all are by which it may be found."""
        grant = shown.admission.grant
        if page.key:
            is_plain_line = _BEFORE_KEY.fullmatch(head, 0, head.find(KEY_MARK) + len(KEY_MARK)) is not None
            return is_plain_line and grant.scheme == NATIVE
        inbound, line_end = shown.inbound, head.find(b"\r\n")
        credential = recognise(inbound, self._gateway.schemes)
        # What is answered once a use is taken must be answered here, and other dialects' answers are not made.
        is_signed = credential.carrier == "query" and grant.scheme != NATIVE and shown.admission.use is None
        return is_signed and target_of(head, inbound.method.encode(), line_end) == page.target == inbound.target

    def _is_taken(self, text: bytes, shown: Shown) -> bool:
        """Whether a page has an answer that is right, for keys of another kind: two would drive each other out.

        One in some takes the place all the same, so that in the end it has the kind that comes most.
        """
        known = self._pages.get(text)
        if known is None or not self.is_valid(known) or known.info != shown.info:
            return False
        self._misfits += 1
        return self._misfits % _FULL_EVERY != 0

    def _gets_room(self, memory: Bounded[Known], text: bytes) -> bool:
        """Whether one more is worth its price: where it takes another's place, only for some, and later for others.

        An answer that is made ready costs as much as two that are not. Of more heads than there is room for, each would
        be made ready and gone before it came again; so those that come often get their turn, and most stay.
        """
        if memory.has_room(text):
            return True
        self._asked += 1
        return (hash(text) + self._asked // _TURN_ASKED) % _FULL_EVERY == 0

    def _is_lasting(self, memory: Bounded[Known], shown: Shown) -> bool:
        """Whether what let it in lets the next one in: on a page each key is verified anew."""
        return memory is self._pages or self._gateway.is_lasting(shown.inbound)

    def _known_of(self, exchange: Exchange, shown: Shown) -> Known | None:
        gateway, inbound = self._gateway, shown.inbound
        answer = _answer_of(exchange, shown)
        if answer is None:
            return None
        client = Client.of(inbound)
        return Known(
            rules=(gateway.schemes, gateway.keys, gateway.limits),
            origin=exchange.protocol.origin,
            client=client,
            inbound=inbound.at(inbound.now),
            message=exchange.message,
            admission=shown.admission,
            info=shown.info,
            answer=answer,
            credential=recognise(inbound, gateway.schemes),
            term=term_of(shown.admission.grant),
            asker=Asker.of(client.address, shown.admission.grant),
        )


def target_of(data: bytes, method: bytes, line_end: int) -> bytes:
    """The target in a request line of the plainest kind, by this `method`, that ends there; b"" in any other line."""
    target = data[len(method) + 1 : line_end - len(_VERSION)]
    is_plain_line = data.startswith(method + b" /") and data.endswith(_VERSION, 0, line_end)
    return target if is_plain_line and not target.translate(None, _TARGET_CHARACTERS) else b""


def page_of(head: bytes) -> Page | None:
    """The page of a head whose query is one native key, or is signed in Amazon's or Google's way; None where it is
    surely another one.

    What stands before the key is not looked at. A head that is found among those that are remembered, in which it was,
    has the same there: the text says where the key was, with a line feed that no request line has.
    """
    return _keyed_page(head) or _signed_page(head)


def _keyed_page(head: bytes) -> Page | None:
    start = head.find(KEY_MARK) + len(KEY_MARK)
    end = head.find(_LINE_ENDS, start)
    key = head[start:end]
    if start < len(KEY_MARK) or end <= start or key.translate(None, _KEY_CHARACTERS):
        return None
    return Page(head[:start] + b"\n" + head[end:], head[head.find(b" ") + 1 : end], key.decode())


def _signed_page(head: bytes) -> Page | None:
    """Its frame (see `valetstore.frame`) stays in the text, and so does whatever else the URL says."""
    end = head.find(_LINE_ENDS)
    query = head.find(b"?", 0, end) + 1
    blanks = blanks_of(head[query:end]) if query and end > 0 else None
    if blanks is None:
        return None
    begins, ends, first, last = (query + place for place in blanks)
    text = b"\n".join((head[:begins], head[ends:first], head[last:]))
    return Page(text, head[head.find(b" ") + 1 : end], "")


def _answer_of(exchange: Exchange, shown: Shown) -> Answer | None:
    return answer_of(
        exchange.head,
        shown.request_id,
        shown.retell,
        body_bytes=shown.info.size if shown.inbound.method == "GET" else 0,
        dialect=shown.admission.grant.scheme,
        operation=shown.admission.intent.operation,
    )


def _is_inert(headers: Headers) -> bool:
    return all((low := name.lower()) in _INERT or low.startswith(_INERT_PREFIX) for name, _ in headers)
