"""What every store promises of copies and of uploads in parts, as tests; see `contract.py`."""

import asyncio
import hashlib
import zlib
from collections.abc import Iterable

import awscrt.checksums
import msgspec
import pytest

from valetstore.conditions import ANY, Conditions
from valetstore.grants.grant import Admission
from valetstore.storage.promise import Checksum, Metadata, ObjectInfo, OpenObject, Part, Stretch
from valetstore.storage.uploads import PARTS_MAX, Started

from .admissions import admitted
from .contract import NONE, PLAIN, Client, StoreContract, check_digests, code_of, succeeds

BOTH = frozenset({"md5", "crc32"})


class Parting:
    """One object that comes in parts, in short sentences."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.uploads = client.store.uploads
        self.admission: Admission = admitted("write", client.bucket, name)
        self.id = ""

    @classmethod
    async def started(cls, client: Client, name: str, described: Started | None = None) -> "Parting":
        parting = cls(client, name)
        parting.id = (await parting.uploads.start(parting.admission, described or Started())).id
        return parting

    async def put(
        self, number: int, data: bytes, digests: frozenset[str] = BOTH, *, create_only: bool = False
    ) -> ObjectInfo:
        upload = await self.uploads.begin_part(self.admission, self.id, number, len(data), digests)
        try:
            await upload.write(data)
            await upload.finish()
            info = await upload.seal(PLAIN)
            await upload.publish(NONE, create_only=create_only)
        finally:
            await upload.abort()
        return info

    async def copy(self, number: int, source: OpenObject, stretch: Stretch | None = None) -> ObjectInfo:
        upload = await self.uploads.copy_part(self.admission, self.id, number, source, stretch, BOTH)
        try:
            await upload.finish()
            info = await upload.seal(PLAIN)
            await upload.publish(NONE, create_only=False)
        finally:
            await upload.abort()
        return info

    async def parts(self) -> list[Part]:
        found, more = await self.uploads.parts(self.admission, self.id, 0, PARTS_MAX)
        assert not more
        return found

    async def complete(
        self, parts: Iterable[Part] | None = None, metadata: Metadata = PLAIN, conditions: Conditions = NONE
    ) -> ObjectInfo:
        named = list(parts) if parts is not None else await self.parts()
        upload, info = await self.uploads.assemble(self.admission, self.id, named, metadata)
        try:
            await upload.publish(conditions, create_only=False)
        finally:
            await upload.abort()
        return info

    async def end(self) -> None:
        await self.uploads.end(self.admission, self.id)


async def opened(client: Client, name: str) -> OpenObject:
    return await client.store.open(admitted("read", client.bucket, name))


async def copied(
    client: Client, source: OpenObject, name: str, stretch: Stretch | None = None, metadata: Metadata = PLAIN
) -> ObjectInfo:
    digests = frozenset({"md5"}) if metadata.md5_etag else frozenset[str]()
    upload = await client.store.copy(admitted("write", client.bucket, name), source, stretch, digests)
    try:
        await upload.finish()
        info = await upload.seal(metadata)
        await upload.publish(NONE, create_only=False)
    finally:
        await upload.abort()
    return info


def tag_of(*bodies: bytes) -> str:
    """The entity tag that S3 gives to an object of these parts."""
    whole = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
    return f'"{whole}-{len(bodies)}"'


class UploadsContract(StoreContract):
    """Everything of `StoreContract`, and this."""

    # --- copies ------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 1, 100_000, 9 * 2**20 + 1])
    def test_a_copy_has_the_bytes_of_its_source_and_metadata_of_its_own(self, client: Client, size: int) -> None:
        async def story(client: Client) -> None:
            data = bytes(i * 7 % 251 for i in range(5000)) * (size // 5000 + 1)
            await client.put("x", data[:size], Metadata("text/plain", user={"a": "1"}))
            source = await opened(client, "x")
            info = await copied(client, source, "deep/copy", metadata=Metadata("text/html", md5_etag=True))
            source.close()
            assert await client.get("deep/copy") == data[:size]
            assert await client.info("deep/copy") == info
            assert info.metadata.content_type == "text/html"
            assert info.etag == f'"{hashlib.md5(data[:size]).hexdigest()}"'
            check_digests(info.digests, data[:size])

        self.run(client, story)

    def test_a_stretch_can_be_copied_and_no_more_than_there_is(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("x", b"0123456789")
            source = await opened(client, "x")
            info = await copied(client, source, "y", Stretch(3, 4))
            assert await client.get("y") == b"3456"
            check_digests(info.digests, b"3456")
            assert await code_of(copied(client, source, "y", Stretch(3, 8))) == "range_not_satisfiable"
            source.close()
            assert await client.names() == ["x", "y"]

        self.run(client, story)

    def test_a_copy_is_of_the_state_that_was_opened(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("x", b"old")
            source = await opened(client, "x")
            await client.put("x", b"newer")
            await copied(client, source, "x")
            source.close()
            assert await client.get("x") == b"old"

        self.run(client, story)

    def test_an_object_of_parts_is_copied_as_one_piece(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            await parting.put(1, b"one")
            await parting.put(2, b"two")
            await parting.complete()
            source = await opened(client, "x")
            info = await copied(client, source, "y")
            source.close()
            assert info.parts == 0
            check_digests(info.digests, b"onetwo")
            assert await client.get("y") == b"onetwo"

        self.run(client, story)

    # --- an upload from its start to its end -------------------------------------------------------

    def test_parts_become_one_object(self, client: Client) -> None:
        async def story(client: Client) -> None:
            described = Metadata("text/plain", {"cache-control": "no-store"}, {"note": "1"})
            parting = await Parting.started(client, "a/b", Started(metadata=described))
            bodies = {7: b"last", 2: bytes(100_000), 1: b"first"}
            for number, body in bodies.items():
                await parting.put(number, body)
            assert await code_of(client.get("a/b")) == "not_found"
            assert await client.names() == []
            in_order = [bodies[number] for number in sorted(bodies)]
            checksum = Checksum("crc32", "AAAAAA==", 0)
            info = await parting.complete(metadata=msgspec.structs.replace(described, checksum=checksum))
            assert await client.get("a/b") == b"".join(in_order)
            assert await client.info("a/b") == info
            assert (info.size, info.parts, info.etag) == (100_009, 3, tag_of(*in_order))
            assert info.metadata.checksum == checksum
            assert info.metadata.user == {"note": "1"}
            assert info.digests["crc32"] == zlib.crc32(b"".join(in_order)).to_bytes(4, "big")
            [row] = (await client.page()).rows
            assert (row.etag, row.size) == (info.etag, info.size)
            await parting.end()
            await parting.end()
            assert await client.get("a/b") == b"".join(in_order)

        self.run(client, story)

    def test_an_object_remembers_its_parts(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            for number in (1, 3, 10_000):
                await parting.put(number, b"%d" % number)
            named = await parting.parts()
            await parting.complete()
            await parting.end()
            found = await opened(client, "x")
            assert await found.part_table() == tuple(named)
            assert [(part.number, part.size) for part in named] == [(1, 1), (3, 1), (10_000, 5)]
            assert named[0].etag == f'"{hashlib.md5(b"1").hexdigest()}"'
            assert {"md5", "crc32"} <= named[0].digests.keys()
            found.close()
            await client.put("x", b"in one piece")
            found = await opened(client, "x")
            assert (found.info.parts, await found.part_table()) == (0, ())
            found.close()

        self.run(client, story)

    def test_an_upload_is_found_as_it_was_described_by_its_id_for_its_object_only(self, client: Client) -> None:
        async def story(client: Client) -> None:
            described = Started(
                metadata=Metadata("text/plain", user={"a": "b"}, checksum=Checksum("crc32c", "AAAAAA==")),
                signing_key="key",
                algorithm="crc32c",
                composite=True,
                terms=b"\0terms",
            )
            uploads, mine = client.store.uploads, admitted("write", client.bucket, "x")
            started = await uploads.start(mine, described)
            assert (started.bucket, started.name) == (client.bucket, "x")
            assert len(started.id) >= 22
            assert await uploads.find(mine, started.id) == started
            assert msgspec.structs.replace(started, id="", bucket="", name="", created_ns=0) == described
            other = admitted("write", client.bucket, "y")
            for admission, upload_id in ((other, started.id), (mine, ""), (mine, "../x"), (mine, "A" * 32)):
                assert await code_of(uploads.find(admission, upload_id)) == "upload_not_found"
                assert await code_of(uploads.parts(admission, upload_id, 0, 1)) == "upload_not_found"
                assert await code_of(uploads.begin_part(admission, upload_id, 1, 1, BOTH)) == "upload_not_found"
            await uploads.end(other, started.id)
            assert await uploads.find(mine, started.id) == started
            await uploads.end(mine, started.id)
            assert await code_of(uploads.find(mine, started.id)) == "upload_not_found"
            elsewhere = admitted("write", "no-such-bucket", "x")
            assert await code_of(uploads.find(elsewhere, started.id)) == "upload_not_found"

        self.run(client, story)

    def test_what_an_object_could_never_keep_is_refused_at_the_start(self, client: Client) -> None:
        async def story(client: Client) -> None:
            await client.put("other", b"")  # there is a bucket
            huge = Started(metadata=Metadata(user={"x": "y" * 5000}))
            assert await code_of(Parting.started(client, "x", huge)) == "metadata_too_large"
            page = await client.store.uploads.page(admitted("list", client.bucket), "", ("", ""), 10)
            assert page.rows == []

        self.run(client, story)

    # --- parts -------------------------------------------------------------------------------------

    def test_of_two_parts_with_one_number_the_last_stays(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            await parting.put(1, b"first")
            [first] = await parting.parts()
            await parting.put(1, b"second")
            [second] = await parting.parts()
            assert second.etag != first.etag
            assert await code_of(parting.complete([first])) == "part_invalid"
            assert await code_of(client.get("x")) == "not_found"
            await parting.complete([second])
            assert await client.get("x") == b"second"

        self.run(client, story)

    def test_a_part_that_may_only_be_made_never_replaces_one(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            await parting.put(1, b"first", create_only=True)
            assert await code_of(parting.put(1, b"second", create_only=True)) == "exists"
            outcomes = await asyncio.gather(
                *(succeeds(parting.put(2, b"%d" % number, create_only=True), {"exists"}) for number in range(8))
            )
            assert outcomes.count(True) == 1
            parts = await parting.parts()
            assert [(part.number, part.size) for part in parts] == [(1, 5), (2, 1)]
            await parting.complete(parts)
            assert (await client.get("x")).startswith(b"first")

        self.run(client, story)

    def test_the_digests_of_a_whole_can_be_asked_for(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            bodies = [b"a" * 300_000, b"b" * 7, b""]
            for number, body in enumerate(bodies, 1):
                await parting.put(number, body, frozenset({"crc32c"}))
            upload, info = await parting.uploads.assemble(
                parting.admission, parting.id, await parting.parts(), PLAIN, frozenset({"md5", "crc32c"})
            )
            try:
                digests = await upload.finish()
                await upload.publish(NONE, create_only=False)
            finally:
                await upload.abort()
            whole = b"".join(bodies)
            assert digests["md5"] == info.digests["md5"] == hashlib.md5(whole).digest()
            assert digests["crc32c"] == info.digests["crc32c"] == awscrt.checksums.crc32c(whole).to_bytes(4, "big")
            assert await client.get("x") == whole

        self.run(client, story)

    def test_only_the_parts_that_are_named_and_only_in_order(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            for number in (1, 2, 3):
                await parting.put(number, b"%d" % number)
            one, two, three = await parting.parts()
            absent = msgspec.structs.replace(three, number=4)
            for named in ([], [two, one], [one, one], [one, absent], [msgspec.structs.replace(one, size=2)]):
                assert await code_of(parting.complete(named)) == "part_invalid"
            assert (await parting.complete([one, three])).parts == 2
            assert await client.get("x") == b"13"

        self.run(client, story)

    @pytest.mark.parametrize("number", [0, -1, PARTS_MAX + 1])
    def test_a_number_that_no_part_can_have_is_refused(self, client: Client, number: int) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            assert await code_of(parting.put(number, b"1")) == "part_invalid"

        self.run(client, story)

    def test_parts_come_page_by_page(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            for number in (5, 1, 30, 9_999):
                await parting.put(number, b"")
            pages = []
            after, more = 0, True
            while more:
                found, more = await parting.uploads.parts(parting.admission, parting.id, after, 2)
                after = found[-1].number
                pages.append([part.number for part in found])
            assert pages == [[1, 5], [30, 9_999]]

        self.run(client, story)

    def test_a_part_can_be_a_copy(self, client: Client) -> None:
        async def story(client: Client) -> None:
            data = bytes(range(256)) * 40_000
            await client.put("source", data)
            source = await opened(client, "source")
            parting = await Parting.started(client, "x")
            await parting.copy(1, source)
            info = await parting.copy(2, source, Stretch(1, 10))
            assert info.etag == f'"{hashlib.md5(data[1:11]).hexdigest()}"'
            source.close()
            await parting.complete()
            assert await client.get("x") == data + data[1:11]

        self.run(client, story)

    def test_a_part_that_is_given_up_leaves_the_one_before(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            await parting.put(1, b"whole")
            upload = await parting.uploads.begin_part(parting.admission, parting.id, 1, None, BOTH)
            await upload.write(bytes(2**20))
            await upload.abort()
            await parting.complete()
            assert await client.get("x") == b"whole"

        self.run(client, story)

    # --- the end -----------------------------------------------------------------------------------

    def test_conditions_are_decided_with_the_publish_of_the_whole(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            await parting.put(1, b"parts")
            await client.put("x", b"meanwhile")
            if_none = Conditions(if_none_match=ANY)
            assert await code_of(parting.complete(conditions=if_none)) == "precondition_failed"
            assert await client.get("x") == b"meanwhile"
            same = Conditions(if_match=((await client.info("x")).etag,))
            await parting.complete(conditions=same)
            assert await client.get("x") == b"parts"

        self.run(client, story)

    def test_an_upload_that_is_over_takes_no_part(self, client: Client) -> None:
        async def story(client: Client) -> None:
            parting = await Parting.started(client, "x")
            await parting.put(1, b"1")
            named = await parting.parts()
            upload = await parting.uploads.begin_part(parting.admission, parting.id, 2, 1, BOTH)
            await upload.write(b"2")
            await upload.seal(PLAIN)
            await parting.end()
            assert await code_of(upload.publish(NONE, create_only=False)) == "upload_not_found"
            await upload.abort()
            assert await code_of(parting.complete(named)) == "upload_not_found"
            assert await client.names() == []

        self.run(client, story)

    def test_ends_and_parts_at_the_same_time_leave_nothing(self, client: Client) -> None:
        async def story(client: Client) -> None:
            partings = [await Parting.started(client, f"x/{number}") for number in range(8)]

            async def put(parting: Parting, number: int) -> None:
                await succeeds(parting.put(number, b"1"), unless={"upload_not_found"})

            puts = [put(parting, number) for number in range(1, 5) for parting in partings]
            ends = [parting.end() for parting in partings * 2]
            await asyncio.gather(*(one for pair in zip(puts, ends, strict=False) for one in pair), *puts[len(ends) :])
            await asyncio.gather(*(parting.end() for parting in partings))
            page = await client.store.uploads.page(admitted("list", client.bucket), "", ("", ""), 100)
            assert page.rows == []

        self.run(client, story)

    # --- a bucket's uploads ------------------------------------------------------------------------

    def test_uploads_are_listed_by_name_and_then_by_id(self, client: Client) -> None:
        async def story(client: Client) -> None:
            names = ["b", "a/2", "a/1", "a/1", "c/x/y", "\xe9"]
            started = [
                await client.store.uploads.start(admitted("write", client.bucket, name), Started()) for name in names
            ]
            expected = sorted((one.name.encode(), one.id) for one in started)
            seen = []
            after: tuple[str, str] | None = ("", "")
            while after is not None:
                page = await client.store.uploads.page(admitted("list", client.bucket), "", after, 2)
                seen += [(row.name.encode(), row.id) for row in page.rows]
                after = page.next_after
            assert seen == expected
            page = await client.store.uploads.page(admitted("list", client.bucket), "a/", ("a/1", ""), 10)
            assert [row.name for row in page.rows] == ["a/2"]

        self.run(client, story)

    @pytest.mark.parametrize("limit", [1, 2, 10])
    def test_uploads_are_grouped_by_a_delimiter(self, client: Client, limit: int) -> None:
        async def story(client: Client) -> None:
            for name in ("b", "a/2", "a/1", "c/x/y", "c/z", "d"):
                await client.store.uploads.start(admitted("write", client.bucket, name), Started())
            for prefix, groups, rows in (("", ["a/", "c/"], ["b", "d"]), ("c/", ["c/x/"], ["c/z"])):
                seen_groups, seen_rows = [], []
                after: tuple[str, str] | None = ("", "")
                while after is not None:
                    page = await client.store.uploads.page(
                        admitted("list", client.bucket), prefix, after, limit, delimiter="/"
                    )
                    assert len(page.rows) + len(page.prefixes) <= limit
                    seen_groups += page.prefixes
                    seen_rows += [row.name for row in page.rows]
                    after = page.next_after
                assert (seen_groups, seen_rows) == (groups, rows)

        self.run(client, story)

    def test_a_bucket_that_is_missing_has_no_uploads_to_list(self, client: Client) -> None:
        async def story(client: Client) -> None:
            missing = admitted("list", "no-such-bucket")
            assert await code_of(client.store.uploads.page(missing, "", ("", ""), 10)) == "not_found"

        self.run(client, story)
