"""Worker: all rooms of one serving process put together; started, given new orders, and ended.

It does not know whether it serves alone or as one of many: what must be single is given to it.
"""

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from valetstore import __version__
from valetstore.audit import Audit
from valetstore.config import Config
from valetstore.dialects import Rules, rules_of, schemes_of
from valetstore.edge.admin import Admin
from valetstore.edge.arrival import Arrivals
from valetstore.edge.azure import AzureCalls
from valetstore.edge.book import ConnectionBook
from valetstore.edge.cloudfront import CloudFrontCalls
from valetstore.edge.cors import Cors, Ways
from valetstore.edge.dialect import Dialects
from valetstore.edge.fastlane import WAYS, FastLane
from valetstore.edge.gcs import GcsCalls
from valetstore.edge.handler import Handler, hsts_headers
from valetstore.edge.lane_check import why_not
from valetstore.edge.objects import Objects
from valetstore.edge.orders import Standing
from valetstore.edge.proxies import TrustedProxies
from valetstore.edge.refusals import Refusals
from valetstore.edge.release import Releases
from valetstore.edge.s3 import S3Calls
from valetstore.edge.s3.bucket_cors import stored_rules
from valetstore.edge.server import Server
from valetstore.edge.service import Reason, Service
from valetstore.edge.swift import SwiftCalls
from valetstore.edge.tally import Tally
from valetstore.edge.tls import Tls
from valetstore.edge.transfers import Transfers
from valetstore.edge.uploading import Services
from valetstore.gateway import Gateway
from valetstore.grants.memory import PROOF_BYTES, ProofMemory
from valetstore.grants.native import NAME as NATIVE
from valetstore.metrics import Metrics
from valetstore.policy.budget import Budgets
from valetstore.policy.revocation import Revocations
from valetstore.replay.promise import ReplaySet
from valetstore.storage.disk import DiskStore

log = logging.getLogger(__name__)

STORE_WATCH_SECONDS: Final = 2.0
"""How often the store is asked whether its folders are there."""
STORE_PATIENCE_SECONDS: Final = 10.0

GARBAGE_MAX: Final = 10_000
"""So many more objects until the collector looks for cycles among them. Requests leave hardly any; with the 700 of
Python 3.11, what the uploads under way hold would be looked through again and again, 4 % of their time."""


class Single(NamedTuple):
    """What there is one of, however many workers: single use, revocations, budgets."""

    replay: ReplaySet
    revocations: Revocations
    budgets: Budgets


class Worker:
    """One serving process. The constructor opens what can fail (audit, certificate, keys); raises ConfigInvalid.

    `devices` are those the store's folders were found on (`DiskStore.devices`), `tally` counts connections.
    """

    def __init__(
        self,
        standing: Standing,
        single: Single,
        devices: Mapping[str, int] | None = None,
        tally: Tally | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        config = standing.config
        self._standing = standing
        self._single = single
        self._tls = Tls(standing.tls) if standing.tls is not None else None
        remembered = config.speed.remembered_bytes_max
        self._store = DiskStore(config.data, config.buckets, config.storage, devices, remembered // 2)
        self._proofs = ProofMemory(remembered // 4 // PROOF_BYTES)
        self.metrics = metrics or Metrics(__version__)
        self._transfers = Transfers()
        self._store_trouble = self._store.why_not_ready()
        self._service = Service(
            [self._audit_reason, self._key_ring_reason, self._storage_reason, self._revocations_reason]
        )
        self._audit = Audit(config.audit, config.data)
        self._proxies = TrustedProxies(config.listen.trusted_proxies)
        self._book = ConnectionBook(config.limits, self._proxies, self.metrics, self._audit, tally)
        self._gateway = self._make_gateway(standing)
        self._lane_served = dict.fromkeys(WAYS, 0)  # by all lanes: other settings bring another
        self._server = Server(config, self._make_handler(config), self._book, self._tls)
        self._background: list[asyncio.Task[None]] = []
        self._name_gauges()

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept from now on. Raises ConfigInvalid where the audit cannot be written and must be."""
        self._audit.start()
        self._background = [asyncio.create_task(work()) for work in (self._watch_store, self._collect_uploads)]
        # What is there by now stays to the end: the collector of cycles need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_MAX)
        await self._server.start(sockets)

    async def drain(self) -> None:
        """Accept no more and finish what runs, within the settings' drain seconds."""
        self._service.draining = True
        await self._server.stop(self._standing.config.listen.drain_seconds)

    async def close(self) -> None:
        """Let go of everything; what was promised is finished first."""
        self._store.collector.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._store.close()
        await asyncio.to_thread(self._audit.close)

    @property
    def suspect(self) -> tuple[str, ...]:
        """Buckets whose volume is not to be trusted any more."""
        return self._store.suspect

    def doubt(self, buckets: Iterable[str]) -> None:
        """Another worker has found these suspect."""
        self._store.doubt(buckets)

    def apply(self, standing: Standing, *, reopen: bool = False) -> None:
        """Serve by these from now on; with `reopen` the audit file is opened anew. Raises ConfigInvalid."""
        if reopen:
            self._audit.reopen()
        gateway = self._make_gateway(standing)
        if self._tls is not None and standing.tls is not None:
            self._tls.load(standing.tls)
        # All that may refuse has; from here on everything changes. The gateway stays the same one: what runs now
        # must also hear of keys that are revoked from now on.
        self._gateway.schemes, self._gateway.keys = gateway.schemes, gateway.keys
        self._gateway.limits = gateway.limits
        self._book.limits = self._server.limits = standing.config.limits
        if standing.config != self._standing.config:
            self._server.handler = self._make_handler(standing.config)
        self._standing = standing

    def _make_gateway(self, standing: Standing) -> Gateway:
        config, single = standing.config, self._single
        ring, table = standing.ring.ring(), single.revocations.table
        return Gateway(schemes_of(config), ring, single.replay, table, single.budgets, config.budgets, self._proofs)

    def _make_handler(self, config: Config) -> Handler:
        services = Services(self._store, self._store.uploads, self._gateway, config, self._transfers)
        objects, dialects = Objects(services), _dialects(services, rules_of(config))
        cors = Cors(
            config.cors_rules,
            Ways(partial(stored_rules, self._store.buckets), dialects.spoken, dialects.place),
            any_rules=config.any_cors,
        )
        return Handler(
            arrivals=Arrivals(self._proxies),
            gateway=self._gateway,
            objects=objects,
            dialects=dialects,
            service=self._service,
            admin=Admin(self._gateway, self._single.revocations),
            releases=Releases(self._gateway, self._single.revocations),
            cors=cors,
            audit=self._audit,
            metrics=self.metrics,
            transfers=self._transfers,
            hsts_seconds=config.listen.hsts_seconds,
            lane=self._make_lane(config, cors, objects, dialects),
        )

    def _make_lane(self, config: Config, cors: Cors, objects: Objects, dialects: Dialects) -> FastLane | None:
        if not config.speed.fast_lane:
            return None
        if reason := why_not():
            log.warning("the fast lane is off: %s; all requests take the general way", reason)
            return None
        in_lane = _in_lane(objects, dialects)
        return FastLane(
            arrivals=Arrivals(self._proxies),
            gateway=self._gateway,
            store=self._store,
            connections=self._book.__len__,
            cors=cors,
            refusals=Refusals(cors, dialects),
            readers=in_lane,
            planners=in_lane,
            audit=self._audit,
            metrics=self.metrics,
            hsts=hsts_headers(config.listen.hsts_seconds),
            limits=config.limits,
            bytes_max=config.speed.remembered_bytes_max // 4,
            served=self._lane_served,
        )

    def _name_gauges(self) -> None:
        gauge, config = self.metrics.gauge, self._standing.config
        gauge("valetstore_connections", {}, lambda: len(self._book))
        gauge("valetstore_transfers_in_flight", {"direction": "in"}, lambda: self._transfers.counts["in"])
        gauge("valetstore_transfers_in_flight", {"direction": "out"}, lambda: self._transfers.counts["out"])
        for way in WAYS:
            gauge("valetstore_fast_lane_total", {"known": way}, partial(self._lane_served.__getitem__, way))
        gauge("valetstore_audit_dropped_total", {}, lambda: self._audit.dropped)
        gauge("valetstore_disk_free_bytes", {"volume": "data"}, partial(_free_bytes, config.data))
        for name, bucket in config.buckets.items():
            if bucket.root:
                gauge("valetstore_disk_free_bytes", {"volume": name}, partial(_free_bytes, Path(bucket.root)))

    def _audit_reason(self) -> tuple[Reason, str] | None:
        trouble = self._audit.required and not self._audit.accepting
        return ("audit", "the audit cannot be written") if trouble else None

    def _key_ring_reason(self) -> tuple[Reason, str] | None:
        trouble = self._standing.ring_trouble
        return ("key_ring", trouble) if trouble else None

    def _revocations_reason(self) -> tuple[Reason, str] | None:
        trouble = self._single.revocations.table.trouble
        return ("revocations", trouble) if trouble else None

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

    async def _collect_uploads(self) -> None:
        """Uploads in parts that were left lying go, in a thread; of all workers one does it."""
        while True:
            await asyncio.to_thread(self._store.collector.run)
            await asyncio.sleep(self._store.collector.pause_seconds)


def _dialects(services: Services, rules: Rules) -> Dialects:
    """The operations of every vendor's dialect."""
    return Dialects(
        S3Calls(services, rules.s3),
        (
            GcsCalls(services, rules.gcs),
            AzureCalls(services, rules.azure),
            CloudFrontCalls(services, rules.cloudfront),
            SwiftCalls(services, rules.swift),
        ),
    )


def _in_lane(objects: Objects, dialects: Dialects) -> dict[str, Objects | S3Calls]:
    """The dialects whose downloads and uploads the fast lane answers without having met them, by their schemes."""
    s3 = dialects.of(S3Calls.name)
    return {NATIVE: objects} | ({S3Calls.name: s3} if isinstance(s3, S3Calls) else {})


def _free_bytes(path: Path) -> float:
    with contextlib.suppress(OSError):
        found = os.statvfs(path)
        return float(found.f_bavail * found.f_frsize)
    return float("nan")
