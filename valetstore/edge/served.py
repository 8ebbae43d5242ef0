"""What a download's head says: the object's own headers, made safe to open in a browser.

Anyone with a write key chooses an object's content type. So nothing served may run as a page of this host:
it is sandboxed, its type is not guessed, and types that can carry script are offered for saving.
"""

import base64
import contextlib
import re
from typing import Final

from valetstore.edge.replies import Header
from valetstore.encoding import UNSAFE_IN_HEADER, content_disposition, http_date
from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.inbound import Inbound
from valetstore.storage.promise import KEPT_HEADERS, SHA256, Metadata, ObjectInfo

META_PREFIX: Final = "X-Valet-Meta-"
METADATA_BYTES_MAX: Final = 3_000
"""All names and values an upload sends to be kept: they live in one extended attribute of 4,000 bytes."""

KEPT: Final = {name: name.title() for name in sorted(KEPT_HEADERS)}
"""How the representation headers that are stored with an object are written when they are returned with it."""

_KEPT_RAW: Final = frozenset(name.encode() for name in KEPT)

SAFETY: Final[tuple[Header, ...]] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
    ("Referrer-Policy", "no-referrer"),
)

_ACTIVE: Final = frozenset({"text/html", "text/xml", "application/xml", "text/xsl"})
# RFC 9110 section 8.3.1: one type, and parameters without a comma outside quotes.
_MEDIA_TYPE: Final = re.compile(
    r"""\s*([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)\s*(?:;(?:[^",]|"(?:[^"\\]|\\.)*")*)?""", re.ASCII
)
_UPDATED_BY_304: Final = frozenset({"ETag", "Last-Modified", "Cache-Control", "Expires"})
_FILENAME: Final = re.compile(r'(?i)filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))')


def metadata_of(inbound: Inbound) -> Metadata:
    """What an upload's head says about its object. Raises `metadata_too_large`."""
    return kept_of(inbound, user_of(inbound, META_PREFIX))


def user_of(inbound: Inbound, prefix: str) -> dict[str, str]:
    """The uploader's own metadata: the headers of a dialect's prefix, by lower-case name without it."""
    if not inbound.further_names:
        return {}
    prefix = prefix.lower()
    names = [raw_name.decode("latin-1") for raw_name in inbound.further_names]
    return {name.removeprefix(prefix): inbound.header(name) or "" for name in names if name.startswith(prefix)}


def kept_of(inbound: Inbound, user: dict[str, str]) -> Metadata:
    """What is kept of an upload's head, beside metadata of its own. Raises `metadata_too_large`."""
    headers: dict[str, str] = {}
    if not inbound.header_names.isdisjoint(_KEPT_RAW):
        headers = {name: value for name in KEPT if (value := inbound.header(name)) is not None}
    return described(inbound.header("content-type"), headers, user)


def described(content_type: str | None, headers: dict[str, str], user: dict[str, str]) -> Metadata:
    """What is kept of an object beside its bytes. Raises `metadata_too_large`."""
    kept = "".join([content_type or "", *headers.values(), *user, *user.values()])
    # Latin-1 text takes up to two bytes a character in the attribute.
    if len(kept.encode("utf-8")) > METADATA_BYTES_MAX:
        raise Denied("metadata_too_large", f"At most {METADATA_BYTES_MAX} bytes of kept headers.")
    return Metadata(content_type=content_type, headers=headers, user=user)


def validators(info: ObjectInfo) -> list[Header]:
    """What a client compares later: on 200, 206 and 304 alike."""
    return [("ETag", info.etag), ("Last-Modified", http_date(info.modified))]


def download_headers(info: ObjectInfo, grant: Grant, meta_prefix: str = META_PREFIX) -> list[Header]:
    """The whole head of a 200 or 206 but for its length: the object's headers, the key's overrides, safety."""
    kept = info.metadata.headers | dict(grant.response)
    content_type = kept.pop("content-type", None) or info.metadata.content_type or "application/octet-stream"
    content_type = sendable(content_type)  # first: what is judged is what is sent
    kept.setdefault("cache-control", "private")
    if is_active(content_type):
        kept["content-disposition"] = _as_attachment(kept.get("content-disposition", "attachment"))
    headers = [("Content-Type", content_type), ("Accept-Ranges", "bytes"), *validators(info)]
    for name, value in kept.items():
        value = _disposition(value) if name == "content-disposition" else sendable(value)
        headers.append((KEPT[name], value))
    headers += [(meta_prefix + name, sendable(value)) for name, value in info.metadata.user.items()]
    if SHA256 in info.digests:
        # RFC 9530 section 3: over the whole representation, so a part carries it too.
        headers.append(("Repr-Digest", f"sha-256=:{base64.b64encode(info.digests[SHA256]).decode()}:"))
    return headers


def not_modified_headers(info: ObjectInfo, grant: Grant) -> list[Header]:
    """What a cache updates from a 304: the same as the 200 would say (RFC 9110 section 15.4.5)."""
    return [(name, value) for name, value in download_headers(info, grant) if name in _UPDATED_BY_304]


def is_active(content_type: str) -> bool:
    """Whether a browser might run script in it: HTML, SVG, all XML, parts of any type - or what it is, is unclear.

    A value that is no media type is read by browsers in ways of their own: of `text/plain, text/html` the
    last counts.
    """
    found = _MEDIA_TYPE.fullmatch(content_type)
    if not found:
        return True
    essence = found[1].lower()
    return essence in _ACTIVE or essence.endswith("+xml") or essence.startswith("multipart/")


def sendable(value: str) -> str:
    """Header text that cannot split a header, nor fail to be sent."""
    return UNSAFE_IN_HEADER.sub("", value).encode("latin-1", "replace").decode("latin-1")


def _as_attachment(value: str) -> str:
    kind, semicolon, rest = value.partition(";")
    return f"attachment{semicolon}{rest}" if kind.strip().lower() != "attachment" else value


def _disposition(value: str) -> str:
    """Non-ASCII file names in RFC 5987's form; what is plain stays as it is."""
    value = UNSAFE_IN_HEADER.sub("", value)
    found = _FILENAME.search(value)
    if value.isascii() or not found:
        return sendable(value)
    name = re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2].strip()
    with contextlib.suppress(UnicodeError):  # a stored header's bytes are kept as latin-1 and were most likely UTF-8
        name = name.encode("latin-1").decode("utf-8")
    kind = value.partition(";")[0].strip()
    return content_disposition(kind if kind.isascii() and kind else "attachment", name)
