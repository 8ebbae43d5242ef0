"""The gate: a request in, an Admission or a refusal out. There is one, and its default is to refuse.

Rule 1: nothing after `verify` reads a signature; nothing before the use is claimed writes anything.
Rule 2: a signing key's profile narrows what its keys allow, never widens it.
Rule 3: a refusal carries all that was learned about the key, for the audit, and tells the client only
what it already knew.
"""

from collections.abc import Sequence

from valetstore.errors import Denied
from valetstore.grants.grant import Admission, Grant, Intent, Use
from valetstore.grants.recognise import recognise
from valetstore.grants.scheme import Scheme
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.policy.request import enforce
from valetstore.replay.promise import ReplaySet


class Gateway:
    """Judges requests by a key ring, a set of schemes and a replay set. `keys` is swapped whole on rotation."""

    def __init__(self, schemes: Sequence[Scheme], keys: KeyRing, replay: ReplaySet) -> None:
        self.schemes = schemes
        self.keys = keys
        self.replay = replay

    async def admit(self, inbound: Inbound) -> Admission:
        """Let the request in, or raise Denied with what was learned as evidence."""
        credential = recognise(inbound, self.schemes)
        scheme = credential.scheme
        try:
            intent = scheme.intent(inbound)
        except Denied as denied:
            raise denied.because(dialect=scheme.name) from None
        try:
            proof = scheme.verify(inbound, credential, self.keys)
        except Denied as denied:
            raise denied.because(dialect=scheme.name, operation=intent.operation) from None
        grant = proof.grant.narrowed_by(proof.limits)
        try:
            enforce(grant, intent, inbound)
            use = use_of(grant, inbound)
            if use is not None:
                await self.replay.look(use, inbound.now)
        except Denied as denied:
            raise denied.because(**describe(grant, intent)) from None
        return Admission(inbound, intent, grant, use)

    def recheck(self, admission: Admission, now: float) -> None:
        """Revocation once more, before an upload is published: it may have lasted. Raises `key_revoked`."""
        key = self.keys.named(admission.grant.signing_key)
        if key is None or (key.record.retires_at is not None and now >= key.record.retires_at):
            raise Denied("key_revoked", "Its signing key was retired meanwhile.")


def use_of(grant: Grant, inbound: Inbound) -> Use | None:
    """What the replay set must remember of this request; None where the key's uses are not limited."""
    if grant.uses is None:
        return None
    # Without an address nobody can be known to be the same client: the window opens for none.
    source, window = (str(inbound.peer), grant.window) if inbound.peer else ("", 0)
    return Use(grant.identity, grant.uses, window, source, grant.not_after + grant.skew)


def describe(grant: Grant, intent: Intent) -> dict[str, object]:
    """What an audit line says about a proven key and what was asked with it."""
    return {
        "dialect": grant.scheme,
        "operation": intent.operation,
        "signing_key": grant.signing_key,
        "key_identity": grant.identity.hex(),
        "subject": grant.subject,
        "ctx": grant.ctx,
    }
