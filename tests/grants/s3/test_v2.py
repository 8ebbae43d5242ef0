"""SigV2 presigned URLs: what botocore signs opens, to the byte, and nothing else does."""

import base64
import contextlib
import hashlib
import hmac
import sys
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from valetstore.errors import Denied
from valetstore.grants.grant import Profile, Proof
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import S3, Rules
from valetstore.grants.s3.session import mint
from valetstore.grants.s3.v2 import decoded_mac, strings_to_sign
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import HMAC, new_access_key_id, new_secret_access_key
from valetstore.policy.request import enforce

NOW = int(time.time())
HOST = "files.example.com"
RULES = Rules(hosts=(HOST,))
AKID, SECRET = new_access_key_id(), new_secret_access_key()
RING = KeyRing([record_of("web", HMAC, Profile(), kid=AKID, secret=SECRET.encode(), scheme="s3")])

Headers = Mapping[str, str]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK signs by the clock, and a long run of tests may have begun more than its tolerance ago."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", int(time.time()))


def client(style: str = "path", token: str | None = None, akid: str = AKID, secret: str = SECRET) -> Any:
    """A boto3 client that signs by version 2."""
    return boto3.client(
        "s3",
        aws_access_key_id=akid,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name="us-east-1",
        endpoint_url=f"http://{HOST}",
        config=Config(signature_version="s3", s3={"addressing_style": style}),
    )


def presigned(operation: str, method: str | None = None, expires: int = 300, style: str = "path", **params: Any) -> str:
    """A URL as boto3 presigns it."""
    made: str = client(style).generate_presigned_url(operation, params, expires, method)
    return made


def received(method: str, url: str, headers: Headers | None = None, now: float | None = None) -> Inbound:
    """The request that a client makes of a URL."""
    split = urlsplit(url)
    pairs = tuple((n.encode(), v.encode("latin-1")) for n, v in {"Host": split.netloc, **(headers or {})}.items())
    target = split.path + (f"?{split.query}" if split.query else "")
    return Inbound(method, target.encode(), pairs, now=NOW if now is None else now)


def proven(
    method: str, url: str, headers: Headers | None = None, rules: Rules = RULES, now: float | None = None
) -> Proof:
    """What the scheme makes of it; raises Denied."""
    inbound, scheme = received(method, url, headers, now), S3(rules)
    credential = recognise(inbound, [scheme])
    scheme.intent(inbound)
    proof = scheme.verify(inbound, credential, RING)
    enforce(proof.grant, scheme.intent(inbound), inbound)
    return proof


def refusal(
    method: str, url: str, headers: Headers | None = None, rules: Rules = RULES, now: float | None = None
) -> Denied:
    """The refusal of it."""
    with pytest.raises(Denied) as denied:
        proven(method, url, headers, rules, now)
    return denied.value


def s3_code(denied: Denied) -> str:
    """Its code in S3's words."""
    assert denied.said
    return denied.said.code


KEY: dict[str, Any] = {"Bucket": "photos", "Key": "a b/ü+c~(1).png"}
# Operation, parameters, method, headers that the client sends.
SHAPES: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    ("get_object", KEY, "GET", {}),
    ("get_object", KEY, "HEAD", {}),
    ("head_object", KEY, "HEAD", {}),
    ("get_object", KEY | {"ResponseContentDisposition": 'attachment; filename="a&b=c.png"'}, "GET", {}),
    ("get_object", KEY | {"ResponseContentType": "text/plain", "ResponseCacheControl": "no-store"}, "GET", {}),
    ("get_object", KEY | {"VersionId": "null"}, "GET", {}),
    ("put_object", KEY, "PUT", {}),
    ("put_object", KEY | {"ContentType": "image/png"}, "PUT", {}),
    ("put_object", KEY | {"ContentType": "image/png"}, "PUT", {"Content-Type": "image/png"}),
    ("put_object", KEY | {"ContentMD5": "XUFAKrxLKna5cZ2REBfFkg=="}, "PUT", {}),
    ("put_object", KEY | {"Metadata": {"Owner": "erin", "b": "x"}, "ACL": "private"}, "PUT", {"x-amz-acl": "private"}),
    ("delete_object", KEY, "DELETE", {}),
    ("create_multipart_upload", KEY | {"ContentType": "text/plain"}, "POST", {}),
    ("upload_part", KEY | {"UploadId": "abc-1_2", "PartNumber": 3}, "PUT", {}),
    ("list_objects", {"Bucket": "photos", "Prefix": "a/"}, "GET", {}),
    ("list_objects_v2", {"Bucket": "photos"}, "GET", {}),
    ("head_bucket", {"Bucket": "photos"}, "HEAD", {}),
    ("list_multipart_uploads", {"Bucket": "photos"}, "GET", {}),
    ("get_bucket_cors", {"Bucket": "photos"}, "GET", {}),
    ("copy_object", KEY | {"CopySource": "photos/other"}, "PUT", {}),
]


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize(("operation", "params", "method", "headers"), SHAPES)
def test_what_boto3_presigns_opens(
    operation: str, params: dict[str, Any], method: str, headers: dict[str, str], style: str
) -> None:
    """Every shape that applications use, in both styles of address."""
    url = presigned(operation, style=style, **params)
    proof = proven(method, url, headers)
    assert proof.grant.signing_key == "web"
    expires = int(dict(parse_qsl(urlsplit(url).query))["Expires"])
    assert expires < proof.grant.not_after < expires + 1e-3


def test_amazons_documented_example_is_signed_alike() -> None:
    """The query string example of the developer guide: its string to sign and its signature."""
    secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    inbound = Inbound(
        "GET",
        b"/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE"
        b"&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620",
        ((b"host", b"johnsmith.s3.amazonaws.com"),),
        now=NOW,
    )
    rules = Rules(hosts=("s3.amazonaws.com",))
    text = next(strings_to_sign(inbound, rules, "1175139620"))
    assert text == b"GET\n\n\n1175139620\n/johnsmith/photos/puppy.jpg"
    assert base64.b64encode(hmac.digest(secret, text, "sha1")) == b"NpgCjnDzrM+WFzoENXmpNDUsSn8="


def test_the_string_to_sign_is_botocores(caplog: pytest.LogCaptureFixture) -> None:
    """Line by line, with hoisted headers, sorted extensions and a decoded sub-resource."""
    caplog.set_level("DEBUG", "botocore.auth")
    url = presigned("put_object", **KEY, ContentType="image/png", Metadata={"b": "2", "a": "1"})
    logged = next(r.getMessage() for r in caplog.records if "StringToSign" in r.getMessage()).partition("\n")[2]
    expires = dict(parse_qsl(urlsplit(url).query))["Expires"]
    text = next(strings_to_sign(received("PUT", url), RULES, expires)).decode()
    assert text == logged
    path = "/photos/a%20b/%C3%BC%2Bc~%281%29.png"
    assert text == f"PUT\n\nimage/png\n{expires}\nx-amz-meta-a:1\nx-amz-meta-b:2\n{path}"


def test_a_grant_is_for_that_request() -> None:
    """One operation, one path; the identity comes from the signature's bytes."""
    url = presigned("get_object", **KEY)
    grant = proven("GET", url).grant
    assert grant.operations == {"read"}
    assert [str(scope) for group in grant.scopes for scope in group] == ["/photos/a b/ü+c~(1).png"]
    assert grant.issued_at is None
    assert grant.identity == proven("HEAD", url).grant.identity


def test_a_bucket_url_opens_the_bucket_with_and_without_its_slash() -> None:
    """Botocore signs `/photos/` and asks for `/photos`; whoever lists chooses prefix and count, as at Amazon."""
    url = presigned("list_objects", Bucket="photos")
    for asked in (url, url.replace("/photos?", "/photos/?"), f"{url}&prefix=x/&max-keys=3"):
        grant = proven("GET", asked).grant
        assert grant.operations == {"list"}
    with_slash = signed("GET", "/photos/", resource="/photos")
    assert proven("GET", with_slash).grant.operations == {"list"}


def signed(method: str, path: str, query: str = "", *, resource: str = "", expires: str = "", **lines: str) -> str:
    """A URL signed here, for what botocore would not sign. `lines`: md5, type, extensions (with their line ends)."""
    expires = expires or str(NOW + 60)
    head = f"{method}\n{lines.get('md5', '')}\n{lines.get('type', '')}\n{expires}\n{lines.get('extensions', '')}"
    mac = base64.b64encode(hmac.digest(SECRET.encode(), (head + (resource or path)).encode(), "sha1")).decode()
    own = urlencode({"AWSAccessKeyId": AKID, "Expires": expires, "Signature": mac}, quote_via=quote)
    return f"http://{HOST}{path}?{query}{'&' if query else ''}{own}"


def test_sub_resources_are_signed_bare_or_with_an_equals_sign() -> None:
    """SDKs write `?uploads` and `?uploads=` and sign one of the two."""
    for query in ("uploads", "uploads="):
        assert proven("POST", signed("POST", "/b/k", query, resource="/b/k?uploads"))
    assert proven("POST", signed("POST", "/b/k", "uploads=", resource="/b/k?uploads="))
    assert s3_code(refusal("POST", signed("POST", "/b/k", "uploads"))) == "SignatureDoesNotMatch"


def test_proxies_may_write_escapes_anew() -> None:
    """`%7E` for `~`, lower-case hex: the same object by another spelling."""
    assert proven("GET", signed("GET", "/b/a%7eb%2b", resource="/b/a~b%2B"))


def test_a_head_may_be_signed_as_a_get_and_never_the_reverse() -> None:
    """A HEAD tells less."""
    assert proven("HEAD", presigned("get_object", **KEY))
    assert s3_code(refusal("GET", presigned("head_object", **KEY))) == "SignatureDoesNotMatch"


# --- time ---------------------------------------------------------------------------------------------------------


def test_it_is_valid_through_its_last_second() -> None:
    """And not a moment longer."""
    url = signed("GET", "/b/k", expires=str(NOW))
    assert proven("GET", url, now=NOW)
    assert refusal("GET", url, now=NOW + 0.01).code == "key_expired"


@pytest.mark.parametrize("expires", ["soon", "-1", "1e9", "2147483648", "99999999999999999999", "1_0", "+5", "\u0665"])
def test_an_end_that_is_no_date_is_refused(expires: str) -> None:
    """In S3's words; Python's int() would have read some of them."""
    denied = refusal("GET", signed("GET", "/b/k", expires=expires))
    assert denied.said
    assert denied.said.message == f"Invalid date (should be seconds since epoch): {expires}"
    assert (denied.said.code, denied.said.status) == ("AccessDenied", 403)


def test_the_latest_end_is_in_2038() -> None:
    """Two to the thirty-first less one."""
    assert proven("GET", signed("GET", "/b/k", expires="2147483647"))


# --- refusals -----------------------------------------------------------------------------------------------------

UNSUPPORTED = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."


def test_a_setting_refuses_it() -> None:
    """With the error that tells an SDK's user what to change."""
    denied = refusal("GET", presigned("get_object", **KEY), rules=Rules(sigv2=False, hosts=(HOST,)))
    assert denied.said
    assert (denied.said.code, denied.said.message, denied.said.status) == ("InvalidRequest", UNSUPPORTED, 400)


def test_signed_headers_of_this_version_are_refused_where_the_operator_says_so() -> None:
    """Recognised, so that the refusal says why."""
    inbound = received("GET", f"http://{HOST}/b/k", {"Authorization": f"AWS {AKID}:bmVpbg=="})
    with pytest.raises(Denied) as caught:
        verify(inbound, Rules(sigv2=False))
    assert caught.value.said
    assert (caught.value.said.code, caught.value.said.status) == ("InvalidRequest", 400)
    assert caught.value.said.message == UNSUPPORTED


@pytest.mark.parametrize("missing", ["Signature", "Expires"])
def test_all_three_parameters_are_needed(missing: str) -> None:
    """A URL that lost one says so."""
    url = signed("GET", "/b/k")
    pairs = [pair for pair in parse_qsl(urlsplit(url).query) if pair[0] != missing]
    denied = refusal("GET", f"http://{HOST}/b/k?{urlencode(pairs)}")
    assert denied.said
    assert denied.said.status == 403
    assert "requires the Signature, Expires and AWSAccessKeyId" in denied.said.message


def test_an_unknown_access_key_is_named() -> None:
    """S3 tells; whoever asks knows the id already."""
    url = signed("GET", "/b/k").replace(AKID, "VKNOBODY")
    denied = refusal("GET", url)
    assert s3_code(denied) == "InvalidAccessKeyId"
    assert denied.said
    assert denied.said.members == (("AWSAccessKeyId", "VKNOBODY"),)


def test_a_mismatch_shows_what_was_to_be_signed_and_no_secret() -> None:
    """The string to sign, its bytes, the signature that came."""
    url = signed("GET", "/b/k", resource="/b/other")
    denied = refusal("GET", url)
    assert denied.said
    members = dict(denied.said.members)
    text = f"GET\n\n\n{NOW + 60}\n/b/k"
    given = dict(parse_qsl(urlsplit(url).query))
    assert members == {
        "AWSAccessKeyId": AKID,
        "StringToSign": text,
        "SignatureProvided": given["Signature"],
        "StringToSignBytes": text.encode().hex(" "),
    }
    right = dict(parse_qsl(urlsplit(signed("GET", "/b/k")).query))["Signature"]
    assert right not in str(denied.evidence) + str(denied.said)


@given(st.binary(min_size=20, max_size=20))
def test_a_signature_has_one_spelling(mac: bytes) -> None:
    """base64's spare bits, url-safe letters, left-out padding, line ends: none of them is a second key."""
    text = base64.b64encode(mac).decode()
    assert decoded_mac(text) == mac
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spare = alphabet[alphabet.index(text[-2]) + 1]  # the last letter's lowest two bits say nothing
    for other in (text[:-2] + spare + "=", text.rstrip("="), text + "\n", text + "=", " " + text, text[:-4]):
        assert decoded_mac(other) == b""
    if "+" in text or "/" in text:
        assert decoded_mac(text.replace("+", "-").replace("/", "_")) == b""


def test_a_header_is_signed_wherever_it_stands() -> None:
    """In the query, in any case of letters, or among the headers."""
    assert proven("PUT", signed("PUT", "/b/k", extensions="x-amz-meta-a:1,2\n"), {"x-amz-meta-a": "1,2"})
    assert proven("PUT", signed("PUT", "/b/k", "Content-Type=image/png", type="image/png"))
    assert proven("PUT", signed("PUT", "/b/k", type="image/png"), {"content-type": " image/png "})


@pytest.mark.parametrize(
    "query",
    [
        "x-amz-acl=private&x-amz-acl=private",
        "x-amz-acl=private&X-Amz-Acl=private",
        "x-amz-meta-a=1%0Ax-amz-meta-b:2",
        "x-amz-meta-a%3Ab=1",
        "content-type=a%0D",
        "response-content-type=a%26uploadId%3Db",
        "partNumber=1%26uploadId%3Db",
        "response-content-type=a%0Ab",
        "x-valet-uses=1",
        "X-Valet-Create-Only=1",
        "x-amz-object-attributes=ETag",
    ],
)
def test_what_this_version_cannot_hold_is_refused_though_it_is_signed(query: str) -> None:
    """Line ends and `&` in values, names twice, and conditions that it does not sign at all."""
    inbound = received("GET", f"http://{HOST}/b/k?{query}")
    try:
        text = next(strings_to_sign(inbound, RULES, str(NOW + 60))).decode()
    except Denied:
        text = ""
    mac = base64.b64encode(hmac.digest(SECRET.encode(), text.encode(), "sha1")).decode()
    url = f"http://{HOST}/b/k?{query}&AWSAccessKeyId={AKID}&Expires={NOW + 60}&Signature={quote(mac, safe='')}"
    assert (refusal("GET", url).code, s3_code(refusal("GET", url))) == ("parameter_invalid", "InvalidArgument")


def test_a_digest_of_the_body_binds_and_a_framed_body_is_refused() -> None:
    """Both are signed as any extension is; chunks of version 2 there are none."""
    digest = hashlib.sha256(b"body")
    url = signed("PUT", "/b/k", extensions=f"x-amz-content-sha256:{digest.hexdigest()}\n")
    assert proven("PUT", url, {"x-amz-content-sha256": digest.hexdigest()}).grant.sha256 == digest.digest()
    url = signed("PUT", "/b/k", extensions="x-amz-content-sha256:UNSIGNED-PAYLOAD\n")
    assert proven("PUT", url, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}).grant.sha256 is None
    for framing in ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x"):
        url = signed("PUT", "/b/k", extensions=f"x-amz-content-sha256:{framing}\n")
        assert refusal("PUT", url, {"x-amz-content-sha256": framing}).code == "parameter_invalid"


def test_an_extension_sent_twice_is_refused() -> None:
    """Joined by a comma it would be signed as one value and read as another."""
    url = signed("PUT", "/b/k", extensions="x-amz-meta-a:1,2\n")
    inbound = received("PUT", url).with_headers(((b"x-amz-meta-a", b"1"), (b"x-amz-meta-a", b"2")))
    scheme = S3(RULES)
    with pytest.raises(Denied) as denied:
        scheme.verify(inbound, recognise(inbound, [scheme]), RING)
    assert denied.value.code == "parameter_invalid"


# --- sessions -----------------------------------------------------------------------------------------------------


def test_a_session_signs_within_its_signing_key() -> None:
    """Token in the query, as boto3 writes it; its end ends the URL, its operations and prefixes narrow it."""
    made = mint(AKID, SECRET.encode(), NOW + 100, ["read"], ["/photos/"])
    session = client(token=made.session_token, akid=made.access_key_id, secret=made.secret_access_key)
    url = session.generate_presigned_url("get_object", KEY, 3600)
    grant = proven("GET", url).grant
    assert grant.subject == made.access_key_id
    assert grant.not_after == NOW + 100
    put = session.generate_presigned_url("put_object", KEY, 3600)
    assert refusal("PUT", put).code == "operation_not_allowed"
    elsewhere = session.generate_presigned_url("get_object", {"Bucket": "other", "Key": "k"}, 3600)
    assert refusal("GET", elsewhere).code == "path_not_allowed"
    assert s3_code(refusal("GET", url, now=NOW + 100)) == "ExpiredToken"
    assert s3_code(refusal("GET", url.replace("valet1.", "valet2."))) == "InvalidToken"
    without = "&".join(part for part in url.split("&") if "security-token" not in part)
    assert s3_code(refusal("GET", without)) == "InvalidAccessKeyId"


# --- differential -------------------------------------------------------------------------------------------------

UNSIGNED_NAMES = {"prefix", "list-type", "encoding-type"}


@given(shape=st.sampled_from(SHAPES), style=st.sampled_from(["path", "virtual"]), data=st.data())
def test_any_one_changed_component_is_refused(
    shape: tuple[str, dict[str, Any], str, dict[str, str]], style: str, data: st.DataObject
) -> None:
    """Method, path, host's bucket, any signed parameter's name or value, a header more or less."""
    operation, params, method, headers = shape
    url = presigned(operation, style=style, **params)
    split = urlsplit(url)
    pairs = parse_qsl(split.query, keep_blank_values=True)
    changes = ["method", "path", "parameter", "drop", "header", "type"]
    change = data.draw(st.sampled_from(changes + (["host"] if style == "virtual" else [])))
    path, host = split.path, split.netloc
    match change:
        case "method":
            others = {"GET", "PUT", "DELETE", "POST"} - {method} - ({"GET"} if method == "HEAD" else set())
            method = data.draw(st.sampled_from(sorted(others)))
        case "path":
            path = data.draw(st.sampled_from([path + "x", path + "/x", "/x" + path, path.replace("o", "0", 1) + "y"]))
        case "host":
            host = "x" + host
        case "parameter" | "drop":
            # A hoisted header that is sent as well may be dropped from the query: it says the same.
            kept = UNSIGNED_NAMES | (set(map(str.lower, headers)) if change == "drop" else set())
            index = data.draw(st.sampled_from([i for i, (name, _) in enumerate(pairs) if name not in kept]))
            name, value = pairs[index]
            replaced = [] if change == "drop" else [(name, value + data.draw(st.sampled_from(["1", "x", "%"])))]
            pairs[index : index + 1] = replaced
        case "header":
            headers = {**headers, "x-amz-meta-evil": "1"}
        case _:
            headers = {**headers, "Content-Type": "text/evil"}
    query = urlencode(pairs, quote_via=quote)
    assert refusal(method, f"{split.scheme}://{host}{path}?{query}", headers)


# --- in a header ---------------------------------------------------------------------------------------------------


def verify(inbound: Inbound, rules: Rules = RULES) -> Proof:
    """What a request proves."""
    credential = recognise(inbound, (S3(rules),))
    return credential.scheme.verify(inbound, credential, RING)


def with_headers(operation: str, **params: Any) -> Inbound:
    """A request as boto3 signs its headers by version 2."""
    sent: list[Any] = []
    by = boto3.client(
        "s3",
        aws_access_key_id=AKID,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        endpoint_url=f"http://{HOST}",
        config=Config(signature_version="s3", s3={"addressing_style": "path"}),
    )

    def keep(request: Any, **_: Any) -> Any:
        sent.append(request)
        return AWSResponse(request.url, 200, {}, None)

    by.meta.events.register("before-send.s3", keep)
    with contextlib.suppress(Exception):  # the answer is none that boto3 can read
        getattr(by, operation)(**params)
    request = sent[0]
    named = {n: v if isinstance(v, str) else v.decode("latin-1") for n, v in request.headers.items()}
    return received(request.method, request.url, named)


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("get_object", {"Bucket": "b", "Key": "a b/ü+%.txt"}),
        ("put_object", {"Bucket": "b", "Key": "k", "Body": b"x", "Metadata": {"a": "b"}, "ContentType": "text/plain"}),
        ("delete_object", {"Bucket": "b", "Key": "k"}),
        ("list_objects_v2", {"Bucket": "b", "Prefix": "p"}),
        ("create_bucket", {"Bucket": "bucket"}),
        ("copy_object", {"Bucket": "b", "Key": "k", "CopySource": "b/other"}),
        ("upload_part", {"Bucket": "b", "Key": "k", "UploadId": "u", "PartNumber": 1, "Body": b"x"}),
    ],
)
def test_what_boto3_signs_in_headers_opens_the_profile_for_fifteen_minutes(operation: str, params: Any) -> None:
    inbound = with_headers(operation, **params)
    grant = verify(inbound).grant
    assert grant.operations == {"read", "write", "delete", "list"}
    assert grant.issued_at is not None
    assert grant.not_after - grant.issued_at == pytest.approx(900)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Authorization": f"AWS {AKID}:bmVpbmVpbmVpbmVpbmVpbmU="}, "SignatureDoesNotMatch"),
        ({"Authorization": "AWS UNKNOWNKEY:bmVpbmVpbmVpbmVpbmVpbmU="}, "InvalidAccessKeyId"),
        ({"Authorization": "AWS HAHAHA"}, "InvalidArgument"),
        ({"Date": "Bad Date"}, "AccessDenied"),
        ({"Date": ""}, "AccessDenied"),
        ({"Date": "Tue, 07 Jul 1950 21:53:04 GMT"}, "AccessDenied"),
        ({"Date": "Tue, 07 Jul 2020 21:53:04 GMT"}, "SignatureDoesNotMatch"),
        ({"Content-Type": "text/html"}, "SignatureDoesNotMatch"),
        ({"x-amz-copy-source": "/b/other"}, "SignatureDoesNotMatch"),
    ],
)
def test_signed_headers_of_version_2_hold_for_what_they_sign(change: dict[str, str], code: str) -> None:
    good = with_headers("put_object", Bucket="b", Key="k", Body=b"x", ContentType="text/plain")
    verify(good)
    lower = {name.lower() for name in change}
    kept = tuple((n, v) for n, v in good.headers if n.decode("latin-1").lower() not in lower)
    headers = (*kept, *((name.encode(), value.encode()) for name, value in change.items()))
    with pytest.raises(Denied) as caught:
        verify(Inbound(good.method, good.target, headers, now=good.now))
    assert caught.value.said
    assert caught.value.said.code == code


def test_signed_headers_hold_for_one_method_and_path() -> None:
    good = with_headers("put_object", Bucket="b", Key="k", Body=b"x")
    for method, target in (("DELETE", good.target), ("PUT", b"/b/other"), ("PUT", b"/b/k?uploadId=u&partNumber=1")):
        with pytest.raises(Denied):
            verify(Inbound(method, target, good.headers, now=good.now))


@pytest.mark.parametrize("old", ["x-amz-date", "Content-Type", "content-md5", "x-amz-security-token"])
def test_a_signed_header_does_not_stand_in_the_query(old: str) -> None:
    """What was signed would be the query's, and what counts the head's: an old date there, a new one here."""
    good = with_headers("put_object", Bucket="b", Key="k", Body=b"x", ContentType="text/plain")
    value = dict(good.headers).get(old.encode(), b"x").decode()
    with pytest.raises(Denied) as caught:
        verify(Inbound(good.method, good.target + f"?{old}={quote(value)}".encode(), good.headers, now=good.now))
    assert caught.value.code == "parameter_invalid"


def test_headers_of_yesterday_are_not_dated_anew_by_the_query() -> None:
    yesterday, today = (formatdate(NOW - days * 86_400, usegmt=True) for days in (1, 0))
    text = f"GET\n\n\n\nx-amz-date:{yesterday}\n/b/k".encode()
    mac = base64.b64encode(hmac.digest(SECRET.encode(), text, "sha1")).decode()
    url = f"http://{HOST}/b/k?x-amz-date={quote(yesterday)}"
    with pytest.raises(Denied) as caught:
        verify(received("GET", url, {"Authorization": f"AWS {AKID}:{mac}", "x-amz-date": today}))
    assert caught.value.code == "parameter_invalid"
