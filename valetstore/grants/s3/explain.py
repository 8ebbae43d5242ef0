"""What a key of S3's says of itself, proven or not, and where what we signed and what somebody else did part.

Rule 1: nothing here is proof, and nothing here computes a signature.
Rule 2: what is not there or cannot be read is left out: whoever refuses the key says why.
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.grants.postpolicy import read_policy
from valetstore.grants.sigv4 import moment_of
from valetstore.inbound import Inbound

_EMPTY_CRC32: Final = "AAAAAA=="


class Facts(NamedTuple):
    """What a key says of itself, proven or not; "" and None for what it does not say or cannot be read.

    Times are seconds since the epoch. `terms` are the conditions (`x-valet-*`) and what the answer is to be.
    """

    version: str
    carrier: str
    access_key_id: str = ""
    region: str = ""
    signed_at: int | None = None
    expires_at: float | None = None
    signed_headers: tuple[str, ...] = ()
    with_session: bool = False
    terms: tuple[tuple[str, str], ...] = ()
    conditions: tuple[str, ...] = ()


def facts_of(inbound: Inbound) -> Facts | None:
    """What a key of S3's says of itself; None where none came."""
    if inbound.form is not None:
        return _of_form(inbound.form)
    query = {name.lower(): value for name, value in inbound.query}
    if "x-amz-signature" in query or "x-amz-credential" in query:
        return _of_v4(query, "query", query.get("x-amz-signedheaders", ""), query.get("x-amz-expires"))
    if "awsaccesskeyid" in query:
        return _of_v2(query, inbound)
    for value in inbound.header_values("authorization"):
        if value.startswith("AWS4-"):
            return _of_header(value, inbound)
    return None


def missing_headers(inbound: Inbound) -> list[str]:
    """Signed headers that did not come: no signature over them can hold."""
    facts = facts_of(inbound)
    return [name for name in facts.signed_headers if inbound.header(name) is None] if facts else []


def fitting_type(inbound: Inbound) -> str:
    """A content type that a form's policy takes and the form leaves open; "" where it leaves none open."""
    fields = dict(inbound.form or ())
    if "content-type" in fields:
        return ""
    try:
        rows = read_policy(fields.get("policy", "")).conditions
    except Denied:
        return ""
    for row in rows:
        if row.field == "content-type" and row.operator != "not-in":
            return (
                row.values[0] + "x" if row.operator == "starts-with" and row.values[0].endswith("/") else row.values[0]
            )
    return ""


def signs_empty_checksum(inbound: Inbound) -> bool:
    """Whether the URL promises the checksum of an empty body, as some SDKs write it when they know no body."""
    return any(name.lower() == "x-amz-checksum-crc32" and value == _EMPTY_CRC32 for name, value in inbound.query)


class Difference(NamedTuple):
    """Where two canonical texts part: the line (from 1), what stands there, and both lines."""

    line: int
    part: str
    ours: str
    theirs: str


def first_difference(ours: str, theirs: str) -> Difference | None:
    """The first line in which two canonical requests, or strings to sign, differ; None where they are the same."""
    mine, other = ours.split("\n"), theirs.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if ours.endswith("\n"):
        other.append("")
    for number in range(max(len(mine), len(other))):
        one = mine[number] if number < len(mine) else ""
        two = other[number] if number < len(other) else ""
        if one != two:
            return Difference(number + 1, _part(number, mine), one, two)
    return None


def _part(number: int, lines: list[str]) -> str:
    """What stands in a line of a canonical request (from 0); of other texts only that it is a line."""
    if len(lines) < 6 or lines[-3] != "":
        return "line"
    named = {0: "method", 1: "path", 2: "query", len(lines) - 2: "signed headers", len(lines) - 1: "payload"}
    return named.get(number) or (f"header {lines[number].partition(':')[0]}" if number < len(lines) - 3 else "header")


# What a key says


def _of_v4(values: Mapping[str, str], carrier: str, names: str, life: str | None) -> Facts:
    scope = values.get("x-amz-credential", "").split("/")
    signed_at = moment_of(values.get("x-amz-date", ""))
    is_number = life is not None and life.isascii() and life.isdigit()
    return Facts(
        "4",
        carrier,
        scope[0],
        scope[2] if len(scope) == 5 else "",
        signed_at,
        signed_at + int(life or 0) if is_number and signed_at is not None else None,
        tuple(name.lower() for name in names.split(";") if name),
        "x-amz-security-token" in values,
        _terms(values),
    )


def _of_v2(query: Mapping[str, str], inbound: Inbound) -> Facts:
    expires = query.get("expires", "")
    with_session = "x-amz-security-token" in query or inbound.header("x-amz-security-token") is not None
    return Facts(
        "2",
        "query",
        query["awsaccesskeyid"],
        expires_at=int(expires) if expires.isascii() and expires.isdigit() else None,
        with_session=with_session,
        terms=_terms(query),
    )


def _of_header(value: str, inbound: Inbound) -> Facts:
    parts = dict(part.strip().partition("=")[::2] for part in value.partition(" ")[2].split(","))
    values = {"x-amz-credential": parts.get("Credential", ""), "x-amz-date": inbound.header("x-amz-date") or ""}
    if inbound.header("x-amz-security-token") is not None:
        values["x-amz-security-token"] = ""
    return _of_v4(values, "header", parts.get("SignedHeaders", ""), "900")


def _of_form(form: tuple[tuple[str, str], ...]) -> Facts:
    fields = {name.lower(): value for name, value in form}
    if "awsaccesskeyid" in fields:
        found = Facts("2", "form", fields["awsaccesskeyid"], with_session="x-amz-security-token" in fields)
    else:
        found = _of_v4(fields, "form", "", None)
    end, conditions = _of_policy(fields.get("policy", ""))
    return found._replace(expires_at=end, conditions=conditions, terms=_terms(fields))


def _of_policy(encoded: str) -> tuple[float | None, tuple[str, ...]]:
    """When a policy ends, and what it asks of the form beyond its signature's own fields."""
    try:
        policy = read_policy(encoded)
    except Denied:
        return None, ()
    rows = [row.written for row in policy.conditions if not row.field.startswith("x-amz-")]
    length = [] if policy.length is None else [json.dumps(["content-length-range", *policy.length])]
    return policy.expires_at, (*length, *rows)


def _terms(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in values.items() if name.startswith(("x-valet-", "response-")))
