"""Alike: presigned V4 URLs that differ from one that was proven in path, date and signature, and in nothing else.

A signer makes many of them in a day, and one client asks for some. What was proven of one is true of all but for the
signature, which is verified each time, and the date, by which each is valid at a time of its own; and what one asked
for, all ask for, each of its own object.

Rule 1: only what was proven is noted, and found again by all that its proof rests on: the frame, in which the note is,
the day, the rules, the very key ring, the method, the host, TLS and every header.
Rule 2: a note lives as long as its frame, for days, and holds no ring: many may come and go meanwhile.
Rule 3: nothing is refused here. What does not hold as it is usually written is read anew, by whoever says why.
"""

import weakref
from typing import Final, NamedTuple

import msgspec

from valetstore.errors import Denied
from valetstore.grants.covered import may_be_kept
from valetstore.grants.grant import Intent
from valetstore.grants.s3.proven import Proven, end_of
from valetstore.grants.s3.rules import Rules
from valetstore.grants.scheme import CARRIERS
from valetstore.grants.sigv4 import AWS, Signed, Written, framed_by, moment_of
from valetstore.inbound import Headers, Inbound
from valetstore.keys.ring import KeyRing
from valetstore.objectkey import ObjectKey, split_path

_NOTE: Final = "s3: alike"
_MET: Final = "s3: met"
"""Notes of a frame: what was proven; and that something was, since most frames come once and are not worth more."""

_SIGNATURE_DIGITS: Final = 64
# No secret is compared with another, from which its time could tell; and a header that says again what the query says
# is one that nothing signed where it says anything else.
_KEPT_OUT: Final = CARRIERS | {AWS.date.lower().encode(), AWS.signature.lower().encode()}

_Rest = tuple[Rules, str, str, bool, Headers]


class _Alike(NamedTuple):
    """A proof, all that it rests on beside frame, path, date and signature, and how its like are written, which live
    for so many seconds; and what it was proven for, an object that its path names. None where that is another thing.
    """

    rest: _Rest
    keys: weakref.ref[KeyRing]
    day: str
    life: int
    written: Written
    proven: Proven
    intent: Intent | None


def asked_as_before(inbound: Inbound, rules: Rules) -> Intent | None:
    """What a URL asks for that is like one that was proven; None where none was, or its path is not of the usual kind.

    Raises `object_key_invalid` where the path is not UTF-8, `target_invalid`.
    """
    alike = _alike(inbound)
    if alike is None or alike.intent is None or not _is_same(alike.rest, inbound, rules):
        return None
    bucket, name = split_path(inbound.path)
    if not (bucket and name):
        return None
    try:
        key = ObjectKey.of(bucket, name)
    except Denied:  # S3 has words of its own for these, and for the gateway's own paths
        return None
    return msgspec.structs.replace(alike.intent, path=key.path, key=key)


def proven_as_before(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven | None:
    """What a URL proves that is like one that was proven; None where none was, or where the signature does not hold."""
    framed, alike = inbound.framed, _alike(inbound)
    if framed is None or alike is None or len(framed.value) != _SIGNATURE_DIGITS:
        return None
    if alike.keys() is not keys or not framed.date.startswith(alike.day):
        return None
    if not _is_same(alike.rest, inbound, rules):
        return None
    issued_at, signature = moment_of(framed.date), bytes.fromhex(framed.value)
    if issued_at is None or not alike.written.holds(inbound.raw_path, framed.date.encode(), signature):
        return None
    not_after = end_of(issued_at, alike.life)
    return msgspec.structs.replace(alike.proven, mac=signature, issued_at=issued_at, not_after=not_after)


def _alike(inbound: Inbound) -> _Alike | None:
    framed = inbound.framed
    found: _Alike | None = None if framed is None else framed.frame.notes.get(_NOTE)
    return found


def _is_same(rest: _Rest, inbound: Inbound, rules: Rules) -> bool:
    its_rules, method, host, tls, headers = rest
    return (
        its_rules is rules
        and inbound.method == method
        and inbound.host == host
        and inbound.tls == tls
        and (inbound.headers is headers or inbound.headers == headers)
    )


def note(
    inbound: Inbound,
    rules: Rules,
    keys: KeyRing,
    intent: Intent | None,
    signed: Signed,
    secret: bytes,
    proven: Proven,
    life: int,
) -> None:
    """A URL was proven, for so many seconds: what was signed, with which secret, and what it asks for where that is
    known.
    """
    framed = framed_by(AWS, inbound)
    if framed is None:
        return
    notes = framed.frame.notes
    if _MET not in notes:
        notes[_MET] = True
        return
    # A session has an end of its own, a body that proves itself is one request's.
    if proven.session is not None or proven.body is not None:
        return
    if not inbound.header_names.isdisjoint(_KEPT_OUT) or not may_be_kept(inbound):
        return
    written = Written.of(AWS, secret, signed, inbound)
    if written is not None:
        rest = rules, inbound.method, inbound.host, inbound.tls, inbound.headers
        # Where the bucket is in the Host, or none is meant, the path is another one.
        asked = intent if intent is not None and intent.key is not None and intent.path == inbound.path else None
        notes[_NOTE] = _Alike(rest, weakref.ref(keys), signed.stamp[:8], life, written, proven, asked)
