"""ProofMemory: keys that were verified, so that the same one need not be verified again.

Rule 1: a proof is found again only by everything that its verification depended on: the scheme with its settings, what
the scheme says its signature covers (`Scheme.covered`), and the very key ring. Another ring, and all is forgotten.
Rule 2: only the proof is remembered. Time, revocation, source and uses are judged each time, from the request.
Rule 3: a request that is, to the byte, the one that a proof was found for last needs no such reading. Only where its
key is in its URL, which is found by its hash: no secret is compared with another, from which its time could tell.
Rule 4: a key of limited use is not remembered: it does not come again. Nor is a signature of one request that writes:
few send the same object to the same URL twice, and what is read again and again should not make room for it.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, TypeVar

from valetstore.grants.covered import may_be_kept
from valetstore.grants.grant import Intent, Proof
from valetstore.grants.scheme import Credential, Scheme
from valetstore.inbound import Form, Headers, Inbound
from valetstore.keys.ring import KeyRing

PROOF_BYTES: Final = 6_144
"""What one remembered proof is reckoned at: a grant, the text that it is found by, and the request it was found for."""

_TEXT_BYTES_MAX: Final = 2_048
"""A key with a longer text, or in a longer request line, is verified each time."""

_Request = tuple[Credential, str, str, bool, Headers, Form | None]
"""All of a request that `Scheme.covered` may read, beside its target: where both are the same, so is what it says."""

_Place = TypeVar("_Place", bound=Hashable)
_Found = TypeVar("_Found")


class ProofMemory:
    """Up to `entries_max` proofs; the longest remembered goes first. 0 remembers nothing."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._keys: KeyRing | None = None
        self._proofs: OrderedDict[tuple[Scheme, Hashable], Proof] = OrderedDict()
        self._met: OrderedDict[bytes, tuple[_Request, Proof]] = OrderedDict()  # by target
        self._known = self._met.get

    def __len__(self) -> int:
        return len(self._proofs)

    def prove(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent) -> Proof:
        """The proof of a credential by this ring, met before or verified now. Raises as `Scheme.verify`."""
        if keys is not self._keys:
            self._proofs.clear()
            self._met.clear()
            self._keys = keys
        request = credential, inbound.method, inbound.host, inbound.tls, inbound.headers, inbound.form
        met = self._known(inbound.target)
        if met is not None and met[0] == request:
            return met[1]
        scheme = credential.scheme
        is_long = len(credential.text) > _TEXT_BYTES_MAX or len(inbound.target) > _TEXT_BYTES_MAX
        is_for_once = scheme.signs_method and intent.operation == "write"
        covered = None if is_long or is_for_once else scheme.covered(inbound, credential)
        if covered is None:
            return scheme.verify(inbound, credential, keys, intent)
        place = (scheme, covered)
        proof = self._proofs.get(place)
        if proof is None:
            proof = scheme.verify(inbound, credential, keys, intent)
            if proof.body is None and not _is_limited(proof):
                self._remember(self._proofs, place, proof)
        elif credential.carrier == "query" and may_be_kept(inbound):
            self._remember(self._met, inbound.target, (request, proof))
        return proof

    def _remember(self, memory: OrderedDict[_Place, _Found], place: _Place, found: _Found) -> None:
        if len(memory) >= self._entries_max and place not in memory:
            if not self._entries_max:
                return
            memory.popitem(last=False)
        memory[place] = found


def _is_limited(proof: Proof) -> bool:
    return proof.grant.uses is not None or proof.limits.uses is not None or bool(proof.limits.single_use)
