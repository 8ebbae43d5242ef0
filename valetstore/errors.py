"""Every refusal, in one table: code, status, public text.

What this file knows: what a client may be told. What it must not know: which dialect is spoken (the
edge translates a code into S3's XML or Azure's) and anything secret (evidence goes to the audit only).
Where one code stands for several of a vendor's, the dialect's own file says which (`Denied.saying`).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Refusal(NamedTuple):
    """One row: the HTTP status and the one sentence a client is told."""

    status: int
    text: str


REFUSALS: Final[Mapping[str, Refusal]] = {
    # Shape: what is said before any key is looked at.
    "request_malformed": Refusal(400, "The request is not well-formed HTTP/1.1."),
    "target_invalid": Refusal(400, "The request target is not a plain path with a query."),
    "object_key_invalid": Refusal(400, "The path does not name an object this gateway can hold."),
    "parameter_invalid": Refusal(400, "A parameter or header has a value that is not allowed."),
    "method_not_allowed": Refusal(405, "This method is not served here."),
    "headers_too_large": Refusal(431, "The request line or its headers are too large."),
    "request_timeout": Refusal(408, "The request did not arrive in time."),
    "cors_not_allowed": Refusal(403, "No CORS rule of this bucket allows this request."),
    "not_implemented": Refusal(501, "This operation or condition is not served here."),
    # The key itself.
    "key_missing": Refusal(401, "This needs a signed key."),
    "key_ambiguous": Refusal(400, "More than one key came with this request."),
    "key_malformed": Refusal(401, "The key is not well-formed."),
    # One code for an unknown signing key and a wrong signature: neither may be probed for.
    "signature_mismatch": Refusal(401, "The key's signature does not hold."),
    "key_not_yet_valid": Refusal(401, "The key is not valid yet."),
    "key_expired": Refusal(401, "The key has expired."),
    "key_revoked": Refusal(401, "The key has been revoked."),
    "key_used": Refusal(403, "The key has been used up."),
    "replay_unavailable": Refusal(503, "Single use cannot be decided now; nothing was used."),
    "revocation_unavailable": Refusal(503, "Whether the key is revoked cannot be decided now."),
    # What the key does not cover.
    "operation_not_allowed": Refusal(403, "The key does not allow this operation."),
    "path_not_allowed": Refusal(403, "The key does not open this path."),
    "source_not_allowed": Refusal(403, "The key does not allow this source address."),
    "https_required": Refusal(403, "The key may only be used over HTTPS."),
    "header_required": Refusal(403, "A header the key requires is missing or differs."),
    "ttl_too_long": Refusal(403, "The key lives longer than its signing key allows."),
    "type_not_allowed": Refusal(415, "The key does not allow this content type."),
    "too_small": Refusal(400, "The upload is smaller than the key allows."),
    "too_large": Refusal(413, "The upload is larger than is allowed."),
    "rate_limited": Refusal(429, "Too many requests; try again later."),
    # The object and its conditions.
    "not_found": Refusal(404, "There is no such object."),
    "exists": Refusal(412, "The object exists and may not be replaced."),
    "precondition_failed": Refusal(412, "A condition of the request does not hold."),
    "range_not_satisfiable": Refusal(416, "The range lies outside the object."),
    "bucket_not_found": Refusal(404, "There is no such bucket."),
    "bucket_exists": Refusal(409, "The bucket exists."),
    "upload_not_found": Refusal(404, "There is no such upload; it was completed, given up, or never begun."),
    "part_invalid": Refusal(400, "The parts are not those of this upload, or not in order."),
    "conflict": Refusal(409, "Another object or folder stands in the way of this name."),
    "digest_mismatch": Refusal(400, "The body does not have the digest that was promised."),
    "body_incomplete": Refusal(400, "The body ended before its announced length."),
    "metadata_too_large": Refusal(400, "The object's metadata is too large."),
    # The gateway's own trouble.
    "storage_full": Refusal(507, "There is no room for this upload."),
    "storage_unavailable": Refusal(503, "The storage cannot be reached or written now."),
    "storage_error": Refusal(500, "The storage failed."),
    "overloaded": Refusal(503, "The gateway serves as much at a time as it may; try again later."),
    "internal_error": Refusal(500, "The gateway failed; the operator finds the reason in its log."),
}


class Saying(NamedTuple):
    """How a vendor puts a refusal: its own code, sentence and status, and further members of its error document.

    An empty `message` and a `status` of 0 are the ones that the vendor's table has for `code`.
    """

    code: str
    message: str = ""
    status: int = 0
    members: tuple[tuple[str, str], ...] = ()


class Denied(Exception):  # noqa: N818 - a refusal is an answer, not a programming error
    """A request is refused: one code of `REFUSALS`, and what led to it.

    `detail` is public and goes to the client after the table's sentence: set it only from what the
    client already knows (its own request, the claims of its own key). `evidence` is for the audit line.
    """

    def __init__(self, code: str, detail: str = "", **evidence: object) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.evidence = evidence
        self.said: Saying | None = None

    @property
    def status(self) -> int:
        """The HTTP status of this refusal."""
        return REFUSALS[self.code].status

    @property
    def text(self) -> str:
        """The public sentence, with the detail where there is one."""
        text = REFUSALS[self.code].text
        return f"{text} {self.detail}" if self.detail else text

    def saying(self, code: str, message: str = "", status: int = 0, **members: str) -> "Denied":
        """This refusal in a vendor's words, for clients that speak its dialect. Public, as `detail` is."""
        self.said = Saying(code, message, status, tuple(members.items()))
        return self

    def because(self, **evidence: object) -> "Denied":
        """Add evidence found further out (the signing key, the identity); what is there stays."""
        self.evidence = evidence | self.evidence
        return self


class ConfigInvalid(Exception):  # noqa: N818 - reads as what happened
    """A setting, a key file or an option is wrong: one sentence that names it and says what is allowed."""
