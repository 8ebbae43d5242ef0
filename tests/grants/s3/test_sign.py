"""What we sign for S3: the same signature as botocore's for the same request at the same moment, and one we accept."""

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.compat import HAS_CRT
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from valetstore.grants.grant import Profile, Proof
from valetstore.grants.presign import FILENAME, Condition, Form, Request
from valetstore.grants.s3 import S3, Rules
from valetstore.grants.s3.sign import Key, post_form, presign_v2, presign_v4
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import HMAC, new_access_key_id, new_secret_access_key

NOW = 1_800_000_000
BASE = "https://files.example.com"
SECRET = new_secret_access_key()
KEY = Key(new_access_key_id(), SECRET.encode())
RING = KeyRing([record_of("web", HMAC, Profile(), kid=KEY.access_key_id, secret=KEY.secret, scheme="s3")])


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore signs at NOW."""

    def now(remove_tzinfo: bool = True) -> datetime:
        moment = datetime.fromtimestamp(NOW, UTC)
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    modules = ["auth", "signers"] + (["crt.auth"] if HAS_CRT else [])
    for module in modules:
        monkeypatch.setattr(f"botocore.{module}.get_current_datetime", now)
    monkeypatch.setattr("botocore.auth.HmacV1QueryAuth._get_date", lambda self: str(NOW + self._expires))


def client(version: str, key: Key = KEY) -> Any:
    """A client of boto3 that signs with this version, path style."""
    return boto3.client(
        "s3",
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret.decode(),
        aws_session_token=key.session_token or None,
        region_name="us-east-1",
        endpoint_url=BASE,
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )


def parts(url: str) -> tuple[str, dict[str, str]]:
    """What comes before the query, and the query."""
    before, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return before, dict(pairs)


def received(method: str, url: str, headers: Mapping[str, str] | None = None) -> Inbound:
    """The request that a client makes of a URL."""
    split = urlsplit(url)
    pairs = tuple((n.encode(), v.encode("latin-1")) for n, v in {"host": split.netloc, **(headers or {})}.items())
    return Inbound(method, f"{split.path}?{split.query}".encode(), pairs, now=NOW + 1, tls=True)


def proven(inbound: Inbound) -> Proof:
    """What the scheme that serves says of it."""
    scheme = S3(Rules())
    (credential,) = scheme.recognises(inbound)
    return scheme.verify(inbound, credential, RING)


REQUESTS: list[tuple[str, dict[str, Any], Request]] = [
    ("get_object", {}, Request("GET", BASE, "/photos/a b+c/ü~'()*!.jpg")),
    ("head_object", {}, Request("HEAD", BASE, "/photos/a//b")),
    ("delete_object", {}, Request("DELETE", BASE, "/photos/%41")),
    (
        "get_object",
        {"ResponseContentDisposition": 'attachment; filename="a b+c.jpg"', "ResponseContentType": "text/plain"},
        Request(
            "GET",
            BASE,
            "/photos/x",
            parameters=(
                ("response-content-disposition", 'attachment; filename="a b+c.jpg"'),
                ("response-content-type", "text/plain"),
            ),
        ),
    ),
    (
        "put_object",
        {"ContentType": "image/png", "Metadata": {"who": "me"}, "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
        Request(
            "PUT",
            BASE,
            "/photos/x",
            headers=(
                ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
                ("content-type", "image/png"),
                ("x-amz-meta-who", "me"),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("operation", "arguments", "request_"), REQUESTS)
@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("token", ["", "a/token+with=signs"])
def test_a_url_is_botocores(
    version: str, operation: str, arguments: dict[str, Any], request_: Request, token: str
) -> None:
    key = KEY._replace(session_token=token)
    bucket, name = request_.path[1:].split("/", 1)
    theirs = client(version, key).generate_presigned_url(
        operation, {"Bucket": bucket, "Key": name} | arguments, ExpiresIn=600
    )
    if version == "s3":
        ours = presign_v2(key, request_, expires_at=NOW + 600)
    else:
        ours = presign_v4(key, request_, now=NOW, expires=600, region="us-east-1")
    assert parts(ours) == parts(theirs)


@pytest.mark.parametrize(("_operation", "_arguments", "request_"), REQUESTS)
def test_a_url_of_ours_is_proven(_operation: str, _arguments: dict[str, Any], request_: Request) -> None:
    headers = dict(request_.headers)
    v4 = presign_v4(KEY, request_, now=NOW, expires=600, region="us-east-1")
    v2 = presign_v2(KEY, request_, expires_at=NOW + 600)
    for url in (v4, v2):
        assert proven(received(request_.method, url, headers)).grant.signing_key == "web"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60))
def test_a_url_for_any_name_is_proven(name: str) -> None:
    request = Request("GET", BASE, f"/photos/x{name}y")
    for url in (
        presign_v4(KEY, request, now=NOW, expires=600, region="us-east-1"),
        presign_v2(KEY, request, expires_at=NOW + 600),
    ):
        inbound = received("GET", url)
        assert inbound.path == request.path
        assert proven(inbound).grant.scopes[0][0].path == request.path


@pytest.mark.parametrize("base", ["http://h:80", "http://h", "https://h:443/", "http://h:8420", "http://[::1]:8420"])
def test_the_host_that_is_signed_is_the_one_that_clients_send(base: str) -> None:
    """A client leaves out the port that the scheme implies."""
    url = presign_v4(KEY, Request("GET", base, "/photos/x"), now=NOW, expires=600, region="us-east-1")
    sent = {"http://h:80": "h", "https://h:443/": "h"}.get(base, urlsplit(base).netloc)
    assert proven(received("GET", url, {"host": sent}))


def test_a_known_payload_is_the_only_one() -> None:
    digest = "ab" * 32
    url = presign_v4(KEY, Request("PUT", BASE, "/photos/x", payload=digest), now=NOW, expires=600, region="us-east-1")
    assert proven(received("PUT", url)).grant.sha256 == bytes.fromhex(digest)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("name", ["photos/a b.jpg", "photos/${filename}"])
@pytest.mark.parametrize("token", ["", "a/token+with=signs"])
def test_a_form_is_botocores(version: str, name: str, token: str) -> None:
    key = KEY._replace(session_token=token)
    conditions: list[Condition] = [["content-length-range", 1, 1000], ["starts-with", "$Content-Type", "image/"]]
    fields = {"success_action_status": "201", "Content-Type": "image/png"}
    theirs = client(version, key).generate_presigned_post(
        "photos", name, fields, [*conditions, {"success_action_status": "201"}], ExpiresIn=600
    )
    region = "us-east-1" if version == "s3v4" else ""
    ours = post_form(
        key, BASE, "photos", name, now=NOW, expires=600, region=region, conditions=conditions, fields=fields
    )
    assert ours.url == theirs["url"]
    assert policy_of(ours.fields) == policy_of(theirs["fields"])
    assert ours.fields == theirs["fields"]


def test_every_field_of_a_form_is_covered_by_a_condition() -> None:
    form = post_form(KEY, BASE, "photos", "a", now=NOW, expires=60, region="us-east-1", fields={"Cache-Control": "x"})
    covered = {name for row in policy_of(form.fields)["conditions"] for name in row}
    assert {name for name in form.fields if name not in ("policy", "x-amz-signature")} <= covered


@pytest.mark.parametrize("region", ["us-east-1", ""])
def test_a_form_of_ours_is_proven(region: str) -> None:
    form = post_form(
        KEY,
        BASE,
        "photos",
        f"in/{FILENAME}",
        now=NOW,
        expires=60,
        region=region,
        conditions=[["content-length-range", 1, 1000]],
        fields={"success_action_status": "201"},
    )
    grant = proven(posted(form, "cat.jpg")).grant
    assert (grant.signing_key, grant.length_min, grant.length_max) == ("web", 1, 1000)


def posted(form: Form, filename: str) -> Inbound:
    """The request that a browser makes of a form, read up to its file."""
    fields = tuple((name.lower(), value) for name, value in form.fields.items())
    split = urlsplit(form.url)
    headers = ((b"host", split.netloc.encode()), (b"content-type", b"multipart/form-data; boundary=x"))
    inbound = Inbound("POST", split.path.encode(), headers, now=NOW + 1, tls=True)
    return inbound.with_form((*fields, ("file", filename)))


def policy_of(fields: Mapping[str, str]) -> Any:
    """A form's policy, decoded."""
    return json.loads(b64decode(fields["policy"]))


def test_no_secret_is_shown() -> None:
    assert SECRET not in repr(KEY)
