"""What a signing key's profile asks of a blob that comes in blocks."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient

from tests.edge.azure.blocks import DATA, SMALL, commit, id_of, latest, stage, told
from tests.edge.azure.conftest import Account, Accounts, error_of, refused
from tests.gate import Gate
from valetstore.grants.grant import Profile


def test_the_commit_is_the_one_use_and_a_failed_one_gives_it_back(azure: Accounts) -> None:
    account = azure(Profile(single_use=("write",)))
    sas = account.sas("once")
    for name in "ab":
        assert account.ask("PUT", "once", b"x", sas=sas, comp="block", blockid=id_of(name)).status == 201
    assert refused(commit(account, "once", latest("c"), sas=sas)) == (400, "InvalidBlockList")
    assert refused(commit(account, "once", latest("a"), {"If-Match": '"0"'}, sas=sas)) == (412, "ConditionNotMet")
    assert commit(account, "once", latest("a", "b"), sas=sas).status == 201
    again = commit(account, "once", latest("a"), sas=sas)
    assert (again.status, again.code) == (403, "key_used")
    late = account.ask("PUT", "once", b"x", sas=sas, comp="block", blockid=id_of("c"))
    assert (late.status, late.code) == (403, "key_used")
    assert azure().ask("GET", "once").body == b"xx"


def test_a_single_use_key_uploads_a_large_blob_by_the_client(azure: Accounts) -> None:
    blob = azure(Profile(single_use=("write",))).blob("once-large", "cw", **SMALL)
    blob.upload_blob(DATA, overwrite=True, max_concurrency=3)
    with pytest.raises(HttpResponseError) as caught:
        blob.upload_blob(b"again", overwrite=True)
    assert told(caught.value, "x-valet-error") == "key_used"


def test_the_length_range_holds_for_the_whole(azure: Accounts) -> None:
    account = azure(Profile(length_bytes_min=5, length_bytes_max=10))
    assert stage(account, "range", "a", bytes(4)).status == 201  # a block may be smaller than the whole has to be
    small = commit(account, "range", latest("a"))
    assert (small.status, small.code) == (400, "too_small")
    assert stage(account, "range", "b", bytes(6)).status == 201
    large = stage(account, "range", "c", bytes(11))
    assert (large.status, large.code) == (413, "too_large")
    twice = commit(account, "range", latest("b", "b"))
    assert (twice.status, twice.code) == (413, "too_large")
    assert commit(account, "range", latest("a", "b")).status == 201
    # What waits of a put that was given up stands in nobody's way for good.
    assert stage(account, "range", "c", bytes(10)).status == 201


def test_an_upload_that_was_cut_leaves_room_for_one_more_try(azure: Accounts) -> None:
    account = azure(Profile(length_bytes_max=10))
    for name, count in (("a", 9), ("b", 5), ("c", 5)):
        assert stage(account, "retry", name, bytes(count)).status == 201
    for name, count in (("d", 2), ("b", 7)):
        large = stage(account, "retry", name, bytes(count))
        assert (large.status, large.code) == (413, "too_large")
    assert stage(account, "retry", "d", b"x").status == 201
    whole = commit(account, "retry", latest("a", "b"))
    assert (whole.status, whole.code) == (413, "too_large")
    assert commit(account, "retry", latest("b", "c")).status == 201


def test_the_types_of_a_profile_are_those_of_the_blob(azure: Accounts) -> None:
    account = azure(Profile(types=("image/*",)))
    assert stage(account, "typed", "a", b"x").status == 201
    for headers in ({}, {"Content-Type": "image/png"}, {"x-ms-blob-content-type": "text/html"}):
        wrong = commit(account, "typed", latest("a"), headers)
        assert (wrong.status, wrong.code) == (403, "type_not_allowed")
    assert commit(account, "typed", latest("a"), {"x-ms-blob-content-type": "image/png"}).status == 201


@pytest.mark.parametrize("how", ["letters", "profile"])
def test_create_only_makes_a_blob_of_blocks_and_replaces_none(azure: Accounts, how: str) -> None:
    account = azure(Profile(create_only=how == "profile"))
    sas = account.sas(f"create-{how}", "c" if how == "letters" else "cw")
    blob = BlobClient.from_blob_url(f"{account.url}/things/create-{how}?{sas}", retry_total=0, **SMALL)
    blob.upload_blob(DATA, overwrite=True)
    again = commit(account, f"create-{how}", latest(), sas=sas)
    assert refused(again) == (403, "UnauthorizedBlobOverwrite")
    block = account.ask("PUT", f"create-{how}", b"x", sas=sas, comp="block", blockid="YQ==")
    assert refused(block) == (403, "UnauthorizedBlobOverwrite")
    assert account.ask("PUT", "other", b"x", sas=sas, comp="block", blockid="YQ==").status == 403


def test_a_key_that_may_only_read_neither_stages_nor_commits(account: Account) -> None:
    sas = account.sas("reader", "r")
    asked: tuple[dict[str, Any], ...] = ({"comp": "block", "blockid": "YQ=="}, {"comp": "blocklist"})
    for parameters in asked:
        answer = account.ask("PUT", "reader", b"x", sas=sas, **parameters)
        assert refused(answer) == (403, "AuthorizationPermissionMismatch")
    writer = account.sas("reader", "cw")
    assert refused(account.ask("GET", "reader", sas=writer, comp="blocklist"))[0] == 403


def test_a_block_larger_than_the_gateway_takes_is_refused_early(tmp_path: Path) -> None:
    with Gate(tmp_path, "[limits]\nupload-bytes-max = 1000\n") as gate:
        account = Accounts(gate)()
        assert stage(account, "x", "a", bytes(600)).status == 201
        assert refused(stage(account, "x", "b", bytes(1001))) == (413, "RequestBodyTooLarge")
        assert refused(commit(account, "x", latest("a", "a"))) == (413, "RequestBodyTooLarge")
        assert error_of(stage(account, "x", "b", bytes(1001)))["MaxLimit"] == "1000"
        assert stage(account, "x", "b", bytes(800)).status == 201
        assert refused(stage(account, "x", "c", bytes(601))) == (413, "RequestBodyTooLarge")
