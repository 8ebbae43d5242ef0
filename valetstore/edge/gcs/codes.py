"""Google's error codes of the XML API: status and sentence of each, and which one stands for each refusal of ours.

Rule 1: every row of `errors.REFUSALS` has one here; a code that somebody says without a status or a sentence of its
own (`Denied.saying`) has them in `SENTENCES`.
Sentences are those that Google itself gives, word for word: there are clients that compare them.
Source: Google Cloud, "HTTP status and error codes for XML".
"""

from collections.abc import Mapping
from typing import Final

SENTENCES: Final[Mapping[str, tuple[int, str]]] = {
    "AccessDenied": (403, "Access denied."),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "BadRequest": (400, "Bad request."),
    "BucketAlreadyOwnedByYou": (
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty."),
    "Conflict": (409, "The request conflicts with another one, or with the present state of the object."),
    "EntityTooLarge": (
        400,
        "Your proposed upload is larger than the maximum object size specified in your Policy Document.",
    ),
    "EntityTooSmall": (
        400,
        "Your proposed upload is smaller than the minimum object size specified in your Policy Document.",
    ),
    "ExpiredToken": (400, "Invalid argument."),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    "InsufficientStorage": (507, "There is no room for this upload."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidArgument": (400, "Invalid argument."),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidPolicyDocument": (
        400,
        "The content of the form does not meet the conditions specified in the policy document.",
    ),
    "InvalidRange": (416, "The requested range cannot be satisfied."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KeyTooLong": (400, "Your key is too long."),
    "MalformedPOSTRequest": (400, "The body of your POST request is not well-formed multipart/form-data."),
    "MalformedSecurityHeader": (400, "Your request has a malformed header."),
    "MaxPostPreDataLengthExceeded": (400, "Your POST request fields preceding the upload file were too large."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (410, "The upload session is over: it was completed, given up, or has expired."),
    "NotImplemented": (501, "A header or query you provided requested a function that is not implemented."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold."),
    "RequestHeaderSectionTooLarge": (431, "Your request line or its headers are too large."),
    "RequestTimeout": (
        408,
        "Your socket connection to the server was not read from or written to within the timeout period.",
    ),
    "ServiceUnavailable": (503, "Service unavailable. Please try again."),
    "SignatureDoesNotMatch": (403, "Access denied."),
    "SlowDown": (429, "Please reduce your request rate."),
}
"""Status and sentence by Google's code."""

ROWS: Final[Mapping[str, str]] = {
    "request_malformed": "BadRequest",
    "target_invalid": "InvalidURI",
    "object_key_invalid": "InvalidURI",
    "parameter_invalid": "InvalidArgument",
    "method_not_allowed": "MethodNotAllowed",
    "headers_too_large": "RequestHeaderSectionTooLarge",
    "request_timeout": "RequestTimeout",
    "cors_not_allowed": "AccessDenied",
    "not_implemented": "NotImplemented",
    # Who comes without a key is anonymous, and anonymous may do nothing.
    "key_missing": "AccessDenied",
    "key_ambiguous": "InvalidArgument",
    "key_malformed": "InvalidArgument",
    "signature_mismatch": "SignatureDoesNotMatch",
    "key_not_yet_valid": "AccessDenied",
    "key_expired": "ExpiredToken",
    "key_revoked": "AccessDenied",
    "key_used": "AccessDenied",
    "replay_unavailable": "ServiceUnavailable",
    "revocation_unavailable": "ServiceUnavailable",
    "operation_not_allowed": "AccessDenied",
    "path_not_allowed": "AccessDenied",
    "source_not_allowed": "AccessDenied",
    "https_required": "AccessDenied",
    "header_required": "AccessDenied",
    "ttl_too_long": "AccessDenied",
    "type_not_allowed": "AccessDenied",
    "too_small": "EntityTooSmall",
    "too_large": "EntityTooLarge",
    "rate_limited": "SlowDown",
    "not_found": "NoSuchKey",
    "exists": "PreconditionFailed",
    "precondition_failed": "PreconditionFailed",
    "range_not_satisfiable": "InvalidRange",
    "bucket_not_found": "NoSuchBucket",
    "bucket_exists": "BucketAlreadyOwnedByYou",
    # Clients begin a new session after a 404 or a 410, and try the same one again after most others.
    "upload_not_found": "NoSuchUpload",
    "part_invalid": "InvalidArgument",
    "conflict": "Conflict",
    "digest_mismatch": "BadDigest",
    "body_incomplete": "IncompleteBody",
    "metadata_too_large": "MetadataTooLarge",
    "storage_full": "InsufficientStorage",
    "storage_unavailable": "ServiceUnavailable",
    "storage_error": "InternalError",
    "overloaded": "ServiceUnavailable",
    "internal_error": "InternalError",
}
"""Google's code by ours."""
