"""Our own signer: the same signatures as Swift's, and what it signs opens."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.grants.swift.stranger import (
    ACCOUNT,
    HASHES,
    KEY,
    LATER,
    arriving,
    form_fields,
    judged,
    posting,
    refusal,
    ring,
    signed,
)
from valetstore.grants.swift.sign import Key, form, temp_url

SIGNER = Key(ACCOUNT, KEY.encode())
BASE = "https://files.example.com/"


def target_of(method: str, path: str, **options: Any) -> str:
    """What a client sends for a URL signed by us."""
    url = temp_url(SIGNER, BASE, method, path, expires_at=LATER, **options)
    assert url.startswith("https://files.example.com/v1/")
    return url.removeprefix("https://files.example.com")


@pytest.mark.parametrize("hashed", HASHES)
@pytest.mark.parametrize("name", ["tom.jpg", "a b/grüße+?&#%41~.txt", "a//b", "a\nb"])
@pytest.mark.parametrize("ip_range", ["", "192.0.2.0/24"])
def test_it_signs_as_swiftclient_does(hashed: str, name: str, ip_range: str) -> None:
    path = f"/photos/{name}"
    ours = target_of("PUT", path, hashed=hashed, ip_range=ip_range)
    theirs = signed("PUT", f"/v1/{ACCOUNT}{path}", digest=hashed, ip_range=ip_range or None)
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)
    assert refusal(arriving("PUT", ours, peer="192.0.2.7")) == ""
    assert refusal(arriving("DELETE", ours, peer="192.0.2.7")) == "signature_mismatch"


@pytest.mark.parametrize("path", ["/photos/", "/photos/cats/", "/photos/a+b &?/"])
def test_a_prefix_is_the_end_of_its_urls_path(path: str) -> None:
    target = target_of("GET", path, prefix=True)
    where, _, query = target.partition("?")
    intent, _ = judged(arriving("GET", f"{where}new%20name?{query}"))
    assert intent.path == f"{path}new name"
    theirs = signed("GET", f"/v1/{ACCOUNT}{path}", prefix=True)
    assert parse_qs(query, keep_blank_values=True) == parse_qs(theirs.partition("?")[2], keep_blank_values=True)


def test_how_a_download_is_saved_goes_along_unsigned() -> None:
    target = target_of("GET", "/photos/x", filename="grüße & co.txt", inline=True)
    inbound = arriving("GET", target)
    assert refusal(inbound) == ""
    assert (inbound.parameter("filename"), inbound.parameter("inline")) == ("grüße & co.txt", "")


@pytest.mark.parametrize("hashed", HASHES)
def test_its_forms_are_signed_as_swifts_documentation_does(hashed: str) -> None:
    path, redirect = "/photos/a b/ü_", "https://example.com/done"
    options: dict[str, Any] = {"size_max": 1000, "count_max": 10, "redirect": redirect}
    made = form(SIGNER, BASE, path, expires_at=LATER, hashed=hashed, **options)
    assert made.url == f"https://files.example.com/v1/{ACCOUNT}/photos/a%20b/%C3%BC_"
    theirs = form_fields(f"/v1/{ACCOUNT}{path}", redirect=redirect, digest=hashed)
    assert made.fields.keys() == theirs.keys()
    if hashed != "sha512":
        assert made.fields == theirs
    keys = ring()
    ours, others = (judged(posting(fields, f"/v1/{ACCOUNT}{path}"), keys)[1] for fields in (made.fields, theirs))
    assert ours == others


def test_a_signer_never_shows_its_secret() -> None:
    assert KEY not in repr(SIGNER)
