"""How Google puts a refusal: the error document of its XML API.

Rule 1: a member holds what the client itself sent or what is public; never a secret, nor what one would sign.
Rule 2: our own code goes along in X-Valet-Error, whatever Google's is; our own sentence is in `Details`.
"""

import datetime
from typing import Final

from valetstore.edge.dialect import query_of
from valetstore.edge.gcs.codes import ROWS, SENTENCES
from valetstore.edge.replies import Reply, refusal_headers
from valetstore.edge.xml import document
from valetstore.encoding import SECONDS_MAX
from valetstore.errors import Denied, Saying
from valetstore.inbound import Inbound

HEAD: Final = "<?xml version='1.0' encoding='UTF-8'?>"
CONTENT_TYPE: Final = "application/xml; charset=UTF-8"
SESSION: Final = "upload_id"

_MARKS: Final = frozenset(
    {"x-goog-algorithm", "x-goog-credential", "x-goog-signature", "x-goog-date", "x-goog-expires", "googleaccessid"}
)
_NATIVE: Final = "valet"


def carries(inbound: Inbound) -> bool:
    """Whether a request carries a key of Google's, in whatever state: in its query, in a form, or as a session."""
    query = query_of(inbound)
    if not _MARKS.isdisjoint(query) or any(name in _MARKS for name, _ in inbound.form or ()):
        return True
    return SESSION in query and _NATIVE not in query


def hints(inbound: Inbound) -> bool:
    """Whether a request without a key is Google's: only its clients send these headers."""
    return any(name.lower().startswith(b"x-goog-") for name, _ in inbound.headers)


def refusal(denied: Denied, inbound: Inbound, request_id: str) -> Reply:
    """A refusal as Google's error document; the reply to a HEAD describes it."""
    said = saying_of(denied, inbound)
    text = document(
        "Error",
        [("Code", said.code), ("Message", said.message), *said.members, ("RequestId", request_id)],
        namespace=False,
        head=HEAD,
    )
    # A challenge would ask for a Bearer key, which a signed URL's user has not.
    headers = [header for header in refusal_headers(denied) if header[0] not in ("WWW-Authenticate", "Retry-After")]
    if said.status in (429, 503):
        headers.append(("Retry-After", str(denied.evidence.get("retry_after", 5))))
    headers += [("Content-Type", CONTENT_TYPE), ("X-Valet-Error", denied.code), ("Cache-Control", "no-store")]
    return Reply(said.status, headers, text)


def saying_of(denied: Denied, inbound: Inbound) -> Saying:
    """Code, sentence, status and members, whoever chose them: who refused, else the tables."""
    said = denied.said or Saying(ROWS[denied.code])
    status, message = SENTENCES.get(said.code, (denied.status, denied.text))
    message = said.message or message
    members = dict(said.members)
    details = _details(denied, inbound)
    # Whoever chose the words has said all in them, unless there is a sentence of ours that is not among them.
    if details != message:
        members.setdefault("Details", details)
    return Saying(said.code, message, said.status or status, tuple(members.items()))


def _details(denied: Denied, inbound: Inbound) -> str:
    expired_at = denied.evidence.get("expired_at")
    if denied.code == "key_expired" and expired_at is not None:
        query = query_of(inbound)
        seconds = min(max(int(float(str(expired_at))), 0), SECONDS_MAX)
        if "googleaccessid" in query:
            return f"Request has expired: {seconds}"
        if SESSION not in query:
            moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
            return f"The provided token has expired. Request signature expired at: {moment}"
    return denied.text
