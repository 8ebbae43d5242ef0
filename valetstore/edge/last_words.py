"""Last words: the whole response to what never became a request, after which the connection ends."""

from http import HTTPStatus

from valetstore.edge.replies import problem
from valetstore.edge.served import SAFETY
from valetstore.errors import Denied


def last_words(denied: Denied, request_id: str) -> bytes:
    """Head and body. Nothing of what the client sent is repeated."""
    reply = problem(denied)
    headers = [*reply.headers, ("X-Request-Id", request_id), *SAFETY]
    headers += [("Content-Length", str(reply.length)), ("Connection", "close")]
    status = HTTPStatus(reply.status)
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers)
    assert isinstance(reply.body, bytes)
    return head.encode("latin-1") + b"\r\n" + reply.body
