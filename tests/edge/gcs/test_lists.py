"""Lists of a bucket by Google's signed URLs, in both versions."""

import hashlib
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest

from tests.edge.gcs.conftest import Account, Accounts, document, refused
from valetstore.grants.grant import Profile

BUCKET = "shelf"
NAMES = ["a.txt", "b/1", "b/2", "c/x/1", "d ü&<.txt"]


@pytest.fixture(scope="module")
def user(google: Accounts) -> Account:
    """An account with a bucket of objects."""
    account = google()
    for name in NAMES:
        assert account.ask("PUT", name, name.encode(), bucket=BUCKET).status == 200
    return account


def listed(user: Account, **query: str) -> Element:
    """A list, asked for with these parameters."""
    asked = {name.replace("_", "-"): value for name, value in query.items()}
    answer = user.ask("GET", "", bucket=BUCKET, query_parameters=asked)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/xml; charset=UTF-8"
    assert answer.body.startswith(b"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns=")
    assert b'xmlns="http://doc.s3.amazonaws.com/2006-03-01"' in answer.body
    return document(answer)


def keys(page: Element) -> list[str]:
    """The names on a page."""
    return [row.findtext("Key") or "" for row in page.findall("Contents")]


def groups(page: Element) -> list[str]:
    """The groups on a page."""
    return [row.findtext("Prefix") or "" for row in page.findall("CommonPrefixes")]


def test_all_objects_are_listed_with_google_s_members(user: Account) -> None:
    page = listed(user)
    assert keys(page) == NAMES
    assert page.findtext("Name") == BUCKET
    assert page.findtext("IsTruncated") == "false"
    row = page.findall("Contents")[0]
    assert row.findtext("Size") == "5"
    assert row.findtext("ETag") == f'"{hashlib.md5(b"a.txt").hexdigest()}"'
    assert row.findtext("MetaGeneration") == "1"
    head = user.ask("HEAD", "a.txt", bucket=BUCKET)
    assert row.findtext("Generation") == head.headers["x-goog-generation"]


def test_a_prefix_and_a_delimiter_group(user: Account) -> None:
    page = listed(user, delimiter="/")
    assert (keys(page), groups(page)) == (["a.txt", "d ü&<.txt"], ["b/", "c/"])
    page = listed(user, prefix="c/", delimiter="/")
    assert (keys(page), groups(page)) == ([], ["c/x/"])
    assert page.findtext("Prefix") == "c/"


def pages_by_marker(user: Account, size: int) -> Iterator[Element]:
    """The first version."""
    marker = ""
    while True:
        page = listed(user, max_keys=str(size), marker=marker)
        yield page
        if page.findtext("IsTruncated") == "false":
            return
        marker = page.findtext("NextMarker") or ""
        assert marker


def pages_by_token(user: Account, size: int) -> Iterator[Element]:
    """The second version."""
    token: dict[str, str] = {}
    while True:
        page = listed(user, list_type="2", max_keys=str(size), **token)
        assert page.findtext("KeyCount") == str(len(keys(page)))
        yield page
        if page.findtext("IsTruncated") == "false":
            return
        token = {"continuation_token": page.findtext("NextContinuationToken") or ""}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_follow_one_another(user: Account, size: int) -> None:
    for pages in (pages_by_marker, pages_by_token):
        found = [keys(page) for page in pages(user, size)]
        assert [name for page in found for name in page] == NAMES
        assert all(len(page) <= size for page in found)


def test_names_may_be_percent_encoded(user: Account) -> None:
    page = listed(user, encoding_type="url")
    assert keys(page)[-1] == "d%20%C3%BC%26%3C.txt"
    assert page.findtext("EncodingType") == "url"


@pytest.mark.parametrize(
    "query",
    [
        {"max-keys": "x"},
        {"max-keys": "-1"},
        {"list-type": "3"},
        {"encoding-type": "b"},
        {"marker": "", "list-type": "x"},
    ],
)
def test_what_cannot_be_meant_is_refused(user: Account, query: dict[str, str]) -> None:
    answer = user.ask("GET", "", bucket=BUCKET, query_parameters=query)
    refused(answer, "InvalidArgument", 400, "parameter_invalid")


def test_a_list_is_of_what_was_signed(user: Account) -> None:
    url = user.url("GET", "", bucket=BUCKET, query_parameters={"prefix": "b/"})
    answer = user.gate.ask("GET", url.replace("prefix=b%2F", "prefix="))
    refused(answer, "SignatureDoesNotMatch", 403, "signature_mismatch")


def test_a_list_is_a_use(google: Accounts, user: Account) -> None:
    once = google(Profile(single_use=("list",)))
    url = once.url("GET", "", bucket=BUCKET)
    assert once.gate.ask("GET", url).status == 200
    refused(once.gate.ask("GET", url), "AccessDenied", 403, "key_used")
    below = google(Profile(prefixes=(f"/{BUCKET}/b/",)))
    refused(below.ask("GET", "", bucket=BUCKET), "AccessDenied", 403, "path_not_allowed")
    answer = below.ask("GET", "", bucket=BUCKET, query_parameters={"prefix": "b/"})
    assert keys(document(answer)) == ["b/1", "b/2"]
