"""Clients that cannot be installed beside the project: each in a folder of its own below `.tools`, made once.

Rule 1: nothing is installed that the project's package managers do not give; what cannot be had skips its tests,
and says what is missing.
Rule 2: one process installs, the others wait for it; a folder that was begun and not finished is made anew.
"""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".tools"
NODE: Final = Path(__file__).parent / "node"
NODE_MAJOR_MIN: Final = 20

AWSCLI: Final = ("awscli>=1.44,<2",)  # pins the very botocore it was released with
S3FS: Final = ("s3fs>=2026.2",)  # through aiobotocore, which pins another

INSTALL_SECONDS: Final = 150


def python_with(name: str, requirements: tuple[str, ...]) -> Path:
    """The bin folder of a virtual environment that has the requirements. Skips the test where pip cannot get them."""

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *requirements])

    mark = f"{sys.version_info[:2]} {' '.join(requirements)}"
    return _installed(name, mark, install) / "bin"


def node_modules() -> Path:
    """The packages of node/package-lock.json. Skips the test without Node, npm, or their registry."""
    if not shutil.which("npm"):
        pytest.skip("needs Node and npm (Debian: nodejs, npm)")
    version = subprocess.run([program("node", "nodejs"), "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"needs Node {NODE_MAJOR_MIN} or later for AWS's SDK, this is {version}")

    def install(folder: Path) -> None:
        folder.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(NODE / file, folder)
        _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder)

    lock = hashlib.sha256((NODE / "package-lock.json").read_bytes()).hexdigest()
    return _installed("node", lock, install) / "node_modules"


def program(name: str, package: str) -> str:
    """A program of the system. Skips the test where it is not installed, and names Debian's package."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (Debian: {package})")
    return found


def beside_python(name: str, package: str) -> str:
    """A program that a package of the test extra brings along."""
    found = Path(sys.executable).parent / name
    if not found.exists():
        pytest.skip(f"needs the package {package}")
    return str(found)


def _installed(name: str, mark: str, install: Callable[[Path], None]) -> Path:
    folder, done = FOLDER / name, FOLDER / f"{name}.done"
    with _locked():
        if not (done.exists() and done.read_text() == mark):
            shutil.rmtree(folder, ignore_errors=True)
            done.unlink(missing_ok=True)
            try:
                install(folder)
            except (subprocess.SubprocessError, OSError) as error:
                said = getattr(error, "stderr", None) or str(error)
                pytest.skip(f"{name} could not be installed: {said.strip().splitlines()[-1]}")
            done.write_text(mark)
    return folder


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
