"""How S3 puts a refusal: its error document, its codes, sentences and members.

Rule 1: a member holds what the client itself sent or what is public; never a secret, nor what one would sign.
Rule 2: our own code goes along in X-Valet-Error, whatever S3's is.
"""

import base64
import datetime
from collections.abc import Callable, Mapping
from typing import Final

from valetstore.edge.dialect import query_of
from valetstore.edge.forms import is_form
from valetstore.edge.replies import Reply, refusal_headers
from valetstore.edge.s3.codes import ROWS, SENTENCES, Row
from valetstore.edge.xml import document
from valetstore.encoding import SECONDS_MAX
from valetstore.errors import Denied, Saying
from valetstore.grants.address import bucket_in_host
from valetstore.grants.s3 import v2, v4
from valetstore.grants.s3.rules import Rules
from valetstore.grants.s3.scheme import FUTURE_SECONDS, length_of
from valetstore.inbound import Inbound
from valetstore.objectkey import KEY_BYTES_MAX, split_path

REQUEST_ID: Final = "x-amz-request-id"
"""The header that all of S3's answers have."""

_HOST_ID: Final = "valetstore"

Members = dict[str, str]


def carries(inbound: Inbound) -> bool:
    """Whether a request carries a key of S3's, in whatever state."""
    return _signed_in_query(query_of(inbound)) or _signed_in_headers(inbound)


def hints(inbound: Inbound) -> bool:
    """Whether a request without a key is S3's: a form, or what only its clients send."""
    sent = (name.lower() for name, _ in inbound.headers)
    return is_form(inbound) or any(name.startswith((b"x-amz-", b"amz-sdk-")) for name in sent)


def refusal(denied: Denied, inbound: Inbound, request_id: str, rules: Rules) -> Reply:
    """A refusal as S3's error document; the reply to a HEAD describes it."""
    said = saying_of(denied, inbound)
    bucket, name = _place(inbound, rules)
    members = dict(said.members)
    for member, value in _members(said.code, denied, inbound, bucket, name).items():
        members.setdefault(member, value)
    text = document(
        "Error",
        [
            ("Code", said.code),
            ("Message", said.message),
            *members.items(),
            ("Resource", _resource(inbound)),
            ("RequestId", request_id),
            ("HostId", _HOST_ID),
        ],
        namespace=False,
    )
    # A challenge would ask for a Bearer key, which none of S3's clients has.
    headers = [header for header in refusal_headers(denied) if header[0] != "WWW-Authenticate"]
    headers += [("Content-Type", "application/xml"), ("X-Valet-Error", denied.code), ("Cache-Control", "no-store")]
    return Reply(said.status, [*headers, (REQUEST_ID, request_id)], text)


def saying_of(denied: Denied, inbound: Inbound) -> Saying:
    """Code, sentence and status, whoever chose them: who refused, else the tables."""
    said = denied.said or _by_code(denied, inbound)
    status, message = SENTENCES.get(said.code, (denied.status, ""))
    return Saying(said.code, said.message or message or denied.text, said.status or status, said.members)


def _by_code(denied: Denied, inbound: Inbound) -> Saying:
    choose = _CHOICES.get(denied.code)
    if choose is not None and (chosen := choose(denied, inbound)) is not None:
        return chosen
    row: Row = ROWS[denied.code]
    return Saying(row.code, row.message or denied.text, row.status)


# --- where one refusal of ours is several of S3's ----------------------------------------------------------------


def _in_time(denied: Denied, inbound: Inbound) -> Saying | None:
    """Too late or too early: S3 says so in one way for each place that a signature can be in."""
    server_time = ("ServerTime", iso(inbound.now))
    query = query_of(inbound)
    if _signed_in_query(query):
        if denied.code != "key_expired":
            return Saying("AccessDenied", "Request is not valid yet", members=(server_time,))
        lifetime = [("X-Amz-Expires", query["x-amz-expires"])] if "x-amz-expires" in query else []
        expired_at = denied.evidence.get("expired_at")
        expires = [("Expires", iso(float(str(expired_at))))] if expired_at is not None else []
        return Saying("AccessDenied", "Request has expired", members=(*lifetime, *expires, server_time))
    if _signed_in_headers(inbound):
        skew = ("MaxAllowedSkewMilliseconds", str(FUTURE_SECONDS * 1000))
        date = inbound.header("x-amz-date") or inbound.header("date") or ""
        return Saying("RequestTimeTooSkewed", members=(("RequestTime", date), server_time, skew))
    if is_form(inbound) and denied.code == "key_expired":
        return Saying("AccessDenied", "Invalid according to Policy: Policy expired.")
    return None


def _digest(denied: Denied, inbound: Inbound) -> Saying | None:
    """The digest that did not fit: the one that was signed, or Content-MD5 (checksums say their own)."""
    computed = str(denied.evidence.get("computed", ""))
    promised = inbound.header("x-amz-content-sha256") or query_of(inbound).get("x-amz-content-sha256", "")
    if denied.evidence.get("digest") == "sha256" and promised:
        members = (("ClientComputedContentSHA256", promised), ("S3ComputedContentSHA256", computed))
        return Saying("XAmzContentSHA256Mismatch", members=members)
    if denied.evidence.get("digest") == "md5":
        expected = inbound.header("content-md5") or ""
        if inbound.method == "PUT":  # S3 writes it in base64 of a document alone
            expected = base64.b64decode(expected).hex()
        calculated = base64.b64encode(bytes.fromhex(computed)).decode()
        return Saying("BadDigest", members=(("ExpectedDigest", expected), ("CalculatedDigest", calculated)))
    return Saying("BadDigest", denied.text)


def _key_invalid(_denied: Denied, inbound: Inbound) -> Saying | None:
    size = len(inbound.raw_path)
    # Decoded, it is at most as long; a path that cannot be decoded is no name at all.
    if size <= KEY_BYTES_MAX:
        return None
    try:
        size = len(split_path(inbound.path)[1].encode("utf-8"))
    except Denied:
        return None
    if size <= KEY_BYTES_MAX:
        return None
    return Saying("KeyTooLongError", members=(("Size", str(size)), ("MaxSizeAllowed", str(KEY_BYTES_MAX))))


def _unknown_kind(_denied: Denied, inbound: Inbound) -> Saying | None:
    """An Authorization that is none of S3's. It is not told back: it may open something elsewhere."""
    if _signed_in_query(query_of(inbound)) or _signed_in_headers(inbound) or inbound.header("authorization") is None:
        return None
    return Saying("InvalidArgument", "Unsupported Authorization Type", members=(("ArgumentName", "Authorization"),))


_CHOICES: Final[Mapping[str, Callable[[Denied, Inbound], Saying | None]]] = {
    "key_expired": _in_time,
    "key_not_yet_valid": _in_time,
    "key_malformed": _unknown_kind,
    "digest_mismatch": _digest,
    "object_key_invalid": _key_invalid,
}


# --- the further members of a document ---------------------------------------------------------------------------


def _members(code: str, denied: Denied, inbound: Inbound, bucket: str, name: str) -> Members:
    """What S3's documents for this code have beside the sentence."""
    match code:
        case "NoSuchKey":
            return {"Key": name}
        case "NoSuchBucket" | "BucketAlreadyOwnedByYou" | "BucketAlreadyExists" | "BucketNotEmpty":
            return {"BucketName": bucket}
        case "NoSuchUpload":
            return {"UploadId": query_of(inbound).get("uploadid", "")}
        case "MethodNotAllowed":
            kind = "OBJECT" if name else "BUCKET" if bucket else "SERVICE"
            return {"Method": inbound.method, "ResourceType": kind}
        case "InvalidRange":
            asked = inbound.header("range") or ""
            return {"RangeRequested": asked, "ActualObjectSize": str(denied.evidence.get("size", ""))}
        case "PreconditionFailed":
            return {"Condition": _condition(denied, inbound)}
        case "EntityTooLarge":
            return _sizes(denied, inbound, "MaxSizeAllowed", "size_max")
        case "EntityTooSmall":
            return _sizes(denied, inbound, "MinSizeAllowed", "size_min")
    return {}


def _condition(denied: Denied, inbound: Inbound) -> str:
    """Which one did not hold, as far as the request tells: none of its own where the key may only create."""
    if denied.code == "exists":
        return "If-None-Match"
    names = ["If-Match", "If-Unmodified-Since", "If-None-Match"]
    return next((name for name in names if inbound.header(name.lower()) is not None), "If-None-Match")


def _sizes(denied: Denied, inbound: Inbound, limit: str, evidence: str) -> Members:
    members: Members = {}
    try:
        proposed = denied.evidence.get("size", length_of(inbound))
    except Denied:
        proposed = None
    if proposed is not None:
        members["ProposedSize"] = str(proposed)
    if evidence in denied.evidence:
        members[limit] = str(denied.evidence[evidence])
    return members


def iso(seconds: float) -> str:
    """A time as S3's errors write it: `2026-11-21T16:23:18Z`."""
    seconds = min(max(int(seconds), 0), SECONDS_MAX)
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _resource(inbound: Inbound) -> str:
    try:
        return inbound.path
    except Denied:
        return inbound.raw_path.decode("latin-1")


def _place(inbound: Inbound, rules: Rules) -> tuple[str, str]:
    """Bucket and name as far as they can be read; nothing is checked here."""
    try:
        path = inbound.path
    except Denied:
        return "", ""
    bucket = bucket_in_host(inbound.host, rules)
    return (bucket, path[1:]) if bucket else split_path(path)


def _signed_in_query(query: Members) -> bool:
    return "awsaccesskeyid" in query or not v4.MARKS.isdisjoint(query)


def _signed_in_headers(inbound: Inbound) -> bool:
    return any(v4.in_header(value) or v2.in_header(value) for value in inbound.header_values("authorization"))
