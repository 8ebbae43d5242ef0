"""The list of parts that a complete names: read, and held against what was uploaded.

Rule 1: a part is named by its number and its entity tag, with or without quotes; a checksum that is given as well
must be the part's.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from valetstore.edge.nodes import argument_invalid
from valetstore.edge.s3.checksums import ALGORITHMS, member_of, text_of
from valetstore.edge.s3.multipart_checksums import invalid
from valetstore.edge.xml import malformed, parsed
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.storage.promise import Part
from valetstore.storage.uploads import PARTS_MAX, Started

_TAGS_MAX: Final = PARTS_MAX * 20
"""A part has a number, an entity tag, and perhaps a checksum of each kind."""
PART_BYTES_MIN: Final = 5 * 2**20
"""What every part but the last must have."""
NUMBER_SENTENCE: Final = f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"


class Named(NamedTuple):
    """One entry of the list: `etag` without quotes, `checksums` by algorithm as they were written (base64)."""

    number: int
    etag: str
    checksums: Mapping[str, str]


def manifest(body: bytes) -> list[Named]:
    """The parts that a CompleteMultipartUpload document names. Raises `parameter_invalid`, `part_invalid`."""
    named = [_named(element) for element in parsed(body, "CompleteMultipartUpload", _TAGS_MAX)]
    if not named or len(named) > PARTS_MAX:
        raise malformed(f"it names {len(named)} parts")
    if any(entry.number >= following.number for entry, following in pairwise(named)):
        raise Denied("part_invalid").saying("InvalidPartOrder")
    return named


def _named(element: Element) -> Named:
    if element.tag != "Part":
        raise malformed(f"a member is not Part but {element.tag[:32]}")
    members: dict[str, str] = {}
    for child in element:
        if child.tag in members or len(child):
            raise malformed("a member of a part is given twice, or is not a text")
        members[child.tag] = (child.text or "").strip()
    if "PartNumber" not in members or "ETag" not in members:
        raise malformed("a part has no number or no entity tag")
    try:
        number = wire_int(members["PartNumber"])
    except ValueError:
        raise malformed("a part's number is none") from None
    if not 1 <= number <= PARTS_MAX:
        raise argument_invalid(NUMBER_SENTENCE, "partNumber", str(number))
    given = {name: members[member_of(name)] for name in ALGORITHMS if member_of(name) in members}
    return Named(number, _bare(members["ETag"]), given)


def _bare(etag: str) -> str:
    return etag[1:-1] if len(etag) >= 2 and etag[0] == etag[-1] == '"' else etag


def chosen(started: Started, named: Sequence[Named], uploaded: Mapping[int, Part]) -> list[Part]:
    """The parts that were named, as they were uploaded. Raises `part_invalid`, `too_small`, `parameter_invalid`."""
    parts = [_found(started, entry, uploaded.get(entry.number)) for entry in named]
    for part in parts[:-1]:
        if part.size < PART_BYTES_MIN:
            raise Denied("too_small", f"Parts but the last have at least {PART_BYTES_MIN} bytes.").saying(
                "EntityTooSmall",
                ETag=_bare(part.etag),
                PartNumber=str(part.number),
                MinSizeAllowed=str(PART_BYTES_MIN),
                ProposedSize=str(part.size),
            )
    return parts


def _found(started: Started, entry: Named, part: Part | None) -> Part:
    if part is None or _bare(part.etag) != entry.etag:
        raise _invalid_part(started, entry)
    if started.algorithm and started.composite and started.algorithm not in entry.checksums:
        algorithm = started.algorithm
        raise invalid(
            f"The upload was created using a {algorithm} checksum. The complete request must include the checksum "
            f"for each part. It was missing for part {entry.number} in the request."
        )
    for algorithm, value in entry.checksums.items():
        digest = part.digests.get(algorithm)
        if digest is not None and text_of(digest) != value:
            raise _invalid_part(started, entry)
    return part


def _invalid_part(started: Started, entry: Named) -> Denied:
    return Denied("part_invalid").saying(
        "InvalidPart", UploadId=started.id, PartNumber=str(entry.number), ETag=entry.etag
    )
