"""ProofMemory: to remember keys changes no verdict, in whichever order they come, and takes no more room than given."""

from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.grants.held_keys import NOW, SECRET, Held, held, outcome, ring, schemes
from tests.grants.test_covered import changed
from valetstore.errors import Denied
from valetstore.grants.claims import Claims
from valetstore.grants.grant import Proof
from valetstore.grants.memory import ProofMemory
from valetstore.grants.native import Audience, Native, sign
from valetstore.grants.recognise import recognise
from valetstore.grants.scheme import Carrier, Credential, Scheme
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing

KINDS: Final = list(held())
RINGS: Final = (SECRET, SECRET[::-1])
FOR_ONCE: Final = {"S3 V4 session"}


def remembered(memory: ProofMemory, inbound: Inbound, keys: KeyRing) -> Proof | tuple[str, str]:
    """As `outcome`, by way of the memory."""
    try:
        credential = recognise(inbound, schemes())
        return memory.prove(inbound, credential, keys, credential.scheme.intent(inbound))
    except Denied as denied:
        return denied.code, denied.text


def writes_once(inbound: Inbound) -> bool:
    """Whether its key is a signature of one request, and that writes."""
    scheme = recognise(inbound, schemes()).scheme
    return scheme.signs_method and scheme.intent(inbound).operation == "write"


@settings(max_examples=150)
@given(data=st.data(), room=st.integers(0, 4))
def test_with_a_memory_and_without_every_request_has_one_verdict(data: st.DataObject, room: int) -> None:
    """Good keys and changed ones of every dialect, again and again, in turn, by rings that change."""
    memory = ProofMemory(room)
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    asked = [held()[kind].inbound for kind in kinds]
    asked += [data.draw(changed(held()[kind])) for kind in kinds]
    for _ in range(data.draw(st.integers(1, 12))):
        inbound = data.draw(st.sampled_from(asked))
        keys = ring(data.draw(st.sampled_from(RINGS)))
        assert remembered(memory, inbound, keys) == outcome(inbound, keys)
        assert len(memory) <= room


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_is_found_again_while_the_ring_is_the_same_one(kind: str) -> None:
    """The very object; another ring, with the same keys in it, proves anew."""
    memory, inbound = ProofMemory(4), held()[kind].inbound
    first = remembered(memory, inbound, ring())
    assert isinstance(first, Proof)
    is_kept = kind not in FOR_ONCE and not writes_once(inbound) and first.grant.uses is None
    assert (remembered(memory, inbound, ring()) is first) == is_kept
    assert len(memory) == is_kept
    other = KeyRing(key.record for key in ring())
    again = remembered(memory, inbound, other)
    assert again == first
    assert again is not first
    assert len(memory) == is_kept


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_takes_no_room(kind: str) -> None:
    """A ring with other secrets refuses it each time, and what was there stays there."""
    memory = ProofMemory(1)
    method, target, headers, tls = held()[kind]
    good = held()["native URL"].inbound
    first = remembered(memory, good, ring())
    for number in range(20):
        wrong = Held(method, target[:-1] + b"%d" % number, headers[:1], tls).inbound
        if not isinstance(outcome(wrong, ring()), Proof):
            remembered(memory, wrong, ring())
    assert remembered(memory, good, ring()) is first


def native(**claims: Any) -> Inbound:
    """A request with a native key."""
    terms: dict[str, Any] = {"exp": NOW + 60, "iat": NOW, "ops": ["read"], "path": "/b/x"} | claims
    token = sign(Claims(**terms), "native", "HS256", SECRET)
    return Inbound("GET", f"/b/x?valet={token}".encode(), (), now=NOW)


def test_a_key_of_limited_use_is_not_remembered() -> None:
    """It does not come again."""
    memory = ProofMemory(4)
    assert isinstance(remembered(memory, native(uses=1, jti="a"), ring()), Proof)
    assert not len(memory)


def test_a_key_with_a_long_text_is_not_remembered() -> None:
    """So that an entry is never larger than it is reckoned at by much."""
    memory = ProofMemory(4)
    assert isinstance(remembered(memory, native(ctx="x" * 3_000), ring()), Proof)
    assert not len(memory)


def test_the_longest_remembered_goes_first() -> None:
    """And comes back when it is asked for."""
    memory, asked = ProofMemory(2), [native(jti=str(number)) for number in range(3)]
    proofs = [remembered(memory, inbound, ring()) for inbound in asked]
    assert len(memory) == 2
    assert remembered(memory, asked[2], ring()) is proofs[2]
    assert remembered(memory, asked[1], ring()) is proofs[1]
    assert remembered(memory, asked[0], ring()) is not proofs[0]
    assert len(memory) == 2


def test_another_setting_is_another_scheme() -> None:
    """An audience that is required since is not got round by what was remembered before."""
    memory, inbound = ProofMemory(4), native()
    before: list[Scheme] = [Native()]
    after: list[Scheme] = [Native(audience=Audience("us", required=True))]
    credential = recognise(inbound, before)
    assert memory.prove(inbound, credential, ring(), credential.scheme.intent(inbound))
    credential = recognise(inbound, after)
    with pytest.raises(Denied) as caught:
        memory.prove(inbound, credential, ring(), credential.scheme.intent(inbound))
    assert caught.value.code == "key_malformed"


class Asked:
    """A scheme that counts how often it was asked what a verification goes by."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self.count = 0

    def covered(self, inbound: Inbound, credential: Credential) -> Hashable | None:
        """Counted."""
        self.count += 1
        return self._scheme.covered(inbound, credential)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheme, name)


def asked_for(memory: ProofMemory, asked: Asked, inbound: Inbound, carrier: Carrier = "query") -> int:
    """How often the scheme was asked by this request, whose key it holds for good."""
    before = asked.count
    credential = replace(recognise(inbound, schemes()), scheme=cast(Scheme, asked), carrier=carrier)
    with suppress(Denied):
        memory.prove(inbound, credential, ring(), credential.scheme.intent(inbound))
    return asked.count - before


def is_kept_in_its_url(kind: str) -> bool:
    """Whether its key stands in the query and may be remembered."""
    inbound = held()[kind].inbound
    proof = outcome(inbound, ring())
    is_kept = isinstance(proof, Proof) and proof.grant.uses is None and kind not in FOR_ONCE
    return is_kept and recognise(inbound, schemes()).carrier == "query" and not writes_once(inbound)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if is_kept_in_its_url(kind)])
def test_the_very_same_request_is_not_read_again_and_any_other_is(kind: str) -> None:
    """Where one thing of it differs, the scheme says what that means."""
    one = held()[kind]
    memory, asked = ProofMemory(4), Asked(recognise(one.inbound, schemes()).scheme)
    assert [asked_for(memory, asked, one.inbound) for _ in range(4)] == [1, 1, 0, 0]
    others = [
        one._replace(method="HEAD" if one.method == "GET" else "GET"),
        one._replace(target=one.target + b"&more"),
        one._replace(tls=not one.tls),
        one._replace(headers=(*one.headers, (b"X-More", b"1"))),
        one._replace(headers=((b"Host", b"other.example.org"),)),
    ]
    assert [asked_for(memory, asked, other.inbound) for other in others if other != one] == [1] * len(others)
    other_host = Inbound(one.method, one.target, one.headers, now=NOW, tls=one.tls, host="other.example.org")
    assert asked_for(memory, asked, other_host) == 1
    assert asked_for(memory, asked, one.inbound.with_form(())) == 1


def test_a_key_in_a_header_is_not_compared_with_those_before() -> None:
    """How long that takes would tell how much of a guess is right."""
    inbound = native()
    memory, asked = ProofMemory(4), Asked(recognise(inbound, schemes()).scheme)
    assert [asked_for(memory, asked, inbound, "header") for _ in range(4)] == [1] * 4


def test_a_request_with_long_headers_is_read_each_time() -> None:
    """So that an entry is never larger than it is reckoned at."""
    good = native()
    for headers in (((b"A", b"x" * 2_000),), tuple((b"N%d" % number, b"") for number in range(40))):
        memory, asked = ProofMemory(4), Asked(recognise(good, schemes()).scheme)
        inbound = Inbound(good.method, good.target, headers, now=NOW)
        assert [asked_for(memory, asked, inbound) for _ in range(4)] == [1] * 4


def test_requests_that_are_kept_beside_proofs_make_room_too() -> None:
    """The longest kept goes first."""
    memory, requests = ProofMemory(2), [native(jti=str(number)) for number in range(3)]
    asked = Asked(recognise(requests[0], schemes()).scheme)
    for inbound in (requests[0], requests[0], requests[1], requests[1], requests[2], requests[2]):
        asked_for(memory, asked, inbound)
    assert [asked_for(memory, asked, inbound) for inbound in (requests[2], requests[1])] == [0, 0]
    assert asked_for(memory, asked, requests[0]) == 1


def test_a_form_is_not_kept_beside_a_proof() -> None:
    """It may be long."""
    inbound = native().with_form((("key", "x" * 60_000),))
    memory, asked = ProofMemory(4), Asked(recognise(native(), schemes()).scheme)
    credential = replace(recognise(native(), schemes()), scheme=cast(Scheme, asked))
    intent = credential.scheme.intent(native())
    for _ in range(4):
        assert memory.prove(inbound, credential, ring(), intent)
    assert asked.count == 4
