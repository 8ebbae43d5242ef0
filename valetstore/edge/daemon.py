"""Daemon: all rooms of one process put together, started in order, reloaded, and ended in order."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from valetstore import __version__
from valetstore.audit import Audit
from valetstore.config import Config
from valetstore.edge.arrival import Arrivals
from valetstore.edge.book import ConnectionBook
from valetstore.edge.cors import Cors
from valetstore.edge.handler import Handler
from valetstore.edge.metrics_listener import MetricsListener
from valetstore.edge.objects import Objects
from valetstore.edge.proxies import TrustedProxies
from valetstore.edge.server import Server
from valetstore.edge.service import Reason, Service
from valetstore.edge.tls import Tls
from valetstore.edge.transfers import Transfers
from valetstore.errors import ConfigInvalid
from valetstore.gateway import Gateway
from valetstore.grants.native import Audience, Native
from valetstore.keys.ringfile import RingFile
from valetstore.metrics import Metrics
from valetstore.notify import Notifier, watchdog_interval
from valetstore.replay.memory import MemoryReplaySet
from valetstore.storage.disk import DiskStore

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.25
"""How often the key ring and the certificate are looked at: a change holds within a second."""

STORE_WATCH_SECONDS: Final = 2.0
"""How often the store is asked whether its folders are there."""
STORE_PATIENCE_SECONDS: Final = 10.0


class Daemon:
    """One process of the gateway. `load_config` reads the settings again on reload; raises ConfigInvalid.

    The constructor opens what can fail (audit, store, keys, certificate), so that a wrong setting is told
    before anything is accepted.
    """

    def __init__(self, config: Config, load_config: Callable[[], Config], environment: Mapping[str, str]) -> None:
        self._config = config
        self._load_config = load_config
        self._notifier = Notifier(environment)
        self._watchdog = watchdog_interval(environment)
        self._ring_file = RingFile(config.data)
        self._ring_stamp = self._ring_file.stamp()
        self._ring_trouble = ""
        listen = config.listen
        self._tls = Tls(Path(listen.tls_cert), Path(listen.tls_key)) if listen.tls_cert else None
        self._store = DiskStore(config.data, config.buckets, config.storage)
        self._store.prepare()
        self._replay = MemoryReplaySet(config.replay.replay_entries_max, config.keys.clock_skew_seconds)
        self._metrics = Metrics(__version__)
        self._transfers = Transfers()
        self._store_trouble = self._store.why_not_ready()
        self._service = Service([self._audit_reason, self._key_ring_reason, self._storage_reason])
        self._audit = Audit(config.audit, config.data)
        self._proxies = TrustedProxies(listen.trusted_proxies)
        self._book = ConnectionBook(config.limits, self._proxies, self._metrics, self._audit)
        self._gateway = self._make_gateway(config)
        self._server = Server(config, self._make_handler(config), self._book, self._tls)
        self._stop: asyncio.Event | None = None
        self._name_gauges()

    async def run(
        self,
        sockets: list[socket.socket],
        metrics_socket: socket.socket | None,
        on_ready: Callable[[], None],
    ) -> None:
        """Accept until `stop` is called; then drain, and end everything in order."""
        self._stop = asyncio.Event()
        self._audit.start()
        metrics = MetricsListener(self._metrics)
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(asyncio.to_thread(self._store.sweep))]
        tasks.append(asyncio.create_task(self._watch_store()))
        if self._watchdog is not None:
            tasks.append(asyncio.create_task(self._pat_watchdog(self._watchdog)))
        try:
            await self._server.start(sockets)
            if metrics_socket is not None:
                await metrics.start(metrics_socket)
            on_ready()
            self._notifier.ready("accepting")
            await self._stop.wait()
            self._notifier.stopping("finishing transfers")
            self._service.draining = True
            await self._server.stop(self._config.listen.drain_seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await metrics.stop()
            await self._store.close()
            await asyncio.to_thread(self._audit.close)

    def stop(self) -> None:
        """Begin to end; `run` returns once transfers have."""
        if self._stop is not None:
            self._stop.set()

    def reload(self) -> None:
        """Read settings, keys and certificate again; what is broken is told and the old stays in use."""
        self._notifier.reloading()
        self._audit.reopen()
        try:
            config = self._load_config()
            changed = [name for name in _FIXED if getattr(config, name) != getattr(self._config, name)]
            if changed:
                log.warning("changes in %s hold after a restart", ", ".join(f"[{name}]" for name in changed))
            gateway = self._make_gateway(config)
            if self._tls is not None:
                self._tls.reload()
            # All that may refuse has; from here on everything changes. The gateway stays the same one: what
            # runs now must also hear of keys that are revoked from now on.
            self._gateway.schemes, self._gateway.keys = gateway.schemes, gateway.keys
            self._book.limits = self._server.limits = config.limits
            self._server.handler = self._make_handler(config)
            self._ring_trouble = ""
            log.info("settings, keys and certificate are reloaded")
        except ConfigInvalid as error:
            log.error("the reload is refused, the old settings stay: %s", error)
        self._notifier.ready("accepting")

    def _make_gateway(self, config: Config) -> Gateway:
        audience = Audience(config.keys.audience, config.keys.audience_required)
        native = Native(config.keys.clock_skew_seconds, audience)
        return Gateway((native,), self._ring_file.load(), self._replay)

    def _make_handler(self, config: Config) -> Handler:
        return Handler(
            arrivals=Arrivals(self._proxies),
            gateway=self._gateway,
            objects=Objects(self._store, self._gateway, config, self._transfers),
            service=self._service,
            cors=Cors(config.cors_rules),
            audit=self._audit,
            metrics=self._metrics,
            transfers=self._transfers,
            hsts_seconds=config.listen.hsts_seconds,
        )

    def _name_gauges(self) -> None:
        gauge = self._metrics.gauge
        gauge("valetstore_connections", {}, lambda: len(self._book))
        gauge("valetstore_transfers_in_flight", {"direction": "in"}, lambda: self._transfers.counts["in"])
        gauge("valetstore_transfers_in_flight", {"direction": "out"}, lambda: self._transfers.counts["out"])
        gauge("valetstore_replay_entries", {}, self._replay.entries)
        gauge("valetstore_replay_entries_max", {}, lambda: self._config.replay.replay_entries_max)
        gauge("valetstore_audit_dropped_total", {}, lambda: self._audit.dropped)
        gauge("valetstore_disk_free_bytes", {"volume": "data"}, partial(_free_bytes, self._config.data))
        for name, bucket in self._config.buckets.items():
            if bucket.root:
                gauge("valetstore_disk_free_bytes", {"volume": name}, partial(_free_bytes, Path(bucket.root)))

    def _audit_reason(self) -> tuple[Reason, str] | None:
        trouble = self._audit.required and not self._audit.accepting
        return ("audit", "the audit cannot be written") if trouble else None

    def _key_ring_reason(self) -> tuple[Reason, str] | None:
        return ("key_ring", self._ring_trouble) if self._ring_trouble else None

    def _storage_reason(self) -> tuple[Reason, str] | None:
        # A failed sync is known at once and without a look at the disk; then the store looks at none.
        trouble = self._store.why_not_ready() if self._store.suspect else self._store_trouble
        return ("storage", trouble) if trouble else None

    async def _watch_store(self) -> None:
        """Remember what the store says of its disks: readiness is asked for on the event loop, and must not wait."""
        while True:
            looking = asyncio.create_task(asyncio.to_thread(self._store.why_not_ready))
            try:
                await asyncio.wait((looking,), timeout=STORE_PATIENCE_SECONDS)
                if not looking.done():
                    self._store_trouble = "a disk does not answer"
                    self._service.reasons()
                self._store_trouble = await looking
            except OSError as error:
                self._store_trouble = str(error)
            self._service.reasons()
            await asyncio.sleep(STORE_WATCH_SECONDS)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._reload_changed_files()

    def _reload_changed_files(self) -> None:
        stamp = self._ring_file.stamp()
        if stamp != self._ring_stamp:
            self._ring_stamp = stamp
            try:
                self._gateway.keys = self._ring_file.load()
                self._ring_trouble = ""
                log.info("the key ring changed and is reloaded")
            except ConfigInvalid as error:
                self._ring_trouble = f"the key ring changed and is refused: {error}"
                log.error("the key ring changed and is refused, the old one stays: %s", error)
        try:
            if self._tls is not None and self._tls.reload_if_changed():
                log.info("the certificate changed and is reloaded")
        except ConfigInvalid as error:
            log.error("the certificate changed and is refused, the old one stays: %s", error)

    async def _pat_watchdog(self, interval: float) -> None:
        while True:
            self._notifier.watchdog()
            await asyncio.sleep(interval)


_FIXED: Final = ("listen", "replay", "storage", "audit", "buckets")
"""Tables that are read once: sockets, folders and sizes made from them are in use."""


def _free_bytes(path: Path) -> float:
    with contextlib.suppress(OSError):
        found = os.statvfs(path)
        return float(found.f_bavail * found.f_frsize)
    return float("nan")
