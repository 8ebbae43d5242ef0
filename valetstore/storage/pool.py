"""Worker threads for everything that blocks, and the border behind which no OSError is seen."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from valetstore.errors import Denied
from valetstore.storage.trouble import Doing, translated
from valetstore.storage.turns import Turns

P = ParamSpec("P")
R = TypeVar("R")


class Pool:
    """A store's own threads: a disk that hangs must not stop what else the process does in threads."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="valetstore-disk")
        self.turns = Turns()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is begun."""
        return self._is_closed

    def start(self, doing: Doing, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Begin in a thread. The future raises Denied; `storage_unavailable` once closed."""
        if self._is_closed:
            raise Denied("storage_unavailable", reason="the store is closed")

        def job() -> R:
            with translated(doing):
                return work(*args, **kwargs)

        return asyncio.get_running_loop().run_in_executor(self._executor, job)

    async def run(self, doing: Doing, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it in a thread and wait; it is done to its end even if the wait is cancelled."""
        return await asyncio.shield(self.start(doing, work, *args, **kwargs))

    async def run_on(self, doing: Doing, fd: int, work: Callable[[int], R]) -> R:
        """The same on a descriptor of its own: whoever waits may be cancelled and close the other meanwhile."""
        with translated(doing):
            own = os.dup(fd)

        def job() -> R:
            try:
                return work(own)
            finally:
                os.close(own)

        try:
            future = self.start(doing, job)
        except BaseException:
            os.close(own)
            raise
        return await asyncio.shield(future)

    async def obtain(
        self,
        doing: Doing,
        let_go: Callable[[R], None],
        work: Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """The same for work whose result must be let go of: done here where nobody waits any more."""
        future = self.start(doing, work, *args, **kwargs)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: _let_go(done, let_go))
            raise

    def later(self, work: Callable[[], None]) -> None:
        """Do it sometime, unobserved; at once where the pool is closed."""
        if not self._is_closed:
            try:
                self._executor.submit(work)
            except RuntimeError:  # it was closed this very moment, where this is one of its own threads
                pass
            else:
                return
        work()

    async def close(self) -> None:
        """Wait for what runs, end the threads; harmless twice."""
        self._is_closed = True
        await asyncio.to_thread(self._executor.shutdown)


def _let_go(done: asyncio.Future[R], let_go: Callable[[R], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        let_go(done.result())
