"""What a shared access signature cannot say, its signing key's profile says: each term holds for what Azure's keys do.

A SAS names no method and no number of uses; one of a single-use profile is used up by the first of its operations.
"""

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from azure.core.exceptions import HttpResponseError

from tests.edge.azure.conftest import Account, Accounts, error_of, refused
from tests.edge.azure.test_reading import md5
from tests.edge.wire import wait_until
from tests.gate import Answer
from valetstore.grants.grant import Budget, Profile

BODY: Final = b"123456789"
BLOCK_BLOB: Final = {"x-ms-blob-type": "BlockBlob"}
USED: Final = (403, "AuthorizationFailure", "key_used")


def put(account: Account, blob: str, sas: str, body: Any = BODY, headers: Mapping[str, str] | None = None) -> Answer:
    """Put Blob by this signature."""
    return account.put(blob, body, headers, sas=sas)


def why(answer: Answer) -> tuple[int, str, str | None]:
    """Status, Azure's code and ours."""
    return *refused(answer), answer.code


# --- uses --------------------------------------------------------------------------------------------------------


def test_a_single_use_read_opens_once(azure: Accounts) -> None:
    """What shows no byte uses nothing, nor does what is refused; another signature has a use of its own."""
    azure().put("read-once", BODY)
    account = azure(Profile(single_use=("read",)))
    sas = account.sas("read-once", "r")
    assert account.ask("HEAD", "read-once", sas=sas).status == 200
    assert account.ask("GET", "read-once", sas=sas, comp="metadata").status == 200
    assert account.ask("GET", "read-once", sas=sas, headers={"If-Match": '"other"'}).status == 412
    assert account.ask("GET", "read-once", sas=sas, headers={"x-ms-range": "bytes=99-"}).status == 416
    assert account.ask("GET", "read-once", sas=sas).body == BODY
    assert why(account.ask("GET", "read-once", sas=sas)) == USED
    assert why(account.ask("GET", "read-once", sas=sas, comp="metadata")) == USED
    assert account.ask("GET", "read-once", sas=account.sas("read-once", "r", seconds=200)).body == BODY


def test_the_sdk_reads_once_what_it_reads_in_one_range(azure: Accounts) -> None:
    """And is told why it may not again."""
    azure().put("sdk-once", BODY)
    blob = azure(Profile(single_use=("read",))).blob("sdk-once", "r")
    assert blob.download_blob().readall() == BODY
    with pytest.raises(HttpResponseError) as caught:
        blob.download_blob()
    assert caught.value.status_code == 403
    assert "The key has been used up." in str(caught.value)


def test_a_single_use_write_is_used_by_its_success_alone(azure: Accounts) -> None:
    """What is refused gives it back."""
    account = azure(Profile(single_use=("write",)))
    sas = account.sas("write-once", "w")
    assert refused(put(account, "write-once", sas, headers={"Content-MD5": md5(b"other")})) == (400, "Md5Mismatch")
    assert put(account, "write-once", sas, headers={"If-Match": '"other"'}).status == 412
    assert put(account, "write-once", sas).status == 201
    assert why(put(account, "write-once", sas, b"again")) == USED
    assert azure().ask("GET", "write-once").body == BODY


@pytest.mark.parametrize("comp", ["metadata", "properties"])
def test_a_change_uses_a_single_use_write(azure: Accounts, comp: str) -> None:
    """It writes the blob anew."""
    azure().put("change-once", BODY)
    account = azure(Profile(single_use=("write",)))
    sas = account.sas("change-once", "w")
    assert account.ask("PUT", "change-once", sas=sas, headers={"If-Match": '"x"'}, comp=comp).status == 412
    assert account.ask("PUT", "change-once", sas=sas, comp=comp).status == 200
    assert why(account.ask("PUT", "change-once", sas=sas, comp=comp)) == USED


def test_a_single_use_delete_deletes_once(azure: Accounts) -> None:
    """A blob that was not there uses nothing."""
    account = azure(Profile(single_use=("delete",)))
    sas = account.sas("delete-once", "d")
    assert account.ask("DELETE", "delete-once", sas=sas).status == 404
    azure().put("delete-once", BODY)
    assert account.ask("DELETE", "delete-once", sas=sas).status == 202
    azure().put("delete-once", BODY)
    assert why(account.ask("DELETE", "delete-once", sas=sas)) == USED


def test_uses_are_counted_over_all_operations(azure: Accounts) -> None:
    """A write and a read are two."""
    account = azure(Profile(uses=2))
    sas = account.sas("two-uses", "rw")
    assert put(account, "two-uses", sas).status == 201
    assert account.ask("GET", "two-uses", sas=sas).body == BODY
    assert why(account.ask("GET", "two-uses", sas=sas)) == USED


def test_of_many_uploads_at_once_one_has_the_use(azure: Accounts) -> None:
    """The others are refused, and what is kept is whole."""
    account = azure(Profile(single_use=("write",)))
    sas = account.sas("race", "w")
    bodies = [secrets.token_bytes(100_000) for _ in range(6)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: put(account, "race", sas, body), bodies))
    assert sorted(answer.status for answer in answers) == [201] + [403] * 5
    assert {why(answer) for answer in answers if answer.status == 403} == {USED}
    won = next(body for body, answer in zip(bodies, answers, strict=True) if answer.status == 201)
    assert azure().ask("GET", "race").body == won


# --- what may be written -----------------------------------------------------------------------------------------


def test_lengths_are_held_to_the_byte(azure: Accounts) -> None:
    """Announced or not; also of what is only described anew."""
    account = azure(Profile(length_bytes_min=4, length_bytes_max=8))
    sas = account.sas("length", "w")
    large, small = put(account, "length", sas, b"123456789"), put(account, "length", sas, b"123")
    assert (why(large), why(small)) == (
        (413, "RequestBodyTooLarge", "too_large"),
        (400, "OutOfRangeInput", "too_small"),
    )
    assert error_of(large)["MaxLimit"] == "8"
    assert put(account, "length", sas, iter([b"12345", b"6789"])).code == "too_large"
    assert put(account, "length", sas, iter([b"12", b"3"])).code == "too_small"
    assert azure().ask("GET", "length").status == 404
    for body in (b"1234", b"12345678"):
        assert put(account, "length", sas, body).status == 201
    for body, code in ((BODY, "too_large"), (b"1", "too_small")):
        azure().put("length", body)
        for comp in ("metadata", "properties"):
            assert account.ask("PUT", "length", sas=sas, comp=comp).code == code


def create_only_profile(azure: Accounts) -> tuple[Account, str]:
    """By the profile, whatever the signature allows."""
    account = azure(Profile(create_only=True))
    return account, account.sas("created", "rcw")


def create_only_letters(azure: Accounts) -> tuple[Account, str]:
    """By the signature: `c` without `w`."""
    account = azure()
    return account, account.sas("created", "rc")


@pytest.mark.parametrize("make", [create_only_profile, create_only_letters])
def test_create_only_never_replaces(azure: Accounts, make: Callable[[Accounts], tuple[Account, str]]) -> None:
    """UnauthorizedBlobOverwrite; who asks for a new blob is told that it exists. Nor is one described anew."""
    azure().ask("DELETE", "created")
    account, sas = make(azure)
    assert put(account, "created", sas).status == 201
    assert why(put(account, "created", sas, b"other")) == (403, "UnauthorizedBlobOverwrite", "exists")
    assert why(put(account, "created", sas, b"other", {"If-None-Match": "*"})) == (409, "BlobAlreadyExists", "exists")
    for comp in ("metadata", "properties"):
        assert account.ask("PUT", "created", sas=sas, comp=comp).status == 403
    assert account.ask("GET", "created", sas=sas).body == BODY


@pytest.mark.parametrize("kind", ["profile", "condition"])
def test_of_two_uploads_at_once_one_creates(azure: Accounts, kind: str) -> None:
    """Decided with the publish, not before it."""
    account = azure(Profile(create_only=True)) if kind == "profile" else azure()
    headers = {"If-None-Match": "*"} if kind == "condition" else {}
    name = f"created-{kind}"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: account.put(name, secrets.token_bytes(50_000), headers), range(6)))
    refusal = 409 if kind == "condition" else 403
    assert sorted(answer.status for answer in answers) == [201] + [refusal] * 5


def test_types_are_those_that_the_blob_is_to_have(azure: Accounts) -> None:
    """x-ms-blob-content-type before Content-Type; a change of it is held to the same."""
    account = azure(Profile(types=("image/*",)))
    sas = account.sas("typed", "w")
    refusal = (403, "AuthorizationFailure", "type_not_allowed")
    assert why(put(account, "typed", sas)) == refusal
    assert why(put(account, "typed", sas, headers={"Content-Type": "text/html"})) == refusal
    cheat = {"Content-Type": "image/png", "x-ms-blob-content-type": "text/html"}
    assert why(put(account, "typed", sas, headers=cheat)) == refusal
    named = {"Content-Type": "application/octet-stream", "x-ms-blob-content-type": "image/png"}
    assert put(account, "typed", sas, headers=named).status == 201
    change = {"x-ms-blob-content-type": "text/html"}
    assert why(account.ask("PUT", "typed", sas=sas, headers=change, comp="properties")) == refusal
    assert why(account.ask("PUT", "typed", sas=sas, comp="properties")) == refusal
    change = {"x-ms-blob-content-type": "image/gif"}
    assert account.ask("PUT", "typed", sas=sas, headers=change, comp="properties").status == 200
    assert account.ask("PUT", "typed", sas=sas, comp="metadata").status == 200
    azure().put("typed", BODY, {"Content-Type": "text/html"})
    assert why(account.ask("PUT", "typed", sas=sas, comp="metadata")) == refusal


# --- who, where, when --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "status", "code", "ours"),
    [
        (Profile(networks=("192.0.2.0/24",)), 403, "AuthorizationSourceIPMismatch", "source_not_allowed"),
        (Profile(https=True), 403, "AuthorizationProtocolMismatch", "https_required"),
        (Profile(ttl_seconds_max=60), 403, "AuthorizationFailure", "ttl_too_long"),
        (Profile(operations=("write", "delete")), 403, "AuthorizationPermissionMismatch", "operation_not_allowed"),
        (Profile(prefixes=("/others/",)), 403, "AuthorizationFailure", "path_not_allowed"),
    ],
)
def test_a_profile_narrows_who_where_and_when(
    azure: Accounts, profile: Profile, status: int, code: str, ours: str
) -> None:
    """Each with the code that Azure has for it, in the header of a HEAD too."""
    azure().put("narrow", BODY)
    account = azure(profile)
    sas = account.sas("narrow", "r", seconds=300)
    assert why(account.ask("GET", "narrow", sas=sas)) == (status, code, ours)
    found = account.ask("HEAD", "narrow", sas=sas)
    assert (found.status, found.headers["x-ms-error-code"], found.code, found.body) == (status, code, ours, b"")


def test_within_its_profile_a_key_opens(azure: Accounts) -> None:
    """The same terms, met."""
    azure().put("narrow", BODY)
    account = azure(
        Profile(networks=("127.0.0.0/8",), ttl_seconds_max=400, operations=("read",), prefixes=("/things/",))
    )
    assert account.ask("GET", "narrow", sas=account.sas("narrow", "rw")).body == BODY


@pytest.mark.parametrize("what", ["key", "signing key", "retired"])
def test_a_key_that_is_revoked_opens_nothing_more(azure: Accounts, what: str) -> None:
    """The key alone, or all of its signing key; AuthenticationFailed, as of a stored policy that is gone."""
    azure().put("revoked", BODY)
    account = azure(Profile())
    sas = account.sas("revoked", "r")
    assert account.ask("GET", "revoked", sas=sas).status == 200
    gate = azure.gate
    if what == "key":
        gate.cli("revoke", f"{gate.base}{account.at('revoked', sas)}")
    elif what == "signing key":
        gate.cli("revoke", "--signing-key", account.signing_key)
    else:
        gate.cli("keys", "retire", account.signing_key)
    wait_until(lambda: account.ask("GET", "revoked", sas=sas).status == 403)
    found = account.ask("GET", "revoked", sas=sas)
    refusal = refused(found)
    assert refusal == (403, "AuthenticationFailed")
    assert found.code in ("key_revoked", "signature_mismatch")
    if what == "key":
        assert account.ask("GET", "revoked", sas=account.sas("revoked", "r", seconds=200)).status == 200


def test_a_budget_that_is_spent_is_a_busy_server(azure: Accounts) -> None:
    """503 and when to try again: all of Azure's clients wait then."""
    azure().put("budget", BODY)
    account = azure(Profile(budget=Budget(rate=0.01, burst=2)))
    sas = account.sas("budget", "r")
    answers = [account.ask("GET", "budget", sas=sas) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 503]
    assert why(answers[2]) == (503, "ServerBusy", "rate_limited")
    assert int(answers[2].headers["retry-after"]) > 0


def test_an_account_may_have_two_keys(azure: Accounts) -> None:
    """So that one can be rotated: each signs, and its own profile holds."""
    azure().put("rotated", BODY)
    first = azure(Profile())
    second = azure.new(Profile(operations=("write",)), first.name)
    assert first.ask("GET", "rotated").body == BODY
    assert why(second.ask("GET", "rotated"))[1:] == ("AuthorizationPermissionMismatch", "operation_not_allowed")
    assert second.put("rotated", BODY).status == 201
