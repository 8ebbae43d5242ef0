"""One block: how it comes to the others of its object, and how many of them there may be."""

import os
import time

from valetstore.conditions import Conditions
from valetstore.errors import Denied
from valetstore.storage.multipart import keeping, tally
from valetstore.storage.multipart.part import KEPT, Bench, put
from valetstore.storage.multipart.shelf import blocks_id, part_entry
from valetstore.storage.place import Workshop
from valetstore.storage.promise import Metadata
from valetstore.storage.roots import Root
from valetstore.storage.temp import TempFile
from valetstore.storage.uploads import STAGED_MAX, Staged, Started


def check_room(staged: Staged, upload: int, entry: bytes, label: str, length: int, size_max: int | None) -> Staged:
    """What there is once this block is put there.

    Raises `part_invalid` (its label is of another length than the others', there are too many), `too_large`.
    """
    if staged.blocks and staged.label_length != len(label):
        raise Denied("part_invalid", "All blocks of one object have names of one length.")
    try:
        state = os.stat(entry, dir_fd=upload, follow_symlinks=False)
    except FileNotFoundError:
        is_new, standing = True, 0
    else:
        is_new, standing = False, state.st_size
    if is_new and staged.blocks >= STAGED_MAX:
        said = f"At most {STAGED_MAX} blocks of one object wait to be used."
        raise Denied("part_invalid", said, count_max=STAGED_MAX)
    size = staged.size - standing + length
    if size_max is not None and size > size_max:
        raise Denied("too_large", f"At most {size_max} bytes.", size=size, size_max=size_max)
    return Staged(staged.blocks + is_new, size, len(label))


class BlockPlace:
    """The place of one block. The last one of its label that is put there stays."""

    def __init__(
        self, bench: Bench, workshop: Workshop, root: Root, name: str, parent: str, label: str, size_max: int | None
    ) -> None:
        self._bench = bench
        self._workshop = workshop
        self._root = root
        self._parent = parent
        self._label = label
        self._size_max = size_max
        self.bucket = root.bucket
        self.name = name

    def described(self, metadata: Metadata) -> Metadata:
        """Its entity tag is its MD5; nothing else is said of a block."""
        return KEPT

    def publish(self, temp: TempFile, size: int, conditions: Conditions, *, create_only: bool) -> bool:
        """Put it there, with the folder where that is not there any more; True where there was none of its label."""
        bench, upload_id = self._bench, blocks_id(self.name)
        # The lock keeps `close` from taking the folder, and two from being counted as one.
        with bench.locks.of(self.bucket, upload_id):
            upload = self._opened(upload_id)
            try:
                created = self._put(temp, size, upload)
            except BaseException:
                os.close(upload)
                raise
        try:
            bench.durable.sync_name(upload, self.bucket)
        finally:
            os.close(upload)
        return created

    def _opened(self, upload_id: str) -> int:
        bench = self._bench
        try:
            return bench.shelf.open_upload(self._parent, self.bucket, upload_id)
        except FileNotFoundError:
            os.close(self._workshop.roots.open_to_write(self._root, create=False))  # it may have gone meanwhile
            created_ns = time.time_ns()
            started = Started(id=upload_id, bucket=self.bucket, name=self.name, created_ns=created_ns, of_blocks=True)
            keeping.keep(bench, self._root, self._parent, started)
        return bench.shelf.open_upload(self._parent, self.bucket, upload_id)

    def _put(self, temp: TempFile, size: int, upload: int) -> bool:
        entry = part_entry(0, self._label)
        if not tally.is_there(upload):
            # Whoever made the folder may have been killed before its name was durable.
            keeping.sync_names(self._bench, self._root, self._parent)
            tally.make(upload)
        staged = check_room(tally.read(upload), upload, entry, self._label, size, self._size_max)
        created = put(self._bench, self._root, upload, entry, temp, size)
        tally.write(upload, staged)
        return created
