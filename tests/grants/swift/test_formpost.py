"""Forms as Swift's documentation signs them, and every way in which one may not be what was signed."""

import base64
import hmac

import pytest

from tests.grants.swift.stranger import ACCOUNT, HASHES, KEY, LATER, form_fields, judged, posting, refusal, ring
from valetstore.errors import Denied
from valetstore.grants.grant import Profile
from valetstore.grants.recognise import recognise
from valetstore.grants.s3.rules import Rules as S3Rules
from valetstore.grants.s3.scheme import S3
from valetstore.grants.swift import Rules, Swift

PATH = f"/v1/{ACCOUNT}/photos/cats/"


@pytest.mark.parametrize("digest", HASHES)
@pytest.mark.parametrize(
    ("path", "opened"),
    [
        (PATH, "/photos/cats/"),
        (f"/v1/{ACCOUNT}/photos", "/photos/"),
        (f"/v1/{ACCOUNT}/photos/", "/photos/"),
        (f"/v1/{ACCOUNT}/photos/a b/ü_", "/photos/a b/ü_"),
    ],
)
def test_a_form_opens_uploads_below_its_path(digest: str, path: str, opened: str) -> None:
    """The path need not end at a slash, as in Swift; what is a file's name is judged with each file."""
    intent, grant = judged(posting(form_fields(path, digest=digest), path))
    assert (intent.operation, intent.path, intent.key, intent.partly) == ("write", opened, None, True)
    assert grant.operations == {"write"}
    assert [(scope.path, scope.is_prefix) for group in grant.scopes for scope in group] == [(opened, True)]
    assert grant.length_max == 1000


def test_a_signature_in_base64_is_the_same_key() -> None:
    fields, keys = form_fields(), ring()
    text = f"{PATH}\n\n1000\n10\n{LATER}"
    mac = hmac.new(KEY.encode(), text.encode(), "sha256").digest()
    identity = judged(posting(fields), keys)[1].identity
    for written in (base64.b64encode(mac), base64.urlsafe_b64encode(mac).rstrip(b"=")):
        inbound = posting(fields | {"signature": f"sha256:{written.decode()}"})
        assert judged(inbound, keys)[1].identity == identity


def test_what_is_left_out_is_signed_as_zero() -> None:
    """As Swift signs it; such a form takes no file."""
    mac = hmac.new(KEY.encode(), f"{PATH}\n\n0\n0\n{LATER}".encode(), "sha1").hexdigest()
    _, grant = judged(posting({"expires": str(LATER), "signature": mac, "max_file_size": ""}))
    assert grant.length_max == 0


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"redirect": "https://evil.example/"}, "signature_mismatch"),
        ({"max_file_size": "1001"}, "signature_mismatch"),
        ({"max_file_size": "01000"}, "signature_mismatch"),
        ({"max_file_size": "1e3"}, "parameter_invalid"),
        ({"max_file_size": "-1"}, "parameter_invalid"),
        ({"max_file_count": "11"}, "signature_mismatch"),
        ({"max_file_count": "ten"}, "parameter_invalid"),
        ({"expires": str(LATER + 1)}, "signature_mismatch"),
        ({"expires": "never"}, "parameter_invalid"),
        ({"expires": f"{LATER} "}, "parameter_invalid"),
        ({"signature": "0" * 64}, "signature_mismatch"),
        ({"signature": ""}, "key_malformed"),
        ({"signature": "x"}, "key_malformed"),
        ({"x_delete_at": "1"}, "not_implemented"),
        ({"x_delete_after": ""}, "not_implemented"),
        ({"redirect": "https://a/\r\nSet-Cookie: x"}, "parameter_invalid"),
        ({"content-type": "a\0"}, "parameter_invalid"),
        ({"content-type": "text/html"}, ""),
        ({"submit": "Upload"}, ""),
    ],
)
def test_every_field_that_is_signed_holds(changed: dict[str, str], code: str) -> None:
    """Those that are not are the client's to choose, and none of them widens anything."""
    assert refusal(posting(form_fields() | changed)) == code


@pytest.mark.parametrize(
    "path", [f"/v1/{ACCOUNT}/photos/", PATH + "x", f"/v1/{ACCOUNT}/other/cats/", "/v1/A/photos/cats/"]
)
def test_a_form_is_for_its_path(path: str) -> None:
    assert refusal(posting(form_fields(), path)) == "signature_mismatch"


def test_line_ends_cannot_move_what_was_signed_from_one_line_to_another() -> None:
    """`a` LF `b` as a path is not the path `a` with the redirect `b`."""
    redirect = "https://example.com/"
    fields = form_fields(redirect=redirect)
    assert refusal(posting(fields)) == ""
    shifted = {name: value for name, value in fields.items() if name != "redirect"}
    shifted |= {"redirect": "1000", "max_file_size": "10", "max_file_count": str(LATER), "expires": "9" * 10}
    assert refusal(posting(shifted, f"{PATH}\n{redirect}")) == "parameter_invalid"


def test_a_field_is_there_once() -> None:
    fields = tuple(form_fields().items())
    inbound = posting({}).with_form((*fields, ("redirect", ""), ("redirect", "")))
    assert refusal(inbound) == "parameter_invalid"


@pytest.mark.parametrize(("after", "code"), [(0, ""), (0.5, "key_expired"), (9, "key_expired")])
def test_a_form_ends(after: float, code: str) -> None:
    assert refusal(posting(form_fields(), now=LATER + after)) == code


def test_sha1_may_be_switched_off_for_forms_too() -> None:
    assert refusal(posting(form_fields(digest="sha1")), rules=Rules(sha1=False)) == "key_malformed"


def test_an_accounts_keys_are_all_tried_for_forms() -> None:
    keys = ring("a" + KEY, "b" + KEY)
    for number, key in enumerate(("a" + KEY, "b" + KEY)):
        assert judged(posting(form_fields(key=key)), keys)[1].signing_key == f"swift{number}"


def test_a_profile_narrows_a_form() -> None:
    """What of its path the profile opens is judged file by file."""
    _, grant = judged(posting(form_fields()), ring(profile=Profile(prefixes=("/photos/cats/in/",), length_bytes_max=9)))
    assert grant.length_max == 9
    assert refusal(posting(form_fields()), ring(profile=Profile(prefixes=("/other/",)))) == "path_not_allowed"
    assert refusal(posting(form_fields()), ring(profile=Profile(operations=("read",)))) == "operation_not_allowed"
    assert refusal(posting(form_fields()), ring(profile=Profile(https=True))) == "https_required"


def test_a_form_is_swifts_or_s3s_and_never_both() -> None:
    """Both have a field `signature`."""
    schemes = (S3(S3Rules()), Swift())
    assert recognise(posting(form_fields()), schemes).scheme.name == "swift"
    inbound = posting({"policy": "x", "signature": "y", "awsaccesskeyid": "z"}, "/photos")
    assert recognise(inbound, schemes).scheme.name == "s3"
    with pytest.raises(Denied) as denied:
        recognise(posting({"policy": "x", "signature": "y"}), schemes)
    assert denied.value.code == "key_ambiguous"


@pytest.mark.parametrize("path", ["/v1/A/_valet", "/v1/A/..", "/v1/A/-x/"])
def test_a_container_is_a_bucket(path: str) -> None:
    fields = form_fields(path)
    assert refusal(posting(fields, path), ring(account="A")) == "object_key_invalid"
