"""One constructor stands between the wire and a path, and nothing dangerous gets through it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.minting import perhaps_refused, refused
from valetstore.errors import Denied
from valetstore.objectkey import (
    KEY_BYTES_MAX,
    RESERVED_BUCKET,
    ObjectKey,
    check_beginning,
    check_bucket,
    check_name,
    split_path,
)

NAMES = st.one_of(
    st.text(),
    st.lists(st.sampled_from([".", "..", "...", "", "a", "\0", "\u2603", "x" * 400, "\ud800"])).map("/".join),
)


@given(NAMES)
@example("..")
@example("a/..")
@example("./a")
@example("a/./b")
@example("x" * 1025)
@example("\u2603" * 342)
def test_no_name_has_dot_segments_or_a_nul_or_too_many_bytes(name: str) -> None:
    with perhaps_refused("object_key_invalid"):
        key = ObjectKey.of("b", name)
        assert not {".", ".."} & set(key.name.split("/"))
        assert "\0" not in key.name
        assert 1 <= len(key.name.encode()) <= KEY_BYTES_MAX


@given(NAMES)
def test_a_path_and_its_key_are_the_same_text(name: str) -> None:
    try:
        key = ObjectKey.parse(f"/photos/{name}")
    except Denied:
        return
    assert key.path == f"/photos/{name}"
    assert ObjectKey.parse(key.path) == key == ObjectKey.of("photos", name)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/",
        "/",
        "//",
        "/a",
        "a//b",
        "...",
        "..a",
        "a..",
        ".a",
        "a.",
        "~",
        "-rf",
        "*",
        "a\nb",
        "CON",
        "\u2603",
        "%2e%2e",
        "\\..\\a",
        "\u2025",
        "\uff0e\uff0e",
        "x" * 1024,
        "\u2603" * 341,
    ],
)
def test_strange_names_are_names(name: str) -> None:
    assert ObjectKey.of("b", name).name == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (".", "`.` or `..`"),
        ("a/../b", "`.` or `..`"),
        ("a\0", "NUL"),
        ("x" * 1025, "longer than 1024"),
        ("\u2603" * 341 + "xx", "longer than 1024"),
        ("\udc80", "not Unicode"),
    ],
)
def test_a_refused_name_says_why(name: str, why: str) -> None:
    with refused("object_key_invalid", why):
        ObjectKey.of("b", name)


@pytest.mark.parametrize("bucket", ["b", "photos", "My.Bucket-1_x", "$web", "$root", "a..b", "9", "x" * 63])
def test_bucket_names(bucket: str) -> None:
    check_bucket(bucket)


@pytest.mark.parametrize(
    "bucket",
    ["", ".", "..", ".hidden", "-x", "_x", RESERVED_BUCKET, "a b", "a\n", "a/b", "a\0", "\u00e9", "x" * 64, "a%2fb"],
)
def test_what_is_no_bucket_name(bucket: str) -> None:
    with refused("object_key_invalid", "bucket's name"):
        check_bucket(bucket)


@given(st.text())
def test_a_bucket_name_is_a_plain_folder_name(bucket: str) -> None:
    try:
        check_bucket(bucket)
    except Denied:
        return
    assert bucket.isascii()
    assert bucket not in {".", "..", RESERVED_BUCKET}
    assert "/" not in bucket


@pytest.mark.parametrize("path", ["", "a", "photos/a", "//a", "/", "/photos", "/photos/", "/_valet/live", "/../a"])
def test_a_path_without_a_bucket_and_a_name_is_no_key(path: str) -> None:
    with refused("object_key_invalid"):
        ObjectKey.parse(path)


@given(st.text())
def test_a_path_is_split_at_its_second_slash(path: str) -> None:
    try:
        bucket, name = split_path(path)
    except Denied:
        assert not path.startswith("/")
        return
    assert "/" not in bucket
    assert path in (f"/{bucket}/{name}", f"/{bucket}{name}")


@given(NAMES)
def test_names_begin_as_names_may_begin(name: str) -> None:
    try:
        key = ObjectKey.of("b", name)
    except Denied:
        return
    for end in range(len(key.name) + 1):
        check_beginning(key.name[:end])


@pytest.mark.parametrize("text", ["\0", "x" * 1025, "\udc80"])
def test_what_no_name_begins_with(text: str) -> None:
    with refused("object_key_invalid"):
        check_beginning(text)


def test_no_name_at_all_is_none_to_refuse() -> None:
    check_name("")
    check_name("a/")
