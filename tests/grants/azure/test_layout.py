"""The string to sign: published vectors, every version's layout, and each signer's way of writing a name."""

import asyncio
import base64
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
import opendal
import pytest
from obstore.store import AzureStore

from tests.grants.azure.stranger import (
    ACCOUNT,
    BASE,
    END,
    HOST,
    VERSIONS,
    account_key,
    account_url,
    admit,
    arriving,
    blob_url,
    by_hand,
    container_url,
    detail,
    judge,
    parameters,
    real_now,
    refusal,
    ring,
    secret,
    url_by_hand,
    with_parameters,
)
from valetstore.encoding import percent_decode
from valetstore.errors import Denied
from valetstore.grants.azure.address import address_of
from valetstore.grants.azure.claim import claim_of
from valetstore.grants.azure.explain import facts_of
from valetstore.grants.azure.layout import strings_to_sign
from valetstore.grants.azure.rules import Rules
from valetstore.grants.azure.signer import signs
from valetstore.grants.grant import Profile
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of

NAMES = [
    "cat.jpg",
    "a b+c.jpg",
    "ü/ñ.txt",
    "a~b'(c)*!.txt",
    "q?x&y=z#1",
    "a//b",
    "%2F",
    "100%",
    "a%20b",
    "\u4e2d",
    "x/",
]


def vectors() -> list[Any]:
    folder = os.environ.get("VALETSTORE_VECTORS")
    if not folder:
        return [pytest.param({}, {}, marks=pytest.mark.skip("VALETSTORE_VECTORS names no folder"))]
    suite = json.loads((Path(folder) / "azure_sas.json").read_text())
    return [pytest.param(suite, case, id=case["name"]) for case in suite["cases"]]


@pytest.mark.parametrize(("suite", "case"), vectors())
def test_published_vectors_part_by_part(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """What they say of times, addresses and policies is for the string alone: one has an address that is none."""
    key = base64.b64decode(suite["account_key"])
    path = f"/{suite['account']}/{case.get('container', 'c')}/{case.get('blob', 'b')}"
    inbound = Inbound.from_raw(f"GET {path}?{case['query']} HTTP/1.1\nHost: h".encode(), now=1_483_142_400)
    assert dict(inbound.query) == case["params"]
    record = record_of("vectors", "HMAC", Profile(), kid=suite["account"], secret=key, scheme="azure")
    if case["params"].get("sip") == "ip":
        assert refusal(inbound, KeyRing([record])).code == "key_malformed"
        readable = inbound.target.replace(b"sip=ip", b"sip=192.0.2.1")
        claim = claim_of(Inbound("GET", readable, (), now=0))
        (text,) = (line.replace(b"192.0.2.1", b"ip") for line in strings_to_sign(claim, address_of(inbound), inbound))
    else:
        claim = claim_of(inbound)
        (text,) = strings_to_sign(claim, address_of(inbound), inbound)
    assert text.decode() == case["string_to_sign"]
    assert signs(key, [text], base64.b64decode(case["sig"]))
    if "si" in case["params"]:
        assert "policy" in detail(refusal(inbound, KeyRing([record])))
    elif "sip" not in case["params"]:
        grant = judge(inbound, KeyRing([record])).grant
        assert grant.not_before == grant.not_after == 1_483_228_800


# Every version


@pytest.mark.parametrize("sv", VERSIONS)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"st": "2027-01-15", "sip": "192.0.2.1-192.0.2.9", "spr": "https,http"},
        {"rscc": "no-store", "rscd": 'attachment; filename="ü+1 2.txt"', "rsce": "x", "rscl": "de", "rsct": "text/a"},
    ],
)
def test_a_service_sas_of_every_version_opens(sv: str, more: dict[str, str]) -> None:
    judge(arriving("GET", url_by_hand("a b/ü%.jpg", sv=sv, **more)))
    container = by_hand({"sv": sv, "sp": "l", "se": END, "sr": "c", **more}, "/photos")
    judge(arriving("GET", f"{BASE}/photos?restype=container&comp=list&{container}"))


@pytest.mark.parametrize("sv", VERSIONS)
def test_an_account_sas_of_every_version_opens(sv: str) -> None:
    said = {"sv": sv, "ss": "bqtf", "srt": "sco", "sp": "rl", "se": END, "st": "2027-01-15T07:00Z", "spr": "https,http"}
    query = by_hand(said)
    for path in ("/photos/cat.jpg?", "/photos?restype=container&comp=list&", "/?comp=list&"):
        admit(arriving("GET", f"{BASE}{path}{query}"))


@pytest.mark.parametrize("sv", VERSIONS)
def test_a_layout_of_another_version_does_not_hold(sv: str) -> None:
    """Where they differ: each version says itself which it is, so nobody can choose."""
    url = url_by_hand(sv=sv)
    for other in VERSIONS:
        if other != sv:
            assert refusal(arriving("GET", with_parameters(url, sv=other))).code == "signature_mismatch"


@pytest.mark.parametrize(
    "sv", ["2012-02-12", "2014-02-14", "2015-02-21", "2015-04-04", "", "2022-13-01", "20221102", "x"]
)
def test_what_is_older_than_sip_and_spr_or_is_no_version_is_refused(sv: str) -> None:
    denied = refusal(arriving("GET", url_by_hand(sv=sv)))
    assert (denied.code, detail(denied).startswith("Signature fields not well formed.")) == ("key_malformed", True)


@pytest.mark.parametrize(("sr", "sv"), [("bs", "2018-03-28"), ("bv", "2018-03-28"), ("d", "2019-12-12")])
def test_a_resource_that_a_version_does_not_sign_is_refused_in_it(sr: str, sv: str) -> None:
    """Else a blob's signature, which does not say `sr`, would open a directory of that name."""
    for more in ({}, {"sdd": "1"}):
        url = with_parameters(url_by_hand("a/b", sv=sv, snapshot="x"), sr=sr, **more)
        assert refusal(arriving("GET", url)).code == "key_malformed"


# Names


@pytest.mark.parametrize("name", NAMES)
def test_azures_sdk_signs_any_name(name: str) -> None:
    for url in (blob_url(name), container_url(name), account_url(f"/photos/{name}"), url_by_hand(name)):
        intent, _ = admit(arriving("GET", url))
        assert intent.path == f"/photos/{name}"
    assert refusal(arriving("GET", blob_url(name).replace("/photos/", "/photos/x"))).code == "signature_mismatch"


@pytest.mark.parametrize("name", NAMES)
def test_a_path_may_be_percent_encoded_in_any_way(name: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    url = blob_url(name)
    admit(arriving("GET", f"{BASE}/photos/{encoded}?{url.partition('?')[2]}"))


def store() -> AzureStore:
    """object_store's client for Azure."""
    return AzureStore(
        "photos",
        config={"account_name": ACCOUNT, "account_key": account_key(), "endpoint": BASE},
        client_options={"allow_http": True},
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("a//b", "x/")])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_obstore_signs_the_name_as_its_url_has_it(name: str, method: str) -> None:
    url = obstore.sign(store(), method, name, timedelta(hours=1))  # type: ignore[call-overload]
    inbound = arriving(method, url, now=real_now() + 1)
    intent, _ = admit(inbound)
    assert intent.path == f"/photos/{percent_decode(inbound.raw_path).split('/', 3)[3]}"


def presigned_by_opendal(name: str, container: str = "photos", account: str = ACCOUNT) -> str:
    operator = opendal.AsyncOperator(
        "azblob",
        container=container,
        endpoint=f"http://{HOST}/{account}",
        account_name=account,
        account_key=account_key(),
        root="/",
    )

    async def presign() -> str:
        return str((await operator.presign_read(name, 3600)).url)

    return asyncio.run(presign())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("a//b", "x/")])
def test_opendal_signs_the_account_twice(name: str) -> None:
    intent, _ = admit(arriving("GET", presigned_by_opendal(name), now=real_now()))
    assert intent.path == f"/photos/{name}"


def test_a_signers_own_way_of_writing_takes_no_other_blobs_signature() -> None:
    """What opendal signs for a blob is what others sign for one in the container that is called as the account."""
    theirs = {"sv": "2020-12-06", "sp": "racwd", "se": END, "sr": "b"}
    own = by_hand(theirs, f"/{ACCOUNT}/secret/x")
    assert judge(arriving("GET", f"{BASE}/secret/x?{own}")).grant.scopes[0][0].path == "/secret/x"
    assert refusal(arriving("GET", f"{BASE}/{ACCOUNT}/secret/x?{own}")).code == "signature_mismatch"
    for others in ({"sv": "2022-11-02"}, {"sp": "r"}, {"st": "2027-01-01"}, {"rscc": "no-store"}):
        query = by_hand(theirs | others, f"/{ACCOUNT}/secret/x")
        assert judge(arriving("GET", f"{BASE}/{ACCOUNT}/secret/x?{query}"))
        assert refusal(arriving("GET", f"{BASE}/secret/x?{query}")).code == "signature_mismatch"


def test_an_encoded_name_is_one_blobs_and_not_also_that_of_another() -> None:
    theirs = {"sv": "2023-11-03", "sp": "r", "st": "2027-01-01", "se": END, "sr": "b"}
    query = by_hand(theirs, "/photos/a%20b")
    judge(arriving("GET", f"{BASE}/photos/a%20b?{query}"))
    assert refusal(arriving("GET", f"{BASE}/photos/a%2520b?{query}")).code == "signature_mismatch"
    for others in ({"sv": "2022-11-02"}, {"sip": "192.0.2.1"}):
        query = by_hand(theirs | others, "/photos/a%20b")
        judge(arriving("GET", f"{BASE}/photos/a%2520b?{query}"))
        assert refusal(arriving("GET", f"{BASE}/photos/a%20b?{query}")).code == "signature_mismatch"


@pytest.mark.parametrize("name", ["a%2Fb", "a%2fb", "%61b", "a%20%62", "a%c3%a9", "%2E%2E", "%7Eb"])
def test_a_name_that_is_not_as_object_store_encodes_means_itself(name: str) -> None:
    """It encodes what a URL has to, in capitals, and no slash: of any other spelling nobody is given a second blob."""
    theirs = {"sv": "2023-11-03", "sp": "r", "st": "2027-01-01", "se": END, "sr": "b"}
    query = by_hand(theirs, f"/photos/x{name}")
    judge(arriving("GET", f"{BASE}/photos/x{quote(name)}?{query}"))
    for raw in (name, percent_decode(name.encode())):
        assert refusal(arriving("GET", f"{BASE}/photos/x{quote(raw, safe='%/')}?{query}")).code == "signature_mismatch"


def test_a_name_of_two_lines_has_no_signature() -> None:
    """Lines are what keeps apart what is signed. Of a container the name is not signed at all."""
    assert refusal(
        arriving("GET", f"{BASE}/photos/a%0Ab?" + by_hand({"sp": "r", "se": END, "sr": "b"}, "/photos/a\nb"))
    )
    admit(arriving("GET", f"{BASE}/photos/a%0Ab?" + container_url().partition("?")[2]))


def test_a_space_may_be_written_as_a_plus_in_a_header_that_is_signed() -> None:
    """As Go's clients do, the service's own tools among them; what was signed tells which of the two is meant."""
    for text in ('attachment; filename="a b+c.txt"', "a+b", "a b"):
        url = url_by_hand(rscd=text, rscc="no-store")
        plus = url.partition("&sig=")
        for written in (url, plus[0].replace("%20", "+") + plus[1] + plus[2]):
            assert dict(judge(arriving("GET", written)).grant.response)["content-disposition"] == text
    admit(arriving("GET", url_by_hand(rscd="a+b").replace("%2B", "+")))
    both = url_by_hand(rscd="a b+c").replace("%20", "+").replace("%2B", "+")
    assert refusal(arriving("GET", both)).code == "signature_mismatch"
    facts = facts_of(arriving("GET", url_by_hand(rscd="a b").replace("%20", "+")), Rules(), ring())
    assert facts is not None
    assert facts.causes == ()


# Directories, snapshots, versions


def directory(name: str, depth: int, permission: str = "rl", slash: str = "", **more: str) -> str:
    values = {"sp": permission, "se": END, "sr": "d", "sdd": str(depth), **more}
    return by_hand(values, f"/photos{name}{slash}")


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_directory_opens_what_is_below_it(slash: str) -> None:
    query = directory("/a/b c", 2, slash=slash)
    for name in ("a/b c/x", "a/b c/d/e/f", "a/b c//x", "a/b c/"):
        admit(arriving("GET", f"{BASE}/photos/{quote(name)}?{query}"))
    for name in ("a/b c", "a/b cd/x", "a/x", "x", "a//b c/x"):
        assert refusal(arriving("GET", f"{BASE}/photos/{quote(name)}?{query}")).code == "signature_mismatch", name


def test_azures_sdk_signs_directories() -> None:
    for name in ("a", "a/b c/ü"):
        token = blob_url(name, "rl", is_directory=True).partition("?")[2]
        admit(arriving("GET", f"{BASE}/photos/{quote(name)}/x?{token}"))
    token = blob_url("", "rl", is_directory=True).partition("?")[2]
    assert parameters(f"?{token}")["sdd"] == "0"
    admit(arriving("GET", f"{BASE}/photos/anything/else?{token}"))


def test_a_directorys_depth_is_held_by_the_path() -> None:
    """`sdd` itself is not signed: with another one another directory would be."""
    url = f"{BASE}/photos/a/b/c/d?" + directory("/a/b", 2)
    admit(arriving("GET", url))
    for depth in ("0", "1", "3", "4", "5", "999"):
        assert refusal(arriving("GET", with_parameters(url, sdd=depth))).code == "signature_mismatch"
    for depth in ("-1", "02", "x", "", "1000", "2.0", "\u0662"):
        assert refusal(arriving("GET", with_parameters(url, sdd=depth))).code == "key_malformed"
    assert refusal(arriving("GET", with_parameters(url, sdd=None))).code == "key_malformed"
    assert refusal(arriving("GET", with_parameters(url_by_hand(), sdd="1"))).code == "key_malformed"


def test_a_directory_without_a_name_is_not_read_as_its_parent() -> None:
    for name, depth in (("/a/", 2), ("/", 1)):
        query = directory(name, depth)
        for shown in range(3):
            for path in ("a//x", "a/x", "/x", "x"):
                url = with_parameters(f"{BASE}/photos/{path}?{query}", sdd=str(shown))
                denied = None if opens(url) else refusal(arriving("GET", url)).code
                below = {"/a/": (1, "a/"), "/": (0, "")}[name]
                assert (denied is None) == (shown == below[0] and path.startswith(below[1])), (name, shown, path)


def opens(url: str) -> bool:
    try:
        admit(arriving("GET", url))
    except Denied:
        return False
    return True


def test_a_directorys_list_is_of_what_is_below_it() -> None:
    query = directory("/a/b", 2)
    for prefix in ("a/b/", "a/b/c", "a/b/c/"):
        admit(arriving("GET", f"{BASE}/photos?restype=container&comp=list&prefix={prefix}&{query}"))
    for prefix in ("", "a/b", "a/", "a/bc/"):
        url = f"{BASE}/photos?restype=container&comp=list&prefix={prefix}&{query}"
        assert refusal(arriving("GET", url)).code == "signature_mismatch"


@pytest.mark.parametrize(
    ("kind", "sr", "parameter"), [("snapshot", "bs", "snapshot"), ("version_id", "bv", "versionid")]
)
def test_one_snapshot_or_version_is_signed_with_its_name(kind: str, sr: str, parameter: str) -> None:
    moment = "2026-11-21T16:23:18.1234567Z"
    signed = blob_url(**{kind: moment})
    assert parameters(signed)["sr"] == sr
    url = with_parameters(signed, **{parameter: moment})
    admit(arriving("GET", url))
    for bad in ("2026-11-21T16:23:18.1234568Z", "x"):
        assert refusal(arriving("GET", with_parameters(url, **{parameter: bad}))).code == "signature_mismatch"
    for bad in (
        signed,
        with_parameters(url, **{parameter: ""}),
        with_parameters(url, **{parameter: "a\nb"}),
        f"{url}&{parameter}=other",
        f"{url}&{parameter.upper()}=other",
        url.replace(f"{parameter}=", f"{parameter.upper()}="),
    ):
        assert refusal(arriving("GET", bad)).code == "key_malformed"


def test_a_versions_key_changes_no_blob() -> None:
    moment = "2026-11-21T16:23:18.1234567Z"
    url = blob_url(permission="racwd", version_id=moment) + f"&versionid={quote(moment)}"
    admit(arriving("GET", url))
    assert refusal(arriving("PUT", url)).code == "operation_not_allowed"
    assert refusal(arriving("PUT", url + "&comp=metadata")).code == "operation_not_allowed"


def test_the_string_to_sign_is_told_and_nothing_that_the_secret_made() -> None:
    url = with_parameters(blob_url(), sp="rw")
    denied = refusal(arriving("GET", url))
    text = detail(denied)
    assert text.startswith("Signature did not match. String to sign used was rw\n")
    assert f"/blob/{ACCOUNT}/photos/cat.jpg" in text
    assert parameters(blob_url())["sig"] not in text
    assert account_key() not in text
    assert secret().hex() not in text
