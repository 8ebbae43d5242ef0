"""What a request asks for and what a SAS opens: operations, letters, resources, and the signing key's profile."""

import asyncio
from ipaddress import ip_address
from typing import Any

import pytest

from tests.grants.azure.stranger import (
    ACCOUNT,
    BASE,
    END,
    NOW,
    account_key,
    account_url,
    admit,
    arriving,
    blob_url,
    by_hand,
    container_url,
    detail,
    judge,
    refusal,
    retired,
    ring,
    secret,
    url_by_hand,
)
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.azure import Azure
from valetstore.grants.grant import Admission, Budget, Intent, Profile
from valetstore.inbound import Inbound
from valetstore.policy.revocation import Revocation
from valetstore.replay.memory import MemoryReplaySet

BLOB = "/photos/a/cat.jpg"
CONTAINER = "/photos"
IN_CONTAINER = "restype=container"

# Action, method, path, query, letters of which one opens it, level, whether a service SAS can
ACTIONS = [
    ("GetBlob", "GET", BLOB, "", "r", "o", True),
    ("GetBlobProperties", "HEAD", BLOB, "", "r", "o", True),
    ("GetBlobMetadata", "GET", BLOB, "comp=metadata", "r", "o", True),
    ("GetBlobMetadata", "HEAD", BLOB, "comp=metadata", "r", "o", True),
    ("GetBlockList", "GET", BLOB, "comp=blocklist&blocklisttype=all", "r", "o", True),
    ("PutBlob", "PUT", BLOB, "", "cw", "o", True),
    ("PutBlock", "PUT", BLOB, "comp=block&blockid=AAAA", "cw", "o", True),
    ("PutBlockList", "PUT", BLOB, "comp=blocklist", "cw", "o", True),
    ("SetBlobMetadata", "PUT", BLOB, "comp=metadata", "w", "o", True),
    ("SetBlobProperties", "PUT", BLOB, "comp=properties", "w", "o", True),
    ("DeleteBlob", "DELETE", BLOB, "", "d", "o", True),
    ("DeleteBlob", "DELETE", BLOB, "versionid=1", "x", "o", True),
    ("ListBlobs", "GET", CONTAINER, f"{IN_CONTAINER}&comp=list", "l", "c", True),
    ("ListBlobs", "GET", CONTAINER, f"{IN_CONTAINER}&comp=list&prefix=a/", "l", "c", True),
    ("CreateContainer", "PUT", CONTAINER, IN_CONTAINER, "cw", "c", False),
    ("DeleteContainer", "DELETE", CONTAINER, IN_CONTAINER, "d", "c", False),
    ("GetContainerProperties", "GET", CONTAINER, IN_CONTAINER, "r", "c", False),
    ("GetContainerProperties", "HEAD", f"{CONTAINER}/", IN_CONTAINER, "r", "c", False),
    ("GetContainerMetadata", "GET", CONTAINER, f"{IN_CONTAINER}&comp=metadata", "r", "c", False),
    ("GetContainerMetadata", "HEAD", CONTAINER, f"{IN_CONTAINER}&comp=metadata", "r", "c", False),
    ("SetContainerMetadata", "PUT", CONTAINER, f"{IN_CONTAINER}&comp=metadata", "w", "c", False),
    ("ListContainers", "GET", "/", "comp=list", "l", "s", False),
]
LETTERS = "racwdxl"
ACCOUNT_LETTERS = "rwdxlac"


def further(query: str) -> str:
    return f"{query}&" if query else ""


def is_open(inbound: Inbound) -> bool:
    """Whether it is, or is refused for want of a permission."""
    try:
        admit(inbound)
    except Denied as denied:
        assert denied.code == "operation_not_allowed"  # noqa: PT017 - any other is a fault of the test
        return False
    return True


# What is asked


@pytest.mark.parametrize(("action", "method", "path", "query"), [row[:4] for row in ACTIONS])
def test_an_operation_is_named_by_method_restype_and_comp(action: str, method: str, path: str, query: str) -> None:
    intent = Azure().intent(arriving(method, f"{BASE}{path}?{query}"))
    assert intent.action == action
    if path == BLOB:
        assert (intent.path, intent.key and intent.key.path) == (BLOB, BLOB)
    else:
        expected = {"/": "/"}.get(path, "/photos/") + ("a/" if "prefix" in query else "")
        assert (intent.path, intent.key) == (expected, None)


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        *[
            ("PUT", BLOB, f"comp={comp}")
            for comp in ("appendblock", "page", "lease", "snapshot", "tags", "tier", "undelete", "copy", "expiry")
        ],
        *[("PUT", BLOB, f"comp={comp}") for comp in ("immutabilityPolicies", "legalhold", "incrementalcopy", "seal")],
        ("GET", BLOB, "comp=pagelist"),
        ("GET", BLOB, "comp=tags"),
        ("POST", BLOB, "comp=query"),
        ("DELETE", BLOB, "comp=immutabilityPolicies"),
        ("GET", BLOB, "comp=list"),
        ("PUT", BLOB, IN_CONTAINER),
        ("HEAD", BLOB, "comp=blocklist"),
        ("GET", CONTAINER, f"{IN_CONTAINER}&comp=acl"),
        ("PUT", CONTAINER, f"{IN_CONTAINER}&comp=acl"),
        ("PUT", CONTAINER, f"{IN_CONTAINER}&comp=lease"),
        ("PUT", CONTAINER, f"{IN_CONTAINER}&comp=undelete"),
        ("PUT", CONTAINER, f"{IN_CONTAINER}&comp=rename"),
        ("POST", CONTAINER, f"{IN_CONTAINER}&comp=batch"),
        ("GET", CONTAINER, f"{IN_CONTAINER}&comp=blobs"),
        ("GET", "/", "restype=service&comp=properties"),
        ("PUT", "/", "restype=service&comp=properties"),
        ("GET", "/", "restype=service&comp=stats"),
        ("POST", "/", "restype=service&comp=userdelegationkey"),
        ("GET", "/", "restype=account&comp=properties"),
        ("POST", "/", "comp=batch"),
        ("GET", "/", "comp=blobs"),
    ],
)
def test_what_azure_has_and_is_not_served_is_said_to_be_so(method: str, path: str, query: str) -> None:
    denied = refusal(arriving(method, f"{BASE}{path}?{query}"))
    assert denied.said is not None
    assert (denied.code, denied.said.code) == ("not_implemented", "NotImplemented")


@pytest.mark.parametrize("header", ["x-ms-copy-source", "X-MS-Copy-Source", "x-ms-rename-source"])
@pytest.mark.parametrize("query", ["", "comp=block&blockid=AAAA", "comp=blocklist"])
def test_a_header_that_makes_a_copy_of_an_upload_is_never_passed_over(header: str, query: str) -> None:
    url = f"{blob_url(permission='rw')}&{query}"
    admit(arriving("PUT", url))
    denied = refusal(arriving("PUT", url, {header: f"{BASE}/secret/x"}))
    assert denied.code == "not_implemented"


@pytest.mark.parametrize(
    ("method", "path", "query", "code", "said"),
    [
        ("GET", BLOB, "comp=nonsense", "parameter_invalid", "InvalidQueryParameterValue"),
        ("GET", BLOB, "restype=nonsense", "parameter_invalid", "InvalidQueryParameterValue"),
        ("PUT", BLOB, "comp=block&comp=blocklist", "parameter_invalid", "InvalidQueryParameterValue"),
        ("PUT", BLOB, "comp=block&%63omp=blocklist", "parameter_invalid", "InvalidQueryParameterValue"),
        ("PUT", BLOB, "Comp=block", "parameter_invalid", "InvalidQueryParameterValue"),
        ("GET", CONTAINER, "RESTYPE=container", "parameter_invalid", "InvalidQueryParameterValue"),
        ("GET", CONTAINER, "", "parameter_invalid", "MissingRequiredQueryParameter"),
        ("PUT", CONTAINER, "", "parameter_invalid", "MissingRequiredQueryParameter"),
        ("GET", CONTAINER, "comp=list", "parameter_invalid", "MissingRequiredQueryParameter"),
        ("POST", BLOB, "", "method_not_allowed", None),
        ("PATCH", BLOB, "", "method_not_allowed", None),
        ("GET", "/", "", "method_not_allowed", None),
        ("GET", "/_x/y", "", "object_key_invalid", None),
        ("GET", "/photos/../x", "", "object_key_invalid", None),
        ("GET", "//x", "", "object_key_invalid", None),
        ("GET", "/photos/%00", "", "object_key_invalid", None),
        ("GET", "/photos/%ff", "", "object_key_invalid", None),
        ("GET", "/photos/%zz", "", "target_invalid", None),
        ("GET", f"/photos/{'x' * 1025}", "", "object_key_invalid", None),
        ("GET", CONTAINER, f"{IN_CONTAINER}&comp=list&prefix={'x' * 1025}", "object_key_invalid", None),
    ],
)
def test_what_is_no_operation(method: str, path: str, query: str, code: str, said: str | None) -> None:
    with pytest.raises(Denied) as caught:
        Azure().intent(arriving(method, f"{BASE}{path}?{query}"))
    assert (caught.value.code, caught.value.said and caught.value.said.code) == (code, said)


def test_the_gateways_own_paths_are_no_account() -> None:
    with pytest.raises(Denied) as caught:
        Azure().intent(arriving("GET", "http://h/_valet/v1/metrics"))
    assert caught.value.code == "operation_not_allowed"
    with pytest.raises(Denied) as caught:
        Azure().intent(arriving("GET", "http://h/"))
    assert caught.value.code == "object_key_invalid"


def intent(query: str = "", **headers: str) -> Intent:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Azure().intent(arriving("PUT", f"{BASE}{BLOB}?{query}", sent))


def test_an_upload_announces_its_length_and_its_type() -> None:
    assert (intent(content_length="5").length, intent().length) == (5, None)
    assert intent("comp=block", content_length="5").length == 5
    # What a list of blocks is long, no blob is.
    assert intent("comp=blocklist", content_length="500").length is None
    for text in ("-1", "1_0", "x", "", "5, 5", "\u0665".encode().decode("latin-1")):
        with pytest.raises(Denied) as caught:
            intent(content_length=text)
        assert caught.value.code == "parameter_invalid"
    assert intent(content_type="image/png").content_type == "image/png"
    assert intent(content_type="text/x", x_ms_blob_content_type="image/png").content_type == "image/png"
    for comp in ("blocklist", "properties"):
        assert intent(f"comp={comp}", content_type="application/xml").content_type is None
        assert intent(f"comp={comp}", x_ms_blob_content_type="image/png").content_type == "image/png"
    for comp in ("block", "metadata"):
        assert intent(f"comp={comp}", content_type="image/png").content_type is None


def test_a_block_is_staged_and_metadata_are_no_bytes() -> None:
    assert [intent(q).staged for q in ("comp=block", "comp=blocklist", "")] == [True, False, False]
    assert [intent(q).copied for q in ("comp=metadata", "comp=properties", "")] == [True, False, False]


# What opens it


@pytest.mark.parametrize("row", ACTIONS)
def test_a_service_sas_opens_by_its_letters(row: tuple[str, str, str, str, str, str, bool]) -> None:
    """Each letter alone, on all that its container has; never a container itself, nor the account."""
    _, method, path, query, letters, level, by_service_sas = row
    for letter in LETTERS:
        sas = by_hand({"sp": letter, "se": END, "sr": "c"}, "/photos")
        inbound = arriving(method, f"{BASE}{path}?{further(query)}{sas}")
        if level == "s":
            assert refusal(inbound).code == "signature_mismatch"
        else:
            assert is_open(inbound) is (by_service_sas and letter in letters), letter


@pytest.mark.parametrize("row", ACTIONS)
def test_an_account_sas_opens_by_its_letters_services_and_resource_types(
    row: tuple[str, str, str, str, str, str, bool],
) -> None:
    _, method, path, query, letters, level, _ = row

    def asked(letter: str, resource_types: str = "sco", services: str = "b") -> Inbound:
        sas = by_hand({"sp": letter, "se": END, "ss": services, "srt": resource_types})
        return arriving(method, f"{BASE}{path}?{further(query)}{sas}")

    for letter in ACCOUNT_LETTERS:
        assert is_open(asked(letter)) is (letter in letters), letter
        assert is_open(asked(letter, level)) is (letter in letters)
        assert not is_open(asked(letter, "sco".replace(level, "")))
        assert not is_open(asked(letter, services="qtf"))
    assert is_open(asked(letters[0], services="bqtf"))


def test_permissions_are_judged_after_time_and_before_the_path() -> None:
    """Out of time, revoked, then the operation: as for every key."""
    late = arriving("PUT", blob_url(), now=NOW + 7200)
    assert refusal(late).code == "key_expired"
    assert refusal(arriving("PUT", blob_url())).code == "operation_not_allowed"


@pytest.mark.parametrize("sas", ["b", "c", "d", "account"])
def test_a_head_opens_as_a_get_does(sas: str) -> None:
    url = {
        "b": blob_url("a/b"),
        "c": container_url("a/b"),
        "d": f"{BASE}/photos/a/b?" + by_hand({"sp": "r", "se": END, "sr": "d", "sdd": "1"}, "/photos/a"),
        "account": account_url("/photos/a/b"),
    }[sas]
    for method in ("GET", "HEAD"):
        admit(arriving(method, url))


def test_a_sas_opens_its_resource_and_nothing_beside_it() -> None:
    def scope(url: str) -> str:
        ((found,),) = judge(arriving("GET", url)).grant.scopes
        return str(found)

    assert scope(blob_url("a/b")) == "/photos/a/b"
    assert scope(container_url("a/b")) == "everything below /photos/"
    assert scope(account_url("/photos/a/b")) == "everything below /"
    directory = by_hand({"sp": "r", "se": END, "sr": "d", "sdd": "2"}, "/photos/a/b")
    assert scope(f"{BASE}/photos/a/b/c/d?{directory}") == "everything below /photos/a/b/"
    for url in (blob_url("a/b"), container_url("a/b")):
        assert refusal(arriving("GET", url.replace("/photos/", "/photos2/"))).code == "signature_mismatch"
    # A blob's signature has no container and no list.
    list_of = f"{BASE}/photos?restype=container&comp=list&" + blob_url("a", "rl").partition("?")[2]
    assert refusal(arriving("GET", list_of)).code == "signature_mismatch"
    assert refusal(arriving("GET", blob_url("a/b").replace("/a/b?", "/a/c?"))).code == "signature_mismatch"


def test_the_root_container_is_a_container() -> None:
    assert admit(arriving("GET", blob_url(container="$root")))[0].path == "/$root/cat.jpg"


def test_create_without_write_replaces_nothing() -> None:
    def create_only(permission: str) -> bool:
        return judge(arriving("PUT", blob_url(permission=permission))).grant.create_only

    assert [create_only(text) for text in ("c", "rcd", "cw", "w", "rcwd")] == [True, True, False, False, False]


def test_a_download_is_answered_as_was_signed() -> None:
    url = blob_url(
        cache_control="no-store",
        content_disposition='attachment; filename="ü.txt"',
        content_encoding="gzip",
        content_language="de",
        content_type="text/plain",
    )
    assert dict(judge(arriving("GET", url)).grant.response) == {
        "cache-control": "no-store",
        "content-disposition": 'attachment; filename="ü.txt"',
        "content-encoding": "gzip",
        "content-language": "de",
        "content-type": "text/plain",
    }
    assert refusal(arriving("GET", blob_url() + "&rsct=text/html")).code == "signature_mismatch"


# Who signed


def test_either_key_of_an_account_signs() -> None:
    """And each key's signatures are its own."""
    found = [judge(arriving("GET", blob_url(account_key=account_key(name)))).grant for name in ("key1", "key2")]
    assert [grant.signing_key for grant in found] == ["key1", "key2"]
    assert found[0].identity != found[1].identity
    assert refusal(arriving("GET", blob_url(account_key=account_key("other")))).code == "signature_mismatch"


def test_the_path_names_the_account_that_signed() -> None:
    theirs = blob_url(account_key=account_key("other")).replace(f"/{ACCOUNT}/", "/otheraccount/")
    assert refusal(arriving("GET", theirs)).code == "signature_mismatch"
    signed = by_hand({"sp": "r", "se": END, "sr": "b"}, key=secret("other"), account="otheraccount")
    assert judge(arriving("GET", f"http://h/otheraccount/photos/cat.jpg?{signed}")).grant.signing_key == "other"
    for account in ("otheraccount", "nobody", "Nobody!", "x" * 300, "%2e"):
        denied = refusal(arriving("GET", blob_url().replace(f"/{ACCOUNT}/", f"/{account}/")))
        assert (denied.code, "Signature did not match" in detail(denied)) == ("signature_mismatch", True)


def test_a_keys_identity_is_its_signature_however_it_is_used() -> None:
    url = container_url("a", "rl")
    again = f"{BASE}/photos/b?x=1&{url.partition('?')[2]}"
    assert judge(arriving("GET", url)).grant.identity == judge(arriving("HEAD", again)).grant.identity
    assert judge(arriving("GET", url)).grant.identity != judge(arriving("GET", container_url("a", "r"))).grant.identity


def test_a_pasted_key_is_proven_without_an_operation() -> None:
    """To give it back, it need not be the URL of a request."""
    grant = judge(arriving("GET", container_url("", "rl"))).grant
    assert grant.operations == {"read", "list"}
    assert judge(arriving("POST", blob_url(permission="cd"))).grant.operations == {"write", "delete"}


# When


def test_it_is_valid_from_its_start_to_the_moment_before_its_end() -> None:
    url = url_by_hand(st="2027-01-15T08:00:00Z", se="2027-01-15T08:00:10.5Z")
    for now, code in ((NOW - 0.001, "key_not_yet_valid"), (NOW + 10.5, "key_expired"), (NOW + 11, "key_expired")):
        assert refusal(arriving("GET", url, now=now)).code == code
    for now in (NOW, NOW + 10.499):
        admit(arriving("GET", url, now=now))


def test_a_retired_key_of_an_account_opens_nothing_and_the_other_does() -> None:
    keys = retired(NOW)
    assert refusal(arriving("GET", blob_url()), keys).code == "key_revoked"
    admit(arriving("GET", blob_url(), now=NOW - 1), keys)
    admit(arriving("GET", blob_url(account_key=account_key("key2"))), keys)


# The signing key's profile


class Door:
    """A gate in front of one profile."""

    def __init__(self, **profile: Any) -> None:
        self.gate = Gateway([Azure()], ring(Profile(**profile)), MemoryReplaySet(100, 0))

    def admit(self, method: str, url: str, **more: Any) -> Admission:
        return asyncio.run(self.gate.admit(arriving(method, url, **more)))

    def code(self, method: str, url: str, **more: Any) -> str:
        try:
            self.admit(method, url, **more)
        except Denied as denied:
            return denied.code
        return ""

    def claim(self, admission: Admission) -> None:
        asyncio.run(self.gate.claim(admission, lambda: NOW))


def test_a_profile_narrows_operations_containers_networks_and_transport() -> None:
    door = Door(operations=("read", "list"), prefixes=("/photos/",), networks=("192.0.2.0/24",), https=True)
    peer = ip_address("192.0.2.1")
    url = account_url("/photos/a", "rwl")
    assert door.code("GET", url, peer=peer, tls=True) == ""
    assert door.code("PUT", url, peer=peer, tls=True) == "operation_not_allowed"
    assert door.code("GET", account_url("/other/a", "rwl"), peer=peer, tls=True) == "path_not_allowed"
    assert door.code("GET", url, peer=ip_address("198.51.100.1"), tls=True) == "source_not_allowed"
    assert door.code("GET", url, peer=peer) == "https_required"
    containers = account_url("/", "rl", further="comp=list&")
    assert door.code("GET", containers, peer=peer, tls=True) == ""
    listing = account_url("/other", "rl", further="restype=container&comp=list&")
    assert door.code("GET", listing, peer=peer, tls=True) == "path_not_allowed"


def test_both_of_two_networks_hold() -> None:
    door = Door(networks=("192.0.2.0/24",))
    url = url_by_hand(sip="192.0.2.200-198.51.100.9")
    assert door.code("GET", url, peer=ip_address("192.0.2.201")) == ""
    for address in ("192.0.2.1", "198.51.100.1"):
        assert door.code("GET", url, peer=ip_address(address)) == "source_not_allowed"


def test_a_profile_holds_for_lengths_and_types() -> None:
    door = Door(length_bytes_min=2, length_bytes_max=5, types=("image/*",))
    url = blob_url(permission="cw")

    def put(length: int, content_type: str = "image/png", further: str = "", **headers: str) -> str:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Length": str(length), "Content-Type": content_type, **own}
        return door.code("PUT", url + further, headers=sent)

    assert [put(length) for length in (1, 2, 5, 6)] == ["too_small", "", "", "too_large"]
    assert put(3, "text/html") == "type_not_allowed"
    assert put(3, "image/png", x_ms_blob_content_type="text/html") == "type_not_allowed"
    assert put(3, "text/html", x_ms_blob_content_type="image/png") == ""
    # A block may be smaller than the whole; its type is the list's to say.
    assert put(1, "text/html", "&comp=block&blockid=AAAA") == ""
    assert put(6, "text/html", "&comp=block&blockid=AAAA") == "too_large"
    assert put(300, "application/xml", "&comp=blocklist") == "type_not_allowed"
    assert put(300, "application/xml", "&comp=blocklist", x_ms_blob_content_type="image/png") == ""
    assert put(0, "image/png", "&comp=properties") == "type_not_allowed"
    assert put(0, "text/x", "&comp=properties", x_ms_blob_content_type="image/gif") == ""
    assert put(0, "text/x", "&comp=metadata") == ""


def test_a_profile_makes_keys_single_use_create_only_and_short_lived() -> None:
    door = Door(single_use=("read",), create_only=True, ttl_seconds_max=3600)
    url = blob_url(permission="rw")
    admission = door.admit("PUT", url)
    assert (admission.grant.create_only, admission.use) == (True, None)
    first = door.admit("GET", url)
    door.claim(first)
    assert [door.code(method, url) for method in ("GET", "HEAD", "PUT")] == ["key_used", "key_used", ""]
    # Of another signature, or of the same one written in another way: the use is the signature's.
    assert door.code("GET", blob_url("dog.jpg", "rw")) == ""
    assert door.code("GET", url.replace("/cat.jpg", "/%63at.jpg")) == "key_used"
    assert door.code("GET", blob_url(expiry="2027-01-15T09:00:01Z")) == "ttl_too_long"


def test_a_use_is_for_the_whole_container_that_was_signed() -> None:
    door = Door(uses=2)
    urls = [container_url(name, "r") for name in ("a", "b", "c")]
    for url in urls[:2]:
        door.claim(door.admit("GET", url))
    assert door.code("GET", urls[2]) == "key_used"


def test_staging_a_block_takes_no_use_and_needs_one() -> None:
    door = Door(single_use=("write",))
    url = blob_url(permission="w")
    assert door.admit("PUT", f"{url}&comp=block&blockid=AAAA").use is None
    whole = door.admit("PUT", f"{url}&comp=blocklist")
    assert whole.use is not None
    door.claim(whole)
    for further_ in ("&comp=block&blockid=AAAA", "&comp=blocklist", "", "&comp=metadata"):
        assert door.code("PUT", url + further_) == "key_used"


def test_a_profile_has_a_budget() -> None:
    door = Door(budget=Budget(rate=1, burst=1))
    assert door.code("GET", blob_url()) == ""
    assert door.code("GET", blob_url("dog.jpg")) == "rate_limited"


def test_what_is_revoked_opens_nothing() -> None:
    """A key by its identity, a signing key by its name, a folder by its path."""
    url = blob_url("a/b")
    for target in (
        {"key": Door().admit("GET", url).grant.identity.hex()},
        {"signing-key": "key1"},
        {"prefix": "/photos/a/"},
    ):
        door = Door()
        door.gate.revocations.add(revocation(**target))
        assert door.code("GET", url) == "key_revoked"
        assert door.code("GET", blob_url("c")) == ("key_revoked" if "signing-key" in target else "")


def revocation(**target: str) -> Revocation:
    ((kind, value),) = target.items()
    return Revocation("1a2000f0f33", kind, value, created_at=NOW)  # type: ignore[arg-type]
