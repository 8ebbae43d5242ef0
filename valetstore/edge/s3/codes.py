"""S3's error codes: the status and the sentence of each, and which one stands for each refusal of ours.

Rule 1: every row of `errors.REFUSALS` has one here; a code that somebody says without a status or a sentence of its
own (`Denied.saying`) has them in `SENTENCES`.
Sentences are those that S3 itself gives, word for word: there are clients that compare them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

SENTENCES: Final[Mapping[str, tuple[int, str]]] = {
    "AccessDenied": (403, "Access Denied"),
    "AccessForbidden": (
        403,
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request "
        "method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the "
        "resource's CORS spec.",
    ),
    "AuthorizationHeaderMalformed": (400, "The authorization header that you provided is not valid."),
    "AuthorizationQueryParametersError": (400, "The authorization query parameters that you provided are not valid."),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "BadRequest": (400, "An error occurred when parsing the HTTP request."),
    "BucketAlreadyExists": (
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
        "Please select a different name and try again.",
    ),
    "BucketAlreadyOwnedByYou": (
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty"),
    "ConditionalRequestConflict": (
        409,
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
    ),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "ExpiredToken": (400, "The provided token has expired."),
    "IllegalLocationConstraintException": (
        400,
        "The specified location-constraint is not valid for the region that this request was sent to.",
    ),
    "IncompleteBody": (
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    ),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": (400, ""),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidChunkSizeError": (403, "Only the last chunk is allowed to have a size less than 8192 bytes"),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidLocationConstraint": (400, "The specified location-constraint is not valid"),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag.",
    ),
    "InvalidPartOrder": (
        400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ),
    "InvalidPolicyDocument": (400, "The content of the form does not meet the conditions specified in the policy"),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, ""),
    "InvalidStorageClass": (400, "The storage class you specified is not valid"),
    "InvalidTag": (400, "The tag provided was not a valid tag."),
    "InvalidToken": (400, "The provided token is malformed or otherwise invalid."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedPOSTRequest": (
        400,
        "The body of your POST request is not well-formed multipart/form-data.",
    ),
    "MalformedTrailerError": (
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    "MalformedXML": (
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    "MaxMessageLengthExceeded": (400, "Your request was too big."),
    "MaxPostPreDataLengthExceeded": (
        400,
        "Your POST request fields preceding the upload file were too large.",
    ),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
    ),
    "NoSuchVersion": (404, "The specified version does not exist."),
    # Which operation or header it is says more than S3's one sentence about headers.
    "NotImplemented": (501, ""),
    "OperationAborted": (
        409,
        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
    ),
    "PermanentRedirect": (
        301,
        "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all "
        "future requests to this endpoint.",
    ),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "RequestHeaderSectionTooLarge": (
        400,
        "Your request header and query parameters exceed the maximum allowed size.",
    ),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "RequestTimeout": (
        400,
        "Your socket connection to the server was not read from or written to within the timeout period. Idle "
        "connections will be closed.",
    ),
    "ServiceUnavailable": (503, ""),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    # S3 never runs out of room and has no code for it.
    "StorageFull": (507, ""),
    "TooManyBuckets": (400, "You have attempted to create more buckets than allowed."),
    "XAmzContentChecksumMismatch": (400, "The provided 'x-amz-checksum' header does not match what was computed."),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
}
"""Status and sentence by S3's code. An empty sentence is the refusal's own public one."""


class Row(NamedTuple):
    """How S3 puts one of our refusals. An empty `message` is the refusal's own public sentence."""

    code: str
    status: int
    message: str = ""


def _as(code: str) -> Row:
    return Row(code, *SENTENCES[code])


def _ours(code: str) -> Row:
    return Row(code, SENTENCES[code][0])


_ONE_AUTH: Final = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or "
    "the Authorization header should be specified"
)

ROWS: Final[Mapping[str, Row]] = {
    "request_malformed": _ours("BadRequest"),
    "target_invalid": _ours("InvalidURI"),
    "object_key_invalid": _ours("InvalidURI"),
    "parameter_invalid": _ours("InvalidArgument"),
    "method_not_allowed": _as("MethodNotAllowed"),
    "headers_too_large": _as("RequestHeaderSectionTooLarge"),
    "request_timeout": _as("RequestTimeout"),
    "cors_not_allowed": _as("AccessForbidden"),
    "not_implemented": _ours("NotImplemented"),
    # S3 has no 401: who comes without a key is anonymous, and anonymous may do nothing.
    "key_missing": _as("AccessDenied"),
    "key_ambiguous": Row("InvalidArgument", 400, _ONE_AUTH),
    "key_malformed": _ours("InvalidArgument"),
    "signature_mismatch": _as("SignatureDoesNotMatch"),
    "key_not_yet_valid": Row("AccessDenied", 403, "Request is not valid yet"),
    "key_expired": Row("AccessDenied", 403, "Request has expired"),
    "key_revoked": _ours("AccessDenied"),
    "key_used": _ours("AccessDenied"),
    "replay_unavailable": _ours("ServiceUnavailable"),
    "revocation_unavailable": _ours("ServiceUnavailable"),
    "operation_not_allowed": _ours("AccessDenied"),
    "path_not_allowed": _ours("AccessDenied"),
    "source_not_allowed": _ours("AccessDenied"),
    "https_required": _ours("AccessDenied"),
    "header_required": _ours("AccessDenied"),
    "ttl_too_long": _ours("AccessDenied"),
    "type_not_allowed": _ours("AccessDenied"),
    "too_small": _as("EntityTooSmall"),
    "too_large": _as("EntityTooLarge"),
    # The one code that all of S3's clients wait after and then try again.
    "rate_limited": _as("SlowDown"),
    "not_found": _as("NoSuchKey"),
    "exists": _as("PreconditionFailed"),
    "precondition_failed": _as("PreconditionFailed"),
    "range_not_satisfiable": _as("InvalidRange"),
    "bucket_not_found": _as("NoSuchBucket"),
    "bucket_exists": _as("BucketAlreadyOwnedByYou"),
    "upload_not_found": _as("NoSuchUpload"),
    "part_invalid": _as("InvalidPart"),
    "conflict": _ours("OperationAborted"),
    "digest_mismatch": _as("BadDigest"),
    "body_incomplete": _as("IncompleteBody"),
    "metadata_too_large": _as("MetadataTooLarge"),
    "storage_full": _ours("StorageFull"),
    "storage_unavailable": _ours("ServiceUnavailable"),
    "storage_error": _as("InternalError"),
    "overloaded": _as("SlowDown"),
    "internal_error": _as("InternalError"),
}
"""S3's code, status and sentence by ours."""
