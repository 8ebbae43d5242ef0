"""Room: how much of an upload's maximum is left while several of its parts are on their way at once.

Rule 1: a part that would make the whole larger than its maximum is refused before its first byte.
Rule 2: parts that arrive at the same time count together; those in other workers count once they are stored. So a disk
holds of one upload at most its maximum in each worker; what exceeds the maximum can never be completed.
"""

import contextlib
from collections.abc import AsyncIterator

from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.storage.uploads import PARTS_MAX, Uploads


class Room:
    """What is on its way in this worker: (part number, bytes) by upload."""

    def __init__(self) -> None:
        self._arriving: dict[str, list[tuple[int, int]]] = {}

    @contextlib.asynccontextmanager
    async def held(
        self, uploads: Uploads, admission: Admission, number: int, length: int, most: int | None
    ) -> AsyncIterator[None]:
        """While a part of `length` bytes arrives; `most` is what the whole may have. Raises `too_large`."""
        if most is None:
            yield
            return
        upload_id, entry = admission.intent.upload, (number, length)
        arriving = self._arriving.setdefault(upload_id, [])
        arriving.append(entry)
        try:
            stored, _ = await uploads.parts(admission, upload_id, 0, PARTS_MAX)
            coming = {number for number, _ in arriving}
            size = sum(count for _, count in arriving)
            size += sum(part.size for part in stored if part.number not in coming)
            if size > most:
                raise Denied("too_large", f"At most {most} bytes.", size=size, size_max=most)
            yield
        finally:
            arriving.remove(entry)
            if not arriving:
                self._arriving.pop(upload_id, None)
