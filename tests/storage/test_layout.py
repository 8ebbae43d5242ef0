"""Names become paths and come back; nothing else does."""

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valetstore.errors import Denied
from valetstore.objectkey import ObjectKey
from valetstore.storage.layout import (
    LAYOUTS,
    PIECE_BYTES_MAX,
    ROOT,
    TEMP_FOLDER,
    Folder,
    Layout,
    to_name,
)

OBJECTS = LAYOUTS["objects"]
FILES = LAYOUTS["files"]

PATHS = {
    "cat.jpg": "cat.jpg",
    "photos/2024/cat.jpg": "photos+/2024+/cat.jpg",
    "a": "a",
    "a/": "a+/%",
    "a/b": "a+/b",
    "a//b": "a+/%+/b",
    "/": "%+/%",
    "100%": "100%25",
    "a+": "a%2B",
    "a++/b": "a+%2B+/b",
    "a\n\x7f\x01": "a%0A%7F%01",
    "caf\xe9/\U0001f600": "caf\xe9+/\U0001f600",
    ".hidden/...": ".hidden+/...",
    TEMP_FOLDER: ".valetstore-tmp%25",
    "x" * 240: "x" * 240,
    "x" * 241: "x" * 240 + "++/x",
    "x" * 239 + "%": "x" * 239 + "++/%25",
    "x" * 240 + ".": "x" * 240 + "++/%2E",
    "x" * 240 + "../y": "x" * 240 + "++/%2E%2E+/y",
    "x" * 239 + "\xe9/y": "x" * 239 + "++/\xe9+/y",
}

FOREIGN = [
    "a%41",  # needs no escape
    "a%2b",  # lower case
    "a%0a",
    "a%",
    "a%2",
    "%%",
    "a+",  # a folder's name on a file
    "a++",
    "a/b",  # a folder without its mark
    "%2E",  # a dot segment
    "%2E%2E+/x",
    "a++/b",  # cut where nothing had to be cut
    "x" * 241,  # not cut where it had to be
    "x" * 240 + "++/%",
    "a%00",
    "bad\udcff",
    "%C3%A9",
    "+",
    "++/x",
    TEMP_FOLDER,
    f"{TEMP_FOLDER}/x",
]


def is_name(text: str) -> bool:
    try:
        return bool(ObjectKey.of("b", text))
    except (Denied, UnicodeEncodeError):
        return False


# Names that meet what the layout treats specially more often than chance would.
segments = st.one_of(
    st.text(st.sampled_from("a.+%\x00\x1f\x7f \xe9\U0001f600"), max_size=6),
    st.text(max_size=8),
    st.builds(lambda n, tail: "x" * n + tail, st.integers(230, 250), st.text("a.+%\xe9\n", max_size=12)),
    st.builds(lambda n, unit: unit * n, st.integers(1, 200), st.sampled_from(["%", "+", "\n", "\xe9", "\uffff"])),
)
names = st.lists(segments, min_size=1, max_size=5).map("/".join).filter(is_name)


@pytest.mark.parametrize(("name", "path"), PATHS.items())
def test_names_have_these_paths(name: str, path: str) -> None:
    assert OBJECTS.to_path(name) == path
    assert to_name(OBJECTS, path) == name


@pytest.mark.parametrize("path", FOREIGN)
def test_a_path_that_is_not_ours_has_no_name(path: str) -> None:
    assert to_name(OBJECTS, path) is None


@given(names)
@example("/" * 1024)
@example("\x01" * 1024)
@example("\xe9" * 512)
@example("x" * 1024)
@settings(max_examples=500)
def test_every_name_comes_back_and_stays_below_the_root(name: str) -> None:
    path = OBJECTS.to_path(name)
    assert to_name(OBJECTS, path) == name
    parts = path.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert "\0" not in path
    assert not PurePosixPath(path).is_absolute()
    assert parts[0] != TEMP_FOLDER
    assert len(path.encode()) < 4096
    assert all(len(part.encode()) <= PIECE_BYTES_MAX + 2 for part in parts)
    assert all(part.endswith("+") for part in parts[:-1])
    assert not parts[-1].endswith("+")


@given(st.lists(names, min_size=2, max_size=8, unique=True))
@settings(max_examples=200)
def test_no_two_names_stand_in_each_others_way(several: list[str]) -> None:
    paths = [OBJECTS.to_path(name) for name in several]
    assert len(set(paths)) == len(paths)
    for one in paths:
        assert not any(other.startswith(f"{one}/") for other in paths)


@given(st.one_of(names, st.text("a+%./2EB0\xe9", min_size=1, max_size=20), st.sampled_from(FOREIGN)))
@settings(max_examples=500)
def test_a_path_is_one_names_path_or_nobodys(path: str) -> None:
    name = to_name(OBJECTS, path)
    if name is not None:
        assert is_name(name)
        assert OBJECTS.to_path(name) == path


@pytest.mark.parametrize("layout", LAYOUTS.values())
@given(name=names, cut=st.integers(0, 1024))
def test_a_prefix_leads_to_the_folder_of_its_names(layout: Layout, name: str, cut: int) -> None:
    try:
        path = layout.to_path(name)
    except Denied:
        return
    folder = layout.folder_of(name[:cut])
    assert folder is not None
    assert name.startswith(folder.start)
    assert not folder.path or path.startswith(f"{folder.path}/")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "a/b", "a+", "%", "caf\xe9", ".hidden", "x" * 255, f"a/{TEMP_FOLDER}"])
def test_a_plain_name_is_its_own_path(name: str) -> None:
    assert FILES.to_path(name) == name
    assert to_name(FILES, name) == name


@pytest.mark.parametrize("name", ["a/", "/a", "a//b", "x" * 256, "a/" + "\xe9" * 128, TEMP_FOLDER, f"{TEMP_FOLDER}/a"])
def test_what_is_no_plain_path_is_refused(name: str) -> None:
    with pytest.raises(Denied) as caught:
        FILES.to_path(name)
    assert caught.value.code == "object_key_invalid"
    assert caught.value.detail


def test_plain_files_that_no_key_can_name_are_foreign() -> None:
    assert to_name(FILES, TEMP_FOLDER) is None
    assert to_name(FILES, f"{TEMP_FOLDER}/x") is None
    assert to_name(FILES, "bad\udcff") is None
    assert to_name(FILES, "bad\udcff/x") is None
    assert to_name(FILES, "/".join(["x" * 200] * 6)) is None


@pytest.mark.parametrize("prefix", ["../x", "a/../b/", "/", "a//", "\0/", TEMP_FOLDER + "/", "y" * 300 + "/"])
def test_a_prefix_that_no_file_can_have_leads_nowhere(prefix: str) -> None:
    assert FILES.folder_of(prefix) is None
    assert FILES.folder_of("no-slash") == ROOT
    assert FILES.folder_of("a/b/c") == Folder("a/b", "a/b/")
