"""What the key that began an upload asks of the whole holds, whoever sends the parts and completes it."""

import time
from typing import Any

import msgspec
import pytest

from tests.edge.s3.conftest import Clients
from tests.edge.s3.parts import BUCKET, PART_MIN, Presigned, Whole, filled, presigned, refused
from tests.edge.wire import Wire, head
from tests.gate import Gate
from valetstore.config import Config
from valetstore.edge.upload_terms import Terms
from valetstore.grants.grant import Profile
from valetstore.storage.uploads import Started

ONCE = Profile(single_use=("write",))


def as_other(whole: Whole, client: Any) -> Whole:
    """The same upload, by somebody else."""
    return Whole(client, whole.key, whole.id, whole.rows)


def test_parts_that_would_exceed_the_maximum_are_refused_at_once(s3: Clients) -> None:
    most = PART_MIN + 10
    whole = Whole(s3(profile=Profile(length_bytes_max=most)), "terms/max").begin()
    everybody = as_other(whole, s3())
    with refused("EntityTooLarge", 400) as seen:
        whole.part(1, filled(1, most + 1))
    everybody.part(1, filled(1))
    everybody.part(2, b"x" * 10)
    for body in (b"x", b"x" * 11):
        with refused("EntityTooLarge", 400) as seen:
            everybody.part(3, body)
        assert seen.members["MaxSizeAllowed"] == str(most)
    with refused("EntityTooLarge", 400):
        everybody.part(2, b"x" * 11)
    everybody.client.put_object(Bucket=BUCKET, Key="terms/two", Body=b"zz")
    with refused("EntityTooLarge", 400):
        everybody.client.upload_part_copy(**whole.named, PartNumber=3, CopySource=f"{BUCKET}/terms/two")
    everybody.part(2, b"y" * 10)
    everybody.complete()
    assert whole.client.head_object(Bucket=BUCKET, Key=whole.key)["ContentLength"] == most


def test_parts_that_arrive_at_the_same_time_count_together(s3: Clients, gate: Gate) -> None:
    whole = Whole(s3(profile=Profile(length_bytes_max=10), signature_version="s3v4"), "terms/together").begin()
    target = presigned(whole.client, "upload_part", whole.named | {"PartNumber": 1})[len(gate.base) :]
    host = gate.base.partition("://")[2]
    with Wire(gate.address, seconds=20) as wire:
        wire.send(head("PUT", target, "Content-Length: 6", "Expect: 100-continue", host=host))
        assert wire.answer().status == 100
        with refused("EntityTooLarge", 400):
            whole.part(2, b"x" * 5)
        whole.part(2, b"x" * 4)
        wire.send(b"y" * 6)
        assert wire.answer().status == 200
    with refused("EntityTooLarge", 400):
        whole.part(3, b"z")


def test_the_minimum_is_judged_when_the_whole_is_there(s3: Clients) -> None:
    whole = Whole(s3(profile=Profile(length_bytes_min=PART_MIN + 4)), "terms/min").begin()
    whole.part(1, filled(1))
    whole.part(2, b"xyz")
    for client in (whole.client, s3()):
        with refused("EntityTooSmall", 400) as seen:
            as_other(whole, client).complete()
        assert seen.members["MinSizeAllowed"] == str(PART_MIN + 4)
    whole.part(2, b"wxyz")
    as_other(whole, s3()).complete()


def test_the_type_is_judged_when_the_upload_begins(s3: Clients) -> None:
    client = s3(profile=Profile(types=("image/*",)))
    with pytest.raises(client.exceptions.ClientError) as caught:
        Whole(client, "terms/type").begin(ContentType="text/html")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-valet-error"] == "type_not_allowed"
    whole = Whole(client, "terms/type").begin(ContentType="image/png")
    whole.part(1, b"x")
    whole.complete()


def test_create_only_holds_from_the_create_to_the_publish(s3: Clients) -> None:
    client = s3(profile=Profile(create_only=True))
    whole = Whole(client, "terms/create").begin()
    whole.part(1, b"new")
    s3().put_object(Bucket=BUCKET, Key=whole.key, Body=b"old")
    for by in (client, s3()):
        with refused("PreconditionFailed", 412):
            as_other(whole, by).complete()
    with refused("PreconditionFailed", 412):
        Whole(client, whole.key).begin()
    assert whole.body() == b"old"
    s3().delete_object(Bucket=BUCKET, Key=whole.key)
    whole.complete()
    assert whole.body() == b"new"


@pytest.mark.parametrize(
    ("profile", "code"),
    [
        (Profile(length_bytes_max=2), "too_large"),
        (Profile(length_bytes_min=4), "too_small"),
        (Profile(types=("image/*",)), "type_not_allowed"),
        (Profile(create_only=True), "exists"),
        (Profile(prefixes=(f"/{BUCKET}/elsewhere/",)), "path_not_allowed"),
        (Profile(operations=("read",)), "operation_not_allowed"),
    ],
)
def test_what_the_completing_key_asks_holds_too(s3: Clients, profile: Profile, code: str) -> None:
    client = s3()
    client.put_object(Bucket=BUCKET, Key=f"terms/{code}", Body=b"old")
    whole = Whole(client, f"terms/{code}").begin(ContentType="text/plain")
    whole.part(1, b"new")
    limited = as_other(whole, s3(profile=profile))
    with pytest.raises(client.exceptions.ClientError) as caught:
        limited.complete()
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-valet-error"] == code
    assert whole.body() == b"old"
    whole.complete()


def test_a_limited_key_completes_only_what_it_began(s3: Clients, gate: Gate) -> None:
    """Its use was not counted when another key, or none that is limited, began the upload."""
    whole = Whole(s3(signature_version="s3v4"), "terms/uncounted").begin()
    limited = s3(profile=ONCE, signature_version="s3v4")
    part = whole.named | {"PartNumber": 1}
    urls = [
        ("PUT", presigned(limited, "upload_part", part)),
        ("PUT", presigned(whole.client, "upload_part", part, uses="1")),
        ("POST", presigned(limited, "complete_multipart_upload", whole.named)),
        ("POST", presigned(whole.client, "complete_multipart_upload", whole.named, uses="5")),
        ("DELETE", presigned(limited, "abort_multipart_upload", whole.named)),
    ]
    xml = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>"
    for method, url in urls:
        answer = gate.ask(method, url, {"PUT": b"x", "POST": xml}.get(method))
        assert (answer.status, answer.code) == (403, "operation_not_allowed"), (method, answer)
        assert b"<Code>AccessDenied</Code>" in answer.body
    whole.part(1, b"x")
    whole.complete()


def test_header_signatures_of_a_single_use_key_are_refused(s3: Clients) -> None:
    with refused("AccessDenied", 403, "presign the request"):
        Whole(s3(profile=ONCE), "terms/headers").begin()


@pytest.mark.parametrize("end", ["key", "signing key", "retired"])
def test_an_upload_ends_with_the_key_that_began_it(s3: Clients, gate: Gate, end: str) -> None:
    credentials = s3.credentials(Profile(create_only=True))
    upload = Presigned(gate, s3(credentials=credentials, signature_version="s3v4"), f"terms/{end}")
    url = upload.create()
    assert upload.begin(url).status == 200
    whole = Whole(upload.client, upload.key, upload.id)
    whole.part(1, b"x")
    name = f"s3-{credentials.access_key_id.lower()}"
    if end == "key":
        gate.cli("revoke", url)
    elif end == "signing key":
        gate.cli("revoke", "--signing-key", name)
    else:
        with gate.reloading():
            gate.cli("keys", "retire", name)
    other = as_other(whole, s3())
    with refused("AccessDenied", 403):
        other.complete()
    with refused("AccessDenied", 403):
        other.part(2, b"y")
    other.abort()
    with refused("NoSuchKey", 404):
        other.body()


def test_an_upload_of_a_limited_key_is_over_after_its_time(s3: Clients, gate: Gate) -> None:
    """What is remembered of its one use is forgotten then, too: it must not be completed later."""
    upload = Presigned(gate, s3(profile=ONCE, signature_version="s3v4"), "terms/late")
    began = time.time()
    assert upload.begin(upload.create()).status == 200
    (record,) = [path for path in gate.data.rglob("record") if path.parent.name == upload.id]
    kept = msgspec.msgpack.decode(record.read_bytes(), type=Started)
    terms = msgspec.msgpack.decode(kept.terms, type=Terms)
    week = Config().storage.multipart_seconds_max
    assert 0 <= terms.until - began - week < 60
    over = msgspec.structs.replace(terms, until=began)
    record.write_bytes(msgspec.msgpack.encode(msgspec.structs.replace(kept, terms=msgspec.msgpack.encode(over))))
    upload.etags = {1: '"0123456789abcdef0123456789abcdef"'}
    for answer in (upload.part(1, b"x"), upload.complete(), upload.abort()):
        assert (answer.status, answer.code) == (404, "upload_not_found")
