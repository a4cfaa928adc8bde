# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What lies on the disk, and that nothing stays there that nobody names."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pluggd.contents import cleaning
from pluggd.contents.records import TRASH
from pluggd.errors import NotFound
from pluggd.services.call import using
from pluggd.services.content import Content, Info
from pluggd.services.metadata import Metadata, View
from pluggd.testing.memory import memory_metadata
from plugins.content import disk as disk_module
from plugins.content.config import Config
from tests.plugins.content.content_setup import (
    FILES,
    ON_DISK,
    digest_of,
    started_content,
    started_lmdb,
)


@pytest.fixture
async def metadata() -> AsyncGenerator[Metadata]:
    async with memory_metadata() as metadata:
        yield metadata


@pytest.fixture(autouse=True)
def in_namespace() -> Iterator[None]:
    with using(namespace="one"):
        yield


@asynccontextmanager
async def both_started(
    root: Path,
    config: Config = FILES,
) -> AsyncGenerator[Content]:
    """The plugin over the metadata store on disk: this can be started again."""
    async with (
        started_lmdb(root.parent / f"{root.name} metadata") as metadata,
        started_content(root, metadata, config) as content,
    ):
        yield content


def files(root: Path) -> list[str]:
    """What is there but the name of the store."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path != root / "id"
    )


def blob_file(data: bytes) -> str:
    return "blobs/" + digest_of(data).replace(":", "/")


async def settled(root: Path, expected: list[str]) -> None:
    with trio.fail_after(10):
        while files(root) != expected:
            await trio.lowlevel.checkpoint()


async def test_a_blob_is_a_read_only_file_under_its_digest(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", action="commit", data=b"hello")
        await content.write(ref="s", data=b"hel")
        await content.write(ref="s", action="commit", offset=3, data=b"p")
        opened = await content.ingest_open(ref="t")
        os.close(opened.fd)
        await content.write(ref="t", action="commit")
    blobs = sorted([blob_file(b"hello"), blob_file(b"help"), blob_file(b"")])
    assert files(tmp_path) == blobs
    for name in blobs:
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o444
    assert (tmp_path / blob_file(b"hello")).read_bytes() == b"hello"


async def test_the_bytes_are_stored_once(tmp_path: Path, metadata: Metadata) -> None:
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", action="commit", data=b"hello")
        inode = (tmp_path / blob_file(b"hello")).stat().st_ino
        with using(namespace="two"):
            await content.write(ref="r", action="commit", data=b"hello")
        with using(namespace="three"):
            await content.write(ref="r", data=b"hello")
            await content.write(ref="r", action="commit", offset=5)
    assert files(tmp_path) == [blob_file(b"hello")]
    assert (tmp_path / blob_file(b"hello")).stat().st_ino == inode


async def test_the_file_goes_with_the_last_reference(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:
        with using(namespace="two"):
            await content.write(
                ref="r",
                action="commit",
                data=b"hello",
                labels={"containerd.io/gc.root": "1"},
            )
        await content.write(ref="r", action="commit", data=b"hello")
        await content.delete(digest=digest_of(b"hello"))
        await metadata.collect()
        assert files(tmp_path) == [blob_file(b"hello")]
        with using(namespace="two"):
            await content.delete(digest=digest_of(b"hello"))
        await metadata.collect()
        assert files(tmp_path) == []
        assert metadata.read(lambda view: list(view.scan(TRASH, ""))) == []


async def test_an_aborted_or_collected_ingest_leaves_no_file(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata, ON_DISK) as content:
        await content.write(ref="r", data=b"hello")
        assert len(files(tmp_path)) == 1
        await content.abort(ref="r")
        assert files(tmp_path) == []


async def test_a_blob_that_is_read_while_it_goes_is_read_whole(
    tmp_path: Path, metadata: Metadata
) -> None:
    data = os.urandom(3 << 20)
    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", action="commit", data=data)
        send, receive = trio.open_memory_channel[bytes](0)
        got: list[bytes] = []

        async def fetch() -> None:
            await content.fetch(digest=digest_of(data), out=send)
            send.close()

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch)
                got.append(await receive.receive())
                await content.delete(digest=digest_of(data))
                await metadata.collect()
                assert files(tmp_path) == []
                got += [item async for item in receive]
        assert b"".join(got) == data


async def test_a_blob_that_is_committed_while_its_file_goes_stays(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing, go_on = threading.Event(), threading.Event()
    unlink = os.unlink

    def slow_unlink(path: str) -> None:
        removing.set()
        assert go_on.wait(10)
        unlink(path)

    async with started_content(tmp_path, metadata) as content:
        await content.write(ref="r", action="commit", data=b"hello")
        await content.delete(digest=digest_of(b"hello"))
        with trio.fail_after(20), monkeypatch.context() as patch:
            patch.setattr(os, "unlink", slow_unlink)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(metadata.collect)
                await trio.to_thread.run_sync(removing.wait, 10)
                done = trio.Event()

                async def commit() -> None:
                    await content.write(ref="r", action="commit", data=b"hello")
                    done.set()

                nursery.start_soon(commit)
                # It must wait for the removal; that it does not come is seen in time.
                with trio.move_on_after(0.3):
                    await done.wait()
                assert not done.is_set()
                go_on.set()
        assert (await content.verify(digest=digest_of(b"hello"))).size == 5
        assert metadata.read(lambda view: list(view.scan(TRASH, ""))) == []


async def test_an_ingest_is_taken_up_after_a_restart(tmp_path: Path) -> None:
    async with both_started(tmp_path) as content:
        await content.write(ref="r", data=b"hello ", total=11)
        opened = await content.ingest_open(ref="fd")
        os.write(opened.fd, b"written ")
    async with both_started(tmp_path) as content:
        state = await content.write(ref="r", action="stat")
        assert (state.offset, state.total, state.digest) == (
            6,
            11,
            digest_of(b"hello "),
        )
        result = await content.write(ref="r", action="commit", offset=6, data=b"world")
        assert result.digest == digest_of(b"hello world")
        # The descriptor outlived the daemon; its holder may go on, and is waited for.
        os.write(opened.fd, b"later")
        os.close(opened.fd)
        result = await content.write(ref="fd", action="commit")
        assert result.digest == digest_of(b"written later")


async def test_what_a_kill_left_behind_is_removed_after_the_start(
    tmp_path: Path,
) -> None:
    async with both_started(tmp_path, ON_DISK) as content:
        await content.write(ref="r", action="commit", data=b"kept")
        await content.write(ref="s", data=b"kept too")
        ingest = next(name for name in files(tmp_path) if name.startswith("ingest/"))
    # Renamed and not recorded; begun and not recorded; a piece in one message.
    stray = blob_file(b"stray")
    (tmp_path / stray).write_bytes(b"stray")
    (tmp_path / "ingest" / ("0" * 64)).write_bytes(b"half")
    (tmp_path / "ingest" / "new-1-abcdef-1").write_bytes(b"half")
    async with both_started(tmp_path) as content:
        with pytest.raises(NotFound):
            await content.info(digest=digest_of(b"stray"))
        await settled(tmp_path, sorted([blob_file(b"kept"), ingest]))
        assert (await content.read(digest=digest_of(b"kept"))).data == b"kept"
        assert (await content.write(ref="s", action="stat")).offset == 8


async def test_trash_that_a_kill_left_is_removed_after_the_start(
    tmp_path: Path,
) -> None:
    async with both_started(tmp_path) as content:
        await content.write(ref="r", action="commit", data=b"hello")
        await content.delete(digest=digest_of(b"hello"))
        assert files(tmp_path) == [blob_file(b"hello")]
    async with both_started(tmp_path):
        await settled(tmp_path, [])


async def test_reconciling_leaves_running_commits_alone(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata) as content:

        async def commit(number: int) -> None:
            for step in range(10):
                data = b"%d %d" % (number, step)
                await content.write(ref=f"{number}", action="commit", data=data)
                await content.update(
                    info=Info(
                        digest=digest_of(data), labels={"containerd.io/gc.root": "1"}
                    )
                )

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(commit, number)
        for number in range(4):
            for step in range(10):
                await content.verify(digest=digest_of(b"%d %d" % (number, step)))


async def test_an_unused_ingest_expires_a_day_after_its_last_use(
    tmp_path: Path, metadata: Metadata
) -> None:
    async with started_content(tmp_path, metadata, ON_DISK) as content:
        assert metadata.next_expiry() is None
        result = await content.write(ref="r", data=b"x")
        expiry = metadata.next_expiry()
        assert expiry is not None
        assert expiry - result.started_at == 24 * 3600 * 1_000_000_000


def test_the_directories_of_a_new_store_are_synced_when_all_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob that is durable in a directory that is not would be gone with it."""
    synced: dict[str, list[str]] = {}

    def fsync(fd: int) -> None:
        synced[os.readlink(f"/proc/self/fd/{fd}")] = sorted(os.listdir(fd))

    monkeypatch.setattr(os, "fsync", fsync)
    disk_module.Disk(tmp_path).prepare()
    assert synced == {
        str(tmp_path): ["blobs", "ingest"],
        str(tmp_path / "blobs"): ["sha256", "sha384", "sha512"],
    }


@pytest.mark.parametrize(
    ("known", "order"),
    [
        (False, ["pwrite", "rename", "fdatasync", "fsync"]),
        (True, ["pwrite", "fdatasync", "rename", "fsync"]),
    ],
)
def test_the_order_in_which_a_blob_gets_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool, order: list[str]
) -> None:
    """Bytes that a record names already are synced before they get their name."""
    disk = disk_module.Disk(tmp_path)
    disk.prepare()
    steps = noted(monkeypatch)
    disk.put(digest_of(b"hello"), b"hello", known=known)
    assert steps == order
    assert files(tmp_path) == [blob_file(b"hello")]
    assert (tmp_path / blob_file(b"hello")).stat().st_mode & 0o777 == 0o444


async def test_a_blob_is_durable_before_its_record_and_that_before_the_answer(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started_content(tmp_path, metadata) as content:
        steps = noted(monkeypatch)
        metadata.on_commit(lambda _: steps.append("record"))
        await content.write(ref="r", action="commit", data=b"hello")
        steps.append("answer")
        assert steps == ["pwrite", "rename", "fdatasync", "fsync", "record", "answer"]
        steps.clear()
        (tmp_path / blob_file(b"hello")).unlink()
        with using(namespace="two"):
            await content.write(ref="r", action="commit", data=b"hello")
        steps.append("answer")
        assert steps == ["pwrite", "fdatasync", "rename", "fsync", "record", "answer"]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of putting bytes in place, as they happen from now on."""
    steps: list[str] = []

    def record(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            steps.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("pwrite", "fdatasync", "rename", "fsync"):
        record(name)
    return steps


async def test_a_blob_that_is_deleted_beside_a_cleanup_is_not_forgotten(
    tmp_path: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was trash, came anew, was looked at, and went again: its file is trash."""
    digest = digest_of(b"hello")
    listed = [[digest], [digest]]  # whether there is any, and what
    deleted: list[str] = []
    look = cleaning.Cleaner._without_record  # pyright: ignore[reportPrivateUsage]

    def list_once(view: View, after: str) -> list[str]:
        return listed.pop() if listed else []

    async with started_content(tmp_path, metadata) as content:

        async def look_and_delete(
            self: cleaning.Cleaner, digests: Sequence[str]
        ) -> list[str]:
            found = await look(self, digests)
            if not deleted:  # the start's own look may come here, too
                deleted.append(digest)
                await content.delete(digest=digest)
            return found

        (cleanup,) = [r.cleanup for r in metadata.resources() if r.cleanup is not None]
        await content.write(ref="r", action="commit", data=b"hello")
        with monkeypatch.context() as patch:
            patch.setattr(cleaning, "next_trash", list_once)
            patch.setattr(cleaning.Cleaner, "_without_record", look_and_delete)
            await cleanup()
        await cleanup()
        assert files(tmp_path) == []
