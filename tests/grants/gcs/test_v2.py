"""Signed URLs of version 2, which Google's libraries make unless told otherwise: what they sign opens, nothing else."""

import base64
import math
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.grants.gcs.stranger import (
    EMAIL,
    ENDPOINT,
    NAME,
    admitted,
    arriving,
    hmac_v2_url,
    members,
    parameters,
    private_key,
    refusal,
    ring,
    said,
    signed,
    signed_list,
    with_parameters,
)
from tests.grants.gcs.test_v4 import NAMES
from valetstore.grants.gcs import Gcs, Rules
from valetstore.grants.grant import Profile, Scope


def v2(method: str = "GET", name: str = NAME, **more: Any) -> str:
    """A URL of version 2."""
    return signed(method, name, version="v2", **more)


def by_hand(text: str, path: str, further: str = "") -> str:
    """A URL whose string to sign is this text, with `{end}` for its end."""
    end = int(time.time()) + 600
    made = private_key().sign(text.format(end=end).encode(), padding.PKCS1v15(), hashes.SHA256())
    query = {"GoogleAccessId": EMAIL, "Expires": str(end), "Signature": base64.b64encode(made).decode()}
    return with_parameters(f"{ENDPOINT}{path}", dict(query)) + further


# What opens


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_what_googles_library_signs_opens(method: str, name: str) -> None:
    grant = admitted(arriving(method, v2(method, name)))
    assert grant.scopes[0] == (Scope(f"/photos/{name}"),)
    assert (grant.signing_key, grant.issued_at) == ("account", None)


def test_version_2_is_what_the_library_makes_by_itself() -> None:
    url = signed(version="v2")
    assert set(parameters(url)) == {"GoogleAccessId", "Expires", "Signature"}


def test_type_digest_and_googles_headers_are_signed() -> None:
    headers = {"x-goog-meta-who": "ann  and  bob", "x-goog-storage-class": "NEARLINE"}
    url = v2("PUT", content_type="image/png", content_md5="rL0Y20zC+Fzt72VPzMSk2A==", headers=dict(headers))
    sent = headers | {"Content-Type": "image/png", "Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A=="}
    admitted(arriving("PUT", url, sent))
    for name in sent:
        without = {other: value for other, value in sent.items() if other != name}
        assert refusal(arriving("PUT", url, without)).code == "signature_mismatch"
        assert refusal(arriving("PUT", url, sent | {name: "other"})).code == "signature_mismatch"
    assert refusal(arriving("PUT", url, sent | {"x-goog-meta-more": "1"})).code == "signature_mismatch"


def test_the_librarys_resumable_header_is_not_in_its_order() -> None:
    headers = {"x-goog-storage-class": "NEARLINE"}
    url = v2("RESUMABLE", headers=dict(headers))
    sent = headers | {"x-goog-resumable": "start"}
    assert Gcs().intent(arriving("POST", url, sent)).action == "StartResumable"
    admitted(arriving("POST", url, sent))
    # As Node's library and the documentation have it.
    text = "POST\n\n\n{end}\nx-goog-resumable:start\nx-goog-storage-class:NEARLINE\n/photos/cat.jpg"
    admitted(arriving("POST", by_hand(text, "/photos/cat.jpg"), sent))


def test_an_hmac_key_signs_too() -> None:
    assert admitted(arriving("GET", hmac_v2_url())).signing_key == "hmac"
    assert refusal(arriving("PUT", hmac_v2_url())).code == "signature_mismatch"


def test_a_key_for_get_answers_head_and_never_the_reverse() -> None:
    admitted(arriving("HEAD", v2("GET")))
    assert refusal(arriving("GET", v2("HEAD"))).code == "signature_mismatch"


def test_it_signs_no_host() -> None:
    admitted(arriving("GET", v2(), {"Host": "elsewhere.test"}))


def test_the_bucket_is_signed_also_where_it_is_in_the_host() -> None:
    """Or a key for /photos/a of one bucket would open photos/a in another."""
    at = {"Host": "photos.files.example.com"}
    text = "GET\n\n\n{end}\n/photos/cat.jpg"
    url = by_hand(text, "/cat.jpg")
    assert admitted(arriving("GET", url, at)).scopes[0] == (Scope("/photos/cat.jpg"),)
    moved = by_hand(text, "/photos/cat.jpg")
    assert refusal(arriving("GET", moved, at)).code == "signature_mismatch"


def test_signed_parameters_count_and_added_ones_do_not() -> None:
    own = v2(query_parameters={"response-content-disposition": "attachment; filename=a b+c"})
    assert admitted(arriving("GET", own)).response == (("content-disposition", "attachment; filename=a b+c"),)
    added = v2(response_disposition="attachment", response_type="text/html", generation="7")
    assert admitted(arriving("GET", added)).response == ()
    both = v2(query_parameters={"response-content-type": "image/png"}, response_disposition="inline")
    assert admitted(arriving("GET", both)).response == (("content-type", "image/png"),)
    changed = with_parameters(both, {"response-content-type": "text/html"})
    assert refusal(arriving("GET", changed)).code == "signature_mismatch"


def test_a_list_opens_its_bucket() -> None:
    url = signed_list("v2")
    for further in ("", "&prefix=a/", "&prefix=b/&max-keys=1"):
        assert admitted(arriving("GET", url + further)).operations == frozenset({"list"})
    own = signed_list("v2", query_parameters={"prefix": "a/"})
    assert admitted(arriving("GET", own)).scopes[0] == (Scope("/photos/a/", is_prefix=True),)
    assert refusal(arriving("GET", with_parameters(own, {"prefix": "b/"}))).code == "signature_mismatch"


# Time


def test_the_last_second_is_valid() -> None:
    url = v2()
    end = int(parameters(url)["Expires"])
    assert admitted(arriving("GET", url, now=end)).not_after == math.nextafter(end, math.inf)
    assert refusal(arriving("GET", url, now=end + 0.001)).code == "key_expired"


@pytest.mark.parametrize("expires", ["NaN", "-1", "1e9", "1_000", "9" * 20, "9" * 18, " 5"])
def test_an_end_that_is_no_number_is_no_end(expires: str) -> None:
    denied = refusal(arriving("GET", with_parameters(v2(), {"Expires": expires})))
    message = "Expires parameter is not a valid long value"
    assert (denied.code, *said(denied)) == ("key_malformed", "InvalidArgument", message, 400)


# Shape


@pytest.mark.parametrize("name", ["Expires", "Signature"])
def test_a_missing_parameter_is_named(name: str) -> None:
    denied = refusal(arriving("GET", with_parameters(v2(), {name: None})))
    assert (denied.code, said(denied)[0], said(denied)[2]) == ("key_malformed", "MalformedSecurityHeader", 400)
    assert members(denied)["ParameterName"] == name


@pytest.mark.parametrize("written", ["Expires=1", "signature=x", "google%41ccessId=x"])
def test_a_parameter_is_given_once(written: str) -> None:
    assert refusal(arriving("GET", f"{v2()}&{written}")).code == "key_malformed"


def test_a_wrong_signature_shows_the_string_to_sign() -> None:
    url = v2()
    denied = refusal(arriving("PUT", url))
    assert (denied.code, said(denied)[0], said(denied)[2]) == ("signature_mismatch", "SignatureDoesNotMatch", 403)
    assert members(denied)["StringToSign"].startswith(f"PUT\n\n\n{parameters(url)['Expires']}\n/photos/")
    assert parameters(url)["Signature"] not in repr((denied.evidence, denied.said))


def test_a_signature_has_one_text() -> None:
    url = v2(name="cat.jpg")
    right = parameters(url)["Signature"]
    # The last character but the padding holds four bits that count for nothing.
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = letters[letters.index(right[-3]) ^ 1]
    for other in (right[:-3] + last + "==", right.rstrip("="), right + "=", right + "\n", right[:9] + " " + right[9:]):
        assert other != right
        assert refusal(arriving("GET", with_parameters(url, {"Signature": other}))).code == "signature_mismatch"


def test_conditions_of_our_own_cannot_be_signed() -> None:
    for url in (v2() + "&x-valet-uses=1", v2(query_parameters={"x-valet-uses": "1"})):
        denied = refusal(arriving("GET", url))
        assert (denied.code, said(denied)[0]) == ("parameter_invalid", "InvalidArgument")


def test_a_setting_refuses_it() -> None:
    for inbound in (arriving("GET", v2()), arriving("GET", hmac_v2_url())):
        denied = refusal(inbound, rules=Rules(v2=False))
        assert (denied.code, said(denied)[2]) == ("key_malformed", 400)


# What headers ask, and the profile


def test_googles_headers_narrow_as_in_version_4() -> None:
    sent = {"x-goog-content-length-range": "1,9", "x-goog-if-generation-match": "0"}
    grant = admitted(arriving("PUT", v2("PUT", headers=dict(sent)), sent))
    assert (grant.length_min, grant.length_max, grant.create_only) == (1, 9, True)


def test_a_profile_narrows_every_key() -> None:
    inbound = arriving("PUT", v2("PUT"), {"content-length": "50"})
    for profile, code in (
        (Profile(operations=("read",)), "operation_not_allowed"),
        (Profile(length_bytes_max=10), "too_large"),
        (Profile(types=("image/*",)), "type_not_allowed"),
        (Profile(https=True), "https_required"),
        # It does not say when it was issued: what is left of it is measured.
        (Profile(ttl_seconds_max=60), "ttl_too_long"),
    ):
        assert refusal(inbound, ring(profile)).code == code


def test_a_path_may_be_written_anew() -> None:
    """A path that a proxy has written anew means the same object."""
    url = v2()
    assert "~" in url
    admitted(arriving("GET", url.replace("~", "%7E")))
