"""Terms: what the key that began an upload asks of the whole, kept with the upload until it is completed.

Rule 1: whoever completes the upload, its terms hold, together with what the completing key asks.
Rule 2: the use of a limited key is durable before its upload can be found: an upload with a reservation proves that
it was counted, whatever was killed since.
Rule 3: such an upload is completed or given up once. That is one use of the upload's own identity, so the replay set
decides it for all workers and remembers it after a crash: cut while it was published, it stays used up.
"""

from typing import Final

import msgspec

from valetstore.conditions import NONE, Conditions
from valetstore.edge.call import Call
from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Intent, Use
from valetstore.keys.material import fingerprint
from valetstore.policy.bounds import SKEW_SECONDS_MAX
from valetstore.policy.request import enforce_content
from valetstore.replay.promise import Reservation
from valetstore.storage.uploads import Started


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """Lengths in bytes, times in seconds since the epoch.

    `identity`, `subject` and `issued_at` are those of the key that began it, for revocations. `reservation` is the
    use of a limited key, None for others; `until` is when a limited key's upload is over, completed or not.
    `conditions` and `digests` (by names of `promise.DIGESTS`) are for dialects that say at the beginning what must hold
    when the whole is published.
    """

    identity: bytes
    subject: str = ""
    issued_at: float | None = None
    length_min: int = 0
    length_max: int | None = None
    create_only: bool = False
    reservation: Reservation | None = None
    until: float = 0.0
    conditions: Conditions = Conditions()
    digests: tuple[tuple[str, bytes], ...] = ()


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Terms).decode


class Begun(msgspec.Struct, frozen=True):
    """An upload that is open, and its terms."""

    started: Started
    terms: Terms


def terms_of(
    call: Call,
    reservation: Reservation | None,
    *,
    seconds_max: int | None = None,
    conditions: Conditions = NONE,
    digests: tuple[tuple[str, bytes], ...] = (),
) -> bytes:
    """What the key of this request asks of the upload that it begins, which a dialect may end sooner than others."""
    grant, now = call.admission.grant, call.inbound.now
    lasting = call.services.config.storage.multipart_seconds_max
    lasting = lasting if seconds_max is None else min(lasting, seconds_max)
    until = now + lasting if reservation is not None else 0.0
    return _encode(
        Terms(
            identity=grant.identity,
            subject=grant.subject,
            issued_at=grant.issued_at,
            length_min=grant.length_min,
            length_max=grant.length_max,
            create_only=grant.create_only,
            reservation=reservation,
            until=until,
            conditions=conditions,
            digests=digests,
        )
    )


async def begun(call: Call) -> Begun:
    """The upload that the request belongs to. Raises `upload_not_found`, `operation_not_allowed`, `key_revoked`."""
    admission = call.admission
    started = await call.services.uploads.find(admission, admission.intent.upload)
    try:
        found = Begun(started, _decode(started.terms))
    except msgspec.DecodeError as error:
        # It says what may not be done: without it nothing may.
        raise Denied("internal_error", reason=f"the terms of an upload cannot be read: {error}") from error
    _refuse_uncounted(admission.grant, found)
    if found.terms.reservation is not None and call.inbound.now >= found.terms.until:
        raise Denied("upload_not_found")
    return found


def _refuse_uncounted(grant: Grant, found: Begun) -> None:
    """A limited key's use was counted when the upload began: by another key, or by none, it was not."""
    if grant.uses_for("write") is None:
        return
    if found.started.signing_key != grant.signing_key or found.terms.reservation is None:
        said = "The key's use is counted when an upload begins, and this one was begun without it."
        raise Denied("operation_not_allowed", said).saying("AccessDenied", said)


def check_in_force(call: Call, found: Begun, now: float) -> None:
    """Raise `key_revoked` where the key that began the upload was revoked, or its signing key is retired or gone."""
    grant, terms = call.admission.grant, found.terms
    author = msgspec.structs.replace(
        grant,
        signing_key=found.started.signing_key,
        identity=terms.identity,
        subject=terms.subject,
        issued_at=terms.issued_at,
    )
    call.services.gateway.check_in_force(author, call.admission.intent.path, now)


def check_whole(call: Call, found: Begun, size: int) -> None:
    """Raise `too_large`, `too_small`, `type_not_allowed`: the terms, and what the completing key asks."""
    admission, terms = call.admission, found.terms
    wanted = Intent(
        "write", admission.key.path, admission.key, length=size, content_type=found.started.metadata.content_type
    )
    enforce_content(admission.grant, wanted, call.inbound)
    most = call.services.config.limits.upload_bytes_max
    most = most if terms.length_max is None else min(most, terms.length_max)
    if size > most:
        raise Denied("too_large", f"At most {most} bytes.", size=size, size_max=most)
    if size < terms.length_min:
        raise Denied("too_small", f"At least {terms.length_min} bytes.", size=size, size_min=terms.length_min)


def ending_of(found: Begun) -> Use | None:
    """The one use of the upload itself, for whoever completes it or gives it up; None where no key was limited."""
    terms, started = found.terms, found.started
    if terms.reservation is None:
        return None
    identity = fingerprint(b"multipart upload", started.id.encode())
    return Use(identity, 1, 0, "", terms.until + SKEW_SECONDS_MAX, started.created_ns / 1e9)
