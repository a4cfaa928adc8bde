# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A daemon whose content is in a bucket: an image in and out, and kill -9 on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import NotFound, Unavailable
from pluggd.model.types import Descriptor
from pluggd.services.call import using
from pluggd.services.images import Image
from pluggd.services.transfer import Progress
from pluggd.testing import running_daemon
from pluggd.testing.images import small_layout
from tests.plugins.content_s3.content_s3_setup import options
from tests.plugins.content_s3.s3_server import S3Server, server

S3 = "pluggd.content.v1.s3"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[S3Server]:
    """By itself, as the reason of a skip does not come out of a coroutine."""
    yield from server(tmp_path / "objects")


@pytest.fixture
async def s3(installed: S3Server) -> S3Server:
    await installed.start()
    return installed


def config(s3: S3Server) -> dict[str, object]:
    return {"select": {"content": "s3"}, "plugins": {S3: options(s3)}}


async def import_archive(client: Client, data: bytes) -> list[str]:
    """The names of the images."""
    send, source = trio.open_memory_channel[bytes](1)
    progress, _shown = trio.open_memory_channel[Progress](1000)
    await send.send(data)
    await send.aclose()
    imported = await client.transfer.import_(source=source, progress=progress)
    return [image.name for image in imported.images]


async def test_an_image_is_imported_shared_and_removed(
    tmp_path: Path, s3: S3Server
) -> None:
    archive = small_layout().tar()
    with trio.fail_after(60):
        async with running_daemon(tmp_path, config(s3)) as daemon:
            assert daemon.status(S3) == "ok"
            assert daemon.status("pluggd.content.v1.local") == "disabled"
            async with daemon.client(namespace="one") as one:
                (name,) = await import_archive(one, archive)
                blobs = (await one.content.list()).infos
                assert len(blobs) == len(s3.keys()) > 2
                async with daemon.client(namespace="two") as two:
                    # Naming a digest is enough: no byte is sent again.
                    for blob in blobs:
                        state = await two.content.write(
                            ref="r", action="stat", expected=blob.digest
                        )
                        assert state.offset == blob.size
                        await two.content.write(
                            ref="r",
                            action="commit",
                            offset=blob.size,
                            labels={"containerd.io/gc.root": "1"},
                        )
                    await one.images.delete(name=name, sync=True)
                    assert (await one.content.list()).infos == []
                    assert len(s3.keys()) == len(blobs)
                    for blob in blobs:
                        await two.content.delete(digest=blob.digest, sync=True)
                assert s3.keys() == []


async def test_a_deletion_in_an_outage_says_that_bytes_are_left(
    tmp_path: Path, s3: S3Server
) -> None:
    digest = f"sha256:{hashlib.sha256(b'blob').hexdigest()}"
    target = Descriptor(media_type="application/x", digest=digest, size=4)
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, config(s3)) as daemon,
            daemon.client(namespace="one") as client,
            daemon.client(namespace="two") as other,
        ):
            for each in (client, other):
                await each.leases.create(id="l")
                with using(lease="l"):
                    await each.content.write(ref="r", action="commit", data=b"blob")
            # Somebody else has it: nothing was to be removed.
            s3.stop()
            await client.content.delete(digest=digest, sync=True)
            await other.images.create(image=Image(name="i", target=target))
            await other.leases.delete(id="l", sync=True)
            with pytest.raises(Unavailable, match=r"is deleted.*cannot be reached"):
                await other.images.delete(name="i", sync=True)
            with pytest.raises(NotFound):
                await other.content.info(digest=digest)
            stats = await client.gc.run(wait=True)
            assert stats is not None
            assert list(stats.left) == ["content"]
            assert len(s3.keys()) == 1
            await s3.start()
            while s3.keys():  # noqa: ASYNC110 - it is tried again by itself
                await trio.sleep(0.05)
            stats = await client.gc.run(wait=True)
            assert stats is not None
            assert stats.left == {}


async def test_a_large_ingest_goes_on_after_kill_9(
    tmp_path: Path, s3: S3Server
) -> None:
    data = os.urandom(1 << 20) * 24
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with trio.fail_after(90):
        async with running_daemon(tmp_path, config(s3), subprocess=True) as daemon:
            async with daemon.client(namespace="one") as client:
                for start in range(0, 16 << 20, 1 << 20):
                    piece = data[start : start + (1 << 20)]
                    await client.content.write(
                        ref="big", offset=start, data=piece, total=len(data)
                    )
            daemon.kill()
        assert s3.keys() == []
        async with (
            running_daemon(tmp_path, config(s3), subprocess=True) as daemon,
            daemon.client(namespace="one") as client,
        ):
            offset = (await client.content.status(ref="big")).offset
            assert offset == 16 << 20
            for start in range(offset, len(data), 1 << 20):
                piece = data[start : start + (1 << 20)]
                await client.content.write(ref="big", offset=start, data=piece)
            await client.content.write(
                ref="big",
                action="commit",
                offset=len(data),
                expected=digest,
                labels={"containerd.io/gc.root": "1"},
            )
            # What was answered is in the bucket.
            assert s3.keys() == ["blobs/" + digest.replace(":", "/")]
            daemon.kill()
        async with (
            running_daemon(tmp_path, config(s3), subprocess=True) as daemon,
            daemon.client(namespace="one") as client,
        ):
            assert (await client.content.verify(digest=digest)).size == len(data)
