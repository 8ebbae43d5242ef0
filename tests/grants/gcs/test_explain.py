"""What is said of Google's keys, proven or not, and why a signature does not hold."""

import time

import pytest

from tests.grants.gcs.stranger import (
    EMAIL,
    ENDPOINT,
    HOST,
    RULES,
    admitted,
    arriving,
    hmac_url,
    parameters,
    policy_fields,
    posted,
    ring,
    signed,
    with_parameters,
)
from valetstore.grants.facts import Facts
from valetstore.grants.gcs import Rules, session
from valetstore.grants.gcs.explain import facts_of
from valetstore.grants.sigv4 import moment_of
from valetstore.inbound import Inbound
from valetstore.objectkey import ObjectKey


def facts(inbound: Inbound) -> Facts:
    """What is said of the key of a request."""
    found = facts_of(inbound, RULES, ring())
    assert found is not None
    return found


def test_a_url_says_who_signed_what_and_when() -> None:
    added = {"x-valet-uses": "2", "x-valet-ip": "203.0.113.0/24"}
    url = signed(query_parameters=dict(added), response_disposition="inline")
    found = facts(arriving("GET", url))
    issued = moment_of(parameters(url)["X-Goog-Date"])
    assert issued is not None
    assert (found.kind, found.signer, found.carrier) == ("signed URL (V4, service account)", EMAIL, "query")
    assert (found.method, found.signed_at, found.expires_at) == ("GET", issued, issued + 600)
    assert found.networks == ("203.0.113.0/24",)
    assert [(fact.name, fact.value) for fact in found.said] == [
        ("uses", "2"),
        ("response-content-disposition", "inline"),
    ]
    assert found.causes == ()
    assert parameters(url)["X-Goog-Signature"] not in repr(found)


def test_what_a_bare_url_needs_is_found_out() -> None:
    """As it is pasted: no method, no headers."""
    found = facts(arriving("GET", signed("PUT", content_type="image/jpeg")))
    assert (found.method, found.headers) == ("PUT", (("content-type", "image/jpeg"),))
    assert found.causes == (
        "It was signed for PUT, and asked for by GET.",
        "It was signed with the header content-type: image/jpeg, which did not come.",
    )
    for version in ("v4", "v2"):
        found = facts(arriving("GET", signed("RESUMABLE", version=version)))
        assert (found.method, found.headers) == ("POST", (("x-goog-resumable", "start"),))
    found = facts(arriving("GET", signed("PUT", version="v2", content_type="image/jpeg")))
    assert (found.kind, found.method) == ("signed URL (V2, service account)", "PUT")
    assert found.headers == (("content-type", "image/jpeg"),)


@pytest.mark.parametrize("version", ["v4", "v2"])
def test_a_wrong_method_is_named(version: str) -> None:
    assert facts(arriving("DELETE", signed("GET", version=version))).causes == (
        "It was signed for GET, and asked for by DELETE.",
    )


def test_a_wrong_host_is_named() -> None:
    url = signed(endpoint="http://storage.googleapis.com")
    found = facts(arriving("GET", url, {"Host": HOST}))
    assert found.causes == (f"It was signed for the host storage.googleapis.com, and asked for as {HOST}.",)


def test_an_added_parameter_is_named() -> None:
    assert facts(arriving("GET", signed() + "&utm_source=mail")).causes == (
        "The parameter utm_source was added after it was signed.",
    )


def test_an_added_header_is_named() -> None:
    inbound = arriving("PUT", signed("PUT", version="v2"), {"Content-Type": "image/png"})
    assert facts(inbound).causes == ("The header content-type came, and was not signed.",)


def test_an_unknown_signer_and_the_wrong_kind_are_named() -> None:
    url = signed().replace("signer%40", "nobody%40")
    assert facts(arriving("GET", url)).causes == ("No signing key here is nobody@valetstore.invalid's.",)
    url = with_parameters(hmac_url(), {"X-Goog-Algorithm": "GOOG4-RSA-SHA256"})
    (cause,) = facts(arriving("GET", url)).causes
    assert "is signed by RSA" in cause


def test_a_clock_that_is_ahead_is_named() -> None:
    inbound = arriving("DELETE", signed("GET"), now=time.time() - 3600)
    assert facts(inbound).causes[0] == "Its date is more than 15 minutes ahead of the clock here."


def test_a_forged_signature_is_not_explained_away() -> None:
    found = facts(arriving("GET", with_parameters(signed(), {"X-Goog-Signature": "ab" * 256})))
    assert (found.causes, found.method) == ((), "")
    assert found.computed.startswith("GET\n/photos/")


def test_a_form_says_its_conditions() -> None:
    found = facts(posted(policy_fields(conditions=[["content-length-range", 1, 9]], fields={"x-valet-uses": "3"})))
    assert (found.kind, found.signer, found.method) == ("POST policy (V4)", EMAIL, "POST")
    said = {(fact.name, fact.value) for fact in found.said}
    assert {("uses", "3"), ("condition", '["content-length-range", 1, 9]')} <= said


def test_a_session_says_what_it_makes() -> None:
    inbound = arriving("POST", signed("RESUMABLE"), {"x-goog-resumable": "start"})
    key, now = ObjectKey.of("photos", "a.bin"), time.time()
    text = session.seal(ring(), session.begun(admitted(inbound), key, "u", ring(), now=now, seconds=60))
    found = facts(arriving("PUT", f"{ENDPOINT}/photos/a.bin?upload_id={text}"))
    assert (found.kind, found.signer, found.expires_at) == ("resumable session", "account", int(now) + 60)
    assert found.said[0].value == "/photos/a.bin"
    assert found.causes == ()
    forged = text[:-2] + ("AA" if not text.endswith("AA") else "EE")
    assert facts(arriving("PUT", f"{ENDPOINT}/photos/a.bin?upload_id={forged}")).causes != ()


@pytest.mark.parametrize("query", ["", "X-Goog-Signature=x", "GoogleAccessId=x", "upload_id=x", "X-Amz-Signature=x"])
def test_what_cannot_be_read_is_left_to_who_refuses_it(query: str) -> None:
    assert facts_of(arriving("GET", f"{ENDPOINT}/b/k?{query}"), RULES, ring()) is None


def test_what_a_setting_refuses_is_named() -> None:
    """Nothing else is looked for: the same URL is refused however it is sent."""
    url = signed("GET", version="v2")
    found = facts_of(arriving("GET", url), Rules(v2=False), ring())
    assert found is not None
    assert found.causes == ("It was signed with version 2, which the gateway does not take (gcs.gcs-v2 = false).",)
