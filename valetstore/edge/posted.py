"""A form's upload: its fields are what headers are elsewhere, its file is the body, and the answer may be a page.

Rule: where the browser goes afterwards is a field like any other: it must be an http(s) URL, or it is passed over, as
S3 and Google do.
"""

import re
from collections.abc import Mapping, Set
from typing import Final
from urllib.parse import quote

from valetstore.edge.call import Call
from valetstore.edge.exchange import FormReader
from valetstore.edge.forms import redirect_to
from valetstore.edge.nodes import argument_invalid
from valetstore.edge.replies import Header, Reply
from valetstore.edge.xml import HEAD, xml_reply
from valetstore.encoding import UNSAFE_IN_HEADER
from valetstore.inbound import Inbound
from valetstore.storage.promise import KEPT_HEADERS

_HEADERS: Final = frozenset({"content-md5", "content-type"}) | KEPT_HEADERS
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class FileSource:
    """The file of a form as a body's `Source`."""

    def __init__(self, form: FormReader) -> None:
        self.length: int | None = None
        self.trailers: Mapping[str, str] = {}
        self.read = form.read


def as_headers(
    fields: Mapping[str, str], inbound: Inbound, prefix: str, renamed: Mapping[str, str], unread: Set[str]
) -> Inbound:
    """A request whose headers are what the form's fields stand for. Raises `parameter_invalid`.

    Fields of the vendor's `prefix` are its headers but for those `unread`, and a few have another name there.
    """
    headers = []
    for field, value in fields.items():
        name = renamed.get(field, field)
        if name not in _HEADERS and (not name.startswith(prefix) or name in unread):
            continue
        if not _NAME.fullmatch(name) or UNSAFE_IN_HEADER.search(value):
            raise argument_invalid("A field of the form cannot be kept as a header.", field, value)
        headers.append((name.encode("ascii"), value.strip(" \t").encode()))
    return Inbound(
        inbound.method, inbound.target, tuple(headers), now=inbound.now, peer=inbound.peer, tls=inbound.tls,
        host=inbound.host, form=inbound.form,
    )  # fmt: skip


def posted(call: Call, fields: Mapping[str, str], etag: str, headers: list[Header], head: str = HEAD) -> Reply:
    """The answer as the form asks for it: 303, else 200, 201 with a document (whose XML declaration is `head`), 204."""
    key, location = call.admission.key, location_of(call)
    made = {"bucket": key.bucket, "key": key.name, "etag": etag}
    following = redirect_to(fields.get("success_action_redirect", fields.get("redirect", "")), made)
    if following is not None:
        return Reply(303, [*headers, ("Location", following)])
    headers.append(("Location", location))
    match fields.get("success_action_status"):
        case "200":
            return Reply(200, headers)
        case "201":
            rows = [("Location", location), ("Bucket", key.bucket), ("Key", key.name), ("ETag", etag)]
            return xml_reply("PostResponse", rows, 201, headers, namespace=False, head=head)
        case _:
            return Reply(204, headers)


def location_of(call: Call) -> str:
    """The object's own URL, as clients reach it."""
    inbound, key = call.inbound, call.admission.key
    # In virtual-host style the bucket is in the Host, and the form went to `/`.
    in_host = not inbound.path.strip("/")
    here = f"{'https' if inbound.tls else 'http'}://{inbound.host}"
    base = here if in_host else call.services.config.listen.public_url.rstrip("/") or here
    return base + quote(f"/{key.name}" if in_host else key.path, safe="/~")
