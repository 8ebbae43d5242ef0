"""A real gateway for tests: the daemon on a free port, keys signed for it, requests as raw as they need to be.

Nothing here imports the gateway's inside but `sign`: a test sees what a user sees.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from valetstore import Signer, sign
from valetstore.keys.ringfile import RingFile

READY = re.compile(r"ready on (https?://[^\s,]+|unix:[^\s,]+)")
START_SECONDS = 20
NEW_EACH_TIME = ("request-id", "trans-id", "cf-id")
RELOADED = "the key ring changed and is reloaded"


@dataclass
class Answer:
    """What came back: status, headers by lower-case name (the last of each), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The refusal's code."""
        return self.headers.get("x-valet-error")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Gate:
    """One gateway process in `folder` (data, settings and log live there). Use it as a context manager."""

    folder: Path
    config: str = ""
    args: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()  # a command that runs it, as strace
    cafile: Path | None = None  # trust this certificate
    descriptors: tuple[int, ...] = ()  # for it to inherit
    process: subprocess.Popen[bytes] | None = None
    base: str = ""

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Everything the daemon printed."""
        return (self.folder / "stderr.log").read_text("utf-8", "replace")

    def says(self, words: str, seconds: float = 5.0) -> bool:
        """Whether its log has these words, or has them soon: a thread writes it, behind the answers."""
        deadline = time.monotonic() + seconds
        while words not in self.log:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    @contextlib.contextmanager
    def reloading(self, seconds: float = 10) -> Iterator[None]:
        """What is inside changes the ring: wait until the daemon goes by the new one."""
        said = self.log.count(RELOADED)
        yield
        deadline = time.monotonic() + seconds
        while self.log.count(RELOADED) == said:
            assert time.monotonic() < deadline, self.log[-2000:]
            time.sleep(0.02)

    def start(self) -> Self:
        """Start it and wait until it accepts."""
        command = [*self.prefix, sys.executable, "-m", "valetstore", "serve", "--data", str(self.data)]
        if "--listen" not in self.args:
            command += ["--listen", "127.0.0.1:0"]
        if "--metrics" not in self.args:
            command += ["--metrics", "off"]
        if "--workers" not in self.args:
            command += ["--workers", "1"]
        if self.config:
            (self.folder / "valetstore.toml").write_text(self.config)
            command += ["--config", str(self.folder / "valetstore.toml")]
        with open(self.folder / "stderr.log", "ab") as out:
            seen = out.tell()
            self.process = subprocess.Popen(
                [*command, *self.args],
                stdout=out,
                stderr=out,
                env=os.environ | self.environment,
                cwd=self.folder,
                start_new_session=True,
                pass_fds=self.descriptors,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            found = READY.search(self.log[seen:])
            if found:
                self.base = found[1]
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the gateway did not start: {self.log[-2000:]}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM, patience_seconds: float = 20) -> int:
        """Signal it and wait; its exit status."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(patience_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode

    def kill(self) -> None:
        """End it and all it started, at once."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def workers(self) -> list[int]:
        """Process ids of its workers that live."""
        assert self.process
        return children(self.process.pid)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it accepts on."""
        url = urlsplit(self.base)
        assert url.hostname
        assert url.port
        return url.hostname, url.port

    def signer(self, name: str = "default") -> Signer:
        """A signing key of its ring."""
        return Signer.from_ring(RingFile(self.data), name)

    def sign(self, method: str, path: str, *, key: str = "default", expires: int = 300, **terms: Any) -> str:
        """A signed URL."""
        return sign(self.signer(key), method, path, expires=expires, base_url=self.base, **terms)

    def cli(self, *args: str, status: int = 0) -> str:
        """Run the command line on its data; what it printed on stdout. The exit status must be `status`."""
        done = run_cli(*args, "--data", str(self.data), cwd=self.folder)
        assert done.returncode == status, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr

    def ask(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        seconds: float = 20,
    ) -> Answer:
        """One request on a connection of its own. `url` may be absolute or a target."""
        return asked(self.connection(seconds), method, url, body, headers or {})

    def connection(self, seconds: float = 20) -> http.client.HTTPConnection:
        """A connection that may be kept alive."""
        host, port = self.address
        if self.base.startswith("https"):
            context = ssl.create_default_context(cafile=str(self.cafile))
            return SecureInOnePiece(host, port, timeout=seconds, context=context)
        return InOnePiece(host, port, timeout=seconds)

    def raw(self, data: bytes, seconds: float = 5) -> bytes:
        """Send bytes as they are; everything that came back until the end or `seconds` of silence."""
        out = b""
        with (
            socket.create_connection(self.address, timeout=seconds) as sock,
            contextlib.suppress(TimeoutError, ConnectionError),
        ):
            sock.sendall(data)
            while received := sock.recv(65536):
                out += received
        return out

    def audit(self) -> list[dict[str, Any]]:
        """The audit lines so far, once the writer has caught up."""
        time.sleep(0.3)
        return [json.loads(line) for line in (self.data / "audit.log").read_text().splitlines()]


class InOnePiece(http.client.HTTPConnection):
    """Sends a body with its head, as browsers and curl do with small ones: only so may the fast lane take it."""

    def endheaders(self, message_body: Any = None, *, encode_chunked: bool = False) -> None:
        """See http.client."""
        if not isinstance(message_body, bytes):
            super().endheaders(message_body, encode_chunked=encode_chunked)
            return
        pieces: list[bytes] = []
        self.send = pieces.append  # type: ignore[method-assign, assignment]
        try:
            super().endheaders(message_body, encode_chunked=encode_chunked)
        finally:
            del self.send
        self.send(b"".join(pieces))


class SecureInOnePiece(InOnePiece, http.client.HTTPSConnection):
    """The same over TLS."""


def asked(connection: http.client.HTTPConnection, method: str, url: str, body: Any, headers: dict[str, str]) -> Answer:
    """One request on this connection, which is closed then."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask() -> Answer:
        connection.request(method, target, body=body, headers=headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())

    with contextlib.closing(connection):
        first = ask()
        if Again.times and method in {"GET", "HEAD"} and first.status == 200 and "/_valet/" not in target:
            for _ in range(Again.times):
                time.sleep(0.002)  # so that the connection is at rest, and the fast lane may take it
                _compare(first, ask())
        return first


class Again:
    """How often each GET and HEAD that was answered with 200 is asked again, to be answered alike (`--lane again`)."""

    times = 0


def _compare(first: Answer, later: Answer) -> None:
    if later.status == 200:
        same = [_lasting(answer.headers) for answer in (first, later)]
        assert same[0] == same[1], "an answer differs from the first one"
        assert first.body == later.body
    else:
        assert later.code in {"key_used", "rate_limited", "replay_unavailable"}, later


def _lasting(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "date" and not name.endswith(NEW_EACH_TIME)}


def run_cli(*args: str, cwd: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line; never raises for its exit status."""
    return subprocess.run(
        [sys.executable, "-m", "valetstore", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | (environment or {}),
        timeout=60,
    )


def children(process: int) -> list[int]:
    """Process ids of a process's children."""
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += map(int, (thread / "children").read_text().split())
    return found


def free_port() -> int:
    """A TCP port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
