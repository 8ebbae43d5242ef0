"""Keys that do not open, told as Azure tells it: its status, header, code, sentence and detail, by the daemon."""

import datetime
from typing import Any
from urllib.parse import quote, unquote

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobClient, BlobServiceClient, ContentSettings
from azure.storage.blob._shared.models import Services

from tests.edge.azure.conftest import Account, Accounts, code_of, error_of, refused
from tests.edge.conftest import written
from tests.gate import Gate

BODY = b"body"
DETAIL = "AuthenticationErrorDetail"


def now() -> datetime.datetime:
    """In whole seconds, as signatures have it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def gmt(moment: datetime.datetime) -> str:
    """As Azure's details have it."""
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.fixture(scope="module", autouse=True)
def _stored(account: Account) -> None:
    assert account.put("a", BODY).status == 201


def test_without_a_key_a_client_of_azures_is_told_so(account: Account) -> None:
    """401 with a challenge; the SDK shows the code."""
    found = account.gate.ask("GET", account.at("a"), headers={"x-ms-version": "2021-12-02"})
    assert refused(found) == (401, "NoAuthenticationInformation")
    assert found.headers["www-authenticate"].startswith("Bearer ")
    assert found.headers["x-ms-version"] == "2021-12-02"
    with pytest.raises(HttpResponseError) as caught:
        BlobClient.from_blob_url(account.gate.base + account.at("a"), retry_total=0).download_blob()
    assert (caught.value.status_code, code_of(caught.value)) == (401, "NoAuthenticationInformation")


def test_a_wrong_signature_is_told_what_should_have_been_signed(account: Account) -> None:
    """The client's own words; nothing that the key makes of them."""
    sas = account.sas("a", "r")
    stranger = Account(account.gate, account.name, "A" * 86 + "==", "")
    for target in (account.at("a", stranger.sas("a", "r")), account.at("a", sas.replace("sp=r", "sp=rw"))):
        found = account.gate.ask("GET", target)
        assert refused(found) == (403, "AuthenticationFailed")
        assert found.code == "signature_mismatch"
        detail = error_of(found)[DETAIL]
        assert detail.startswith("Signature did not match. String to sign used was r")
        assert f"/blob/{account.name}/things/a" in detail
        assert unquote(sas.rpartition("sig=")[2]) not in detail
    with pytest.raises(ClientAuthenticationError):
        BlobClient.from_blob_url(account.gate.base + account.at("a", stranger.sas("a", "r"))).download_blob()


def test_an_account_that_nobody_has_is_told_the_same(account: Account) -> None:
    """Accounts cannot be probed for."""
    other = Account(account.gate, "nobody", account.key, "")
    found = other.gate.ask("GET", other.at("a", other.sas("a", "r")))
    assert refused(found) == (403, "AuthenticationFailed")
    assert error_of(found)[DETAIL].startswith("Signature did not match.")


def test_outside_its_time_a_key_is_told_when_it_holds(account: Account) -> None:
    """The start where there is one, the end, and the gateway's clock."""
    start, end = now() - datetime.timedelta(hours=2), now() - datetime.timedelta(hours=1)
    shown: list[tuple[dict[str, Any], str]] = [
        ({"start": start, "expiry": end}, f"Start [{gmt(start)}] - Expiry [{gmt(end)}]"),
        ({"expiry": end}, f"Expiry [{gmt(end)}]"),
    ]
    for terms, period in shown:
        found = account.ask("GET", "a", sas=account.sas("a", "r", **terms))
        assert (refused(found), found.code) == ((403, "AuthenticationFailed"), "key_expired")
        assert error_of(found)[DETAIL].startswith(
            f"Signature not valid in the specified time frame: {period} - Current ["
        )
    start, end = now() + datetime.timedelta(hours=1), now() + datetime.timedelta(hours=2)
    found = account.ask("GET", "a", sas=account.sas("a", "r", start=start, expiry=end))
    assert (refused(found), found.code) == ((403, "AuthenticationFailed"), "key_not_yet_valid")


@pytest.mark.parametrize(
    ("terms", "code", "ours"),
    [
        ({"ip": "192.0.2.1-192.0.2.9"}, "AuthorizationSourceIPMismatch", "source_not_allowed"),
        ({"protocol": "https"}, "AuthorizationProtocolMismatch", "https_required"),
    ],
)
def test_where_a_signature_may_come_from_holds(account: Account, terms: dict[str, Any], code: str, ours: str) -> None:
    """sip and spr."""
    found = account.ask("GET", "a", sas=account.sas("a", "r", **terms))
    assert (refused(found), found.code) == ((403, code), ours)
    if "ip" in terms:
        assert "using this source IP 127.0.0.1." in error_of(found)["Message"]
        assert account.ask("GET", "a", sas=account.sas("a", "r", ip="127.0.0.1-127.0.0.2")).body == BODY


@pytest.mark.parametrize(
    ("method", "permission", "parameters"),
    [
        ("GET", "w", {}),
        ("HEAD", "cwd", {}),
        ("GET", "w", {"comp": "metadata"}),
        ("PUT", "rd", {}),
        ("PUT", "rc", {"comp": "metadata"}),
        ("PUT", "rc", {"comp": "properties"}),
        ("DELETE", "rcw", {}),
    ],
)
def test_each_operation_needs_its_letter(
    account: Account, method: str, permission: str, parameters: dict[str, Any]
) -> None:
    """AuthorizationPermissionMismatch, and the blob stays."""
    headers = {"x-ms-blob-type": "BlockBlob"}
    found = account.ask(method, "a", sas=account.sas("a", permission), headers=headers, **parameters)
    assert (found.status, found.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
    assert found.code == "operation_not_allowed"
    assert account.ask("GET", "a").body == BODY


def test_an_account_signature_names_services_and_resources(account: Account) -> None:
    """Each has a code of its own."""
    found = account.ask("GET", "a", sas=account.account_sas("o", "r", services=Services(fileshare=True)))
    assert refused(found) == (403, "AuthorizationServiceMismatch")
    found = account.ask("GET", "a", sas=account.account_sas("sc", "r"))
    assert refused(found) == (403, "AuthorizationResourceTypeMismatch")
    found = account.ask("GET", "a", sas=account.account_sas("o", "w"))
    assert refused(found) == (403, "AuthorizationPermissionMismatch")


def test_a_signature_opens_its_blob_alone(account: Account) -> None:
    """Of another blob or container it is none."""
    account.put("b", BODY)
    sas = account.sas("a", "r")
    for target in (account.at("b", sas), account.at("a", sas, container="others")):
        assert refused(account.gate.ask("GET", target)) == (403, "AuthenticationFailed")


@pytest.mark.parametrize(
    "query",
    [
        "sv=2020-12-06&sig=AAAA",
        "sv=2020-12-06&se=2099-01-01&sp=r&sr=b&sig=%25%25%25",
        "sv=2020-12-06&se=2099-01-01&sp=wr&sr=b&sig=" + "A" * 43 + "%3D",
        "sv=2020-12-06&se=tomorrow&sp=r&sr=b&sig=" + "A" * 43 + "%3D",
        "sv=2020-12-06&sv=2020-12-06&se=2099-01-01&sp=r&sr=b&sig=" + "A" * 43 + "%3D",
    ],
)
def test_a_key_that_is_none_is_refused_in_azures_words(account: Account, query: str) -> None:
    """With what is wrong with it, as far as a signature is not needed to see it."""
    found = account.gate.ask("GET", account.at("a") + "?" + query)
    assert refused(found) == (403, "AuthenticationFailed")
    assert error_of(found)[DETAIL].startswith("Signature fields not well formed.")


def test_a_query_that_cannot_be_read_is_refused_in_the_words_of_whoever_asks(account: Account) -> None:
    """InvalidUri to a client of Azure's; that there is a key in it nobody can know."""
    target = account.at("a") + "?sv=2020-12-06&sp=r&sig=%zz"
    found = account.gate.ask("GET", target, headers={"x-ms-version": "2023-11-03"})
    assert refused(found) == (400, "InvalidUri")
    assert account.gate.ask("GET", target).code == "target_invalid"


def test_who_signs_each_request_with_the_account_key_is_told_what_opens_instead(account: Account) -> None:
    """The SDK does, where it is given the account key."""
    credential = {"account_name": account.name, "account_key": account.key}
    service = BlobServiceClient(account.url, credential=credential, retry_total=0)
    with pytest.raises(ClientAuthenticationError) as caught:
        service.get_blob_client("things", "a").download_blob()
    assert code_of(caught.value) == "AuthenticationFailed"
    assert "sign a shared access signature with it" in str(caught.value)


def test_two_keys_are_one_too_many(account: Account) -> None:
    """InvalidAuthenticationInfo."""
    found = account.ask("GET", "a", headers={"Authorization": "Bearer x.y.z"})
    assert (found.status, found.code) == (400, "key_ambiguous")
    assert refused(found) == (400, "InvalidAuthenticationInfo")


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("PUT", {"comp": "lease"}),
        ("PUT", {"comp": "snapshot"}),
        ("PUT", {"comp": "tags"}),
        ("PUT", {"comp": "tier"}),
        ("PUT", {"comp": "appendblock"}),
        ("PUT", {"comp": "page"}),
        ("PUT", {"comp": "copy"}),
        ("PUT", {"comp": "undelete"}),
        ("POST", {"comp": "query"}),
        ("GET", {"comp": "pagelist"}),
        ("GET", {"comp": "tags"}),
    ],
)
def test_what_is_not_served_is_501_in_azures_xml(account: Account, method: str, parameters: dict[str, Any]) -> None:
    """Whatever the key allows."""
    assert refused(account.ask(method, "a", **parameters)) == (501, "NotImplemented")


def test_a_verb_that_nothing_has_is_405(account: Account) -> None:
    """UnsupportedHttpVerb."""
    assert refused(account.ask("POST", "a")) == (405, "UnsupportedHttpVerb")


def test_an_unknown_component_is_told_its_name(account: Account) -> None:
    """InvalidQueryParameterValue."""
    found = account.ask("GET", "a", comp="magic")
    assert refused(found) == (400, "InvalidQueryParameterValue")
    assert error_of(found)["QueryParameterName"] == "comp"


@pytest.mark.parametrize("name", ["../a", "a/../b", "x" * 1025])
def test_a_name_that_cannot_be_kept_is_refused(account: Account, name: str) -> None:
    """InvalidResourceName."""
    target = f"/{account.name}/things/{quote(name)}?{account.container_sas()}"
    assert refused(account.gate.ask("GET", target)) == (400, "InvalidResourceName")


def test_every_answer_carries_the_ids(account: Account) -> None:
    """Of a success as of a refusal."""
    sent = {"x-ms-client-request-id": "11111111-2222-3333", "x-ms-version": "2023-11-03"}
    for method, name in (("GET", "a"), ("GET", "missing"), ("HEAD", "missing")):
        found = account.ask(method, name, headers=sent).headers
        assert found["x-ms-client-request-id"] == "11111111-2222-3333"
        assert found["x-ms-version"] == "2023-11-03"
        assert found["x-ms-request-id"] == found["x-request-id"]


def test_refusals_of_a_head_are_told_in_its_header(account: Account) -> None:
    """The SDK reads the code there."""
    found = account.ask("HEAD", "missing")
    assert (found.status, found.headers["x-ms-error-code"], found.body) == (404, "BlobNotFound", b"")
    with pytest.raises(HttpResponseError) as caught:
        account.blob("missing").get_blob_properties()
    assert code_of(caught.value) == "BlobNotFound"


def test_the_rules_for_browsers_are_those_of_the_container(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is the second segment of the path here; a page reads Azure's own headers."""
    rules = '[[buckets.things.cors]]\norigins = ["https://app.test"]\nmethods = ["GET", "PUT"]\nheaders = ["*"]\n'
    asked = {"Origin": "https://app.test", "Access-Control-Request-Method": "PUT"}
    asked["Access-Control-Request-Headers"] = "x-ms-blob-type,x-ms-version"
    with Gate(tmp_path_factory.mktemp("cors"), config=rules) as gate:
        account = Accounts(gate)()
        found = gate.ask("OPTIONS", account.at("page", account.sas("page")), headers=asked)
        assert found.status == 204, found
        assert found.headers["access-control-allow-origin"] == "https://app.test"
        refusal = gate.ask("OPTIONS", account.at("page", account.sas("page"), container="other"), headers=asked)
        assert refused(refusal) == (403, "CorsPreflightFailure")
        put = account.put("page", BODY, {"Origin": "https://app.test"})
        exposed = put.headers["access-control-expose-headers"].lower()
        assert (put.status, put.headers["access-control-allow-origin"]) == (201, "https://app.test")
        assert {"x-ms-request-id", "x-ms-error-code"} <= set(exposed.split(", "))


def test_no_signature_is_in_anything_that_was_written(account: Account) -> None:
    """Log, audit, ring: neither of keys that opened nor of those that did not."""
    sas, wrong = account.sas("a", "r"), account.sas("b", "r")
    assert account.ask("GET", "a", sas=sas).status == 200
    assert account.gate.ask("GET", account.at("a", wrong)).status == 403
    account.gate.audit()
    for path in written(account.gate):
        data = path.read_bytes()
        for signed in (sas, wrong):
            signature = signed.partition("sig=")[2].partition("&")[0]
            assert signature.encode() not in data, path.name
            assert unquote(signature).encode() not in data, path.name


def test_what_is_served_cannot_run_as_a_page_of_this_host(account: Account) -> None:
    """Whoever uploads it chooses the type."""
    blob = account.blob("page.html")
    blob.upload_blob(b"<script>", content_settings=ContentSettings(content_type="text/html"), overwrite=True)
    found = account.ask("GET", "page.html").headers
    assert found["content-disposition"] == "attachment"
    assert "sandbox" in found["content-security-policy"]
