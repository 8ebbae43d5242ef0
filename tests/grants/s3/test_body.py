"""aws-chunked: AWS's own examples, every fault, and any cuts of the bytes."""

import hashlib
import hmac
import time
from collections.abc import Iterable, Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valetstore.errors import Denied
from valetstore.grants import sigv4
from valetstore.grants.s3.body import CHUNK_BYTES_MIN, LINE_BYTES_MAX, REST_BYTES_MAX, Chunks, Framing, Streaming
from valetstore.grants.sigv4 import AWS

UNSIGNED = Framing(is_signed=False, has_trailers=True)
SIGNED = Framing(is_signed=True, has_trailers=False)
BOTH = Framing(is_signed=True, has_trailers=True)
EVERY = pytest.mark.parametrize("framing", [UNSIGNED, SIGNED, BOTH], ids=["unsigned", "signed", "trailers"])

# The examples of the API reference, with its example credentials and date.
EXAMPLE_SECRET = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
STAMP = "20130524T000000Z"
SCOPE = "20130524/us-east-1/s3/aws4_request"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SEED_OF_TRAILERS = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
EXAMPLE = (
    b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
    b"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
    b"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n",
)
EXAMPLE_OF_TRAILERS = (
    b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n",
    b"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n",
    b"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n",
)
TRAILERS = (
    b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
)


@cache
def streaming(seed: str = SEED) -> Streaming:
    """What signs the chunks of the examples."""
    return Streaming(sigv4.signing_key(AWS, EXAMPLE_SECRET, STAMP[:8], "us-east-1"), STAMP, SCOPE, seed, "AKID")


def chunks(framing: Framing, length: int, announced: Iterable[str] = (), seed: str = SEED) -> Chunks:
    """A reader that expects so many decoded bytes and these trailers."""
    return Chunks(framing, streaming(seed), length, frozenset(announced))


def framed(framing: Framing, parts: Sequence[bytes], trailers: dict[str, str], seed: str = SEED) -> bytes:
    """A body as another program would frame it: each part a chunk."""
    wire, before = b"", seed
    for part in (*parts, b""):
        line = b"%x" % len(part)
        if framing.is_signed:
            before = _sign("PAYLOAD", before, f"{hashlib.sha256().hexdigest()}\n{hashlib.sha256(part).hexdigest()}")
            line += b";chunk-signature=" + before.encode()
        wire += line + b"\r\n" + (part + b"\r\n" if part else b"")
    wire += "".join(f"{name}:{value}\r\n" for name, value in trailers.items()).encode()
    if framing == BOTH:
        text = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        signature = _sign("TRAILER", before, hashlib.sha256(text.encode()).hexdigest())
        wire += f"x-amz-trailer-signature:{signature}\r\n".encode()
    return wire + b"\r\n"


def _sign(kind: str, before: str, last: str) -> str:
    text = f"AWS4-HMAC-SHA256-{kind}\n{STAMP}\n{SCOPE}\n{before}\n{last}"
    return hmac.new(streaming().key, text.encode(), "sha256").hexdigest()


def read(reader: Chunks, wire: bytes, cuts: Iterable[int] = ()) -> tuple[bytes, dict[str, str]]:
    """What a reader decodes of bytes that arrive in these cuts, and the trailers."""
    data, start = b"", 0
    for end in (*sorted(cuts), len(wire)):
        data += b"".join(reader.feed(wire[start:end]))
        start = max(start, end)
    return data, dict(reader.finish())


def refused(reader: Chunks, wire: bytes, cuts: Iterable[int] = ()) -> Denied:
    """What is said of bytes that are refused."""
    with pytest.raises(Denied) as caught:
        read(reader, wire, cuts)
    return caught.value


def said(denied: Denied) -> str:
    """S3's code."""
    assert denied.said is not None
    return denied.said.code


# AWS's examples


def test_the_example_of_signed_chunks_is_read() -> None:
    wire = EXAMPLE[0] + b"a" * 65536 + b"\r\n" + EXAMPLE[1] + b"a" * 1024 + b"\r\n" + EXAMPLE[2] + b"\r\n"
    assert len(wire) == 66824  # as the documentation says
    assert read(chunks(SIGNED, 66560), wire) == (b"a" * 66560, {})


def test_the_example_of_signed_trailers_is_read() -> None:
    head = EXAMPLE_OF_TRAILERS[0] + b"a" * 65536 + b"\r\n" + EXAMPLE_OF_TRAILERS[1] + b"a" * 1024 + b"\r\n"
    wire = head + EXAMPLE_OF_TRAILERS[2] + TRAILERS + b"\r\n"
    reader = chunks(BOTH, 66560, {"x-amz-checksum-crc32c"}, SEED_OF_TRAILERS)
    assert read(reader, wire) == (b"a" * 66560, {"x-amz-checksum-crc32c": "sOO8/Q=="})


def test_what_boto3_sends_over_https_is_read() -> None:
    wire = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    reader = chunks(UNSIGNED, 5, {"x-amz-checksum-crc32"})
    assert read(reader, wire) == (b"hello", {"x-amz-checksum-crc32": "NhCmhg=="})


def test_trailers_as_minio_go_writes_them_are_read() -> None:
    """It ends each with the line feed that is signed, and then the block."""
    wire = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n\r\n"
    assert read(chunks(UNSIGNED, 5, {"x-amz-checksum-crc32"}), wire)[1] == {"x-amz-checksum-crc32": "NhCmhg=="}


# Any cuts

# As sizes and beginnings: so many bytes at random would be dear to make, and any byte is like another here.
PARTS = st.lists(st.tuples(st.binary(max_size=9), st.integers(CHUNK_BYTES_MIN, CHUNK_BYTES_MIN + 9)), max_size=2)
TRAILER = {"x-amz-checksum-crc32": "NhCmhg=="}


@EVERY
@settings(deadline=None, max_examples=40)
@given(parts=PARTS, last=st.binary(max_size=40), data=st.data())
def test_any_cuts_of_the_bytes_are_read_alike(
    framing: Framing, parts: list[tuple[bytes, int]], last: bytes, data: st.DataObject
) -> None:
    wanted = [*(beginning.ljust(size, b"\r") for beginning, size in parts), last]
    trailers = TRAILER if framing.has_trailers else {}
    whole = b"".join(wanted)
    wire = framed(framing, wanted if last else wanted[:-1], trailers)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=20))
    assert read(chunks(framing, len(whole), trailers), wire, cuts) == (whole, trailers)


@EVERY
def test_bytes_may_come_one_by_one(framing: Framing) -> None:
    trailers = TRAILER if framing.has_trailers else {}
    wire = framed(framing, [b"a" * CHUNK_BYTES_MIN, b"b" * 10], trailers)
    reader = chunks(framing, CHUNK_BYTES_MIN + 10, trailers)
    assert read(reader, wire, range(len(wire))) == (b"a" * CHUNK_BYTES_MIN + b"b" * 10, trailers)


@EVERY
def test_no_bytes_are_a_body(framing: Framing) -> None:
    trailers = TRAILER if framing.has_trailers else {}
    assert read(chunks(framing, 0, trailers), framed(framing, [], trailers)) == (b"", trailers)


@EVERY
@settings(deadline=None, max_examples=60)
@given(end=st.integers(0, 10_000), cut=st.integers(0, 10_000))
def test_a_body_that_ends_early_is_refused(framing: Framing, end: int, cut: int) -> None:
    trailers = TRAILER if framing.has_trailers else {}
    wire = framed(framing, [b"a" * CHUNK_BYTES_MIN, b"b"], trailers)
    end = end % (len(wire) - 2)  # all but the empty line at the end, which nobody misses
    denied = refused(chunks(framing, CHUNK_BYTES_MIN + 1, trailers), wire[:end], [cut % (end + 1)])
    assert (denied.code, said(denied)) == ("body_incomplete", "IncompleteBody")


@EVERY
def test_the_empty_line_at_the_end_is_not_missed(framing: Framing) -> None:
    """S3 takes a body without it."""
    trailers = TRAILER if framing.has_trailers else {}
    wire = framed(framing, [b"hello"], trailers)[:-2]
    assert read(chunks(framing, 5, trailers), wire) == (b"hello", trailers)


MORE = [b"x", b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n", b"x" * 1000, b"x" * 2000]


@EVERY
@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("at_once", [True, False])
def test_bytes_after_the_end_are_never_read(framing: Framing, more: bytes, at_once: bool) -> None:
    """Behind unsigned chunks a few are passed over, as at S3; behind signed ones they are refused."""
    trailers = TRAILER if framing.has_trailers else {}
    wire = framed(framing, [b"hello"], trailers)
    cuts = [] if at_once else range(len(wire), len(wire + more))
    reader = chunks(framing, 5, trailers)
    if framing == UNSIGNED and len(more) <= REST_BYTES_MAX:
        assert read(reader, wire + more, cuts) == (b"hello", trailers)
    else:
        assert said(refused(reader, wire + more, cuts)) == "IncompleteBody"


@EVERY
@settings(deadline=None, max_examples=150)
@given(wire=st.binary(max_size=60) | st.text("05aA;x-chuksigntre=\r\n:", max_size=60).map(str.encode))
def test_junk_is_refused_and_nothing_else_happens(framing: Framing, wire: bytes) -> None:
    refused(chunks(framing, 5, TRAILER if framing.has_trailers else {}), wire)


@pytest.mark.parametrize("framing", [SIGNED, BOTH], ids=["signed", "trailers"])
@settings(deadline=None, max_examples=120)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_a_signed_body_can_change(framing: Framing, at: int, bit: int) -> None:
    trailers = TRAILER if framing.has_trailers else {}
    wire = bytearray(framed(framing, [b"a" * CHUNK_BYTES_MIN, b"b" * 5], trailers))
    at %= len(wire)
    wire[at] ^= 1 << bit
    changed = bytes(wire)
    reader = chunks(framing, CHUNK_BYTES_MIN + 5, trailers)
    try:
        data, found = read(reader, changed)
    except Denied:
        return
    # Only what says the same in other letters: hexadecimal digits of a size, the name of a trailer.
    assert (data, found) == (b"a" * CHUNK_BYTES_MIN + b"b" * 5, trailers)
    assert changed.lower() == bytes(framed(framing, [b"a" * CHUNK_BYTES_MIN, b"b" * 5], trailers)).lower()


# Lengths


@EVERY
@pytest.mark.parametrize("announced", [4, 6, 0, 5_000_000])
def test_the_decoded_length_is_the_announced_one(framing: Framing, announced: int) -> None:
    trailers = TRAILER if framing.has_trailers else {}
    denied = refused(chunks(framing, announced, trailers), framed(framing, [b"hello"], trailers))
    assert (denied.code, said(denied)) == ("body_incomplete", "IncompleteBody")


def test_no_byte_beyond_the_announced_length_is_handed_on() -> None:
    """The size of the chunk says enough."""
    for line in (b"6\r\n", b"ffffffffffffffff\r\n"):
        with pytest.raises(Denied) as caught:
            chunks(UNSIGNED, 5).feed(line)
        assert said(caught.value) == "IncompleteBody"


@EVERY
def test_only_the_last_chunk_is_small(framing: Framing) -> None:
    trailers = TRAILER if framing.has_trailers else {}
    parts = [b"a" * CHUNK_BYTES_MIN, b"b" * (CHUNK_BYTES_MIN - 1), b"c"]
    denied = refused(chunks(framing, 2 * CHUNK_BYTES_MIN, trailers), framed(framing, parts, trailers))
    assert denied.said is not None
    assert (denied.said.code, denied.said.status) == ("InvalidChunkSizeError", 403)
    # It is the second chunk that is too small, and the third where S3 sees it.
    assert dict(denied.said.members) == {"Chunk": "3", "BadChunkSize": "8191"}
    assert denied.said.message == "Only the last chunk is allowed to have a size less than 8192 bytes"


def test_a_million_chunks_of_one_byte_cost_nothing() -> None:
    wire = b"1\r\nx\r\n" * 1_000_000
    reader = chunks(UNSIGNED, 1_000_000)
    started = time.process_time()
    assert said(refused(reader, wire, range(0, len(wire), 65536))) == "InvalidChunkSizeError"
    assert time.process_time() - started < 1


def test_a_line_without_an_end_is_not_kept() -> None:
    for line in (b"0" * LINE_BYTES_MAX, b"0\r\n" + b"x" * LINE_BYTES_MAX):
        denied = refused(chunks(UNSIGNED, 5), line, range(len(line)))
        assert denied.code in ("request_malformed", "body_incomplete")


# Lines

MALFORMED_LINES = [
    b"",
    b"x",
    b"-5",
    b"+5",
    b" 5",
    b"5 ",
    b"0x5",
    b"5;a=b",
    b"5;chunk-signature=",
    b"5;chunk-signature=" + b"0" * 64 + b";a=b",
    b"1" * 17,
]


@pytest.mark.parametrize("line", MALFORMED_LINES)
@EVERY
def test_a_malformed_first_line_of_a_chunk_is_refused(framing: Framing, line: bytes) -> None:
    denied = refused(chunks(framing, 5), line + b"\r\nhello\r\n")
    assert (denied.code, said(denied)) == ("request_malformed", "IncompleteBody")


@pytest.mark.parametrize("signature", [b"invalid", b"0" * 63, b"0" * 64])
def test_what_is_no_signature_is_one_that_differs(signature: bytes) -> None:
    wire = b"5;chunk-signature=" + signature + b"\r\nhello\r\n"
    denied = refused(chunks(SIGNED, 5), wire)
    assert (denied.code, said(denied)) == ("signature_mismatch", "SignatureDoesNotMatch")


@pytest.mark.parametrize(("mark", "spaced"), [(b";", b" ; "), (b"=", b" = "), (b"\r\n", b" \r\n")])
def test_space_in_the_first_line_of_a_chunk_counts_for_nothing(mark: bytes, spaced: bytes) -> None:
    wire = framed(SIGNED, [b"hello"], {})
    line = wire[: wire.index(b"\r\n") + 2]
    assert read(chunks(SIGNED, 5), line.replace(mark, spaced) + wire[len(line) :]) == (b"hello", {})


@pytest.mark.parametrize(("wire", "provided"), [(b"2\r\nhe\r\n0\r\n\r\n", "2"), (b"9\r\nhellohell\r\n0\r\n\r\n", "9")])
def test_the_bytes_of_all_chunks_are_those_announced(wire: bytes, provided: str) -> None:
    denied = refused(chunks(UNSIGNED, 5), wire)
    assert denied.said is not None
    assert (denied.said.code, denied.said.status) == ("IncompleteBody", 400)
    assert dict(denied.said.members) == {"NumberBytesExpected": "5", "NumberBytesProvided": provided}


def test_signed_chunks_that_hold_too_little_ended_early() -> None:
    denied = refused(chunks(SIGNED, 6), framed(SIGNED, [b"hello"], {}))
    assert denied.said is not None
    assert (said(denied), denied.said.message) == ("IncompleteBody", "The request body terminated unexpectedly")
    assert not denied.said.members


def test_a_chunk_ends_where_its_size_says() -> None:
    assert said(refused(chunks(UNSIGNED, 4), b"4\r\nhello\r\n0\r\n\r\n")) == "IncompleteBody"


def test_a_bare_line_feed_ends_no_line() -> None:
    assert said(refused(chunks(UNSIGNED, 5), b"5\nhello\n0\n\n")) == "IncompleteBody"


# Trailers

HEAD = b"5\r\nhello\r\n0\r\n"
NAMES = {"x-amz-checksum-crc32"}


@pytest.mark.parametrize(
    ("trailers", "announced"),
    [
        (b"", NAMES),  # announced and absent
        (b"x-amz-checksum-crc32:NhCmhg==\r\n", set()),  # there, and not announced
        (b"x-amz-checksum-sha1:NhCmhg==\r\n", NAMES),
        (b"x-amz-checksum-crc32:NhCmhg==\r\nx-amz-meta-a:1\r\n", NAMES),
        (b"x-amz-checksum-crc32\r\n", NAMES),
        (b"x-amz-checksum-crc32:\r\n", NAMES),
        (b": NhCmhg==\r\n", NAMES),
        (b"x-amz-checksum-crc32 :NhCmhg==\r\n", NAMES),
        (b"x-amz-checksum-crc32:Nh\x00mhg==\r\n", NAMES),
        (b"x-amz-checksum-crc32:NhCmhg==\nx-amz-meta-a:1\r\n", NAMES),
        (b"x-amz-checksum-crc32:NhCmhg==\r\nx-amz-trailer-signature:" + b"0" * 64 + b"\r\n", NAMES),
    ],
)
def test_trailers_are_those_announced(trailers: bytes, announced: set[str]) -> None:
    denied = refused(chunks(UNSIGNED, 5, announced), HEAD + trailers + b"\r\n")
    assert (denied.code, said(denied)) == ("request_malformed", "MalformedTrailerError")


def test_the_last_of_two_trailers_counts_where_none_is_signed() -> None:
    two = b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:NhCmhg==\r\n"
    assert read(chunks(UNSIGNED, 5, NAMES), HEAD + two + b"\r\n") == (b"hello", {"x-amz-checksum-crc32": "NhCmhg=="})
    signed = framed(BOTH, [b"hello"], TRAILER)
    line = signed[signed.index(b"x-amz-checksum") : signed.index(b"x-amz-trailer-signature")]
    assert said(refused(chunks(BOTH, 5, TRAILER), signed.replace(line, line * 2))) == "MalformedTrailerError"


def test_a_form_without_trailers_has_none() -> None:
    wire = framed(SIGNED, [b"hello"], {})[:-2] + b"x-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    assert said(refused(chunks(SIGNED, 5, NAMES), wire)) == "MalformedTrailerError"


def test_signed_trailers_need_their_signature() -> None:
    wire = framed(BOTH, [b"hello"], TRAILER)
    without = wire.partition(b"x-amz-trailer-signature")[0] + b"\r\n"
    assert said(refused(chunks(BOTH, 5, TRAILER), without)) == "MalformedTrailerError"


def test_a_trailer_behind_the_signature_is_refused() -> None:
    wire = framed(BOTH, [b"hello"], TRAILER)[:-2] + b"x-amz-checksum-sha1:x\r\n\r\n"
    reader = chunks(BOTH, 5, {*TRAILER, "x-amz-checksum-sha1"})
    assert said(refused(reader, wire)) == "MalformedTrailerError"


# Signatures


def test_chunks_cannot_change_places() -> None:
    size = b"2000;chunk-signature="
    wire = framed(SIGNED, [b"a" * CHUNK_BYTES_MIN, b"b" * CHUNK_BYTES_MIN], {})
    _, first, rest = wire.split(size)
    second, end, last = rest.partition(b"\r\n0;")
    swapped = size + second + b"\r\n" + size + first.removesuffix(b"\r\n") + end + last
    assert sorted(swapped) == sorted(wire)
    assert said(refused(chunks(SIGNED, 2 * CHUNK_BYTES_MIN), swapped)) == "SignatureDoesNotMatch"


def test_chunks_of_another_request_are_refused() -> None:
    wire = framed(SIGNED, [b"hello"], {}, seed="0" * 64)
    denied = refused(chunks(SIGNED, 5), wire)
    assert (denied.code, said(denied)) == ("signature_mismatch", "SignatureDoesNotMatch")
    assert denied.said is not None
    assert "StringToSign" in dict(denied.said.members)


def test_a_wrong_signature_of_trailers_is_refused() -> None:
    wire = framed(BOTH, [b"hello"], TRAILER).replace(b"NhCmhg==", b"MhCmhg==")
    assert said(refused(chunks(BOTH, 5, TRAILER), wire)) == "SignatureDoesNotMatch"
