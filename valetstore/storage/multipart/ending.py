"""The end of an upload: closed for everybody at once, then cleared in steps that let others work.

Rule 1: who ended it waits until that is durable, and a moment for the clearing. A folder that takes longer goes
behind its back: some file systems take milliseconds for each file.
Rule 2: of one process one thread clears so, and many may not wait for it: where they do, who ends one more waits for
the end of its clearing. What a stop or a crash leaves is collected with the abandoned.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.storage.draft import STEP_SECONDS
from valetstore.storage.multipart import keeping
from valetstore.storage.multipart.part import Bench
from valetstore.storage.pool import Pool
from valetstore.storage.roots import Root
from valetstore.storage.uploads import Started

PATIENCE_SECONDS: Final = 1.0
"""How long the clearing is waited for."""
LEFT_MAX: Final = 16
"""How many folders may be left to be cleared later: each may hold as many files as one object's blocks."""

_log: Final = logging.getLogger("valetstore.storage")


class _Closed(NamedTuple):
    """An upload that is over: the folder that is still to be cleared, and where it is."""

    root: Root
    parent: str
    folder: str


class Ending:
    """Ends uploads of one store."""

    def __init__(self, pool: Pool, bench: Bench) -> None:
        self._pool = pool
        self._bench = bench
        self._left: deque[_Closed] = deque()
        self._is_clearing = False
        self._lock = threading.Lock()

    async def end(self, root: Root, find: Callable[[], tuple[str, Started]]) -> None:
        """End the upload that `find` finds (where it is, its record); harmless where it raises `upload_not_found`.

        A bucket's quota counts its parts until their files are gone, so that it never says less than there is.
        """
        closed = await self._pool.run("write", self._close, root, find)
        until = time.monotonic() + PATIENCE_SECONDS
        while closed is not None and not await self._pool.run("write", self._clear, closed):
            if time.monotonic() >= until and self._leave(closed):
                return

    def _close(self, root: Root, find: Callable[[], tuple[str, Started]]) -> _Closed | None:
        try:
            parent, started = find()
        except Denied as denied:
            if denied.code != "upload_not_found":
                raise
            return None
        folder = keeping.close(self._bench, root, parent, started.id)
        return _Closed(root, parent, folder) if folder else None

    def _clear(self, closed: _Closed) -> bool:
        until = time.monotonic() + min(STEP_SECONDS, PATIENCE_SECONDS)
        return keeping.clear(self._bench, closed.root, closed.parent, closed.folder, until)

    # --- behind the caller's back --------------------------------------------------------------------

    def _leave(self, closed: _Closed) -> bool:
        """To be cleared later; False where too many are."""
        with self._lock:
            if len(self._left) >= LEFT_MAX:
                return False
            self._left.append(closed)
            begins, self._is_clearing = not self._is_clearing, True
        if begins:
            self._pool.later(self._clear_on)
        return True

    def _clear_on(self) -> None:
        """A step, in a thread of the pool; the next one waits behind what others have asked for meanwhile."""
        with self._lock:
            if self._pool.is_closed or not self._left:
                self._is_clearing = False
                return
            closed = self._left[0]
        if self._is_cleared(closed):
            with self._lock:
                self._left.popleft()
        self._pool.later(self._clear_on)

    def _is_cleared(self, closed: _Closed) -> bool:
        """Whether nothing is left to be done here."""
        try:
            return self._clear(closed)
        except (OSError, Denied) as error:
            _log.warning("bucket %s: what an upload has left could not be removed now: %s", closed.root.bucket, error)
            return True
