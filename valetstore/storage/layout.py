"""Layouts: an object's name as a path below its bucket's root, and back. Pure text, no file is touched.

Rule 1: `to_path` gives each name its own path, below the root, and no object's path is a folder of another's.
Rule 2: the way back is strict. A path that `to_path` would not have made is a foreign file: it has no name.
Rule 3: a folder is decoded step by step (`enter`, `leaf`), each step once, so a list costs what it shows. What puts
the entries of a large folder in order (`keys`) is quick and lenient: `enter` and `leaf` judge the few that are shown.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, Protocol

from valetstore.errors import Denied
from valetstore.objectkey import KEY_BYTES_MAX, check_name

TEMP_FOLDER: Final = ".valetstore-tmp%"
"""Where a root on a file system of its own keeps unfinished uploads. A lone `%` at the end of more than
itself is never an escape, so `objects` cannot produce it; `files` refuses it."""

PIECE_BYTES_MAX: Final = 240
"""The longest piece of a segment: with its mark it fits every file system's 255 bytes."""

SEGMENT_BYTES_MAX: Final = 255


class Folder(NamedTuple):
    """A folder of a layout: its path ("" is the root) and what every name below it starts with.

    `pieces` are the pieces so far of a segment that is still being continued (`objects` only).
    """

    path: str
    start: str
    pieces: tuple[str, ...] = ()

    def join(self, entry: str) -> str:
        """The path of an entry of this folder."""
        return f"{self.path}/{entry}" if self.path else entry


ROOT: Final = Folder("", "")


class Layout(Protocol):
    """How names become paths. Paths are relative to the bucket's root, `/` between their parts."""

    def to_path(self, name: str) -> str:
        """The one path of an object's name. Raises `object_key_invalid` where it has none."""

    def folder_of(self, prefix: str) -> Folder | None:
        """The deepest folder that holds every name with this prefix; None where no name has it."""

    def enter(self, folder: Folder, entry: str) -> Folder | None:
        """The folder behind a folder entry; None where it is foreign."""

    def leaf(self, folder: Folder, entry: str) -> str | None:
        """The object's name of a file entry; None where it is foreign."""

    def keys(self, entries: list[str]) -> list[str]:
        """Of each entry of a folder what its name, or all names below it, go on with, up to a NUL if there is one.

        Ordered they are in the order of names. Of the foreign ones some are left out.
        """

    def entry(self, key: str) -> str:
        """The entry that a key was made of."""

    def above(self, folder: Folder, rest: str) -> Iterator[str]:
        """Entries whose keys come before `rest`, while names below them, if they are folders, may come after it."""


def to_name(layout: Layout, path: str) -> str | None:
    """The name whose path this is; None for a foreign file."""
    *parents, last = path.split("/")
    folder = ROOT
    for entry in parents:
        below = layout.enter(folder, entry)
        if below is None:
            return None
        folder = below
    return layout.leaf(folder, last)


# --- objects: any name, readable, reversible -------------------------------------------------------

_UNSAFE: Final = re.compile(r"[%\x00-\x1f\x7f]|\+\Z")
_UNSAFE_INSIDE: Final = re.compile(r"[%\x00-\x1f\x7f]")
# What is its own escaped form: nearly every piece is, and a list has thousands.
_PLAIN: Final = re.compile(r"(?!\.\.?\Z)[ -$&-~]*[ -$&-*,-~]")
# Names of short segments in which nothing is escaped: most are.
_SIMPLE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199})*")
# What may not be cut: an escape, or one character.
_UNIT: Final = re.compile(r"%[0-9A-F]{2}|.", re.DOTALL)
_UNIT_BYTES_MAX: Final = 4
_EMPTY: Final = "%"
_FOLDER_MARK: Final = "+"
_CONTINUED_MARK: Final = "++"


class Objects:
    """Folders carry a trailing `+`, so `a`, `a/`, `a/b` and `a//b` stand side by side.

    Within a segment `%`, controls and a trailing `+` are `%HH`; an empty segment is a lone `%`. A segment
    whose escaped form is longer than 240 bytes is cut: all its pieces but the last are folders marked `++`.
    """

    def to_path(self, name: str) -> str:
        """`photos/2024/cat.jpg` is `photos+/2024+/cat.jpg`. Every valid name has a path."""
        if _SIMPLE.fullmatch(name):  # the same, without a look at each segment
            return name.replace("/", f"{_FOLDER_MARK}/")
        *folders, last = name.split("/")
        steps = [self._folder(segment) for segment in folders]
        return "/".join([*steps, _marked(_pieces(last), "")])

    def folder_of(self, prefix: str) -> Folder | None:
        """Up to the prefix's last slash; what follows it can begin any entry, however that is escaped."""
        start = prefix[: prefix.rfind("/") + 1]
        if len(start.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
            return None
        return Folder("/".join(map(self._folder, start.split("/")[:-1])), start)

    def enter(self, folder: Folder, entry: str) -> Folder | None:
        """`x++` continues a segment, `x+` ends one; anything else is foreign."""
        if entry.endswith(_CONTINUED_MARK):
            piece = entry[: -len(_CONTINUED_MARK)]
            text = _unescape(piece)
            if not text:
                return None
            return Folder(folder.join(entry), folder.start + text, (*folder.pieces, piece))
        if not entry.endswith(_FOLDER_MARK):
            return None
        text = _last_piece(folder.pieces, entry[: -len(_FOLDER_MARK)])
        return None if text is None else Folder(folder.join(entry), f"{folder.start}{text}/")

    def leaf(self, folder: Folder, entry: str) -> str | None:
        """A file's entry carries no mark; its whole segment must be cut and escaped as we would."""
        text = None if entry.endswith(_FOLDER_MARK) else _last_piece(folder.pieces, entry)
        return None if text is None else _valid(folder.start + text)

    def keys(self, entries: list[str]) -> list[str]:
        """Most entries are their own key; the others are told by what stands behind the NUL."""
        marked = [entry for entry in entries if "%" in entry or entry[-1] == _FOLDER_MARK]
        if not marked:
            return entries
        own = [entry for entry in entries if "%" not in entry and entry[-1] != _FOLDER_MARK]
        return own + [key for entry in marked if (key := self._key(entry)) is not None]

    @staticmethod
    def _key(entry: str) -> str | None:
        """The key of an entry with an escape or a mark; None for some foreign ones."""
        is_continued = entry.endswith(_CONTINUED_MARK)
        end = "/" if entry.endswith(_FOLDER_MARK) and not is_continued else ""
        if end and "%" not in entry:
            return f"{entry[:-1]}/"
        text = _unescape(entry.removesuffix(_CONTINUED_MARK if is_continued else _FOLDER_MARK))
        return None if text is None or "\0" in text else f"{text}{end}\0{entry}"

    def entry(self, key: str) -> str:
        """Behind the NUL it is kept; without one it follows from the text."""
        text, _, kept = key.partition("\0")
        return kept or (f"{text[:-1]}{_FOLDER_MARK}" if text.endswith("/") else text)

    def above(self, folder: Folder, rest: str) -> Iterator[str]:
        """The folder that `rest` goes through, and those of segments that begin as its first one does."""
        segment, _, beyond = rest.partition("/")
        if beyond:
            before = "".join(_unescape(piece) or "" for piece in folder.pieces)
            pieces = _pieces(before + segment)
            if len(pieces) == len(folder.pieces) + 1:
                yield f"{pieces[-1]}{_FOLDER_MARK}"
        piece, size = "", 0
        units = _UNIT.findall(_UNSAFE_INSIDE.sub(_escape, segment))
        for number, unit in enumerate(units, 1):
            piece, size = piece + unit, size + len(unit.encode("utf-8", "surrogatepass"))
            if size > PIECE_BYTES_MAX:
                return
            # Where the next character does not fit, and only there, a segment is cut.
            if size > PIECE_BYTES_MAX - _UNIT_BYTES_MAX and len(rest) > number:
                yield f"{piece}{_CONTINUED_MARK}"

    @staticmethod
    def _folder(segment: str) -> str:
        return _marked(_pieces(segment), _FOLDER_MARK)


def _escape(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _marked(pieces: list[str], mark: str) -> str:
    *continued, last = pieces
    return "".join(f"{piece}{_CONTINUED_MARK}/" for piece in continued) + last + mark


def _pieces(segment: str) -> list[str]:
    """A segment's escaped form, cut: at least one piece, none longer than 240 bytes."""
    escaped = _UNSAFE.sub(_escape, segment) or _EMPTY
    if len(escaped) <= PIECE_BYTES_MAX and len(escaped.encode("utf-8")) <= PIECE_BYTES_MAX:
        return [_without_dots(escaped)]
    pieces = [""]
    room = PIECE_BYTES_MAX
    for unit in _UNIT.findall(escaped):
        size = len(unit.encode("utf-8"))
        if size > room:
            pieces.append("")
            room = PIECE_BYTES_MAX
        pieces[-1] += unit
        room -= size
    return [_without_dots(piece) for piece in pieces]


def _without_dots(piece: str) -> str:
    """A name has no `.` or `..` segment, but the end of a segment that was cut can look like one."""
    return piece.replace(".", "%2E") if piece in {".", ".."} else piece


def _last_piece(before: tuple[str, ...], piece: str) -> str | None:
    """The text of a segment's last piece, if the whole segment is what `_pieces` makes; else None."""
    if not before and len(piece) <= PIECE_BYTES_MAX and _PLAIN.fullmatch(piece):
        return piece
    text = _unescape(piece)
    if text is None:
        return None
    segment = "".join(_unescape(part) or "" for part in before) + text
    return text if _pieces(segment) == [*before, piece] else None


def _unescape(piece: str) -> str | None:
    """Lenient about which bytes are escaped (the caller encodes again and compares); None if it cannot be."""
    if "%" not in piece:
        return piece if _is_text(piece) else None
    if piece == _EMPTY:
        return ""
    text, count = re.subn(r"%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), piece)
    return text if count == piece.count("%") and _is_text(text) else None


def _is_text(name: str) -> bool:
    """Bytes that are not UTF-8 reach Python as lone surrogates (PEP 383); no object's name has them."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def _valid(name: str) -> str | None:
    try:
        check_name(name)
    except Denied:
        return None
    return name or None


# --- files: names as they are ----------------------------------------------------------------------


class Files:
    """Plain files, for existing folders and for people who want to see them. Not every name has a path."""

    def to_path(self, name: str) -> str:
        """The name itself. Raises `object_key_invalid` where it cannot be a plain path."""
        reason = self._refused(name.split("/"))
        if reason:
            raise Denied("object_key_invalid", reason)
        return name

    def folder_of(self, prefix: str) -> Folder | None:
        """The prefix up to its last slash, where that can be a folder."""
        start = prefix[: prefix.rfind("/") + 1]
        if not start:
            return ROOT
        folders = start.split("/")[:-1]
        if "\0" in start or not {".", ".."}.isdisjoint(folders) or self._refused(folders):
            return None
        return Folder(start[:-1], start)

    def enter(self, folder: Folder, entry: str) -> Folder | None:
        """Every folder but our own for unfinished uploads."""
        if not _is_text(entry) or (not folder.path and entry == TEMP_FOLDER):
            return None
        return Folder(folder.join(entry), f"{folder.start}{entry}/")

    def leaf(self, folder: Folder, entry: str) -> str | None:
        """Every file whose name is text and not too long."""
        if not _is_text(entry) or (not folder.path and entry == TEMP_FOLDER):
            return None
        return _valid(folder.start + entry)

    def keys(self, entries: list[str]) -> list[str]:
        """Each is its own."""
        return entries

    def entry(self, key: str) -> str:
        """The key itself."""
        return key

    def above(self, folder: Folder, rest: str) -> Iterator[str]:
        """Nothing but the name tells a folder `a` from a file; of `a-b`, `a` comes before and `a/b` after it."""
        first = rest.partition("/")[0]
        for at in range(1, min(len(first) + 1, len(rest))):
            if rest[at] <= "/":
                yield rest[:at]

    @staticmethod
    def _refused(segments: list[str]) -> str | None:
        if "" in segments:
            return "In this bucket a name may not start or end with a slash, or hold two together."
        if any(len(segment.encode("utf-8", "surrogatepass")) > SEGMENT_BYTES_MAX for segment in segments):
            return f"In this bucket a part of a name has at most {SEGMENT_BYTES_MAX} bytes."
        if segments[0] == TEMP_FOLDER:
            return "In this bucket this name is reserved."
        return None


LAYOUTS: Final[dict[Literal["objects", "files"], Layout]] = {"objects": Objects(), "files": Files()}
