"""s3fs, the file system that data tools open `s3://` with, in an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

from tests.interop import tools
from tests.interop.house import House

SCRIPT = r"""
import json, os, sys
import s3fs

bucket, endpoint, name = sys.argv[1], sys.argv[2], "in a/grüße+1%.txt"
fs = s3fs.S3FileSystem(endpoint_url=endpoint, client_kwargs={"region_name": "us-east-1"})
fs.mkdir(bucket)
with fs.open(f"{bucket}/{name}", "wb", ContentType="text/x-cat", Metadata={"who": "me"}) as file:
    file.write(b"0123456789")
with fs.open(f"{bucket}/large", "wb", block_size=5 * 2**20) as file:
    for number in range(12):
        file.write(bytes([number]) * 2**20)
with fs.open(f"{bucket}/large", "rb") as file:
    file.seek(7 * 2**20 - 1)
    across = list(file.read(2))
fs.copy(f"{bucket}/{name}", f"{bucket}/copied")
told = {
    "listed": sorted(fs.find(bucket)),
    "folders": [row["name"] for row in fs.ls(bucket, detail=True) if row["type"] == "directory"],
    "part": fs.cat_file(f"{bucket}/{name}", start=2, end=5).decode(),
    "metadata": fs.metadata(f"{bucket}/{name}"),
    "type": fs.info(f"{bucket}/{name}", refresh=True)["ContentType"],
    "size": fs.size(f"{bucket}/large"),
    "across": across,
    "url": fs.sign(f"{bucket}/copied", expiration=60),
}
try:
    fs.cat_file(f"{bucket}/not there")
except FileNotFoundError:
    told["missing"] = True
fs.rm(f"{bucket}/in a", recursive=True)
fs.rm([f"{bucket}/large"])
fs.invalidate_cache()
told["left"] = fs.find(bucket)
key, secret = (os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
wrong = s3fs.S3FileSystem(endpoint_url=endpoint, key=key, secret=secret[::-1])
try:
    wrong.ls(bucket)
except PermissionError:
    told["refused"] = True
print(json.dumps(told))
"""


def test_files_are_written_read_listed_and_removed(house: House, bucket: str, tmp_path: Path) -> None:
    python = tools.python_with("s3fs", tools.S3FS) / "python"
    done = subprocess.run(
        [python, "-c", SCRIPT, bucket, house.endpoint],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | house.web.environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["listed"] == [f"{bucket}/{name}" for name in ("copied", "in a/grüße+1%.txt", "large")]
    assert told["folders"] == [f"{bucket}/in a"]
    assert (told["part"], told["metadata"], told["type"]) == ("234", {"who": "me"}, "text/x-cat")
    assert (told["size"], told["across"]) == (12 * 2**20, [6, 7])
    assert told["missing"]
    assert told["refused"]
    assert told["left"] == [f"{bucket}/copied"]
    assert house.fetch("GET", told["url"]).body == b"0123456789"
