"""Uploads in parts against a model of them: whatever is done in whatever order, with restarts in between."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from valetstore.config import Bucket
from valetstore.errors import Denied

from .admissions import admitted
from .contract import Client
from .contract_uploads import BOTH, Parting, tag_of
from .test_disk_contract import store_at

T = TypeVar("T")
NAMES = st.sampled_from(["a", "b/c"])
NUMBERS = st.integers(1, 4)
BODIES = st.binary(max_size=40)
QUOTA = 100


class Uploading(RuleBasedStateMachine):
    """The model: objects by name, open uploads with their parts by number, and what a quota counts."""

    uploads = Bundle("uploads")

    @initialize()
    def begin(self) -> None:
        self.data = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.objects: dict[str, bytes] = {}
        self.open: dict[str, dict[int, bytes]] = {}
        self._open_store()

    def _open_store(self) -> None:
        self.store = store_at(self.data, {"b": Bucket(quota_bytes=QUOTA)})
        self.client = Client(self.store, "b")
        self.run(self.store.buckets.create(admitted("write", "b")))

    def run(self, call: Coroutine[object, object, T]) -> T:
        return self.runner.run(call)

    def code(self, call: Coroutine[object, object, object]) -> str:
        try:
            self.run(call)
        except Denied as denied:
            return denied.code
        return ""

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.data)

    def _parting(self, upload: tuple[str, str]) -> Parting:
        parting = Parting(self.client, upload[0])
        parting.id = upload[1]
        return parting

    def _used(self) -> int:
        parts = sum(len(body) for parts in self.open.values() for body in parts.values())
        return parts + sum(map(len, self.objects.values()))

    @rule(target=uploads, name=NAMES)
    def start(self, name: str) -> tuple[str, str]:
        parting = self.run(Parting.started(self.client, name))
        self.open[parting.id] = {}
        return name, parting.id

    @rule(upload=uploads, number=NUMBERS, body=BODIES)
    def put_part(self, upload: tuple[str, str], number: int, body: bytes) -> None:
        code = self.code(self._parting(upload).put(number, body))
        parts = self.open.get(upload[1])
        if parts is None:
            assert code == "upload_not_found"
        elif self._used() - len(parts.get(number, b"")) + len(body) > QUOTA:
            assert code == "storage_full"
        else:
            assert code == ""
            parts[number] = body

    @rule(upload=uploads, number=NUMBERS, body=BODIES)
    def give_up_a_part(self, upload: tuple[str, str], number: int, body: bytes) -> None:
        async def story() -> None:
            parting = self._parting(upload)
            part = await parting.uploads.begin_part(parting.admission, parting.id, number, None, BOTH)
            await part.write(body)
            await part.abort()

        assert self.code(story()) == ("" if upload[1] in self.open else "upload_not_found")

    @rule(upload=uploads, chosen=st.sets(NUMBERS), ends=st.booleans())
    def complete(self, upload: tuple[str, str], chosen: set[int], ends: bool) -> None:
        parting = self._parting(upload)
        parts = self.open.get(upload[1])
        if parts is None:
            assert self.code(parting.parts()) == "upload_not_found"
            return
        named = [part for part in self.run(parting.parts()) if part.number in chosen]
        code = self.code(parting.complete(named))
        bodies = [parts[part.number] for part in named]
        size = sum(map(len, bodies))
        standing = len(self.objects.get(upload[0], b""))
        if not named:
            assert code == "part_invalid"
        elif self._used() - standing > QUOTA:  # what the whole takes its parts give back
            assert code == "storage_full"
        else:
            assert code == "", size
            self.objects[upload[0]] = b"".join(bodies)
            assert self.run(self.client.info(upload[0])).etag == tag_of(*bodies)
            if ends or self._used() > QUOTA:
                self.end(upload)

    @rule(upload=uploads)
    def end(self, upload: tuple[str, str]) -> None:
        self.run(self._parting(upload).end())
        self.open.pop(upload[1], None)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        assert self.run(self.client.delete(name)) == (self.objects.pop(name, None) is not None)

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self._open_store()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        for name, body in self.objects.items():
            assert self.run(self.client.get(name)) == body
        assert self.run(self.client.names()) == sorted(self.objects)
        page = self.run(self.store.uploads.page(admitted("list", "b"), "", ("", ""), 1000))
        assert {row.id for row in page.rows} == self.open.keys()
        for row in page.rows:
            parts = self.run(self._parting((row.name, row.id)).parts())
            assert {part.number: part.size for part in parts} == {
                number: len(body) for number, body in self.open[row.id].items()
            }
        root = self.store._roots.of("b")
        assert self.store._quota.used(root) == self._used()


Uploading.TestCase.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestUploading = Uploading.TestCase
