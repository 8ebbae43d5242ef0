"""TLS in the daemon: a context with today's defaults, whose certificate is replaced without a restart."""

import ssl
from pathlib import Path

from valetstore.errors import ConfigInvalid

Stamp = tuple[int, int, int, int]


class Tls:
    """A certificate and its key, from PEM files. New connections use what was loaded last."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        # RFC 9325: forward secrecy and AEAD only, in TLS 1.2 too; renegotiation and compression never.
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        self._stamp = self._stamps()
        self._load(self.context)

    def reload_if_changed(self) -> bool:
        """Load the files again if they changed; raises ConfigInvalid and keeps the old ones where they are broken."""
        if self._stamps() == self._stamp:
            return False
        self.reload()
        return True

    def reload(self) -> None:
        """Load the files again; raises as `reload_if_changed` does."""
        self._stamp = self._stamps()
        # Tried apart first: a pair that does not fit must not half replace the one in use.
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._load(self.context)

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._cert, self._key, password=lambda: "")
        except FileNotFoundError as error:
            raise ConfigInvalid(f"listen.tls-cert, listen.tls-key: {self._missing()}: there is no such file") from error
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigInvalid(
                f"listen.tls-cert, listen.tls-key: {self._cert} and {self._key} are not a PEM certificate chain "
                f"and its unencrypted key: {getattr(error, 'reason', None) or error}"
            ) from error

    def _missing(self) -> Path:
        return self._key if self._cert.exists() else self._cert

    def _stamps(self) -> tuple[Stamp | None, Stamp | None]:
        return _stamp(self._cert), _stamp(self._key)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
