"""TempURLs as python-swiftclient signs them, and every way in which one may not be what was signed."""

import base64
import hmac
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.grants.swift.stranger import (
    ACCOUNT,
    HASHES,
    KEY,
    LATER,
    PATH,
    RULES,
    arriving,
    judged,
    refusal,
    ring,
    signed,
)
from valetstore.errors import Denied
from valetstore.grants.grant import Profile
from valetstore.grants.swift import Rules, tempurl
from valetstore.grants.swift.address import place_of
from valetstore.grants.swift.signature import mac_of, read_signature
from valetstore.inbound import Inbound

# What opens


@pytest.mark.parametrize("digest", HASHES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "POST"])
def test_what_swiftclient_signs_opens_by_each_hash(digest: str, method: str) -> None:
    intent, grant = judged(arriving(method, signed(method, digest=digest)))
    assert intent.path == "/photos/cats/tom.jpg"
    assert grant.operations == {intent.operation}
    assert [str(scope) for group in grant.scopes for scope in group] == [intent.path]


@pytest.mark.parametrize("options", [{"iso8601": True}, {"ip_range": "192.0.2.0/24"}, {"ip_range": "192.0.2.7"}])
def test_dates_and_networks_of_swiftclients_open(options: dict[str, Any]) -> None:
    judged(arriving("GET", signed(**options), peer="192.0.2.7"))


@pytest.mark.parametrize("name", ["a b", "grüße/日本語.txt", "100%", "a+b", "a//b", "e&f=g?h#i", "a\nb", "%41"])
def test_any_name_opens_that_can_be_an_objects(name: str) -> None:
    path = f"/v1/{ACCOUNT}/photos/{name}"
    intent, _ = judged(arriving("GET", signed(path=path)))
    assert intent.path == f"/photos/{name}"


def written(mac: bytes, digest: str, form: str) -> str:
    """A signature in one of the forms that Swift reads."""
    return {
        "hex": mac.hex(),
        "standard": f"{digest}:{base64.b64encode(mac).decode()}",
        "bare": f"{digest}:{base64.b64encode(mac).decode().rstrip('=')}",
        "urlsafe": f"{digest}:{base64.urlsafe_b64encode(mac).decode()}",
        "bare urlsafe": f"{digest}:{base64.urlsafe_b64encode(mac).decode().rstrip('=')}",
    }[form]


def made_here(form: str, digest: str = "sha256", method: str = "GET", encoded: bool = True) -> str:
    """A TempURL whose signature is written in this form."""
    mac = hmac.digest(KEY.encode(), f"{method}\n{LATER}\n{PATH}".encode(), digest)
    text = written(mac, digest, form)
    return f"{PATH}?temp_url_sig={quote(text, safe='') if encoded else text}&temp_url_expires={LATER}"


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("digest", HASHES)
@pytest.mark.parametrize("form", ["hex", "standard", "bare", "urlsafe", "bare urlsafe"])
def test_a_signature_is_read_in_all_of_swifts_forms_as_one_key(form: str, digest: str, encoded: bool) -> None:
    """A key is its signature, however that is written: it cannot be used twice by writing it anew."""
    keys = ring()
    _, grant = judged(arriving("GET", made_here(form, digest, encoded=encoded)), keys)
    assert grant.identity == judged(arriving("GET", made_here("hex", digest)), keys)[1].identity


@given(st.sampled_from(HASHES), st.binary(max_size=70), st.sampled_from(["hex", "standard", "bare", "urlsafe"]))
def test_a_signature_of_any_other_length_is_none(digest: str, mac: bytes, form: str) -> None:
    size = {"sha1": 20, "sha256": 32, "sha512": 64}[digest]
    if form == "hex" and len(mac) in (20, 32, 64):
        return
    if len(mac) == size:
        assert read_signature(written(mac, digest, form), RULES).mac == mac
        return
    with pytest.raises(Denied) as denied:
        read_signature(written(mac, digest, form), RULES)
    assert denied.value.code == "key_malformed"


def mac_in(text: str) -> str | None:
    """What this text is as a signature, in hexadecimal; None where it is malformed."""
    try:
        return read_signature(text, RULES).mac.hex()
    except Denied as denied:
        return None if denied.code == "key_malformed" else "another refusal"


@given(st.text(max_size=200) | st.text("0123456789abcdef", min_size=39, max_size=41))
def test_any_text_is_a_signature_or_malformed(text: str) -> None:
    found = mac_in(text)
    assert found is None or mac_in(found) == found


@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "PUT"])
def test_a_head_opens_by_what_reads_or_writes(method: str) -> None:
    intent, grant = judged(arriving("HEAD", signed(method)))
    assert intent.operation == "read"
    assert grant.operations == {"read"}


def test_a_head_does_not_open_by_a_delete_nor_anything_by_a_head() -> None:
    assert refusal(arriving("HEAD", signed("DELETE"))) == "signature_mismatch"
    for method in ("GET", "PUT", "POST", "DELETE"):
        assert refusal(arriving(method, signed("HEAD"))) == "signature_mismatch"


# Prefixes


def prefixed(prefix: str, method: str = "GET", **options: Any) -> str:
    """The query of a TempURL for a prefix, as swiftclient makes it."""
    target = signed(method, f"/v1/{ACCOUNT}/photos/{prefix}", prefix=True, **options)
    return target.partition("?")[2]


@pytest.mark.parametrize("prefix", ["", "c", "cats", "cats/", "cats/to", "cats/tom.jpg"])
def test_a_prefix_is_a_beginning_of_names_as_swift_documents_it(prefix: str) -> None:
    """It need not end at a slash; what the request is allowed is its own object alone."""
    _, grant = judged(arriving("GET", f"{PATH}?{prefixed(prefix)}"))
    assert [str(scope) for group in grant.scopes for scope in group] == ["/photos/cats/tom.jpg"]


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/{ACCOUNT}/photos/dogs/rex.jpg",
        f"/v1/{ACCOUNT}/photos/cat",
        f"/v1/{ACCOUNT}/photos2/cats/tom.jpg",
        f"/v1/{ACCOUNT}/photos/../other/cats/tom.jpg",
        f"/v1/{ACCOUNT}/photos/cats/../../other/x",
        f"/v1/{ACCOUNT}/photos/cats/%2e%2e/x",
        f"/v1/{ACCOUNT}/photos/cats%2F..%2Fx",
        f"/v1/{ACCOUNT}/other%2Fphotos/cats/tom.jpg",
        f"/v1/{ACCOUNT}2/photos/cats/tom.jpg",
        f"/v1/{ACCOUNT}/photos//cats/tom.jpg",
        f"/v1/{ACCOUNT}/photos/",
        f"/v1/{ACCOUNT}/photos",
    ],
)
def test_a_prefix_opens_nothing_beside_it(path: str) -> None:
    assert refusal(arriving("GET", f"{path}?{prefixed('cats/')}"))


@pytest.mark.parametrize("prefix", ["../", "cats/../../other/", "cats%2F", "%2e%2e/", "\0", "/", "photos/cats/"])
def test_a_prefix_cannot_be_changed_after_it_was_signed(prefix: str) -> None:
    query = prefixed("cats/").replace("temp_url_prefix=cats/", f"temp_url_prefix={quote(prefix)}")
    assert query != prefixed("cats/")
    for path in (PATH, f"/v1/{ACCOUNT}/other/x"):
        assert refusal(arriving("GET", f"{path}?{query}")) in ("path_not_allowed", "signature_mismatch")


def test_a_prefix_that_was_signed_for_dots_opens_no_other_container() -> None:
    """Names with `..` are none here, whoever has signed them."""
    for path in ("photos/../other/x", "photos/%2e%2e/other/x", "photos/..%2Fother/x"):
        assert refusal(arriving("GET", f"/v1/{ACCOUNT}/{path}?{prefixed('../other/')}")) == "object_key_invalid"


def test_an_encoded_slash_is_a_slash() -> None:
    """The path is split after it was decoded, by whoever signs and whoever judges."""
    intent, _ = judged(arriving("GET", f"/v1/{ACCOUNT}/photos%2Fcats/tom.jpg?{signed().partition('?')[2]}"))
    assert intent.path == "/photos/cats/tom.jpg"


@pytest.mark.parametrize(("prefix", "sent"), [("a b", "a+b"), ("a b", "a%20b"), ("a+b", "a+b"), ("a+b", "a%2Bb")])
def test_a_plus_in_a_prefix_is_read_as_it_was_signed(prefix: str, sent: str) -> None:
    """A plus or a space: some clients write it for a space, and swiftclient writes it as it is."""
    query = prefixed(prefix).rpartition("=")[0] + f"={sent}"
    for name in ("a b", "a+b"):
        target = f"/v1/{ACCOUNT}/photos/{quote(name)}/x?{query}"
        assert (refusal(arriving("GET", target)) == "") is (name == prefix)


# What does not open


def changed(**parts: str | None) -> str:
    """A TempURL with a parameter changed, or taken away."""
    path, _, query = signed().partition("?")
    said: dict[str, str | None] = {name: values[0] for name, values in parse_qs(query).items()}
    said |= parts
    return f"{path}?{'&'.join(f'{n}={quote(v)}' for n, v in said.items() if v is not None)}"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"temp_url_sig": None}, "key_malformed"),
        ({"temp_url_sig": ""}, "key_malformed"),
        ({"temp_url_sig": "xyz"}, "key_malformed"),
        ({"temp_url_sig": "0" * 64}, "signature_mismatch"),
        ({"temp_url_sig": "0" * 40}, "signature_mismatch"),
        ({"temp_url_sig": "md5:" + "0" * 22}, "key_malformed"),
        ({"temp_url_sig": "sha256:" + "A" * 42 + "B"}, "key_malformed"),
        ({"temp_url_sig": "sha256:-" + "A" * 41 + "/"}, "key_malformed"),
        ({"temp_url_sig": "sha256:" + "A" * 43 + "=="}, "key_malformed"),
        ({"temp_url_expires": None}, "key_malformed"),
        ({"temp_url_expires": ""}, "key_malformed"),
        ({"temp_url_expires": "soon"}, "key_malformed"),
        ({"temp_url_expires": f"+{LATER}"}, "key_malformed"),
        ({"temp_url_expires": f" {LATER}"}, "key_malformed"),
        ({"temp_url_expires": "1_800_000_300"}, "key_malformed"),
        ({"temp_url_expires": "-5"}, "key_malformed"),
        ({"temp_url_expires": "9" * 19}, "key_malformed"),
        ({"temp_url_expires": "9" * 30}, "key_malformed"),
        ({"temp_url_expires": "2027-02-30T00:00:00Z"}, "key_malformed"),
        ({"temp_url_expires": "2027-1-5T00:00:00Z"}, "key_malformed"),
        ({"temp_url_expires": "2027-01-15"}, "key_malformed"),
        ({"temp_url_expires": str(LATER + 1)}, "signature_mismatch"),
        ({"temp_url_prefix": "cats/"}, "signature_mismatch"),
        ({"temp_url_prefix": ""}, "signature_mismatch"),
        ({"temp_url_ip_range": "192.0.2.0/24"}, "signature_mismatch"),
        ({"temp_url_ip_range": "192.0.2.1/24"}, "key_malformed"),
        ({"temp_url_ip_range": "x"}, "key_malformed"),
    ],
)
def test_every_part_that_is_changed_is_refused(parts: dict[str, str | None], code: str) -> None:
    assert refusal(arriving("GET", changed(**parts), peer="192.0.2.7")) == code


def test_hexadecimal_digits_are_lower_case() -> None:
    """One text for each signature, as Swift compares them."""
    path, _, query = signed().partition("?")
    signature = parse_qs(query)["temp_url_sig"][0]
    assert refusal(arriving("GET", f"{path}?temp_url_sig={signature.upper()}&temp_url_expires={LATER}"))


@pytest.mark.parametrize(
    "name", ["temp_url_sig", "temp_url_expires", "temp_url_prefix", "temp_url_ip_range", "filename"]
)
@pytest.mark.parametrize("again", ["{}", "%74emp", "{}="])
def test_nothing_may_be_said_twice(name: str, again: str) -> None:
    """Percent-encoded neither: two parties could go by different ones."""
    target = signed(ip_range="192.0.2.0/24") + "&temp_url_prefix=x&filename=y"
    spelled = again.format(name) if "{}" in again else name.replace("t", "%74", 1).replace("f", "%66", 1)
    inbound = arriving("GET", f"{target}&{spelled}", peer="192.0.2.7")
    assert refusal(inbound) == "parameter_invalid"


def test_other_parameters_say_nothing() -> None:
    """As in Swift, which drops them: no manifest is deleted, no list made."""
    for query in ("multipart-manifest=delete", "format=json", "filename=x", "inline", "x=1&x=2"):
        assert refusal(arriving("DELETE", f"{signed('DELETE')}&{query}")) == ""


def test_sha1_may_be_switched_off() -> None:
    rules = Rules(sha1=False)
    assert refusal(arriving("GET", signed(digest="sha1")), rules=rules) == "key_malformed"
    for digest in ("sha256", "sha512"):
        assert refusal(arriving("GET", signed(digest=digest)), rules=rules) == ""


@pytest.mark.parametrize(("after", "code"), [(-1, ""), (0, ""), (0.001, "key_expired"), (1, "key_expired")])
def test_the_last_second_is_good_and_nothing_after_it(after: float, code: str) -> None:
    """Swift refuses what `expires < now`."""
    for iso8601 in (False, True):
        assert refusal(arriving("GET", signed(iso8601=iso8601), now=LATER + after)) == code


def test_a_date_is_signed_as_its_seconds() -> None:
    stamp = datetime.fromtimestamp(LATER, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert refusal(arriving("GET", changed(temp_url_expires=stamp))) == ""


@pytest.mark.parametrize(
    ("peer", "code"), [("192.0.2.7", ""), ("192.0.3.7", "source_not_allowed"), (None, "source_not_allowed")]
)
def test_a_network_holds(peer: str | None, code: str) -> None:
    assert refusal(arriving("GET", signed(ip_range="192.0.2.0/24"), peer=peer)) == code


def test_a_network_cannot_be_taken_away() -> None:
    target = signed(ip_range="192.0.2.0/24")
    for other in (target.replace("&temp_url_ip_range=192.0.2.0/24", ""), target.replace("192.0.2.0", "192.0.3.0")):
        assert refusal(arriving("GET", other, peer="192.0.3.7")) == "signature_mismatch"


def test_a_network_is_no_line_of_a_path() -> None:
    """It is signed before all else, so that a name with line ends cannot say one."""
    text = f"ip=192.0.2.0/24\nGET\n{LATER}\n{PATH}"
    mac = mac_of(KEY.encode(), text.encode(), "sha256").hex()
    query = f"temp_url_sig={mac}&temp_url_expires={LATER}"
    assert refusal(arriving("GET", f"{PATH}?{query}"), ring()) == "signature_mismatch"


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v1/", f"/v1/{ACCOUNT}", f"/v1/{ACCOUNT}/", f"/v1/{ACCOUNT}/photos", f"/v1/{ACCOUNT}/photos/",
        f"/v1/{ACCOUNT}/photos//", f"/v2/{ACCOUNT}/photos/x", f"//{ACCOUNT}/photos/x", "/photos/x", "/v1//photos/x",
        f"/v1.0/{ACCOUNT}/photos/x", "/info",
    ],
)  # fmt: skip
def test_a_temp_url_is_for_an_object_and_lists_nothing(path: str) -> None:
    mac = mac_of(KEY.encode(), f"GET\n{LATER}\n{path}".encode(), "sha256").hex()
    assert refusal(arriving("GET", f"{path}?temp_url_sig={mac}&temp_url_expires={LATER}")) == "path_not_allowed"


@pytest.mark.parametrize(
    "path", ["/v1/A/_valet/live", "/v1/A/../x", "/v1/A/-x/y", "/v1/A/a b/x", "/v1/A/photos/a/../b"]
)
def test_names_that_cannot_be_are_refused_whoever_signed_them(path: str) -> None:
    mac = mac_of(KEY.encode(), f"GET\n{LATER}\n{path}".encode(), "sha256").hex()
    target = f"{quote(path)}?temp_url_sig={mac}&temp_url_expires={LATER}"
    assert refusal(arriving("GET", target), ring(account="A")) == "object_key_invalid"


# Keys


def test_an_accounts_keys_are_all_tried() -> None:
    """Two at once, as they are rotated; each has an identity of its own."""
    keys = ring("first-" + KEY, "second-" + KEY)
    found = [judged(arriving("GET", signed(key=f"{name}-{KEY}")), keys)[1] for name in ("first", "second")]
    assert [grant.signing_key for grant in found] == ["swift0", "swift1"]
    assert found[0].identity != found[1].identity
    assert refusal(arriving("GET", signed(key="third-" + KEY)), keys) == "signature_mismatch"


def test_an_account_opens_by_its_own_keys_alone() -> None:
    assert refusal(arriving("GET", signed()), ring(account="AUTH_other")) == "signature_mismatch"
    assert refusal(arriving("GET", signed(path=PATH.replace(ACCOUNT, "AUTH_x")))) == "signature_mismatch"


@pytest.mark.parametrize(
    ("profile", "method", "code"),
    [
        (Profile(operations=("write",)), "GET", "operation_not_allowed"),
        (Profile(operations=("read",)), "PUT", "operation_not_allowed"),
        (Profile(operations=("write",)), "HEAD", "operation_not_allowed"),
        (Profile(prefixes=("/other/",)), "GET", "path_not_allowed"),
        (Profile(networks=("198.51.100.0/24",)), "GET", "source_not_allowed"),
        (Profile(https=True), "GET", "https_required"),
        (Profile(ttl_seconds_max=299), "GET", "ttl_too_long"),
        (Profile(ttl_seconds_max=300), "GET", ""),
        (Profile(types=("image/*",)), "PUT", "type_not_allowed"),
        (Profile(length_bytes_max=4), "PUT", "too_large"),
        (Profile(length_bytes_min=6), "PUT", "too_small"),
        (Profile(length_bytes_min=5, length_bytes_max=5, types=("text/*",)), "PUT", ""),
    ],
)
def test_a_profile_narrows_what_its_keys_open(profile: Profile, method: str, code: str) -> None:
    more: dict[str, Any] = {"content_length": "5", "content_type": "text/plain"} if method == "PUT" else {}
    inbound = arriving(method, signed(method), peer="192.0.2.7", **more)
    assert refusal(inbound, ring(profile=profile)) == code


# Published vectors


def cases() -> list[Any]:
    folder = os.environ.get("VALETSTORE_VECTORS")
    if not folder:
        return [pytest.param({}, marks=pytest.mark.skip("VALETSTORE_VECTORS names no folder"))]
    suite = json.loads((Path(folder) / "swift_tempurl.json").read_text())
    return [pytest.param(case, id=f"{case['method']}-{case['digest']}") for case in suite["cases"]]


@pytest.mark.parametrize("case", cases())
def test_published_vectors_part_by_part(case: dict[str, Any]) -> None:
    """String to sign, signature, URL; and the very `verify` takes them."""
    head = f"{case['method']} {case['url']} HTTP/1.1\r\nhost: x\r\n\r\n"
    inbound = Inbound.from_raw(head.encode(), now=case["expires"])
    temp_url, place = tempurl.read_query(inbound, RULES), place_of(inbound)
    assert place is not None
    text = tempurl.text_to_sign(case["method"], temp_url.expires, tempurl.signed_paths(place, temp_url.prefixes)[0])
    assert text.decode() == case["string_to_sign"]
    assert temp_url.signature == read_signature(case["temp_url_sig"], RULES)
    assert temp_url.signature.hash == case["digest"]
    assert mac_of(case["key"].encode(), text, case["digest"]) == temp_url.signature.mac
    account = place.account
    assert refusal(inbound, ring(case["key"], account=account)) == ""
    assert refusal(inbound, ring(case["key"] + "x", account=account)) == "signature_mismatch"
    late = Inbound.from_raw(head.encode(), now=case["expires"] + 1)
    assert refusal(late, ring(case["key"], account=account)) == "key_expired"


def test_nothing_is_told_of_the_secret() -> None:
    with pytest.raises(Denied) as denied:
        judged(arriving("GET", changed(temp_url_sig="0" * 64)))
    told = f"{denied.value.text} {denied.value.evidence} {denied.value!r}"
    assert KEY not in told
    assert signed().partition("sig=")[2][:20] not in told
