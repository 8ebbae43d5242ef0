"""How Azure puts a refusal: its header, its error document, its codes, sentences and members.

Rule 1: a member holds what the client itself sent or what is public; never a secret, nor what one would sign.
Rule 2: our own code goes along in X-Valet-Error, whatever Azure's is.
"""

import base64
import datetime
import re
from collections.abc import Callable, Mapping
from typing import Final

from valetstore.edge.azure.codes import ROWS, SENTENCES
from valetstore.edge.dialect import query_of
from valetstore.edge.replies import Header, Reply, refusal_headers
from valetstore.edge.xml import document
from valetstore.encoding import SECONDS_MAX, http_date
from valetstore.errors import Denied, Saying
from valetstore.inbound import Inbound
from valetstore.storage.promise import CRC64NVME, MD5

HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>'
"""How Azure's documents begin."""

DETAIL: Final = "AuthenticationErrorDetail"
VERSION: Final = "2026-10-06"
"""What is answered where a request names no version of the service: all are answered alike."""

_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# The service gives back what has up to 1 KiB of visible characters.
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?", re.ASCII)
_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,7})?)?Z)?", re.ASCII
)

Members = dict[str, str]


def hints(inbound: Inbound) -> bool:
    """Whether a request without a key is of one of Azure's clients: all of them name the service's version."""
    return any(name.lower().startswith(b"x-ms-") for name, _ in inbound.headers)


def common_headers(inbound: Inbound, request_id: str) -> list[Header]:
    """What every answer carries: the request's id, the client's own, and the version it asked for."""
    version = inbound.header("x-ms-version") or query_of(inbound).get("sv", "")
    headers = [
        ("x-ms-request-id", request_id),
        ("x-ms-version", version if _VERSION.fullmatch(version) else VERSION),
    ]
    client_id = inbound.header("x-ms-client-request-id") or ""
    if _REQUEST_ID.fullmatch(client_id):
        headers.append(("x-ms-client-request-id", client_id))
    return headers


def refusal(denied: Denied, inbound: Inbound, request_id: str) -> Reply:
    """A refusal as Azure's error document; the reply to a HEAD describes it, and has the code in its header."""
    said = saying_of(denied, inbound)
    message = f"{said.message}\nRequestId:{request_id}\nTime:{instant(inbound.now)}"
    text = document("Error", [("Code", said.code), ("Message", message), *said.members], namespace=False, head=HEAD)
    # A challenge goes with 401 alone: to Azure's clients a wrong signature is a 403.
    headers = [header for header in refusal_headers(denied) if header[0] != "WWW-Authenticate" or said.status == 401]
    headers += [("Content-Type", "application/xml"), ("X-Valet-Error", denied.code), ("Cache-Control", "no-store")]
    return Reply(said.status, [*headers, ("x-ms-error-code", said.code), *common_headers(inbound, request_id)], text)


def saying_of(denied: Denied, inbound: Inbound) -> Saying:
    """Code, sentence, status and members, whoever chose them: who refused, else the tables."""
    said = denied.said or _by_code(denied, inbound)
    status, message = SENTENCES.get(said.code, (denied.status, ""))
    return Saying(said.code, said.message or message or denied.text, said.status or status, said.members)


def header_invalid(name: str, value: str, said: str = "") -> Denied:
    """InvalidHeaderValue, naming the header as Azure does."""
    return Denied("parameter_invalid", said or f"The value of {name} is not allowed.").saying(
        "InvalidHeaderValue", said, HeaderName=name, HeaderValue=value
    )


def parameter_invalid(name: str, value: str, reason: str = "") -> Denied:
    """InvalidQueryParameterValue, naming the parameter as Azure does."""
    reason = reason or "The value is not in the correct format."
    return Denied("parameter_invalid", f"`{name}`: {reason}").saying(
        "InvalidQueryParameterValue", QueryParameterName=name, QueryParameterValue=value, Reason=reason
    )


def header_missing(name: str) -> Denied:
    """MissingRequiredHeader."""
    return Denied("parameter_invalid", f"{name} is missing.").saying("MissingRequiredHeader", HeaderName=name)


def instant(seconds: float) -> str:
    """A time as Azure's errors write it, in ticks of 100 ns: `2026-11-21T16:23:18.1250000Z`."""
    whole = min(max(int(seconds), 0), SECONDS_MAX)
    ticks = round((min(max(seconds, 0), SECONDS_MAX) - whole) * 10_000_000) % 10_000_000
    return f"{datetime.datetime.fromtimestamp(whole, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{ticks:07d}Z"


# --- where one refusal of ours is several of Azure's -------------------------------------------------------------


def _by_code(denied: Denied, inbound: Inbound) -> Saying:
    choose = _CHOICES.get(denied.code)
    if choose is not None and (chosen := choose(denied, inbound)) is not None:
        return chosen
    row = ROWS[denied.code]
    members = ((DETAIL, denied.text),) if row.explained else ()
    return Saying(row.code, row.message or denied.text, row.status, members)


def _in_time(_denied: Denied, inbound: Inbound) -> Saying | None:
    """Too late or too early: Azure says from when to when, and what its clock says."""
    query = query_of(inbound)
    if "se" not in query:
        return None
    start, expiry = (_shown(query.get(name, "")) for name in ("st", "se"))
    period = f"Start [{start}] - Expiry [{expiry}]" if "st" in query else f"Expiry [{expiry}]"
    detail = f"Signature not valid in the specified time frame: {period} - Current [{http_date(int(inbound.now))}]"
    return Saying("AuthenticationFailed", members=((DETAIL, detail),))


def _shown(text: str) -> str:
    """A date of a signature as Azure's detail shows it; one that is none as it came."""
    found = _DATE.fullmatch(text)
    if not found:
        return text
    try:
        date = datetime.datetime(*(int(part or 0) for part in found.groups()), tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return text
    return http_date(int(date.timestamp()))


def _shared_key(_denied: Denied, inbound: Inbound) -> Saying | None:
    """The SDKs sign each request so where they hold the account key itself; told what opens instead."""
    if not (inbound.header("authorization") or "").lower().startswith("sharedkey"):
        return None
    said = "Requests signed with the account key (SharedKey) are not taken: sign a shared access signature with it."
    return Saying("AuthenticationFailed", members=((DETAIL, said),))


def _operation(_denied: Denied, inbound: Inbound) -> Saying | None:
    """An account's signature names services and kinds of resources, and may lack what was asked of it there."""
    query = query_of(inbound)
    if "ss" not in query or "srt" not in query:
        return None
    if "b" not in query["ss"]:
        return Saying("AuthorizationServiceMismatch")
    segments = [part for part in inbound.raw_path.split(b"/") if part]
    is_container = query.get("restype") == "container"
    # A container's list is one of the container's resources, its blobs are objects.
    kind = "s" if len(segments) < 2 or query.get("restype") == "service" else "c" if is_container else "o"
    return None if kind in query["srt"] else Saying("AuthorizationResourceTypeMismatch")


def _source(_denied: Denied, inbound: Inbound) -> Saying | None:
    """The address as the gateway sees it: behind a proxy it is what the operator has to look at."""
    code = "AuthorizationSourceIPMismatch"
    _, sentence = SENTENCES[code]
    return Saying(code, sentence.replace("{SourceIP}", str(inbound.peer or "unknown")))


def _exists(_denied: Denied, inbound: Inbound) -> Saying | None:
    """Whoever asked for it to be new is told so; to others the key does not allow it."""
    return Saying("BlobAlreadyExists") if _must_be_new(inbound) else None


def _condition(denied: Denied, inbound: Inbound) -> Saying | None:
    """What should have been new, and is not, is a conflict to Azure."""
    return Saying("BlobAlreadyExists") if _must_be_new(inbound) and not denied.evidence.get("missing") else None


def _must_be_new(inbound: Inbound) -> bool:
    """Whether it is a write of a whole blob that may replace none."""
    is_whole = inbound.method == "PUT" and query_of(inbound).get("comp") in (None, "blocklist")
    return is_whole and (inbound.header("if-none-match") or "").strip() == "*"


def _digest(denied: Denied, inbound: Inbound) -> Saying | None:
    computed = bytes.fromhex(str(denied.evidence.get("computed", "")))
    if denied.evidence.get("digest") == MD5:
        promised = inbound.header("content-md5") or inbound.header("x-ms-blob-content-md5") or ""
        calculated = base64.b64encode(computed).decode()
        return Saying("Md5Mismatch", members=(("UserSpecifiedMd5", promised), ("ServerCalculatedMd5", calculated)))
    if denied.evidence.get("digest") == CRC64NVME:
        promised = inbound.header("x-ms-content-crc64") or ""
        calculated = base64.b64encode(computed[::-1]).decode()
        return Saying("Crc64Mismatch", members=(("UserSpecifiedCrc", promised), ("ServerCalculatedCrc", calculated)))
    return None


def _too_large(denied: Denied, _inbound: Inbound) -> Saying | None:
    limit = denied.evidence.get("size_max")
    return Saying("RequestBodyTooLarge", members=(("MaxLimit", str(limit)),)) if limit is not None else None


def _md5_is_none(denied: Denied, _inbound: Inbound) -> Saying | None:
    return Saying("InvalidMd5") if denied.detail.startswith("Content-MD5") else None


_CHOICES: Final[Mapping[str, Callable[[Denied, Inbound], Saying | None]]] = {
    "key_malformed": _shared_key,
    "key_expired": _in_time,
    "key_not_yet_valid": _in_time,
    "operation_not_allowed": _operation,
    "exists": _exists,
    "precondition_failed": _condition,
    "digest_mismatch": _digest,
    "too_large": _too_large,
    "source_not_allowed": _source,
    "parameter_invalid": _md5_is_none,
}
