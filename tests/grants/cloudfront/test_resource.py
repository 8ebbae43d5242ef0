"""What a custom policy's resource opens: the object whose URL it fits, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.grants.cloudfront.stranger import (
    HOST,
    NOW,
    URL,
    arriving,
    canned,
    custom,
    is_let_in,
    judge,
    policy,
    refusal,
    url_with,
)
from valetstore.errors import Denied
from valetstore.grants.cloudfront import Rules
from valetstore.grants.cloudfront.resource import asked_of, opens
from valetstore.inbound import Inbound

BASE = f"https://{HOST}"


def fits(resource: str, url: str, rules: Rules | None = None) -> bool:
    """Whether a signed policy for this resource opens this URL."""
    return is_let_in(arriving(url_with(url, custom(policy(resource)))), rules)


@pytest.mark.parametrize(
    "resource",
    [
        URL,
        f"{BASE}/photos/*",
        f"{BASE}/photos/c?t.jpg",
        f"{BASE}/photos/*.jpg",
        f"{BASE}/photos/cat*.jpg",
        f"{BASE}/photos/cat.jpg*",
        f"{BASE}/*",
        f"{BASE}*",
        f"http*://{HOST}/photos/*",
        f"http?://{HOST}/photos/*",
        f"*://{HOST}/photos/*",
        "https://*.example.com/photos/*",
        "https://*/photos/*",
        "*/photos/*",
        "http*/photos/cat.jpg",
        "*",
        "http*",
        f"https://{HOST}:443/photos/*",
    ],
)
def test_wildcards_stand_for_what_they_say(resource: str) -> None:
    assert fits(resource, URL)


@pytest.mark.parametrize(
    "resource",
    [
        "photos/cat.jpg",
        "/photos/cat.jpg",
        "cat.jpg",
        f"{HOST}/photos/cat.jpg",
        f"//{HOST}/photos/cat.jpg",
        f"http://{HOST}/photos/*",
        f"https://{HOST}:8443/photos/*",
        "https://cdn.example.org/photos/*",
        "https://?.example.com/photos/*",
        f"{BASE}/photos/",
        f"{BASE}/photos",
        f"{BASE}/photos/cat.jp",
        f"{BASE}/photos/cat.jpg?",
        f"{BASE}/photos/?.jpg",
        f"{BASE}/Photos/*",
        f"{BASE}/photos/*.png",
        f"{BASE}/photos/cat.jpg?x=1",
        "*.jpg",
        "https://*.jpg",
        BASE,
        f"{BASE}?",
        "?",
    ],
)
def test_what_does_not_fit_whole_is_refused(resource: str) -> None:
    assert not fits(resource, URL)
    denied = refusal(arriving(url_with(URL, custom(policy(resource)))))
    assert denied.code == "path_not_allowed"


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        # The host's star and a path that looks like the rest of it.
        ("https://*.example.com/photos/*", f"{BASE}/secret/x.example.com/photos/cat.jpg"),
        ("https://*/photos/*", f"{BASE}/secret/photos/cat.jpg"),
        ("*/photos/*", f"{BASE}/secret/photos/cat.jpg"),
        ("*.example.com*", "https://h/secret/x.example.com"),
        # The query chooses no object.
        (f"{BASE}/*.jpg", f"{BASE}/secret/key.pem?.jpg"),
        (f"{BASE}/*.jpg", f"{BASE}/secret/key.pem?x=.jpg"),
        (f"{BASE}/*?.jpg", f"{BASE}/secret/key.pem?.jpg"),
        (f"{BASE}/*/photos/*", f"{BASE}/secret/key.pem?/photos/"),
        (f"{BASE}/photos?cat.jpg", f"{BASE}/photos?cat.jpg"),
        # A name that is another one once it is decoded.
        (f"{BASE}/photos/*41", f"{BASE}/photos/secret%41"),
        (f"{BASE}/photos/*2F", f"{BASE}/photos/secret%2F"),
        (f"{BASE}/photos/a???b", f"{BASE}/photos/a%2Fb"),
        (f"{BASE}/photos/%*", f"{BASE}/photos/%41"),
        (f"{BASE}/photos/*", f"{BASE}/photos%2Fcat.jpg"),
        (f"{BASE}/photos/*", f"{BASE}/photos%2F..%2Fsecret/x"),
        # Not what the signer wrote, though the object would be the same.
        (f"{BASE}/photos/cat.jpg", f"{BASE}/photos/%63at.jpg"),
    ],
)
def test_no_way_of_writing_a_url_opens_another_object(resource: str, url: str) -> None:
    with pytest.raises(Denied) as caught:
        judge(arriving(url_with(url, custom(policy(resource)))))
    assert caught.value.code in ("path_not_allowed", "object_key_invalid")


@pytest.mark.parametrize(
    "dots", ["../secret/x", "./x", "%2e%2e/secret/x", "..%2Fsecret/x", ".%2e/x", "a/../../secret/x"]
)
def test_dot_segments_name_no_object(dots: str) -> None:
    denied = refusal(arriving(url_with(f"{BASE}/photos/{dots}", custom(policy(f"{BASE}/photos/*")))))
    assert denied.code == "object_key_invalid"
    denied = refusal(arriving(url_with(f"{BASE}/photos/{dots}", canned(f"{BASE}/photos/{dots}"))))
    assert denied.code == "object_key_invalid"


@pytest.mark.parametrize(
    ("resource", "url", "path"),
    [
        (f"{BASE}/photos/*", f"{BASE}/photos/a%20b%2Fc%C3%BC.jpg", "/photos/a b/cü.jpg"),
        (f"{BASE}/photos/a%20*", f"{BASE}/photos/a%20b", "/photos/a b"),
        (f"{BASE}/photos/%2A", f"{BASE}/photos/%2A", "/photos/*"),
        (f"{BASE}/photos/*", f"{BASE}/photos//x", "/photos//x"),
        (f"{BASE}/photos/a+b*", f"{BASE}/photos/a+b", "/photos/a+b"),
        (f"{BASE}/photos/100%25*", f"{BASE}/photos/100%25", "/photos/100%"),
    ],
)
def test_the_object_is_the_one_at_the_decoded_path(resource: str, url: str, path: str) -> None:
    inbound = arriving(url_with(url, custom(policy(resource))))
    grant = judge(inbound)
    assert [scope.path for group in grant.scopes for scope in group] == [path]


def test_an_escaped_star_is_no_wildcard() -> None:
    assert not fits(f"{BASE}/photos/%2A", f"{BASE}/photos/x")
    assert not fits(f"{BASE}/photos/%2A", f"{BASE}/photos/%2Ax")


@pytest.mark.parametrize(
    ("resource", "url", "opened"),
    [
        (f"{URL}?size=large", f"{URL}?size=large", True),
        (f"{URL}?size=*", f"{URL}?size=large", True),
        (f"{URL}?size=?", f"{URL}?size=1", True),
        (f"{URL}?*", f"{URL}?size=large&x=1", True),
        (f"{BASE}/photos/c?t.jpg?size=*", f"{URL}?size=large", True),
        (f"{BASE}/photos/*?size=*", f"{URL}?size=large", True),
        (f"{URL}?download", f"{URL}?download", True),
        (f"{BASE}/photos/*", f"{URL}?size=large", True),
        (f"{URL}?size=large", f"{URL}?size=small", False),
        (f"{URL}?size=large", URL, False),
        (URL, f"{URL}?size=large", False),
        (f"{URL}?a=1&b=2", f"{URL}?b=2&a=1", False),
        (f"{BASE}/photos/*.jpg", f"{URL}?size=large", False),
        (f"{URL}?size=*", f"{URL}?x=1&size=large", False),
        (f"{URL}?%2A", f"{URL}?x", False),
    ],
)
def test_the_query_is_part_of_the_url(resource: str, url: str, opened: bool) -> None:
    assert fits(resource, url) is opened


def test_the_parameters_of_the_key_are_not_part_of_it_wherever_they_stand() -> None:
    """They may be anywhere and escaped; the order of the others is as it was sent."""
    members = custom(policy(f"{URL}?b=2&a=%31"))
    said = [f"{name}={value}" for name, value in members.items()]
    target = f"{URL}?{said[0]}&b=2&{said[1]}&a=%31&{said[2].replace('-', '%2D')}"
    assert is_let_in(arriving(target))
    assert not is_let_in(arriving(target.replace("a=%31", "a=1")))


def test_an_empty_query_counts_as_it_was_written() -> None:
    """botocore puts `&` after a URL that ends in a question mark."""
    assert is_let_in(arriving(url_with(f"{URL}?", canned(f"{URL}?"))))
    assert refusal(arriving(f"{url_with(URL, canned())}&")).code == "signature_mismatch"
    assert refusal(arriving(f"{url_with(URL, canned())}&x=1")).code == "signature_mismatch"


@pytest.mark.parametrize("path", ['/photos/a"', "/photos/a\\b", '/photos/a","x":"'])
def test_what_could_end_the_json_text_is_never_signed(path: str) -> None:
    """The policy of another path could read like that; in a URL these characters are percent-encoded."""
    inbound = arriving(url_with(BASE + path, canned(BASE + path)))
    assert refusal(inbound).code == "signature_mismatch"


TEXTS = ["a", "b", "/", ".", "..", "%2F", "%2e", "%41", "%2A", "*", "?", "=", "photos", "secret", "%C3%A9"]
PIECES = st.lists(st.sampled_from(TEXTS), max_size=7).map("".join)


@given(PIECES, PIECES)
def test_whatever_is_opened_has_the_decoded_name_that_fits(pattern: str, asked: str) -> None:
    """A prefix that ends in a slash opens nothing outside of it, however the rest is written."""
    target = f"/{asked}".encode()
    try:
        found = asked_of(Inbound("GET", target, ((b"host", b"h"),), now=NOW), Rules())
    except Denied:
        return
    if opens(f"http://h/photos/{pattern}*", found):
        assert found.decoded_path.startswith("/photos/")
