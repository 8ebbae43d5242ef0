"""Resumable uploads: a session is begun, takes chunks, is asked how far it has come, ends as an object or is given up.

Rule 1: a limited key's use is reserved and durable before its session is there, and spent with the object; giving the
session up brings it back.
Rule 2: what the key and the request that began it asked (lengths, type, hashes, generations, create-only) holds of the
whole: as early as it is known, and again when the whole is published.
Rule 3: a client that lost the answer asks again: as long as the object is the one of this session, it has it again.
Source: Google Cloud, "Perform resumable uploads" (XML API).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from valetstore.edge.assembling import Whole, forget, give_up, present_info, publish_whole
from valetstore.edge.call import Call
from valetstore.edge.gcs.bodies import pass_over
from valetstore.edge.gcs.chunks import overtaken
from valetstore.edge.gcs.content_range import Piece, Question, piece_of, range_of
from valetstore.edge.gcs.heads import metadata_of, promised_hashes, refuse_unserved, written_headers
from valetstore.edge.gcs.pieces import check_piece, receive_piece
from valetstore.edge.gcs.writing import write_conditions
from valetstore.edge.replies import Header, Reply
from valetstore.edge.upload_terms import Begun, begun, check_in_force, check_whole, terms_of
from valetstore.edge.uploading import refuse_early
from valetstore.errors import Denied
from valetstore.grants.gcs import Rules, session
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import ObjectInfo, Part
from valetstore.storage.uploads import PARTS_MAX, Started

_UNREAD_BYTES_MAX: Final = 64 * 1024
"""Google's own libraries send a JSON document with the request that begins a session; its XML API does not read it."""

_LOOKS: Final = 20
_PAUSE_SECONDS: Final = 0.05

# What one meets that has been, or is being, completed by another request.
_MAYBE_DONE: Final = frozenset({"upload_not_found", "part_invalid", "key_used", "exists", "precondition_failed"})


async def start_resumable(rules: Rules, call: Call) -> Reply:
    """POST with x-goog-resumable: start. The answer's Location is what chunks are sent to, and all they need."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    hashes = promised_hashes(inbound)
    described = Started(metadata=metadata_of(inbound), signing_key=admission.grant.signing_key)
    conditions = await write_conditions(call)
    await pass_over(call, _UNREAD_BYTES_MAX)
    await refuse_early(services.store, admission, conditions)
    async with services.lease(admission) as lease:
        await lease.committing()
        call.on_admitted()
        terms = terms_of(
            call,
            lease.reservation,
            seconds_max=rules.resumable_seconds,
            conditions=conditions,
            digests=tuple(hashes.items()),
        )
        started = await services.uploads.start(admission, msgspec.structs.replace(described, terms=terms))
        try:
            token = _token(rules, call, started)
        except Denied:
            await services.uploads.end(admission, started.id)
            raise
        lease.hand_over()
    return Reply(201, [("Location", f"{_url(call)}?{session.PARAMETER}={token}"), ("X-GUploader-UploadID", token)])


async def put_chunk(call: Call) -> Reply:
    """PUT to a session: a chunk, the whole, or a question how much has arrived."""
    inbound = call.inbound
    refuse_unserved(inbound)
    piece = piece_of(inbound, call.admission.intent.length)
    hashes = promised_hashes(inbound)
    if (done := await _done(call)) is not None:
        return Reply(200, written_headers(done))
    try:
        return await _put(call, piece, hashes)
    except Denied as denied:
        # Another request may have completed it since.
        if denied.code != "upload_not_found" or (done := await _done(call)) is None:
            raise
    return Reply(200, written_headers(done))


async def _put(call: Call, piece: Piece | Question, hashes: Mapping[str, bytes]) -> Reply:
    """See `put_chunk`, of a session that is not whole. Raises `upload_not_found`."""
    found = await begun(call)
    check_in_force(call, found, call.inbound.now)
    parts = await _parts(call)
    if isinstance(piece, Question):
        await pass_over(call)
        persisted = sum(part.size for part in parts)
        if persisted != piece.total:
            return _incomplete(persisted)
        if parts:
            return await _completed(call, found, hashes)
        piece = Piece(0, 0, 0)  # nothing is all there is
    return await _take(call, found, piece, parts, hashes)


async def cancel_resumable(call: Call) -> Reply:
    """DELETE to a session: nothing of it is left. 499 is how Google says so."""
    await pass_over(call)
    await give_up(call, await begun(call))
    return Reply(499, phrase="Client Closed Request")


async def _take(call: Call, found: Begun, piece: Piece, parts: list[Part], hashes: Mapping[str, bytes]) -> Reply:
    rules = BodyRules.of(call.admission, call.services.config.limits.upload_bytes_max)
    persisted = sum(part.size for part in parts)
    check_piece(call, found, piece, persisted, hashes)
    persisted = await receive_piece(call, found, piece, parts, rules)
    if not piece.is_last:
        return _incomplete(persisted)
    return await _completed(call, found, hashes)


async def _completed(call: Call, found: Begun, hashes: Mapping[str, bytes]) -> Reply:
    """All bytes are there: they become the object."""
    try:
        return Reply(200, written_headers(await _publish(call, found, hashes)))
    except Denied as denied:
        if denied.code == "digest_mismatch":
            # What has arrived cannot be sent again: the session is of no use any more, the key is.
            await give_up(call, found)
        if denied.code not in _MAYBE_DONE:
            raise
        failed = denied
    # Where its use is spent, another request is about to publish it, or was killed at that.
    is_spent = failed.code == "key_used" and not failed.detail
    done = await (_done_soon(call) if is_spent else _done(call))
    if done is not None:
        return Reply(200, written_headers(done))
    if failed.code == "key_used":
        raise overtaken() if failed.detail else Denied("upload_not_found", reason="its one use is spent")
    raise failed


async def _publish(call: Call, found: Begun, hashes: Mapping[str, bytes]) -> ObjectInfo:
    parts, terms = await _parts(call), found.terms
    check_whole(call, found, sum(part.size for part in parts))
    rules = BodyRules(0, 0, (*terms.digests, *hashes.items()))
    return await publish_whole(
        call,
        found,
        Whole(
            parts,
            msgspec.structs.replace(found.started.metadata, upload=found.started.id),
            terms.conditions,
            terms.create_only or call.admission.grant.create_only,
            rules.hashes,
            lambda digests: rules.check_whole(0, dict(digests)),
        ),
    )


async def _done(call: Call) -> ObjectInfo | None:
    """The object, where it is the one of this session."""
    info = await present_info(call)
    if info is None or info.metadata.upload != call.admission.intent.upload:
        return None
    await forget(call)
    return info


async def _done_soon(call: Call) -> ObjectInfo | None:
    """The same within a second: between the use that is durable and the name that is given lies a publish."""
    for _ in range(_LOOKS):
        if (done := await _done(call)) is not None:
            return done
        await asyncio.sleep(_PAUSE_SECONDS)
    return await _done(call)


async def _parts(call: Call) -> list[Part]:
    parts, _ = await call.services.uploads.parts(call.admission, call.admission.intent.upload, 0, PARTS_MAX)
    return parts


def _incomplete(persisted: int) -> Reply:
    """308, which Google uses for what is not whole yet: there is no Location, and so nowhere to go."""
    span = range_of(persisted)
    headers: list[Header] = [("Range", span)] if span is not None else []
    return Reply(308, headers, phrase="Resume Incomplete")


def _token(rules: Rules, call: Call, started: Started) -> str:
    keys, admission = call.services.gateway.keys, call.admission
    made = session.begun(
        admission.grant,
        admission.key,
        started.id,
        keys,
        now=call.inbound.now,
        seconds=rules.resumable_seconds,
        content_type=started.metadata.content_type or "",
    )
    return session.seal(keys, made)


def _url(call: Call) -> str:
    """Where the request went, as clients reach it."""
    inbound = call.inbound
    here = f"{'https' if inbound.tls else 'http'}://{inbound.host}"
    # In virtual-host style the bucket is in the Host.
    in_host = inbound.path != call.admission.key.path
    base = here if in_host else call.services.config.listen.public_url.rstrip("/") or here
    return base + inbound.raw_path.decode("ascii", "replace")
