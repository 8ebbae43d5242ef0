"""Uploads in parts: what every store that takes them promises.

Rule 1: a part is kept as an object is: whole or not at all, durable before it is acknowledged.
Rule 2: until `assemble` and its `publish`, nobody sees anything of the object; what stood there before stays.
Rule 3: an upload that nobody completes or gives up is collected after a while (`multipart-seconds-max`).
Rule 4: blocks are parts that have names, of an upload that nobody begins: it belongs to the object's name, whoever
sends them.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec

from valetstore.grants.grant import Admission
from valetstore.storage.promise import Metadata, ObjectInfo, OpenObject, Part, Stretch, Upload

PARTS_MAX = 10_000
BLOCKS_MAX = 50_000
"""Blocks that an object may be made of: Azure's limit."""
STAGED_MAX = 100_000
"""Blocks of one object that wait to be used: Azure's limit."""


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that is neither completed nor given up. `created_ns` is nanoseconds since the epoch.

    `metadata` is what the object will have. `algorithm` is the checksum that its parts carry ("" for none), over
    their checksums where `composite`. `signing_key` began it; `terms` is the edge's own record of what the key that
    began it asks of the whole, kept as it was given. `of_blocks` marks what is no upload of its own (`Blocks`).
    """

    id: str = ""
    bucket: str = ""
    name: str = ""
    created_ns: int = 0
    metadata: Metadata = Metadata()
    signing_key: str = ""
    algorithm: str = ""
    composite: bool = False
    terms: bytes = b""
    of_blocks: bool = False


class UploadsPage(msgspec.Struct, frozen=True):
    """Uploads in order of their names' UTF-8 bytes and then by id; `next_after` is (name, id), None at the end.

    `prefixes` are the groups that a delimiter made; rows and prefixes together are as many as were asked for.
    """

    rows: list[Started]
    next_after: tuple[str, str] | None
    prefixes: list[str] = []


class Uploads(Protocol):
    """Uploads by id. The admission is for the object that they will be, except where a bucket's are listed."""

    async def start(self, admission: Admission, described: Started) -> Started:
        """Begin one, durably; `id`, `bucket`, `name` and `created_ns` are filled in here. Raises as `begin` does."""

    async def find(self, admission: Admission, upload_id: str) -> Started:
        """One that is open. Raises `upload_not_found`, also where it is for another object."""

    async def begin_part(
        self, admission: Admission, upload_id: str, number: int, length: int | None, digests: frozenset[str]
    ) -> Upload:
        """As `Store.begin`, for a part: its `publish` keeps it in the upload, in place of one of the same number.

        With `create_only` that one stays, and `publish` raises `exists`.
        """

    async def copy_part(
        self,
        admission: Admission,
        upload_id: str,
        number: int,
        source: OpenObject,
        stretch: Stretch | None,
        digests: frozenset[str],
    ) -> Upload:
        """As `Store.copy`, for a part."""

    async def parts(self, admission: Admission, upload_id: str, after: int, limit: int) -> tuple[list[Part], bool]:
        """Up to `limit` parts with numbers beyond `after`, in order, and whether there are more."""

    async def assemble(
        self,
        admission: Admission,
        upload_id: str,
        parts: Sequence[Part],
        metadata: Metadata,
        digests: frozenset[str] = frozenset(),
    ) -> tuple[Upload, ObjectInfo]:
        """The whole of these parts (rows of `parts`), durable and under no name: `publish` or `abort` follow.

        The entity tag is the MD5 of the parts' MD5s, and `-N`. CRCs that all parts have are the whole's as well; for
        other `digests` its bytes are read once more. Raises `part_invalid` where one changed meanwhile,
        `storage_full`. The file system shares the bytes where it can, else copies them, once.
        """

    async def end(self, admission: Admission, upload_id: str) -> None:
        """It is completed or given up, durably; its parts go, if they are many in the background. Harmless twice."""

    async def page(
        self, admission: Admission, prefix: str, after: tuple[str, str], limit: int, delimiter: str = ""
    ) -> UploadsPage:
        """Up to `limit` of the bucket's uploads whose names begin with `prefix` and that follow (name, id).

        Without an id all uploads of that name are passed, and all of a group where the name is one.
        """

    @property
    def blocks(self) -> "Blocks":
        """Parts by name, without an upload that is begun."""


class Staged(NamedTuple):
    """What waits of an object's blocks: how many, of how many bytes, and how long their names are (0 for none)."""

    blocks: int
    size: int
    label_length: int


class Chosen(NamedTuple):
    """A block that an object is made of: one that waits or, where `at` is set, one of the present object.

    `at` is where its first byte is there.
    """

    part: Part
    at: int | None = None


class Blocks(Protocol):
    """Blocks by the name of their object, and a label of their own: 1 to 120 bytes of text, all of one length.

    Whoever may write the object may send them; they wait until an object is made of them or they are discarded.
    """

    async def begin(
        self, admission: Admission, label: str, length: int | None, digests: frozenset[str], size_max: int | None = None
    ) -> Upload:
        """As `Store.begin`, for a block: its `publish` lets it wait, in place of one with the same label.

        Both raise `too_large` where all that wait would be larger than `size_max` together, and `part_invalid` where
        the others' labels are of another length, or where there are STAGED_MAX (its evidence has `count_max` then).
        """

    async def staged(self, admission: Admission, labels: Collection[str] | None = None) -> list[Part]:
        """Those that wait, or those of them with these labels, in order of their labels."""

    async def waiting(self, admission: Admission, but: Collection[str] = ()) -> Staged:
        """How many wait, those with these labels left out of the count and the size."""

    async def assemble(
        self, admission: Admission, chosen: Sequence[Chosen], present: OpenObject | None, metadata: Metadata
    ) -> tuple[Upload, ObjectInfo]:
        """As `Uploads.assemble`; numbers are given here, in the order of `chosen`, in which one may be twice.

        Of none, the object is empty. Raises `upload_not_found` and `part_invalid` where what waited has changed or
        gone, `storage_unavailable` where the present object's file was edited meanwhile.
        """

    async def discard(self, admission: Admission) -> None:
        """None wait any more, durably; they go as parts do. Harmless where none do."""
