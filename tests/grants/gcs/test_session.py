"""Resumable sessions: a token that the gateway has sealed opens the chunks of one object, and nobody else makes one."""

import string
import time
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.gcs.stranger import ENDPOINT, NAME, RULES, admitted, arriving, prove, records, refusal, ring, signed
from valetstore import pasted
from valetstore.config import RESUMABLE_SECONDS_MAX
from valetstore.encoding import b64url_decode, b64url_encode
from valetstore.errors import Denied
from valetstore.gateway import use_of, whole_use
from valetstore.grants.gcs import Gcs, session
from valetstore.grants.grant import Grant, Profile, Scope
from valetstore.inbound import Inbound
from valetstore.keys.ring import INTERNAL_NAME, KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.objectkey import ObjectKey
from valetstore.policy.bounds import bound, grant_end
from valetstore.policy.request import enforce
from valetstore.policy.revocation import Revocation, RevocationTable

KEY = ObjectKey.of("photos", NAME)
DAY = 86_400


def start(keys: KeyRing | None = None, **headers: str) -> tuple[Grant, Inbound]:
    """The request that begins a session, and its grant."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = named | {"x-goog-resumable": "start"}
    inbound = arriving("POST", signed("RESUMABLE", headers=dict(named)), sent)
    return admitted(inbound, keys), inbound


def token(keys: KeyRing | None = None, **more: Any) -> str:
    """The token of a session that has begun just now."""
    grant, inbound = start(keys)
    made = {"now": inbound.now, "seconds": DAY} | more
    keys = ring() if keys is None else keys
    return session.seal(keys, session.begun(grant, KEY, "upload-1", keys, **made))


def chunk(text: str, method: str = "PUT", path: str = f"/photos/{NAME}", **more: Any) -> Inbound:
    """A request to a session's URI."""
    headers = more.pop("headers", {"Content-Length": "5"})
    return arriving(method, chunk_url(text, path), headers, **more)


def chunk_url(text: str, path: str = f"/photos/{NAME}") -> str:
    """A session's URI."""
    return f"{ENDPOINT}{quote(path, safe='/')}?upload_id={text}"


# What a session is


def test_a_post_that_begins_one_is_signed_for_nothing_else() -> None:
    grant, inbound = start()
    assert Gcs().intent(inbound).action == "StartResumable"
    assert grant.operations == frozenset({"write"})
    url = signed("RESUMABLE")
    for method in ("GET", "PUT", "DELETE"):
        assert refusal(arriving(method, url)).code == "signature_mismatch"
    for sent in ({}, {"x-goog-resumable": "stop"}):
        assert refusal(arriving("POST", url, sent)).code == "parameter_invalid"
    # A URL for PUT begins none.
    assert refusal(arriving("POST", signed("PUT"), {"x-goog-resumable": "start"})).code == "signature_mismatch"
    assert refusal(arriving("PUT", signed("PUT"), {"x-goog-resumable": "start"})).code == "not_implemented"


def test_its_uri_opens_the_chunks_of_one_object() -> None:
    text = token()
    inbound = chunk(text)
    grant, intent = admitted(inbound), Gcs().intent(inbound)
    assert (intent.action, intent.upload, intent.length) == ("PutChunk", "upload-1", 5)
    assert (grant.scopes[0], grant.operations) == ((Scope(KEY.path),), frozenset({"write"}))
    assert Gcs().intent(chunk(text, "DELETE")).action == "CancelResumable"
    admitted(chunk(text, "DELETE"))
    assert text.isascii()
    assert quote(text, safe="") == text


def test_it_is_of_the_key_that_began_it() -> None:
    """So whoever revokes that ends the session, and its use is that of the session."""
    keys = ring(Profile(single_use=("write",)))
    begun, _ = start(keys)
    inbound = chunk(session.seal(keys, session.begun(begun, KEY, "u", keys, now=time.time(), seconds=DAY)))
    grant = admitted(inbound, keys)
    assert (grant.identity, grant.signing_key, grant.issued_at) == (begun.identity, "account", begun.issued_at)
    assert use_of(grant, Gcs().intent(inbound), inbound) is None


def test_it_opens_no_other_object_and_does_nothing_else() -> None:
    text = token()
    assert refusal(chunk(text, path="/photos/other")).code == "path_not_allowed"
    assert refusal(chunk(text, path=f"/other/{NAME}")).code == "path_not_allowed"
    for method in ("GET", "HEAD", "POST"):
        assert refusal(chunk(text, method)).code == "not_implemented"


def test_it_outlives_the_end_of_the_key_and_has_one_of_its_own() -> None:
    now = int(time.time())
    text = token(now=now, seconds=DAY)
    admitted(chunk(text, now=now + DAY - 1))
    denied = refusal(chunk(text, now=now + DAY))
    assert (denied.code, denied.said and denied.said.status) == ("key_expired", 410)


def test_a_profile_that_keeps_keys_short_does_not_end_it() -> None:
    keys = ring(Profile(ttl_seconds_max=3600))
    admitted(chunk(token(keys), now=time.time() + 2 * 3600), keys)


def test_what_its_key_narrowed_is_sealed_in() -> None:
    begun, _ = start(x_goog_content_length_range="5,10", x_goog_if_generation_match="0")
    made = session.begun(begun, KEY, "u", ring(), now=time.time(), seconds=DAY, content_type="image/png")
    text = session.seal(ring(), made)
    grant = admitted(chunk(text))
    assert (grant.length_min, grant.length_max, grant.create_only) == (5, 10, True)
    assert session.opened(text, ring()) == made
    assert (made.content_type, made.key) == ("image/png", KEY)
    # A chunk may be smaller than the whole has to be, and never larger.
    admitted(chunk(text, headers={"Content-Length": "1"}))
    assert refusal(chunk(text, headers={"Content-Length": "11"})).code == "too_large"


def test_networks_hold_for_each_chunk() -> None:
    url = signed("RESUMABLE", query_parameters={"x-valet-ip": "203.0.113.0/24"})
    inbound = arriving("POST", url, {"x-goog-resumable": "start"}, peer=ip_address("203.0.113.9"))
    grant = admitted(inbound)
    text = session.seal(ring(), session.begun(grant, KEY, "u", ring(), now=time.time(), seconds=DAY))
    admitted(chunk(text, peer=ip_address("203.0.113.10")))
    assert refusal(chunk(text, peer=ip_address("198.51.100.1"))).code == "source_not_allowed"


def test_the_signing_keys_profile_holds_for_each_chunk() -> None:
    text = token()
    assert refusal(chunk(text), ring_like(Profile(operations=("read",)))).code == "operation_not_allowed"
    assert refusal(chunk(text), ring_like(Profile(https=True))).code == "https_required"


def ring_like(profile: Profile) -> KeyRing:
    """The tests' ring with the same signing keys, whose profile is another."""
    found = records(Profile())
    return KeyRing([*(msgspec.structs.replace(one, profile=profile) for one in found[:2]), found[2]])


# Revocation


def test_revoking_the_key_ends_it_also_after_the_keys_own_end() -> None:
    begun, _ = start()
    text = token()
    later = begun.not_after + 7200
    inbound = chunk(text, now=later)
    table = RevocationTable()
    grant = prove(inbound).grant
    begun_by = session.opened(text, ring()).identity
    table.add(Revocation("00000000001", "key", begun_by, expires_at=grant_end(begun)))
    with pytest.raises(Denied) as caught:
        enforce(grant, Gcs(RULES).intent(inbound), inbound, table)
    assert caught.value.code == "key_revoked"


def test_the_url_that_begins_one_can_be_pasted_to_revoke_it() -> None:
    for version in ("v4", "v2"):
        url = signed("RESUMABLE", version=version)
        grant = pasted.prove(url, [Gcs(RULES)], ring(), time.time()).grant
        assert grant.identity == admitted(arriving("POST", url, {"x-goog-resumable": "start"})).identity
        assert grant_end(grant) > grant.not_after + RULES.resumable_seconds
    # What begins nothing ends when it ends.
    grant = pasted.prove(signed("PUT"), [Gcs(RULES)], ring(), time.time()).grant
    assert grant_end(grant) < grant.not_after + DAY
    assert pasted.prove(chunk_url(token()), [Gcs(RULES)], ring(), time.time()).grant.signing_key == "account"


@pytest.mark.parametrize("version", ["v4", "v2"])
def test_a_session_that_is_pasted_revokes_its_key_and_all_that_this_one_begins(version: str) -> None:
    inbound = arriving("POST", signed("RESUMABLE", version=version), {"x-goog-resumable": "start"})
    grant = admitted(inbound)
    # It ends long before the key does, and that one may begin others until its own end.
    text = session.seal(ring(), session.begun(grant, KEY, "upload-1", ring(), now=inbound.now, seconds=60))
    found = pasted.prove(chunk_url(text), [Gcs(RULES)], ring(), inbound.now).grant
    assert found.identity == grant.identity
    assert found.not_after < grant.not_after
    assert grant_end(found) >= grant_end(grant)
    # Given back, it is remembered as long.
    once = msgspec.structs.replace(found, uses=1)
    use = whole_use(once, chunk(text))
    assert use is not None
    assert use.keep_until >= grant_end(grant)


def test_a_revocation_by_date_is_kept_as_long_as_sessions_may_go_on() -> None:
    keys = ring(Profile(ttl_seconds_max=3600))
    entry = Revocation("00000000001", "signing-key", "account", issued_before=1000.0, created_at=1000.0)
    assert (bound(entry, keys) or 0) >= 1000 + 3600 + RESUMABLE_SECONDS_MAX


def test_revoking_or_retiring_the_signing_key_ends_it() -> None:
    text = token()
    assert refusal(chunk(text), ring(retires_at=int(time.time()) - 1)).code == "key_revoked"
    gone = KeyRing(records(Profile())[1:])
    assert refusal(chunk(text), gone).code == "key_revoked"
    # A new signing key under the old name is another.
    again = [msgspec.structs.replace(one, id=f"{number:032x}") for number, one in enumerate(records(Profile())[:2])]
    assert refusal(chunk(text), KeyRing([*again, records(Profile())[2]])).code == "key_revoked"


# Forgery


def test_a_session_of_another_gateway_is_none() -> None:
    own = record_of(INTERNAL_NAME, "HS256", Profile(operations=("admin",)), secret=bytes(32))
    elsewhere = KeyRing([*records(Profile())[:2], own])
    denied = refusal(chunk(token(elsewhere)))
    assert (denied.code, denied.said and denied.said.status) == ("signature_mismatch", 403)
    assert refusal(chunk(token()), elsewhere).code == "signature_mismatch"


def test_without_a_key_of_its_own_a_gateway_has_no_sessions() -> None:
    bare = KeyRing(records(Profile())[:2])
    with pytest.raises(Denied) as caught:
        token(bare)
    assert caught.value.code == "not_implemented"
    assert refusal(chunk(token()), bare).code == "signature_mismatch"


def test_a_changed_or_shortened_token_is_none() -> None:
    text = token()
    version, data, seal = text.split(".")
    wider = msgspec.json.decode(b64url_decode(data.encode()))
    wider[2] = "other"
    forged = b64url_encode(msgspec.json.encode(wider)).decode()
    unsealed = b64url_encode(bytes(32)).decode()
    for other in (
        f"{version}.{forged}.{seal}",
        f"{version}.{data}.{unsealed}",
        f"valet2.{data}.{seal}",
        f"{version}.{data}",
        f"{text}.",
        f"{text}=",
        text[:-1],
        "",
        "x" * 7000,
        *(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(7, len(text), 7)),
    ):
        assert refusal(chunk(other)).code == "signature_mismatch", other


def test_a_token_has_one_spelling() -> None:
    """The last character of 32 bytes holds two bits that count for nothing."""
    text = token()
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = letters[letters.index(text[-1]) ^ 1]
    assert refusal(chunk(text[:-1] + last)).code == "signature_mismatch"


@settings(max_examples=50)
@given(st.text(max_size=60) | st.from_regex(r"valet1\.[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{43}", fullmatch=True))
def test_no_text_but_a_sealed_one_is_a_session(text: str) -> None:
    with pytest.raises(Denied) as caught:
        session.opened(text, ring())
    assert caught.value.code == "signature_mismatch"


def test_a_token_is_given_once_and_alone() -> None:
    text = token()
    assert refusal(chunk(f"{text}&upload_id={text}")).code == "key_malformed"
    url = signed("PUT", query_parameters={"upload_id": text})
    found = Gcs().recognises(arriving("PUT", url))
    assert [credential.text for credential in found] == ["v4"]
    assert refusal(arriving("PUT", url)).code == "operation_not_allowed"


def test_the_longest_name_and_many_conditions_fit_into_a_url() -> None:
    key = ObjectKey.of("b" * 63, "\u00fc" * 512)
    grant, _ = start()
    text = session.seal(ring(), session.begun(grant, key, "u" * 64, ring(), now=time.time(), seconds=DAY))
    assert len(text) < 3000
