# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blobs are not removed because the records that name them are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

from pluggd.testing import running_daemon

URI = "pluggd.content.v1.local"
DATA = b"worth keeping" * 2000
"""Too much to lie in the metadata store."""


def blobs(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in tmp_path.glob(f"root/{URI}/blobs/*/*")]


async def store_a_blob(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path) as daemon,
        daemon.client(namespace="default") as client,
    ):
        await client.content.write(
            ref="r", action="commit", data=DATA, labels={"containerd.io/gc.root": "1"}
        )


def lose_the_metadata(tmp_path: Path) -> None:
    (directory,) = tmp_path.glob("root/pluggd.metadata.v1.*")
    shutil.rmtree(directory)


async def test_a_lost_metadata_store_does_not_cost_the_blobs(tmp_path: Path) -> None:
    await store_a_blob(tmp_path)
    lose_the_metadata(tmp_path)
    async with running_daemon(tmp_path) as daemon:
        assert daemon.status(URI) == "failed"
        (reason,) = (i.reason for i in daemon.daemon.plugins() if i.uri == URI)
        assert "not those of this metadata store" in reason
        assert "move the directory away" in reason
    assert blobs(tmp_path) == [DATA]


async def test_also_without_the_name_the_blobs_stay(tmp_path: Path) -> None:
    await store_a_blob(tmp_path)
    lose_the_metadata(tmp_path)
    (tmp_path / "root" / URI / "id").unlink()
    async with running_daemon(tmp_path) as daemon:
        assert daemon.status(URI) == "failed"
    assert blobs(tmp_path) == [DATA]


async def test_the_blobs_of_another_store_are_refused(tmp_path: Path) -> None:
    await store_a_blob(tmp_path / "one")
    await store_a_blob(tmp_path / "two")
    shutil.rmtree(tmp_path / "two" / "root" / URI)
    shutil.move(tmp_path / "one" / "root" / URI, tmp_path / "two" / "root" / URI)
    async with running_daemon(tmp_path / "two") as daemon:
        assert daemon.status(URI) == "failed"
    assert blobs(tmp_path / "two") == [DATA]


async def test_a_kill_in_the_middle_of_the_first_start_is_made_good(
    tmp_path: Path,
) -> None:
    name = tmp_path / "root" / URI / "id"
    await store_a_blob(tmp_path)
    before = name.read_text()
    name.unlink()
    async with running_daemon(tmp_path) as daemon:
        assert daemon.status(URI) == "ok"
    assert name.read_text() == before
    assert blobs(tmp_path) == [DATA]
