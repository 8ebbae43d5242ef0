"""Checksums of multipart uploads: over the parts' checksums (COMPOSITE) or over the whole (FULL_OBJECT).

Source: Amazon S3 user guide, "Checking object integrity", full object and composite checksum types.
"""

from collections.abc import Sequence
from hmac import compare_digest

from valetstore.edge.replies import Header
from valetstore.edge.s3.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT, PREFIX, member_of, text_of
from valetstore.edge.xml import Node
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage import checksums
from valetstore.storage.promise import Checksum, Part
from valetstore.storage.uploads import Started


def headers_of(started: Started) -> list[Header]:
    """What the answers about an upload say of its checksum."""
    if not started.algorithm:
        return []
    algorithm = started.algorithm.upper()
    return [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind_of(started))]


def kind_of(started: Started) -> str:
    """FULL_OBJECT or COMPOSITE."""
    return COMPOSITE if started.composite else FULL_OBJECT


def part_node(part: Part, algorithm: str) -> Node:
    """A part's checksum as a member of a document; left out where the upload has none."""
    digest = part.digests.get(algorithm)
    return member_of(algorithm), None if digest is None else text_of(digest)


def whole_of(started: Started, parts: Sequence[Part]) -> Checksum | None:
    """The checksum of the object that these parts make; None where the upload has none."""
    algorithm = started.algorithm
    if not algorithm:
        return None
    digests = [part.digests[algorithm] for part in parts]
    if not started.composite:
        whole = checksums.combined(algorithm, zip(digests, (part.size for part in parts), strict=True))
        return Checksum(algorithm, text_of(whole))
    over = checksums.new(algorithm)
    over.update(b"".join(digests))
    return Checksum(algorithm, f"{text_of(over.digest())}-{len(digests)}", len(digests))


def check_promised(inbound: Inbound, started: Started, whole: Checksum | None) -> None:
    """The whole against what the complete says of it. Raises `digest_mismatch`, `parameter_invalid`."""
    kind = inbound.header("x-amz-checksum-type")
    if kind is not None and whole is not None and kind.upper() != kind_of(started):
        raise invalid(
            f"The upload was created using the {kind_of(started)} checksum mode. The complete request must use the "
            "same checksum mode."
        )
    promised = [
        (algorithm, value) for algorithm in ALGORITHMS if (value := inbound.header(PREFIX + algorithm)) is not None
    ]
    if len(promised) > 1:
        raise invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    if whole is None:
        return  # S3 does not look at the checksum of an upload that was begun without any: it may be the document's
    for algorithm, value in promised:
        if algorithm != whole.algorithm:
            raise mismatched_types(whole.algorithm, algorithm)
        # Of a composite one some clients send the value without the number of parts.
        said = value if "-" in value or not whole.parts else f"{value}-{whole.parts}"
        if not compare_digest(said.encode("latin-1"), whole.value.encode()):
            raise Denied("digest_mismatch", f"Its {algorithm} differs.").saying(
                "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
            )


def mismatched_types(expected: str, actual: str) -> Denied:
    """A part or a whole comes with another checksum than the upload was begun with."""
    return invalid(
        f"Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    )


def invalid(sentence: str) -> Denied:
    """S3's InvalidRequest with this sentence."""
    return Denied("parameter_invalid", sentence).saying("InvalidRequest", sentence)
