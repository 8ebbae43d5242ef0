"""POST /_valet/release: whoever holds a key gives it back, and nobody can use it again.

Rule 1: it takes the key itself, and no other right. So whoever holds a link that many share can end it for all.
Rule 2: a key with limited uses is spent, like one that was used up; any other is revoked until its own end, and so is
one whose uploads go on by a session of their own.
"""

from collections.abc import Callable
from typing import Final

from valetstore.edge.admin import json_object, small_body, who
from valetstore.edge.exchange import Exchange
from valetstore.edge.replies import Reply
from valetstore.errors import Denied
from valetstore.gateway import Gateway, whole_use
from valetstore.grants.grant import Grant, Intent
from valetstore.inbound import Inbound
from valetstore.policy.bounds import grant_end
from valetstore.policy.revocation import Revocation, Revocations

REASON: Final = "released by its holder"

OnProven = Callable[[Intent, Grant], None]


class Releases:
    """Answers requests for RELEASE_PATH."""

    def __init__(self, gateway: Gateway, revocations: Revocations) -> None:
        self._gateway = gateway
        self._revocations = revocations

    async def answer(self, exchange: Exchange, inbound: Inbound, on_proven: OnProven) -> Reply:
        """204 once the key opens nothing any more, in any worker. `on_proven` is called with what the key is.

        The key comes with the request as any other does or, without one, as {"key": "<URL or token>"}.
        """
        if inbound.method != "POST":
            raise Denied("method_not_allowed", "Allowed is POST.", allow="POST")
        self._gateway.check_source(inbound)
        if self._gateway.carries_key(inbound):
            intent, grant = self._gateway.holder(inbound)
            if await small_body(exchange, inbound):
                raise Denied("key_ambiguous", "Send it in the request or in the body.")
        else:
            intent, grant = self._gateway.holder(inbound, _key_in(await small_body(exchange, inbound)))
        on_proven(intent, grant)
        use = whole_use(grant, inbound)
        if use is not None:
            await self._gateway.replay.spend(use, inbound.now)
        # An upload that the key began has taken its use, and goes on without another.
        if use is None or grant.outlived_by:
            end = grant_end(grant)
            entry = Revocation("", "key", grant.identity.hex(), expires_at=end, reason=REASON, by=who(grant))
            await self._revocations.add(entry)
        return Reply(204)


def _key_in(body: bytes) -> str | None:
    """The key in a body; None where there is no body. Raises `parameter_invalid`."""
    if not body:
        return None
    given = json_object(body)
    key = given.get("key")
    if not isinstance(key, str) or len(given) != 1:
        raise Denied("parameter_invalid", 'The body is {"key": "<URL or token>"}, or empty.')
    return key
