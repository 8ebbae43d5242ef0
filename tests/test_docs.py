"""What README and docs tell a reader to do is done here, in order, as it stands there."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gate import free_port
from valetstore.errors import REFUSALS

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)( no-run: [^\n]+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "8420"


def blocks(file: str, language: str) -> list[str]:
    """The code blocks of a file in one language, but for those that say why they are not run."""
    found = BLOCK.findall((ROOT / file).read_text())
    return [code for kind, reason, code in found if kind == language and not reason]


def run_shell(code: str, folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run shell code with the project's commands on the path, and end what it left in the background."""
    script = code.replace(PORT, str(port))
    # bash's own exit status, after everything it started is gone.
    script = f"set -euo pipefail\ntrap 'status=$?; kill $(jobs -p) 2>/dev/null; wait; exit $status' EXIT\n{script}"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VALETSTORE_METRICS": "off",
        "VALETSTORE_LISTEN": f"127.0.0.1:{port}",
    }
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_readme_commands_work_one_after_the_other(tmp_path: Path) -> None:
    """The first screen's steps and the HTTP section, in one shell, in an empty folder."""
    done = run_shell("".join(blocks("README.md", "sh")), tmp_path, free_port())
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    assert "a cat\n" in out
    assert "dog" in out
    assert "401" in out
    assert '"name":"dog.txt"' in out
    # `echo 'a dog' ... -r 2-4` is bytes 2 to 4 of "a dog".
    assert out.count("dog") >= 2


def test_make_run_prints_curl_lines_that_work(tmp_path: Path) -> None:
    """`make run`, its printed lines pasted into a shell: up, down, once, and once more refused."""
    port = free_port()
    arguments = [f"LISTEN=127.0.0.1:{port}", f"DATA={tmp_path / 'data'}", f"VENV={sys.prefix}"]
    with open(tmp_path / "out", "w") as out:
        running = subprocess.Popen(
            ["make", "--no-print-directory", "run", *arguments],
            cwd=ROOT,
            env=os.environ | {"VALETSTORE_METRICS": "off"},
            stdout=out,
            stderr=out,
        )
    try:
        lines = _printed_lines(tmp_path / "out", running)
        upload, download, once = (line for line in lines if "curl" in line)
        assert subprocess.run(["bash", "-c", upload], capture_output=True).returncode == 0
        for line in (download, once):
            assert subprocess.run(["bash", "-c", line], capture_output=True).stdout == b"Hello, valet.\n"
        again = subprocess.run(["bash", "-c", once], capture_output=True).stdout
        assert b"key_used" in again
    finally:
        # As Ctrl-C would reach it: the gateway itself, not make.
        os.kill(json.loads((tmp_path / "data/state/lock").read_bytes())["pid"], signal.SIGTERM)
        assert running.wait(20) == 0


def _printed_lines(path: Path, running: subprocess.Popen[bytes]) -> list[str]:
    for _ in range(600):
        text = path.read_text()
        if text.count("curl ") >= 3 and text.endswith("\n\n"):
            return text.splitlines()
        assert running.poll() is None, text
        try:
            running.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(path.read_text())


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    for target in ("run", "test", "lint", "bench"):
        assert f"make {target}" in done.stdout


@pytest.mark.parametrize("file", ["README.md", "docs/KEYS.md"])
def test_python_examples_mint_keys_that_open(file: str, tmp_path: Path) -> None:
    """The Python blocks, with a key made as they say; what they mint must be admitted."""
    port = free_port()
    code = "".join(blocks(file, "python"))
    code = code.replace("https://files.example.com", f"http://127.0.0.1:{port}") + "\nprint(url)\n"
    (tmp_path / "mint.py").write_text(code)
    shell = f"""
        valetstore serve & until curl -sf http://127.0.0.1:{port}/_valet/ready; do sleep 0.2; done
        valetstore keys create app --json > app-key.json
        url=$({sys.executable} mint.py)
        valetstore inspect "$url"
    """
    done = run_shell(shell, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "admitted" in done.stdout


def test_profiles_and_a_rotation_as_the_docs_show_them(tmp_path: Path) -> None:
    commands = "".join(blocks("docs/KEYS.md", "sh"))
    port = free_port()
    ready = f"valetstore serve & until curl -sf http://127.0.0.1:{port}/_valet/ready; do sleep 0.2; done\n"
    done = run_shell(ready + commands, tmp_path, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "retires in" in done.stdout


def test_the_table_of_refusals_in_the_docs_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs/HTTP.md").read_text()
    table = dict(re.findall(r"`([a-z_]+)`(?: \([^)]*\))? \| ([0-9]{3})", text))
    assert {code: int(status) for code, status in table.items()} == {
        code: refusal.status for code, refusal in REFUSALS.items()
    }


def test_every_link_to_a_file_leads_somewhere() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"\b((?:docs|config|systemd|bench)/[\w./-]+\.\w+)", file.read_text()):
            assert (ROOT / name).exists(), f"{file.name} names {name}"
