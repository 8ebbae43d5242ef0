"""Azure's error codes: the status and the sentence of each, and which one stands for each refusal of ours.

Rule 1: every row of `errors.REFUSALS` has one here; a code that somebody says without a status or a sentence of its
own (`Denied.saying`) has them in `SENTENCES`.
Sentences are those that Azure itself gives, word for word: its clients show them, and some compare them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

SENTENCES: Final[Mapping[str, tuple[int, str]]] = {
    "AuthenticationFailed": (
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
        "including the signature.",
    ),
    "AuthorizationFailure": (403, "This request is not authorized to perform this operation."),
    "AuthorizationPermissionMismatch": (
        403,
        "This request is not authorized to perform this operation using this permission.",
    ),
    "AuthorizationProtocolMismatch": (
        403,
        "This request is not authorized to perform this operation using this protocol.",
    ),
    "AuthorizationResourceTypeMismatch": (
        403,
        "This request is not authorized to perform this operation using this resource type.",
    ),
    "AuthorizationServiceMismatch": (
        403,
        "This request is not authorized to perform this operation using this service.",
    ),
    "AuthorizationSourceIPMismatch": (
        403,
        "This request is not authorized to perform this operation using this source IP {SourceIP}.",
    ),
    "BlobAlreadyExists": (409, "The specified blob already exists."),
    "BlobDoesNotUseCustomerSpecifiedEncryption": (
        409,
        "The specified blob does not use customer specified encryption.",
    ),
    "BlobNotFound": (404, "The specified blob does not exist."),
    "BlockCountExceedsLimit": (
        409,
        "The committed block count cannot exceed the maximum limit of 50,000 blocks.",
    ),
    "BlockListTooLong": (400, "The block list may not contain more than 50,000 blocks."),
    "BothCrc64AndMd5HeaderPresent": (
        400,
        "Both x-ms-content-crc64 header and Content-MD5 header are present.",
    ),
    "ConditionHeadersNotSupported": (400, "Condition headers are not supported."),
    "ConditionNotMet": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "ContainerAlreadyExists": (409, "The specified container already exists."),
    "ContainerBeingDeleted": (409, "The specified container is being deleted. Try operation later."),
    "ContainerNotFound": (404, "The specified container does not exist."),
    "CorsPreflightFailure": (403, "CORS not enabled or no matching rule found for this request."),
    "Crc64Mismatch": (
        400,
        "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
    ),
    "EmptyMetadataKey": (400, "The key for one of the metadata key-value pairs is empty."),
    # Azure has no code for a disk that is full.
    "InsufficientStorage": (507, ""),
    "InternalError": (500, "The server encountered an internal error. Please retry the request."),
    "InvalidAuthenticationInfo": (
        400,
        "Authentication information is not given in the correct format. Check the value of Authorization header.",
    ),
    "InvalidBlobOrBlock": (400, "The specified blob or block content is invalid."),
    "InvalidBlobType": (409, "The blob type is invalid for this operation."),
    "InvalidBlockId": (
        400,
        "The specified block ID is invalid. The block ID must be Base64-encoded.",
    ),
    "InvalidBlockList": (400, "The specified block list is invalid."),
    "InvalidHeaderValue": (400, "The value for one of the HTTP headers is not in the correct format."),
    "InvalidInput": (400, "One of the request inputs is not valid."),
    "InvalidMd5": (
        400,
        "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and Base64-encoded.",
    ),
    "InvalidMetadata": (
        400,
        "The metadata specified is invalid. It has characters that are not permitted.",
    ),
    "InvalidQueryParameterValue": (
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "InvalidResourceName": (400, "The specified resource name contains invalid characters."),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "InvalidXmlDocument": (400, "XML specified is not syntactically valid."),
    "InvalidXmlNodeValue": (
        400,
        "The value for one of the XML nodes is not in the correct format.",
    ),
    "LeaseNotPresentWithBlobOperation": (412, "There is currently no lease on the blob."),
    "LeaseNotPresentWithContainerOperation": (412, "There is currently no lease on the container."),
    "Md5Mismatch": (
        400,
        "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
    ),
    "MetadataTooLarge": (400, "The size of the specified metadata exceeds the maximum size permitted."),
    "MissingContentLengthHeader": (411, "The Content-Length header was not specified."),
    "MissingRequiredHeader": (400, "An HTTP header that's mandatory for this request is not specified."),
    "MissingRequiredQueryParameter": (
        400,
        "A query parameter that's mandatory for this request is not specified.",
    ),
    "MultipleConditionHeadersNotSupported": (400, "Multiple condition headers are not supported."),
    "NoAuthenticationInformation": (
        401,
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
    ),
    "NotImplemented": (501, "The requested operation is not implemented on the specified resource."),
    "OperationTimedOut": (500, "The operation could not be completed within the permitted time."),
    "OutOfRangeInput": (400, "One of the request inputs is out of range."),
    "OutOfRangeQueryParameterValue": (
        400,
        "One of the query parameters specified in the request URI is outside the permissible range.",
    ),
    "RequestBodyTooLarge": (413, "The request body is too large and exceeds the maximum permissible limit."),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "ResourceTypeMismatch": (
        409,
        "The specified resource type does not match the type of the existing resource.",
    ),
    "ServerBusy": (503, "The server is currently unable to receive requests. Please retry your request."),
    "UnauthorizedBlobOverwrite": (403, "This request is not authorized to perform blob overwrites."),
    "UnsupportedHeader": (400, "One of the HTTP headers specified in the request is not supported."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support specified Http Verb."),
    "UnsupportedQueryParameter": (
        400,
        "One of the query parameters specified in the request URI is not supported.",
    ),
}
"""Status and sentence by Azure's code. An empty sentence is the refusal's own public one."""


class Row(NamedTuple):
    """How Azure puts one of our refusals.

    An empty `message` is the refusal's own public sentence. With `explained` that one goes along as the detail that
    Azure's documents have for an authentication that failed.
    """

    code: str
    status: int
    message: str = ""
    explained: bool = False


def _as(code: str) -> Row:
    return Row(code, *SENTENCES[code])


def _ours(code: str) -> Row:
    return Row(code, SENTENCES[code][0])


def _explained(code: str) -> Row:
    return Row(code, *SENTENCES[code], explained=True)


ROWS: Final[Mapping[str, Row]] = {
    "request_malformed": _ours("InvalidInput"),
    "target_invalid": _ours("InvalidUri"),
    "object_key_invalid": _ours("InvalidResourceName"),
    "parameter_invalid": _ours("InvalidInput"),
    "method_not_allowed": _as("UnsupportedHttpVerb"),
    "headers_too_large": _ours("OutOfRangeInput"),
    "request_timeout": _as("OperationTimedOut"),
    "cors_not_allowed": _as("CorsPreflightFailure"),
    "not_implemented": _ours("NotImplemented"),
    "key_missing": _as("NoAuthenticationInformation"),
    "key_ambiguous": _ours("InvalidAuthenticationInfo"),
    "key_malformed": _explained("AuthenticationFailed"),
    "signature_mismatch": _explained("AuthenticationFailed"),
    "key_not_yet_valid": _explained("AuthenticationFailed"),
    "key_expired": _explained("AuthenticationFailed"),
    # As of a stored access policy that was taken away.
    "key_revoked": _explained("AuthenticationFailed"),
    "key_used": _ours("AuthorizationFailure"),
    "replay_unavailable": _ours("ServerBusy"),
    "revocation_unavailable": _ours("ServerBusy"),
    "operation_not_allowed": _as("AuthorizationPermissionMismatch"),
    "path_not_allowed": _as("AuthorizationFailure"),
    "source_not_allowed": _as("AuthorizationSourceIPMismatch"),
    "https_required": _as("AuthorizationProtocolMismatch"),
    "header_required": _ours("AuthorizationFailure"),
    "ttl_too_long": _ours("AuthorizationFailure"),
    "type_not_allowed": _ours("AuthorizationFailure"),
    "too_small": _ours("OutOfRangeInput"),
    "too_large": _as("RequestBodyTooLarge"),
    # The one code that all of Azure's clients wait after and then try again.
    "rate_limited": _ours("ServerBusy"),
    "not_found": _as("BlobNotFound"),
    "exists": _as("UnauthorizedBlobOverwrite"),
    "precondition_failed": _as("ConditionNotMet"),
    "range_not_satisfiable": _as("InvalidRange"),
    "bucket_not_found": _as("ContainerNotFound"),
    "bucket_exists": _as("ContainerAlreadyExists"),
    "upload_not_found": _as("ResourceNotFound"),
    "part_invalid": _as("InvalidBlockList"),
    "conflict": _ours("ResourceTypeMismatch"),
    "digest_mismatch": _ours("InvalidInput"),
    "body_incomplete": _ours("InvalidInput"),
    "metadata_too_large": _as("MetadataTooLarge"),
    "storage_full": _ours("InsufficientStorage"),
    "storage_unavailable": _ours("ServerBusy"),
    "storage_error": _as("InternalError"),
    "overloaded": _as("ServerBusy"),
    "internal_error": _as("InternalError"),
}
"""Azure's code, status and sentence by ours."""
