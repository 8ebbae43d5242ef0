"""Containers: made, described, removed and listed, by Azure's own client and by requests that it would not send."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient

from tests.edge.azure.blocks import latest, stage, told
from tests.edge.azure.conftest import Account, Accounts, refused
from tests.edge.conftest import inspect
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile


def service(account: Account) -> BlobServiceClient:
    """The SDK's client of the whole account."""
    return BlobServiceClient(account.url, credential=account.account_sas(), retry_total=0)


def ask(account: Account, method: str, container: str, headers: dict[str, str] | None = None, comp: str = "") -> Answer:
    """One request about a container itself."""
    more = {"comp": comp} if comp else {}
    sas = account.account_sas()
    return account.ask(method, "", b"", headers, sas=sas, container=container, restype="container", **more)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """A gateway whose containers are all in sight."""
    with Gate(tmp_path_factory.mktemp("own")) as running:
        yield Accounts(running)
        inspect(running)


def test_a_container_is_made_described_and_removed(account: Account) -> None:
    made = service(account).create_container("made", metadata={"colour": "blue"})
    found = made.get_container_properties()
    assert (found.name, found.metadata, found.lease.status) == ("made", {"colour": "blue"}, "unlocked")
    assert (found.has_immutability_policy, found.has_legal_hold, found.public_access) == (False, False, None)
    assert made.exists()
    with pytest.raises(ResourceExistsError) as caught:
        made.create_container()
    assert told(caught.value) == "ContainerAlreadyExists"
    made.delete_container()
    assert not made.exists()
    with pytest.raises(ResourceNotFoundError):
        made.delete_container()
    made.create_container()
    assert made.get_container_properties().metadata == {}


def test_metadata_is_replaced_as_a_whole_and_changes_the_etag(account: Account) -> None:
    made = service(account).create_container("described")
    before = made.get_container_properties()
    told = made.set_container_metadata({"a": "1", "b": "2"})
    made.set_container_metadata({"c": "3"})
    after = made.get_container_properties()
    assert after.metadata == {"c": "3"}
    assert len({before.etag, told["etag"], after.etag}) == 3
    answer = ask(account, "GET", "described", comp="metadata")
    assert (answer.status, answer.body, answer.headers["x-ms-meta-c"]) == (200, b"", "3")
    assert answer.headers["etag"] == after.etag
    assert refused(ask(account, "PUT", "described", {"x-ms-meta-": "x"}, "metadata")) == (400, "EmptyMetadataKey")
    large = {f"x-ms-meta-n{number}": "v" * 100 for number in range(40)}
    assert refused(ask(account, "PUT", "described", large, "metadata")) == (400, "MetadataTooLarge")
    assert refused(ask(account, "PUT", "not-there", {"x-ms-meta-a": "1"}, "metadata")) == (404, "ContainerNotFound")


def test_a_container_goes_with_all_that_is_in_it(account: Account) -> None:
    """Blobs on several pages of the list, in folders and beside them, and blocks that nobody committed."""
    made = service(account).create_container("full")
    names = [f"{folder}{number}" for folder in ("", "in/", "in/deep/") for number in range(20)]
    for name in (*names, "in", "in/"):
        made.upload_blob(name, b"1")
    account.ask("PUT", "b", b"x", container="full", comp="block", blockid="YQ==")
    assert ask(account, "DELETE", "full").status == 202
    service(account).create_container("full")
    answer = account.ask("PUT", "b", latest("a"), container="full", comp="blocklist")
    assert refused(answer) == (400, "InvalidBlockList")


def test_a_container_goes_only_where_the_signing_key_opens_all_of_it(azure: Accounts, account: Account) -> None:
    """A profile for one folder removes neither the others nor, by the way, its own."""
    service(account).create_container("shared").upload_blob("others/x", b"1")
    narrow = azure(Profile(prefixes=("/shared/mine/",)))
    assert refused(ask(narrow, "DELETE", "shared"))[0] == 403
    writer = azure(Profile(operations=("read", "write", "list")))
    assert refused(ask(writer, "DELETE", "shared"))[0] == 403
    assert service(account).get_container_client("shared").download_blob("others/x").readall() == b"1"


@pytest.mark.parametrize(
    "name", ["ab", "a" * 64, "Upper", "under_score", "two--hyphens", "-a-", "abc-", "a.b.c", "$logs"]
)
def test_a_name_that_azure_does_not_know_is_refused(account: Account, name: str) -> None:
    assert refused(ask(account, "PUT", name)) == (400, "InvalidResourceName")


@pytest.mark.parametrize("name", ["abc", "a" * 63, "0-1", "$root", "$web"])
def test_a_name_that_azure_knows_is_made(account: Account, name: str) -> None:
    assert ask(account, "PUT", name).status == 201
    assert ask(account, "DELETE", name).status == 202


def test_what_is_not_done_here_is_refused(account: Account) -> None:
    assert refused(ask(account, "PUT", "public", {"x-ms-blob-public-access": "blob"})) == (
        409,
        "PublicAccessNotPermitted",
    )
    leased = ask(account, "PUT", "leased", {"x-ms-lease-id": "x"})
    assert refused(leased) == (412, "LeaseNotPresentWithContainerOperation")
    scope = {"x-ms-default-encryption-scope": "x"}
    assert refused(ask(account, "PUT", "scoped", scope)) == (501, "NotImplemented")
    assert refused(ask(account, "GET", "described", comp="acl")) == (501, "NotImplemented")
    assert ask(account, "HEAD", "public").status == 404


def test_conditions_of_a_delete_hold(account: Account) -> None:
    made = service(account).create_container("conditional")
    etag = made.get_container_properties().etag
    assert etag is not None
    assert refused(ask(account, "DELETE", "conditional", {"If-Match": '"other"'})) == (412, "ConditionNotMet")
    past = {"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}
    assert refused(ask(account, "DELETE", "conditional", past)) == (412, "ConditionNotMet")
    assert ask(account, "DELETE", "conditional", {"If-Match": etag}).status == 202


def test_containers_are_listed_a_page_at_a_time(own: Accounts) -> None:
    client = service(own())
    names = [f"list-{number}" for number in range(5)]
    for name in names:
        client.create_container(name, metadata={"n": name[-1]})
    client.create_container("other")
    assert [found.name for found in client.list_containers(name_starts_with="list-")] == names
    pages = [[found.name for found in page] for page in client.list_containers(results_per_page=4).by_page()]
    assert pages == [names[:4], ["list-4", "other"]]
    found = next(iter(client.list_containers(name_starts_with="list-3", include_metadata=True)))
    properties = client.get_container_client("list-3").get_container_properties()
    assert (found.metadata, found.etag, found.last_modified) == ({"n": "3"}, properties.etag, properties.last_modified)
    assert next(iter(client.list_containers())).metadata is None
    account = own()
    for parameters in ({"marker": "list-3"}, {"maxresults": "x"}, {"maxresults": "0"}, {"include": "colours"}):
        answer = own.gate.ask(
            "GET", account.at("", account.account_sas(), container="", comp="list", **parameters).replace("/?", "?")
        )
        assert refused(answer)[0] == 400


def test_a_list_of_containers_shows_what_the_key_opens(own: Accounts) -> None:
    for name in ("mine", "theirs"):
        ask(own(), "PUT", name)
    narrow = own(Profile(prefixes=("/mine/deep/",)))
    assert [found.name for found in service(narrow).list_containers()] == ["mine"]


def test_a_container_that_no_key_may_make_is_not_made(account: Account, azure: Accounts) -> None:
    sas = account.container_sas(container="by-sas")
    client = ContainerClient.from_container_url(f"{account.url}/by-sas?{sas}", retry_total=0)
    with pytest.raises(HttpResponseError):
        client.create_container()  # a service's signature never does
    reader = azure(Profile(operations=("read", "list")))
    assert refused(ask(reader, "PUT", "by-reader"))[0] == 403
    other = azure(Profile(prefixes=("/elsewhere/",)))
    assert refused(ask(other, "PUT", "by-other")) == (403, "AuthorizationFailure")


def test_making_a_container_takes_the_use_of_a_limited_key(azure: Accounts) -> None:
    account = azure(Profile(single_use=("write",)))
    sas = account.account_sas()
    put: dict[str, Any] = {"sas": sas, "restype": "container"}
    assert account.ask("PUT", "", container="used-once", **put).status == 201
    again = account.ask("PUT", "", container="used-twice", **put)
    assert (again.status, again.code) == (403, "key_used")
    taken = account.account_sas(seconds=200)
    exists = account.ask("PUT", "", container="used-once", sas=taken, restype="container")
    assert refused(exists) == (409, "ContainerAlreadyExists")
    assert account.ask("PUT", "", container="used-twice", sas=taken, restype="container").status == 201


def test_what_nobody_may_make_is_not_made(tmp_path: Path) -> None:
    with Gate(tmp_path, "[storage]\ncreate-buckets = false\n") as gate:
        account = Accounts(gate)()
        assert refused(ask(account, "PUT", "nobody"))[0] == 403
        assert refused(stage(account, "x", "a", b"1")) == (404, "ContainerNotFound")
        assert refused(account.ask("GET", "", restype="container", comp="list")) == (404, "ContainerNotFound")
