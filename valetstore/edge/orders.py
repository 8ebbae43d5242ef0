"""What the gateway serves by, read from its files: settings, key ring, certificate; and read again when they change.

Rule 1: one process reads and judges them, and hands on what it found good. What is broken is refused whole, told
once, and the old stays in use, also for a worker that starts meanwhile.
Rule 2: a changed key ring or certificate holds within a second; changed settings wait for a reload.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from valetstore.config import Config
from valetstore.edge.tls import Pair, TlsFiles
from valetstore.errors import ConfigInvalid
from valetstore.keys.ringfile import Document, RingFile

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.25
"""How often the key ring and the certificate are looked at."""

_FIXED: Final = ("listen", "replay", "storage", "speed", "audit", "buckets")
"""Tables that are read once: sockets, folders and sizes made from them are in use. All but what is only said to
clients: `hsts-seconds`, and the CORS rules of a bucket.
"""


class Standing(NamedTuple):
    """What is in force. `ring_trouble` says why a newer ring is refused, "" where all is well."""

    config: Config
    ring: Document
    ring_trouble: str = ""
    tls: Pair | None = None


class Files:
    """The gateway's files. `load_config` reads the settings again; the constructor raises ConfigInvalid."""

    def __init__(self, config: Config, load_config: Callable[[], Config]) -> None:
        self._load_config = load_config
        self._ring_file = RingFile(config.data)
        self._stamp = self._ring_file.stamp()
        listen = config.listen
        self._tls = TlsFiles(Path(listen.tls_cert), Path(listen.tls_key)) if listen.tls_cert else None
        self.standing = Standing(config, self._read_ring(), tls=self._tls.read() if self._tls else None)

    def reload(self) -> bool:
        """Read all of it again; False where something is broken, and then nothing has changed."""
        try:
            config = self._load_config()
            new = _reloaded(self.standing.config, config)
            fixed = [name for name in _FIXED if getattr(config, name) != getattr(new, name)]
            if fixed:
                log.warning("changes in %s hold after a restart", ", ".join(f"[{name}]" for name in fixed))
            stamp = self._ring_file.stamp()
            ring, tls = self._read_ring(), self._tls.read() if self._tls else None
        except ConfigInvalid as error:
            log.error("the reload is refused, the old settings stay: %s", error)
            return False
        self._stamp = stamp
        self.standing = Standing(new, ring, tls=tls)
        log.info("settings, keys and certificate are reloaded")
        return True

    def look(self) -> bool:
        """Whether the ring or the certificate changed, or the ring's trouble did: then `standing` is new."""
        before = self.standing
        self._look_at_ring()
        self._look_at_certificate()
        return self.standing != before

    def _look_at_ring(self) -> None:
        stamp = self._ring_file.stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.standing = self.standing._replace(ring=self._read_ring(), ring_trouble="")
            log.info("the key ring changed and is reloaded")
        except ConfigInvalid as error:
            trouble = f"the key ring changed and is refused: {error}"
            self.standing = self.standing._replace(ring_trouble=trouble)
            log.error("the key ring changed and is refused, the old one stays: %s", error)

    def _look_at_certificate(self) -> None:
        if self._tls is None or not self._tls.changed():
            return
        try:
            self.standing = self.standing._replace(tls=self._tls.read())
            log.info("the certificate changed and is reloaded")
        except ConfigInvalid as error:
            log.error("the certificate changed and is refused, the old one stays: %s", error)

    def _read_ring(self) -> Document:
        document = self._ring_file.read()
        document.ring()  # raises where a record is wrong
        if not document.keys:  # there is one at least since the start: a restore half way, a hand that slipped
            raise ConfigInvalid(f"{self._ring_file.path}: is missing, or holds no signing key")
        return document


def _reloaded(old: Config, new: Config) -> Config:
    """The new settings, with the old ones of what is fixed."""
    replace = msgspec.structs.replace
    kept = {name: getattr(old, name) for name in _FIXED}
    kept["listen"] = replace(old.listen, hsts_seconds=new.listen.hsts_seconds)
    kept["buckets"] = {
        name: replace(bucket, cors=new.buckets[name].cors if name in new.buckets else bucket.cors)
        for name, bucket in old.buckets.items()
    }
    return replace(new, **kept)
