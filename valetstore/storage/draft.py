"""The half of an upload that blocks: hash, write, seal, publish, drop. Each call runs in a worker thread.

The story of a put: a temp file, its bytes, the attribute, fsync, the name, fsync of the folder. A crash at
any point before the name leaves nothing that anyone sees; after it, the whole object.

Rule 1: one call at a time, kept by a lock: a task that is cancelled leaves its thread running, and `drop`
must not close (and the system not hand out again) a descriptor that is still written to.
Rule 2: after a failure every further step is refused: what failed once is not whole.
"""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from valetstore.conditions import Conditions
from valetstore.errors import Denied
from valetstore.storage import metadata
from valetstore.storage.durable import Durable
from valetstore.storage.naming import Naming, Target
from valetstore.storage.promise import SHA256, Metadata, ObjectInfo
from valetstore.storage.roots import Root, Roots
from valetstore.storage.space import Hold
from valetstore.storage.temp import TempFile, TempFolder


class Workshop:
    """What every draft of a store needs."""

    def __init__(self, roots: Roots, naming: Naming, durable: Durable) -> None:
        self.roots = roots
        self.naming = naming
        self.durable = durable


class Draft:
    """An object that has no name yet. Methods block; they raise Denied and OSError."""

    def __init__(
        self, workshop: Workshop, root: Root, name: str, temp: TempFolder, hold: Hold, digests: frozenset[str]
    ) -> None:
        self._workshop = workshop
        self._root = root
        self._name = name
        self._temp_folder = temp
        self._temp: TempFile | None = None
        self._hold = hold
        # SHA-256 in any case: it is kept, so that a scrub can find rot.
        self._hashes = {digest: hashlib.new(digest, usedforsecurity=False) for digest in sorted(digests | {SHA256})}
        self._size = 0
        self._busy = threading.Lock()
        self._is_over = False
        self._is_sealed = False

    def hash(self, chunks: Sequence[bytes]) -> None:
        """Count these bytes in, without writing them."""
        for chunk in chunks:
            for digest in self._hashes.values():
                digest.update(chunk)

    def digests(self) -> dict[str, bytes]:
        """Of all bytes hashed so far, by algorithm."""
        return {name: digest.digest() for name, digest in self._hashes.items()}

    def take(self, chunks: Sequence[bytes]) -> None:
        """Hash and write the next bytes."""
        with self._step():
            self.hash(chunks)
            self._write(chunks)

    def seal(self, rest: Sequence[bytes], described: Metadata) -> ObjectInfo:
        """Write the last bytes (hashed already), attach what is known of them, make both durable."""
        with self._step():
            temp = self._write(rest)
            state = os.fstat(temp.fd)
            if state.st_size != self._size:
                raise Denied("storage_error", size=state.st_size, written=self._size)
            info = metadata.describe(self._size, state.st_mtime_ns, described, self.digests())
            metadata.attach(temp.fd, metadata.encode(info))
            self._workshop.durable.sync(temp.fd, self._root.bucket)
            self._is_sealed = True
            return info

    def _write(self, chunks: Sequence[bytes]) -> TempFile:
        if self._temp is None:
            self._temp = TempFile(self._temp_folder)
        count = sum(map(len, chunks))
        if count:
            self._hold.write(self._temp.fd, count)
            self._temp.write(chunks)
            self._size += count
        return self._temp

    def publish(self, conditions: Conditions, create_only: bool) -> bool:
        """Name it, whatever comes of it let go of the temp file; True where no object was replaced."""
        with self._step():
            if self._temp is None or not self._is_sealed:
                raise Denied("internal_error", reason="published before it was sealed")
            root_fd = self._workshop.roots.open_to_write(self._root, create=False)
            try:
                target = Target.of(self._root, root_fd, self._name)
                created = self._workshop.naming.publish(
                    self._temp, target, self._size, conditions, create_only=create_only
                )
            finally:
                os.close(root_fd)
            self._let_go()
            return created

    def drop(self) -> None:
        """Leave nothing behind; harmless twice and after `publish`."""
        with self._busy:
            self._let_go()

    def _let_go(self) -> None:
        self._is_over = True
        self._hold.release()
        temp, self._temp = self._temp, None
        if temp is not None:
            temp.close()

    @contextmanager
    def _step(self) -> Iterator[None]:
        with self._busy:
            if self._is_over:
                raise Denied("internal_error", reason="the upload is over")
            try:
                yield
            except BaseException:
                self._let_go()
                raise
