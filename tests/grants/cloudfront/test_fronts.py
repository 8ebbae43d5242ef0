"""The scheme and the authority of a signed URL: by which the client may have asked."""

import pytest

from tests.grants.cloudfront.stranger import (
    HOST,
    NOW,
    URL,
    arriving,
    canned,
    custom,
    is_let_in,
    policy,
    refusal,
    url_with,
)
from valetstore.grants.cloudfront import Rules
from valetstore.inbound import Inbound

BASE = f"https://{HOST}"


def fits(resource: str, url: str, rules: Rules | None = None) -> bool:
    """Whether a signed policy for this resource opens this URL."""
    return is_let_in(arriving(url_with(url, custom(policy(resource)))), rules)


@pytest.mark.parametrize("host", [HOST, f"{HOST}:443"])
@pytest.mark.parametrize("asked", [HOST, f"{HOST}:443"])
def test_a_schemes_own_port_may_be_written_or_not(host: str, asked: str) -> None:
    signed = f"https://{host}/photos/cat.jpg"
    assert is_let_in(arriving(url_with(f"https://{asked}/photos/cat.jpg", canned(signed))))


@pytest.mark.parametrize(
    "signed",
    [f"http://{HOST}/photos/cat.jpg", f"https://{HOST}:80/photos/cat.jpg", "https://other/photos/cat.jpg"],
)
def test_no_other_scheme_port_or_host_is(signed: str) -> None:
    assert refusal(arriving(url_with(URL, canned(signed)))).code == "signature_mismatch"


def test_a_url_signed_for_the_public_one_holds_behind_a_proxy() -> None:
    """It may have made another Host and scheme of them; nothing else is taken for public."""
    public = Rules(public_url="https://files.example.com")
    for signed in ("https://files.example.com/photos/cat.jpg", "https://files.example.com:443/photos/cat.jpg"):
        inner = url_with("http://127.0.0.1:8420/photos/cat.jpg", canned(signed))
        assert is_let_in(arriving(inner), public)
        assert refusal(arriving(inner)).code == "signature_mismatch"
        assert fits(signed, "http://127.0.0.1:8420/photos/cat.jpg", public)
    other = url_with("http://127.0.0.1:8420/photos/cat.jpg", canned("http://files.example.com/photos/cat.jpg"))
    assert refusal(arriving(other), public).code == "signature_mismatch"


def test_an_ipv6_host_has_a_port_or_none() -> None:
    for signed, asked in (("[::1]", "[::1]:443"), ("[::1]:443", "[::1]"), ("[::1]:8443", "[::1]:8443")):
        assert is_let_in(arriving(url_with(f"https://{asked}/photos/a", canned(f"https://{signed}/photos/a"))))


def test_a_request_without_a_host_has_no_url() -> None:
    target = url_with(URL, canned()).removeprefix(BASE).encode()
    assert refusal(Inbound("GET", target, (), now=NOW, tls=True)).code == "signature_mismatch"
