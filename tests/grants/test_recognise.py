"""Exactly one key opens a request; where two parties could take different ones, none does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.grants.held_keys import held, schemes
from tests.minting import NOW, refused
from valetstore.errors import Denied
from valetstore.grants.native import Native
from valetstore.grants.recognise import recognise
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound

SCHEMES = (Native(),)


def recognised(*lines: str, method: str = "GET", query: str = "") -> Credential:
    """Of a request with these header lines."""
    headers = tuple(
        (name.encode(), value.strip().encode()) for name, _, value in (line.partition(":") for line in lines)
    )
    return recognise(Inbound(method, b"/b/k" + query.encode(), headers, now=NOW), SCHEMES)


@pytest.mark.parametrize(
    ("lines", "query", "carrier", "text"),
    [
        ((), "?valet=t", "query", "t"),
        ((), "?%76alet=t", "query", "t"),
        ((), "?a=1&valet=t%2Et&b", "query", "t.t"),
        ((), "?valet", "query", ""),
        (("authorization: Bearer t",), "", "header", "t"),
        (("Authorization: bearer  t",), "", "header", "t"),
        (("Authorization: BEARER t",), "?Valet=other", "header", "t"),
        (("Authorization: Bearer",), "", "header", ""),
        (("cookie: valet=t",), "", "cookie", "t"),
        (("cookie: a=b; valet=t; Valet=u",), "", "cookie", "t"),
        # An explicit key wins over a cookie, which a browser adds by itself.
        (("cookie: valet=c",), "?valet=t", "query", "t"),
        (("cookie: valet=c", "authorization: Bearer t"), "", "header", "t"),
        (("cookie: valet=c; valet=d",), "?valet=t", "query", "t"),
        (("cookie: valet=c",), "?valet=", "query", ""),
    ],
)
def test_one_key_is_found(lines: tuple[str, ...], query: str, carrier: str, text: str) -> None:
    found = recognised(*lines, query=query)
    assert (found.carrier, found.text, found.scheme) == (carrier, text, SCHEMES[0])


@pytest.mark.parametrize(
    ("lines", "query"),
    [
        ((), "?valet=t&valet=t"),
        ((), "?valet=t&valet=u"),
        ((), "?valet=t&valet="),
        ((), "?valet=t&%76alet=u"),
        ((), "?v%61let=t&%56=1&val%65t=t"),
        (("authorization: Bearer t",), "?valet=t"),
        (("authorization: Basic YTpi",), "?valet=t"),
        (("authorization: AWS4-HMAC-SHA256 Credential=x",), "?valet=t"),
        (("authorization:",), "?valet=t"),
        (("authorization: Bearer t", "authorization: Bearer t"), ""),
        (("authorization: Bearer t", "Authorization: Basic YTpi"), ""),
        (("authorization: Basic YTpi", "authorization: Basic YTpi"), ""),
        (("cookie: valet=c; valet=d",), ""),
        (("cookie: valet=c", "cookie: valet=c"), ""),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_two_keys_are_refused(lines: tuple[str, ...], query: str, method: str) -> None:
    with refused("key_ambiguous"):
        recognised(*lines, query=query, method=method)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "OPTIONS", "get"])
def test_a_cookie_opens_only_get_and_head(method: str) -> None:
    with refused("key_missing", "cookie"):
        recognised("cookie: valet=c", method=method)
    assert recognised("cookie: valet=c", method="HEAD").carrier == "cookie"


@pytest.mark.parametrize("line", ["a: b", "cookie: Valet=c", "cookie: valet", "x-authorization: Bearer t", "cookie:"])
def test_no_key_is_missing(line: str) -> None:
    with refused("key_missing"):
        recognised(line, query="?VALET=t&valets=t")


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer\tt", "Bearert", "Digest x", "", "t.t.t"])
def test_an_authorization_of_another_kind_is_no_key(value: str) -> None:
    """Nor does it leave the word to a cookie."""
    for more in ((), ("cookie: valet=c",)):
        with refused("key_malformed", "Authorization"):
            recognised(f"authorization: {value}", *more)


def test_two_keys_in_one_authorization_are_no_key() -> None:
    assert recognised("authorization: Bearer t, Bearer u").text == "t, Bearer u"


# Every dialect at once

NAMES = [
    *sorted({name for scheme in schemes() for name in scheme.marks}),
    *("AWSAccessKeyId", "Expires", "GoogleAccessId", "Key-Pair-Id", "Policy", "Signature", "VALET", "X-Amz-Credential"),
    *("X-Goog-Signature", "SIG", "se", "sp", "sr", "ss", "sv", "list", "prefix", "t%65mp_url_sig", "s%69g", "a"),
]


@given(st.lists(st.sampled_from(NAMES), max_size=5))
def test_a_query_without_a_dialects_marks_holds_no_key_of_it(names: list[str]) -> None:
    """So nobody has to be asked: what all say together is what those say whose marks are there."""
    query = "&".join(f"{name}=x" for name in names)
    inbound = Inbound("GET", f"/b/k?{query}".encode(), (), now=NOW)
    asked = [scheme for scheme in schemes() if scheme.recognises(inbound)]
    assert all(not scheme.marks.isdisjoint(inbound.names) for scheme in asked)
    every = [credential for scheme in asked for credential in scheme.recognises(inbound)]
    try:
        assert [recognise(inbound, schemes())] == every
    except Denied as denied:
        code = "key_ambiguous" if every else "key_missing"
        assert (denied.code, len(every) == 1) == (code, False)  # noqa: PT017 - one of three outcomes


@pytest.mark.parametrize("kind", list(held()))
@pytest.mark.parametrize("more", [(b"Cookie", b"a=b"), (b"User-Agent", b"valet")])
def test_a_header_that_holds_no_key_changes_nothing(kind: str, more: tuple[bytes, bytes]) -> None:
    base = held()[kind]
    with_it = base._replace(headers=(*base.headers, more)).inbound
    assert recognise(with_it, schemes()) == recognise(base.inbound, schemes())
