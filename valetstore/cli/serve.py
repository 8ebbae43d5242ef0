"""`valetstore serve`: bind, lock, start, and end well."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial

import click

from valetstore.cli.logs import Log
from valetstore.cli.options import Settings, settings_options
from valetstore.config import Config, Listen
from valetstore.datalock import DataHeld, DataLock
from valetstore.notify import inherited_sockets

Loader = Callable[[], Config]

EXIT_HELD = 3
EXIT_TAKEN = 4
EXIT_FAULT = 70


@click.command("serve", short_help="Run the gateway.")
@settings_options
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Where to accept: HOST:PORT, [IPV6]:PORT or unix:PATH; may be repeated. Port 0 picks one. [127.0.0.1:8420]",
)
@click.option("--metrics", metavar="HOST:PORT|off", help="Where to serve Prometheus metrics. [127.0.0.1:9420]")
@click.option("--workers", metavar="N|auto", help="Worker processes; auto is one a core. [auto]")
@click.option("--examples", is_flag=True, help="Print signed curl lines for a first try, once it is ready.")
def command(
    settings: Settings, listen: tuple[str, ...], metrics: str | None, workers: str | None, examples: bool
) -> int:
    """Run the gateway.

    Prints one line on stderr when it accepts. SIGTERM and SIGINT finish running transfers and end it; SIGHUP reads
    settings, keys and certificate again and reopens the audit file. On a new data directory it creates the
    signing key `default`.
    """
    count = int(workers) if workers and re.fullmatch("[0-9]{1,4}", workers, re.ASCII) else workers
    flags = {"listen": listen or None, "metrics": metrics, "workers": count}

    def load() -> Config:
        return settings.load(**flags)

    config = load()
    with Log():
        return _serve(config, load, examples)


def _serve(config: Config, load: Loader, examples: bool) -> int:
    # Imported late: a web server takes a third of a second that no other command needs.
    from valetstore.edge.listeners import AddressTaken, bind, check_plain_http, show

    _occupy_standard_streams()
    _raise_descriptor_limit()
    try:
        with DataLock(config.data) as lock:
            inherited = inherited_sockets(os.environ)
            bound = [] if inherited else [bind("listen.listen", address) for address in config.listen.listen]
            sockets = inherited or bound
            check_plain_http(sockets, config.listen)
            metrics = _metrics_socket(config.listen)
            scheme = "https" if config.listen.tls_cert else "http"
            urls = [show(s) if s.family == socket.AF_UNIX else f"{scheme}://{show(s)}" for s in sockets]
            lock.say(urls)
            # Only our own: the service manager keeps what it has handed over.
            paths = [sock.getsockname() for sock in bound if sock.family == socket.AF_UNIX]
            status = _run(config, load, sockets, metrics, urls, examples, lock)
            for path in paths:
                with contextlib.suppress(OSError):
                    os.unlink(path)
    except DataHeld as held:
        click.echo(f"valetstore: {held}", err=True)
        return EXIT_HELD
    except AddressTaken as taken:
        click.echo(f"valetstore: {taken}", err=True)
        return EXIT_TAKEN
    return status


def _occupy_standard_streams() -> None:
    """Where one is closed, a socket would get its number, and a worker what is printed there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # what is written to it still fails


def _raise_descriptor_limit() -> None:
    """As many files and connections as the system allows us, not as few as a login shell starts with."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A service manager may forbid the call; it has set the limit itself then.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _metrics_socket(settings: Listen) -> socket.socket | None:
    from valetstore.edge.listeners import AddressTaken, bind

    if settings.metrics == "off":
        return None
    try:
        return bind("listen.metrics", settings.metrics)
    except AddressTaken as taken:
        if settings.metrics != Listen().metrics:
            raise
        click.echo(f"valetstore: warning: {taken}; going on without metrics", err=True)
        return None


def _run(
    config: Config,
    load: Loader,
    sockets: list[socket.socket],
    metrics: socket.socket | None,
    urls: list[str],
    examples: bool,
    lock: DataLock,
) -> int:
    import uvloop

    from valetstore.edge.crew import Workers
    from valetstore.edge.daemon import Daemon, WorkerFailed
    from valetstore.edge.solo import Solo

    def on_ready() -> None:
        click.echo(f"valetstore ready on {', '.join(urls)}", err=True)
        if examples:
            from valetstore.cli.examples import print_examples

            print_examples(config)

    count = _workers(config)

    async def run() -> None:
        make_crew = partial(Workers, count, lock.descriptor) if count > 1 else Solo
        daemon = Daemon(config, load, os.environ, make_crew, on_ring=lock.goes_by)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, daemon.stop)
        loop.add_signal_handler(signal.SIGHUP, daemon.reload)
        await daemon.run(sockets, metrics, on_ready)

    try:
        uvloop.run(run())
    except WorkerFailed as failed:
        click.echo(f"valetstore: {failed}", err=True)
        return failed.status if failed.status > 0 else EXIT_FAULT
    return 0


def _workers(config: Config) -> int:
    """How many processes shall serve: as many as there are cores for us, unless the settings say."""
    count = config.listen.workers
    return len(os.sched_getaffinity(0)) if count == "auto" else count
