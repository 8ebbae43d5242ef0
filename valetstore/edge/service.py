"""The gateway's own paths, below /_valet/: is it alive, is it ready, how does a request arrive.

`live` and `ready` need no key and tell nothing about objects. `echo` shows a request's own facts to whoever
has a key for it: `valetstore check` signs one, to find out what a proxy in front does to paths and Host.

Rule: strangers are told one word of why the gateway is not ready; folders and names go to its log.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Literal

from valetstore.edge.replies import Reply, json_reply
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound

LIVE: Final = b"/_valet/live"
READY: Final = b"/_valet/ready"
ECHO_PREFIX: Final = "/_valet/echo/"

Reason = Literal["audit", "draining", "key_ring", "revocations", "storage"]

WhyNot = Callable[[], tuple[Reason, str] | None]
"""A reason not to be ready, and a sentence about it for the operator; None where there is none. Never waits."""

log = logging.getLogger(__name__)


class Service:
    """Health and echo. `why_not` are asked each time; `draining` is set once the gateway is about to end."""

    def __init__(self, why_not: Sequence[WhyNot]) -> None:
        self._why_not = why_not
        self._told: dict[Reason, str] = {}
        self.draining = False

    def unkeyed(self, inbound: Inbound) -> Reply | None:
        """The answer to a path that needs no key; None for any other."""
        if inbound.raw_path not in (LIVE, READY):
            return None
        if inbound.method not in ("GET", "HEAD"):
            raise Denied("method_not_allowed", allow="GET, HEAD")
        return json_reply({"live": True}) if inbound.raw_path == LIVE else self._ready()

    def keyed(self, admission: Admission) -> Reply:
        """The answer to an admitted request below /_valet/. Raises `not_found`."""
        inbound = admission.inbound
        if admission.intent.operation != "read" or not admission.intent.path.startswith(ECHO_PREFIX):
            raise Denied("not_found")
        facts = {
            "raw_path": inbound.raw_path.decode("latin-1"),
            "path": inbound.path,
            "host": inbound.host,
            "address": str(inbound.peer or ""),
            "https": inbound.tls,
        }
        return json_reply(facts)

    def reasons(self) -> list[Reason]:
        """Why the gateway is not ready, in words; what changed since the last call goes to the log."""
        found = dict(trouble for ask in self._why_not if (trouble := ask()) is not None)
        for reason, sentence in found.items():
            if self._told.get(reason) != sentence:
                log.error("not ready (%s): %s", reason, sentence)
        if self._told and not found:
            log.info("ready again")
        self._told = found
        return [*found, "draining"] if self.draining else list(found)

    def _ready(self) -> Reply:
        reasons = self.reasons()
        return json_reply({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)
