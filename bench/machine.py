"""The machine: which core does what, and what a reader must know about it to judge a figure."""

import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

CORES: Final = sorted(os.sched_getaffinity(0))
"""The cores this run may use."""

SERVER_CORE: Final = CORES[0] if len(CORES) > 1 else None
"""Where the server under test runs; None where there is one core for everything."""

LOAD_CORE: Final = CORES[1] if len(CORES) > 1 else None
"""Where the load comes from."""

LOAD_CORES: Final = CORES if LOAD_CORE is None else [LOAD_CORE]
"""The same, for who asks on which cores it may run."""


def pin(core: int | None) -> None:
    """Keep this process, and what it starts, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def raise_descriptor_limit() -> None:
    """As many open sockets as the system lets this process have; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Disturbance:
    """How much of the machine others took since this was made; their work lowers every absolute figure."""

    def __init__(self) -> None:
        self._busy, self._all = _processor_seconds()
        self._own = _own_seconds()

    def share(self) -> float:
        """Of all processor time, what went neither to this process nor to children that have ended.

        The kernel's own threads (disk writing, network) are in it, also where they worked for us.
        """
        busy, total = _processor_seconds()
        return max(0.0, busy - self._busy - (_own_seconds() - self._own)) / max(total - self._all, 0.01)


def _processor_seconds() -> tuple[float, float]:
    """(busy, all) of all cores since boot; stolen by the hypervisor counts as busy (proc(5), /proc/stat)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting = ticks[3:5]
    per_second = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - idle - waiting) / per_second, sum(ticks) / per_second


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def facts(folder: Path) -> dict[str, str]:
    """What figures depend on; `folder` is where the data lies."""
    packages = ("aiohttp", "uvloop", "msgspec", "cryptography")
    return {
        "cores": f"{len(CORES)} ({_processor()}), {_pinning()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {_file_system(folder)}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {_whose_python()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
    }


def _whose_python() -> str:
    """How it was compiled is not told by all, and makes a tenth of what a request takes."""
    return "the system's own" if sys.base_prefix == "/usr" else "not the system's own"


def _pinning() -> str:
    return "no pinning" if SERVER_CORE is None else "one for the server, one for the load"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the longest mount point above the folder."""
    path = str(folder.resolve())
    best = ("", "unknown file system")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, point, kind, *_ = line.split(" ")
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, f"{kind} without a journal" if kind == "ext4" and _lacks_journal(Path(source)) else kind)
    return best[1]


def _lacks_journal(device: Path) -> bool:
    """ext4 without one syncs sooner, and looks for a free inode longer where many files were deleted."""
    return device.exists() and not any(Path("/proc/fs/jbd2").glob(f"{device.resolve().name}-*"))
