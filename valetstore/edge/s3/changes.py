"""What operations have in common that change a bucket, or many objects at once, by a document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from valetstore.edge.call import Call
from valetstore.edge.s3.checksums import declared
from valetstore.errors import Denied
from valetstore.inbound import Inbound


@asynccontextmanager
async def changing(call: Call) -> AsyncIterator[None]:
    """Around a change that is one step: the key's use is spent with it, and comes back where it is refused.

    Raises `key_used`, `key_revoked`, `replay_unavailable`.
    """
    async with call.services.lease(call.admission) as lease:
        call.on_admitted()
        await lease.committing()
        call.services.recheck(call.admission)
        yield
        await lease.commit()


def require_digest(inbound: Inbound) -> None:
    """A document that removes or replaces comes with its digest, as S3 wants it. Raises `parameter_invalid`."""
    promised = declared(inbound)
    if promised.md5 is None and not promised.algorithm:
        said = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        raise Denied("parameter_invalid", said).saying("InvalidRequest", said)
