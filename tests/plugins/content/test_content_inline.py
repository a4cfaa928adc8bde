# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small blobs have no file: their bytes come and go with their record."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from pluggd.contents.catalog import find_file
from pluggd.contents.records import FILES as RECORDS
from pluggd.contents.records import TRASH
from pluggd.deferred import Deferred
from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from pluggd.model.record import encode, replace
from pluggd.services.call import using
from pluggd.services.content import Info
from pluggd.services.fsck import CheckResult
from pluggd.services.metadata import CONTENT, Metadata, Transaction, View
from plugins.content.config import Config
from tests.contract.providers import PROVIDERS, metadata_of
from tests.plugins.content.content_setup import FILES, digest_of, started_content

SMALL = Config(max_inline=5)
DATA = b"hello"
DIGEST = digest_of(DATA)


@pytest.fixture(params=PROVIDERS)
async def metadata(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncGenerator[Metadata]:
    async with metadata_of(request.param, tmp_path / "metadata") as metadata:
        yield metadata


@pytest.fixture(autouse=True)
def in_namespace() -> Iterator[None]:
    with using(namespace="one"):
        yield


def blob_files(root: Path) -> list[str]:
    return [path.name for path in root.glob("content/blobs/*/*")]


async def kept(metadata: Metadata, table: str) -> list[str]:
    return await metadata.view(lambda view: [name for name, _ in view.scan(table, "")])


async def inline(metadata: Metadata) -> set[str]:
    """The digests whose bytes are in their record."""

    def find(view: View) -> set[str]:
        found = {name: find_file(view, name) for name, _ in view.scan(RECORDS, "")}
        return {name for name, file in found.items() if file and file.data is not None}

    return await metadata.view(find)


async def rot(metadata: Metadata, data: bytes | None) -> None:
    """Give the record of DATA other bytes."""

    def change(txn: Transaction) -> None:
        file = find_file(txn, DIGEST)
        assert file is not None
        txn.put(RECORDS, "", DIGEST, encode(replace(file, data=data)))

    await metadata.update(change)


async def test_a_blob_has_a_file_if_it_is_larger(
    tmp_path: Path, metadata: Metadata
) -> None:
    larger = DATA + b"!"
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        await content.write(ref="b", action="commit", data=larger)
        await content.write(ref="c", data=b"hel")
        await content.write(ref="c", action="commit", offset=3, data=b"p")
        assert (await content.read(digest=digest_of(larger))).data == larger
    assert blob_files(tmp_path) == [digest_of(larger)[7:]]
    assert await inline(metadata) == {DIGEST, digest_of(b"help")}


async def test_it_may_come_by_any_way(tmp_path: Path, metadata: Metadata) -> None:
    config = Config(max_inline=5, ingest_memory=0)
    async with started_content(tmp_path / "content", metadata, config) as content:
        for data in (b"steps", b"other"):
            await content.write(ref="a", data=data[:3])
            await content.write(ref="a", action="commit", offset=3, data=data[3:])
        opened = await content.ingest_open(ref="b")
        os.write(opened.fd, b"by fd")
        os.close(opened.fd)
        result = await content.write(ref="b", action="commit", total=5)
        assert result.digest == digest_of(b"by fd")
        await content.write(ref="c", action="stat", total=6)
        await content.write(ref="c", action="commit", data=b"larger")
        # One that the namespace has by now.
        await content.write(ref="d", data=b"stepz")
        await content.write(ref="d", offset=0, data=b"steps")
        with pytest.raises(AlreadyExists):
            await content.write(ref="d", action="commit", offset=5)
        assert os.listdir(tmp_path / "content" / "ingest") == []
    assert blob_files(tmp_path) == [digest_of(b"larger")[7:]]
    small = {digest_of(data) for data in (b"steps", b"other", b"by fd")}
    assert await inline(metadata) == small


async def test_a_small_ingest_that_cannot_be_recorded_is_kept(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*args: object, **kwargs: object) -> None:
        raise ResourceExhausted("quota")

    config = Config(max_inline=5, ingest_memory=0)
    async with started_content(tmp_path / "content", metadata, config) as content:
        await content.write(ref="a", data=DATA)
        with monkeypatch.context() as patch:
            patch.setattr(metadata, "update", refuse)
            with pytest.raises(ResourceExhausted, match="quota"):
                await content.write(ref="a", action="commit", offset=5)
        assert (await content.write(ref="a", action="stat")).offset == 5
        result = await content.write(ref="a", action="commit", offset=5)
        assert result.digest == DIGEST
        assert os.listdir(tmp_path / "content" / "ingest") == []


async def test_without_a_limit_all_have_files(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path / "content", metadata, FILES) as content:
        for ref, data in (("a", b""), ("b", DATA)):
            await content.write(ref=ref, action="commit", data=data)
    assert set(blob_files(tmp_path)) == {digest_of(b"")[7:], DIGEST[7:]}


async def test_it_is_read_like_any_other(tmp_path: Path, metadata: Metadata) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        assert (await content.verify(digest=DIGEST)).size == 5
        assert (await content.read(digest=DIGEST, offset=1, size=3)).data == b"ell"
        assert (await content.read(digest=DIGEST, offset=5)).data == b""
        send, receive = trio.open_memory_channel[bytes](1)
        await content.fetch(digest=DIGEST, offset=2, out=send)
        assert receive.receive_nowait() == b"llo"
        opened = await content.open(digest=DIGEST, verify=True)
        try:
            assert os.fstat(opened.fd).st_size == 5
            assert os.read(opened.fd, 100) == DATA
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(opened.fd, b"x")
            # Nor by opening it again.
            again = os.open(f"/proc/self/fd/{opened.fd}", os.O_RDWR)
            with pytest.raises(PermissionError):
                os.pwrite(again, b"x", 0)
            os.close(again)
        finally:
            os.close(opened.fd)


async def test_it_goes_with_its_last_record(tmp_path: Path, metadata: Metadata) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        with using(namespace="two"):
            # Shared by naming it: no byte is sent.
            state = await content.write(ref="a", action="stat", expected=DIGEST)
            assert state.offset == 5
            await content.write(ref="a", action="commit")
        await content.delete(digest=DIGEST)
        assert await inline(metadata) == {DIGEST}
        with using(namespace="two"):
            assert (await content.read(digest=DIGEST)).data == DATA
            await content.delete(digest=DIGEST)
        for table in (RECORDS, TRASH):
            assert await kept(metadata, table) == []
        with pytest.raises(NotFound):
            await content.read(digest=DIGEST)


async def test_a_collection_counts_what_it_frees(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        # Until the look at the start for what earlier lives left is over.
        await trio.testing.wait_all_tasks_blocked()
        await content.write(ref="a", action="commit", data=DATA)
        await content.write(ref="b", action="commit", data=b"help")
        stats = await metadata.collect()
        assert stats.freed_bytes == len(DATA) + len(b"help")
        assert (await metadata.collect()).freed_bytes == 0


async def test_a_commit_that_is_undone_leaves_no_byte(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        with using(lease="none"), pytest.raises(NotFound):
            await content.write(ref="a", action="commit", data=DATA)
    assert await kept(metadata, RECORDS) == []
    assert blob_files(tmp_path) == []


@pytest.mark.parametrize("later", [SMALL, FILES])
async def test_rotten_bytes_are_found_served_to_nobody_and_healed(
    tmp_path: Path, metadata: Metadata, later: Config
) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
    await rot(metadata, b"hellO")
    async with started_content(tmp_path / "content", metadata, later) as content:
        with pytest.raises(DataLoss, match=digest_of(b"hellO")):
            await content.verify(digest=DIGEST)
        with pytest.raises(DataLoss, match="is damaged"):
            await content.read(digest=DIGEST)
        await content.write(ref="a", action="commit", data=DATA, expected=DIGEST)
        assert (await content.read(digest=DIGEST, verify=True)).data == DATA
        with pytest.raises(AlreadyExists):
            await content.write(ref="a", action="commit", data=DATA)
    assert blob_files(tmp_path) == []


async def test_bytes_of_another_size_are_data_loss(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        await rot(metadata, b"hell")
        with pytest.raises(DataLoss, match="has 4 of 5 bytes"):
            await content.read(digest=DIGEST)


async def test_lost_bytes_are_healed_by_a_file(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        await rot(metadata, None)
        with pytest.raises(DataLoss, match="missing"):
            await content.verify(digest=DIGEST)
        await content.write(ref="a", action="commit", data=DATA)
        assert (await content.read(digest=DIGEST, verify=True)).data == DATA


@pytest.mark.parametrize(("before", "after"), [(SMALL, FILES), (FILES, SMALL)])
async def test_what_is_stored_stays_where_it_is(
    tmp_path: Path, metadata: Metadata, before: Config, after: Config
) -> None:
    async with started_content(tmp_path / "content", metadata, before) as content:
        await content.write(ref="a", action="commit", data=DATA)
    before_all = blob_files(tmp_path), await inline(metadata)
    async with started_content(tmp_path / "content", metadata, after) as content:
        with using(namespace="two"):
            await content.write(ref="a", action="commit", data=DATA)
            assert (await content.read(digest=DIGEST, verify=True)).data == DATA
            assert (blob_files(tmp_path), await inline(metadata)) == before_all
            await content.delete(digest=DIGEST)
        await content.delete(digest=DIGEST)
        await metadata.collect()
    assert blob_files(tmp_path) == []
    assert await kept(metadata, RECORDS) == await kept(metadata, TRASH) == []


async def test_a_file_that_waits_to_be_removed_goes_after_all(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path / "content", metadata, FILES) as content:
        await content.write(ref="a", action="commit", data=DATA)
        await content.delete(digest=DIGEST)
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        await content.update(info=await content.info(digest=DIGEST), fields=["labels"])
        assert (await content.read(digest=DIGEST, verify=True)).data == DATA
        await content.delete(digest=DIGEST)
        await metadata.collect()
    assert blob_files(tmp_path) == []
    assert await kept(metadata, TRASH) == []


async def test_a_shared_ingest_that_goes_on_gets_a_file_of_its_own(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        with using(namespace="two"):
            await content.write(ref="b", action="stat", expected=DIGEST)
            result = await content.write(ref="b", offset=5, data=b" there")
            assert result.offset == 11
            assert result.digest == digest_of(b"hello there")
            await content.abort(ref="b")


async def checked(metadata: Metadata, *, deep: bool) -> CheckResult:
    (check,) = [one.check for one in metadata.resources() if one.type == CONTENT]
    assert check is not None
    return await check(deep=deep, repair=False)


@pytest.mark.parametrize(
    ("rotten", "deep", "problem"),
    [
        (b"hell", False, "size"),
        (b"hellO", True, "digest"),
        (b"hellO", False, None),
        (None, False, None),
        (None, True, None),
    ],
)
async def test_a_check_looks_at_it(
    tmp_path: Path,
    metadata: Metadata,
    rotten: bytes | None,
    deep: bool,
    problem: str | None,
) -> None:
    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", action="commit", data=DATA)
        await content.write(ref="b", action="commit", data=b"a file")
        if rotten is not None:
            await rot(metadata, rotten)
        result = await checked(metadata, deep=deep)
        assert result.checked["blobs"] == 2
        found = [(one.problem, one.object, one.path) for one in result.findings]
        assert found == ([] if problem is None else [(problem, DIGEST, "")])


@pytest.mark.parametrize("size", [-1, 65537])
def test_the_limit_has_bounds(size: int) -> None:
    with pytest.raises(InvalidArgument, match=rf"max_inline = {size}: must be from 0"):
        Config(max_inline=size)


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_commit_holds_its_ref_until_it_is_over(
    tmp_path: Path,
    metadata: Metadata,
    monkeypatch: pytest.MonkeyPatch,
    given_up: bool,
) -> None:
    disk = Deferred[Info | None]()
    answered: list[bool] = []

    def begin(change: object) -> Deferred[Info | None]:
        return disk

    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        with monkeypatch.context() as patch:
            patch.setattr(metadata, "start_update", begin)
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()

                async def commit() -> None:
                    with scope:
                        await content.write(ref="a", action="commit", data=DATA)
                        answered.append(True)

                nursery.start_soon(commit)
                await trio.testing.wait_all_tasks_blocked()
                assert not answered
                if given_up:
                    scope.cancel()
                    await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(Unavailable, match="locked for"):
                    await content.write(ref="a", action="stat")
                disk.succeed(Info(digest=DIGEST, size=5))
        assert answered == ([] if given_up else [True])
        assert (await content.write(ref="a", data=b"x")).offset == 1


async def test_a_commit_that_is_refused_lets_go_of_the_ref(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise Unavailable("the metadata store is stopped")

    async with started_content(tmp_path / "content", metadata, SMALL) as content:
        await content.write(ref="a", data=b"hel")
        with monkeypatch.context() as patch:
            patch.setattr(metadata, "start_update", refuse)
            for offset, data in ((3, b"lo"), (5, b"")):
                with pytest.raises(Unavailable, match="is stopped"):
                    await content.write(
                        ref="a", action="commit", offset=offset, data=data
                    )
        # The bytes are kept, as those of a larger one are.
        assert (await content.write(ref="a", action="stat")).offset == 5
        result = await content.write(ref="a", action="commit", offset=5)
        assert result.digest == DIGEST
