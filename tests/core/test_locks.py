# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One daemon per lock; the second is told who has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from pluggd.core.locks import AlreadyRunning, locked


async def test_a_second_owner_is_refused_within_two_seconds_with_the_pid_of_the_first(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "lock"
    async with locked(path, "root /r", "choose another --root"):
        with trio.fail_after(2), pytest.raises(AlreadyRunning) as caught:
            async with locked(path, "root /r", "choose another --root"):
                pass
    assert caught.value.message == (
        f"root /r is in use by another pluggd (pid {os.getpid()}), which holds {path}:"
        " stop it, or choose another --root: failed precondition"
    )


async def test_a_lock_is_free_again_after_use(tmp_path: Path) -> None:
    for _ in range(2):
        async with locked(tmp_path / "lock", "x", "y"):
            pass


async def test_an_owner_that_is_just_leaving_is_waited_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "lock"
    got = trio.Event()

    async def second() -> None:
        async with locked(path, "x", "y"):
            got.set()

    async with trio.open_nursery() as nursery, locked(path, "x", "y"):
        nursery.start_soon(second)
        await trio.sleep(0.4)
        assert not got.is_set()
    assert got.is_set()


async def test_a_file_left_by_a_killed_owner_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("4194303\n")
    async with locked(path, "x", "y"):
        assert path.read_text() == f"{os.getpid()}\n"
