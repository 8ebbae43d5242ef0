"""A change that is one step: of a bucket, of a setting, of many objects at once by a document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from valetstore.edge.call import Call


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
