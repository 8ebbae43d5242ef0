"""Load: asks for the URLs of a file as fast as they are answered, and says how fast that was.

    python -m bench.load --url-file urls.txt --connections 64 --seconds 30

A URL file has one URL a line, as `valetstore sign` prints them; `-` is standard input. Each is asked for in turn, over
and over; with --once each is asked for a single time, as keys that open once want it. A body is counted to its last
byte. Success is a status of 2xx (or 304); whatever else comes is counted by kind. Redirects are not followed.

It prints progress, then requests and bytes a second, latency percentiles, statuses and errors. No query of a URL, where
keys are, is ever printed. Ctrl-C ends it with the figures so far. Its exit status is 0 where every request succeeded,
1 where one failed or none was answered, 2 where it was asked for what cannot be done.

Test what is yours: a load test takes all that a server has.
"""

import argparse
import mmap
import os
import re
import resource
import signal
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.load.engine import LoadEngine
from bench.load.plan import BLOCK_BYTES, Body, Plan
from bench.load.report import progress, report_of
from bench.load.urls import BadUrls, Url, read_urls, sources_of
from bench.machine import raise_descriptor_limit
from valetstore.units import parse_duration, parse_size

AGENT: Final = "User-Agent: valetstore-load"
_OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})
_OTHER_FILES: Final = 16
"""Open files that are no connections."""
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)", re.ASCII)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        urls = _urls(options.url_file)
        plan = _plan(options, urls)
    except (BadUrls, OSError, ValueError) as error:
        parser.exit(2, f"bench.load: {_reason(error)}\n")
    engine, ended = LoadEngine(plan), [""]

    def end(*_: object) -> None:
        ended[0] = "interrupted"
        engine.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    tell: Callable[[LoadEngine], None] = (lambda _: None) if options.quiet else progress(sys.stderr, plan)
    began = time.process_time()
    engine.run(tell)
    if sys.stderr.isatty() and not options.quiet:
        sys.stderr.write("\r\x1b[K")
    report = report_of(engine, len(urls), time.process_time() - began, ended[0])
    if options.json != "-":
        print(report.text())
    if options.json:
        _keep(options.json, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return 0 if report.requests and not report.failed else 1


def _plan(options: argparse.Namespace, urls: list[Url]) -> Plan:
    """What the options ask for. Raises BadUrls, OSError, ValueError that say what is wrong."""
    body = _body(options)
    headers = [AGENT, *(_header(text) for text in options.header)]
    if body is not None:
        headers.append(f"Content-Length: {body.size}")
    sources = sources_of(urls, options.method, headers, _tls(options), once=options.once)
    if len(sources) > options.connections:
        raise ValueError(
            f"{options.url_file} has URLs of {len(sources)} servers: --connections must be at least as many, "
            f"not {options.connections}"
        )
    raise_descriptor_limit()
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if options.connections + _OTHER_FILES > allowed:
        raise ValueError(
            f"{options.connections:,} connections are more than the {allowed:,} open files allowed (ulimit -n)"
        )
    seconds = options.seconds
    if seconds is None and not options.once:
        seconds = 10.0
    rate, timeout = options.rate, options.timeout
    return Plan(options.method, sources, options.connections, seconds, body, rate=rate, timeout_seconds=timeout)


def _tls(options: argparse.Namespace) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cafile=options.cacert)
    except OSError as error:  # ssl's own errors are OSErrors, and name no file
        raise ValueError(f"--cacert {options.cacert}: {(error.strerror or str(error)).lower()}") from None
    if options.insecure:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


def _urls(name: str) -> list[Url]:
    if name == "-":
        return read_urls("standard input", sys.stdin)
    with open(name, encoding="utf-8", errors="replace") as lines:
        return read_urls(name, lines)


def _body(options: argparse.Namespace) -> Body | None:
    """What uploads send."""
    if options.method != "PUT":
        if options.body_file is not None or options.body_bytes is not None:
            raise ValueError(f"--body-file and --body-bytes are for --method PUT, not {options.method}")
        return None
    if options.body_file is None:
        size = options.body_bytes or 0
        return Body(memoryview(os.urandom(min(size, BLOCK_BYTES))), size)
    with open(options.body_file, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
        return Body(whole, size)


def _header(text: str) -> str:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise ValueError("--header wants NAME: VALUE in ASCII")  # not shown: it may be a key
    if found[1].lower() in _OWN_HEADERS:
        raise ValueError(f"--header {found[1]}: the generator sets this one itself")
    return f"{found[1]}: {found[2]}"


def _keep(where: str, data: bytes) -> None:
    if where == "-":
        sys.stdout.write(data.decode())
    else:
        Path(where).write_bytes(data)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "python -m bench.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--url-file", required=True, metavar="FILE", help="one URL a line; - is standard input")
    add("--connections", type=_positive, default=32, metavar="N", help="how many at once (32)")
    add("--seconds", type=_seconds, metavar="TIME", help="how long, as 30 or 5m (10; with --once until all are used)")
    add("--method", choices=("GET", "HEAD", "PUT"), default="GET", help="what to ask (GET)")
    add("--once", action="store_true", help="each URL a single time, for keys that open once")
    body = made.add_mutually_exclusive_group()
    body.add_argument("--body-file", metavar="FILE", help="what each PUT sends")
    body.add_argument("--body-bytes", type=_size, metavar="SIZE", help="so many random bytes instead, as 1MiB (0)")
    add("--header", action="append", default=[], metavar="'NAME: VALUE'", help="send this too; may be given again")
    add(
        "--rate",
        type=_rate,
        metavar="N",
        help="requests a second in all, not as many as are answered; latency counts from when each was due",
    )
    add(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="TIME",
        help="give a request up when nothing came for so long (30)",
    )
    add("--insecure", action="store_true", help="take any certificate, as a self-signed one")
    add("--cacert", metavar="FILE", help="trust the certificates in this PEM file")
    add("--json", metavar="FILE", help="write the figures to this file; - prints them instead of the text")
    add("--quiet", action="store_true", help="no progress")
    return made


def _positive(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999")
    return int(text)


def _rate(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", text, re.ASCII) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests a second above 0")
    return float(text)


def _seconds(text: str) -> float:
    if re.fullmatch(r"[0-9]{0,6}\.[0-9]{1,3}", text, re.ASCII):
        seconds = float(text)
    else:
        try:
            seconds = float(parse_duration(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("0 is no time to measure in")
    return seconds


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
