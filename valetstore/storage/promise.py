"""Store: what every place for bytes promises, whatever it is made of.

Rule 1: every way to an object takes an Admission; there is no flag and no second door.
Rule 2: no operating system error leaves a store. It raises Denied: `not_found`, `conflict`, `exists`,
`precondition_failed`, `storage_full`, `storage_unavailable` (try again later), `storage_error` (a fault).
Rule 3: a refusal means that nothing was changed. Where that cannot be known (the disk failed after the
name was given or taken), its evidence says `unsure`.
Rule 4: an answer means durable. What `publish` and `delete` return from has survived a power cut.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from valetstore.conditions import Conditions
from valetstore.grants.grant import Admission

MD5 = "md5"
SHA1 = "sha1"
SHA256 = "sha256"
CRC32 = "crc32"
CRC32C = "crc32c"
CRC64NVME = "crc64nvme"
DIGESTS = frozenset({MD5, SHA1, SHA256, "sha512", CRC32, CRC32C, CRC64NVME})
"""What a store can compute while bytes arrive. CRCs are big-endian bytes, as the vendors send them."""


KEPT_HEADERS = frozenset({"content-disposition", "content-encoding", "content-language", "cache-control", "expires"})
"""Representation headers that are kept beside the content type."""


LastCheck = Callable[[], None]
"""Asked once nothing is waited for any more, maybe in a thread of the store's: it must be quick."""


class Checksum(msgspec.Struct, frozen=True, array_like=True):
    """The checksum its uploader gave an object: one of DIGESTS, and its value as text (base64).

    `parts` is 0 where it is over the whole object; else it is over the checksums of that many parts, one after the
    other, and `value` ends in `-N`.
    """

    algorithm: str
    value: str
    parts: int = 0


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One part of a multipart upload. `etag` is quoted, `modified_ns` nanoseconds since the epoch.

    `label` is what its uploader calls it where parts have names and not numbers (`uploads.Blocks`), else "".
    """

    number: int
    size: int
    etag: str
    modified_ns: int
    digests: dict[str, bytes] = {}
    label: str = ""


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an uploader says about an object; kept with it and returned with it.

    `headers` are those of KEPT_HEADERS, by lower-case name; `user` is the uploader's own, by lower-case name
    without any dialect's prefix. Values are header text (latin-1). `md5_etag` asks for the body's MD5 as entity
    tag, which some dialects' clients rely on ("md5" must be among the digests asked for at `begin`). `checksum` is
    what the uploader vouched for. `upload` is the id of the multipart upload that it came by, "" for none. `own_etag`
    asks, whatever else would be, for an entity tag that no other state has: what is described anew has the same bytes.
    It is a wish and is not kept.
    """

    content_type: str | None = None
    headers: dict[str, str] = {}
    user: dict[str, str] = {}
    md5_etag: bool = False
    checksum: Checksum | None = None
    upload: str = ""
    own_etag: bool = False


class ObjectInfo(msgspec.Struct, frozen=True):
    """One state of one object. `etag` is strong and quoted; `modified_ns` nanoseconds since the epoch.

    `parts` is how many parts it was uploaded in, 0 for one that came in one piece.
    """

    size: int
    etag: str
    modified_ns: int
    metadata: Metadata
    digests: dict[str, bytes] = {}
    parts: int = 0

    @property
    def modified(self) -> int:
        """Whole seconds, as Last-Modified shows it."""
        return self.modified_ns // 1_000_000_000


class Stretch(NamedTuple):
    """A stretch of an object: first byte and number of bytes."""

    start: int
    length: int


class OpenObject(Protocol):
    """An object opened for reading: one state, which a later replace or delete does not change."""

    info: ObjectInfo

    def fileno(self) -> int | None:
        """A descriptor to send the bytes from (sendfile), or None where this store has none."""

    async def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at `offset`, b"" at the end. Raises `storage_error`."""

    async def part_table(self) -> tuple[Part, ...]:
        """The parts it was uploaded in, in order, numbers as they were given; () for one that came in one piece."""

    def close(self) -> None:
        """Let go of it; harmless twice."""


ReadInto = Callable[[memoryview], int]
"""Fills the beginning of a buffer, and says with how many bytes: 0 where there are none for now. Waits only briefly."""


class Completed(NamedTuple):
    """An upload that is over: the state it came to, and whether no object was replaced."""

    info: ObjectInfo
    created: bool


class Upload(Protocol):
    """Bytes on their way in: `write`*, `finish`, `seal`, `publish` (or `complete` for both); or `abort` at any point.

    Nothing is visible to anyone before `publish`, and after `abort` (or a crash) nothing is left.
    """

    async def write(self, data: bytes) -> None:
        """Take the next bytes; returns when there is room for more. Raises `storage_full`."""

    async def pull(self, read_into: ReadInto, count: int) -> int:
        """Take up to `count` next bytes from `read_into`, which is called in a thread until it has none; how many.

        Raises as `write`.
        """

    async def finish(self) -> dict[str, bytes]:
        """No more bytes: the digests asked for at `begin`, over all of them."""

    async def seal(self, metadata: Metadata) -> ObjectInfo:
        """Bytes and metadata are durable, under no name yet. Raises `metadata_too_large`."""

    async def publish(self, conditions: Conditions, *, create_only: bool, last: LastCheck | None = None) -> bool:
        """Give it its name, atomically and durably; True where no object was replaced.

        Conditions are decided together with the write; what `last` raises ends it before. Raises
        `precondition_failed`, `exists` (where `create_only`), `conflict`; the object that stood there before then
        still does.
        """

    async def complete(
        self, metadata: Metadata, conditions: Conditions, *, create_only: bool, last: LastCheck | None = None
    ) -> Completed:
        """`seal` and `publish` in one, where nothing is to be done between them."""

    async def abort(self) -> None:
        """Forget everything; harmless after `publish` and twice."""


class Listed(msgspec.Struct, frozen=True):
    """One row of a list."""

    name: str
    size: int
    etag: str
    modified_ns: int
    metadata: Metadata = Metadata()
    digests: dict[str, bytes] = {}
    parts: int = 0

    @property
    def info(self) -> ObjectInfo:
        """The object's state, as opening it would tell."""
        return ObjectInfo(self.size, self.etag, self.modified_ns, self.metadata, self.digests, self.parts)


class Page(msgspec.Struct, frozen=True):
    """Rows in order of their names' UTF-8 bytes; `next_after` continues, None at the end.

    `prefixes` are the groups that a delimiter made, each standing for all names that begin with it. Rows and prefixes
    together are at most as many as were asked for, and `next_after` may be a prefix: it stands for all its names.
    """

    rows: list[Listed]
    next_after: str | None
    prefixes: list[str] = []


class BucketInfo(msgspec.Struct, frozen=True):
    """A bucket that exists. `created_ns` is nanoseconds since the epoch."""

    name: str
    created_ns: int


class Buckets(Protocol):
    """Buckets as things of their own: the admission's path (`/bucket/`, or an object's) says which one is meant."""

    async def all(self, admission: Admission) -> list[BucketInfo]:
        """All there are, by name; whoever asks leaves out what the key does not open."""

    async def one(self, admission: Admission) -> BucketInfo:
        """That one. Raises `bucket_not_found`."""

    async def create(self, admission: Admission) -> bool:
        """Make it, durably; False where it is there."""

    async def delete(self, admission: Admission) -> None:
        """Remove it while it is empty; unfinished uploads in it are given up. `bucket_not_found`, `conflict`."""

    async def setting(self, admission: Admission, name: str) -> bytes | None:
        """What `keep` kept under that name (a plain word), None where nothing is. Raises `bucket_not_found`."""

    async def keep(self, admission: Admission, name: str, value: bytes | None) -> None:
        """Keep it, durably, for all workers; None forgets it. Raises `bucket_not_found`."""

    def setting_now(self, bucket: str, name: str) -> bytes | None:
        """The same here and now, by a bucket's name alone; remembered, and looked at again by one stat."""


class Store(Protocol):
    """Objects by bucket and name. Safe to use from many tasks; every call is one consistent step."""

    async def open(self, admission: Admission) -> OpenObject:
        """The object's present state, whole. Raises `not_found`."""

    async def begin(self, admission: Admission, length: int | None, digests: frozenset[str]) -> Upload:
        """Prepare to take `length` bytes (None: not known), computing these digests as they arrive; where there are
        none, one of the store's choice, for rot to be found by.

        Room for the announced length is set aside now, or `storage_full` is raised. Raises `not_found`
        where the bucket does not exist and may not be made, `conflict` where the name can never be kept.
        """

    async def delete(self, admission: Admission, conditions: Conditions, last: LastCheck | None = None) -> bool:
        """Remove the object, durably; False where there was none. Conditions are decided with it.

        What `last` raises ends it before.
        """

    async def list(self, admission: Admission, prefix: str, after: str, limit: int, delimiter: str = "") -> Page:
        """Up to `limit` objects of its bucket whose names start with `prefix` and follow `after`.

        With a delimiter, names that hold it after the prefix are grouped up to its end. Raises `not_found` where
        there is no such bucket.
        """

    async def copy(
        self, admission: Admission, source: OpenObject, stretch: Stretch | None, digests: frozenset[str]
    ) -> Upload:
        """An upload whose bytes are those of `source`, or of a stretch of it; they are there when this returns.

        The file system shares or copies them where it can. Then `finish`, `seal` and `publish` as ever.
        """

    @property
    def buckets(self) -> Buckets:
        """Buckets as things of their own."""

    async def close(self) -> None:
        """Finish what was promised, let go of everything."""
