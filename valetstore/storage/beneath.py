"""Open below a folder's descriptor without ever following a symbolic link.

Rule 1: nothing outside the folder can be reached, whatever anyone renames or links meanwhile: the kernel
resolves (openat2), or each component is opened from its parent with O_NOFOLLOW. Both give the same answers.
Rule 2: only regular files are objects. A FIFO, a device or a socket is as if it were not there.
Rule 3: this file raises OSError as the kernel says it; `trouble.py` translates.
"""

import ctypes
import errno
import os
import platform
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO without a writer must not hang the thread. For regular files it means nothing.
FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_OPENAT2: Final = 437  # on x86_64 and aarch64 alike
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE_CACHED: Final = 0x20  # since Linux 5.12
_TRIES: Final = 16


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_file(folder: int, path: str) -> tuple[int, os.stat_result]:
    """A regular file below `folder`, open for reading, and its state. Raises FileNotFoundError for others."""
    try:
        fd = open_beneath(folder, path, FILE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket's name
            raise _error(errno.ENOENT) from error
        raise
    return _regular(fd)


def _regular(fd: int) -> tuple[int, os.stat_result]:
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise _error(errno.ENOENT)
    except BaseException:
        os.close(fd)
        raise
    return fd, state


def open_file_cached(folder: int, path: str) -> tuple[int, os.stat_result] | None:
    """The same where the kernel finds the way in its memory, without a wait for a disk; else None. Raises OSError."""
    if open_beneath is not open_by_kernel:
        return None
    try:
        fd = _resolve(_syscall_at_once, folder, path, FILE, _CACHED)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EINVAL, errno.ENXIO}:  # EINVAL: an older kernel
            return None
        raise
    return _regular(fd)


def open_folder(folder: int, path: str) -> int:
    """A folder below `folder` ("" is itself), open for listing, syncing and as the start of other calls."""
    return open_beneath(folder, path or ".", FOLDER)


def _error(number: int) -> OSError:
    # The path stays out: it is the name of somebody's object, and this text reaches logs.
    return OSError(number, os.strerror(number))


# --- the kernel resolves ---------------------------------------------------------------------------

_HOW: Final[dict[tuple[int, int], _OpenHow]] = {}
# O_NOFOLLOW would let the last component be "not a directory", or the link itself with O_PATH.
_BENEATH: Final = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS
_CACHED: Final = _BENEATH | _RESOLVE_CACHED


def _syscall_of(library: ctypes.CDLL) -> Callable[..., int]:
    function = library.syscall
    function.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.POINTER(_OpenHow),
        ctypes.c_size_t,
    )
    function.restype = ctypes.c_long
    return function


_syscall: Final = _syscall_of(ctypes.CDLL(None, use_errno=True))
# It keeps the interpreter's lock: for a call that does not wait, to let go of it and fight for it again costs more.
_syscall_at_once: Final = _syscall_of(ctypes.PyDLL(None, use_errno=True))


def open_by_kernel(folder: int, path: str, flags: int) -> int:
    """openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):  # the kernel saw a rename meanwhile and could not vouch for the way
            return _resolve(_syscall, folder, path, flags, _BENEATH)
    raise _error(errno.EAGAIN)


def _resolve(call: Callable[..., int], folder: int, path: str, flags: int, resolve: int) -> int:
    raw = path.encode("utf-8", "surrogateescape")
    if b"\0" in raw:  # C would stop reading there, and open something else
        raise _error(errno.ENOENT)
    how = _HOW.get((flags, resolve))
    if how is None:
        how = _HOW[flags, resolve] = _OpenHow(flags & ~os.O_NOFOLLOW, 0, resolve)
    while True:
        fd = call(_OPENAT2, folder, raw, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise _error(number)


# --- component by component ------------------------------------------------------------------------


def open_by_steps(folder: int, path: str, flags: int) -> int:
    """The same, for kernels and sandboxes without openat2."""
    if path.startswith("/") or ".." in path.split("/"):
        raise _error(errno.EXDEV)
    if "\0" in path:
        raise _error(errno.ENOENT)
    *parents, last = path.encode("utf-8", "surrogateescape").split(b"/")
    at = folder
    try:
        for step in parents:
            below = _open_step(at, step, _STEP)
            if at != folder:
                os.close(at)
            at = below
        return _open_step(at, last, flags)
    finally:
        if at != folder:
            os.close(at)


def _open_step(folder: int, step: bytes, flags: int) -> int:
    try:
        return os.open(step, flags | os.O_NOFOLLOW, dir_fd=folder)
    except NotADirectoryError as error:
        # With O_DIRECTORY a symbolic link is "not a directory"; say what openat2 says.
        if _is_symlink(folder, step):
            raise _error(errno.ELOOP) from error
        raise _error(errno.ENOTDIR) from error
    except OSError as error:
        raise _error(error.errno or errno.EIO) from error


def _is_symlink(folder: int, step: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.stat(step, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _kernel_resolves() -> bool:
    if platform.machine() not in {"x86_64", "aarch64"}:
        return False
    root = os.open("/", _STEP)
    try:
        os.close(open_by_kernel(root, ".", _STEP))
    except OSError:  # ENOSYS before Linux 5.6, EPERM under a sandbox that does not know the call
        return False
    finally:
        os.close(root)
    return True


open_beneath: Final[Callable[[int, str, int], int]] = open_by_kernel if _kernel_resolves() else open_by_steps
"""Open `path` below the folder with these flags; OSError ELOOP at a symbolic link, EXDEV at the way out."""
