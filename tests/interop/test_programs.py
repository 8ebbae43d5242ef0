"""Debian's programs: curl that signs by itself, s3cmd (SigV4, and SigV2 for links), rclone."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop import tools
from tests.interop.boto import client
from tests.interop.house import House, Secret

Run = Callable[..., subprocess.CompletedProcess[str]]


def run(command: list[str], folder: Path, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its exit status must be this one, or any that is not 0 for -1."""
    kept = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}  # rclone ends at it
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=kept | environment, timeout=60)
    assert done.returncode == status or (status == -1 and done.returncode), done.stdout + done.stderr
    return done


@pytest.fixture
def curl(house: House, tmp_path: Path) -> Run:
    """curl with --aws-sigv4, and the status of the answer behind its body."""
    program = tools.program("curl", "curl")

    def ask(*args: str, secret: Secret | None = None) -> subprocess.CompletedProcess[str]:
        secret = secret or house.web
        signed = ["--aws-sigv4", f"aws:amz:{secret.region}:s3", "--user", ":".join(secret[:2])]
        return run([program, "-sS", "-w", "%{http_code}", *signed, *args], tmp_path)

    return ask


def test_curl_signs_what_it_sends(curl: Run, house: House, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a cat")
    unsigned = ("-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD")  # this curl does not send the digest that it signs
    url = f"{house.endpoint}/{bucket}/cat.txt"
    assert curl("-T", "x", *unsigned, url).stdout == "200"
    assert curl(*unsigned, url).stdout == "a cat200"
    assert "<Key>cat.txt</Key>" in curl(*unsigned, f"{house.endpoint}/{bucket}?list-type=2").stdout
    assert "SignatureDoesNotMatch" in curl(*unsigned, url, secret=house.web.wrong).stdout
    assert curl("-X", "DELETE", *unsigned, url).stdout == "204"


@pytest.fixture
def s3cmd(house: House, tmp_path: Path) -> Run:
    """s3cmd with a configuration of its own."""
    program = tools.program("s3cmd", "s3cmd")

    def do(*args: str, secret: Secret | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        (tmp_path / "s3cfg").write_text(
            f"[default]\naccess_key = {(secret or house.web)[0]}\nsecret_key = {(secret or house.web)[1]}\n"
            f"host_base = 127.0.0.1:{house.port}\nhost_bucket = 127.0.0.1:{house.port}\nuse_https = False\n"
            "max_retries = 1\n"
        )
        return run([program, "-c", "s3cfg", "--no-progress", *args], tmp_path, status)

    return do


def test_s3cmd(s3cmd: Run, house: House, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a b+ü.txt").write_text("a cat")
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", "a b+ü.txt", f"s3://{bucket}/in/", "--add-header=x-amz-meta-who:me")
    assert "a b+ü.txt" in s3cmd("ls", f"s3://{bucket}/in/").stdout
    s3cmd("get", f"s3://{bucket}/in/a b+ü.txt", "down")
    assert (tmp_path / "down").read_text() == "a cat"
    s3cmd("cp", f"s3://{bucket}/in/a b+ü.txt", f"s3://{bucket}/copied")
    (tmp_path / "large").write_bytes(os.urandom(11 * 2**20))
    s3cmd("put", "--multipart-chunk-size-mb=5", "large", f"s3://{bucket}/large")
    s3cmd("get", f"s3://{bucket}/large", "large2")
    assert (tmp_path / "large2").read_bytes() == (tmp_path / "large").read_bytes()
    assert "SignatureDoesNotMatch" in s3cmd("ls", f"s3://{bucket}", secret=house.web.wrong, status=-1).stderr
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}/in/")
    client(house).put_object(Bucket=bucket, Key="linked to", Body=b"linked")
    link = s3cmd("signurl", f"s3://{bucket}/linked to", "+60").stdout.strip()  # SigV2
    assert house.fetch("GET", link).body == b"linked"


def test_rclone(house: House, bucket: str, tmp_path: Path) -> None:
    program = tools.program("rclone", "rclone")

    def rclone(*args: str, secret: Secret | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        settings = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": house.endpoint,
            "ACCESS_KEY_ID": (secret or house.web)[0],
            "SECRET_ACCESS_KEY": (secret or house.web)[1],
            "REGION": house.web.region,
            "UPLOAD_CUTOFF": "5Mi",
            "CHUNK_SIZE": "5Mi",
        }
        environment = {f"RCLONE_CONFIG_GATE_{name}": value for name, value in settings.items()}
        options = ["--config", os.devnull, "--retries", "1", "--low-level-retries", "1"]
        return run([program, *options, *args], tmp_path, status, **environment)

    (tmp_path / "up/deep er").mkdir(parents=True)
    (tmp_path / "up/deep er/grüße+1%.txt").write_text("a cat")
    (tmp_path / "up/large").write_bytes(os.urandom(11 * 2**20))
    rclone("mkdir", f"gate:{bucket}")
    rclone("copy", "up", f"gate:{bucket}/tree")
    rclone("check", "--download", "up", f"gate:{bucket}/tree")
    assert sorted(rclone("lsf", "-R", f"gate:{bucket}").stdout.splitlines()) == [
        "tree/",
        "tree/deep er/",
        "tree/deep er/grüße+1%.txt",
        "tree/large",
    ]
    rclone("moveto", f"gate:{bucket}/tree/deep er/grüße+1%.txt", f"gate:{bucket}/cat")
    link = rclone("link", "--expire", "1m", f"gate:{bucket}/cat").stdout.strip()
    assert house.fetch("GET", link).body == b"a cat"
    assert "SignatureDoesNotMatch" in rclone("lsf", f"gate:{bucket}", secret=house.web.wrong, status=-1).stderr
    rclone("purge", f"gate:{bucket}")
    assert bucket not in rclone("lsf", "gate:").stdout
