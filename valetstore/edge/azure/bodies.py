"""Bodies that an operation reads whole: a document, or none at all.

Rule 1: a small body is proven as a blob's is (length, pace, every digest that was promised) before anyone parses it.
"""

from valetstore.edge.azure.digests import Promised
from valetstore.edge.call import Call
from valetstore.edge.document import whole_body
from valetstore.edge.receive import BodySource
from valetstore.policy.body import BodyRules, promised_digests
from valetstore.storage.checksums import new


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
    source = BodySource(call.exchange, call.admission.intent.length, call.admission.body)
    return await whole_body(call, source, rules)


def _digest(algorithm: str, body: bytes) -> bytes:
    hashing = new(algorithm)
    hashing.update(body)
    return hashing.digest()
