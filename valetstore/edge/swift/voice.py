"""How Swift puts a refusal: a short page, or a line of text that clients compare.

Rule 1: what a client sent is shown only escaped: Swift's pages are HTML, whatever they hold.
Rule 2: our own code goes along in X-Valet-Error, whatever Swift's status is.
"""

from html import escape
from typing import Final
from urllib.parse import quote

from valetstore.edge.forms import is_swift_form
from valetstore.edge.replies import Header, Reply, refusal_headers
from valetstore.edge.swift.codes import (
    EXPLAINED,
    FORM_UNAUTHORIZED,
    FORMS,
    SENTENCES,
    STATUSES,
    TEMP_URL_INVALID,
)
from valetstore.errors import Denied, Saying
from valetstore.grants.swift.address import is_form_path, place_of
from valetstore.grants.swift.formpost import WORDS as FORM_WORDS
from valetstore.grants.swift.tempurl import MARKS
from valetstore.inbound import Inbound

WORDS: Final = "Swift"
"""What marks a refusal whose sentence is the whole answer."""

HTML: Final[Header] = ("Content-Type", "text/html; charset=UTF-8")
PLAIN: Final[Header] = ("Content-Type", "text/plain; charset=UTF-8")

# What a client of Swift's sends that knows of no TempURL.
_HEADERS: Final = (b"x-auth-token", b"x-storage-token", b"x-object-", b"x-container-", b"x-account-")


def carries(inbound: Inbound) -> bool:
    """Whether a request carries a key of Swift's, in whatever state."""
    try:
        names = {name for name, _ in inbound.query}
    except Denied:
        names = set()
    return not MARKS.isdisjoint(names) or is_swift_form(inbound)


def hints(inbound: Inbound) -> bool:
    """Whether a request without a key is Swift's: what only its clients send, and what asks before a form."""
    return _asks_for_form(inbound) or any(name.lower().startswith(_HEADERS) for name, _ in inbound.headers)


def refusal(denied: Denied, inbound: Inbound, request_id: str) -> Reply:
    """A refusal as Swift's server would answer; the reply to a HEAD describes it."""
    said = saying_of(denied, inbound)
    # A challenge would ask for a Bearer key, which none of Swift's clients has.
    headers = [header for header in refusal_headers(denied) if header[0] != "WWW-Authenticate"]
    if said.status == 401:
        headers.append(("WWW-Authenticate", f'Swift realm="{_account(inbound)}"'))
    if said.code == FORM_WORDS:
        headers.append(PLAIN)
        body = said.message
    else:
        headers.append(HTML)
        body = escape(said.message) if said.code == WORDS else _page(said)
    headers += [("X-Valet-Error", denied.code), ("Cache-Control", "no-store"), *traced(request_id)]
    return Reply(said.status, headers, body.encode())


def saying_of(denied: Denied, inbound: Inbound) -> Saying:
    """What is answered: WORDS or FORM_WORDS and all of it, else a title and the sentence of its page; its status."""
    said = denied.said
    if said is not None and said.code in (WORDS, FORM_WORDS):
        status = said.status or STATUSES[denied.code]
        return Saying(said.code, said.message or SENTENCES[status].text, status)
    status = STATUSES[denied.code]
    if status == 401 and is_swift_form(inbound):
        return Saying(WORDS, FORMS.get(denied.code, FORM_UNAUTHORIZED), status)
    if status == 401 and carries(inbound):
        return Saying(WORDS, TEMP_URL_INVALID, status)
    sentence = SENTENCES[status]
    return Saying(sentence.title, denied.text if denied.code in EXPLAINED else sentence.text, status)


def traced(request_id: str) -> list[Header]:
    """How Swift's clients know a request again in a log."""
    return [("X-Trans-Id", request_id), ("X-Openstack-Request-Id", request_id)]


def _asks_for_form(inbound: Inbound) -> bool:
    """Whether this is the preflight of a form: no other dialect has a POST to an object without a query."""
    asked = inbound.header("access-control-request-method")
    return inbound.method == "OPTIONS" and asked == "POST" and is_form_path(inbound)


def _page(said: Saying) -> str:
    return f"<html><h1>{escape(said.code)}</h1><p>{escape(said.message)}</p></html>"


def _account(inbound: Inbound) -> str:
    try:
        place = place_of(inbound)
    except Denied:
        place = None
    return quote(place.account, safe="") if place else "unknown"
