"""POST policies: the signed JSON that says which form may be sent, as S3 and Google Cloud Storage read it.

Rule 1: a field that no condition names is refused, and so is a condition whose field was not sent: what the signer
left open is said by the policy (`starts-with` with an empty value), never by its silence.
Rule 2: the bucket is the one that the request goes to, whatever the form says, and a condition must name it.
Rule 3: names of fields and operators are compared in lower case, values to the letter.
(https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html; `in` and `not-in` are Alibaba's.)
"""

import base64
import datetime
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from valetstore.encoding import strict_json, wire_int
from valetstore.errors import Denied

_EXPIRATION: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?Z", re.ASCII)
# The two escapes that S3 documents and JSON does not know; each escape is read whole, so `\\$` stays as it is.
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_FOREIGN_ESCAPES: Final = {b"$": b"$", b"v": b"\\u000b"}

FILE: Final = "file"
"""The field of a form that is its file."""

_LENGTH: Final = "content-length-range"
_LISTS: Final = frozenset({"in", "not-in"})
_OPERATORS: Final = frozenset({"eq", "starts-with"}) | _LISTS
_IGNORED: Final = "x-ignore-"
_PLACE: Final = frozenset({"bucket", "key"})


class Condition(NamedTuple):
    """One condition: an operator, a field's lower-case name, the values it takes (one, but for lists).

    `written` is how it is quoted where it fails.
    """

    operator: str
    field: str
    values: tuple[str, ...]
    written: str

    def holds(self, value: str) -> bool:
        """Whether a field of this value may be sent."""
        match self.operator:
            case "starts-with":
                # A list of content types must not smuggle in one of another kind behind the first.
                pieces = [piece.strip(" \t") for piece in value.split(",")] if self.field == "content-type" else [value]
                return all(piece.startswith(self.values[0]) for piece in pieces)
            case "not-in":
                return value not in self.values
            case _:
                return value in self.values


class Policy(NamedTuple):
    """A policy: when it ends (seconds since the epoch), its conditions, the bytes a file may have (both ends)."""

    expires_at: float
    conditions: tuple[Condition, ...]
    length: tuple[int, int] | None

    def check(self, fields: Mapping[str, str], bucket: str, exempt: Iterable[str]) -> None:
        """Raise unless the form fits: `path_not_allowed`, `header_required`.

        `fields` are the submitted ones by lower-case name, `exempt` those that no condition has to name.
        """
        if fields.get("bucket", bucket) != bucket:
            raise _failed("bucket", _quoted(["eq", "$bucket", fields["bucket"]]))
        judged = {**fields, "bucket": bucket}
        for condition in self.conditions:
            value = judged.get(condition.field)
            if value is None or not condition.holds(value):
                raise _failed(condition.field, condition.written)
        covered = {condition.field for condition in self.conditions}.union(exempt)
        extra = [name for name in judged if name not in covered and not name.startswith(_IGNORED)]
        if extra:
            text = f"Invalid according to Policy: Extra input fields: {', '.join(extra)}"
            raise Denied("header_required", text).saying("AccessDenied", text, 403)


def read_policy(encoded: str) -> Policy:
    """A policy as it was submitted: base64 of JSON. Raises `key_malformed` (InvalidPolicyDocument)."""
    if not encoded:
        raise _invalid("Expecting '{' but found End-of-Input")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise _invalid("invalid Base64 encoding.") from None
    try:
        document = strict_json(_ESCAPE.sub(_json_escape, raw))
    except ValueError:
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    for name in document:
        if name not in ("expiration", "conditions"):
            raise _invalid(f'Unexpected: "{name}"')
    expires_at = _expiration(document)
    if "conditions" not in document:
        raise _invalid("Policy missing conditions.")
    if not isinstance(document["conditions"], list):
        raise _invalid("Invalid 'conditions' value: must be a List.")
    return _policy(expires_at, document["conditions"])


def expired() -> Denied:
    """The refusal of a policy whose time is over."""
    return Denied("key_expired").saying("AccessDenied", "Invalid according to Policy: Policy expired.", 403)


def fields_of(form: Iterable[tuple[str, str]], own: Collection[str]) -> dict[str, str]:
    """A form's fields by lower-case name but for its file, the client's file name put in where it is asked for.

    `own` are the fields of the signature, which are as they were signed. Raises `parameter_invalid` where a field is
    given twice.
    """
    pairs = tuple(form)
    filename = dict(pairs).get(FILE, "")
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name == FILE:
            continue
        if name in fields and not name.startswith(_IGNORED):
            said = f"POST requires each field at most once: {name} is given again."
            raise Denied("parameter_invalid", said).saying(
                "InvalidArgument", said, 400, ArgumentName=name, ArgumentValue=""
            )
        fields[name] = value if name in own else with_filename(value, filename)
    return fields


def with_filename(value: str, filename: str) -> str:
    """A field's value with the client's file name in place of `${filename}`: its last segment, as browsers' servers
    take it, since some send whole paths (`C:\\pictures\\a.png`).
    """
    return value.replace("${filename}", re.split(r"[/\\]", filename)[-1])


def _expiration(document: Mapping[str, object]) -> float:
    if "expiration" not in document:
        raise _invalid("Policy missing expiration.")
    text = document["expiration"]
    found = _EXPIRATION.fullmatch(text) if isinstance(text, str) else None
    try:
        if found:
            moment = datetime.datetime.fromisoformat(found[1]).replace(tzinfo=datetime.UTC)
            return moment.timestamp() + float(found[2] or 0)
    except ValueError:  # the 30th of February
        pass
    raise _invalid(f"Invalid 'expiration' value: '{text}'")


def _policy(expires_at: float, rows: list[object]) -> Policy:
    conditions: list[Condition] = []
    length: tuple[int, int] | None = None
    for row in rows:
        if isinstance(row, dict):
            conditions.append(_simple(row))
        elif not isinstance(row, list):
            raise _invalid("Invalid condition test: must be a List or Object.")
        elif not row:
            raise _invalid("Invalid Condition: missing operation identifier.")
        elif isinstance(row[0], str) and row[0].lower() == _LENGTH:
            least, most = _range(row)
            length = (least, most) if length is None else (max(length[0], least), min(length[1], most))
        else:
            conditions.append(_condition(row))
    return Policy(expires_at, tuple(conditions), length)


def _simple(row: Mapping[str, object]) -> Condition:
    if len(row) != 1:
        raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
    ((name, value),) = row.items()
    if not isinstance(value, str):
        raise _invalid("Invalid Simple-Condition: value must be a string.")
    return Condition("eq", name.lower(), (value,), _quoted(["eq", f"${name}", value]))


def _condition(row: list[object]) -> Condition:
    operator = row[0].lower() if isinstance(row[0], str) else ""
    if operator not in _OPERATORS:
        raise _invalid(f"Invalid Condition: unknown operation '{row[0]}'.")
    if len(row) != 3:
        raise _invalid(f"Invalid {operator}: wrong number of arguments.")
    field, given = row[1], row[2]
    if not isinstance(field, str) or not field.startswith("$"):
        raise _invalid(f"Invalid {operator}: the field must be a string that begins with '$'.")
    values = given if operator in _LISTS and isinstance(given, list) else [given]
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values) or (operator in _LISTS) != isinstance(given, list):
        kind = "a List of strings" if operator in _LISTS else "a string"
        raise _invalid(f"Invalid {operator}: value must be {kind}.")
    return Condition(operator, field[1:].lower(), texts, _quoted(row))


def _range(row: list[object]) -> tuple[int, int]:
    if len(row) != 3:
        raise _invalid(f"Invalid {_LENGTH}: wrong number of arguments.")
    try:
        # Numbers, or numbers in quotes; True is none, nor is a negative one.
        least, most = (wire_int(str(end)) for end in row[1:] if isinstance(end, int | str))
    except ValueError:
        raise _invalid(f"Invalid {_LENGTH}: arguments must be whole numbers.") from None
    if least > most:
        raise _invalid(f"Invalid {_LENGTH}: the minimum is larger than the maximum.")
    return least, most


def _json_escape(escape: re.Match[bytes]) -> bytes:
    return _FOREIGN_ESCAPES.get(escape[1], escape[0])


def _quoted(row: list[object]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _failed(field: str, written: str) -> Denied:
    text = f"Invalid according to Policy: Policy Condition failed: {written}"
    code = "path_not_allowed" if field in _PLACE else "header_required"
    return Denied(code, text).saying("AccessDenied", text, 403)


def _invalid(reason: str) -> Denied:
    text = f"Invalid Policy: {reason}"
    return Denied("key_malformed", text).saying("InvalidPolicyDocument", text, 400)
