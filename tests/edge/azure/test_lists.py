"""List Blobs: what a page shows, how it goes on, how names come back that XML cannot hold."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element, fromstring

import pytest
from azure.storage.blob import BlobPrefix, ContainerClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.edge.azure.conftest import Account, Accounts, refused
from tests.edge.conftest import inspect
from tests.gate import Answer, Gate
from valetstore.edge.xml import document, is_carried, tag
from valetstore.grants.grant import Profile

NAMES = ["a", "b/1", "b/2", "b/c/3", "d & <e>", "f", "ü/ä"]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account with one container, `things`, of NAMES."""
    with Gate(tmp_path_factory.mktemp("lists"), "[limits]\nlist-entries-max = 4\n") as running:
        account = Accounts(running)()
        for name in NAMES:
            headers = {"x-ms-meta-Name_of": "x", "Content-Type": "text/plain", "x-ms-blob-cache-control": "no-cache"}
            assert account.put(name, name.encode(), headers).status == 201
        yield account
        inspect(running)


def page(account: Account, sas: str | None = None, **parameters: Any) -> Answer:
    return account.ask("GET", "", sas=sas, restype="container", comp="list", **parameters)


def tree_of(answer: Answer) -> Element:
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/xml"
    return fromstring(answer.body)


def names_of(answer: Answer) -> list[str]:
    return [row.findtext("Name") or "" for row in tree_of(answer).find("Blobs") or ()]


def test_the_client_lists_all_pages(listed: Account) -> None:
    container = listed.container()
    assert list(container.list_blob_names()) == NAMES
    assert [blob.name for blob in container.list_blobs(name_starts_with="b/")] == ["b/1", "b/2", "b/c/3"]
    pages = [[blob.name for blob in rows] for rows in container.list_blobs(results_per_page=3).by_page()]
    assert pages == [NAMES[:3], NAMES[3:6], NAMES[6:]]


def test_the_client_walks_folders(listed: Account) -> None:
    found = list(listed.container().walk_blobs())
    assert sorted((blob.name, isinstance(blob, BlobPrefix)) for blob in found) == [
        ("a", False),
        ("b/", True),
        ("d & <e>", False),
        ("f", False),
        ("ü/", True),
    ]
    assert sorted(blob.name for blob in listed.container().walk_blobs("b/")) == ["b/1", "b/2", "b/c/"]


def test_a_row_says_what_the_blobs_properties_say(listed: Account) -> None:
    container: ContainerClient = listed.container()
    row = next(iter(container.list_blobs(include=["metadata", "snapshots", "tags", "deleted", "copy", "versions"])))
    blob = container.get_blob_client("a").get_blob_properties()
    assert (row.name, row.size, row.last_modified, row.creation_time) == (
        blob.name,
        blob.size,
        blob.last_modified,
        blob.creation_time,
    )
    assert f'"{row.etag}"' == blob.etag  # Azure's lists have them without quotes
    assert (row.blob_type, row.blob_tier, row.lease.status) == (blob.blob_type, blob.blob_tier, blob.lease.status)
    assert row.metadata == {"name_of": "x"}
    assert (row.version_id, row.is_current_version) == (blob.version_id, True)
    assert row.content_settings.content_type == "text/plain"
    assert row.content_settings.cache_control == "no-cache"
    assert bytes(row.content_settings.content_md5 or b"") == hashlib.md5(b"a").digest()
    plain = next(iter(container.list_blobs()))
    assert (not plain.metadata, plain.version_id) == (True, None)


def test_a_page_is_as_long_as_asked_for_and_allowed(listed: Account) -> None:
    first = page(listed)
    assert names_of(first) == NAMES[:4]  # the operator's limit
    assert tree_of(first).find("MaxResults") is None
    marker = tree_of(first).findtext("NextMarker") or ""
    assert marker
    assert base64.urlsafe_b64decode(marker)[1:].decode() == NAMES[3]
    rest = page(listed, marker=marker, maxresults="5000")
    assert names_of(rest) == NAMES[4:]
    tree = tree_of(rest)
    assert (tree.findtext("NextMarker"), tree.findtext("Marker"), tree.findtext("MaxResults")) == ("", marker, "5000")
    assert tree.attrib == {"ServiceEndpoint": f"{listed.url}/", "ContainerName": "things"}
    assert rest.body.startswith(b'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ')


def test_groups_count_as_rows_and_are_passed_whole(listed: Account) -> None:
    first = page(listed, delimiter="/", maxresults="2")
    assert names_of(first) == ["a", "b/"]
    second = page(listed, delimiter="/", maxresults="2", marker=tree_of(first).findtext("NextMarker") or "")
    assert names_of(second) == ["d & <e>", "f"]


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"maxresults": "x"}, 400, "InvalidQueryParameterValue"),
        ({"maxresults": "-1"}, 400, "InvalidQueryParameterValue"),
        ({"maxresults": "0"}, 400, "OutOfRangeQueryParameterValue"),
        ({"maxresults": "99999999999"}, 400, "InvalidQueryParameterValue"),
        ({"marker": "a"}, 400, "InvalidQueryParameterValue"),
        ({"marker": "MWE"}, 400, "InvalidQueryParameterValue"),
        ({"include": "colours"}, 400, "InvalidQueryParameterValue"),
        ({"include": "metadata,uncommittedblobs"}, 501, "NotImplemented"),
        ({"startFrom": "b"}, 501, "NotImplemented"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    listed: Account, parameters: dict[str, str], status: int, code: str
) -> None:
    assert refused(page(listed, **parameters)) == (status, code)


def test_a_name_that_xml_cannot_hold_is_told_encoded(account: Account) -> None:
    name = "odd/\x01\r\nü%"
    account.put(name, b"1")
    assert [blob.name for blob in account.container().list_blobs(name_starts_with="odd/")] == [name]
    answer = page(account, prefix="odd/")
    found = tree_of(answer).find("Blobs/Blob/Name")
    assert found is not None
    assert found.attrib == {"Encoded": "true"}
    assert unquote(found.text or "") == name
    groups = account.container().walk_blobs("odd/", delimiter="\n")
    assert [group.name for group in groups] == ["odd/\x01\r\n"]


def test_a_plus_in_a_prefix_is_a_space_as_azure_reads_it(account: Account, azure: Accounts) -> None:
    """Go's and Rust's clients send it so; a plus itself is `%2B`."""
    for name in ("pl us/a b", "pl+us/a+b"):
        account.put(name, b"1")
    target = account.at("", account.container_sas(), restype="container", comp="list")
    for prefix, name in (("pl+us/a+", "pl us/a b"), ("pl%20us/", "pl us/a b"), ("pl%2Bus/a%2b", "pl+us/a+b")):
        assert names_of(account.gate.ask("GET", f"{target}&prefix={prefix}")) == [name]
    narrow = azure(Profile(prefixes=("/things/pl us/",)))
    at = narrow.at("", narrow.container_sas(), restype="container", comp="list")
    assert names_of(account.gate.ask("GET", f"{at}&prefix=pl+us/")) == ["pl us/a b"]
    assert refused(account.gate.ask("GET", f"{at}&prefix=pl%2Bus/")) == (403, "AuthorizationFailure")


def test_a_list_takes_the_use_of_a_limited_key(azure: Accounts) -> None:
    azure().put("once", b"1")
    account = azure(Profile(single_use=("list",)))
    sas = account.container_sas("l")
    assert page(account, sas, maxresults="1").status == 200
    again = page(account, sas)
    assert (again.status, again.code) == (403, "key_used")


def test_a_list_stays_within_what_the_key_opens(azure: Accounts) -> None:
    azure().put("open/a", b"1")
    account = azure(Profile(prefixes=("/things/open/",)))
    assert refused(page(account)) == (403, "AuthorizationFailure")
    assert refused(page(account, prefix="op")) == (403, "AuthorizationFailure")
    assert names_of(page(account, prefix="open/")) == ["open/a"]
    assert refused(page(azure(), azure().container_sas("r"))) == (403, "AuthorizationPermissionMismatch")
    assert refused(page(azure(), azure().sas("open/a", "rl")))[0] == 403


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_attributes_and_text_come_back_from_a_document(value: str, text: str) -> None:
    tree = fromstring(document(tag("Root", A=value), [(tag("Name", Encoded="true"), text)], namespace=False))
    found = tree.find("Name")
    assert found is not None
    assert found.attrib == {"Encoded": "true"}
    assert not is_carried(text) or (found.text or "") == text
    assert not is_carried(value) or not set(value).isdisjoint("\t\n") or tree.attrib["A"] == value
