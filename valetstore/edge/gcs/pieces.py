"""One piece of a resumable upload: what is refused before its first byte, and how it is taken in."""

import time
from collections.abc import Mapping

from valetstore.edge.call import Call
from valetstore.edge.gcs.chunks import Chunks
from valetstore.edge.gcs.content_range import Piece
from valetstore.edge.gcs.heads import unserved
from valetstore.edge.nodes import argument_invalid
from valetstore.edge.receive import BodySource, ask_for_body, receive
from valetstore.edge.upload_terms import Begun, check_whole
from valetstore.errors import Denied
from valetstore.policy.body import BodyRules
from valetstore.replay.lease import Lease
from valetstore.storage.promise import Part

# After these the client may come back and go on: what has arrived is worth keeping.
_CUT_SHORT = frozenset({"body_incomplete", "request_timeout", "request_malformed"})


def check_piece(call: Call, found: Begun, piece: Piece, persisted: int, hashes: Mapping[str, bytes]) -> None:
    """Refuse what cannot become part of this upload.

    Raises `part_invalid` (503: a gap), `parameter_invalid`, `too_large`, `too_small`, `type_not_allowed`.
    """
    if piece.first > persisted:
        said = (
            f"Invalid request. According to the Content-Range header, the upload offset is {piece.first} byte(s), "
            f"which exceeds already uploaded size of {persisted} byte(s)."
        )
        raise Denied("part_invalid", said).saying("ServiceUnavailable", "", 503, Details=said)
    if piece.total is not None:
        if piece.total < persisted:
            text = call.inbound.header("content-range") or str(piece.total)
            raise argument_invalid("More than this has arrived already.", "Content-Range", text)
        check_whole(call, found, piece.total)
    _check_hashes(call, piece, hashes)


def _check_hashes(call: Call, piece: Piece, hashes: Mapping[str, bytes]) -> None:
    """A hash is the whole object's, and comes with its last bytes; or it could not be held against anything."""
    if call.inbound.header("content-digest") is not None:
        raise unserved("A chunk's Content-Digest is not served here: send x-goog-hash of the whole with the last one.")
    if hashes and not piece.is_last:
        raise unserved("A hash is that of the whole object: send it with the last chunk, as x-goog-hash.")
    if piece.first and call.inbound.header("content-md5") is not None:
        raise unserved("A chunk's Content-MD5 is not served here: send x-goog-hash of the whole with the last one.")


async def receive_piece(call: Call, found: Begun, piece: Piece, parts: list[Part], whole: BodyRules) -> int:
    """Take it in, and keep what can be kept of it if it is cut; how many bytes of the object are there then.

    `whole` is what the object must be. Raises `too_large`, `parameter_invalid` (more came than the head says),
    `conflict`, and what `receive` and storage raise.
    """
    limits, exchange = call.services.config.limits, call.exchange
    persisted = sum(part.size for part in parts)
    most = whole.length_max if found.terms.length_max is None else min(whole.length_max, found.terms.length_max)
    rules = BodyRules(0, max(most - piece.first, 0), ())
    if piece.length is not None:
        rules.check_so_far(piece.length)
        # A body in HTTP's own chunks may be longer than its range: what lies behind that is no part of the object.
        rules = BodyRules(0, piece.length, ())
    chunks = Chunks(call, parts, persisted - piece.first)
    free = Lease(call.services.gateway.replay, None, time.time)
    call.on_admitted()
    try:
        ask_for_body(exchange, call.inbound)
        try:
            with call.services.transfers.moving("in"):
                await receive(exchange, BodySource(exchange, piece.length), rules, chunks, free, limits)
        except (Denied, ConnectionError) as error:
            if piece.length is not None and isinstance(error, Denied) and error.code == "too_large":
                raise Denied("parameter_invalid", "The body is longer than what was announced of it.") from None
            if not isinstance(error, Denied) or error.code in _CUT_SHORT:
                await chunks.cut()
            raise
        await chunks.finish()
    finally:
        await chunks.abort()
    return chunks.persisted
