"""Uploads in parts: any order, replaced parts, lists, copies of parts, one object at the end and nothing before."""

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from boto3.s3.transfer import TransferConfig

from tests.edge.s3.conftest import Clients
from tests.edge.s3.parts import BUCKET, MIB, PART_MIN, Presigned, Whole, filled, refused
from tests.edge.wire import Wire, head
from tests.gate import Gate


def etag_of(*bodies: bytes) -> str:
    """S3's entity tag of an object in parts."""
    over = b"".join(hashlib.md5(body, usedforsecurity=False).digest() for body in bodies)
    return f'"{hashlib.md5(over, usedforsecurity=False).hexdigest()}-{len(bodies)}"'


def test_a_large_file_goes_up_and_comes_down_in_parts(s3: Clients) -> None:
    client, data = s3(), filled(1, 13 * MIB + 7)
    config = TransferConfig(multipart_threshold=PART_MIN, multipart_chunksize=PART_MIN)
    extra = {"ContentType": "image/png", "Metadata": {"who": "me"}, "CacheControl": "no-cache"}
    client.upload_fileobj(io.BytesIO(data), BUCKET, "large", ExtraArgs=extra, Config=config)
    out = io.BytesIO()
    client.download_fileobj(BUCKET, "large", out, Config=config)
    assert out.getvalue() == data
    found = client.head_object(Bucket=BUCKET, Key="large")
    assert found["ETag"] == etag_of(data[:PART_MIN], data[PART_MIN : 2 * PART_MIN], data[2 * PART_MIN :])
    assert (found["ContentType"], found["Metadata"], found["CacheControl"]) == ("image/png", {"who": "me"}, "no-cache")


def test_parts_come_in_any_order_and_the_last_of_a_number_counts(s3: Clients) -> None:
    whole = Whole(s3(), "order").begin()
    whole.part(7, b"end")
    whole.part(2, filled(9))
    whole.part(2, filled(2))
    whole.part(1, filled(1, PART_MIN + 1))
    whole.part(5, b"left out")
    chosen = [whole.rows[number] for number in (1, 2, 7)]
    answer = whole.complete(chosen)
    bodies = (filled(1, PART_MIN + 1), filled(2), b"end")
    assert answer["ETag"] == etag_of(*bodies)
    assert answer["Location"] == f"{s3.gate.base}/{BUCKET}/order"
    assert (answer["Bucket"], answer["Key"]) == (BUCKET, "order")
    assert whole.body() == b"".join(bodies)
    piece = whole.client.get_object(Bucket=BUCKET, Key="order", PartNumber=2)
    assert (piece["PartsCount"], piece["Body"].read()) == (3, filled(2))
    # They are counted on when they are read: the seventh that was sent is the third there is.
    assert whole.client.get_object(Bucket=BUCKET, Key="order", PartNumber=3)["Body"].read() == b"end"
    with refused("InvalidPart", 400):
        whole.client.get_object(Bucket=BUCKET, Key="order", PartNumber=7)


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_the_answer_says_where_the_object_is_as_it_was_asked_for(s3: Clients, gate: Gate, style: str) -> None:
    place = f"localhost:{gate.address[1]}"
    client = s3(endpoint=f"http://{place}", signature_version="s3v4", s3={"addressing_style": style})
    whole = Whole(s3(), f"{BUCKET}/ä b").begin()
    whole.part(1, b"x")
    upload = Presigned(gate, client, whole.key, whole.id, {1: whole.rows[1]["ETag"]})
    url = upload.url("complete_multipart_upload")
    answer = gate.ask("POST", url, upload.document(), {"Host": urlsplit(url).netloc})
    shown = f"http://{BUCKET}.{place}" if style == "virtual" else f"http://{place}/{BUCKET}"
    assert f"<Location>{shown}/{BUCKET}/%C3%A4%20b</Location>".encode() in answer.body


def test_entity_tags_may_come_without_their_quotes(s3: Clients) -> None:
    whole = Whole(s3(), "bare").begin()
    row = whole.part(1, b"small")
    assert whole.complete([{"PartNumber": 1, "ETag": row["ETag"].strip('"')}])["ETag"] == etag_of(b"small")


def test_one_empty_part_makes_an_empty_object(s3: Clients) -> None:
    whole = Whole(s3(), "empty").begin()
    whole.part(1, b"")
    whole.complete()
    assert whole.body() == b""


def test_nothing_is_seen_before_the_complete_and_what_stood_there_stays(s3: Clients) -> None:
    client = s3()
    client.put_object(Bucket=BUCKET, Key="stands", Body=b"old")
    whole = Whole(client, "stands").begin()
    whole.part(1, b"new")
    assert whole.body() == b"old"
    whole.abort()
    assert whole.body() == b"old"
    for call in (whole.abort, whole.complete, lambda: whole.part(1, b"more")):
        with refused("NoSuchUpload", 404, "The specified upload does not exist."):
            call()


def test_a_complete_may_be_asked_for_again_while_the_object_is_still_that_one(s3: Clients) -> None:
    whole = Whole(s3(), "again").begin(Metadata={"a": "b"})
    whole.part(1, filled(1))
    whole.part(2, b"end")
    first = whole.complete(IfNoneMatch="*")
    again = whole.complete(IfNoneMatch="*")
    assert {name: first[name] for name in ("ETag", "Location", "Key")} == {
        name: again[name] for name in ("ETag", "Location", "Key")
    }
    with refused("NoSuchUpload", 404):
        whole.complete([whole.rows[1]])
    other = Whole(whole.client, "again").begin()
    with refused("InvalidPart", 400):
        other.complete(list(whole.rows.values()))
    whole.client.put_object(Bucket=BUCKET, Key="again", Body=b"another")
    with refused("NoSuchUpload", 404):
        whole.complete()
    assert whole.body() == b"another"


def test_of_many_completes_at_once_all_that_are_answered_name_one_object(s3: Clients) -> None:
    whole = Whole(s3(max_pool_connections=8), "race").begin()
    whole.part(1, filled(1))
    whole.part(2, b"end")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: whole.complete(), range(8)))
    assert {answer["ETag"] for answer in answers} == {etag_of(filled(1), b"end")}


def test_of_uploads_that_may_only_create_one_wins(s3: Clients) -> None:
    client = s3(max_pool_connections=6)
    wholes = [Whole(client, "first").begin() for _ in range(6)]
    for mark, whole in enumerate(wholes):
        whole.part(1, filled(mark, 1000))

    def attempt(whole: Whole) -> str:
        try:
            whole.complete(IfNoneMatch="*")
        except client.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return "won"

    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(attempt, wholes))
    assert sorted(ends) == ["PreconditionFailed"] * 5 + ["won"]
    assert wholes[0].body() == filled(ends.index("won"), 1000)


def test_conditions_of_a_complete_are_those_of_a_write(s3: Clients) -> None:
    client = s3()
    whole = Whole(client, "conditions").begin()
    whole.part(1, b"new")
    with refused("NoSuchKey", 404):
        whole.complete(IfMatch='"abc"')
    etag = client.put_object(Bucket=BUCKET, Key="conditions", Body=b"old")["ETag"]
    for asked in ({"IfMatch": '"abc"'}, {"IfNoneMatch": "*"}, {"IfNoneMatch": etag}):
        with refused("PreconditionFailed", 412):
            whole.complete(None, **asked)
    assert whole.body() == b"old"
    whole.complete(IfMatch=etag)
    assert whole.body() == b"new"


def test_parts_are_listed_in_pages(s3: Clients) -> None:
    whole = Whole(s3(), "listed").begin()
    for number in (9, 3, 10_000, 1):
        whole.part(number, filled(1, number))
    page = whole.client.list_parts(**whole.named)
    assert [(row["PartNumber"], row["Size"]) for row in page["Parts"]] == [(n, n) for n in (1, 3, 9, 10_000)]
    assert page["Parts"][1]["ETag"] == whole.rows[3]["ETag"]
    assert (page["IsTruncated"], page["MaxParts"], page["PartNumberMarker"]) == (False, 1000, 0)
    assert page["StorageClass"] == "STANDARD"
    first = whole.client.list_parts(**whole.named, MaxParts=3)
    assert (first["IsTruncated"], first["NextPartNumberMarker"], len(first["Parts"])) == (True, 9, 3)
    rest = whole.client.list_parts(**whole.named, MaxParts=3, PartNumberMarker=9)
    assert [row["PartNumber"] for row in rest["Parts"]] == [10_000]
    assert not rest["IsTruncated"]
    assert "Parts" not in whole.client.list_parts(**whole.named, MaxParts=0)
    paged = whole.client.get_paginator("list_parts").paginate(**whole.named, PaginationConfig={"PageSize": 2})
    assert [row["PartNumber"] for page in paged for row in page["Parts"]] == [1, 3, 9, 10_000]
    with refused("InvalidArgument", 400):
        whole.client.list_parts(**whole.named, MaxParts=-1)


def test_uploads_of_a_bucket_are_listed_until_they_are_over(s3: Clients) -> None:
    client = s3()
    wholes = [Whole(client, f"uploads/{name}").begin() for name in ("a", "a", "b")]
    found = client.list_multipart_uploads(Bucket=BUCKET, Prefix="uploads/")["Uploads"]
    assert sorted((row["Key"], row["UploadId"]) for row in found) == sorted((w.key, w.id) for w in wholes)
    wholes[0].abort()
    wholes[2].part(1, b"x")
    wholes[2].complete()
    found = client.list_multipart_uploads(Bucket=BUCKET, Prefix="uploads/")["Uploads"]
    assert [row["UploadId"] for row in found] == [wholes[1].id]


def test_a_part_may_be_another_object_or_a_range_of_it(s3: Clients) -> None:
    client, source = s3(), filled(4, 6 * MIB)
    client.put_object(Bucket=BUCKET, Key="source ä+", Body=source)
    whole = Whole(client, "copied").begin(ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT")
    copy_from = {"CopySource": {"Bucket": BUCKET, "Key": "source ä+"}}
    for number, asked in ((1, {}), (2, {"CopySourceRange": "bytes=5-14"})):
        answer = client.upload_part_copy(**whole.named, PartNumber=number, **copy_from, **asked)
        whole.keep(number, answer["CopyPartResult"])
    assert whole.rows[2]["ETag"] == f'"{hashlib.md5(source[5:15], usedforsecurity=False).hexdigest()}"'
    assert "ChecksumCRC32C" in whole.rows[2]
    whole.complete()
    assert whole.body() == source + source[5:15]


@pytest.mark.parametrize("asked", ["bytes=0-6291456", "bytes=5-", "bytes=-5", "bytes=9-8", "0-5", "bytes=0-1,3-4"])
def test_a_range_of_a_source_has_both_ends_within_it(s3: Clients, asked: str) -> None:
    client = s3()
    client.put_object(Bucket=BUCKET, Key="short", Body=b"0123456789")
    whole = Whole(client, "ranged").begin()
    with refused("InvalidArgument", 400):
        client.upload_part_copy(**whole.named, PartNumber=1, CopySource=f"{BUCKET}/short", CopySourceRange=asked)
    with refused("NoSuchKey", 404):
        client.upload_part_copy(**whole.named, PartNumber=1, CopySource=f"{BUCKET}/missing")


def test_an_upload_that_is_given_up_while_a_part_arrives_takes_it_no_more(s3: Clients, gate: Gate) -> None:
    whole = Whole(s3(signature_version="s3v4"), "given-up").begin()
    asked = {**whole.named, "PartNumber": 1}
    target = whole.client.generate_presigned_url("upload_part", asked)[len(gate.base) :]
    with Wire(gate.address, seconds=20) as wire:
        host = gate.base.partition("://")[2]
        wire.send(head("PUT", target, "Content-Length: 100", "Expect: 100-continue", host=host))
        assert wire.answer().status == 100
        wire.send(b"x" * 50)
        whole.abort()
        wire.send(b"x" * 50)
        answer = wire.answer()
    assert answer.status == 404
    assert b"<Code>NoSuchUpload</Code>" in answer.body


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_every_step_may_be_a_presigned_url(s3: Clients, gate: Gate, version: str) -> None:
    upload = Presigned(gate, s3(signature_version=version), f"presigned-{version}")
    assert upload.begin(upload.create()).status == 200
    assert upload.part(1, filled(1)).status == 200
    assert upload.part(2, b"end").status == 200
    listed = gate.ask("GET", upload.url("list_parts"))
    assert listed.body.count(b"<Part>") == 2
    assert upload.complete().status == 200
    assert Whole(s3(), upload.key).body() == filled(1) + b"end"
    upload.begin(upload.create())
    assert upload.abort().status == 204


def test_the_parts_of_many_uploads_at_once_do_not_mix(s3: Clients) -> None:
    client = s3(max_pool_connections=10)
    wholes = [Whole(client, f"many/{mark}").begin() for mark in range(5)]
    begin = threading.Barrier(5)

    def fill(mark: int) -> None:
        begin.wait()
        wholes[mark].part(2, filled(mark + 50, 10))
        wholes[mark].part(1, filled(mark))
        wholes[mark].complete()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(fill, range(5)))
    for mark, whole in enumerate(wholes):
        assert whole.body() == filled(mark) + filled(mark + 50, 10)
