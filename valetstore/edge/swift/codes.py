"""How Swift puts refusals: the status that stands for each of ours, and its sentences by status.

Rule 1: every row of `errors.REFUSALS` has one here.
Rule 2: whatever is wrong with a key is one answer, 401, as Swift has it: what exactly, X-Valet-Error says.
Titles and sentences are those of Swift's own server, word for word.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Sentence(NamedTuple):
    """A title and a sentence, which Swift's error pages are made of."""

    title: str
    text: str


SENTENCES: Final[Mapping[int, Sentence]] = {
    400: Sentence(
        "Bad Request",
        "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    ),
    401: Sentence(
        "Unauthorized",
        "This server could not verify that you are authorized to access the document you requested.",
    ),
    403: Sentence("Forbidden", "Access was denied to this resource."),
    404: Sentence("Not Found", "The resource could not be found."),
    405: Sentence("Method Not Allowed", "The method is not allowed for this resource."),
    408: Sentence("Request Timeout", "The server has waited too long for the request to be sent by the client."),
    409: Sentence("Conflict", "There was a conflict when trying to complete your request."),
    411: Sentence("Length Required", "Content-Length header required."),
    412: Sentence("Precondition Failed", "A precondition for this request was not met."),
    413: Sentence("Request Entity Too Large", "The body of your request was too large for this server."),
    415: Sentence("Unsupported Media Type", "The request media type is not supported by this server."),
    416: Sentence("Requested Range Not Satisfiable", "The Range requested is not available."),
    422: Sentence("Unprocessable Entity", "Unable to process the contained instructions"),
    # Swift's own is 498, which HTTP does not know; its clients take either.
    429: Sentence("Too Many Requests", "Slow down"),
    # Swift has none for a head that is too large: its server closes the connection.
    431: Sentence("Request Header Fields Too Large", "The request line or its headers are too large."),
    500: Sentence(
        "Internal Error", "The server has either erred or is incapable of performing the requested operation."
    ),
    501: Sentence("Not Implemented", "The requested method is not implemented by this server."),
    503: Sentence("Service Unavailable", "The server is currently unavailable. Please try again at a later time."),
    507: Sentence("Insufficient Storage", "There was not enough space to save the resource."),
}

STATUSES: Final[Mapping[str, int]] = {
    "request_malformed": 400,
    "target_invalid": 412,
    "object_key_invalid": 412,
    "parameter_invalid": 400,
    "method_not_allowed": 405,
    "headers_too_large": 431,
    "request_timeout": 408,
    "cors_not_allowed": 401,
    "not_implemented": 501,
    "key_missing": 401,
    "key_ambiguous": 400,
    "key_malformed": 401,
    "signature_mismatch": 401,
    "key_not_yet_valid": 401,
    "key_expired": 401,
    "key_revoked": 401,
    "key_used": 401,
    "replay_unavailable": 503,
    "revocation_unavailable": 503,
    "operation_not_allowed": 401,
    "path_not_allowed": 401,
    "source_not_allowed": 401,
    "https_required": 401,
    "header_required": 401,
    "ttl_too_long": 401,
    "type_not_allowed": 415,
    # Swift knows no smallest size: what was sent cannot be processed.
    "too_small": 422,
    "too_large": 413,
    "rate_limited": 429,
    "not_found": 404,
    "exists": 412,
    "precondition_failed": 412,
    "range_not_satisfiable": 416,
    "bucket_not_found": 404,
    "bucket_exists": 409,
    "upload_not_found": 404,
    "part_invalid": 400,
    "conflict": 409,
    "digest_mismatch": 422,
    "body_incomplete": 400,
    "metadata_too_large": 400,
    "storage_full": 507,
    "storage_unavailable": 503,
    "storage_error": 500,
    "overloaded": 503,
    "internal_error": 500,
}
"""Swift's status by our code."""

EXPLAINED: Final = frozenset(
    {
        "request_malformed",
        "target_invalid",
        "object_key_invalid",
        "parameter_invalid",
        "not_implemented",
        "key_ambiguous",
        "too_small",
        "part_invalid",
        "body_incomplete",
        "metadata_too_large",
    }
)
"""Of these our own sentence is shown, which says what to change."""

TEMP_URL_INVALID: Final = "401 Unauthorized: Temp URL invalid\n"
"""The whole answer to a TempURL that opens nothing."""

FORMS: Final[Mapping[str, str]] = {
    "key_malformed": "FormPost: Invalid Signature",
    "signature_mismatch": "FormPost: Invalid Signature",
    "key_expired": "FormPost: Form Expired",
}
"""The same for a form, by our code; it has no words for what else may be wrong with one."""

FORM_UNAUTHORIZED: Final = "FormPost: Unauthorized"
