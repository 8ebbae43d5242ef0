"""Generations: Google's numbers for the states of an object, and the conditions that name them.

A state's generation is the time it was written, in microseconds since the epoch, as Google's are; there is one state at
a time. Its metageneration is always 1: metadata changes only with the object.

Rule 1: a write's condition is judged against the object that is there, and the write is then bound to that one's entity
tag: what comes in between is not replaced for what it is not.
"""

from typing import Final

import msgspec

from valetstore.conditions import ANY, Conditions, Outcome
from valetstore.edge.nodes import argument_invalid
from valetstore.edge.replies import Header
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage.promise import ObjectInfo

METAGENERATION: Final = 1
_MATCH: Final = "x-goog-if-generation-match"
_NOT_MATCH: Final = "x-goog-if-generation-not-match"
_META_MATCH: Final = "x-goog-if-metageneration-match"
_META_NOT_MATCH: Final = "x-goog-if-metageneration-not-match"


class Wanted(msgspec.Struct, frozen=True):
    """The generations that a request names; None where it names none. Generation 0 is no object."""

    match: int | None = None
    not_match: int | None = None
    meta_match: int | None = None
    meta_not_match: int | None = None

    def is_met(self, info: ObjectInfo | None) -> bool:
        """Whether this state (None: no object) is what a write asks for."""
        generation, meta = (0, 0) if info is None else (generation_of(info.modified_ns), METAGENERATION)
        return (
            self.match in (None, generation)
            and (self.not_match is None or self.not_match != generation)
            and self.meta_match in (None, meta)
            and (self.meta_not_match is None or self.meta_not_match != meta)
        )

    def for_read(self, info: ObjectInfo, conditions: Conditions) -> Conditions:
        """A read's conditions, with what these say of the object that is there. Raises `precondition_failed`."""
        generation = generation_of(info.modified_ns)
        if self.match not in (None, generation) or self.meta_match not in (None, METAGENERATION):
            raise Denied("precondition_failed")
        if self.not_match == generation or self.meta_not_match == METAGENERATION:
            return Conditions(if_none_match=ANY)
        return conditions

    def for_write(self, info: ObjectInfo | None, conditions: Conditions) -> Conditions:
        """A write's conditions, bound to the state that these were held against.

        Raises `exists` where there may be none, `precondition_failed`.
        """
        if self == Wanted():
            return conditions
        if self.match == 0 and info is not None:
            raise Denied("exists")
        if not self.is_met(info):
            raise Denied("precondition_failed")
        if info is None:
            return msgspec.structs.replace(conditions, if_none_match=ANY)
        return bound_to(info, conditions)


def bound_to(info: ObjectInfo, conditions: Conditions) -> Conditions:
    """A write's conditions for this state alone, for which they hold now: what else they would allow may be unsigned.

    Raises `precondition_failed`.
    """
    if conditions.judge(info.etag, info.modified, is_read=False) is Outcome.FAILED:
        raise Denied("precondition_failed")
    return msgspec.structs.replace(conditions, if_match=(info.etag,))


def wanted_by(inbound: Inbound) -> Wanted:
    """What a request's headers name. Raises `parameter_invalid`."""
    return Wanted(*(_number(inbound, name) for name in (_MATCH, _NOT_MATCH, _META_MATCH, _META_NOT_MATCH)))


def generation_of(modified_ns: int) -> int:
    """Microseconds since the epoch."""
    return modified_ns // 1000


def generation_headers(info: ObjectInfo) -> list[Header]:
    """As responses carry it."""
    return [
        ("x-goog-generation", str(generation_of(info.modified_ns))),
        ("x-goog-metageneration", str(METAGENERATION)),
    ]


def check_generation(inbound: Inbound, info: ObjectInfo) -> None:
    """`?generation=`: the one there is, or `not_found`. Raises `parameter_invalid`."""
    text = inbound.parameter("generation")
    if not text:
        return
    if _parsed("generation", text) != generation_of(info.modified_ns):
        raise Denied("not_found", "There is no such generation.")


def _number(inbound: Inbound, name: str) -> int | None:
    text = inbound.header(name)
    return None if text is None else _parsed(name, text)


def _parsed(name: str, text: str) -> int:
    try:
        return wire_int(text)
    except ValueError:
        raise argument_invalid("It is a generation: a number.", name, text) from None
