"""What every store promises of blocks: parts by name, of an upload that nobody begins; see `contract.py`."""

import asyncio
import hashlib
from collections.abc import Sequence

import pytest

from valetstore.conditions import Conditions
from valetstore.grants.grant import Admission
from valetstore.storage.promise import CRC32, Metadata, ObjectInfo, Part
from valetstore.storage.uploads import Chosen, Staged, Started

from .admissions import admitted
from .contract import NONE, PLAIN, Client, code_of
from .contract_uploads import BOTH, UploadsContract, opened, tag_of


class Blocking:
    """One object that comes in blocks, in short sentences."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.blocks = client.store.uploads.blocks
        self.admission: Admission = admitted("write", client.bucket, name)
        self.name = name

    async def put(self, label: str, data: bytes, size_max: int | None = None) -> bool:
        upload = await self.blocks.begin(self.admission, label, len(data), BOTH, size_max)
        try:
            await upload.write(data)
            await upload.finish()
            await upload.seal(PLAIN)
            return await upload.publish(NONE, create_only=False)
        finally:
            await upload.abort()

    async def labels(self) -> list[str]:
        return [part.label for part in await self.blocks.staged(self.admission)]

    async def waiting(self, *but: str) -> Staged:
        return await self.blocks.waiting(self.admission, but)

    async def chosen(self, *labels: str) -> list[Chosen]:
        found = {part.label: Chosen(part) for part in await self.blocks.staged(self.admission, labels)}
        return [found[label] for label in labels]

    async def present(self) -> dict[str, Chosen]:
        """The object's own blocks, and where each begins."""
        found = await opened(self.client, self.name)
        table = await found.part_table()
        found.close()
        places = [sum(part.size for part in table[:number]) for number in range(len(table))]
        return {part.label: Chosen(part, at) for part, at in zip(table, places, strict=True)}

    async def commit(
        self, chosen: Sequence[Chosen], metadata: Metadata = PLAIN, conditions: Conditions = NONE
    ) -> ObjectInfo:
        present = await opened(self.client, self.name) if any(one.at is not None for one in chosen) else None
        try:
            upload, info = await self.blocks.assemble(self.admission, chosen, present, metadata)
            try:
                await upload.publish(conditions, create_only=False)
            finally:
                await upload.abort()
        finally:
            if present is not None:
                present.close()
        await self.discard()
        return info

    async def discard(self) -> None:
        await self.blocks.discard(self.admission)


class BlocksContract(UploadsContract):
    """Everything of `UploadsContract`, and this."""

    def test_blocks_become_an_object_in_the_order_that_is_asked_for(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "deep/x")
            for label, data in (("AA", b"one"), ("BB", b"two" * 100_000), ("CC", b"three")):
                assert await parts.put(label, data)
            assert await client.names() == []
            info = await parts.commit(await parts.chosen("CC", "AA", "BB", "AA"), Metadata("text/x"))
            bodies = b"three", b"one", b"two" * 100_000, b"one"
            assert await client.get("deep/x") == b"".join(bodies)
            assert await client.info("deep/x") == info
            assert (info.etag, info.parts, info.metadata.content_type) == (tag_of(*bodies), 4, "text/x")
            assert info.digests[CRC32] == await self._crc32(client, b"".join(bodies))
            found = await opened(client, "deep/x")
            table = await found.part_table()
            found.close()
            assert [(part.number, part.label, part.size) for part in table] == [
                (1, "CC", 5),
                (2, "AA", 3),
                (3, "BB", 300_000),
                (4, "AA", 3),
            ]
            assert await parts.labels() == []

        self.run(client, story)

    @staticmethod
    async def _crc32(client: Client, data: bytes) -> bytes:
        upload = await client.begin("other", len(data), frozenset({CRC32}))
        await upload.write(data)
        digests = await upload.finish()
        await upload.abort()
        return digests[CRC32]

    def test_a_block_replaces_one_of_its_label_and_no_other(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts, other = Blocking(client, "x"), Blocking(client, "y")
            assert await parts.put("AA", b"old")
            assert not await parts.put("AA", b"newer")
            assert await parts.put("BB", b"b")
            assert await other.put("AA", b"other's")
            assert await parts.waiting() == Staged(2, 6, 2)
            assert await parts.waiting("AA", "ZZ") == Staged(1, 1, 2)
            await parts.commit(await parts.chosen("AA"))
            assert await client.get("x") == b"newer"
            assert await other.labels() == ["AA"]
            assert await parts.waiting() == Staged(0, 0, 0)

        self.run(client, story)

    def test_an_object_can_be_made_of_its_own_blocks_and_of_new_ones(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            for label, data in (("AA", b"aaa"), ("BB", b"bb")):
                await parts.put(label, data)
            await parts.commit(await parts.chosen("AA", "BB"))
            await parts.put("CC", b"c")
            own = await parts.present()
            first = await parts.commit([own["BB"], *await parts.chosen("CC"), own["AA"]])
            assert await client.get("x") == b"bbcaaa"
            assert first.etag == tag_of(b"bb", b"c", b"aaa")
            own = await parts.present()
            assert list(own) == ["BB", "CC", "AA"]
            await parts.commit([own["AA"]])
            assert await client.get("x") == b"aaa"

        self.run(client, story)

    def test_of_no_blocks_an_object_is_empty(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            await parts.put("AA", b"a")
            info = await parts.commit([], Metadata("text/x", md5_etag=True))
            assert (info.size, info.parts, info.etag) == (0, 0, f'"{hashlib.md5().hexdigest()}"')
            assert await client.get("x") == b""
            assert await parts.labels() == []

        self.run(client, story)

    def test_what_changed_meanwhile_is_not_taken(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            await parts.put("AA", b"a")
            chosen = await parts.chosen("AA")
            await parts.put("AA", b"b")
            assert await code_of(parts.commit(chosen)) == "part_invalid"
            await parts.discard()
            await parts.discard()  # harmless twice
            assert await code_of(parts.commit(chosen)) == "upload_not_found"
            assert await client.names() == []
            assert await parts.put("LONGER", b"c")
            assert await parts.labels() == ["LONGER"]

        self.run(client, story)

    def test_blocks_may_not_be_larger_than_what_is_allowed_together(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            assert await parts.put("AA", bytes(6), size_max=10)
            assert await code_of(parts.put("BB", bytes(5), size_max=10)) == "too_large"
            assert not await parts.put("AA", bytes(10), size_max=10)
            late = await parts.blocks.begin(parts.admission, "BB", None, BOTH, 12)
            await late.write(bytes(3))
            await late.seal(PLAIN)
            assert await code_of(late.publish(NONE, create_only=False)) == "too_large"
            await late.abort()
            assert await parts.waiting() == Staged(1, 10, 2)

        self.run(client, story)

    @pytest.mark.parametrize("label", ["", "A", "AAA", "a" * 121])
    def test_labels_of_one_object_are_of_one_length(self, client: Client, label: str) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            await parts.put("AA", b"a")
            assert await code_of(parts.put(label, b"b")) == "part_invalid"
            assert await parts.labels() == ["AA"]

        self.run(client, story)

    def test_conditions_are_decided_with_the_publish(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            await parts.put("AA", b"a")
            chosen = await parts.chosen("AA")
            call = parts.commit(chosen, conditions=Conditions(if_match=('"0"',)))
            assert await code_of(call) == "precondition_failed"
            assert await client.names() == []
            assert await parts.labels() == ["AA"]
            await parts.commit(chosen)

        self.run(client, story)

    def test_many_at_once_are_all_there(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            labels = [f"{number:03d}" for number in range(40)]
            await asyncio.gather(*(parts.put(label, label.encode()) for label in labels))
            assert await parts.labels() == labels
            assert await parts.waiting() == Staged(40, 120, 3)
            await parts.commit(await parts.chosen(*labels))
            assert await client.get("x") == "".join(labels).encode()

        self.run(client, story)

    def test_blocks_are_no_upload_that_anybody_lists_or_completes(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parts = Blocking(client, "x")
            await parts.put("AA", b"a")
            await client.store.uploads.start(admitted("write", client.bucket, "y"), Started())
            page = await client.store.uploads.page(admitted("list", client.bucket), "", ("", ""), 10)
            assert [row.name for row in page.rows] == ["y"]

        self.run(client, story)

    def test_blocks_of_a_missing_object_are_none(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("z", b"")
            parts = Blocking(client, "x")
            assert await parts.labels() == []
            assert await parts.waiting("AA") == Staged(0, 0, 0)
            part = Part(0, 1, f'"{hashlib.md5(b"a").hexdigest()}"', 0, {}, "AA")
            assert await code_of(parts.commit([Chosen(part)])) == "upload_not_found"

        self.run(client, story)
