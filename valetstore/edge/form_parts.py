"""The parts of a multipart/form-data body (RFC 7578): bytes in, fields and pieces of files out. Pure.

Rule 1: everything but files is bounded, in bytes and in parts. Nothing of a file is held but what one read brought.
Rule 2: the client's file name is a text like any other here; whoever makes a path of it judges it.
"""

import logging
from collections import deque
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from valetstore.edge.exchange import FormFile
from valetstore.errors import Denied
from valetstore.grants.swift import formpost

FIELD_BYTES_MAX: Final = 20 * 1024
"""All names, values and part headers before the file's bytes: S3's limit for them."""
PARTS_MAX: Final = 100
BOUNDARY_BYTES_MAX: Final = 70
"""RFC 2046 section 5.1.1."""
FILE: Final = "file"

_WIRE_BYTES_MAX: Final = 64 * 1024
"""The same with boundaries and whatever else a sender puts between: before the first file and behind each."""

_DISPOSITION: Final = b"content-disposition"
_TYPE: Final = b"content-type"
_CODING: Final = b"content-encoding"
_OF_A_FILE: Final = frozenset({_TYPE, _CODING})

# The library would write what strangers send into the log, a line for each malformed form.
_SILENT: Final = logging.Logger("forms", logging.CRITICAL + 1)


class _File:
    """A file as far as it has come."""

    def __init__(self, said: FormFile) -> None:
        self.said = said
        self.pieces: list[bytes] = []
        self.is_whole = False


class Parts:
    """The parts of a form: bytes in, fields and pieces of the file out. Pure; feed it however the bytes come.

    `fields` are (lower-case name, value) in order up to the file. That is the part `file`, which then stands there as
    ("file", client's file name); or, where there may be `several`, each part with a file name, and none stands there.
    """

    def __init__(self, boundary: bytes, *, several: bool = False) -> None:
        self.fields: list[tuple[str, str]] = []
        self.at_file = False
        self.several = several
        self._begun = self._ended = False
        # Those that wait are bounded by what one read brings; `_arriving` is the last of them, or the current one.
        self._current: _File | None = None
        self._waiting: deque[_File] = deque()
        self._arriving: _File | None = None
        self._has_file = False
        self._count = 0
        self._bytes = 0
        self._wire_bytes = 0
        self._header, self._value = bytearray(), bytearray()
        self._said: dict[bytes, bytes] = {}
        self._name = ""
        if not 0 < len(boundary) <= BOUNDARY_BYTES_MAX:
            raise _malformed(f"Its boundary has 1 to {BOUNDARY_BYTES_MAX} characters.")
        self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]  # plain dict
        self._parser.logger = _SILENT

    @property
    def past_file(self) -> bool:
        """Whether all of the current file has come."""
        return self._current is not None and self._current.is_whole

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises `request_malformed`, `headers_too_large`, `parameter_invalid`."""
        size = len(data)
        self._has_file = self._arriving is not None
        if not self._begun:
            # Of what may precede the first boundary the library makes more or less, by how the bytes are cut.
            data = data.lstrip(b"\r\n")
            self._begun = bool(data)
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed("The body of your POST request is not well-formed multipart/form-data.") from None
        if not self._has_file:
            self._wire_bytes += size
            if self._wire_bytes > _WIRE_BYTES_MAX:
                raise _too_much()

    def taken(self) -> list[bytes]:
        """What has come of the file since the last time."""
        if self._current is None:
            return []
        pieces, self._current.pieces = self._current.pieces, []
        return pieces

    def next_file(self) -> FormFile | None:
        """Go on to the next file that has begun; None where none has."""
        self._current = self._waiting.popleft() if self._waiting else None
        return self._current.said if self._current else None

    def finish(self) -> None:
        """No more bytes. Raises `body_incomplete`, or `parameter_invalid` where there was no file."""
        if not self._ended:
            raise Denied("body_incomplete", "The form ends before its closing boundary.")
        if not self.at_file:
            raise formpost.ended("no files to process") if self.several else one_file()

    def _callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > PARTS_MAX:
            raise _malformed(f"A form has at most {PARTS_MAX} parts.")
        self._said = {}

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += self._counted(data, start, end)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data, start, end)

    def _header_end(self) -> None:
        name = bytes(self._header.lower())
        if name == _DISPOSITION or (self.several and name in _OF_A_FILE):
            if name in self._said:
                raise _malformed(f"A part has more than one {name.decode().title()}.")
            self._said[name] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        if self.at_file and not self.several:
            return
        kind, options = parse_options_header(self._said.get(_DISPOSITION))
        if kind != b"form-data" or b"name" not in options:
            raise _malformed("Each part of a form has a Content-Disposition with its name.")
        filename = options.get(b"filename", b"")
        if self.several and filename:
            self._waiting.append(self._file_begins(filename))
        elif not self.several and (name := _text(options[b"name"]).lower()) == FILE:
            self._current = self._file_begins(filename)
            self.fields.append((name, self._current.said.name))
        elif not self.at_file:
            self._name = _text(options[b"name"]).lower()

    def _file_begins(self, filename: bytes) -> _File:
        self.at_file = self._has_file = True
        content_type, coding = (self._said.get(name) for name in (_TYPE, _CODING))
        said = FormFile(
            _text(filename),
            None if content_type is None else content_type.decode("latin-1"),
            None if coding is None else coding.decode("latin-1"),
        )
        self._arriving = _File(said)
        return self._arriving

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._arriving is not None:
            self._arriving.pieces.append(data[start:end])
        elif not self.at_file:
            self._value += self._counted(data, start, end)

    def _part_end(self) -> None:
        if self._arriving is not None:
            self._arriving.is_whole = True
            self._arriving = None
        elif not self.at_file:
            self.fields.append((self._name, _text(bytes(self._value))))
            self._value.clear()

    def _end(self) -> None:
        self._ended = True

    def _counted(self, data: bytes, start: int, end: int) -> bytes:
        if not self.at_file:
            self._bytes += end - start
            if self._bytes > FIELD_BYTES_MAX:
                raise _too_much()
        return data[start:end]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        said = "A field of the form is not UTF-8 text."
        raise Denied("parameter_invalid", said).saying("InvalidArgument", said, 400) from None


def _malformed(reason: str) -> Denied:
    return Denied("request_malformed", reason).saying("MalformedPOSTRequest", reason, 400)


def _too_much() -> Denied:
    said = "Your POST request fields preceding the upload file were too large."
    return Denied("headers_too_large", said).saying("MaxPostPreDataLengthExceeded", said, 400)


def one_file() -> Denied:
    """The refusal of a form of S3's or Google's that has no file."""
    said = "POST requires exactly one file upload per request."
    return Denied("parameter_invalid", said).saying("InvalidArgument", said, 400, ArgumentName=FILE, ArgumentValue="0")
