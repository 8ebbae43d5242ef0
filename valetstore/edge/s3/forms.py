"""PostObject: a browser's upload. The fields of the form are what headers are elsewhere, and the answer may be a page.

Rule 1: the fields were held against their policy before; of the request's own headers only its conditions count.
Rule 2: where the browser goes afterwards is a field like any other: it must be an http(s) URL, or it is passed over, as
S3 does.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from valetstore.edge.call import Call
from valetstore.edge.exchange import FormReader
from valetstore.edge.replies import Header, Reply
from valetstore.edge.s3.checksums import checksum_headers, declared
from valetstore.edge.s3.heads import argument_invalid, metadata_of, refuse_unserved, write_conditions
from valetstore.edge.s3.writing import refuse_unmet
from valetstore.edge.uploading import Incoming, take_in
from valetstore.edge.xml import xml_reply
from valetstore.encoding import UNSAFE_IN_HEADER
from valetstore.errors import Denied
from valetstore.grants.s3.form import fields_of, no_form
from valetstore.grants.s3.promote import AUTH
from valetstore.inbound import Inbound
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import KEPT_HEADERS, MD5

_RENAMED: Final = {"acl": "x-amz-acl", "tagging": "x-amz-tagging"}
_HEADERS: Final = frozenset({"content-md5", "content-type"}) | KEPT_HEADERS
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
# What a URL may hold: what is escaped stays so, and all else is escaped.
_URL_SAFE: Final = "%/:?#[]@!$&'()*+,;=-._~"


async def post_object(call: Call) -> Reply:
    """The form's file as one object; its MD5 is its entity tag. Answered as the form asks: 204, 200, 201 or 303."""
    inbound, services, form = call.inbound, call.services, call.exchange.form
    if form is None:
        raise no_form()
    fields = fields_of(inbound)
    described = as_headers(fields, inbound)
    refuse_unserved(inbound)
    refuse_unserved(described)
    promised = declared(described)
    # What the object must be is said by the form; a digest in the head would be one of the whole body.
    admission = msgspec.structs.replace(call.admission, inbound=described)
    rules = BodyRules.of(admission, services.config.limits.upload_bytes_max)
    metadata = metadata_of(described)
    conditions = write_conditions(inbound)
    await refuse_unmet(call, conditions)
    incoming = Incoming(
        _File(form),
        rules,
        partial(services.store.begin, call.admission, None, rules.hashes | promised.digests | {MD5}),
        lambda digests, trailers: msgspec.structs.replace(metadata, checksum=promised.check(digests, trailers)),
        conditions,
        call.admission.grant.create_only,
    )
    try:
        stored = await take_in(services, call.exchange, call.admission, incoming, call.on_admitted)
    except Denied as denied:
        # The length that was announced is that of the whole form.
        raise denied.because(size=call.exchange.bytes_in) if denied.code == "too_large" else denied from None
    headers = [("ETag", stored.info.etag), *checksum_headers(stored.info.metadata.checksum)]
    return _reply(call, fields, stored.info.etag, headers)


def as_headers(fields: Mapping[str, str], inbound: Inbound) -> Inbound:
    """A request whose headers are what the form's fields stand for. Raises `parameter_invalid`."""
    headers = []
    for field, value in fields.items():
        name = _RENAMED.get(field, field)
        if name not in _HEADERS and (not name.startswith("x-amz-") or name in AUTH):
            continue
        if not _NAME.fullmatch(name) or UNSAFE_IN_HEADER.search(value):
            raise argument_invalid("A field of the form cannot be kept as a header.", field, value)
        headers.append((name.encode("ascii"), value.strip(" \t").encode()))
    return Inbound(
        inbound.method, inbound.target, tuple(headers), now=inbound.now, peer=inbound.peer, tls=inbound.tls,
        host=inbound.host, form=inbound.form,
    )  # fmt: skip


class _File:
    """The file of a form as a body's `Source`."""

    def __init__(self, form: FormReader) -> None:
        self.length: int | None = None
        self.trailers: Mapping[str, str] = {}
        self.read = form.read


def _reply(call: Call, fields: Mapping[str, str], etag: str, headers: list[Header]) -> Reply:
    key, location = call.admission.key, _location(call)
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
            return xml_reply("PostResponse", rows, 201, headers, namespace=False)
        case _:
            return Reply(204, headers)


def redirect_to(url: str, made: Mapping[str, str]) -> str | None:
    """The URL with what was made added to its query; None where it is not one that a browser may be sent to."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or UNSAFE_IN_HEADER.search(url) or "\\" in url:
        return None
    query = "&".join(filter(None, (parts.query, urlencode(made, quote_via=quote))))
    return quote(parts._replace(query=query).geturl(), safe=_URL_SAFE)


def _location(call: Call) -> str:
    """The object's own URL, as clients reach it."""
    inbound, key = call.inbound, call.admission.key
    # In virtual-host style the bucket is in the Host, and the form went to `/`.
    in_host = not inbound.path.strip("/")
    here = f"{'https' if inbound.tls else 'http'}://{inbound.host}"
    base = here if in_host else call.services.config.listen.public_url.rstrip("/") or here
    return base + quote(f"/{key.name}" if in_host else key.path, safe="/~")
