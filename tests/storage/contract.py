"""What every store promises, as tests. A store's own file subclasses `StoreContract` and says how to make one.

Nothing here knows a disk: a test sees only the Store.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import pytest

from valetstore.conditions import ANY, Conditions
from valetstore.errors import Denied
from valetstore.storage import checksums
from valetstore.storage.promise import Metadata, ObjectInfo, Page, Store, Upload
from valetstore.storage.uploads import Uploads

from .admissions import admitted

T = TypeVar("T")
NONE = Conditions()
PLAIN = Metadata()


class WholeStore(Store, Protocol):
    """A store that takes uploads in parts too."""

    @property
    def uploads(self) -> Uploads: ...


class Client:
    """A store, spoken to in short sentences about one bucket."""

    def __init__(self, store: WholeStore, bucket: str) -> None:
        self.store = store
        self.bucket = bucket

    async def begin(self, name: str, length: int | None = None, digests: frozenset[str] = frozenset()) -> Upload:
        return await self.store.begin(admitted("write", self.bucket, name), length, digests)

    async def put(
        self,
        name: str,
        data: bytes,
        metadata: Metadata = PLAIN,
        conditions: Conditions = NONE,
        *,
        create_only: bool = False,
        in_one_step: bool = True,
    ) -> bool:
        upload = await self.begin(name, len(data), frozenset({"md5"}) if metadata.md5_etag else frozenset())
        try:
            await upload.write(data)
            await upload.finish()
            if in_one_step:
                return (await upload.complete(metadata, conditions, create_only=create_only)).created
            await upload.seal(metadata)
            return await upload.publish(conditions, create_only=create_only)
        finally:
            await upload.abort()

    async def get(self, name: str) -> bytes:
        found = await self.store.open(admitted("read", self.bucket, name))
        try:
            parts = []
            offset = 0
            while part := await found.read(offset, 300_000):
                parts.append(part)
                offset += len(part)
            return b"".join(parts)
        finally:
            found.close()

    async def info(self, name: str) -> ObjectInfo:
        found = await self.store.open(admitted("read", self.bucket, name))
        found.close()
        return found.info

    async def delete(self, name: str, conditions: Conditions = NONE) -> bool:
        return await self.store.delete(admitted("delete", self.bucket, name), conditions)

    async def page(self, prefix: str = "", after: str = "", limit: int = 1000) -> Page:
        return await self.store.list(admitted("list", self.bucket), prefix, after, limit)

    async def names(self, prefix: str = "", after: str = "", limit: int = 1000) -> list[str]:
        """All names, page by page."""
        names: list[str] = []
        while True:
            page = await self.page(prefix, after, limit)
            assert len(page.rows) <= limit
            names += [row.name for row in page.rows]
            if page.next_after is None:
                return names
            after = page.next_after


async def code_of(call: Awaitable[object]) -> str:
    """The code of the refusal that this must end in."""
    with pytest.raises(Denied) as caught:
        await call
    return caught.value.code


async def succeeds(call: Awaitable[object], unless: set[str]) -> bool:
    """Whether it does; a refusal with any other code is the test's failure."""
    try:
        await call
    except Denied as denied:
        if denied.code not in unless:
            raise
        return False
    return True


def check_digests(digests: Mapping[str, bytes], body: bytes) -> None:
    """There is one at least, for a scrub to find rot by, and each is that of the body."""
    assert digests
    for algorithm, digest in digests.items():
        whole = checksums.new(algorithm)
        whole.update(body)
        assert digest == whole.digest(), algorithm


class StoreContract:
    """Subclasses give `client`: a fixture with a Client of a fresh store and an existing or creatable bucket."""

    def run(self, client: Client, story: Callable[[Client], Awaitable[T]]) -> T:
        async def told() -> T:
            try:
                return await story(client)
            finally:
                await client.store.close()

        return asyncio.run(told())

    @pytest.mark.parametrize("in_one_step", [True, False])
    @pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20 + 7])
    def test_what_was_put_is_what_is_got(self, client: Client, size: int, in_one_step: bool) -> None:
        async def story(client: Client) -> None:
            data = bytes(i * 31 % 251 for i in range(4096)) * (size // 4096 + 1)
            assert await client.put("a/b.bin", data[:size], in_one_step=in_one_step)
            assert await client.get("a/b.bin") == data[:size]
            assert (await client.info("a/b.bin")).size == size

        self.run(client, story)

    @pytest.mark.parametrize("piece", [1, 1000, 65_536, 700_000, 2**21])
    def test_the_size_of_the_pieces_does_not_matter(self, client: Client, piece: int) -> None:
        async def story(client: Client) -> None:
            data = bytes(range(256)) * (12 if piece == 1 else 10_000)
            upload = await client.begin("pieces", None, frozenset({"md5", "sha1"}))
            for start in range(0, len(data), piece):
                await upload.write(data[start : start + piece])
            digests = await upload.finish()
            for name in ("md5", "sha1"):
                assert digests[name] == hashlib.new(name, data).digest()
            sealed = await upload.seal(Metadata("text/plain"))
            assert await upload.publish(NONE, create_only=False)
            assert await client.get("pieces") == data
            info = await client.info("pieces")
            assert info == sealed
            assert info.digests == digests

        self.run(client, story)

    @pytest.mark.parametrize("piece", [1, 70_000, 2**20])
    def test_bytes_that_it_fetches_itself_follow_those_that_were_given(self, client: Client, piece: int) -> None:
        """As many as were asked for and no more, and what there is where that is less; after them others are given."""

        async def story(client: Client) -> None:
            data = bytes(range(256)) * (12 if piece == 1 else 10_000)
            left = memoryview(data)[1000:]

            def read_into(view: memoryview) -> int:
                nonlocal left
                count = min(len(view), piece, len(left))
                view[:count] = left[:count]
                left = left[count:]
                return count

            upload = await client.begin("pulled", len(data) + 5, frozenset({"md5", "crc32c"}))
            await upload.write(data[:1000])
            assert await upload.pull(read_into, 500) == 500
            assert len(left) == len(data) - 1500
            assert await upload.pull(read_into, len(data)) == len(data) - 1500
            assert await upload.pull(read_into, 1) == 0
            await upload.write(b"after")
            digests = await upload.finish()
            assert digests["md5"] == hashlib.md5(data + b"after", usedforsecurity=False).digest()
            await upload.complete(PLAIN, NONE, create_only=False)
            assert await client.get("pulled") == data + b"after"

        self.run(client, story)

    def test_metadata_comes_back_as_it_was_given(self, client: Client) -> None:
        async def story(client: Client) -> None:
            given = Metadata(
                "text/html; charset=utf-8", {"cache-control": "no-store"}, {"note": "caf\xe9", "empty": ""}
            )
            await client.put("page", b"<p>", given)
            assert (await client.info("page")).metadata == given

        self.run(client, story)

    def test_too_much_metadata_is_refused_and_leaves_nothing(self, client: Client) -> None:
        async def story(client: Client) -> None:
            huge = Metadata(user={"x": "y" * 5000})
            assert await code_of(client.put("big", b"1", huge)) == "metadata_too_large"
            assert await client.names() == []

        self.run(client, story)

    def test_an_entity_tag_is_the_md5_only_where_that_was_asked_for(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("md5", b"hello", Metadata(md5_etag=True))
            assert (await client.info("md5")).etag == '"5d41402abc4b2a76b9719d911017c592"'
            await client.put("own", b"hello")
            first = (await client.info("own")).etag
            assert first.startswith('"')
            assert first.endswith('"')
            assert "-" in first
            await client.put("own", b"hello")
            assert (await client.info("own")).etag != first

        self.run(client, story)

    def test_an_entity_tag_of_its_own_is_no_other_states_whatever_else_is_asked_for(self, client: Client) -> None:
        async def story(client: Client) -> None:
            seen = set()
            for _ in range(3):
                await client.put("own", b"hello", Metadata(md5_etag=True, own_etag=True))
                found = await client.info("own")
                seen.add(found.etag)
                assert (found.metadata.md5_etag, found.metadata.own_etag) == (True, False)
            assert len(seen) == 3
            assert '"5d41402abc4b2a76b9719d911017c592"' not in seen

        self.run(client, story)

    def test_a_put_says_whether_it_replaced(self, client: Client) -> None:
        async def story(client: Client) -> None:
            assert await client.put("x", b"1") is True
            assert await client.put("x", b"22") is False
            assert await client.get("x") == b"22"

        self.run(client, story)

    def test_an_open_object_stays_what_it_was(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("x", b"old")
            found = await client.store.open(admitted("read", client.bucket, "x"))
            await client.put("x", b"newer")
            assert await found.read(0, 10) == b"old"
            await client.delete("x")
            assert await found.read(1, 10) == b"ld"
            assert await found.read(3, 10) == b""
            found.close()
            found.close()

        self.run(client, story)

    def test_what_is_missing_is_not_found(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("a/b", b"")
            for name in ("nothing", "a/c", "a", "a/b/c"):
                assert await code_of(client.get(name)) == "not_found"

        self.run(client, story)

    def test_a_missing_bucket_is_not_found(self, client: Client) -> None:
        async def story(client: Client) -> None:
            other = Client(client.store, "no-such-bucket")
            assert await code_of(other.get("x")) == "not_found"
            assert await code_of(other.page()) == "not_found"

        self.run(client, story)

    def test_nothing_is_visible_before_publish(self, client: Client) -> None:
        async def story(client: Client) -> None:
            upload = await client.begin("x", 3)
            await upload.write(b"abc")
            await upload.finish()
            await upload.seal(Metadata())
            assert await code_of(client.get("x")) == "not_found"
            assert await client.names() == []
            await upload.publish(NONE, create_only=False)
            assert await client.get("x") == b"abc"

        self.run(client, story)

    @pytest.mark.parametrize("step", ["begin", "write", "finish", "seal"])
    def test_an_abort_leaves_nothing(self, client: Client, step: str) -> None:
        async def story(client: Client) -> None:
            upload = await client.begin("x/y", 3 * 2**20)
            if step != "begin":
                for _ in range(3):
                    await upload.write(bytes(2**20))
            if step in {"finish", "seal"}:
                await upload.finish()
            if step == "seal":
                await upload.seal(Metadata())
            await upload.abort()
            await upload.abort()
            assert await client.names() == []
            assert await client.put("x", b"the name is free")

        self.run(client, story)

    def test_an_abort_after_publish_changes_nothing(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("x", b"1")  # `put` aborts in the end, as every caller does
            assert await client.get("x") == b"1"

        self.run(client, story)

    def test_a_cancelled_upload_leaves_nothing(self, client: Client) -> None:
        async def story(client: Client) -> None:
            async def upload_until_cancelled() -> None:
                upload = await client.begin("x", None)
                try:
                    while True:
                        await upload.write(bytes(2**19))
                        await asyncio.sleep(0)
                finally:
                    await upload.abort()

            for pause in (0, 0.001, 0.01):
                task = asyncio.create_task(upload_until_cancelled())
                await asyncio.sleep(pause)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await client.names() == []

        self.run(client, story)

    # --- conditions --------------------------------------------------------------------------------

    def test_create_only_never_replaces(self, client: Client) -> None:
        async def story(client: Client) -> None:
            assert await client.put("x", b"1", create_only=True)
            assert await code_of(client.put("x", b"2", create_only=True)) == "exists"
            if_none = Conditions(if_none_match=ANY)
            assert await code_of(client.put("x", b"2", conditions=if_none)) == "precondition_failed"
            assert await client.put("y", b"2", conditions=if_none)
            assert await client.get("x") == b"1"

        self.run(client, story)

    def test_what_is_asked_last_ends_an_upload_in_one_step(self, client: Client) -> None:
        """The object that was there stays."""

        def last() -> None:
            raise Denied("key_revoked")

        async def story(client: Client) -> None:
            await client.put("a", b"before")
            upload = await client.begin("a", 5)
            await upload.write(b"after")
            assert await code_of(upload.complete(PLAIN, NONE, create_only=False, last=last)) == "key_revoked"
            await upload.abort()
            assert await client.get("a") == b"before"

        self.run(client, story)

    def test_conditions_are_decided_with_the_write(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("x", b"1")
            info = await client.info("x")
            same = Conditions(if_match=(info.etag,))
            other = Conditions(if_match=('"other"',))
            not_same = Conditions(if_none_match=(info.etag,))
            older = Conditions(if_unmodified_since=info.modified - 1)
            for failing in (other, not_same, older):
                assert await code_of(client.put("x", b"2", conditions=failing)) == "precondition_failed"
                assert await code_of(client.delete("x", failing)) == "precondition_failed"
            assert await client.get("x") == b"1"
            assert await client.put("x", b"2", conditions=same) is False
            assert await code_of(client.put("x", b"3", conditions=same)) == "precondition_failed"
            assert await code_of(client.put("new", b"3", conditions=other)) == "precondition_failed"
            asks_for_both = Conditions(if_match=ANY, if_none_match=ANY)
            assert await code_of(client.put("new", b"3", conditions=asks_for_both)) == "precondition_failed"
            assert await client.put("new", b"3", conditions=Conditions(if_none_match=('"other"',)))
            assert await client.names() == ["new", "x"]

        self.run(client, story)

    def test_of_many_create_only_puts_exactly_one_wins(self, client: Client) -> None:
        async def story(client: Client) -> None:
            async def attempt(number: int) -> bool:
                if number % 2:
                    put = client.put("one", b"%d" % number, create_only=True)
                else:
                    put = client.put("one", b"%d" % number, conditions=Conditions(if_none_match=ANY))
                return await succeeds(put, unless={"exists", "precondition_failed"})

            won = await asyncio.gather(*(attempt(number) for number in range(200)))
            assert sum(won) == 1
            assert await client.get("one") == b"%d" % won.index(True)

        self.run(client, story)

    def test_of_many_puts_that_match_one_state_exactly_one_wins(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("one", b"start")
            state = Conditions(if_match=((await client.info("one")).etag,))

            async def attempt(number: int) -> bool:
                if number % 4:
                    change = client.put("one", b"%d" % number, conditions=state)
                else:
                    change = client.delete("one", state)
                return await succeeds(change, unless={"precondition_failed"})

            assert sum(await asyncio.gather(*(attempt(number) for number in range(80)))) == 1

        self.run(client, story)

    def test_a_reader_sees_the_old_or_the_new_object_whole(self, client: Client) -> None:
        async def story(client: Client) -> None:
            bodies = [bytes([number]) * (50_000 + number) for number in range(20)]
            await client.put("x", bodies[0])

            async def write() -> None:
                for body in bodies * 2:
                    await client.put("x", body)

            async def read(done: asyncio.Task[None]) -> int:
                count = 0
                while not done.done():
                    found = await client.store.open(admitted("read", client.bucket, "x"))
                    data = await found.read(0, 100_000)
                    assert data == bodies[data[0]]
                    assert found.info.size == len(data)
                    check_digests(found.info.digests, data)
                    found.close()
                    count += 1
                return count

            writing = asyncio.create_task(write())
            counts = await asyncio.gather(*(read(writing) for _ in range(4)))
            await writing
            assert sum(counts) > 0

        self.run(client, story)

    # --- delete and list ---------------------------------------------------------------------------

    def test_a_delete_says_whether_there_was_something(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("a/b/c", b"1")
            assert await client.delete("a/b") is False
            assert await client.delete("a/b/c/d") is False
            assert await client.delete("a/b/c") is True
            assert await client.delete("a/b/c") is False
            assert await code_of(client.get("a/b/c")) == "not_found"
            assert await client.put("a/b/c", b"2")

        self.run(client, story)

    def test_puts_and_deletes_in_one_folder_do_not_lose_each_other(self, client: Client) -> None:
        async def story(client: Client) -> None:
            async def come_and_go(number: int) -> None:
                for _ in range(8):
                    assert await client.put(f"deep/er/{number}", b"x")
                    assert await client.get(f"deep/er/{number}") == b"x"
                    assert await client.delete(f"deep/er/{number}")

            await asyncio.gather(*(come_and_go(number) for number in range(8)))
            assert await client.names() == []

        self.run(client, story)

    def test_a_list_is_in_the_order_of_bytes(self, client: Client) -> None:
        async def story(client: Client) -> None:
            names = ["b", "a-b", "a.b", "a/b", "a/a/z", "a0", "B", "\xe9", "\uffff", "\U0001f600", "%", "+", "a b"]
            for name in names:
                await client.put(name, b"")
            expected = sorted(names, key=str.encode)
            for limit in (1, 2, 3, 1000):
                assert await client.names(limit=limit) == expected
            assert await client.names(prefix="a") == [name for name in expected if name.startswith("a")]
            assert await client.names(prefix="a/") == ["a/a/z", "a/b"]
            assert await client.names(prefix="a/b") == ["a/b"]
            assert await client.names(prefix="none/") == []
            assert await client.names(after="a/b") == [name for name in expected if name.encode() > b"a/b"]
            assert await client.names(after="a/\U0010ffff") == expected[expected.index("a/b") + 1 :]

        self.run(client, story)

    def test_a_list_shows_what_an_open_would(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("x", b"123", Metadata("text/plain"))
            [row] = (await client.page()).rows
            info = await client.info("x")
            assert (row.size, row.etag, row.modified_ns) == (info.size, info.etag, info.modified_ns)

        self.run(client, story)

    def test_a_page_ends_with_none_exactly_when_nothing_follows(self, client: Client) -> None:
        async def story(client: Client) -> None:
            for name in ("a", "b", "c"):
                await client.put(name, b"")
            assert (await client.page(limit=2)).next_after == "b"
            assert (await client.page(limit=3)).next_after is None
            assert (await client.page(after="b", limit=1)).next_after is None
            assert (await client.page(limit=0)).rows == []

        self.run(client, story)
