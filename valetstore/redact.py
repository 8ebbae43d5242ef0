"""Take keys out of text before it reaches a log, an error or a terminal.

Rule 1: a query goes as a whole: a parameter that is not known today may carry a key tomorrow.
Rule 2: in doubt more is taken out than was needed. A log line without its tail is a small loss.
"""

import re
from typing import Final

MASK: Final = "***"

# Names that mean a credential wherever they stand, as a header, a form field or a cookie.
_HEADER_LIKE: Final = (
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-amz-trailer-signature",
    "x-goog-signature", "x-goog-credential",
    "x-auth-token", "x-storage-token", "x-valet-key",
    # Keys that a client sends along to have its object encrypted.
    "x-goog-encryption-key", "x-ms-encryption-key", "x-amz-server-side-encryption-customer-key",
    # How Swift is told an account's or a container's TempURL keys.
    "x-account-meta-temp-url-key", "x-account-meta-temp-url-key-2",
    "x-container-meta-temp-url-key", "x-container-meta-temp-url-key-2", "temp-url-key", "temp-url-key-2",
    "cloudfront-policy", "cloudfront-signature", "cloudfront-key-pair-id", "key-pair-id",
    # As SDKs, their profiles and their environment call a secret key and a session token.
    "aws_secret_access_key", "secret_access_key", "secretaccesskey", "secret access key",
    "aws_session_token", "session_token", "sessiontoken",
    "private_key", "privatekey", "private key", "account_key", "accountkey", "account key", "azure_storage_key",
    "connection_string", "azure_storage_connection_string", "sharedaccesssignature", "sas_token", "temp_url_key",
)  # fmt: skip
# Names that are also words, or short: only a value given with `=`, or quoted, counts.
_WORDS: Final = (
    "valet", "signature", "credential", "policy", "chunk-signature",
    "awsaccesskeyid", "googleaccessid",
    "temp_url_sig", "temp_url_expires", "temp_url_prefix",
    "access_token", "token", "secret",
    # The address of a resumable upload is its key.
    "upload_id",
    # A shared access signature: `sig` is the proof, the others are what it signs.
    "sig", "se", "sp", "sr", "sv", "st", "si", "ss", "srt", "spr", "sip", "ses", "sdd",
    "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid",
)  # fmt: skip

_SEPARATOR: Final = re.compile(r"[=:'\"]|%3[Dd]")
# A query may hold quotes, so it only ends where a target ends: at white space.
_QUERY: Final = re.compile(r"\?[^\s?][^\s]*")
# To the end of the line, since some schemes put spaces between their parts; or to the closing quote.
_AUTHORIZATION: Final = re.compile(
    r"""(?i)((?:proxy-)?authorization(?:\s*[=:]\s*|['"]\s*[:,]\s*)b?)(?:'[^']*'?|"[^"]*"?|[^\r\n]+)"""
)
_SCHEME: Final = re.compile(r"""(?i)\b(bearer\s+|(?:sharedkey|sharedkeylite|aws|goog1)\s+[^\s:"']+:)[^\s"']{4,}""")
_NAMED: Final = re.compile(
    r"(?i)((?:(?<![\w-])|(?<=%3F)|(?<=%26))"
    rf"(?:(?:{'|'.join(map(re.escape, _HEADER_LIKE))})\s*:"
    rf"|(?:{'|'.join(map(re.escape, _HEADER_LIKE + _WORDS))})(?:\s*=|%3D|['\"]\s*[:,]))"
    r"\s*b?)(?:'[^']*'?|\"[^\"]*\"?|[^\s&;,'\"]+)"
)
_ANY_NAME: Final = "|".join(map(re.escape, _HEADER_LIKE + _WORDS))
# A form's field, in HTML or as a part of multipart/form-data.
_FIELD: Final = re.compile(rf"""(?i)(\bname=["']?(?:{_ANY_NAME})["']?\s+(?:value=["']?)?)[^\s"'<>]+""")
# An element of an error document or of a client's XML.
_ELEMENT: Final = re.compile(r"(?i)(<(?:SignatureProvided|SecretAccessKey|SessionToken)>)[^<\s]+")
# The sealed token of temporary credentials (grants/s3/session.py).
_SESSION: Final = re.compile(r"\bvalet1\.[\w-]+(?:\.[\w-]*)*", re.ASCII)
# A private key in PEM, in JSON too, where a line's end is an escape; without its end, all that follows.
_PRIVATE: Final = re.compile(r"-----BEGIN ([A-Z ]{0,20}PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
# Whatever stands before it: base64url that begins like a JSON object is a token or a policy. It matches with
# or without the token's other parts, so that a long text is gone through once.
_TOKEN: Final = re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)*", re.ASCII)


def redact(text: str) -> str:
    """`text` without queries, tokens, Authorization values and the values of any dialect's parameters."""
    if "?" in text:
        text = _QUERY.sub(f"?{MASK}", text)
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE.sub(MASK, text)
    text = _SCHEME.sub(rf"\g<1>{MASK}", text)
    # A value needs something between its name and itself; most lines have none and are spared the search.
    if _SEPARATOR.search(text):
        text = _AUTHORIZATION.sub(rf"\g<1>{MASK}", text)
        text = _FIELD.sub(rf"\g<1>{MASK}", text)
        text = _NAMED.sub(rf"\g<1>{MASK}", text)
    if "<" in text:
        text = _ELEMENT.sub(rf"\g<1>{MASK}", text)
    if "valet1." in text:
        text = _SESSION.sub(MASK, text)
    return _TOKEN.sub(MASK, text)
