"""The daemon's log, on stderr, written by a thread: whoever reads it slowly, or not at all, holds up nobody."""

import contextlib
import logging
import os
import queue
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final

LINES_MAX: Final = 1_000
"""Lines that wait to be written; more are dropped."""

STOP_SECONDS: Final = 2.0
_STDERR: Final = 2


class _Dropping(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


class _Stderr(logging.Handler):
    """Writes to the descriptor itself. One thread does, so it needs no lock, at which the end would wait for it."""

    def createLock(self) -> None:  # noqa: N802 - logging's own name
        """None, which the end does not wait for."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """From Python 3.13 on logging's own takes the lock without asking whether there is one."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Waits for whoever reads."""
        line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(_STDERR, line) :]


class Log(QueueListener):
    """Everything from INFO on. Use it as a context manager."""

    def __init__(self) -> None:
        stream = _Stderr()
        stream.setFormatter(logging.Formatter("valetstore: %(levelname)s: %(message)s"))
        waiting: queue.Queue[Any] = queue.Queue(LINES_MAX)
        super().__init__(waiting, stream)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Dropping(waiting)], force=True)

    def stop(self) -> None:
        """Write what waits, for a moment; a reader that is stuck does not keep the process from ending."""
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(None)
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def __enter__(self) -> "Log":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
