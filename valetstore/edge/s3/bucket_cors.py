"""PutBucketCors, GetBucketCors, DeleteBucketCors: rules that a bucket's user sets, instead of the operator's.

Rule 1: what is kept has been checked: a rule that could not be sent to a browser as it is, is not kept.
Rule 2: a rule is kept as what it says (JSON), and read back into S3's document, and into rules for `edge.cors`.
Source: S3's API reference and user guide (Elements of a CORS configuration).
"""

import re
import time
from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element

import msgspec

from valetstore.edge.call import Call
from valetstore.edge.changing import changing
from valetstore.edge.replies import Reply
from valetstore.edge.s3.bodies import small
from valetstore.edge.s3.changes import require_digest
from valetstore.edge.xml import Node, malformed, parsed, xml_reply
from valetstore.errors import Denied
from valetstore.storage.promise import Buckets

SETTING: Final = "cors"
RULES_MAX: Final = 100
METHODS: Final = frozenset({"GET", "PUT", "HEAD", "POST", "DELETE"})
_BYTES_MAX: Final = 64 * 1024
_ID_CHARACTERS_MAX: Final = 255
_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class StoredRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One CORSRule. `max_age_seconds` is None where it says nothing."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age_seconds: int | None = None
    id: str | None = None


def stored_rules(buckets: Buckets, bucket: str) -> Sequence[StoredRule] | None:
    """The rules that a bucket's user has set, here and now; None where there are none.

    Raises `object_key_invalid` where this is no bucket's name, `storage_error`.
    """
    return _loaded(buckets.setting_now(bucket, SETTING))


async def put_bucket_cors(call: Call) -> Reply:
    """Keep rules, in place of all that were kept."""
    _refuse_uploader(call)
    require_digest(call.inbound)
    call.on_admitted()
    rules = rules_in(await small(call, _BYTES_MAX))
    async with changing(call):
        await call.services.store.buckets.keep(call.admission, SETTING, msgspec.json.encode(rules))
    return Reply(200)


async def get_bucket_cors(call: Call) -> Reply:
    """The rules that are kept."""
    rules = _loaded(await call.services.store.buckets.setting(call.admission, SETTING))
    if rules is None:
        raise Denied("not_found").saying("NoSuchCORSConfiguration", "The CORS configuration does not exist", 404)
    await call.services.gateway.claim(call.admission, time.time)
    return xml_reply("CORSConfiguration", [("CORSRule", _node(rule)) for rule in rules])


def _refuse_uploader(call: Call) -> None:
    """Rules hold for all who use the bucket: a key for uploads of one kind, or of new names alone, sets none."""
    grant = call.admission.grant
    if grant.create_only or grant.types:
        raise Denied(
            "operation_not_allowed", "A key that is only for some uploads does not change a bucket's settings."
        )


async def delete_bucket_cors(call: Call) -> Reply:
    """Keep none; the operator's hold again."""
    _refuse_uploader(call)
    async with changing(call):
        await call.services.store.buckets.keep(call.admission, SETTING, None)
    return Reply(204)


def rules_in(body: bytes) -> list[StoredRule]:
    """The rules of a document. Raises `parameter_invalid` (MalformedXML, InvalidRequest)."""
    elements = list(parsed(body, "CORSConfiguration"))
    if not elements or any(element.tag != "CORSRule" for element in elements):
        raise malformed("it holds rules, one at least")
    if len(elements) > RULES_MAX:
        raise _invalid(f"The number of CORS rules should not exceed allowed limit of {RULES_MAX} rules.")
    return [_rule(element) for element in elements]


def _rule(element: Element) -> StoredRule:
    known = {"AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds", "ID"}
    if any(child.tag not in known or len(child) for child in element):
        raise malformed("a rule has elements that are none of a rule's")
    origins, methods = _texts(element, "AllowedOrigin"), _texts(element, "AllowedMethod")
    headers, expose = _texts(element, "AllowedHeader"), _texts(element, "ExposeHeader")
    if not origins or not methods or "" in (*origins, *headers, *expose):
        raise malformed("a rule has an origin and a method")
    for method in methods:
        if method not in METHODS:
            raise _invalid(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
    for name, patterns in (("AllowedOrigin", origins), ("AllowedHeader", headers)):
        for pattern in patterns:
            if pattern.count("*") > 1:
                raise _invalid(f'{name} "{pattern}" can not have more than one wildcard.')
    for header in expose:
        if "*" in header:
            raise _invalid(
                f'ExposeHeader "{header}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )
        if not _TOKEN.fullmatch(header):
            raise _invalid(f'ExposeHeader "{header}" contains invalid character.')
    return StoredRule(origins, methods, headers, expose, _seconds(element), _id(element))


def _seconds(element: Element) -> int | None:
    texts = _texts(element, "MaxAgeSeconds")
    if not texts:
        return None
    if len(texts) > 1 or not _SECONDS.fullmatch(texts[0]):
        raise malformed("MaxAgeSeconds is a number")
    return int(texts[0])


def _id(element: Element) -> str | None:
    texts = _texts(element, "ID")
    if len(texts) > 1 or any(len(text) > _ID_CHARACTERS_MAX for text in texts):
        raise malformed(f"an ID has at most {_ID_CHARACTERS_MAX} characters")
    return texts[0] if texts else None


def _texts(element: Element, name: str) -> tuple[str, ...]:
    return tuple((child.text or "").strip() for child in element if child.tag == name)


def _loaded(value: bytes | None) -> list[StoredRule] | None:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=list[StoredRule])
    except msgspec.DecodeError as error:
        raise Denied("storage_error", setting=SETTING, error=str(error)) from error


def _node(rule: StoredRule) -> list[Node]:
    return [
        ("ID", rule.id),
        *(("AllowedOrigin", origin) for origin in rule.origins),
        *(("AllowedMethod", method) for method in rule.methods),
        *(("AllowedHeader", header) for header in rule.headers),
        *(("ExposeHeader", header) for header in rule.expose),
        ("MaxAgeSeconds", rule.max_age_seconds),
    ]


def _invalid(said: str) -> Denied:
    return Denied("parameter_invalid", said).saying("InvalidRequest", said)
