"""The gateway under test: the daemon as `valetstore serve` starts it, all defaults but the limits named here."""

from pathlib import Path
from typing import Final, Self

from bench.process import Process
from valetstore import Signer, sign
from valetstore.keys.ringfile import RingFile

SETTINGS: Final = """
[limits]
connections-per-address-max = 10000  # all clients of a bench have one address
keep-alive-seconds = 3600            # idle connections stay for as long as the bench looks at them
"""
EXPIRES_SECONDS: Final = 3600


class Gateway(Process):
    """A daemon with fresh data below `folder`. The audit goes to its file, as it does by default."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.data = folder / "data"
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

    def target(self, method: str, path: str) -> str:
        """What stands in the request line for this path: signed, for any number of uses."""
        return sign(self._signer, method, path, expires=EXPIRES_SECONDS)

    def one_time_target(self, method: str, path: str) -> str:
        """The same for a single use."""
        return sign(self._signer, method, path, expires=EXPIRES_SECONDS, uses=1)
