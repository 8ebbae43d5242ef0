"""The gate: a request in, an Admission or a refusal out. There is one, and its default is to refuse.

Rule 1: nothing after `verify` reads a signature; nothing before the use is claimed writes anything.
Rule 2: a signing key's profile narrows what its keys allow, never widens it.
Rule 3: a refusal carries all that was learned about the key, for the audit, and tells the client only
what it already knew.
"""

from collections.abc import Callable, Container, Sequence

from valetstore.config import Budgets as BudgetSettings
from valetstore.errors import Denied
from valetstore.grants.grant import Admission, Charge, Grant, Intent, Operation, Proof, Use
from valetstore.grants.memory import ProofMemory
from valetstore.grants.networks import address_group
from valetstore.grants.recognise import recognise
from valetstore.grants.scheme import Credential, Scheme
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.pasted import prove
from valetstore.policy.bounds import SKEW_SECONDS_MAX, grant_end
from valetstore.policy.budget import BudgetBook, Budgets, charges_of
from valetstore.policy.request import Term, enforce, enforce_further, enforce_holding
from valetstore.policy.revocation import RevocationTable
from valetstore.replay.promise import ReplaySet, Told


class Gateway:
    """Judges requests by a key ring and a set of schemes; asks the owner of what is single.

    `schemes`, `keys` and `limits` are swapped whole on a reload. What is left out is none of: no revocations, no
    limits.
    """

    def __init__(
        self,
        schemes: Sequence[Scheme],
        keys: KeyRing,
        replay: ReplaySet,
        revocations: RevocationTable | None = None,
        budgets: Budgets | None = None,
        limits: BudgetSettings | None = None,
        proofs: ProofMemory | None = None,
    ) -> None:
        self.schemes = schemes
        self.keys = keys
        self.replay = replay
        self.revocations = RevocationTable() if revocations is None else revocations
        self.budgets: Budgets = BudgetBook() if budgets is None else budgets
        self.limits = limits or BudgetSettings()
        self.proofs = ProofMemory(0) if proofs is None else proofs

    async def admit(self, inbound: Inbound) -> Admission:
        """Let the request in, or raise Denied with what was learned as evidence. `leave` must follow."""
        intent, proof = self._prove(inbound)
        grant = proof.grant.narrowed_by(proof.limits)
        try:
            enforce(grant, intent, inbound, self.revocations)
            charges = charges_of(grant, inbound.peer, self.limits)
            if charges:
                await self.budgets.enter(charges, inbound.now)
            use = use_of(grant, intent, inbound)
            if use is not None:
                await self._look(use, charges, inbound.now)
        except Denied as denied:
            raise denied.because(**describe(grant, intent)) from None
        return Admission(inbound, intent, grant, None if intent.staged else use, charges, proof.body)

    def admit_at_once(
        self, inbound: Inbound, schemes: Container[str], operation: Operation = "read", *, is_new: bool = False
    ) -> Admission | None:
        """`admit` for a read or a write of one object, without a wait: None where it is another request, or counted by
        budgets, and, before anything is verified, where its key is of none of these `schemes`.

        A read's use is not looked at: whoever serves it claims it, and that decides. So a HEAD, which claims nothing,
        is another request where uses are limited, and so is a write, which reserves it. Raises Denied where `admit`
        would, which is then to be asked: nothing was counted, and the evidence is not whole. `is_new` as in `admit_as`.
        """
        credential = recognise(inbound, self.schemes)
        if credential.scheme.name not in schemes:
            return None
        intent = credential.scheme.intent(inbound)
        if intent.operation != operation:
            return None
        source = "" if inbound.peer is None else address_group(inbound.peer)
        return self.admit_as(inbound, credential, intent, source, is_new=is_new)

    def admit_as(
        self, inbound: Inbound, credential: Credential, intent: Intent, source: str, *, is_new: bool = False
    ) -> Admission | None:
        """The same, where it is known which credential came, what is asked, and from where (`source` is the
        address_group, "" where there is no address): by a request that differed in nothing but the key's own text and
        the address it came from, by which neither is decided.

        One that `is_new`, as keys of limited use are, is not looked for among those that were verified, nor is it one
        of them from now on.
        """
        if intent.key is None or intent.upload or intent.staged:
            return None
        self.budgets.check(source, inbound.now)
        if is_new:
            proof = credential.scheme.verify(inbound, credential, self.keys, intent)
        else:
            proof = self.proofs.prove(inbound, credential, self.keys, intent)
        grant = proof.grant.narrowed_by(proof.limits)
        enforce(grant, intent, inbound, self.revocations)
        if proof.body is not None or charges_of(grant, inbound.peer, self.limits):
            return None
        use = use_of(grant, intent, inbound)
        if use is not None and (inbound.method == "HEAD" or intent.operation != "read"):
            return None
        return Admission(inbound, intent, grant, use)

    def admit_again(self, admission: Admission, inbound: Inbound, source: str, term: Term | None = None) -> None:
        """A request that was admitted without uses and budgets comes again, its head the same to the last byte.

        All that may have changed is judged: time, revocation, and whether too much has failed there (`source` is the
        address_group); with a `term`, its grant's, nothing else: whoever gives it has seen that address and TLS are the
        same too. The caller sees to it that `schemes`, `keys` and `limits` are still those that admitted it.
        Raises Denied as `admit_at_once`.
        """
        now = inbound.now
        self.budgets.check(source, now)
        if term is None or not term.since <= now < term.until:
            enforce(admission.grant, admission.intent, inbound, self.revocations)
        else:
            self.revocations.check(admission.grant, admission.intent.path, now)

    def is_lasting(self, inbound: Inbound) -> bool:
        """Whether what verification says of an admitted request's key stays true while the ring is the same one."""
        credential = recognise(inbound, self.schemes)
        return credential.scheme.covered(inbound, credential) is not None

    def extend(self, admission: Admission, intent: Intent) -> Admission:
        """The same request on one more object that it touches: a copy's source, one of many deletes.

        The key must open that too; its use and its budgets are the request's. Raises `operation_not_allowed`,
        `path_not_allowed`, `key_revoked`.
        """
        try:
            enforce_further(admission.grant, intent, admission.inbound, self.revocations)
        except Denied as denied:
            raise denied.because(**describe(admission.grant, intent)) from None
        return Admission(admission.inbound, intent, admission.grant, None)

    def leave(self, admission: Admission) -> None:
        """The request is over: what it held of its key's budgets comes back."""
        if admission.charges:
            self.budgets.leave(admission.charges)

    def holder(self, inbound: Inbound, pasted: str | None = None) -> tuple[Intent, Grant]:
        """A key that is given back: in force, and held by whoever sent this; what it opens does not matter.

        The request's own key, or one `pasted` into its body, for a dialect whose keys hold for one request alone.
        """
        if pasted is None:
            intent, proof = self._prove(inbound)
        else:
            proof = self._counted(inbound, lambda: prove(pasted, self.schemes, self.keys, inbound.now))
            intent = Intent("admin", inbound.path)
        grant = proof.grant.narrowed_by(proof.limits)
        try:
            enforce_holding(grant, intent, inbound, self.revocations)
        except Denied as denied:
            raise denied.because(**describe(grant, intent)) from None
        return intent, grant

    def carries_key(self, inbound: Inbound) -> bool:
        """Whether a request carries a key at all, in whatever state."""
        return any(scheme.recognises(inbound) for scheme in self.schemes)

    async def claim(self, admission: Admission, clock: Callable[[], float]) -> None:
        """Use the key for a read: the last step before the first byte. A HEAD uses nothing.

        Revocation is asked on both sides: a refusal should burn nothing, and what was revoked while the use was logged
        is not shown. Raises `key_used`, `key_revoked`, `replay_unavailable`.
        """
        self.recheck(admission, clock())
        if admission.use is not None and admission.inbound.method != "HEAD":
            await self.replay.claim(admission.use, admission.inbound.now)
            self.recheck(admission, clock())

    def claim_soon(self, admission: Admission, told: Told) -> bool:
        """`claim` for who has no coroutine to wait in: see `ReplaySet.claim_soon`. `recheck` must follow the wait.

        For what `admit_at_once` or `admit_as` let in, in this same call from the loop: keys and revocations change
        between such calls, so they were asked just now, and a refusal burns nothing here either.
        """
        assert admission.use is not None
        return self.replay.claim_soon(admission.use, admission.inbound.now, told)

    def recheck(self, admission: Admission, now: float) -> None:
        """Revocation once more, after the last wait before something is done or shown. Raises `key_revoked`."""
        self.check_in_force(admission.grant, admission.intent.path, now)

    def check_in_force(self, grant: Grant, path: str, now: float) -> None:
        """Raise `key_revoked` where it was revoked, or its signing key is gone or retired; its own end is not asked."""
        key = self.keys.named(grant.signing_key)
        if key is None or (key.record.retires_at is not None and now >= key.record.retires_at):
            raise Denied("key_revoked", "Its signing key was retired meanwhile.")
        self.revocations.check(grant, path, now)

    def _prove(self, inbound: Inbound) -> tuple[Intent, Proof]:
        """What the request asks for and what its key proves."""
        credential = recognise(inbound, self.schemes)
        scheme = credential.scheme
        try:
            intent = scheme.intent(inbound)
        except Denied as denied:
            raise denied.because(dialect=scheme.name) from None
        try:
            proof = self._counted(inbound, lambda: self.proofs.prove(inbound, credential, self.keys, intent))
        except Denied as denied:
            raise denied.because(dialect=scheme.name, operation=intent.operation) from None
        return intent, proof

    def check_source(self, inbound: Inbound) -> None:
        """Raise `rate_limited` where too many verifications have failed from there. `admit` does it by itself."""
        if inbound.peer is not None:
            self.budgets.check(address_group(inbound.peer), inbound.now)

    def _counted(self, inbound: Inbound, verify: Callable[[], Proof]) -> Proof:
        """A verification that counts against its address where it fails, which is refused once there were too many."""
        self.check_source(inbound)
        try:
            return verify()
        except Denied:
            if inbound.peer is not None:
                self.budgets.failed(address_group(inbound.peer), inbound.now)
            raise

    async def _look(self, use: Use, charges: Sequence[Charge], now: float) -> None:
        try:
            await self.replay.look(use, now)
        except BaseException:
            if charges:
                self.budgets.leave(charges)
            raise


def use_of(grant: Grant, intent: Intent, inbound: Inbound) -> Use | None:
    """What the replay set must remember of this request; None where the key's uses are not limited, or the use was
    set aside when the multipart upload began that this is a part of.

    It is remembered for the longest tolerance that can be set, not the one that is: a reload may raise that.
    """
    uses = grant.uses_for(intent.operation)
    if uses is None or intent.upload:
        return None
    # Without an address nobody can be known to be the same client: the window opens for none.
    window = 0 if intent.operation in grant.single_use or inbound.peer is None else grant.window
    source = str(inbound.peer) if window else ""
    return Use(grant.identity, uses, window, source, grant.not_after + SKEW_SECONDS_MAX, _useful_from(grant))


def whole_use(grant: Grant, inbound: Inbound) -> Use | None:
    """All that a limited key has, to be spent at once; None for a key that may do something any number of times."""
    uses = grant.uses
    if uses is None and grant.operations <= grant.single_use:
        uses = 1
    if uses is None:
        return None
    # What was given back may be a session, which ends before the key that began it.
    return Use(grant.identity, uses, 0, str(inbound.peer or ""), grant_end(grant), _useful_from(grant))


def _useful_from(grant: Grant) -> float | None:
    """When the key can have been used first, if that is known: `ttl-max` opens one without a date in its last part."""
    if grant.issued_at is None and grant.ttl_max is not None:
        return grant.not_after - grant.ttl_max
    return grant.issued_at


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
