"""Glances: small objects as they were seen since the loop asked last which connections have something to read.

The kernel names all of these at once, and then they are read one after the other. So all that is read until the loop
asks again had begun to arrive before the first of it was read, and one look at an object does for all who ask for it
meanwhile: it is younger than the first byte of each of their requests, and shows whatever any of them can know of.

Rule 1: no glance is left when the loop asks again. So it is for requests that are handed on as they are read, and not
for those that were held back: what is called soon by whoever lets them go is called after the loop has asked.
Rule 2: with more connections than the loop is told of at once, it asks again without a turn between: there each request
has a look of its own.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from valetstore.grants.grant import Admission
from valetstore.objectkey import ObjectKey
from valetstore.storage.small import Small

CONNECTIONS_MAX: Final = 500
"""libuv takes 1,024 events at once; some are of connections that linger, shake hands or are none."""


class Store(Protocol):
    """What is looked at (`storage.disk.DiskStore` is one)."""

    def small(self, admission: Admission) -> Small | None:
        """A small object as it is now; None where it has to be asked for in another way."""


class Glances:
    """Asks `store` for small objects once a turn; `connections` says how many are open. For the event loop's thread."""

    def __init__(self, store: Store, connections: Callable[[], int]) -> None:
        self._store = store
        self._connections = connections
        self._seen: dict[ObjectKey, Small] = {}

    def small(self, admission: Admission) -> Small | None:
        """See `Store`: as it is, or was when others were read who are no later than this one."""
        seen, key = self._seen, admission.key
        small = seen.get(key)
        if small is None:
            small = self._store.small(admission)
            if small is not None and self._connections() <= CONNECTIONS_MAX:
                if not seen:
                    # What is called soon is called before the loop asks again, and once all that was named is read.
                    asyncio.get_running_loop().call_soon(seen.clear)
                seen[key] = small
        return small
