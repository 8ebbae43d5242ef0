"""The AWS command line, as scripts use it: `aws s3 cp`, `ls`, `rm`, `mv`, `sync`, `presign`."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import tools
from tests.interop.house import House, Secret

Aws = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def program() -> Path:
    """The command, in an environment of its own."""
    return tools.python_with("awscli", tools.AWSCLI) / "aws"


@pytest.fixture
def aws(program: Path, house: House, tmp_path: Path) -> Aws:
    """Run it in an empty folder; the exit status must be 0, or any other for -1."""

    def run(*args: str, secret: Secret | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program, "--endpoint-url", house.endpoint, *args],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | (secret or house.web).environment,
            timeout=60,
        )
        assert done.returncode == status or (status == -1 and done.returncode), done.stdout + done.stderr
        return done

    return run


def test_a_files_life(aws: Aws, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a cat+1.txt").write_text("a cat")
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "cp", "a cat+1.txt", f"s3://{bucket}/in a/", "--content-type", "text/x-cat", "--metadata", "who=me")
    assert "a cat+1.txt" in aws("s3", "ls", f"s3://{bucket}/in a/").stdout
    aws("s3", "mv", f"s3://{bucket}/in a/a cat+1.txt", f"s3://{bucket}/katze ü.txt")
    aws("s3", "cp", f"s3://{bucket}/katze ü.txt", "down.txt")
    assert (tmp_path / "down.txt").read_text() == "a cat"
    head = aws("s3api", "head-object", "--bucket", bucket, "--key", "katze ü.txt").stdout
    assert '"who": "me"' in head
    assert '"ContentType": "text/x-cat"' in head
    aws("s3", "rm", f"s3://{bucket}/katze ü.txt")
    assert aws("s3", "ls", f"s3://{bucket}/").stdout == ""
    aws("s3", "rb", f"s3://{bucket}")


def test_a_large_file_and_a_folder_in_step(aws: Aws, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "up/deep").mkdir(parents=True)
    (tmp_path / "up/large").write_bytes(os.urandom(9 * 2**20))  # beyond 8 MiB it goes in parts
    (tmp_path / "up/deep/small ä.txt").write_text("small")
    for file in ("large", "deep/small ä.txt"):
        os.utime(tmp_path / "up" / file, (10**9, 10**9))  # lists are in whole seconds, and sync goes by who is younger
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "sync", "up", f"s3://{bucket}/tree")
    assert aws("s3", "sync", "up", f"s3://{bucket}/tree").stdout == ""
    aws("s3", "sync", f"s3://{bucket}/tree", "down")
    for file in ("large", "deep/small ä.txt"):
        assert (tmp_path / "down" / file).read_bytes() == (tmp_path / "up" / file).read_bytes()
    aws("s3", "rm", "--recursive", f"s3://{bucket}/")


def test_a_link(aws: Aws, house: House, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("linked")
    aws("s3", "cp", "x", f"s3://{bucket}/a b.txt")
    link = aws("s3", "presign", f"s3://{bucket}/a b.txt", "--expires-in", "60").stdout.strip()
    assert "AWSAccessKeyId=" in link  # SigV2, as boto3
    assert house.fetch("GET", link).body == b"linked"
    assert house.fetch("PUT", link, b"other").status == 403


def test_what_it_says_of_refusals(aws: Aws, house: House, bucket: str) -> None:
    aws("s3", "mb", f"s3://{bucket}")
    for args, secret, word in (
        (("s3api", "get-object", "--bucket", bucket, "--key", "no", "x"), house.web, "NoSuchKey"),
        (("s3", "ls", f"s3://{bucket}/"), house.web.wrong, "SignatureDoesNotMatch"),
        (("s3api", "delete-bucket", "--bucket", bucket), house.keys["reader"], "AccessDenied"),
    ):
        assert word in aws(*args, secret=secret, status=-1).stderr
