"""What the gateway needs of the machine: a true clock, extended attributes, room, descriptors."""

import ctypes
import os
import resource
from pathlib import Path
from typing import Final, Literal

from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.storage.disk import DiskStore
from valetstore.units import show_size

Found = tuple[Literal["ok", "warning", "fault"], str]

_TIMEX_BYTES: Final = 1024
"""More than any Linux's struct timex."""
_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""

DESCRIPTORS_EACH: Final = 3
"""A connection, the file it is served from, and the connection's second descriptor while sendfile runs."""


def clock(_config: Config) -> Found:
    """Whether something keeps the clock true: keys are judged by it."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _TIME_ERROR:
        return (
            "warning",
            "the kernel says nothing synchronises it; run an NTP client, since keys are judged by it",
        )
    if state < 0:
        return "warning", "the kernel does not tell whether it is synchronised"
    return "ok", "is synchronised"


def volumes(config: Config) -> Found:
    """Whether every bucket's file system keeps what the gateway stores."""
    owner = config.data.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        # Root may write where the gateway may not: what it finds says nothing.
        return "warning", f"was not looked at: run this as the data directory's owner (user id {owner}), not as root"
    try:
        closed = DiskStore(config.data, config.buckets, config.storage).probe()
    except ConfigInvalid as error:
        return "fault", str(error)
    if closed:
        return "warning", "; ".join(closed)
    return "ok", "extended attributes are kept"


def free_space(config: Config) -> Found:
    """Whether there is room beyond the reserve, on every volume."""
    roots = {config.data, *(Path(bucket.root) for bucket in config.buckets.values() if bucket.root)}
    told = []
    for root in sorted(roots):
        try:
            found = os.statvfs(root)
        except OSError as error:
            return "fault", f"{root}: {error.strerror}"
        free = found.f_bavail * found.f_frsize
        if free <= config.storage.free_bytes_min:
            reserve = show_size(config.storage.free_bytes_min)
            return "fault", f"{root}: {show_size(free)} free, the reserve is {reserve}: uploads are refused"
        told.append(f"{root}: {show_size(free)}")
    return "ok", ", ".join(told)


def descriptors(config: Config) -> Found:
    """Whether as many connections as the settings allow can be served at once."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.limits.connections_max * DESCRIPTORS_EACH
    if most != resource.RLIM_INFINITY and most < needed:
        return (
            "warning",
            f"{most} are allowed; {config.limits.connections_max} transfers at once need {needed}",
        )
    return "ok", "unlimited" if most == resource.RLIM_INFINITY else f"{most} are allowed"
