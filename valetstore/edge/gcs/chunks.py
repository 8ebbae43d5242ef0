"""The bytes of a resumable upload on their way into storage: kept as parts, whatever becomes of the connection.

Rule 1: what has arrived is kept up to a multiple of 256 KiB, and the client goes on behind it; of the rest nothing is
kept until the request is whole.
Rule 2: a part is put behind those that were there when its request began, or not at all: of requests that write at the
same time one wins, and none can mix with another.
Rule 3: a long body is kept in parts as it arrives, so that a crash costs the last of them.
"""

from functools import partial
from typing import Final

from valetstore.conditions import Conditions
from valetstore.edge.call import Call
from valetstore.edge.gcs.content_range import QUANTUM_BYTES
from valetstore.edge.gcs.heads import KEPT_DIGESTS
from valetstore.errors import Denied
from valetstore.storage.promise import Metadata, Part, Upload

_PART_BYTES: Final = 64 * 2**20
_PARTS_OF_A_SIZE: Final = 100
"""Parts grow with their number: 10,000 of them hold more than the largest object."""


class Chunks:
    """One request's bytes, behind the parts that are there; the first `skipped` of them are there already."""

    def __init__(self, call: Call, parts: list[Part], skipped: int) -> None:
        self._call = call
        self._number = parts[-1].number + 1 if parts else 1
        self._skipped = skipped
        self._part: Upload | None = None
        self._part_bytes = 0
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self.persisted = sum(part.size for part in parts)

    async def write(self, data: bytes) -> None:
        """Take the next bytes (`edge.receive.Sink`). Raises `conflict`, and what storage raises."""
        if self._skipped:
            passed = min(self._skipped, len(data))
            self._skipped -= passed
            data = data[passed:]
        if self._rest_bytes + len(data) < QUANTUM_BYTES:
            self._hold(data)
            return
        uneven = (self._rest_bytes + len(data)) % QUANTUM_BYTES
        even = len(data) - uneven
        for piece in (*self._rest, data[:even]):
            await self._put(piece)
        self._rest, self._rest_bytes = [], 0
        self._hold(data[even:])
        if self._part_bytes >= _PART_BYTES * (1 + self._number // _PARTS_OF_A_SIZE):
            await self._publish()

    async def finish(self) -> None:
        """The request is whole: so is what it brought, to the byte. Raises `parameter_invalid` for too little."""
        if self._skipped:
            raise Denied("parameter_invalid", "The object is to end before what has arrived of it already.")
        for piece in self._rest:
            await self._put(piece)
        self._rest, self._rest_bytes = [], 0
        if self._part is None and self._number == 1:
            await self._put(b"")  # an object of nothing is made of a part, too
        await self._publish()

    async def cut(self) -> None:
        """The request ended early: what makes full multiples is kept."""
        await self._publish()

    async def abort(self) -> None:
        """Forget what is not kept; harmless after the others."""
        part, self._part = self._part, None
        if part is not None:
            await part.abort()

    def _hold(self, data: bytes) -> None:
        if data:
            self._rest.append(data)
            self._rest_bytes += len(data)

    async def _put(self, data: bytes) -> None:
        services, admission = self._call.services, self._call.admission
        if self._part is None:
            self._part = await services.uploads.begin_part(
                admission, admission.intent.upload, self._number, None, KEPT_DIGESTS
            )
        await self._part.write(data)
        self._part_bytes += len(data)

    async def _publish(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        services, admission = self._call.services, self._call.admission
        try:
            await part.finish()
            await part.seal(Metadata(md5_etag=True))
            await part.publish(Conditions(), create_only=True, last=partial(services.recheck, admission))
        except Denied as denied:
            raise (overtaken() if denied.code == "exists" else denied) from None
        finally:
            await part.abort()
        self.persisted += self._part_bytes
        self._part_bytes = 0
        self._number += 1


def overtaken() -> Denied:
    """Another request of the session was faster. Clients ask for the status after a 503, and go on from there."""
    said = "Another request writes to this session: ask for its status, and go on from there."
    return Denied("conflict", said).saying("ServiceUnavailable", "", 503, Details=said)
