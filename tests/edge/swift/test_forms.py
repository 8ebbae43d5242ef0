"""A form's several files, however its bytes arrive: each once, whole, and nothing of them held for long."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.edge.form_parts import PARTS_MAX, Parts
from valetstore.edge.forms import is_form, is_swift_form
from valetstore.errors import Denied
from valetstore.inbound import Inbound

BOUNDARY = b"----WebKitFormBoundaryAbCd"
Read = tuple[list[tuple[str, str]], list[tuple[str, str | None, str | None, bytes]]]


def part(disposition: str, value: bytes, *headers: str) -> bytes:
    """One part, from its boundary to its last byte."""
    lines = [f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return b"--" + BOUNDARY + b"\r\n" + "\r\n".join(lines).encode() + value + b"\r\n"


def field(name: str, value: bytes = b"") -> bytes:
    return part(f'name="{name}"', value)


def file(name: str, data: bytes, *headers: str, field: str = "file") -> bytes:
    return part(f'name="{field}"; filename="{name}"', data, *headers)


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(data: bytes, cuts: list[int]) -> Read:
    """Fields and files of a form that arrives in these pieces; raises Denied."""
    parts, files = Parts(BOUNDARY, several=True), list[list[object]]()
    ends = [*sorted(set(cuts)), len(data)]
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    is_open = False
    for piece in pieces:
        parts.feed(piece)
        while True:
            if not is_open:
                said = parts.next_file()
                if said is None:
                    break
                files.append([said.name, said.content_type, said.content_encoding, b""])
                is_open = True
            files[-1][3] = bytes(files[-1][3]) + b"".join(parts.taken())  # type: ignore[call-overload]
            if not parts.past_file:
                break
            is_open = False
    parts.finish()
    return parts.fields, [tuple(one) for one in files]  # type: ignore[misc]


def read_or_code(data: bytes, cuts: list[int]) -> Read | str:
    """The same, or the code of the refusal."""
    try:
        return read(data, cuts)
    except Denied as denied:
        return denied.code


FORM = body(
    field("redirect", b"https://x/"),
    field("empty"),
    file("", b""),
    file("a.txt", b"one", "Content-Type: text/plain"),
    field("later", b"passed over"),
    file("b\xfc.gz", b"", "Content-Type: a/b", "Content-Encoding: gzip", field="other"),
    file("c", b"\r\n--" + BOUNDARY[:-1]),
    field("end"),
)
FILES = [
    ("a.txt", "text/plain", None, b"one"),
    ("bü.gz", "a/b", "gzip", b""),
    ("c", None, None, b"\r\n--" + BOUNDARY[:-1]),
]


def test_every_part_with_a_file_name_is_a_file() -> None:
    """Whatever its field is called; one without a name is a field that was left empty, as browsers send it."""
    fields = [("redirect", "https://x/"), ("empty", ""), ("file", "")]
    for cuts in ([], list(range(len(FORM)))):
        assert read(FORM, cuts) == (fields, FILES)


@given(st.lists(st.integers(0, len(FORM)), max_size=8))
def test_a_form_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    assert read(FORM, cuts)[1] == FILES


@given(
    st.binary(max_size=200) | st.just(FORM),
    st.integers(0, 400),
    st.binary(max_size=3),
    st.lists(st.integers(0, 300), max_size=5),
)
def test_any_bytes_are_one_form_or_one_refusal(data: bytes, at: int, more: bytes, cuts: list[int]) -> None:
    data = data[:at] + more + data[at + 1 :]
    cuts = [cut for cut in cuts if cut < len(data)]
    outcome = read_or_code(data, [])
    assert read_or_code(data, cuts) == outcome
    assert read_or_code(data, list(range(len(data)))) == outcome


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (body(field("a")), "parameter_invalid"),
        (body(file("", b"x")), "parameter_invalid"),
        (body(file("a", b"x"))[:-8], "body_incomplete"),
        (body(*[file("a", b"x")] * (PARTS_MAX + 1)), "request_malformed"),
        (body(file("a", b"x", "Content-Type: a", "Content-Type: b")), "request_malformed"),
        (body(b"--" + BOUNDARY + b"\r\nContent-Disposition: attachment; filename=x\r\n\r\nx\r\n"), "request_malformed"),
        (body(file("a", b"x"), b"--" + BOUNDARY + b"\r\n\r\nx\r\n"), "request_malformed"),
        (body(field("a", b"x" * 30_000), file("a", b"x")), "headers_too_large"),
        (
            body(b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="x"; filename="\xff"\r\n\r\nx\r\n'),
            "parameter_invalid",
        ),
    ],
)
def test_what_is_no_form_of_files_is_refused(data: bytes, code: str) -> None:
    assert read_or_code(data, []) == code
    assert read_or_code(data, list(range(len(data)))) == code


def feed_more(parts: Parts) -> None:
    """A hundred thousand bytes more."""
    for _ in range(100):
        parts.feed(b"x" * 1000)


def test_what_stands_between_files_is_bounded() -> None:
    """A field without end, an epilogue without end."""
    for beginning in (body(file("a", b"x")), body(file("a", b"x"))[: -len(BOUNDARY) - 6] + field("a")[:-2]):
        parts = Parts(BOUNDARY, several=True)
        parts.feed(beginning)
        with pytest.raises(Denied) as denied:
            feed_more(parts)
        assert denied.value.code == "headers_too_large"


def test_nothing_of_a_file_is_kept() -> None:
    """Sixty megabytes go through as they come."""
    parts, size = Parts(BOUNDARY, several=True), 0
    parts.feed(body(file("a", b"one")).partition(b"one")[0])
    assert parts.next_file() is not None
    tracemalloc.start()
    for _ in range(1000):
        parts.feed(b"\r\n--" * 16_384)
        size += sum(map(len, parts.taken()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 65_000_000
    assert peak < 2_000_000


KIND = (b"content-type", b"multipart/form-data; boundary=x")


@pytest.mark.parametrize(
    ("target", "method", "headers", "expected"),
    [
        (b"/v1/A/c", "POST", (KIND,), True),
        (b"/v1/A/c/", "POST", (KIND,), True),
        (b"/v1/A/c/pre/fix", "POST", (KIND,), True),
        (b"/v1/%41/%ff", "POST", (KIND,), True),
        (b"/v1/A/", "POST", (KIND,), False),
        (b"/v1//c", "POST", (KIND,), False),
        (b"/v2/A/c", "POST", (KIND,), False),
        (b"/%761/A/c", "POST", (KIND,), False),
        (b"/v1/A/c?temp_url_sig=x", "POST", (KIND,), False),
        (b"/v1/A/c?uploads", "POST", (KIND,), False),
        (b"/v1/A/c", "POST", (), False),
        (b"/v1/A/c", "PUT", (KIND,), False),
    ],
)
def test_only_a_multipart_post_to_a_container_is_a_form_of_swifts(
    target: bytes, method: str, headers: tuple[tuple[bytes, bytes], ...], expected: bool
) -> None:
    """What is signed in a query is something else."""
    inbound = Inbound(method, target, headers, now=0)
    assert is_swift_form(inbound) is expected
    assert is_form(inbound) is expected
