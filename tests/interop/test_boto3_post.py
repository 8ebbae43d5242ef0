"""Forms that boto3 signs (POST policies, V4 and V2), sent as a browser sends them."""

import base64
import json
import uuid
from typing import Any

import pytest

from tests.gate import Answer
from tests.interop.boto import client
from tests.interop.house import House, md5


@pytest.fixture(params=["s3v4", "s3"], ids=["v4", "v2"])
def s3(request: pytest.FixtureRequest, house: House) -> Any:
    """A client that signs forms in one of these ways."""
    return client(house, signature=request.param)


def send(
    house: House, form: dict[str, Any], content: bytes, filename: str = "cat.png", content_type: str = "image/png"
) -> Answer:
    """Submit a form with a file in it, the file last."""
    boundary = uuid.uuid4().hex
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    ]
    lines.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    body = "".join(lines).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return house.fetch("POST", form["url"], body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def test_a_form_uploads_its_file(s3: Any, house: House, bucket: str) -> None:
    form = s3.generate_presigned_post(bucket, "in/cat.png")
    sent = send(house, form, b"a cat")
    assert (sent.status, sent.body) == (204, b"")
    assert sent.headers["etag"] == f'"{md5(b"a cat")}"'
    assert client(house).get_object(Bucket=bucket, Key="in/cat.png")["Body"].read() == b"a cat"


def test_the_files_name_becomes_part_of_the_key(s3: Any, house: House, bucket: str) -> None:
    form = s3.generate_presigned_post(bucket, "in/${filename}")
    assert send(house, form, b"x", filename="grüße & co.png").status == 204
    assert client(house).get_object(Bucket=bucket, Key="in/grüße & co.png")["Body"].read() == b"x"


def test_the_shape_that_applications_use(s3: Any, house: House, bucket: str) -> None:
    """A length range, a type that begins so, metadata, and the status that the page waits for."""
    form = s3.generate_presigned_post(
        bucket,
        "x",
        Fields={"success_action_status": "201", "x-amz-meta-who": "me"},
        Conditions=[
            ["content-length-range", 1, 10],
            ["starts-with", "$Content-Type", "image/"],
            {"success_action_status": "201"},
            {"x-amz-meta-who": "me"},
        ],
        ExpiresIn=3600,
    )
    form["fields"]["Content-Type"] = "image/png"
    made = send(house, form, b"0123456789")
    assert made.status == 201, made.body
    for word in (b"<PostResponse>", b"<Key>x</Key>", f"<Bucket>{bucket}</Bucket>".encode(), b"<Location>http://"):
        assert word in made.body
    found = client(house).head_object(Bucket=bucket, Key="x")
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"who": "me"})
    for content, code in ((b"", b"EntityTooSmall"), (b"01234567890", b"EntityTooLarge")):
        refused = send(house, form, content)
        assert (refused.status, b"<Code>" + code + b"</Code>" in refused.body) == (400, True), refused.body
    form["fields"]["Content-Type"] = "text/html"
    refused = send(house, form, b"x")
    assert refused.status == 403
    assert b"Invalid according to Policy: Policy Condition failed: " in refused.body
    assert client(house).get_object(Bucket=bucket, Key="x")["Body"].read() == b"0123456789"


def test_a_redirect(s3: Any, house: House, bucket: str) -> None:
    back = {"success_action_redirect": "https://app.example.org/done?a=b"}
    form = s3.generate_presigned_post(bucket, "a b", Fields=dict(back), Conditions=[back])
    sent = send(house, form, b"x")
    assert sent.status == 303
    assert sent.headers["location"].startswith("https://app.example.org/done?a=b&")
    assert f"bucket={bucket}" in sent.headers["location"]
    assert "key=a" in sent.headers["location"]


def test_a_form_says_no_more_than_was_signed(s3: Any, house: House, bucket: str) -> None:
    def refused(code: str, change: dict[str, str], without: str = "") -> None:
        form = s3.generate_presigned_post(bucket, "x")
        form["fields"] |= change
        form["fields"].pop(without, None)
        answer = send(house, form, b"x")
        assert answer.status in (400, 403), answer.body
        assert f"<Code>{code}</Code>".encode() in answer.body, answer.body

    form = s3.generate_presigned_post(bucket, "x")
    refused("AccessDenied", {"key": "y"})
    refused("AccessDenied", {"x-amz-meta-a": "b"})
    signature = next(name for name in form["fields"] if name.lower() in ("signature", "x-amz-signature"))
    refused("SignatureDoesNotMatch", {signature: form["fields"][signature][::-1]})
    refused("InvalidArgument", {}, without=signature)
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    policy["conditions"] = []
    refused("SignatureDoesNotMatch", {"policy": base64.b64encode(json.dumps(policy).encode()).decode()})


def test_an_expired_form_and_a_wrong_secret(s3: Any, house: House, bucket: str) -> None:
    late = send(house, s3.generate_presigned_post(bucket, "x", ExpiresIn=-1), b"x")
    assert (late.status, b"Invalid according to Policy: Policy expired." in late.body) == (403, True), late.body
    signature = s3.meta.config.signature_version
    wrong = client(house, house.web.wrong, signature=signature).generate_presigned_post(bucket, "x")
    refused = send(house, wrong, b"x")
    assert (refused.status, b"<Code>SignatureDoesNotMatch</Code>" in refused.body) == (403, True)


def test_a_form_of_a_single_use_key_uploads_once(house: House, bucket: str) -> None:
    form = client(house, house.keys["uploads"], signature="s3v4").generate_presigned_post(bucket, "x")
    assert send(house, form, b"1").status == 204
    again = send(house, form, b"2")
    assert (again.status, again.headers["x-valet-error"]) == (403, "key_used")
    assert client(house).get_object(Bucket=bucket, Key="x")["Body"].read() == b"1"


def test_a_form_to_a_bucket_in_the_host(house: House) -> None:
    s3 = client(house, signature="s3v4", style="virtual", endpoint=f"http://localhost:{house.port}")
    form = s3.generate_presigned_post("virtual-forms", "x")
    assert form["url"].startswith(f"http://virtual-forms.localhost:{house.port}")
    assert send(house, form, b"x").status == 204
    assert client(house).get_object(Bucket="virtual-forms", Key="x")["Body"].read() == b"x"
