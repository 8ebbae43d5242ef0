"""Answers that begin before the work is done: white spaces until then, and the work does not depend on the client."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.edge.s3.conftest import Clients
from tests.edge.s3.parts import BUCKET, Presigned, Whole
from tests.edge.wire import Wire, head, wait_until
from tests.gate import Gate
from valetstore.audit import Audit
from valetstore.config import Audit as AuditSettings
from valetstore.config import Config
from valetstore.edge.book import ConnectionBook
from valetstore.edge.call import Call
from valetstore.edge.exchange import Answered, Exchange
from valetstore.edge.proxies import TrustedProxies
from valetstore.edge.replies import Reply
from valetstore.edge.s3.waiting import answered_in_time
from valetstore.edge.server import Server
from valetstore.edge.xml import xml_reply
from valetstore.errors import Denied
from valetstore.grants.grant import Profile
from valetstore.metrics import Metrics

ASKED = b"POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n\r\n"
PATIENCE = 0.1
BREATH = 0.03

Work = Callable[[], Awaitable[Reply]]


class Scene:
    """A server that answers everything with one work, and what has become of it."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done = 0
        self.failures: list[Denied | None] = []
        self.ended: list[str] = []
        self.address = ("", 0)
        self.server: Server

    lane = None

    async def __call__(self, exchange: Exchange) -> Answered:
        """As `Handler` does it."""
        call = cast(Call, SimpleNamespace(exchange=exchange, refusal=_refusal))
        try:
            reply = await answered_in_time(call, self._work(), PATIENCE, BREATH)
            await reply.send(exchange, [("X-Request-Id", "1")])
            self.ended.append("whole")
        except ConnectionError:
            self.ended.append("gone")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        finally:
            self.failures.append(exchange.failure)
            exchange.protocol.end()
        return Answered(exchange.keep_alive)

    async def _work(self) -> Reply:
        reply = await self.work()
        self.done += 1
        return reply

    async def ask(self, data: bytes = ASKED) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has asked."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        return reader, writer


def _refusal(denied: Denied) -> Reply:
    return xml_reply("Error", [("Code", denied.code)], 409, namespace=False)


@asynccontextmanager
async def playing(work: Work, folder: Path) -> AsyncIterator[Scene]:
    """A real server on a real socket."""
    scene, config = Scene(work), Config()
    audit = Audit(AuditSettings(audit_to="off"), folder)
    book = ConnectionBook(config.limits, TrustedProxies(()), Metrics("0"), audit, None)
    scene.server = Server(config, cast(Any, scene), book, None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        scene.address = listening.getsockname()
        await scene.server.start([listening])
        try:
            yield scene
        finally:
            await scene.server.stop(0.1)


def after(seconds: float, result: Reply | Denied | None = None) -> Work:
    """Work that takes so long."""

    async def work() -> Reply:
        await asyncio.sleep(seconds)
        if isinstance(result, Denied):
            raise result
        return result or xml_reply("Result", [("ETag", "a")])

    return work


def play(tmp_path: Path, work: Work, story: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with playing(work, tmp_path) as scene:
            await story(scene)

    asyncio.run(whole())


async def chunks(reader: asyncio.StreamReader) -> list[bytes]:
    """The chunks of a body, to its end."""
    found = []
    while size := int(await reader.readline(), 16):
        found.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return found


def test_what_is_done_soon_has_a_length_and_its_own_status(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        reader, writer = await scene.ask()
        said = await reader.readuntil(b"\r\n\r\n")
        assert b" 201 " in said.partition(b"\r\n")[0]
        assert b"Content-Length: " in said
        assert b"chunked" not in said
        writer.close()

    play(tmp_path, after(0, xml_reply("Result", [], 201)), story)


def test_what_takes_longer_begins_with_white_space_and_ends_with_the_result(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        reader, writer = await scene.ask()
        for _ in range(2):  # the connection goes on
            said = await reader.readuntil(b"\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Content-Type: application/xml\r\n" in said
            assert b"Transfer-Encoding: chunked\r\n" in said
            assert b"Content-Length" not in said
            body = await chunks(reader)
            assert body[0] == b'<?xml version="1.0" encoding="UTF-8"?>\n'
            assert body[1:-1] == [b" "] * len(body[1:-1])
            assert len(body) > 4
            assert body[-1].startswith(b"<Result ")
            writer.write(ASKED)
        writer.close()

    play(tmp_path, after(PATIENCE + 5 * BREATH), story)


@pytest.mark.parametrize("denied", [Denied("precondition_failed"), Denied("storage_full")])
def test_what_goes_wrong_late_is_an_error_in_the_body_and_known_to_the_audit(tmp_path: Path, denied: Denied) -> None:
    async def story(scene: Scene) -> None:
        reader, writer = await scene.ask()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert (await chunks(reader))[-1] == b"<Error><Code>%s</Code></Error>" % denied.code.encode()
        assert scene.failures == [denied]
        writer.close()

    play(tmp_path, after(PATIENCE + 2 * BREATH, denied), story)


def test_a_fault_is_no_more_than_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> Reply:
        await asyncio.sleep(PATIENCE + 2 * BREATH)
        raise ValueError("secret")

    async def story(scene: Scene) -> None:
        reader, writer = await scene.ask()
        await reader.readuntil(b"\r\n\r\n")
        assert (await chunks(reader))[-1] == b"<Error><Code>internal_error</Code></Error>"
        writer.close()

    caplog.set_level(logging.ERROR)
    play(tmp_path, work, story)
    assert "could not be finished" in caplog.text


def test_a_client_of_http_1_0_waits_for_the_status(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        reader, writer = await scene.ask(b"POST /x HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        data = await reader.read()
        assert b" 201 " in data.partition(b"\r\n")[0]
        assert b"chunked" not in data
        writer.close()

    play(tmp_path, after(PATIENCE + 2 * BREATH, xml_reply("Result", [], 201)), story)


@pytest.mark.parametrize("leaves_after", [0.0, PATIENCE + 2 * BREATH])
def test_a_client_that_goes_away_ends_the_answer_and_not_the_work(tmp_path: Path, leaves_after: float) -> None:
    async def story(scene: Scene) -> None:
        _, writer = await scene.ask()
        await asyncio.sleep(leaves_after or 0.02)
        writer.transport.abort()
        for _ in range(200):
            if scene.ended:
                break
            assert scene.done == 0
            await asyncio.sleep(0.02)
        assert scene.ended == ["gone"]
        assert scene.done == 1

    play(tmp_path, after(PATIENCE + 8 * BREATH), story)


def test_a_gateway_that_stops_ends_the_work_and_then_the_request(tmp_path: Path) -> None:
    ended = []

    async def work() -> Reply:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)
        raise AssertionError("nobody waits so long")

    async def story(scene: Scene) -> None:
        reader, writer = await scene.ask()
        await reader.readuntil(b"\r\n\r\n")
        await scene.server.stop(0.1)
        for _ in range(100):
            if scene.ended:
                break
            await asyncio.sleep(0.02)
        assert ended
        assert scene.ended == ["cancelled"]
        writer.close()

    play(tmp_path, work, story)


def test_completes_that_take_long_in_a_real_gateway(tmp_path: Path) -> None:
    """Their owner is stopped, so that they have to wait: one ends well, one badly, one client does not stay."""
    with Gate(tmp_path, args=("--workers", "2")) as gate:
        clients = Clients(gate)
        once = clients(profile=Profile(single_use=("write",)), signature_version="s3v4")
        plain = clients()
        host = gate.base.partition("://")[2]
        wires, names = [], ("well", "badly", "gone")
        completes = [_completing(Presigned(gate, once, name)) for name in names]
        assert gate.process
        os.kill(gate.process.pid, signal.SIGSTOP)
        try:
            for target, body in completes:
                wires.append(Wire(gate.address, seconds=20))
                length = f"Content-Length: {len(body)}"
                wires[-1].send(head("POST", target, length, "If-None-Match: *", "Connection: close", host=host) + body)
            for wire in wires:
                assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
            wires[2].reset()
            plain.put_object(Bucket=BUCKET, Key="badly", Body=b"first")
        finally:
            os.kill(gate.process.pid, signal.SIGCONT)
        well, badly = [wire.rest(20) for wire in wires[:2]]
        assert b"<CompleteMultipartUploadResult " in well
        assert well.endswith(b"0\r\n\r\n")
        assert b"<Error><Code>PreconditionFailed</Code>" in badly
        wait_until(lambda: "Contents" in plain.list_objects_v2(Bucket=BUCKET, Prefix="gone"), 10)
        for name, body in (("well", b"well"), ("badly", b"first"), ("gone", b"gone")):
            assert Whole(plain, name).body() == body
        lines = [line for line in gate.audit() if line["object"] == f"/{BUCKET}/badly" and line["method"] == "POST"]
        assert [line.get("code") for line in lines if line["event"] == "transfer"][-1] == "precondition_failed"


def _completing(upload: Presigned) -> tuple[str, bytes]:
    """An upload with a part: the target that completes it, and the body."""
    assert upload.begin(upload.create()).status == 200
    assert upload.part(1, upload.key.encode()).status == 200
    return upload.url("complete_multipart_upload")[len(upload.gate.base) :], upload.document()
