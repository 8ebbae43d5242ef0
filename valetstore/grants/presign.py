"""What is signed for somebody else to send, as S3's and Google's signers take it: requests, and the forms of a policy.

Rule: the clock is the caller's, and so is whether the signing key's profile allows what is signed.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from valetstore.grants import sigv4
from valetstore.grants.sigv4 import Family, Signed, encode
from valetstore.inbound import Inbound

FILENAME: Final = "${filename}"
"""What stands in a form's key for the name of the client's file."""

Pairs = Sequence[tuple[str, str]]
Condition = Mapping[str, str] | Sequence[object]

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Request(NamedTuple):
    """What is to be signed: a method, `http(s)://host`, a decoded path (`/bucket/name`).

    `headers` have lower-case names and are signed, so the client must send them; `parameters` go into the query.
    `payload` is the body's SHA-256 in hex where that is known: then no other body is taken.
    """

    method: str
    base_url: str
    path: str
    headers: Pairs = ()
    parameters: Pairs = ()
    payload: str = ""


class Form(NamedTuple):
    """Where a form goes, and its fields in order; the file comes after them, as the field `file`."""

    url: str
    fields: dict[str, str]


def host_of(base_url: str) -> str:
    """The Host that a client sends for a URL: without the port that its scheme implies."""
    parts = urlsplit(base_url)
    return parts.netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))


def query_of(parameters: Pairs) -> bytes:
    """Parameters as a query, in their order."""
    return b"&".join(encode(name) + b"=" + encode(value) for name, value in parameters)


def v4_text(family: Family, signed: Signed, target: bytes, headers: Pairs) -> bytes:
    """The string to sign of version 4 for a request that would arrive so."""
    raw = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
    inbound = Inbound(signed.methods[0], target, raw, now=0)
    return sigv4.string_to_sign(family, signed, sigv4.canonical_request(family, signed, inbound))


def policy_of(
    bucket: str,
    name: str,
    *,
    expires_at: int,
    conditions: Iterable[Condition],
    fields: Mapping[str, str],
    own: Mapping[str, str],
) -> str:
    """A policy document in base64: these conditions, and each field of the form at its value.

    `name` is the object's; one that ends in FILENAME stands for every name that begins so. `fields` are as they are
    sent, unless a condition says more of them; `own` are those of the signature that a policy must name.
    """
    rows = list(conditions)
    named = {_field_of(row) for row in rows}
    rows += [{field: value} for field, value in fields.items() if field.lower() not in named]
    beginning = name.removesuffix(FILENAME)
    rows += [{"bucket": bucket}, ["starts-with", "$key", beginning] if beginning != name else {"key": name}]
    rows += [{field: value} for field, value in own.items()]
    end = f"{datetime.fromtimestamp(expires_at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return base64.b64encode(json.dumps({"expiration": end, "conditions": rows}).encode()).decode()


def form_url(base_url: str, bucket: str) -> str:
    """Where forms for a bucket go."""
    return f"{base_url.rstrip('/')}/{encode(bucket).decode()}"


def _field_of(row: Condition) -> str:
    """The field that a condition is about."""
    if isinstance(row, Mapping):
        return next(iter(row)).lower()
    return str(row[1]).removeprefix("$").lower()
