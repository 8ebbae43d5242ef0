"""Bodies that an operation reads whole: a document, or none at all.

Rule 1: a small body is proven as a blob's is (length, pace, every digest that was promised) before anyone parses it.
"""

import time

from valetstore.edge.azure.digests import Promised
from valetstore.edge.call import Call
from valetstore.edge.receive import BodySource, ask_for_body, receive
from valetstore.policy.body import BodyRules, promised_digests
from valetstore.replay.lease import Lease
from valetstore.storage.checksums import new


class _Memory:
    """What has arrived, kept in memory: a `Sink`."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes) -> None:
        self.data += data


async def small(call: Call, bytes_max: int) -> bytes:
    """A whole body of at most `bytes_max`. Raises `too_large`, `digest_mismatch`, and what `receive` raises."""
    promised = Promised(call.inbound, is_blob=False)
    rules = BodyRules(0, bytes_max, promised_digests(call.inbound))
    body = await _read(call, rules)
    digests = {name: _digest(name, body) for name in rules.hashes | promised.hashes}
    rules.check_whole(len(body), digests)
    promised.check(digests)
    return body


async def no_body(call: Call) -> None:
    """There is none. Raises as `small` does."""
    await _read(call, BodyRules(0, 0, ()))


async def _read(call: Call, rules: BodyRules) -> bytes:
    if call.admission.intent.length is not None:
        rules.check_so_far(call.admission.intent.length)
    memory = _Memory()
    # Nothing is limited in reading: the operation holds the key's use, where it has one.
    free = Lease(call.services.gateway.replay, None, time.time)
    ask_for_body(call.exchange, call.inbound)
    source = BodySource(call.exchange, call.admission.intent.length, call.admission.body)
    await receive(call.exchange, source, rules, memory, free, call.services.config.limits)
    return bytes(memory.data)


def _digest(algorithm: str, body: bytes) -> bytes:
    hashing = new(algorithm)
    hashing.update(body)
    return hashing.digest()
