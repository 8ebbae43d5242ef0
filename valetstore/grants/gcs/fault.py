"""How Google's storage refuses a key: its codes, sentences and the members of its error documents, in one place.

Rule: a refusal shows the client's own request, and nothing that was made with a secret.

Sources: Google Cloud, "XML API: HTTP status and error codes"; captured answers of the service.
"""

from typing import Final

from valetstore.errors import Denied

_MALFORMED: Final = "Your request has a malformed header."
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your Google secret key and signing method."
)


def malformed(parameter: str, details: str) -> Denied:
    """A parameter, field or header of the key is not as it must be: `key_malformed`."""
    return Denied("key_malformed", f"{parameter}: {details}").saying(
        "MalformedSecurityHeader", _MALFORMED, 400, ParameterName=parameter, Details=details
    )


def unlike_signed(header: str) -> Denied:
    """A signed header did not come: `signature_mismatch`, since no signature over it holds."""
    details = "Header was included in signedheaders, but not in the request."
    return Denied("signature_mismatch", f"{header} was signed, so the request must have it.").saying(
        "MalformedSecurityHeader", _MALFORMED, 400, ParameterName=header, Details=details
    )


def not_signed(names: list[str]) -> Denied:
    """Headers came without being signed that would change what was: `header_required`."""
    listed = ", ".join(names)
    details = f"Header was included in the request, but not in signedheaders: {listed}"
    return Denied("header_required", f"These headers must be signed: {listed}.").saying(
        "AccessDenied", "Access denied.", 403, Details=details
    )


def argument(details: str, code: str = "parameter_invalid", **members: str) -> Denied:
    """An argument that is none: by default `parameter_invalid`."""
    return Denied(code, details).saying("InvalidArgument", "Invalid argument.", 400, Details=details, **members)


def unserved(what: str) -> Denied:
    """What Google knows and nothing here does: `not_implemented`."""
    return Denied("not_implemented", what).saying(
        "NotImplemented", "A header or query you provided requested a function that is not implemented.", 501
    )


def mismatch(text: bytes, reason: str, canonical: bytes | None = None) -> Denied:
    """SignatureDoesNotMatch, with the string to sign and, of version 4, the canonical request."""
    members = {"StringToSign": text.decode("utf-8", "replace")}
    if canonical is not None:
        members["CanonicalRequest"] = canonical.decode("utf-8", "replace")
    return Denied("signature_mismatch", reason=reason).saying("SignatureDoesNotMatch", _MISMATCH, 403, **members)
