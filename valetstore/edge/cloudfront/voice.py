"""How CloudFront puts a refusal: its short error document, and the codes of the S3 bucket behind it for objects.

Rule 1: what the key does not allow is AccessDenied, whatever it is; our own code goes along in X-Valet-Error.
Rule 2: every row of `errors.REFUSALS` has one here.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from valetstore.edge.replies import Reply, refusal_headers
from valetstore.edge.xml import document
from valetstore.errors import Denied, Saying
from valetstore.inbound import Inbound
from valetstore.objectkey import split_path


class Row(NamedTuple):
    """CloudFront's code and status for one of our refusals. An empty `message` is the refusal's own sentence."""

    code: str
    status: int
    message: str = ""


_DENIED: Final = Row("AccessDenied", 403, "Access Denied")
_BAD_REQUEST: Final = Row("BadRequest", 400)
_UNAVAILABLE: Final = Row("ServiceUnavailable", 503)
_INTERNAL: Final = Row("InternalError", 500, "We encountered an internal error. Please try again.")
_PRECONDITION: Final = Row("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold")

ROWS: Final[Mapping[str, Row]] = {
    "request_malformed": _BAD_REQUEST,
    "target_invalid": _BAD_REQUEST,
    "object_key_invalid": _BAD_REQUEST,
    "parameter_invalid": _BAD_REQUEST,
    "method_not_allowed": Row("MethodNotAllowed", 405),
    "headers_too_large": Row("RequestHeaderSectionTooLarge", 400),
    "request_timeout": Row("RequestTimeout", 400),
    "cors_not_allowed": Row("AccessForbidden", 403),
    "not_implemented": Row("NotImplemented", 501),
    "key_missing": Row("MissingKey", 403, "Missing Key-Pair-Id query parameter or cookie value"),
    "key_ambiguous": _BAD_REQUEST,
    "key_malformed": _DENIED,
    "signature_mismatch": _DENIED,
    "key_not_yet_valid": _DENIED,
    "key_expired": _DENIED,
    "key_revoked": _DENIED,
    "key_used": _DENIED,
    "replay_unavailable": _UNAVAILABLE,
    "revocation_unavailable": _UNAVAILABLE,
    "operation_not_allowed": _DENIED,
    "path_not_allowed": _DENIED,
    "source_not_allowed": _DENIED,
    "https_required": _DENIED,
    "header_required": _DENIED,
    "ttl_too_long": _DENIED,
    "type_not_allowed": _DENIED,
    "too_small": Row("EntityTooSmall", 400),
    "too_large": Row("EntityTooLarge", 400),
    "rate_limited": Row("SlowDown", 503, "Please reduce your request rate."),
    "not_found": Row("NoSuchKey", 404, "The specified key does not exist."),
    "exists": _PRECONDITION,
    "precondition_failed": _PRECONDITION,
    "range_not_satisfiable": Row("InvalidRange", 416, "The requested range is not satisfiable"),
    "bucket_not_found": Row("NoSuchBucket", 404, "The specified bucket does not exist"),
    "bucket_exists": Row("BucketAlreadyExists", 409),
    "upload_not_found": Row("NoSuchUpload", 404),
    "part_invalid": Row("InvalidPart", 400),
    "conflict": Row("OperationAborted", 409),
    "digest_mismatch": Row("BadDigest", 400),
    "body_incomplete": Row("IncompleteBody", 400),
    "metadata_too_large": Row("MetadataTooLarge", 400),
    "storage_full": Row("StorageFull", 507),
    "storage_unavailable": _UNAVAILABLE,
    "storage_error": _INTERNAL,
    "overloaded": Row("SlowDown", 503, "Please reduce your request rate."),
    "internal_error": _INTERNAL,
}
"""By our own code."""


def saying_of(denied: Denied, inbound: Inbound) -> Saying:
    """Code, sentence, status and members: what whoever refused has said, else the table's."""
    row, said = ROWS[denied.code], denied.said or Saying(ROWS[denied.code].code)
    # Another code than the table's has not the table's sentence.
    message = said.message or (row.message if said.code == row.code else "") or denied.text
    return Saying(said.code, message, said.status or row.status, said.members or _members(said.code, inbound))


def refusal(denied: Denied, inbound: Inbound, request_id: str) -> Reply:
    """A refusal as CloudFront's error document; the reply to a HEAD describes it."""
    said = saying_of(denied, inbound)
    children = [("Code", said.code), ("Message", said.message), *said.members]
    # A challenge would ask for a Bearer key, which none of CloudFront's clients has.
    headers = [header for header in refusal_headers(denied) if header[0] != "WWW-Authenticate"]
    headers += [("Content-Type", "text/xml"), ("X-Valet-Error", denied.code), ("Cache-Control", "no-store")]
    return Reply(said.status, [*headers, ("X-Amz-Cf-Id", request_id)], document("Error", children, namespace=False))


def _members(code: str, inbound: Inbound) -> tuple[tuple[str, str], ...]:
    """What S3's documents for this code name."""
    if code not in ("NoSuchKey", "NoSuchBucket"):
        return ()
    try:
        bucket, name = split_path(inbound.path)
    except Denied:
        return ()
    return (("Key", name),) if code == "NoSuchKey" else (("BucketName", bucket),)
