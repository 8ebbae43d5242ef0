"""ProofMemory: keys that were verified, so that the same one need not be verified again.

Rule 1: a proof is found again only by everything that its verification depended on: the scheme with its settings, what
the scheme says its signature covers (`Scheme.covered`), and the very key ring. Another ring, and all is forgotten.
Rule 2: only the proof is remembered. Time, revocation, source and uses are judged each time, from the request.
Rule 3: a key of limited use is not remembered: it does not come again. Nor is a signature of one request that writes:
few send the same object to the same URL twice, and what is read again and again should not make room for it.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from valetstore.grants.grant import Intent, Proof
from valetstore.grants.scheme import Credential, Scheme
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

PROOF_BYTES: Final = 4_096
"""What one remembered proof is reckoned at: a grant, and the text that it is found by."""

_TEXT_BYTES_MAX: Final = 2_048
"""A key with a longer text, or in a longer request line, is verified each time."""


class ProofMemory:
    """Up to `entries_max` proofs; the longest remembered goes first. 0 remembers nothing."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._keys: KeyRing | None = None
        self._proofs: OrderedDict[tuple[Scheme, Hashable], Proof] = OrderedDict()

    def __len__(self) -> int:
        return len(self._proofs)

    def prove(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent) -> Proof:
        """The proof of a credential by this ring, met before or verified now. Raises as `Scheme.verify`."""
        scheme = credential.scheme
        is_long = len(credential.text) > _TEXT_BYTES_MAX or len(inbound.target) > _TEXT_BYTES_MAX
        is_for_once = scheme.signs_method and intent.operation == "write"
        covered = None if is_long or is_for_once else scheme.covered(inbound, credential)
        if covered is None:
            return scheme.verify(inbound, credential, keys, intent)
        if keys is not self._keys:
            self._proofs.clear()
            self._keys = keys
        place = (scheme, covered)
        proof = self._proofs.get(place)
        if proof is None:
            proof = scheme.verify(inbound, credential, keys, intent)
            if proof.body is None and not _is_limited(proof):
                self._remember(place, proof)
        return proof

    def _remember(self, place: tuple[Scheme, Hashable], proof: Proof) -> None:
        if len(self._proofs) >= self._entries_max:
            if not self._entries_max:
                return
            self._proofs.popitem(last=False)
        self._proofs[place] = proof


def _is_limited(proof: Proof) -> bool:
    return proof.grant.uses is not None or proof.limits.uses is not None or bool(proof.limits.single_use)
