"""What a SAS says in words, and why it does not hold: each cause that can be found out."""

import base64

import pytest

from tests.grants.azure.stranger import (
    ACCOUNT,
    BASE,
    END,
    NOW,
    account_key,
    account_url,
    arriving,
    blob_url,
    by_hand,
    container_url,
    mac,
    parameters,
    query_of,
    ring,
    secret,
    url_by_hand,
    with_parameters,
)
from valetstore.grants.azure.explain import facts_of
from valetstore.grants.azure.rules import Rules
from valetstore.grants.facts import Facts


def facts(url: str, method: str = "GET") -> Facts:
    found = facts_of(arriving(method, url), Rules(), ring())
    assert found is not None
    return found


def words(url: str) -> dict[str, str]:
    return {fact.name: fact.words for fact in facts(url).said}


def test_what_a_service_sas_says() -> None:
    url = blob_url(
        "a/b",
        "rcw",
        start="2027-01-15T08:00:00Z",
        ip="192.0.2.0-192.0.2.255",
        protocol="https",
        content_disposition="inline",
    )
    found = facts(url)
    assert (found.kind, found.signer, found.carrier, found.method) == ("service SAS", ACCOUNT, "query", "")
    assert (found.starts_at, found.expires_at, found.signed_at) == (NOW, NOW + 3600, None)
    assert found.networks == ("192.0.2.0/24",)
    assert (found.computed, found.causes, found.headers) == ("", (), ())
    said = words(url)
    assert said["sp"] == "permissions: read, create, write"
    assert said["sr"] == "resource: one blob"
    assert said["spr"] == "protocols: HTTPS only"
    assert said["rscd"] == "content-disposition: inline"
    assert said["sv"].startswith("version of the service: 20")


def test_what_other_kinds_say() -> None:
    said = words(account_url(permission="rwdlacup"))
    assert said["sp"].endswith("update, process")
    assert (said["ss"], said["srt"]) == ("services: blobs", "resource types: the service, containers, objects")
    assert facts(account_url()).kind == "account SAS"
    assert words(container_url())["sr"] == "resource: all blobs of one container"
    directory = f"{BASE}/photos/a/b?" + by_hand({"sp": "r", "se": END, "sr": "d", "sdd": "1"}, "/photos/a")
    assert words(directory)["sdd"] == "directory depth: 1"
    assert facts(blob_url() + "&skoid=x").kind == "user delegation SAS"


def test_what_cannot_be_read_is_left_out() -> None:
    found = facts(f"{BASE}/photos/x?sig=x&sp=rZ&se=tomorrow&sip=here&sr=q")
    assert (found.expires_at, found.networks) == (None, ())
    assert {fact.name: fact.words for fact in found.said}["sp"] == "permissions: read, unknown 'Z'"
    assert (found.computed, found.causes) == ("", ())


def test_no_facts_without_a_sas() -> None:
    assert facts_of(arriving("GET", f"{BASE}/photos/x?sp=r"), Rules(), ring()) is None


def test_neither_a_signature_nor_a_secret_is_told() -> None:
    for url in (blob_url(), with_parameters(blob_url(), sp="rw"), account_url(permission="w")):
        shown = repr(facts(url))
        assert parameters(url)["sig"] not in shown
        assert account_key() not in shown


def test_the_string_to_sign_is_shown_where_it_does_not_hold() -> None:
    found = facts(with_parameters(blob_url(), sp="rw"))
    assert found.computed.startswith("rw\n\n2027-01-15T09:00:00Z\n/blob/valetaccount/photos/cat.jpg\n")
    assert found.causes == ()


def signed_as_text() -> str:
    query = by_hand({"sp": "r", "se": END, "sr": "b"}, key=base64.b64encode(secret()))
    return f"{BASE}/photos/cat.jpg?{query}"


def without_service_name() -> str:
    text = f"r\n\n{END}\n/{ACCOUNT}/photos/cat.jpg\n\n\n\n2022-11-02\nb\n\n\n\n\n\n\n"
    values = {"sv": "2022-11-02", "sp": "r", "se": END, "sr": "b", "sig": mac(text)}
    return f"{BASE}/photos/cat.jpg?{query_of(values)}"


def laid_out_as_older() -> str:
    text = f"r\n\n{END}\n/blob/{ACCOUNT}/photos/cat.jpg\n\n\n\n2022-11-02\nb\n\n\n\n\n\n"
    values = {"sv": "2022-11-02", "sp": "r", "se": END, "sr": "b", "sig": mac(text)}
    return f"{BASE}/photos/cat.jpg?{query_of(values)}"


def without_last_line_feed() -> str:
    text = f"{ACCOUNT}\nr\nb\nsco\n\n{END}\n\n\n2022-11-02\n"
    values = {"sv": "2022-11-02", "sp": "r", "se": END, "ss": "b", "srt": "sco", "sig": mac(text)}
    return f"{BASE}/photos/cat.jpg?{query_of(values)}"


def with_a_plus() -> str:
    return next(url for url in map(url_by_hand, map(str, range(200))) if "+" in parameters(url)["sig"])


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (blob_url().replace(f"/{ACCOUNT}/", "/otheraccount/"), "It was signed for the account valetaccount"),
        (blob_url().replace(f"/{ACCOUNT}/", "/nobody/"), "It was signed for the account valetaccount"),
        (blob_url().replace(f"/{ACCOUNT}/", "/"), "The path lacks its account: it is /valetaccount/photos/cat.jpg"),
        (account_url().replace(f"/{ACCOUNT}/", "/otheraccount/"), "It was signed for the account valetaccount"),
        (blob_url("a b").replace("a%20b", "a%2520b"), "The blob's name is percent-encoded once more"),
        (url_by_hand("a%20b").replace("a%2520b", "a%20b"), "The blob's name was signed percent-encoded"),
        (url_by_hand("/cat.jpg").replace("photos//", "photos/"), "The blob's name was signed with a slash before it"),
        (blob_url().replace("photos/", "photos//"), "The blob's name begins with a slash that was not signed"),
        (blob_url().replace("cat.jpg?", "cat.jpg/?"), "The blob's name ends with a slash that was not signed"),
        (with_parameters(container_url(), sr="b"), "It was signed as sr=c (all blobs of one container)"),
        (with_parameters(blob_url(), sr="c"), "It was signed as sr=b (one blob)"),
        (with_parameters(url_by_hand("a/b/c"), sr="d", sdd="1"), "It was signed as sr=b (one blob)"),
        (
            f"{BASE}/photos/a/b/c?" + by_hand({"sp": "r", "se": END, "sr": "d", "sdd": "1"}, "/photos/a/b"),
            "It was signed for the directory 'a/b/': sdd is 2",
        ),
        (blob_url() + "&rscd=inline", "rscd was not signed: it was added to the URL later"),
        (blob_url() + "&sip=192.0.2.1", "sip was not signed"),
        (account_url() + "&st=2027-01-01", "st was not signed"),
        (laid_out_as_older(), "Its string to sign is that of version 2018-11-09; sv=2022-11-02 signs another"),
        (signed_as_text(), "It was signed with the account key's text: decode that from base64 first"),
        (without_service_name(), "Its canonical resource was signed without /blob before the account"),
        (without_last_line_feed(), "Its string to sign lacks the line feed at its end"),
        (
            with_parameters(with_a_plus(), sig=parameters(with_a_plus())["sig"].replace("+", " ")),
            "sig has a space where it had a plus",
        ),
        (with_parameters(blob_url(), sig=parameters(blob_url())["sig"].replace("=", "%3D")), "sig is percent-encoded"),
        (
            f"{BASE}x/photos/x?{blob_url(account_key='AAAA').partition('?')[2]}",
            "There is no signing key for the account",
        ),
    ],
)
def test_the_cause_is_found(url: str, cause: str) -> None:
    found = facts(url)
    assert len(found.causes) == 1, found.causes
    assert found.causes[0].startswith(cause)
    assert found.causes[0].endswith(".")
