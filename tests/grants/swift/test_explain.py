"""What is found out about a key of Swift's that does not open: the mistakes that people make, named."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.grants.swift.stranger import ACCOUNT, KEY, LATER, PATH, RULES, arriving, form_fields, posting, ring, signed
from valetstore.grants.facts import Facts
from valetstore.grants.swift import Rules
from valetstore.grants.swift.explain import facts_of
from valetstore.grants.swift.signature import mac_of
from valetstore.inbound import Inbound


def explained(inbound: Inbound, **more: Any) -> Facts:
    """The facts; there are some, and no secret is among them."""
    facts = facts_of(inbound, more.get("rules", RULES), more.get("keys") or ring())
    assert facts is not None
    assert KEY not in str(facts)
    return facts


def by_hand(text: str, path: str = PATH, **more: str) -> Inbound:
    """A TempURL over any text at all."""
    query = f"temp_url_sig={mac_of(KEY.encode(), text.encode(), 'sha256').hex()}&temp_url_expires={LATER}"
    query += "".join(f"&{name}={quote(value)}" for name, value in more.items())
    return arriving("GET", f"{quote(path)}?{query}")


def test_a_url_that_holds_says_what_it_is() -> None:
    facts = explained(arriving("GET", signed(ip_range="192.0.2.0/24") + "&filename=x"))
    assert (facts.kind, facts.signer, facts.carrier, facts.method) == ("TempURL", ACCOUNT, "query", "GET")
    assert (facts.expires_at, facts.networks, facts.causes) == (LATER, ("192.0.2.0/24",), ())
    assert facts.computed == f"ip=192.0.2.0/24\nGET\n{LATER}\n{PATH}"
    assert [fact.name for fact in facts.said] == ["hash", "filename"]


def test_a_prefix_is_told() -> None:
    facts = explained(arriving("GET", signed(path=f"/v1/{ACCOUNT}/photos/cats/", prefix=True).replace("?", "x?", 1)))
    assert ("prefix", "/photos/cats/") in [(fact.name, fact.value) for fact in facts.said]
    assert facts.causes == ()


@pytest.mark.parametrize(
    ("inbound", "cause"),
    [
        (arriving("GET", signed("PUT")), "signed for PUT, not for GET"),
        (arriving("PUT", signed("HEAD")), "signed for HEAD, not for PUT"),
        (by_hand(f"GET\n{LATER}\n/photos/cats/tom.jpg"), "without /v1/AUTH_test"),
        (by_hand(f"GET\n{LATER}\n/v1/{ACCOUNT}/photos/a%20b", f"/v1/{ACCOUNT}/photos/a b"), "percent-encoded"),
        (by_hand(f"GET\n{LATER}\n{PATH}/"), "slash at its end"),
        (by_hand(f"GET\n{LATER}\n{PATH}", temp_url_prefix="cats/"), "this one object, not for a prefix"),
        (by_hand(f"GET\n{LATER}\nprefix:/v1/{ACCOUNT}/photos/cats/"), "add temp_url_prefix"),
        (by_hand(f"GET\n{LATER}\nprefix:/v1/{ACCOUNT}/photos/", temp_url_prefix="cats/"), "not 'cats/'"),
        (by_hand("x", temp_url_prefix="dogs/"), "does not begin with the prefix 'dogs/'"),
        (by_hand(f"GET\n{LATER}\n{PATH}", temp_url_ip_range="192.0.2.0/24"), "without its temp_url_ip_range"),
        (arriving("GET", signed(path=PATH.replace(ACCOUNT, "AUTH_x"))), "for the account AUTH_x; there are: AUTH_test"),
        (by_hand(f"GET\n{LATER}\n{PATH}".replace(ACCOUNT, "A"), PATH.replace(ACCOUNT, "A")), "the account AUTH_test"),
    ],
)
def test_the_usual_mistakes_are_named(inbound: Inbound, cause: str) -> None:
    causes = explained(inbound).causes
    assert any(cause in said for said in causes), causes


def test_a_date_that_was_signed_as_written_is_named() -> None:
    written = "2030-01-15T08:00:00Z"
    mac = mac_of(KEY.encode(), f"GET\n{written}\n{PATH}".encode(), "sha256").hex()
    facts = explained(arriving("GET", f"{PATH}?temp_url_sig={mac}&temp_url_expires={written}"))
    assert "Swift signs seconds" in facts.causes[0]


def test_sha1_is_named_where_it_is_not_taken() -> None:
    facts = explained(arriving("GET", signed(digest="sha1")), rules=Rules(sha1=False))
    assert "swift.tempurl-sha1" in facts.causes[0]


def test_what_cannot_be_found_out_is_left_open() -> None:
    assert explained(arriving("GET", signed(key="another"))).causes == ()
    for query in (
        "temp_url_sig=x",
        "temp_url_expires=x",
        "temp_url_sig=&temp_url_expires=",
        "temp_url_sig=a&temp_url_sig=b",
    ):
        assert explained(arriving("GET", f"{PATH}?{query}")).causes == ()
    assert explained(arriving("GET", "/else/where?temp_url_sig=x")).signer == ""
    assert facts_of(arriving("GET", PATH), RULES, ring()) is None
    assert facts_of(arriving("GET", "/v1/%ff/x?temp_url_sig=x&temp_url_expires=1"), RULES, ring()) is not None


@pytest.mark.parametrize(
    ("inbound", "cause"),
    [
        (posting(form_fields(f"/v1/{ACCOUNT}/photos/cats")), "without its last slash"),
        (posting(form_fields("/photos/cats/")), "without /v1/AUTH_test"),
        (posting(form_fields() | {"redirect": "https://example.com/"}), "without its redirect"),
        (posting(form_fields("/v1/A/photos/"), "/v1/A/photos/"), "No signing key is for the account A"),
    ],
)
def test_the_usual_mistakes_with_forms_are_named(inbound: Inbound, cause: str) -> None:
    causes = explained(inbound).causes
    assert any(cause in said for said in causes), causes


def test_a_form_that_holds_says_what_it_is() -> None:
    facts = explained(posting(form_fields(redirect="https://example.com/")))
    assert (facts.kind, facts.carrier, facts.method, facts.causes) == ("FormPost", "form", "POST", ())
    assert {fact.name for fact in facts.said} == {"hash", "max_file_size", "max_file_count", "redirect", "prefix"}
    assert facts.expires_at == LATER
