# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small ingests that are in memory: what tells them from others, and when they end.

That they answer as others do is the contract suite's matter, which runs with both.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from pluggd.contents.young import MAX_AGE, MAX_COUNT
from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pluggd.services.call import using
from pluggd.services.metadata import Metadata
from pluggd.testing.memory import memory_metadata
from plugins.content.config import Config
from tests.plugins.content.content_setup import (
    digest_of,
    started_content,
    started_lmdb,
)

LIMIT = Config().ingest_memory


@pytest.fixture
async def metadata() -> AsyncGenerator[Metadata]:
    async with memory_metadata() as metadata:
        yield metadata


@pytest.fixture(autouse=True)
def in_namespace() -> Iterator[None]:
    with using(namespace="one"):
        yield


def ingests(root: Path) -> list[str]:
    return os.listdir(root / "ingest")


async def test_a_blob_in_three_messages_costs_one_commit(
    tmp_path: Path, metadata: Metadata
) -> None:
    commits: list[bool] = []
    async with started_content(tmp_path, metadata) as content:
        metadata.on_change(commits.append)
        await content.write(ref="r", action="stat", total=5)
        await content.write(ref="r", data=b"hello")
        assert not commits
        assert ingests(tmp_path) == []
        result = await content.write(ref="r", action="commit", offset=5)
        assert len(commits) == 1
        assert result.digest == digest_of(b"hello")
        with pytest.raises(NotFound):
            await content.status(ref="r")


@pytest.mark.parametrize("offset", [0, LIMIT])
async def test_one_that_grows_gets_a_file(
    tmp_path: Path, metadata: Metadata, offset: int
) -> None:
    first, rest = b"x" * LIMIT, b"y" * (LIMIT + 1)
    async with started_content(tmp_path, metadata) as content:
        begun = await content.write(ref="r", data=first)
        assert ingests(tmp_path) == []
        result = await content.write(ref="r", offset=offset, data=rest)
        assert result.offset == offset + len(rest)
        assert result.started_at == begun.started_at
        assert len(ingests(tmp_path)) == 1
        result = await content.write(ref="r", action="commit", offset=result.offset)
        assert result.digest == digest_of(first[:offset] + rest)
        assert ingests(tmp_path) == []


async def test_under_a_lease_there_is_a_record(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", data=b"hello")
        with using(lease="none"), pytest.raises(NotFound, match="lease"):
            await content.write(ref="r", offset=5, data=b"!")
        assert (await content.status(ref="r")).offset == 5


async def test_only_so_many_are_in_memory(tmp_path: Path, metadata: Metadata) -> None:
    async with started_content(tmp_path, metadata) as content:
        for number in range(MAX_COUNT + 1):
            await content.write(ref=f"r{number}", data=b"hello")
        assert len(ingests(tmp_path)) == 1
        assert len((await content.list_statuses()).statuses) == MAX_COUNT + 1


async def test_one_that_lies_idle_becomes_an_ordinary_one(
    tmp_path: Path,
    metadata: Metadata,
    mock_clock: trio.testing.MockClock,
) -> None:
    async with started_content(tmp_path, metadata) as content:
        begun = await content.write(ref="r", data=b"hello", total=9)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(MAX_AGE)
        # The mock clock stands still, so nothing here has a limit of its own.
        while metadata.next_expiry() is None:
            await trio.lowlevel.checkpoint()
        # In the midst of it: the call waits, its ref is not "locked".
        state = await content.write(ref="r", action="stat")
        assert state.offset == 5
        assert len(ingests(tmp_path)) == 1
        assert metadata.next_expiry() is not None
        status = await content.status(ref="r")
        assert (status.total, status.started_at) == (9, begun.started_at)
        result = await content.write(ref="r", action="commit", offset=5, data=b" you")
        assert result.digest == digest_of(b"hello you")


async def test_a_stop_writes_them_down(tmp_path: Path) -> None:
    async with (
        started_lmdb(tmp_path / "m") as metadata,
        started_content(tmp_path / "c", metadata) as content,
    ):
        await content.write(ref="r", data=b"hello")
    async with (
        started_lmdb(tmp_path / "m") as metadata,
        started_content(tmp_path / "c", metadata) as content,
    ):
        state = await content.write(ref="r", action="stat")
        assert (state.offset, state.digest) == (5, digest_of(b"hello"))


async def test_a_refused_commit_keeps_the_bytes(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", data=b"hello")
        with pytest.raises(FailedPrecondition, match="unexpected commit digest"):
            await content.write(
                ref="r", action="commit", offset=5, expected=digest_of(b"other")
            )
        with pytest.raises(FailedPrecondition, match="5 != 6"):
            await content.write(ref="r", action="commit", offset=5, total=6)
        assert (await content.status(ref="r")).offset == 5
        await content.write(ref="r", action="commit", offset=5)


async def test_after_a_failed_sync_a_commit_writes_a_new_file(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes in memory are good; the file that they were written to is not."""
    synced: list[int] = []

    def fail(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        os.close(os.dup(fd))
        raise OSError(5, "Input/output error")

    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", data=b"hello")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(DataLoss):
                await content.write(ref="r", action="commit", offset=5)
        assert len(synced) == 1
        assert ingests(tmp_path) == []
        assert not [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]
        await content.write(ref="r", action="commit", offset=5)
        assert (await content.verify(digest=digest_of(b"hello"))).size == 5


async def test_a_stream_or_a_descriptor_takes_it_up(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", data=b"hello ")
        opened = await content.ingest_open(ref="r")
        assert opened.status.offset == 6
        os.write(opened.fd, b"world")
        os.close(opened.fd)
        result = await content.write(ref="r", action="commit")
        assert result.digest == digest_of(b"hello world")


async def test_a_blob_that_comes_by_another_ref_ends_it(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", data=b"hello")
        await content.write(ref="s", action="commit", data=b"hello")
        with pytest.raises(AlreadyExists):
            await content.write(ref="r", action="commit", offset=5)
        with pytest.raises(NotFound):
            await content.status(ref="r")


def test_its_option_has_a_range() -> None:
    with pytest.raises(InvalidArgument, match="ingest_memory = 65537"):
        Config(ingest_memory=65537)
