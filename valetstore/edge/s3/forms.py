"""PostObject: a browser's upload. The fields of the form are what headers are elsewhere, and the answer may be a page.

Rule: the fields were held against their policy before; of the request's own headers only its conditions count.
"""

from functools import partial
from typing import Final

import msgspec

from valetstore.edge.call import Call
from valetstore.edge.posted import FileSource, as_headers, posted
from valetstore.edge.replies import Reply
from valetstore.edge.s3.checksums import checksum_headers, declared
from valetstore.edge.s3.heads import metadata_of, refuse_unserved, write_conditions
from valetstore.edge.s3.writing import refuse_unmet
from valetstore.edge.uploading import Incoming, take_in
from valetstore.errors import Denied
from valetstore.grants.s3.form import fields_of, no_form
from valetstore.grants.s3.promote import AUTH
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import MD5

_RENAMED: Final = {"acl": "x-amz-acl", "tagging": "x-amz-tagging"}


async def post_object(call: Call) -> Reply:
    """The form's file as one object; its MD5 is its entity tag. Answered as the form asks: 204, 200, 201 or 303."""
    inbound, services, form = call.inbound, call.services, call.exchange.form
    if form is None:
        raise no_form()
    fields = fields_of(inbound)
    described = as_headers(fields, inbound, "x-amz-", _RENAMED, AUTH)
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
        FileSource(form),
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
    return posted(call, fields, stored.info.etag, headers)
