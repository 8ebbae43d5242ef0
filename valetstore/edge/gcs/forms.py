"""PostObject: a browser's upload under a policy document. The fields of the form are what headers are elsewhere.

Rule: the fields were held against their policy before; of the request's own headers only its conditions count.
Source: Google Cloud, XML API, "POST Object".
"""

from functools import partial
from typing import Final

import msgspec

from valetstore.edge.call import Call
from valetstore.edge.gcs.heads import KEPT_DIGESTS, metadata_of, refuse_unserved, stored_headers
from valetstore.edge.gcs.voice import HEAD
from valetstore.edge.gcs.writing import body_rules, write_conditions
from valetstore.edge.posted import FileSource, as_headers, posted
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import Incoming, refuse_early, take_in
from valetstore.errors import Denied
from valetstore.grants.gcs.form import fields_of

_RENAMED: Final = {"acl": "x-goog-acl"}
_CONDITIONS: Final = (b"if-", b"x-goog-if-")
_OF_THE_KEY: Final = frozenset({"x-goog-algorithm", "x-goog-credential", "x-goog-date", "x-goog-signature"})


async def post_object(call: Call) -> Reply:
    """The form's file as one object. Answered as the form asks: 204, 200, 201 or 303."""
    inbound, services, form = call.inbound, call.services, call.exchange.form
    fields = fields_of(inbound)
    if form is None:
        raise Denied("internal_error", reason="the form was not opened")
    conditions_sent = tuple(pair for pair in inbound.headers if pair[0].lower().startswith(_CONDITIONS))
    described = as_headers(fields, inbound, "x-goog-", _RENAMED, _OF_THE_KEY).with_headers(conditions_sent)
    refuse_unserved(inbound)
    refuse_unserved(described)
    # What the object must be is said by the form; a digest in the head would be one of the whole body.
    admission = msgspec.structs.replace(call.admission, inbound=described)
    rules = body_rules(described, admission, services.config.limits.upload_bytes_max)
    metadata = metadata_of(described)
    conditions = await write_conditions(call._replace(admission=admission))
    await refuse_early(services.store, admission, conditions)
    incoming = Incoming(
        FileSource(form),
        rules,
        partial(services.store.begin, call.admission, None, rules.hashes | KEPT_DIGESTS),
        lambda _digests, _trailers: metadata,
        conditions,
        call.admission.grant.create_only,
    )
    stored = await take_in(services, call.exchange, call.admission, incoming, call.on_admitted)
    headers = [("ETag", stored.info.etag), *stored_headers(stored.info)]
    return posted(call, fields, stored.info.etag, headers, HEAD)
