"""The end of an upload, in steps that let others work: closed for everybody at once, then cleared."""

import time
from collections.abc import Callable

from valetstore.errors import Denied
from valetstore.storage.draft import STEP_SECONDS
from valetstore.storage.multipart import keeping
from valetstore.storage.multipart.part import Bench
from valetstore.storage.pool import Pool
from valetstore.storage.roots import Root
from valetstore.storage.uploads import Started


async def ended(pool: Pool, bench: Bench, root: Root, find: Callable[[], tuple[str, Started]]) -> None:
    """End the upload that `find` finds (where it is, and its record); harmless where it raises `upload_not_found`."""

    def close() -> tuple[str, str]:
        try:
            parent, started = find()
        except Denied as denied:
            if denied.code != "upload_not_found":
                raise
            return "", ""
        return parent, keeping.close(bench, root, parent, started.id)

    def clear() -> bool:
        return keeping.clear(bench, root, parent, closed, time.monotonic() + STEP_SECONDS)

    parent, closed = await pool.run("write", close)
    while closed and not await pool.run("write", clear):
        pass
