"""FormPost against the real gateway: browsers' uploads of one or several files."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.edge.swift.conftest import BOUNDARY, Accounts, File, encoded
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile


def kept(swift: Accounts, path: str) -> Answer:
    """An object, or 404."""
    return swift().ask("GET", path)


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("path", ["/forms", "/forms/", "/forms/in/", "/forms/be-"])
def test_several_files_become_objects_below_the_path(swift: Accounts, digest: str, path: str) -> None:
    """Named as the path and the file; typed as their parts say."""
    one, start = swift(), path + ("/" if path == "/forms" else "")
    files = [
        File(b"one", f"{digest}.txt"),
        File(b"", "é b.bin", None, "second"),
        File(b"three", "c.png", "image/png", "x"),
    ]
    answer = one.post(path, files, one.fields(path, digest=digest))
    assert (answer.status, answer.body) == (201, b"201 Created")
    assert answer.headers["content-type"].startswith("text/plain")
    for file in files:
        got = kept(swift, start + file.name)
        assert (got.status, got.body, got.headers["etag"]) == (
            200,
            file.data,
            f'"{hashlib.md5(file.data).hexdigest()}"',
        )
        assert got.headers["content-type"] == (file.content_type or "application/octet-stream")


def test_a_form_is_the_same_byte_by_byte(swift: Accounts, gate: Gate) -> None:
    """As a slow network brings it; in HTTP's chunks as well."""
    one = swift()
    body = encoded(one.fields("/bytes/"), [File(b"first", "1"), File(b"second", "2")], {"submit": "Upload"})
    head = (
        f"POST /v1/{one.name}/bytes/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    )
    with socket.create_connection(gate.address, timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
        for at in range(0, len(body), 3):
            piece = body[at : at + 3]
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 ")
    assert (kept(swift, "/bytes/1").body, kept(swift, "/bytes/2").body) == (b"first", b"second")


def test_large_files_go_through(swift: Accounts) -> None:
    one = swift()
    files = [File(os.urandom(1_500_000), f"large{n}") for n in range(3)]
    assert one.post("/large/", files, one.fields("/large/", size=1_500_000, count=3)).status == 201
    for file in files:
        assert kept(swift, f"/large/{file.name}").body == file.data


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_uploads_two_files(swift: Accounts, tmp_path: Path) -> None:
    """With Expect: 100-continue and its own boundary."""
    one, data = swift(), os.urandom(2_000_000)
    (tmp_path / "a.bin").write_bytes(data)
    (tmp_path / "b.txt").write_text("b")
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect: 100-continue"]
    for name, value in one.fields("/curl/", size=3_000_000).items():
        command += ["--form-string", f"{name}={value}"]
    command += ["-F", f"file1=@{tmp_path}/a.bin", "-F", f"file2=@{tmp_path}/b.txt"]
    done = subprocess.run(
        [*command, f"{swift.gate.base}/v1/{one.name}/curl/"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "201", done.stderr
    assert kept(swift, "/curl/a.bin").body == data
    assert kept(swift, "/curl/b.txt").headers["content-type"] == "text/plain"


def test_a_field_says_the_type_of_all_files(swift: Accounts) -> None:
    one = swift()
    fields = one.fields("/typed/") | {"Content-Type": "image/webp", "content-encoding": "gzip"}
    assert one.post("/typed/", [File(b"1", "1"), File(b"2", "2")], fields).status == 201
    for name in ("1", "2"):
        got = kept(swift, f"/typed/{name}")
        assert (got.headers["content-type"], got.headers["content-encoding"]) == ("image/webp", "gzip")


def test_digests_in_the_forms_head_are_not_of_its_files(swift: Accounts) -> None:
    assert swift().post("/head/", [File(b"x")], Content_MD5="AAAAAAAAAAAAAAAAAAAAAA==").status == 201


# --- where it leads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://example.com/done", "http://example.com/done?a=1"])
def test_a_browser_is_sent_on(swift: Accounts, url: str) -> None:
    one = swift()
    answer = one.post("/led/", [File(b"x")], one.fields("/led/", redirect=url))
    assert answer.status == 303
    location = answer.headers["location"]
    assert location.startswith(url)
    assert parse_qs(urlsplit(location).query, keep_blank_values=True)["status"] == ["201"]
    assert parse_qs(urlsplit(location).query, keep_blank_values=True)["message"] == [""]
    assert b"Click to continue..." in answer.body


def test_a_browser_is_sent_on_with_what_went_wrong(swift: Accounts, gate: Gate) -> None:
    """Once the form is proven; the audit hears of it as of any refusal."""
    one, url = swift(), "https://example.com/done"
    answer = one.post("/led/", [File(b"x" * 6)], one.fields("/led/", size=5, redirect=url))
    assert (answer.status, answer.code) == (303, "too_large")
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (query["status"], query["message"]) == (["400"], ["max_file_size exceeded"])
    told = [line for line in gate.audit() if line["object"] == f"/v1/{one.name}/led/" and line["event"] == "transfer"]
    assert told[-1]["code"] == "too_large"


def test_an_unproven_form_leads_nowhere(swift: Accounts) -> None:
    """Else the gateway would be anyone's way to any page."""
    one = swift()
    fields = one.fields("/led/") | {"redirect": "https://evil.example/"}
    answer = one.post("/led/", [File(b"x")], fields)
    assert (answer.status, answer.body, "location" in answer.headers) == (401, b"FormPost: Invalid Signature", False)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "/here", "https://", "ftp://x/", "https://a\\@b/"])
def test_a_form_that_leads_where_no_browser_may_go_is_refused_before_anything_is_kept(
    swift: Accounts, url: str
) -> None:
    one = swift()
    answer = one.post("/led/", [File(b"x", "nowhere")], one.fields("/led/", redirect=url))
    assert (answer.status, answer.body) == (400, b"FormPost: redirect is not an http or https URL")
    assert kept(swift, "/led/nowhere").status == 404


# --- refusals ----------------------------------------------------------------------------------------------------


def test_a_form_that_is_over_or_not_signed_is_unauthorized(swift: Accounts) -> None:
    one = swift()
    cases = [
        (one.fields("/no/", seconds=-5), b"FormPost: Form Expired", "key_expired"),
        (one.fields("/other/"), b"FormPost: Invalid Signature", "signature_mismatch"),
        (one.fields("/no/") | {"signature": "x"}, b"FormPost: Invalid Signature", "key_malformed"),
        ({}, b"FormPost: Invalid Signature", "key_malformed"),
    ]
    for fields, said, code in cases:
        answer = one.post("/no/", [File(b"x", "no")], fields)
        assert (answer.status, answer.body, answer.code) == (401, said, code)
        assert answer.headers["www-authenticate"] == f'Swift realm="{one.name}"'
    assert kept(swift, "/no/no").status == 404


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"max_file_size": "big"}, 400, b"FormPost: max_file_size not an integer"),
        ({"max_file_count": "many"}, 400, b"FormPost: max_file_count not an integer"),
        ({"expires": "late"}, 400, b"FormPost: expires not an integer"),
        ({"x_delete_at": "1"}, 501, b"FormPost: x_delete_at is not served here"),
        ({"x_delete_after": "1"}, 501, b"FormPost: x_delete_after is not served here"),
    ],
)
def test_a_form_that_cannot_be_read_says_why(
    swift: Accounts, changed: dict[str, str], status: int, said: bytes
) -> None:
    one = swift()
    answer = one.post("/no/", [File(b"x")], one.fields("/no/") | changed)
    assert (answer.status, answer.body) == (status, said)
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_form_has_files_and_not_too_many(swift: Accounts) -> None:
    """Those that came before the one too many are objects, as in Swift."""
    one = swift()
    none = one.post("/few/", [])
    assert (none.status, none.body) == (400, b"400 Bad Request\r\nFormPost: No Files To Process")
    empty = one.post("/few/", [File(b"", "")])
    assert (empty.status, empty.body) == (400, b"400 Bad Request\r\nFormPost: No Files To Process")
    files = [File(b"1", "1"), File(b"2", "2"), File(b"3", "3")]
    answer = one.post("/few/", files, one.fields("/few/", count=2))
    assert (answer.status, answer.body) == (400, b"400 Bad Request\r\nFormPost: Max File Count Exceeded")
    assert [kept(swift, f"/few/{n}").status for n in (1, 2, 3)] == [200, 200, 404]


@pytest.mark.parametrize(("sizes", "status"), [((5, 5), 201), ((6,), 400), ((5, 6), 400), ((0, 0), 201)])
def test_each_file_has_the_size_that_is_allowed(swift: Accounts, sizes: tuple[int, ...], status: int) -> None:
    """Each by itself, not all together."""
    one, place = swift(), f"/sized/{'-'.join(map(str, sizes))}/"
    files = [File(b"x" * size, str(n)) for n, size in enumerate(sizes)]
    answer = one.post(place, files, one.fields(place, size=5))
    assert answer.status == status
    if status == 400:
        assert answer.body == b"FormPost: max_file_size exceeded"
    assert [kept(swift, place + file.name).status for file in files] == [200 if len(f.data) < 6 else 404 for f in files]


@pytest.mark.parametrize("name", ["../x", "..", ".", "a/../b", "a/./b", "a\0b", "x" * 1025])
def test_a_file_name_that_no_object_can_have_is_refused(swift: Accounts, name: str) -> None:
    """Whatever the client calls its file, it stays in the container, below the path."""
    one = swift()
    answer = one.post("/names/in/", [File(b"x", name)])
    assert (answer.status, answer.code) == (412, "object_key_invalid")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b/c.txt", "/names/in/a/b/c.txt"),
        ("/lead", "/names/in//lead"),
        ("a%2Fb", "/names/in/a%2Fb"),
        ("C:\\docs\\d.txt", "/names/in/d.txt"),
        ("ü+&.txt", "/names/in/ü+&.txt"),
        ("..hidden", "/names/in/..hidden"),
    ],
)
def test_any_other_file_name_is_taken_as_it_is(swift: Accounts, name: str, path: str) -> None:
    assert swift().post("/names/in/", [File(name.encode(), name)]).status == 201
    assert kept(swift, path).body == name.encode()


def test_a_file_name_that_is_no_text_is_refused(swift: Accounts, gate: Gate) -> None:
    one = swift()
    body = encoded(one.fields("/names/"), [File(b"x", "NAME")]).replace(b"NAME", b"a\xffb")
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = gate.ask("POST", f"/v1/{one.name}/names/", body, kind)
    assert (answer.status, answer.code) == (400, "parameter_invalid")


def test_a_path_cannot_be_left_by_the_beginning_that_was_signed(swift: Accounts) -> None:
    """A beginning `a/.` and a file `./b` would be `a/../b`."""
    answer = swift().post("/names/a/.", [File(b"x", "./b")])
    assert (answer.status, answer.code) == (412, "object_key_invalid")


def test_a_form_that_is_cut_short_leaves_what_was_whole(swift: Accounts, gate: Gate) -> None:
    """And says that it was."""
    one = swift()
    body = encoded(one.fields("/cut/"), [File(b"first", "1"), File(b"second", "2")])
    body = body[: body.index(b"second") + 3]
    head = (
        f"POST /v1/{one.name}/cut/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    answer = gate.raw(head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"X-Valet-Error: body_incomplete" in answer
    assert (kept(swift, "/cut/1").status, kept(swift, "/cut/2").status) == (200, 404)


# --- what the profile says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "file", "status", "code"),
    [
        (Profile(types=("image/*",)), File(b"x", "t1", "text/html"), 415, "type_not_allowed"),
        (Profile(types=("image/*",)), File(b"x", "t2", None), 415, "type_not_allowed"),
        (Profile(length_bytes_max=3), File(b"1234", "t3"), 413, "too_large"),
        (Profile(length_bytes_min=3), File(b"12", "t4"), 422, "too_small"),
        (Profile(prefixes=("/profiled/in/",)), File(b"x", "t5"), 401, "path_not_allowed"),
        (Profile(networks=("192.0.2.0/24",)), File(b"x", "t6"), 401, "source_not_allowed"),
        (Profile(https=True), File(b"x", "t7"), 401, "https_required"),
        (Profile(ttl_seconds_max=10), File(b"x", "t8"), 401, "ttl_too_long"),
        (Profile(operations=("read",)), File(b"x", "t9"), 401, "operation_not_allowed"),
    ],
)
def test_a_profiles_terms_hold_for_each_file(
    swift: Accounts, profile: Profile, file: File, status: int, code: str
) -> None:
    answer = swift(profile).post("/profiled/", [file])
    assert (answer.status, answer.code) == (status, code)
    assert kept(swift, f"/profiled/{file.name}").status == 404


def test_a_second_file_is_held_to_the_same_terms_as_the_first(swift: Accounts) -> None:
    one = swift(Profile(types=("image/*",), prefixes=("/second/in/",), length_bytes_max=3))
    good = File(b"x", "in/good", "image/png")
    for bad, code in (
        (File(b"x", "in/bad", "text/html"), "type_not_allowed"),
        (File(b"x", "bad", "image/png"), "path_not_allowed"),
        (File(b"1234", "in/bad", "image/png"), "too_large"),
    ):
        assert one.post("/second/", [good, bad]).code == code
        assert kept(swift, f"/second/{bad.name}").status == 404
    assert kept(swift, "/second/in/good").status == 200


def test_create_only_holds_for_each_file(swift: Accounts) -> None:
    one = swift(Profile(create_only=True))
    assert one.post("/created/", [File(b"first", "a")]).status == 201
    answer = one.post("/created/", [File(b"b", "b"), File(b"second", "a")])
    assert (answer.status, answer.code) == (412, "exists")
    assert (kept(swift, "/created/a").body, kept(swift, "/created/b").body) == (b"first", b"b")
    assert one.post("/created/", [File(b"b", "b")], If_None_Match="*").status == 412


def test_a_form_is_one_use_however_many_files_it_has(swift: Accounts) -> None:
    one = swift(Profile(single_use=("write",)))
    fields, files = one.fields("/once/"), [File(b"1", "1"), File(b"2", "2")]
    assert one.post("/once/", files, fields).status == 201
    again = one.post("/once/", [File(b"3", "3")], fields)
    assert (again.status, again.code, again.body) == (401, "key_used", b"FormPost: Unauthorized")
    assert [kept(swift, f"/once/{n}").status for n in (1, 2, 3)] == [200, 200, 404]


def test_a_first_file_that_fails_gives_the_use_back(swift: Accounts) -> None:
    one = swift(Profile(single_use=("write",)))
    fields = one.fields("/back/", size=3)
    assert one.post("/back/", [File(b"1234", "1")], fields).code == "too_large"
    assert one.post("/back/", [File(b"x", "..")], fields).code == "object_key_invalid"
    assert one.post("/back/", [], fields).status == 400
    assert one.post("/back/", [File(b"123", "1")], fields).status == 201


def test_a_later_file_that_fails_does_not(swift: Accounts) -> None:
    """Something was published by the key: it was used."""
    one = swift(Profile(single_use=("write",)))
    fields = one.fields("/spent/", size=3)
    assert one.post("/spent/", [File(b"1", "1"), File(b"1234", "2")], fields).code == "too_large"
    assert one.post("/spent/", [File(b"2", "2")], fields).code == "key_used"
    assert kept(swift, "/spent/1").status == 200


def test_a_single_use_form_is_used_once_of_many_at_once(swift: Accounts) -> None:
    one = swift(Profile(single_use=("write",)))
    fields, statuses = one.fields("/race/"), list[int]()

    def post(number: int) -> None:
        statuses.append(one.post("/race/", [File(b"x", f"{number}-a"), File(b"x", f"{number}-b")], fields).status)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [401] * 5
    found = [kept(swift, f"/race/{number}-{part}").status for number in range(6) for part in "ab"]
    assert found.count(200) == 2


def test_what_is_revoked_between_two_files_ends_the_form(swift: Accounts, gate: Gate) -> None:
    """The first has its name, the second never gets one."""
    one = swift(Profile())
    body = encoded(one.fields("/between/"), [File(b"first", "1"), File(b"second", "2")])
    half = body.index(b"second")
    head = (
        f"POST /v1/{one.name}/between/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    with contextlib.closing(socket.create_connection(gate.address, timeout=10)) as sock:
        sock.sendall(head.encode() + body[:half])
        for _ in range(100):
            if kept(swift, "/between/1").status == 200:
                break
        gate.cli("revoke", "--signing-key", one.signing_key)
        sock.sendall(body[half:])
        assert b"X-Valet-Error: key_revoked" in sock.recv(4000)
    assert (kept(swift, "/between/1").status, kept(swift, "/between/2").status) == (200, 404)


def test_a_form_beside_a_key_is_two_keys(swift: Accounts) -> None:
    one = swift()
    assert one.post("/two/", [File(b"x")], Authorization="Bearer x").code == "key_ambiguous"
    url = one.url("POST", "/two/x")
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = swift.gate.ask("POST", url, encoded(one.fields("/two/"), [File(b"x")]), kind)
    assert (answer.status, answer.code) == (501, "not_implemented")


def test_the_path_is_signed_decoded(swift: Accounts, gate: Gate) -> None:
    one, path = swift(), "/decoded/grüße & more/"
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    body = encoded(one.fields(path), [File(b"x", "1")])
    assert gate.ask("POST", quote(f"/v1/{one.name}{path}"), body, kind).status == 201
    assert kept(swift, path + "1").body == b"x"
