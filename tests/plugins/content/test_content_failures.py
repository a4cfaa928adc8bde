# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Full disks, failing syncs, bytes that rot."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path

import pytest
import trio

from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from pluggd.model.record import convert
from pluggd.services.call import using
from pluggd.services.gc import GC
from pluggd.services.metadata import Metadata
from pluggd.services.namespaces import NAMESPACES, Namespace
from pluggd.testing.memory import memory_metadata
from plugins.content import fileblobs
from plugins.content.config import Config
from tests.plugins.content.content_setup import ON_DISK, digest_of, started_content


@pytest.fixture
async def metadata() -> AsyncGenerator[Metadata]:
    async with memory_metadata() as metadata:
        yield metadata


@pytest.fixture(autouse=True)
def in_namespace() -> Iterator[None]:
    with using(namespace="one"):
        yield


def blob_path(root: Path, data: bytes) -> Path:
    return root / "blobs" / "sha256" / digest_of(data)[7:]


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.name != "id"]


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    def call(*args: object) -> object:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, call)


async def test_a_full_disk_keeps_the_ingest_and_says_where(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started_content(tmp_path, metadata, ON_DISK) as content:
        await content.write(ref="r", data=b"hello ")
        with monkeypatch.context() as patch:
            fail(patch, "pwrite", errno.ENOSPC)
            message = rf"write 5 bytes to {tmp_path}/ingest/.*: no space left on device"
            with pytest.raises(ResourceExhausted, match=message):
                await content.write(ref="r", offset=6, data=b"world")
            with pytest.raises(ResourceExhausted, match=message):
                await content.write(ref="s", action="commit", data=b"other")
        result = await content.write(ref="r", action="commit", offset=6, data=b"world")
        assert result.digest == digest_of(b"hello world")
        assert sorted(path.name for path in (tmp_path / "ingest").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of one megabyte."""
    root = tmp_path / "small"
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs is not permitted here")
    yield root
    subprocess.run(["umount", str(root)], check=True)


async def test_a_disk_that_is_really_full_still_reads_and_deletes(
    small_disk: Path, metadata: Metadata
) -> None:
    async with started_content(small_disk, metadata) as content:
        await content.write(ref="a", action="commit", data=bytes(600_000))
        await content.write(ref="b", data=b"start")
        with pytest.raises(ResourceExhausted, match="write 900000 bytes to"):
            await content.write(ref="b", offset=5, data=bytes(900_000))
        with pytest.raises(ResourceExhausted, match="no space left"):
            await content.write(ref="c", action="commit", data=b"1" * 900_000)
        assert (await content.status(ref="b")).offset == 5
        digest = digest_of(bytes(600_000))
        assert len((await content.read(digest=digest)).data) == 600_000
        await content.delete(digest=digest)
        await metadata.collect()
        await content.write(ref="b", offset=5, data=bytes(800_000))
        await content.write(ref="b", action="commit", offset=800_005)


async def test_a_failed_sync_throws_the_bytes_away(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started_content(tmp_path, metadata, ON_DISK) as content:
        await content.write(ref="r", data=b"hello")
        with monkeypatch.context() as patch:
            fail(patch, "fdatasync", errno.EIO)
            with pytest.raises(DataLoss, match="send the bytes again from offset 0"):
                await content.write(ref="r", action="commit", offset=5)
        # The next sync would succeed; the bytes must not be taken for durable.
        assert (await content.write(ref="r", action="stat")).offset == 0
        with pytest.raises(NotFound):
            await content.info(digest=digest_of(b"hello"))
        await content.write(ref="r", data=b"hello")
        await content.write(ref="r", action="commit", offset=5)
        assert (await content.verify(digest=digest_of(b"hello"))).size == 5


async def test_a_failed_sync_of_what_came_through_a_descriptor_is_no_blob(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started_content(tmp_path, metadata) as content:
        opened = await content.ingest_open(ref="r")
        os.write(opened.fd, b"hello")
        os.close(opened.fd)
        with monkeypatch.context() as patch:
            fail(patch, "fdatasync", errno.EIO)
            with pytest.raises(DataLoss, match="send the bytes again from offset 0"):
                await content.write(ref="r", action="commit")
        with pytest.raises(NotFound):
            await content.info(digest=digest_of(b"hello"))
        assert files(tmp_path) == []


async def test_a_file_that_cannot_even_be_removed_is_not_used_again(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started_content(tmp_path, metadata, ON_DISK) as content:
        await content.write(ref="r", data=b"hello")
        with monkeypatch.context() as patch:
            fail(patch, "fdatasync", errno.EIO)
            fail(patch, "unlink", errno.EROFS)
            with pytest.raises(DataLoss, match="abort the ingest"):
                await content.write(ref="r", action="commit", offset=5)
        with pytest.raises(FailedPrecondition, match="abort it"):
            await content.write(ref="r", action="commit", offset=5)
        await content.abort(ref="r")
        assert (await content.write(ref="r", action="stat")).offset == 0


@pytest.mark.parametrize("name", ["fdatasync", "rename", "fsync"])
async def test_a_blob_in_one_message_leaves_nothing_when_a_step_fails(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with started_content(tmp_path, metadata) as content:
        with monkeypatch.context() as patch:
            fail(patch, name, errno.EIO)
            with pytest.raises(DataLoss):
                await content.write(ref="r", action="commit", data=b"hello")
        assert files(tmp_path) == []
        await content.write(ref="r", action="commit", data=b"hello")


async def test_nobody_takes_a_file_without_a_record_for_the_blob(
    tmp_path: Path, metadata: Metadata
) -> None:
    """A loss of power may leave one of the right name and size, without its bytes."""
    digest = digest_of(b"hello")
    async with started_content(tmp_path, metadata) as content:
        for step in ("message", "messages", "stream"):
            path = blob_path(tmp_path, b"hello")
            path.write_bytes(bytes(5))
            with pytest.raises(NotFound):
                await content.read(digest=digest)
            with using(namespace="two"):
                state = await content.write(ref="r", action="stat", expected=digest)
                assert state.offset == 0
                await content.abort(ref="r")
            if step == "message":
                await content.write(ref="r", action="commit", data=b"hello")
            elif step == "messages":
                await content.write(ref="r", data=b"hello", expected=digest)
                await content.write(ref="r", action="commit", offset=5)
            else:
                send, receive = trio.open_memory_channel[bytes](1)
                await send.send(b"hello")
                send.close()
                await content.ingest(ref="r", expected=digest, source=receive)
            assert (await content.verify(digest=digest)).size == 5
            await content.delete(digest=digest)
            await metadata.collect()
            assert files(tmp_path) == []


async def test_a_commit_that_cannot_be_recorded_keeps_the_ingest(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*args: object, **kwargs: object) -> None:
        raise ResourceExhausted("quota")

    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", data=b"hello")
        with monkeypatch.context() as patch:
            patch.setattr(metadata, "update", refuse)
            with pytest.raises(ResourceExhausted, match="quota"):
                await content.write(ref="r", action="commit", offset=5)
            with pytest.raises(ResourceExhausted, match="quota"):
                await content.write(ref="s", action="commit", data=b"bye")
        assert list((tmp_path / "blobs" / "sha256").iterdir()) == []
        result = await content.write(ref="r", action="commit", offset=5)
        assert result.digest == digest_of(b"hello")


async def test_rotten_bytes_are_found_served_to_nobody_and_healed(
    tmp_path: Path, metadata: Metadata
) -> None:
    digest = digest_of(b"hello")
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", action="commit", data=b"hello")
        path = blob_path(tmp_path, b"hello")
        path.chmod(0o644)
        path.write_bytes(b"hellO")
        with pytest.raises(DataLoss, match=digest_of(b"hellO")):
            await content.verify(digest=digest)
        for call in (
            lambda: content.read(digest=digest),
            lambda: content.open(digest=digest),
        ):
            with pytest.raises(DataLoss, match=f"content {digest} is damaged"):
                await call()
        with using(namespace="two"):
            state = await content.write(ref="r", action="stat", expected=digest)
            assert state.offset == 0
        await content.write(ref="r", action="commit", data=b"hello", expected=digest)
        assert (await content.verify(digest=digest)).size == 5
        assert (await content.read(digest=digest)).data == b"hello"
        with pytest.raises(AlreadyExists):
            await content.write(ref="r", action="commit", data=b"hello")


async def test_a_blob_that_was_healed_meanwhile_is_not_marked(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace_and_disagree(fd: int, algorithm: str, pause: object) -> str:
        fresh = tmp_path / "fresh"
        fresh.write_bytes(b"hello")
        fresh.rename(blob_path(tmp_path, b"hello"))
        return digest_of(b"hellO")

    async with started_content(tmp_path, metadata) as content:
        result = await content.write(ref="r", action="commit", data=b"hello")
        with monkeypatch.context() as patch:
            patch.setattr(fileblobs, "hash_descriptor", replace_and_disagree)
            with pytest.raises(DataLoss):
                await content.verify(digest=result.digest)
        assert (await content.read(digest=result.digest)).data == b"hello"


@pytest.mark.parametrize("method", ["read", "open"])
async def test_reading_with_verify_finds_rotten_bytes(
    tmp_path: Path, metadata: Metadata, method: str
) -> None:
    async with started_content(tmp_path, metadata) as content:
        result = await content.write(ref="r", action="commit", data=b"hello")
        path = blob_path(tmp_path, b"hello")
        path.chmod(0o644)
        path.write_bytes(b"hellO")
        with pytest.raises(DataLoss):
            await getattr(content, method)(digest=result.digest, verify=True)


@pytest.mark.parametrize("left", [b"", b"hell", None])
async def test_a_file_that_is_short_or_missing_is_data_loss(
    tmp_path: Path, metadata: Metadata, left: bytes | None
) -> None:
    async with started_content(tmp_path, metadata) as content:
        result = await content.write(ref="r", action="commit", data=b"hello")
        path = blob_path(tmp_path, b"hello")
        path.unlink()
        if left is not None:
            path.write_bytes(left)
        with pytest.raises(DataLoss):
            await content.read(digest=result.digest)
        with pytest.raises(DataLoss):
            await content.verify(digest=result.digest)
        await content.write(ref="r", action="commit", data=b"hello")
        assert (await content.read(digest=result.digest)).data == b"hello"


class Labelled:
    """A namespaces service in which one namespace shares."""

    async def get(self, *, name: str) -> Namespace:
        if name != "open":
            raise NotFound(f'namespace "{name}": not found')
        return Namespace(
            name=name, labels={"containerd.io/namespace.shareable": "true"}
        )


async def test_isolated_namespaces_adopt_only_what_is_shareable(
    tmp_path: Path, metadata: Metadata
) -> None:
    config = Config(policy="isolated", max_inline=0)
    others = {NAMESPACES: Labelled()}
    async with started_content(tmp_path, metadata, config, others) as content:
        for name, data in (("one", b"private"), ("open", b"public")):
            with using(namespace=name):
                await content.write(ref="r", action="commit", data=data)
        with using(namespace="two"):
            state = await content.write(
                ref="a", action="stat", expected=digest_of(b"private")
            )
            assert state.offset == 0
            state = await content.write(
                ref="b", action="stat", expected=digest_of(b"public")
            )
            assert state.offset == 6
            await content.write(ref="a", action="commit", data=b"private")
        assert len(list((tmp_path / "blobs" / "sha256").iterdir())) == 2


class CollectingGc:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def run(self, *, wait: bool = False, full: bool = False) -> object:
        assert wait
        return await self._metadata.collect()


async def test_delete_with_sync_returns_when_the_bytes_are_gone(
    tmp_path: Path, metadata: Metadata
) -> None:
    others = {GC: CollectingGc(metadata)}
    async with started_content(tmp_path, metadata, others=others) as content:
        result = await content.write(ref="r", action="commit", data=b"hello")
        assert blob_path(tmp_path, b"hello").exists()
        await content.delete(digest=result.digest, sync=True)
        assert not blob_path(tmp_path, b"hello").exists()


async def test_delete_with_sync_and_nobody_to_collect_changes_nothing(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:
        result = await content.write(ref="r", action="commit", data=b"hello")
        with pytest.raises(FailedPrecondition, match=r"pluggd\.gc\.v1"):
            await content.delete(digest=result.digest, sync=True)
        assert (await content.info(digest=result.digest)).size == 5


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"chunk_size": 1}, "chunk_size = 1"),
        ({"chunk_size": 9 << 20}, "chunk_size = 9437184"),
        ({"ingest_expiry": 0}, "ingest_expiry = 0"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, int], key: str) -> None:
    with pytest.raises(InvalidArgument, match=key):
        convert(options, Config)
