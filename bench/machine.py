"""The machine: which core does what, and what a reader must know about it to judge a figure."""

import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path
from typing import Final

CORES: Final = sorted(os.sched_getaffinity(0))
"""The cores this run may use."""

SERVER_CORE: Final = CORES[0] if len(CORES) > 1 else None
"""Where the server under test runs; None where there is one core for everything."""

LOAD_CORE: Final = CORES[1] if len(CORES) > 1 else None
"""Where the load comes from."""


def pin(core: int | None) -> None:
    """Keep this process, and what it starts, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def raise_descriptor_limit() -> None:
    """As many open sockets as the system lets this process have; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def facts(folder: Path) -> dict[str, str]:
    """What figures depend on; `folder` is where the data lies."""
    packages = ("aiohttp", "uvloop", "msgspec", "cryptography")
    return {
        "cores": f"{len(CORES)} ({_processor()}), {_pinning()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {_file_system(folder)}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


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
        _, point, kind, *_ = line.split(" ")
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
