"""A commit that meets another one half way: what is missing is looked for again where the blob has changed."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from valetstore.conditions import Conditions
from valetstore.edge.azure import committing
from valetstore.edge.call import Call
from valetstore.errors import Denied
from valetstore.storage.promise import Metadata

CALL = cast(Call, SimpleNamespace())


class Stage:
    """The blob that stands there at each look, and a commit that finds no block as long as there is none."""

    def __init__(self, looks: list[str | None]) -> None:
        self.looks = looks
        self.commits = 0

    async def present_of(self, _call: Call) -> Any:
        etag = self.looks.pop(0)
        info = SimpleNamespace(etag=etag, modified_ns=1)
        return etag and SimpleNamespace(info=info, close=lambda: None)

    async def commit(self, *about: Any) -> str:
        self.commits += 1
        if about[-1] is None:
            raise Denied("part_invalid").saying("InvalidBlockList")
        return "made"


def committed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Any:
    async def discard(_call: Call) -> None:
        pass

    for name, instead in (("present_of", stage.present_of), ("_commit", stage.commit), ("discard_blocks", discard)):
        monkeypatch.setattr(committing, name, instead)
    return asyncio.run(committing._committed(CALL, [], Metadata(), Conditions()))


def test_a_block_that_another_commit_has_taken_meanwhile_is_found_in_the_blob(monkeypatch: pytest.MonkeyPatch) -> None:
    assert committed(Stage([None, '"1"', '"1"']), monkeypatch) == "made"


def test_a_block_that_there_is_none_of_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage([None, None])
    with pytest.raises(Denied) as caught:
        committed(stage, monkeypatch)
    assert (caught.value.code, stage.commits) == ("part_invalid", 1)
