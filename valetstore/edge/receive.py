"""A body on its way in: from the connection to an upload, counted, bounded and paced."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from valetstore.config import Limits
from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.edge.replies import CONTINUE
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.policy.body import BodyRules
from valetstore.replay.lease import Lease
from valetstore.storage.promise import Upload


async def receive(
    exchange: Exchange, admission: Admission, rules: BodyRules, upload: Upload, lease: Lease, limits: Limits
) -> None:
    """Read the whole body into `upload`; counts `exchange.bytes_in`.

    Raises `too_large` at the first byte beyond the maximum, `body_incomplete`, `request_timeout`,
    `request_malformed`, and ConnectionError where the client went away.
    """
    ask_for_body(exchange, admission.inbound)
    pace = Pace(limits.upload_bytes_per_second_min, limits.rate_grace_seconds, time.monotonic())
    loop = asyncio.get_running_loop()
    with reading(exchange):
        async with asyncio.timeout(pace.grace_seconds) as deadline:
            while data := await exchange.body.readany():
                deadline.reschedule(None)  # from here the store works, not the client
                arrived = time.monotonic()
                exchange.bytes_in += len(data)
                rules.check_so_far(exchange.bytes_in)
                await lease.during(upload.write(data))
                await lease.keep()
                now = time.monotonic()
                pace.paused(now - arrived)
                pace.moved(len(data), now)
                deadline.reschedule(loop.time() + pace.grace_seconds)
    announced = admission.intent.length
    if announced is not None and exchange.bytes_in != announced:
        raise Denied("body_incomplete")


@contextlib.contextmanager
def reading(exchange: Exchange) -> Iterator[None]:
    """What may go wrong while a body is read, in our words: see `receive`."""
    try:
        yield
    except TimeoutError:
        raise Denied("request_timeout", "The body stopped arriving.") from None
    except RuntimeError as error:
        if exchange.protocol.transport is not None:
            raise
        raise ConnectionResetError(str(error)) from None  # aiohttp's word for a connection that was lost before
    except (RequestPayloadError, HttpProcessingError) as error:
        raise Denied("request_malformed", "Its body is not well-formed.", reason=type(error).__name__) from None


def ask_for_body(exchange: Exchange, inbound: Inbound) -> None:
    """Answer `Expect: 100-continue`, only now: a refusal has come before (RFC 9110 section 10.1.1)."""
    expected = inbound.header("expect")
    if expected is None or exchange.message.version == (1, 0):
        return
    if expected.strip().lower() != "100-continue":
        raise Denied("parameter_invalid", "Expect may only be 100-continue.")
    if not exchange.body.total_bytes and not exchange.body_is_whole:
        exchange.transport.write(CONTINUE)
