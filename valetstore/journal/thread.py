"""The thread of a log: jobs one after another in the order they are given, and one call into the event loop for each.

Rule: it sleeps while there is nothing to do, and an end is told by one call however many wait for it: what costs a
group of records is not paid for each of them.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")

_Job = tuple[asyncio.AbstractEventLoop, Callable[[], Any], Callable[[Any, BaseException | None], None]]


class LogThread:
    """One thread. It ends with `end`, or with the last reference to this object; a process does not wait for it."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()
        self.end = weakref.finalize(self, self._jobs.put, None)
        """Ends it behind what was given to it. Harmless twice."""

    def do(self, work: Callable[[], Result], done: Callable[[Result | None, BaseException | None], None]) -> None:
        """Do `work` in its turn, then call `done(result, error)` in the loop that runs now."""
        self._jobs.put((asyncio.get_running_loop(), work, done))

    async def run(self, work: Callable[[], Result]) -> Result:
        """Wait for `work`, in its turn: it is done even where its caller is cancelled. Raises what it raises."""
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(result: Result | None, error: BaseException | None) -> None:
            if told.done():
                return
            if error is None:
                told.set_result(result)
            else:
                told.set_exception(error)

        self.do(work, done)
        result: Result = await told
        return result


def _work(jobs: "SimpleQueue[_Job | None]") -> None:
    """The thread. It knows the jobs alone, so that nothing is kept alive by a thread that sleeps."""
    while (job := jobs.get()) is not None:
        loop, work, done = job
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done, result, error)
        del job, loop, work, done, result, error
