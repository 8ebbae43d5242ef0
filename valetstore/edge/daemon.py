"""Daemon: the process a user starts. It owns what is single, watches files and workers, and ends well.

Who serves is the crew's business: this process itself (`solo.py`) or several workers (`crew.py`). Everything else
is the same for both, and here.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from valetstore import __version__
from valetstore.config import Config
from valetstore.edge.metrics_listener import MetricsListener
from valetstore.edge.orders import WATCH_SECONDS, Files, Standing
from valetstore.keys.ringfile import RingFile
from valetstore.metrics import Metrics, Snapshot
from valetstore.notify import Notifier, watchdog_interval
from valetstore.owner.owner import Owner, logs_are_expected
from valetstore.policy.revocation import Revocation
from valetstore.storage.disk import DiskStore

log = logging.getLogger(__name__)


class Crew(Protocol):
    """Who serves. Every method but `start` returns once it holds in all that serve."""

    @property
    def is_well(self) -> bool:
        """Whether anybody serves."""

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept on these; returns once all do. Raises ConfigInvalid, WorkerFailed."""

    async def apply(self, standing: Standing, *, reopen: bool) -> None:
        """Serve by these from now on; with `reopen` the audit is opened anew."""

    async def tell(self, added: list[Revocation], removed: list[str]) -> None:
        """These revocations came into force, and these went."""

    async def figures(self) -> list[Snapshot]:
        """The figures of all that serve, and of those that did."""

    async def drain(self) -> None:
        """Accept no more, finish what runs."""

    async def close(self) -> None:
        """Let go of everything."""


class WorkerFailed(Exception):  # noqa: N818 - reads as what happened
    """A worker ended before it served: its exit `status`. It has said why itself."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a worker did not start; it ended with status {status}")
        self.status = status


MakeCrew = Callable[[Owner, Standing, Mapping[str, int], Metrics], Crew]
"""From the owner, what is in force, the storage folders' devices, and where to register figures."""


class Daemon:
    """The constructor opens what can fail (keys, certificate, logs, store), before anything is accepted.

    `load_config` reads the settings again on a reload; `on_ring` hears the generation of the key ring that all who
    serve go by. Raises ConfigInvalid.
    """

    def __init__(
        self,
        config: Config,
        load_config: Callable[[], Config],
        environment: Mapping[str, str],
        make_crew: MakeCrew,
        on_ring: Callable[[int], None],
    ) -> None:
        self._config = config
        self._on_ring = on_ring
        self._notifier = Notifier(environment)
        self._watchdog = watchdog_interval(environment)
        ring_file = RingFile(config.data)
        expected = logs_are_expected(config, ring_file.load())
        self._owner = Owner(config, self._tell)
        self._owner.open(expected=expected)
        # These say, by the format and by the gateway's own key, that there are logs: so the logs come first.
        self._store = DiskStore(config.data, config.buckets, config.storage)
        self._store.prepare()
        ring_file.begin()
        self._files = Files(config, load_config)
        self._owner.apply(config, self._files.standing.ring.ring())
        self._metrics = Metrics(__version__)
        self._owner.name_gauges(self._metrics)
        self._crew = make_crew(self._owner, self._files.standing, self._store.devices, self._metrics)
        self._applying = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def run(
        self,
        sockets: list[socket.socket],
        metrics_socket: socket.socket | None,
        on_ready: Callable[[], None],
    ) -> None:
        """Accept until `stop` is called; then drain, and end everything in order. Raises as `Crew.start` does."""
        metrics = MetricsListener(self._metrics, self._crew.figures)
        tasks: list[asyncio.Task[object]] = []
        try:
            self._owner.keep()
            await self._crew.start(sockets)
            self._on_ring(self._files.standing.ring.generation)
            if metrics_socket is not None:
                await metrics.start(metrics_socket)
            tasks.append(asyncio.create_task(_again(WATCH_SECONDS, self._look_at_files)))
            tasks.append(asyncio.create_task(asyncio.to_thread(self._store.sweep)))
            if self._watchdog is not None:
                tasks.append(asyncio.create_task(_again(self._watchdog, self._pat_watchdog)))
            on_ready()
            self._notifier.ready("accepting")
            await self._stop.wait()
            self._notifier.stopping("finishing transfers")
            await self._crew.drain()
        finally:
            for task in [*tasks, *self._reloads]:
                task.cancel()
            await asyncio.gather(*tasks, *self._reloads, return_exceptions=True)
            await metrics.stop()
            await self._crew.close()
            await self._store.close()
            await self._owner.close()

    def stop(self) -> None:
        """Begin to end; `run` returns once transfers have."""
        self._stop.set()

    def reload(self) -> None:
        """Read settings, keys and certificate again; what is broken is told and the old stays in use."""
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        async with self._applying:
            self._notifier.reloading()
            try:
                self._files.reload()
                await self._apply(reopen=True)
            finally:
                self._notifier.ready("accepting")

    async def _look_at_files(self) -> None:
        async with self._applying:
            if self._files.look():
                await self._apply(reopen=False)

    async def _apply(self, *, reopen: bool) -> None:
        standing = self._files.standing
        self._owner.apply(standing.config, standing.ring.ring())
        await self._crew.apply(standing, reopen=reopen)
        self._on_ring(standing.ring.generation)

    async def _pat_watchdog(self) -> None:
        if self._crew.is_well:
            self._notifier.watchdog()

    async def _tell(self, added: list[Revocation], removed: list[str]) -> None:
        await self._crew.tell(added, removed)


_WORRY_SECONDS: Final = 5.0


async def _again(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Do it every so many seconds, whatever becomes of one time."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except Exception:
            log.exception("%s failed; it goes on", getattr(step, "__name__", "a task"))
            await asyncio.sleep(_WORRY_SECONDS)
