"""Google's own libraries sign, and transfer: google-cloud-storage, google-resumable-media, gcsfs; curl uses the URLs.

What they do by Google's JSON API (`blob.upload_from_string`) is not served: a URL is signed, and then used.
"""

import base64
import datetime
import hashlib
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import gcsfs
import google.cloud.storage._media.requests as storage_media
import google_crc32c
import obstore
import pytest
import requests
from google.cloud.storage.client import Client
from google.oauth2 import service_account
from google.resumable_media import requests as google_resumable_media
from obstore.store import GCSStore

from tests.gate import Gate
from tests.interop.house import new_bucket
from tests.interop.signers import make_key

media: Final[Any] = storage_media  # neither has types
resumable_media: Final[Any] = google_resumable_media

SECONDS: Final = datetime.timedelta(minutes=5)
CHUNK: Final = 256 * 1024


class Google(NamedTuple):
    """A gateway, its service account's file, and the client that the SDK makes of it."""

    gate: Gate
    key: dict[str, Any]

    @property
    def client(self) -> Client:
        """As an application makes it: from the file that `keys create` wrote."""
        return Client.from_service_account_json(
            self.key["service_account_file"], client_options={"api_endpoint": self.gate.base}
        )

    def url(self, bucket: str, name: str, **asked: Any) -> str:
        """A signed URL."""
        blob = self.client.bucket(bucket).blob(name)
        url: str = blob.generate_signed_url(expiration=SECONDS, api_access_endpoint=self.gate.base, **asked)
        return url


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    """A gateway with a service account."""
    folder = tmp_path_factory.mktemp("google")
    key = make_key(folder, "gcs")
    with Gate(folder) as gate:
        yield Google(gate, key)
        assert "Traceback" not in gate.log, gate.log[-4000:]
        written = gate.log + (gate.data / "audit.log").read_text()
        assert "Signature=" not in written
        assert "upload_id=" not in written


@pytest.fixture
def bucket() -> str:
    """A bucket that is not there yet."""
    return new_bucket()


@pytest.fixture(params=["v2", "v4"])
def version(request: pytest.FixtureRequest) -> str:
    """The SDK's default, and its newer process."""
    asked: str = request.param
    return asked


def test_put_get_head_delete(google: Google, bucket: str, version: str) -> None:
    body, name = b"hello" * 1000, "folder/grüße & +.txt"
    put = google.url(bucket, name, method="PUT", content_type="text/plain", version=version)
    assert requests.put(put, body, headers={"Content-Type": "text/plain"}).status_code == 200
    assert requests.put(put, body, headers={"Content-Type": "text/html"}).status_code == 403
    get = google.url(bucket, name, version=version)
    found = requests.get(get)
    assert (found.content, found.headers["content-type"]) == (body, "text/plain")
    assert requests.head(google.url(bucket, name, method="HEAD", version=version)).status_code == 200
    assert requests.delete(google.url(bucket, name, method="DELETE", version=version)).status_code == 204
    missing = requests.get(get)
    assert (missing.status_code, b"<Code>NoSuchKey</Code>" in missing.content) == (404, True)


def test_what_the_sdk_binds_is_bound(google: Google, bucket: str, version: str) -> None:
    md5 = base64.b64encode(hashlib.md5(b"right").digest()).decode()
    meta = {"x-goog-meta-a": "b", "x-goog-if-generation-match": "0"}
    put = google.url(bucket, "bound", method="PUT", content_md5=md5, headers=meta, version=version)
    sent = {"Content-MD5": md5, **meta}
    assert requests.put(put, b"wrong", headers=sent).status_code == 400
    assert requests.put(put, b"right", headers={"Content-MD5": md5}).status_code in (400, 403)
    assert requests.put(put, b"right", headers=sent).status_code == 200
    assert requests.put(put, b"right", headers=sent).status_code == 412
    found = requests.get(google.url(bucket, "bound", version=version))
    assert found.headers["x-goog-meta-a"] == "b"
    generation = found.headers["x-goog-generation"]
    assert requests.get(google.url(bucket, "bound", generation=generation, version=version)).content == b"right"


def test_the_url_says_how_a_browser_takes_it(google: Google, bucket: str) -> None:
    requests.put(google.url(bucket, "told", method="PUT"), b"x")
    url = google.url(bucket, "told", response_disposition="inline", response_type="text/css", version="v4")
    found = requests.get(url)
    assert found.headers["content-disposition"] == "inline"
    assert found.headers["content-type"] == "text/css"


def test_a_form_uploads(google: Google, bucket: str) -> None:
    policy = google.client.generate_signed_post_policy_v4(
        bucket,
        "form/a b.txt",
        expiration=SECONDS,
        conditions=[["content-length-range", 1, 100]],
        fields={"success_action_status": "201", "x-goog-meta-a": "b"},
    )
    url = f"{google.gate.base}/{bucket}"
    done = requests.post(url, data=policy["fields"], files={"file": ("a b.txt", b"data", "text/plain")})
    assert done.status_code == 201, done.content
    assert requests.get(google.url(bucket, "form/a b.txt")).content == b"data"
    too_long = requests.post(url, data=policy["fields"], files={"file": ("c", b"x" * 101, "text/plain")})
    assert (too_long.status_code, b"<Code>EntityTooLarge</Code>" in too_long.content) == (400, True)


@pytest.mark.parametrize("library", [resumable_media, media], ids=["google-resumable-media", "google-cloud-storage"])
@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 17])
def test_resumable_upload(google: Google, bucket: str, library: Any, size: int) -> None:
    """Without a checksum of the library's own, which it compares with an answer of the JSON API."""
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    url = google.url(bucket, "resumed", method="RESUMABLE", content_type="text/css", version="v4")
    upload = library.ResumableUpload(url, CHUNK, checksum=None, headers={"x-goog-resumable": "start"})
    session = requests.Session()
    assert upload.initiate(session, io.BytesIO(body), {}, "text/css", total_bytes=size).status_code == 201
    while not upload.finished:
        upload.transmit_next_chunk(session)
    found = requests.get(google.url(bucket, "resumed"))
    assert (found.content, found.headers["content-type"]) == (body, "text/css")


@pytest.mark.parametrize("library", [resumable_media, media], ids=["google-resumable-media", "google-cloud-storage"])
def test_an_upload_recovers(google: Google, bucket: str, library: Any) -> None:
    """What a library does when it lost count: it asks, and goes on from there."""
    body = bytes(range(256)) * (4 * CHUNK // 256)
    url = google.url(bucket, "recovered", method="RESUMABLE", version="v4", content_type="text/css")
    upload = library.ResumableUpload(url, CHUNK, checksum=None, headers={"x-goog-resumable": "start"})
    session = requests.Session()
    upload.initiate(session, io.BytesIO(body), {}, "text/css", total_bytes=len(body))
    upload.transmit_next_chunk(session)
    span = f"bytes {CHUNK}-{2 * CHUNK - 1}/{len(body)}"
    requests.put(upload.resumable_url, body[CHUNK : 2 * CHUNK], headers={"Content-Range": span})
    upload._make_invalid()
    upload.recover(session)
    assert upload.bytes_uploaded == 2 * CHUNK
    while not upload.finished:
        upload.transmit_next_chunk(session)
    assert requests.get(google.url(bucket, "recovered")).content == body


def test_a_stream_of_unknown_length(google: Google, bucket: str) -> None:
    body = bytes(2 * CHUNK + 5)
    url = google.url(bucket, "stream", method="RESUMABLE", version="v4", content_type="text/css")
    upload = media.ResumableUpload(url, CHUNK, checksum=None, headers={"x-goog-resumable": "start"})
    session = requests.Session()
    upload.initiate(session, io.BytesIO(body), {}, "text/css", stream_final=False)
    while not upload.finished:
        upload.transmit_next_chunk(session)
    assert requests.get(google.url(bucket, "stream")).content == body


def test_downloads_check_the_hash(google: Google, bucket: str, version: str) -> None:
    body = bytes(range(256)) * 5000
    requests.put(google.url(bucket, "hashed", method="PUT"), body)
    url, session = google.url(bucket, "hashed", version=version), requests.Session()
    for checksum in ("md5", "crc32c"):
        for kind in (resumable_media.Download, resumable_media.RawDownload, media.Download, media.RawDownload):
            whole = io.BytesIO()
            kind(url, stream=whole, checksum=checksum).consume(session)
            assert whole.getvalue() == body
    for kind in (resumable_media.ChunkedDownload, resumable_media.RawChunkedDownload, media.ChunkedDownload):
        pieces = io.BytesIO()
        download = kind(url, 300_000, pieces)
        while not download.finished:
            download.consume_next_chunk(session)
        assert (pieces.getvalue(), download.total_bytes) == (body, len(body))
    told = requests.head(google.url(bucket, "hashed", method="HEAD")).headers["x-goog-hash"]
    assert base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode() in told


def test_gcsfs_signs(google: Google, bucket: str) -> None:
    requests.put(google.url(bucket, "fs/a.txt", method="PUT"), b"by gcsfs")
    kind: Any = service_account.Credentials
    credentials = kind.from_service_account_file(google.key["service_account_file"])
    files = gcsfs.GCSFileSystem(
        project="gate", token=credentials, endpoint_url=google.gate.base, skip_instance_cache=True
    )
    for version in ("v2", "v4"):
        url = files.sign(f"{bucket}/fs/a.txt", version=version)
        assert url.startswith(google.gate.base)
        assert requests.get(url).content == b"by gcsfs"


def test_obstore_signs_for_google_s_own_host(google: Google, bucket: str) -> None:
    """Rust's object_store signs `host:storage.googleapis.com`, whatever it is pointed at: such a URL opens with that
    Host (behind a proxy that keeps it), and with no other: a signature is bound to its place by its host alone.
    """
    file = json.loads(Path(google.key["service_account_file"]).read_text())
    store = GCSStore(
        bucket, service_account_key=json.dumps(file | {"gcs_base_url": google.gate.base, "private_key_id": "1"})
    )
    theirs = {"Host": "storage.googleapis.com"}
    for name in ("a.txt", "folder/a b+c.txt", "grüße.txt"):
        put = obstore.sign(store, "PUT", name, SECONDS)
        assert put.startswith(f"{google.gate.base}/{bucket}/")
        assert requests.put(put, b"by obstore").status_code == 403
        assert requests.put(put, b"by obstore", headers=theirs).status_code == 200
        assert requests.get(obstore.sign(store, "GET", name, SECONDS), headers=theirs).content == b"by obstore"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_uses_the_urls(google: Google, bucket: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.bin", tmp_path / "out.bin"
    source.write_bytes(bytes(range(256)) * 10_000)
    put = google.url(bucket, "curl", method="PUT", version="v4")
    _curl("--upload-file", str(source), put)
    _curl("--output", str(target), "--range", "0-999999", google.url(bucket, "curl"))
    _curl("--output", str(target), "--continue-at", "-", google.url(bucket, "curl"))
    assert target.read_bytes() == source.read_bytes()
    start = google.url(bucket, "curl-session", method="RESUMABLE", version="v4")
    head = _curl("--request", "POST", "--header", "x-goog-resumable: start", "--data", "", "--include", start)
    location = next(line for line in head.splitlines() if line.lower().startswith("location: ")).split(" ", 1)[1]
    _curl("--upload-file", str(source), location)
    assert requests.get(google.url(bucket, "curl-session")).content == source.read_bytes()


def _curl(*args: str) -> str:
    # `--data` would send a content type that was not signed.
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--header", "Content-Type:", *args],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
