"""multipart/form-data as it arrives: the same form however its bytes are cut, and bounds on all but the file."""

import asyncio
import socket
import tracemalloc
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gate import Gate
from valetstore.edge.form_parts import FIELD_BYTES_MAX, PARTS_MAX, Parts
from valetstore.edge.forms import is_form, open_form
from valetstore.errors import Denied
from valetstore.inbound import Inbound

BOUNDARY: Final = b"----WebKitFormBoundaryAbCd"


def part(name: str, value: bytes, more: str = "") -> bytes:
    """One part, from its boundary to its last byte."""
    head = f'\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
    return b"--" + BOUNDARY + head + value + b"\r\n"


def body(*parts: bytes, end: bytes = b"--" + BOUNDARY + b"--\r\n") -> bytes:
    """A whole form."""
    return b"".join(parts) + end


def file(data: bytes, filename: str = "a.png") -> bytes:
    """The file's part."""
    return part("file", data, f'; filename="{filename}"\r\nContent-Type: image/png')


Read = tuple[list[tuple[str, str]], bytes]


def read(data: bytes, cuts: list[int] | None = None) -> Read:
    """Fields and file of a form that arrives in these pieces; raises Denied."""
    parts, taken = Parts(BOUNDARY), []
    ends = [*sorted(set(cuts or [])), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        parts.feed(data[start:end])
        taken += parts.taken()
    parts.finish()
    return parts.fields, b"".join(taken)


def read_or_code(data: bytes, cuts: list[int] | None = None) -> Read | str:
    """The same, or the code of the refusal."""
    try:
        return read(data, cuts)
    except Denied as denied:
        return denied.code


def refusal(data: bytes) -> tuple[str, str]:
    """Our code and S3's, the same however it is cut."""
    with pytest.raises(Denied) as denied:
        read(data)
    assert read_or_code(data, list(range(len(data)))) == denied.value.code
    return denied.value.code, denied.value.said.code if denied.value.said else ""


def refusal_of_more(beginning: bytes, more: bytes) -> str:
    """The code of the refusal of a hundred times more of the same."""
    parts = Parts(BOUNDARY)
    parts.feed(beginning)
    for _ in range(100):
        try:
            parts.feed(more)
        except Denied as denied:
            return denied.code
    return ""


def test_fields_come_before_the_file_and_what_follows_is_passed_over() -> None:
    """Names in lower case, values as they are, the file's name last."""
    form = body(
        part("Key", b"u/${filename}"), part("x-Empty", b""), file(b"bytes"), part("key", b"evil"), part("z", b"")
    )
    fields = [("key", "u/${filename}"), ("x-empty", ""), ("file", "a.png")]
    assert read(form) == (fields, b"bytes")
    assert read(form, list(range(len(form)))) == (fields, b"bytes")


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('form-data; name="file"; filename="C:\\x\\y.png"', "y.png"),
        ("form-data; name=file; filename=plain.txt", "plain.txt"),
        ('form-data; name="file"', ""),
        ('form-data; filename="a;b.png"; name="file"', "a;b.png"),
        ('FORM-DATA; name="file"; filename="ü.png"', "ü.png"),
        ('form-data; name="FILE"; filename="../x"', "../x"),
    ],
)
def test_a_file_is_named_as_browsers_and_curl_name_it(disposition: str, filename: str) -> None:
    """What is made of the name is another's business."""
    head = f"--{BOUNDARY.decode()}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    assert read(body(head + b"data\r\n")) == ([("file", filename)], b"data")


@given(
    st.lists(
        st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", BOUNDARY, b"\r\n--" + BOUNDARY[:-1], b"a", b"\x00\xff"]),
        max_size=12,
    ).map(b"".join),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_a_file_that_looks_like_a_boundary_is_a_file(data: bytes, cuts: list[int]) -> None:
    """Any pieces of one, wherever the network cuts."""
    if b"\r\n--" + BOUNDARY in b"\r\n" + data:
        data = data.replace(BOUNDARY, b"almost")
    form = body(part("key", b"k"), file(data))
    wanted = ([("key", "k"), ("file", "a.png")], data)
    assert read(form, [cut for cut in cuts if cut < len(form)]) == wanted
    assert read(form, list(range(len(form)))) == wanted


@given(st.binary(max_size=300) | st.builds(lambda b: body(part("key", b), file(b)), st.binary(max_size=60)), st.data())
def test_any_bytes_are_one_form_or_one_refusal_however_they_are_cut(data: bytes, drawn: st.DataObject) -> None:
    """Whole, byte by byte, at random: the same fields and bytes, or the same code."""
    if drawn.draw(st.booleans()) and data:
        at = drawn.draw(st.integers(0, len(data) - 1))
        data = data[:at] + drawn.draw(st.binary(max_size=3)) + data[at + drawn.draw(st.integers(0, 3)) :]
    cuts = drawn.draw(st.lists(st.integers(0, max(len(data) - 1, 0)), max_size=6))
    outcome = read_or_code(data)
    assert read_or_code(data, cuts) == outcome
    assert read_or_code(data, list(range(len(data)))) == outcome


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_form_that_is_cut_short_is_no_upload(cut: int) -> None:
    """Its closing boundary is missing, or a part of it."""
    form = body(part("key", b"k"), file(b"data")).removesuffix(b"\r\n")
    assert refusal(form[:-cut])[0] == "body_incomplete"
    assert (
        refusal(body(part("key", b"k"), file(b"d"), part("x", b"")).removesuffix(b"\r\n")[:-cut])[0]
        == "body_incomplete"
    )


def test_lines_before_the_first_boundary_may_be_empty_and_nothing_else() -> None:
    """Some senders begin with a line's end."""
    form = body(part("key", b"k"), file(b"data"))
    assert read(b"\r\n" + form) == read(form)
    assert refusal(b"preamble\r\n" + form)[0] == "request_malformed"
    assert refusal(b"\r\nx" + form)[0] == "request_malformed"


def test_a_form_has_a_file() -> None:
    """One."""
    assert refusal(body(part("key", b"k"))) == ("parameter_invalid", "InvalidArgument")
    assert refusal(b"--" + BOUNDARY + b"--\r\n") == ("parameter_invalid", "InvalidArgument")


@pytest.mark.parametrize(
    "data",
    [
        b"key=k&file=data",
        b"--another\r\n\r\n",
        b"--" + BOUNDARY + b"\r\n\r\nno disposition\r\n",
        b"--" + BOUNDARY + b"\r\nContent-Disposition: attachment; name=key\r\n\r\nk\r\n",
        b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data\r\n\r\nk\r\n",
        b"--"
        + BOUNDARY
        + b"\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n\r\n",
        b"--" + BOUNDARY + b"\r\nno colon\r\n\r\nk\r\n",
    ],
)
def test_what_is_no_form_is_refused(data: bytes) -> None:
    """400, in S3's words."""
    assert refusal(body(data)) == ("request_malformed", "MalformedPOSTRequest")


def test_fields_are_text() -> None:
    """UTF-8, strictly: two readings of a name or a value would be two policies."""
    assert refusal(body(part("key", b"\xff"), file(b""))) == ("parameter_invalid", "InvalidArgument")
    raw = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n'
    assert refusal(body(raw, file(b""))) == ("parameter_invalid", "InvalidArgument")


@pytest.mark.parametrize(
    "data",
    [
        body(part("key", b"k" * (FIELD_BYTES_MAX + 1)), file(b"")),
        body(*[part("a" * 900, b"b" * 200)] * 20, file(b"")),
        b"--" + BOUNDARY + b"\r\nX: " + b"x" * 3 * FIELD_BYTES_MAX,
        b"".join(b"--" + BOUNDARY + b"\r\n" + b"X: %d\r\n" % n * 3000 for n in range(5)),
        body(part("key", b"k"), b"--" + BOUNDARY + b"\r\n" + b"A: b\r\n" * 9000),
    ],
)
def test_all_before_the_file_is_twenty_kilobytes(data: bytes) -> None:
    """Of names, values and part headers; the library may find a header too long before."""
    code, said = refusal(data)
    assert (code, said) in [
        ("headers_too_large", "MaxPostPreDataLengthExceeded"),
        ("request_malformed", "MalformedPOSTRequest"),
    ]


def test_a_field_of_twenty_kilobytes_fits_where_a_file_is_large() -> None:
    """The bound is on fields, whatever one read brings of the file."""
    form = body(part("key", b"k" * (FIELD_BYTES_MAX - 200)), file(b"x" * 300_000))
    assert len(read(form)[1]) == 300_000
    assert len(read(form, [100_000])[1]) == 300_000


def test_a_form_has_a_hundred_parts() -> None:
    """The file is one, and what follows counts as well."""
    fields = [part(f"x-ignore-{n}", b"") for n in range(PARTS_MAX)]
    assert read(body(*fields[:-1], file(b"data")))[1] == b"data"
    assert refusal(body(*fields, file(b"data")))[0] == "request_malformed"
    assert refusal(body(file(b"data"), *fields))[0] == "request_malformed"


def test_what_follows_the_file_is_bounded() -> None:
    """Parts without end, an epilogue without end."""
    assert refusal_of_more(body(file(b"data")), b"x" * 1000) == "headers_too_large"


def test_what_precedes_the_first_boundary_is_bounded() -> None:
    """A preamble, padding behind a boundary."""
    for beginning in (b"\r\n", b"--" + BOUNDARY):
        assert refusal_of_more(beginning, b" " * 1000) in ("headers_too_large", "request_malformed")


def test_nothing_of_the_file_is_kept() -> None:
    """Sixty megabytes go through as they come."""
    parts = Parts(BOUNDARY)
    parts.feed(part("key", b"k") + file(b"").removesuffix(b"\r\n"))
    piece, size = b"\r\n--" * 16_384, 0
    tracemalloc.start()
    for _ in range(1000):
        parts.feed(piece)
        size += sum(map(len, parts.taken()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size >= 1000 * len(piece) - 100
    assert peak < 2_000_000


@pytest.mark.parametrize("boundary", [b"", b"x" * 71])
def test_a_form_has_a_boundary(boundary: bytes) -> None:
    """That is not endless."""
    with pytest.raises(Denied) as denied:
        Parts(boundary)
    assert denied.value.code == "request_malformed"


FORM = b"multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("method", "target", "headers", "expected"),
    [
        ("POST", b"/b", {b"content-type": FORM}, True),
        ("POST", b"/b/", {b"content-type": b"Multipart/Form-Data;boundary=x"}, True),
        ("POST", b"/", {b"content-type": FORM}, True),
        ("POST", b"/b", {}, True),
        ("POST", b"/b?valet=x", {}, False),
        ("POST", b"/b", {b"authorization": b"Bearer x"}, False),
        ("POST", b"/b?delete", {b"content-type": FORM}, False),
        ("POST", b"/b?%64elete", {b"content-type": FORM}, False),
        ("POST", b"/b/k", {b"content-type": FORM}, False),
        ("POST", b"/b/k?uploads", {}, False),
        ("POST", b"/_valet/release", {b"content-type": FORM}, False),
        ("POST", b"/_valet", {b"content-type": FORM}, False),
        ("PUT", b"/b", {b"content-type": FORM}, False),
        ("POST", b"/%ff?%", {b"content-type": FORM}, True),
    ],
)
def test_only_a_post_to_a_bucket_is_a_form(
    method: str, target: bytes, headers: dict[bytes, bytes], expected: bool
) -> None:
    """Never one of the gateway's own paths; a path that cannot be read does not stop the answer."""
    assert is_form(Inbound(method, target, tuple(headers.items()), now=0)) is expected


# --- over the network ---------------------------------------------------------------------------------------------


def head(length: int | None, *more: str, kind: str = f"multipart/form-data; boundary={BOUNDARY.decode()}") -> bytes:
    """A POST's head."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /photos HTTP/1.1", "Host: x", f"Content-Type: {kind}", framing, *more, "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def status_and_code(answer: bytes) -> tuple[int, str]:
    """Of a raw answer."""
    first, _, rest = answer.partition(b"\r\n")
    code = rest.partition(b"X-Valet-Error: ")[2].partition(b"\r\n")[0]
    return int(first.split()[1]), code.decode()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (head(0, kind="text/plain"), 412, "precondition_failed"),
        (head(0, kind="multipart/form-data"), 400, "request_malformed"),
        (head(0), 400, "body_incomplete"),
        (head(20_000_000) + part("key", b"k" * 30_000), 400, "headers_too_large"),
        (head(20_000_000) + b"".join(part(f"a{n}", b"") for n in range(101)), 400, "request_malformed"),
        (head(len(body(part("key", b"k")))) + body(part("key", b"k")), 400, "parameter_invalid"),
        (head(len(body(part("key", b"k"), file(b"x")))) + body(part("key", b"k"), file(b"x")), 403, "key_missing"),
        (head(10, "Expect: 200-please"), 400, "parameter_invalid"),
    ],
)
def test_a_form_that_opens_nothing_is_refused_at_once(gate: Gate, sent: bytes, status: int, code: str) -> None:
    """As S3 refuses it, before the body is there."""
    answer = gate.raw(sent)
    assert status_and_code(answer) == (status, code)
    assert b"<Error><Code>" in answer


def test_a_client_that_waits_is_asked_for_the_form(gate: Gate) -> None:
    """The fields are in the body, so there is nothing to judge before."""
    form = body(part("key", b"k"), file(b"x"))
    with socket.create_connection(gate.address, timeout=5) as sock:
        sock.sendall(head(len(form), "Expect: 100-continue"))
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(form)
        assert status_and_code(sock.recv(65536)) == (403, "key_missing")


def test_a_client_that_stalls_between_the_fields_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields have a time of their own: nothing is judged before they are there."""
    monkeypatch.setattr("valetstore.edge.forms.FIELD_SECONDS_MAX", 0.05)

    async def stall() -> bytes:
        await asyncio.sleep(60)
        return b""

    exchange: Any = SimpleNamespace(body=SimpleNamespace(readany=stall), message=SimpleNamespace(version=(1, 1)))
    inbound = Inbound("POST", b"/photos", ((b"content-type", FORM),), now=0)
    with pytest.raises(Denied) as denied:
        asyncio.run(open_form(exchange, inbound))
    assert denied.value.code == "request_timeout"


def test_the_gateways_own_posts_are_not_forms(gate: Gate) -> None:
    """They take JSON, and say so."""
    kind = {"Content-Type": FORM.decode()}
    assert gate.ask("POST", "/_valet/release", b"--x--", kind).code == "parameter_invalid"
    assert gate.ask("POST", "/_valet/revocations", b"--x--", kind).code == "key_missing"
