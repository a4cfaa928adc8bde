# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the overlayfs snapshotter found out is not found out again before it may differ."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from pluggd.model.record import replace
from pluggd.plugin import Skip
from pluggd.testing import started
from plugins.overlayfs.config import Config
from plugins.overlayfs.registration import pluggd_register
from plugins.overlayfs.remembering import Circumstances, circumstances, remember

# They would be no options of a mount, so where they come from is certain.
REMEMBERED = ("as", "remembered")


async def options(root: Path) -> str:
    """What the plugin says at a start that it mounts with."""
    try:
        async with started(pluggd_register(), {}, Config(), root) as (_, context):
            return context.exports["options"]
    except* Skip as skip:
        pytest.skip(str(skip.exceptions[0]))


def memory_of(root: Path) -> Path:
    return root / "worked"


def now(root: Path) -> Circumstances:
    found = circumstances(str(root), [])
    assert found is not None
    return found


@pytest.fixture
async def tried(tmp_path: Path) -> str:
    """The options that work; there was a start that found them out."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    return await options(tmp_path)


async def test_a_start_takes_what_worked_at_the_one_before(
    tmp_path: Path, tried: str
) -> None:
    assert await options(tmp_path) == tried
    remember(memory_of(tmp_path), now(tmp_path), REMEMBERED)
    assert await options(tmp_path) == ",".join(REMEMBERED)


@pytest.mark.parametrize(
    "change",
    [
        {"boot": "another boot"},
        {"root": "/elsewhere"},
        {"device": -1},
        {"namespace": -1},
        {"capabilities": "0"},
        {"extra": ["metacopy=on"]},
    ],
    ids=lambda change: next(iter(cast("dict[str, object]", change))),
)
async def test_it_is_tried_again_when_anything_is_different(
    tmp_path: Path, tried: str, change: dict[str, object]
) -> None:
    other = replace(now(tmp_path), **change)
    remember(memory_of(tmp_path), other, REMEMBERED)
    assert await options(tmp_path) == tried
    # And what was found out now counts from here on.
    assert await options(tmp_path) == tried


async def test_it_is_tried_again_when_the_memory_is_damaged(
    tmp_path: Path, tried: str
) -> None:
    memory_of(tmp_path).write_bytes(b"\xc1")
    assert await options(tmp_path) == tried


async def test_nothing_is_kept_of_what_did_not_work(tmp_path: Path, tried: str) -> None:
    del tried
    config = Config(mount_options=["nonsense=1"])
    with pytest.raises(ExceptionGroup) as caught:
        async with started(pluggd_register(), {}, config, tmp_path):
            pass
    assert caught.group_contains(Skip, match="does not work")
    assert not memory_of(tmp_path).exists()
