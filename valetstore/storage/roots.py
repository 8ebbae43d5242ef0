"""A bucket is a root folder and a layout: where it is, how it is opened, when it may be made.

Rule 1: a bucket exists when its folder does. Without a setting it is `<data>/objects/<bucket>`.
Rule 2: an operator's root may itself be reached over a symbolic link; nothing below a root is.
Rule 3: a configured root that was there and is gone is an unmounted disk, not a bucket to make anew: writes
to the empty mount point would be hidden by the mount. The same where the folder is still there and is on
another device than before: `open` answers `storage_unavailable` until the device is back, or for good until a
restart where the file system comes back under another number.
"""

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from valetstore.config import Bucket
from valetstore.errors import ConfigInvalid, Denied
from valetstore.objectkey import check_bucket
from valetstore.storage.durable import sync_folder
from valetstore.storage.layout import LAYOUTS, Layout

FOLDER_MODE = 0o700
_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_DEFAULTS = Bucket()
_OBJECTS = ""
"""No bucket's name: what is known of the folder of all buckets without a root of their own."""


_KNOWN_MAX = 1024


class Root(NamedTuple):
    """Where one bucket's objects are: `path` absolute, `quota` bytes, `tidies` whether empty folders go."""

    bucket: str
    path: str
    layout: Layout
    is_configured: bool
    read_only: bool
    quota: int | None
    tidies: bool


class Roots:
    """All buckets of a store, those of the settings and those that are only folders."""

    def __init__(
        self, data: Path, buckets: Mapping[str, Bucket], *, create: bool, devices: Mapping[str, int] | None = None
    ) -> None:
        self.objects = str(data / "objects")
        self._settings = dict(buckets)
        self.creates = create
        """Whether buckets without a root of their own may be made by whoever stores."""
        self._known: dict[str, Root] = {}
        # By configured bucket, and `_OBJECTS`: the device it was first found on.
        self._seen: dict[str, int] = dict(devices or {})
        self._lock = threading.Lock()

    @property
    def devices(self) -> dict[str, int]:
        """What was found so far, for another process to go by."""
        with self._lock:
            return dict(self._seen)

    def of(self, bucket: str) -> Root:
        """The bucket's root, whether or not it exists. Raises `object_key_invalid`."""
        root = self._known.get(bucket)
        if root is None:
            check_bucket(bucket)
            root = self._root(bucket)
            if len(self._known) >= _KNOWN_MAX:  # they are as many as requests can name
                self._known.clear()
            self._known[bucket] = root
        return root

    def _root(self, bucket: str) -> Root:
        setting = self._settings.get(bucket, _DEFAULTS)
        return Root(
            bucket=bucket,
            path=setting.root or f"{self.objects}/{bucket}",
            layout=LAYOUTS[setting.layout],
            is_configured=bool(setting.root),
            read_only=setting.read_only,
            quota=setting.quota_bytes,
            tidies=setting.layout == "objects",
        )

    def open(self, root: Root) -> int:
        """A descriptor of the root (O_PATH: a place to start from).

        Raises `storage_unavailable` where the disk it is on has gone, FileNotFoundError where there is no
        such bucket, OSError.
        """
        if not root.is_configured and not self._is_same(_OBJECTS, self.objects):
            raise Denied("storage_unavailable", missing=self.objects)
        was_there = root.bucket in self._seen  # asked before: another task may make and see it meanwhile
        try:
            fd = os.open(root.path, _OPEN if root.is_configured else _OPEN | os.O_NOFOLLOW)
        except FileNotFoundError:
            # An unmounted disk must not look like deleted objects.
            if was_there or not os.path.isdir(os.path.dirname(root.path)):
                raise Denied("storage_unavailable", missing=root.path) from None
            raise
        if root.is_configured and not self._is_same(root.bucket, fd):
            os.close(fd)
            raise Denied("storage_unavailable", missing=root.path)
        return fd

    def _is_same(self, seen: str, place: str | int) -> bool:
        """Whether that folder is on the device it was first found on: a mount point outlives its mount."""
        try:
            device = os.stat(place).st_dev
        except OSError:
            return False
        known = self._seen.get(seen)
        if known is None:
            with self._lock:
                known = self._seen.setdefault(seen, device)
        return known == device

    def check_apart(self, data: Path) -> None:
        """Raise ConfigInvalid where a configured root overlaps the data directory or another root.

        A bucket over the data directory would hand out the key ring; two over one folder would each ignore
        what the other's settings forbid.
        """
        places = {"storage.data": os.path.realpath(data)}
        for name, setting in self._settings.items():
            if not setting.root:
                continue
            path = os.path.realpath(setting.root)
            for other, taken in places.items():
                if os.path.commonpath((path, taken)) in (path, taken):
                    raise ConfigInvalid(
                        f"buckets.{name}.root: {setting.root!r}: overlaps {other} ({taken}); it must be a folder apart"
                    )
            places[f"buckets.{name}.root"] = path

    def missing(self) -> list[str]:
        """Folders that were there and have gone, or their device: of configured buckets, and the one of all others."""
        with self._lock:
            buckets = [bucket for bucket in self._seen if bucket != _OBJECTS]
        watched = [(_OBJECTS, self.objects), *((bucket, self.of(bucket).path) for bucket in buckets)]
        return [path for seen, path in watched if not (os.path.isdir(path) and self._is_same(seen, path))]

    def open_to_write(self, root: Root, *, create: bool = True) -> int:
        """The same for a write; makes the bucket, durably, where that is wanted and allowed.

        Raises `operation_not_allowed` (read-only) and `not_found` (may not be made) too.
        """
        if root.read_only:
            raise Denied("operation_not_allowed", "This bucket is read-only.")
        with suppress(FileNotFoundError):
            return self.open(root)
        if not (create and self.creates):
            raise Denied("not_found", bucket=root.bucket)
        self.make(root)
        return self.open(root)

    def make(self, root: Root) -> None:
        """Make the root's folder, not its parents. Raises OSError."""
        try:
            os.mkdir(root.path, FOLDER_MODE)
        except FileExistsError:
            return  # another task or worker was quicker; who stores into it syncs the parent (`folders.py`)
        sync_folder(os.path.dirname(root.path))

    def existing(self) -> list[Root]:
        """Every bucket that has a folder now, by name. Raises OSError."""
        names = set(self._settings)
        self._is_same(_OBJECTS, self.objects)  # what it is on from now on
        with os.scandir(self.objects) as entries:
            names.update(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return [root for root in map(self._named, sorted(names)) if root and os.path.isdir(root.path)]

    def _named(self, name: str) -> Root | None:
        try:
            return self.of(name)
        except Denied:  # a stray folder whose name no bucket can have
            return None
