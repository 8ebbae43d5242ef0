"""One gate, whose default is to refuse; what it learned goes to the audit, what it says to the client is short."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tests.minting import (
    ANYTHING,
    NOW,
    Minter,
    ask,
    claims,
    make_minter,
    minter,
    perhaps_refused,
    refused,
    ring,
    second_form,
    with_signature,
)
from valetstore.errors import REFUSALS, Denied
from valetstore.gateway import Gateway, use_of, whole_use
from valetstore.grants.grant import Admission, Budget, Grant, Intent, Operation, Profile, Scope
from valetstore.grants.memory import ProofMemory
from valetstore.grants.native import Native
from valetstore.grants.networks import plain_address
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.objectkey import ObjectKey
from valetstore.policy.bounds import SKEW_SECONDS_MAX
from valetstore.policy.budget import BudgetBook
from valetstore.policy.request import enforce
from valetstore.policy.revocation import Revocation
from valetstore.replay.memory import MemoryReplaySet

ONCE: dict[str, Any] = {"uses": 1, "jti": "n", "iat": NOW}


def gateway(keys: KeyRing | None = None, skew: float = 0, schemes: tuple[Native, ...] | None = None) -> Gateway:
    return Gateway((Native(skew),) if schemes is None else schemes, keys or ring(), MemoryReplaySet(100, skew))


def admit(inbound: Inbound, gate: Gateway | None = None) -> Admission:
    return asyncio.run((gate or gateway()).admit(inbound))


def test_a_valid_key_is_let_in() -> None:
    admission = admit(ask(token=minter().token()))
    assert admission.key.path == "/photos/cat.jpg"
    assert (admission.intent.operation, admission.grant.signing_key) == ("read", "hs256")
    assert admission.use is None


def test_a_key_that_is_new_is_judged_like_any_and_is_not_remembered() -> None:
    """Most keys come once: what was worked out for one is kept when it comes again."""
    gate = Gateway((Native(0),), ring(), MemoryReplaySet(100, 0), proofs=ProofMemory(10))
    inbound = ask(token=minter().token())
    first = gate.admit_at_once(inbound, {"native"}, is_new=True)
    assert len(gate.proofs) == 0
    second = gate.admit_at_once(inbound, {"native"})
    assert len(gate.proofs) == 1
    assert first == second == admit(inbound)
    with refused("signature_mismatch"):
        gate.admit_at_once(ask(token=with_signature(minter().token(), bytes(32))), {"native"}, is_new=True)


def test_a_key_of_another_scheme_is_not_verified_at_once() -> None:
    """Whoever asks could not answer it, and whom it then goes to verifies it: once is enough."""
    forged = ask(token=with_signature(minter().token(), bytes(32)))
    assert gateway().admit_at_once(forged, {"s3"}) is None
    with refused("signature_mismatch"):
        gateway().admit_at_once(forged, {"s3", "native"})


def test_the_default_is_to_refuse() -> None:
    with refused("key_missing"):
        admit(ask())
    with refused("key_missing"):
        admit(ask(token=minter().token()), gateway(schemes=()))
    with refused("signature_mismatch"):
        admit(ask(token=minter().token()), gateway(KeyRing([make_minter("HS256", "other", ANYTHING).record])))


@pytest.mark.parametrize(
    ("inbound", "code"),
    [
        (ask("PATCH"), "key_missing"),
        (ask(target="/photos/../x", token="x"), "object_key_invalid"),
        (ask("POST", token="x"), "method_not_allowed"),
        (ask(token="x"), "key_malformed"),
        (ask(token=minter().token(claims(exp=NOW))), "key_expired"),
        (ask("PUT", token=minter().token()), "operation_not_allowed"),
        (ask(target="/photos/dog.jpg", token=minter().token()), "path_not_allowed"),
        (ask(target="/photos/cat.jpg/", token=minter().token()), "path_not_allowed"),
        (ask(target="/photos/?list", token=minter().token(claims(ops=["list"], path="/photos/"))), "path_not_allowed"),
    ],
)
def test_refusals_in_their_order(inbound: Inbound, code: str) -> None:
    """Shape, then signature, then what the key covers."""
    with refused(code):
        admit(inbound)


def test_what_is_authorised_is_what_is_stored() -> None:
    """Encoded or not, one decoding decides; a second one never happens."""
    token = minter().token(claims(path="/photos/a b%2f.jpg"))
    for target in ("/photos/a%20b%252f.jpg", "/%70hotos/a%20b%252f.jpg"):
        assert admit(ask(target=target, token=token)).key.path == "/photos/a b%2f.jpg"
    for target in ("/photos/a%20b%2f.jpg", "/photos/a%2520b%252f.jpg", "/photos/a+b%252f.jpg"):
        with refused("path_not_allowed"):
            admit(ask(target=target, token=token))


def test_head_goes_with_reading_and_never_the_reverse() -> None:
    admit(ask("HEAD", token=minter().token()))
    for ops in (["write"], ["delete"], ["list"], ["admin"]):
        with refused("operation_not_allowed"):
            admit(ask("HEAD", token=minter().token(claims(ops=ops))))


def test_the_signing_keys_profile_narrows() -> None:
    profile = Profile(
        operations=("read", "write"), prefixes=("/photos/",), ttl_seconds_max=60, types=("image/*",), https=True
    )
    by = make_minter("HS256", "narrow", profile)
    gate = gateway(KeyRing([by.record]))

    def asked(method: str = "GET", target: str = "/photos/cat.jpg", *, tls: bool = True, **more: Any) -> Inbound:
        token = by.token(claims(ops=["read", "write", "delete"], path=None, prefix="/", **more))
        return ask(method, target, {"content-type": "text/html"}, token=token, tls=tls)

    admit(asked(), gate)
    for inbound, code in (
        (asked("DELETE"), "operation_not_allowed"),
        (asked(target="/secrets/k"), "path_not_allowed"),
        (asked(exp=NOW + 61), "ttl_too_long"),
        (asked(tls=False), "https_required"),
        (asked("PUT"), "type_not_allowed"),
    ):
        with refused(code):
            admit(inbound, gate)


def test_a_retired_signing_key_opens_nothing() -> None:
    by = minter()
    retired = KeyRing([msgspec.structs.replace(by.record, retires_at=NOW)])
    with refused("key_revoked"):
        admit(ask(token=by.token()), gateway(retired))
    admit(ask(token=by.token(), now=NOW - 1), gateway(retired))


# Single use


def test_a_spent_key_is_refused_even_for_a_head() -> None:
    async def story() -> None:
        gate = gateway()
        token = minter().token(claims(**ONCE))
        for method in ("HEAD", "GET", "HEAD"):
            admission = await gate.admit(ask(method, token=token))
        assert admission.use
        assert admission.use.keep_until == NOW + 60 + SKEW_SECONDS_MAX
        await gate.replay.claim(admission.use, NOW)
        for method in ("HEAD", "GET"):
            with refused("key_used") as denied:
                await gate.admit(ask(method, token=token))
            assert denied.evidence["key_identity"] == admission.use.identity.hex()

    asyncio.run(story())


def test_a_used_entry_outlives_its_key_by_the_largest_skew_there_can_be() -> None:
    """A reload may raise it, and what was forgotten by then would open again."""
    for skew in (0, 10, SKEW_SECONDS_MAX):
        admission = admit(ask(token=minter().token(claims(**ONCE))), gateway(skew=skew))
        assert admission.use
        assert admission.use.keep_until == NOW + 60 + SKEW_SECONDS_MAX


def test_the_second_form_of_an_ecdsa_signature_is_used_up_with_the_first() -> None:
    async def story() -> None:
        gate = gateway()
        token = minter("ES256").token(claims(**ONCE))
        first = await gate.admit(ask(token=token))
        assert first.use
        await gate.replay.claim(first.use, NOW)
        with refused("key_used"):
            await gate.admit(ask(token=second_form(token)))

    asyncio.run(story())


def test_a_window_needs_an_address_to_know_the_client_by() -> None:
    token = minter().token(claims(window=30, **ONCE))
    known = admit(ask(token=token, peer=plain_address("::ffff:192.0.2.1"))).use
    unknown = admit(ask(token=token)).use
    assert known
    assert unknown
    assert (known.source, known.window) == ("192.0.2.1", 30)
    assert unknown.window == 0


def test_profiles_make_keys_single_use_that_do_not_say_so() -> None:
    async def story() -> None:
        by = make_minter("HS256", "once", Profile(single_use=("write",)))
        gate = gateway(KeyRing([by.record]))
        token = by.token(claims(ops=["read", "write"]))
        put = await gate.admit(ask("PUT", token=token))
        assert put.use
        assert put.use.allowed == 1
        await gate.replay.claim(put.use, NOW)
        with refused("key_used"):
            await gate.admit(ask("PUT", token=token))
        assert (await gate.admit(ask(token=token))).use is None

    asyncio.run(story())


def test_a_window_of_the_key_stretches_no_use_that_its_profile_counts() -> None:
    here = plain_address("192.0.2.1")

    def window(profile: Profile, method: str = "GET", **more: Any) -> int:
        by = make_minter("HS256", "some", profile)
        token = by.token(claims(ops=["read", "write"], window=2**53, **ONCE | more))
        use = admit(ask(method, token=token, peer=here), gateway(KeyRing([by.record]))).use
        assert use
        return use.window

    assert window(Profile()) == 2**53
    assert window(Profile(uses=3)) == 0
    assert window(Profile(single_use=("write",)), "PUT") == 0
    assert window(Profile(single_use=("write",))) == 2**53


def test_when_a_key_can_first_have_been_used_is_known_by_its_date_or_by_ttl_max() -> None:
    """A log that had to be repaired believes keys that cannot be older."""

    def useful_from(profile: Profile, **more: Any) -> float | None:
        by = make_minter("HS256", "once", profile)
        use = admit(ask(token=by.token(claims(**more))), gateway(KeyRing([by.record]))).use
        assert use
        return use.issued_at

    assert useful_from(Profile(uses=1), iat=NOW - 5) == NOW - 5
    assert useful_from(Profile(uses=1)) is None
    assert useful_from(Profile(uses=1, ttl_seconds_max=100), exp=NOW + 60) == NOW - 40


def test_a_key_may_be_given_back_whatever_it_opens_by_whoever_may_hold_it() -> None:
    gate = gateway()
    release = "/_valet/release"
    for ops in (["read"], ["write"], ["list"]):
        _, grant = gate.holder(ask("POST", release, token=minter().token(claims(ops=ops))))
        assert grant.operations == set(ops)
    pasted = f"https://files.example/photos/cat.jpg?valet={minter().token(claims(sub='ann'))}"
    assert gate.holder(ask("POST", release), pasted)[1].subject == "ann"
    for more, code in (({"exp": NOW}, "key_expired"), ({"ip": "203.0.113.0/24"}, "source_not_allowed")):
        with refused(code):
            gate.holder(ask("POST", release, token=minter().token(claims(**more)), peer=plain_address("192.0.2.1")))
    with refused("signature_mismatch"):
        gate.holder(ask("POST", release), with_signature(minter().token(), bytes(32)))
    with refused("key_missing"):
        gate.holder(ask("POST", release))


def test_all_that_a_key_has_can_be_spent_at_once_where_all_of_it_is_limited() -> None:
    def whole(profile: Profile, **more: Any) -> int | None:
        by = make_minter("HS256", "some", profile)
        inbound = ask("POST", "/_valet/release", token=by.token(claims(**more)))
        use = whole_use(gateway(KeyRing([by.record])).holder(inbound)[1], inbound)
        return None if use is None else use.allowed

    assert whole(Profile()) is None
    assert whole(Profile(), **ONCE | {"uses": 3}) == 3
    assert whole(Profile(single_use=("write",)), ops=["write"]) == 1
    assert whole(Profile(single_use=("write",)), ops=["read", "write"]) is None


# Revocation, at the head of a request and before a publish


def test_a_revoked_key_is_refused_after_its_time_and_before_what_it_covers() -> None:
    gate = gateway()
    gate.revocations.add(Revocation("1a2000f0f33", "subject", "ann", created_at=NOW))
    for more, code in (({"exp": NOW}, "key_expired"), ({}, "key_revoked"), ({"path": "/other"}, "key_revoked")):
        with refused(code) as denied:
            admit(ask(token=minter().token(claims(sub="ann", **more))), gate)
    assert denied.evidence["revocation"] == "1a2000f0f33"
    admit(ask(token=minter().token(claims(sub="bob"))), gate)


def test_revocations_that_cannot_be_read_refuse_every_key() -> None:
    gate = gateway()
    gate.revocations.trouble = "the log is gone"
    with refused("revocation_unavailable"):
        admit(ask(token=minter().token()), gate)


def test_an_upload_that_was_revoked_while_it_ran_is_not_published() -> None:
    gate = gateway()
    admission = admit(ask("PUT", token=minter().token(claims(ops=["write"], sub="ann"))), gate)
    gate.recheck(admission, NOW)
    gate.revocations.add(Revocation("1a2000f0f33", "subject", "ann", created_at=NOW))
    with refused("key_revoked"):
        gate.recheck(admission, NOW)


def test_an_upload_that_outlived_its_signing_key_is_not_published() -> None:
    by = minter()
    gate = gateway(KeyRing([by.record]))
    admission = admit(ask("PUT", token=by.token(claims(ops=["write"]))), gate)
    gate.recheck(admission, NOW + 5)
    gate.keys = KeyRing([msgspec.structs.replace(by.record, retires_at=NOW + 10)])
    gate.recheck(admission, NOW + 9.9)
    with refused("key_revoked"):
        gate.recheck(admission, NOW + 10)
    gate.keys = KeyRing()
    with refused("key_revoked"):
        gate.recheck(admission, NOW)


# Budgets


def test_a_request_holds_its_transfer_until_it_leaves_and_a_refused_one_holds_none() -> None:
    async def story() -> None:
        gate = gateway()
        token = minter().token(claims(budget={"transfers": 1}, **ONCE | {"uses": 2}))
        first = await gate.admit(ask(token=token))
        with refused("rate_limited") as denied:
            await gate.admit(ask(token=token))
        assert denied.evidence["retry_after"] == 1
        gate.leave(first)
        with refused("path_not_allowed"):
            await gate.admit(ask(target="/photos/other", token=token))
        for _ in range(2):
            second = await gate.admit(ask(token=token))
            assert second.use
            await gate.replay.claim(second.use, NOW)
            gate.leave(second)
        for _ in range(3):  # a used key is refused, and what it entered with comes back
            with refused("key_used"):
                await gate.admit(ask(token=token))

    asyncio.run(story())


def test_an_address_whose_keys_fail_again_and_again_is_refused_and_no_other() -> None:
    gate = gateway()
    gate.budgets = BudgetBook(Budget(rate=1, burst=5))
    wrong = with_signature(minter().token(), bytes(32))
    here, there = plain_address("192.0.2.1"), plain_address("192.0.2.2")
    for token in (wrong, "x", wrong, "y.z", wrong):
        with perhaps_refused("signature_mismatch", "key_malformed"):
            admit(ask(token=token, peer=here), gate)
    with refused("rate_limited"):
        admit(ask(token=minter().token(), peer=here), gate)
    admit(ask(token=minter().token(), peer=there), gate)
    admit(ask(token=minter().token(), peer=here, now=NOW + 2), gate)


# What is told


def test_an_unknown_signing_key_and_a_wrong_signature_are_told_alike() -> None:
    token = minter().token()
    with refused("signature_mismatch") as wrong:
        admit(ask(token=with_signature(token, bytes(32))))
    with refused("signature_mismatch") as unknown:
        admit(ask(token=minter().token(kid="nobody")))
    assert (wrong.code, wrong.status, wrong.text) == (unknown.code, unknown.status, unknown.text)
    assert wrong.evidence["reason"] != unknown.evidence["reason"]


def test_a_refusal_carries_all_that_was_learned_for_the_audit() -> None:
    token = minter().token(claims(exp=NOW - 1, sub="ann", ctx={"order": 7}))
    with refused("key_expired") as denied:
        admit(ask(token=token))
    assert denied.evidence == {
        "dialect": "native",
        "operation": "read",
        "signing_key": "hs256",
        "subject": "ann",
        "ctx": {"order": 7},
        "key_identity": denied.evidence["key_identity"],
        "expired_at": NOW - 1,
    }
    with refused("signature_mismatch") as denied:
        admit(ask("PUT", token=with_signature(token, b"x")))
    assert {"dialect": "native", "operation": "write", "signing_key": "hs256"}.items() <= denied.evidence.items()
    with refused("object_key_invalid") as denied:
        admit(ask(target="/b/..", token=token))
    assert denied.evidence == {"dialect": "native"}


def secrets_of(by: Minter, token: str) -> list[str]:
    assert isinstance(by.material, bytes)
    return [token, *token.split(".")[1:], by.material.hex(), repr(by.material), by.record.secret or "-"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"exp": NOW},
        {"ops": ["write"]},
        {"path": "/x/y"},
        {"foo": 1},
        {"exp": "x"},
        {"ip": "192.0.2.1"},
        {"headers": {"x": "y"}},
    ],
)
def test_no_refusal_shows_a_key_or_a_secret(more: dict[str, Any]) -> None:
    by = minter()
    token = by.token(claims(**more))
    for text in (token, with_signature(token, bytes(32)), token + "=", by.token(claims(**more), kid="x")):
        try:
            admit(ask(token=text))
        except Denied as denied:
            shown = f"{denied!r} {denied} {denied.text} {denied.args} {json.dumps(denied.evidence, default=repr)}"
            for secret in secrets_of(by, text):
                assert secret not in shown


def test_every_refusal_has_a_status_and_one_short_sentence() -> None:
    for code, refusal in REFUSALS.items():
        assert 400 <= refusal.status < 600
        assert refusal.text.endswith(".")
        assert len(refusal.text) < 80
        assert Denied(code).text == refusal.text
        assert Denied(code, "More.").text == f"{refusal.text} More."


def test_evidence_found_further_out_does_not_replace_what_is_there() -> None:
    denied = Denied("key_used", a=1).because(a=2, b=3)
    assert denied.evidence == {"a": 1, "b": 3}


# --- what one request touches beside its own path -------------------------------------------------------


def admitted_to(*operations: str, prefix: str = "/b/u/1/", **more: Any) -> tuple[Gateway, Admission]:
    gate = gateway(**more)
    asked = claims(prefix=prefix, ops=list(operations))
    del asked["path"]
    return gate, admit(ask("GET", "/b/u/1/k", token=minter().token(asked)), gate)


def further(operation: Operation, path: str) -> Intent:
    return Intent(operation, path, ObjectKey.parse(path))


def test_what_a_request_touches_beside_its_path_is_judged_by_the_same_key() -> None:
    gate, admission = admitted_to("read", "delete")
    extended = gate.extend(admission, further("delete", "/b/u/1/other"))
    assert extended.key == ObjectKey("b", "u/1/other")
    assert extended.use is None
    with refused("path_not_allowed"):
        gate.extend(admission, further("read", "/b/u/10/k"))
    with refused("operation_not_allowed"):
        gate.extend(admission, further("write", "/b/u/1/k"))


def test_a_prefix_that_is_revoked_holds_for_what_is_touched_beside() -> None:
    gate, admission = admitted_to("read")
    gate.revocations.add(Revocation("1a2000f0f33", "prefix", "/b/u/1/secret/", created_at=NOW))
    gate.extend(admission, further("read", "/b/u/1/k"))
    with refused("key_revoked"):
        gate.extend(admission, further("read", "/b/u/1/secret/k"))


def foreign(operation: str, **more: Any) -> Grant:
    """What a dialect's key allows, of one operation."""
    told: dict[str, Any] = {"scheme": "s3", "signing_key": "web", "identity": bytes(16), "scopes": ()}
    return Grant(operations=frozenset({operation}), not_after=NOW + 60, **(told | more))


@pytest.mark.parametrize(
    ("scope", "path", "is_open"),
    [
        (Scope("/b/u/1/", is_prefix=True), "/b/", True),
        (Scope("/b/u/1/k"), "/b/", True),
        (Scope("/b/", is_prefix=True), "/b/", True),
        (Scope("/", is_prefix=True), "/b/", True),
        (Scope("/c/", is_prefix=True), "/b/", False),
        (Scope("/bb/", is_prefix=True), "/b/", False),
        (Scope("/b/u/1/", is_prefix=True), "/", True),
    ],
)
def test_a_place_is_open_to_a_key_that_opens_a_part_of_it(scope: Scope, path: str, is_open: bool) -> None:
    grant = foreign("list", scopes=((scope,),))
    whole = Intent("list", path, action="ListObjects")
    part = Intent("list", path, action="HeadBucket", partly=True)
    if is_open:
        enforce(grant, part, ask("GET", "/b/"))
    else:
        with refused("path_not_allowed"):
            enforce(grant, part, ask("GET", "/b/"))
    if scope.path not in ("/", "/b/"):
        with refused("path_not_allowed"):
            enforce(grant, whole, ask("GET", "/b/"))


def test_a_request_of_an_upload_uses_nothing_of_its_own() -> None:
    grant = foreign("write", uses=1, single_use=frozenset({"write"}))
    part = Intent("write", "/b/k", ObjectKey("b", "k"), upload="u1", action="UploadPart")
    whole = Intent("write", "/b/k", ObjectKey("b", "k"), action="PutObject")
    assert use_of(grant, part, ask("PUT", "/b/k")) is None
    assert use_of(grant, whole, ask("PUT", "/b/k"))


def test_a_part_has_no_type_and_no_least_length_and_may_not_be_too_large() -> None:
    grant = foreign("write", length_min=100, length_max=1000, types=(("image/*",),))
    key = ObjectKey("b", "k")
    enforce(grant, Intent("write", "/b/k", key, length=10, upload="u1"), ask("PUT", "/b/k"))
    with refused("too_large"):
        enforce(grant, Intent("write", "/b/k", key, length=1001, upload="u1"), ask("PUT", "/b/k"))
    with refused("too_small"):
        enforce(grant, Intent("write", "/b/k", key, length=10, content_type="image/png"), ask("PUT", "/b/k"))
    with refused("type_not_allowed"):
        enforce(grant, Intent("write", "/b/k", key, length=100), ask("PUT", "/b/k"))
