"""Keys of CloudFront that are wrong, in CloudFront's own words; and whose key it is, where several could be meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.grants.cloudfront.stranger import (
    EC_ID,
    HOST,
    NOW,
    RSA_ID,
    URL,
    arriving,
    as_cookies,
    canned,
    custom,
    encoded,
    is_let_in,
    judge,
    pem_of,
    policy,
    refusal,
    rsa_key,
    url_with,
)
from valetstore.errors import Denied
from valetstore.grants.cloudfront import CloudFront
from valetstore.grants.gcs import Gcs
from valetstore.grants.native import Native
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import S3
from valetstore.inbound import Inbound


def said(denied: Denied) -> tuple[str, str, int]:
    """CloudFront's code, sentence and status."""
    assert denied.said is not None
    return denied.said.code, denied.said.message, denied.said.status


# Faults


def missing(name: str) -> tuple[str, str, int]:
    """What is said of a key that lacks this."""
    return "MissingKey", f"Missing {name} query parameter or cookie value", 403


@pytest.mark.parametrize("cookies", [False, True])
@pytest.mark.parametrize(
    ("change", "code", "expected"),
    [
        ({"Key-Pair-Id": ""}, "key_malformed", missing("Key-Pair-Id")),
        ({"Signature": ""}, "key_malformed", missing("Signature")),
        ({"Policy": None}, "key_malformed", missing("Expires")),
        ({"Key-Pair-Id": "KNOBODY"}, "signature_mismatch", ("InvalidKey", "Unknown Key", 403)),
        ({"Signature": "!"}, "key_malformed", ("MalformedSignature", "Could not unencode Signature", 403)),
        ({"Policy": "!"}, "key_malformed", ("MalformedPolicy", "Could not unencode Policy", 403)),
        ({"Policy": "e30_"}, "key_malformed", ("MalformedPolicy", "Malformed Policy", 403)),
        (
            {"Hash-Algorithm": "MD5"},
            "key_malformed",
            ("MalformedSignature", "Hash-Algorithm must be one of SHA1, SHA256.", 403),
        ),
    ],
)
def test_faults_have_cloudfronts_own_words(
    change: dict[str, str | None], code: str, expected: tuple[str, str, int], cookies: bool
) -> None:
    changed = custom(policy(URL)) | change
    members = {name: value for name, value in changed.items() if value is not None}
    inbound = arriving(URL, cookies=as_cookies(members)) if cookies else arriving(url_with(URL, members))
    denied = refusal(inbound)
    assert (denied.code, said(denied)) == (code, expected)


@pytest.mark.parametrize(
    "expires", ["0x1", "-1", "+1", "1.0", "01", " 1", "1e9", "%EF%BC%99", "9" * 20, "253402300800"]
)
def test_an_end_is_written_in_one_way(expires: str) -> None:
    members = canned() | {"Expires": expires.replace("+", "%2B").replace(" ", "%20")}
    denied = refusal(arriving(url_with(URL, members)))
    assert (denied.code, said(denied)[0]) == ("key_malformed", "MalformedPolicy")


@pytest.mark.parametrize("name", ["Expires", "Signature", "Key-Pair-Id", "%45xpires", "Hash-Algorithm"])
def test_a_member_that_is_given_twice_is_refused(name: str) -> None:
    members = canned(hashed="SHA1")
    plain = name.replace("%45", "E")
    assert refusal(arriving(f"{url_with(URL, members)}&{name}={members[plain]}")).code == "parameter_invalid"
    line = "; ".join(f"{key}={value}" for key, value in [*as_cookies(members).items(), (f"CloudFront-{plain}", "x")])
    inbound = Inbound("GET", b"/photos/cat.jpg", ((b"host", HOST.encode()), (b"cookie", line.encode())), now=NOW)
    assert refusal(inbound).code == "parameter_invalid"


def test_a_canned_and_a_custom_policy_at_once_are_refused() -> None:
    members = custom(policy(URL)) | canned()
    assert refusal(arriving(url_with(URL, members))).code == "key_ambiguous"
    assert refusal(arriving(URL, cookies=as_cookies(members))).code == "key_ambiguous"


def test_names_are_case_sensitive() -> None:
    members = {name.lower(): value for name, value in canned().items()}
    assert refusal(arriving(url_with(URL, members))).code == "key_missing"


NAMES = ["Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm", "CloudFront-Policy", "%45xpires", "x", ""]
TEXTS = (
    st.sampled_from(["", "1", RSA_ID, EC_ID, "SHA256", "e30_", "QQ__", "%", "%ff", "%41", "~", "a=b", "ü"]) | st.text()
)
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=6)


@given(PAIRS, PAIRS, st.sampled_from(["GET", "HEAD", "PUT"]))
def test_nothing_but_a_refusal_comes_of_what_is_no_key(
    query: list[tuple[str, str]], cookies: list[tuple[str, str]], method: str
) -> None:
    """Whatever is sent in the place of a key; all of it is bytes from outside."""
    target = b"/photos/cat.jpg?" + "&".join(f"{name}={text}" for name, text in query).encode("utf-8", "replace")
    cookie = "; ".join(f"CloudFront-{name}={text}" for name, text in cookies).encode("utf-8", "replace")
    with pytest.raises(Denied):
        judge(Inbound(method, target, ((b"host", HOST.encode()), (b"cookie", cookie)), now=NOW))


# Which key it is


SCHEMES = (Native(skew=10), S3(), Gcs(), CloudFront())


@pytest.mark.parametrize(
    ("query", "schemes"),
    [
        ("Expires=1&Signature=x&Key-Pair-Id=K", ["cloudfront"]),
        ("Policy=1&Signature=x&Key-Pair-Id=K", ["cloudfront"]),
        ("Policy=1&Signature=x", ["cloudfront"]),
        ("Key-Pair-Id=K", ["cloudfront"]),
        ("Key%2DPair%2DId=K", ["cloudfront"]),
        ("Expires=1&Signature=x&AWSAccessKeyId=A", ["s3"]),
        ("Expires=1&Signature=x&AWSAccessKeyId=A&Policy=p", ["s3"]),
        ("Policy=1&Signature=x&GoogleAccessId=A", []),
        ("Expires=1&Signature=x", []),
        ("Policy=1", []),
        ("Expires=1&Signature=x&AWSAccessKeyId=A&Key-Pair-Id=K", ["cloudfront", "s3"]),
        ("valet=a.b.c&Key-Pair-Id=K&Signature=x", ["cloudfront", "native"]),
    ],
)
def test_the_three_vendors_names_are_told_apart(query: str, schemes: list[str]) -> None:
    inbound = Inbound("GET", f"/photos/cat.jpg?{query}".encode(), (), now=NOW)
    found = [one.scheme.name for scheme in SCHEMES for one in scheme.recognises(inbound) if scheme.name != "gcs"]
    assert sorted(found) == schemes
    if len(schemes) > 1:
        with pytest.raises(Denied) as caught:
            recognise(inbound, SCHEMES)
        assert caught.value.code == "key_ambiguous"


def test_a_url_wins_over_cookies() -> None:
    """Whether it opens or not: a browser adds cookies by itself."""
    good, bad = canned(), canned() | {"Signature": encoded(bytes(256))}
    assert is_let_in(arriving(url_with(URL, good), cookies=as_cookies(bad)))
    assert refusal(arriving(url_with(URL, bad), cookies=as_cookies(good))).code == "signature_mismatch"


def test_a_native_key_wins_over_cookies() -> None:
    inbound = arriving(f"{URL}?valet=a.b.c", cookies=as_cookies(canned()))
    assert recognise(inbound, SCHEMES).scheme.name == "native"


def test_cookies_beside_other_cookies_are_one_key() -> None:
    cookies = {"a": "b", **as_cookies(canned()), "CloudFront-Is-Mobile-Viewer": "x", "Signature": "y"}
    assert is_let_in(arriving(URL, cookies=cookies))
    assert len(CloudFront().recognises(arriving(URL, cookies=cookies))) == 1


@pytest.mark.parametrize("left_out", ["Key-Pair-Id", "Signature", "Expires"])
def test_half_a_set_of_cookies_is_no_key(left_out: str) -> None:
    cookies = {name: value for name, value in as_cookies(canned()).items() if name != f"CloudFront-{left_out}"}
    assert said(refusal(arriving(URL, cookies=cookies)))[0] == "MissingKey"


def test_a_public_key_of_another_kind_is_never_used() -> None:
    """An RSA signature for the key on P-256, and the other way round."""
    for kid, other in ((RSA_ID, EC_ID), (EC_ID, RSA_ID)):
        assert refusal(arriving(url_with(URL, canned(kid=kid) | {"Key-Pair-Id": other}))).code == "signature_mismatch"
    assert pem_of(rsa_key()).startswith("-----BEGIN PUBLIC KEY-----")
