"""Where a sealed draft goes: under an object's name, or into an upload as a part of it (`multipart/part.py`)."""

from typing import Protocol

from valetstore.conditions import Conditions
from valetstore.storage.durable import Durable
from valetstore.storage.joint import Joint
from valetstore.storage.naming import Given, Naming
from valetstore.storage.promise import Metadata
from valetstore.storage.roots import Root, Roots
from valetstore.storage.spill import Spills
from valetstore.storage.temp import TempFile


class Workshop:
    """What every draft of a store needs."""

    def __init__(self, roots: Roots, naming: Naming, durable: Durable, spills: Spills) -> None:
        self.roots = roots
        self.naming = naming
        self.durable = durable
        self.spills = spills


class Place(Protocol):
    """One place. Blocks; raises Denied and OSError."""

    @property
    def bucket(self) -> str:
        """The bucket, for what is remembered of its volume."""

    @property
    def name(self) -> str:
        """The object's name."""

    def described(self, metadata: Metadata) -> Metadata:
        """What is kept of what the uploader says."""

    def publish(self, temp: TempFile, size: int, conditions: Conditions, *, create_only: bool) -> bool:
        """Put the sealed file there, atomically and durably; True where nothing was replaced."""


class ObjectPlace:
    """An object's name. `gives_back` bytes of the bucket's quota are free again once it is there."""

    def __init__(self, workshop: Workshop, root: Root, name: str, gives_back: int = 0) -> None:
        self._workshop = workshop
        self.root = root
        self._gives_back = gives_back
        self.bucket = root.bucket
        self.name = name

    def described(self, metadata: Metadata) -> Metadata:
        """All of it."""
        return metadata

    def publish(self, temp: TempFile, size: int, conditions: Conditions, *, create_only: bool) -> bool:
        """Give it its name; True where no object was replaced."""
        with self.joint() as joint:
            given = self.give(joint, temp, size, conditions, create_only=create_only)
            joint.settle()
            return self.settled(joint, given)

    def joint(self) -> Joint:
        """The folders for this name, and for others of its bucket that are given together with it."""
        return self._workshop.naming.joint(self._workshop.roots, self.root)

    def give(self, joint: Joint, temp: TempFile, size: int, conditions: Conditions, *, create_only: bool) -> Given:
        """The first half of `publish`: `joint.settle` and then `settled` must follow."""
        naming = self._workshop.naming
        return naming.give(
            joint, self.name, temp, size, conditions, create_only=create_only, gives_back=self._gives_back
        )

    def settled(self, joint: Joint, given: Given) -> bool:
        """True where no object was replaced."""
        return self._workshop.naming.settled(joint, given)
