"""The gateway under test: the daemon as `valetstore serve` starts it, all defaults but the limits named here."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final, Self

from bench.load import CONTENT_TYPE
from bench.process import Process
from valetstore import Signer, sign
from valetstore.grants.grant import Profile
from valetstore.grants.presign import Request
from valetstore.grants.s3.claim import EXPIRES_SECONDS_MAX
from valetstore.grants.s3.sign import Key, presign_v2, presign_v4
from valetstore.keys.ringfile import RingFile, record_of
from valetstore.keys.vendor import HMAC, S3, new_access_key_id, new_secret_access_key

SETTINGS: Final = """
[limits]
connections-per-address-max = 10000  # all clients of a bench have one address
keep-alive-seconds = 3600            # idle connections stay for as long as the bench looks at them
"""
EXPIRES_SECONDS: Final = 3600
_MOMENTS: Final = 500_000
"""So many seconds ago a URL of the longest life that S3 allows is signed at the earliest."""
_CODE: Final = re.compile(rb'"code":"([a-z_]+)"')
REGION: Final = "us-east-1"
NOTICE_SECONDS: Final = 10


class Gateway(Process):
    """A daemon with fresh data below `folder`. The audit goes to its file, as it does by default."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.data = folder / "data"
        self._subjects = count()
        self._moments = count()
        settings = folder / "valetstore.toml"
        settings.write_text(SETTINGS)
        options = ("--config", str(settings), "--data", str(self.data))
        super().__init__(
            "valetstore",
            folder,
            "valetstore",
            "serve",
            *options,
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "off",
            "--workers",
            "1",
        )

    def __enter__(self) -> Self:
        super().__enter__()
        self._signer = Signer.from_ring(RingFile(self.data), "default")
        return self

    def reasons(self) -> str:
        """From its audit: `key_used: 3, key_expired: 1`."""
        with open(self.data / "audit.log", "rb") as lines:
            codes = Counter(found[1].decode() for line in lines if (found := _CODE.search(line)))
        return ", ".join(f"{code}: {count:,}" for code, count in codes.most_common())

    def file_of(self, name: str) -> Path:
        """Where it keeps the object of that name, which is in one bucket alone and has no slash."""
        (file,) = (found for found in (self.data / "objects").rglob(name) if found.is_file())
        return file

    def target(self, method: str, path: str) -> str:
        """What stands in the request line for this path: signed, for any number of uses."""
        return sign(self._signer, method, path, expires=EXPIRES_SECONDS)

    def one_time_target(self, method: str, path: str) -> str:
        """The same for a single use."""
        return sign(self._signer, method, path, expires=EXPIRES_SECONDS, uses=1)

    def fresh_target(self, method: str, path: str) -> str:
        """Signed for any number of uses, and by its subject unlike any other: nothing that was remembered fits it."""
        return sign(self._signer, method, path, expires=EXPIRES_SECONDS, subject=f"bench-{next(self._subjects)}")

    def make_s3_key(self) -> None:
        """A signing key for `v4_target` and `v2_target`, once the daemon has noticed it."""
        self._s3_key = Key(new_access_key_id(), new_secret_access_key().encode())
        kid, secret = self._s3_key.access_key_id, self._s3_key.secret
        RingFile(self.data).add(record_of("s3", HMAC, Profile(), kid=kid, secret=secret, scheme=S3))
        end = time.monotonic() + NOTICE_SECONDS
        while "the key ring changed" not in self.log:
            if time.monotonic() > end:
                raise RuntimeError("the daemon has not noticed a new signing key")
            time.sleep(0.05)

    def v4_target(self, method: str, path: str, parameters: Sequence[tuple[str, str]] = ()) -> str:
        """The same as `target`, presigned as S3's SDKs do: SigV4."""
        return self._v4(Request(method, self.base, path, parameters=parameters), int(time.time()), EXPIRES_SECONDS)

    def fresh_v4_target(self, method: str, path: str) -> str:
        """The same, and unlike any other by its date, as URLs are that an application signs as they are asked for."""
        lives, back = divmod(next(self._moments), _MOMENTS)
        return self._v4(Request(method, self.base, path), int(time.time()) - back, EXPIRES_SECONDS_MAX - lives)

    def _v4(self, request: Request, now: int, expires: int) -> str:
        url = presign_v4(self._s3_key, request, now=now, expires=expires, region=REGION)
        return url.removeprefix(self.base)

    def v2_target(self, method: str, path: str) -> str:
        """The same by SigV2, which signs the load's content type."""
        headers = [("content-type", CONTENT_TYPE)] if method == "PUT" else []
        request = Request(method, self.base, path, headers)
        return presign_v2(self._s3_key, request, expires_at=int(time.time()) + EXPIRES_SECONDS).removeprefix(self.base)
