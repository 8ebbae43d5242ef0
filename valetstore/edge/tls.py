"""TLS in the daemon: a context with today's defaults, whose certificate is replaced without a restart.

Rule 1: the files are read by one process, which finds what is wrong with them, and handed on as text: so all
workers use the same pair, also one that starts while the files are broken.
Rule 2: the private key is nowhere on disk but where its owner put it.
"""

import os
import ssl
from pathlib import Path
from typing import NamedTuple

from valetstore.errors import ConfigInvalid

Stamp = tuple[int, int, int, int]


class Pair(NamedTuple):
    """A certificate chain and its private key, both PEM."""

    cert: bytes
    key: bytes


class TlsFiles:
    """Where the certificate and its key are. `changed` says whether they were replaced since the last `read`."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self._stamp = self._stamps()

    def changed(self) -> bool:
        """Whether there is something new to read."""
        return self._stamps() != self._stamp

    def read(self) -> Pair:
        """The pair, tried; raises ConfigInvalid that names the files where it cannot be used."""
        self._stamp = self._stamps()
        try:
            pair = Pair(self._cert.read_bytes(), self._key.read_bytes())
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
        except FileNotFoundError as error:
            raise ConfigInvalid(f"listen.tls-cert, listen.tls-key: {self._missing()}: there is no such file") from error
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigInvalid(
                f"listen.tls-cert, listen.tls-key: {self._cert} and {self._key} are not a PEM certificate chain "
                f"and its unencrypted key: {getattr(error, 'reason', None) or error}"
            ) from error
        return pair

    def _missing(self) -> Path:
        return self._key if self._cert.exists() else self._cert

    def _stamps(self) -> tuple[Stamp | None, Stamp | None]:
        return _stamp(self._cert), _stamp(self._key)


class Tls:
    """The context of a serving process. New connections use the pair that was loaded last."""

    def __init__(self, pair: Pair) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        # RFC 9325: forward secrecy and AEAD only, in TLS 1.2 too; renegotiation and compression never.
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        self.load(pair)

    def load(self, pair: Pair) -> None:
        """Use a pair that `TlsFiles.read` has tried."""
        _load(self.context, pair)


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """OpenSSL takes file names only; memory has one here, and only while it is read."""
    cert = _in_memory(pair.cert)
    try:
        key = _in_memory(pair.key)
        try:
            context.load_cert_chain(f"/proc/self/fd/{cert}", f"/proc/self/fd/{key}", password=lambda: "")
        finally:
            os.close(key)
    finally:
        os.close(cert)


def _in_memory(text: bytes) -> int:
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    with open(os.dup(fd), "wb") as file:
        file.write(text)
    return fd


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
