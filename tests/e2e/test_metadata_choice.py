# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A daemon on the metadata store that its configuration chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from pluggd.errors import FailedPrecondition
from pluggd.services.namespaces import Namespace
from pluggd.testing import running_daemon

LMDB, SQLITE = "pluggd.metadata.v1.lmdb", "pluggd.metadata.v1.sqlite"
CHOICE = '[select]\nmetadata = "sqlite"\n'


async def test_only_the_store_that_counts_is_started(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with running_daemon(tmp_path, CHOICE) as daemon:
            assert (daemon.status(LMDB), daemon.status(SQLITE)) == ("disabled", "ok")
            assert not (tmp_path / "root" / LMDB).exists()
            assert (tmp_path / "root" / SQLITE / "meta" / "metadata.db").exists()
            async with daemon.client() as client:
                await client.namespaces.create(namespace=Namespace(name="kept"))
        async with (
            running_daemon(tmp_path, CHOICE) as daemon,
            daemon.client() as client,
        ):
            assert (await client.namespaces.get(name="kept")).name == "kept"


async def test_a_reload_changes_over_and_nobody_enables_a_second_one(
    tmp_path: Path,
) -> None:
    with trio.fail_after(30):
        async with running_daemon(tmp_path) as daemon, daemon.client() as client:
            assert (daemon.status(LMDB), daemon.status(SQLITE)) == ("ok", "disabled")
            with pytest.raises(FailedPrecondition, match="not selected"):
                await client.management.enable(uri=SQLITE)
            (tmp_path / "config.toml").write_text(CHOICE)
            await client.management.reload()
            assert (daemon.status(LMDB), daemon.status(SQLITE)) == ("disabled", "ok")
            assert daemon.status("pluggd.images.v1.store") == "ok"
            (tmp_path / "config.toml").write_text("")
            await client.management.reload()
            assert (daemon.status(LMDB), daemon.status(SQLITE)) == ("ok", "disabled")
