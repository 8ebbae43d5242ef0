"""Many files synced side by side: the kernel is handed all of them in one call, io_submit(2), and told apart after it.

Rule 1: each file is synced once, and what is said of it is what fsync(2) would have said: what fails for one is that
one's alone.
Rule 2: where the kernel has no queue to give (it was built without, a filter of system calls forbids it, all are in
use), nothing was done, and whoever asks syncs in another way.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

AT_ONCE: Final = 64
"""So many files a call."""

_FSYNC: Final = 2  # IOCB_CMD_FSYNC, of linux/aio_abi.h, as are the structures


class _Request(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key_and_flags", ctypes.c_uint64),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("nothing", ctypes.c_uint64 * 5),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint64),
        ("request", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


class _Numbers(NamedTuple):
    """Of the system calls; the C library has no functions for them."""

    setup: int
    submit: int
    getevents: int


_NUMBERS: Final = {"x86_64": _Numbers(206, 209, 208), "aarch64": _Numbers(0, 2, 4)}
_LONG, _POINTER = ctypes.c_long, ctypes.c_void_p


def _call(number: int, *types: type[ctypes.c_long] | type[ctypes.c_void_p]) -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True)["syscall"]
    function.argtypes = (_LONG, *types)
    function.restype = _LONG
    return partial(function, number)


class Queue:
    """The kernel's and ours; one thread's at a time."""

    def __init__(self, numbers: _Numbers) -> None:
        """Raises OSError where there is none to be had, or one that does not sync (before Linux 4.18)."""
        self._submit = _call(numbers.submit, _POINTER, _LONG, _POINTER)
        self._getevents = _call(numbers.getevents, _POINTER, _LONG, _LONG, _POINTER, _POINTER)
        context = ctypes.c_void_p()
        if _call(numbers.setup, _LONG, _POINTER)(AT_ONCE, ctypes.byref(context)) < 0:
            raise _error()
        self._context = context
        self._requests = (_Request * AT_ONCE)()
        self._events = (_Event * AT_ONCE)()
        first, size = ctypes.addressof(self._requests), ctypes.sizeof(_Request)
        self._pointers = (_POINTER * AT_ONCE)(*(first + number * size for number in range(AT_ONCE)))
        for number, request in enumerate(self._requests):
            request.data, request.opcode = number, _FSYNC
        self._try_out()

    def _try_out(self) -> None:
        fd = os.memfd_create("sync")
        try:
            if not self._taken([fd]):
                raise _error()
            self._wait([0])
        finally:
            os.close(fd)

    def sync(self, fds: Sequence[int]) -> list[int]:
        """The errno of each file's sync, 0 where it is durable. Up to AT_ONCE of them. Waits.

        Raises OSError where nobody knows what became of them: then the queue must not be used again.
        """
        taken = self._taken(fds)
        told = [0] * taken
        # What it does not take so is one that it has no room for, or that cannot be synced at all.
        rest = [_sync(fd) for fd in fds[taken:]]
        self._wait(told)
        return told + rest

    def _taken(self, fds: Sequence[int]) -> int:
        for request, fd in zip(self._requests, fds, strict=False):
            request.fd = fd
        return max(0, self._submit(self._context, len(fds), self._pointers))

    def _wait(self, told: list[int]) -> None:
        """Until all have an answer, which goes to its place."""
        left = len(told)
        while left:
            count = self._getevents(self._context, left, left, self._events, None)
            if count < 0:
                if ctypes.get_errno() == errno.EINTR:
                    continue
                raise _error()
            for event in self._events[:count]:
                told[event.data] = -event.result
            left -= count


def _sync(fd: int) -> int:
    try:
        os.fsync(fd)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class Queues:
    """Those that are free; safe to use from many threads. The kernel keeps its half of each until the process ends."""

    def __init__(self, numbers: _Numbers | None) -> None:
        self._numbers = numbers
        self._idle: list[Queue] = []

    def borrow(self) -> Queue | None:
        """One, to be given back; None where there is none to be had."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        if self._numbers is None:
            return None
        try:
            return Queue(self._numbers)
        except OSError as error:
            if error.errno != errno.EAGAIN:  # others hold all there are: the next time there may be one
                self._numbers = None
            return None

    def give_back(self, queue: Queue) -> None:
        """It is free for others."""
        self._idle.append(queue)


QUEUES: Final = Queues(_NUMBERS.get(platform.machine()) if ctypes.sizeof(ctypes.c_void_p) == 8 else None)
"""The process's."""
