"""s5cmd, many transfers at once with AWS's SDK for Go."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import tools
from tests.interop.boto import client
from tests.interop.house import House, Secret

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def s5cmd(house: House, tmp_path: Path) -> Run:
    """Run it in an empty folder; the exit status must be 0 unless told otherwise."""
    program = tools.beside_python("s5cmd", "s5cmd")

    def run(*args: str, secret: Secret | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program, "--endpoint-url", house.endpoint, "--retry-count", "0", *args],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | (secret or house.web).environment,
            timeout=60,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


def test_many_files_at_once(s5cmd: Run, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    for number in range(40):
        (tmp_path / f"up/file {number} ü+%.txt").write_text(str(number))
    s5cmd("mb", f"s3://{bucket}")
    s5cmd("cp", "up/*", f"s3://{bucket}/in/")
    assert len(s5cmd("ls", f"s3://{bucket}/in/").stdout.splitlines()) == 40
    s5cmd("cp", f"s3://{bucket}/in/*", "down/")
    for file in (tmp_path / "up").iterdir():
        assert (tmp_path / "down" / file.name).read_bytes() == file.read_bytes()
    s5cmd("mv", f"s3://{bucket}/in/file 1 ü+%.txt", f"s3://{bucket}/one")
    assert s5cmd("cat", f"s3://{bucket}/one").stdout == "1"
    s5cmd("rm", f"s3://{bucket}/*")
    s5cmd("rb", f"s3://{bucket}")


def test_a_large_file_in_parts(s5cmd: Run, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(os.urandom(11 * 2**20))
    s5cmd("mb", f"s3://{bucket}")
    s5cmd("cp", "--part-size", "5", "--concurrency", "3", "--content-type", "video/mp4", "up", f"s3://{bucket}/large")
    s5cmd("cp", "--part-size", "5", f"s3://{bucket}/large", "down")
    assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()


def test_a_link(s5cmd: Run, house: House, bucket: str) -> None:
    put = house.fetch("PUT", s5cmd("presign", f"s3://{bucket}/x").stdout.strip(), b"x")
    assert put.status == 403  # what it presigns is a GET
    client(house).put_object(Bucket=bucket, Key="a b.txt", Body=b"linked")
    link = s5cmd("presign", "--expire", "60s", f"s3://{bucket}/a b.txt").stdout.strip()
    assert house.fetch("GET", link).body == b"linked"


def test_what_it_says_of_refusals(s5cmd: Run, house: House, bucket: str) -> None:
    s5cmd("mb", f"s3://{bucket}")
    assert "not found" in s5cmd("cat", f"s3://{bucket}/not there", status=1).stderr
    for secret, word in ((house.web.wrong, "SignatureDoesNotMatch"), (house.keys["scoped"], "AccessDenied")):
        assert word in s5cmd("ls", f"s3://{bucket}/", secret=secret, status=1).stderr
