# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real mounts; they need root."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from pluggd.errors import FailedPrecondition, InvalidArgument, NotFound, PluggdError
from pluggd.model.types import Mount
from pluggd.mount import mount_all, mounted, unmount
from pluggd.mount.table import mounts_at

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

TMPFS = Mount(type="tmpfs", source="tmpfs", options=["size=1m", "nosuid"])


@pytest.fixture
def target(tmp_path: Path) -> Generator[Path]:
    path = tmp_path / "a target with\nodd characters"
    path.mkdir()
    yield path
    unmount(path, recursive=True, lazy=True)


def test_mounts_come_and_go(target: Path) -> None:
    mount_all([TMPFS], target)
    assert mounts_at(str(target)) == [str(target)]
    (target / "x").write_text("1")
    mount_all([TMPFS], target)
    assert not (target / "x").exists()
    assert len(mounts_at(str(target))) == 2
    unmount(target)
    assert mounts_at(str(target)) == []
    unmount(target)


def test_a_mount_may_lie_below_and_not_outside(target: Path) -> None:
    (target / "sub").mkdir()
    mount_all([Mount(type="tmpfs", source="t", target="sub")], target)
    assert mounts_at(str(target)) == []
    assert mounts_at(str(target), recursive=True) == [f"{target}/sub"]
    unmount(target, recursive=True)
    (target / "out").symlink_to("/tmp")
    for outside in ("..", "out", "/../.."):
        with pytest.raises(InvalidArgument, match="leads out of"):
            mount_all([Mount(type="tmpfs", source="t", target=outside)], target)


def test_a_read_only_bind_mount_is_read_only(target: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "x").write_text("1")
    bind = Mount(type="bind", source=str(source), options=["rbind", "ro"])
    with mounted([bind]) as path:
        assert path != str(source)
        assert Path(path, "x").read_text() == "1"
        with pytest.raises(OSError, match="Read-only"):
            Path(path, "y").write_text("2")
    assert not os.path.exists(path)


def test_all_or_none(target: Path) -> None:
    wrong = Mount(type="tmpfs", source="tmpfs", options=["sise=1m"])
    with pytest.raises(InvalidArgument, match=r'option "sise=1m": .*Unknown parameter'):
        mount_all([TMPFS, wrong], target)
    assert mounts_at(str(target)) == []


@pytest.mark.parametrize(
    ("mount", "error", "text"),
    [
        (
            Mount(type="bind", source="/no/such", options=["bind"]),
            NotFound,
            "/no/such does",
        ),
        (Mount(type="nofs", source="x"), FailedPrecondition, "does not know this type"),
        (
            Mount(type="overlay", source="o", options=["lowerdir=/no/such"]),
            NotFound,
            "/no/such does not exist",
        ),
        (
            Mount(type="overlay", source="o", options=["bogus=1", "lowerdir=/tmp"]),
            InvalidArgument,
            'option "bogus=1"',
        ),
    ],
)
def test_an_error_names_what_was_refused(
    target: Path, mount: Mount, error: type[PluggdError], text: str
) -> None:
    with pytest.raises(error, match=text):
        mount_all([mount], target)


def test_what_is_in_use_is_unmounted_lazily_or_not_at_all(target: Path) -> None:
    mount_all([TMPFS], target)
    with open(target / "x", "w"):
        with pytest.raises(FailedPrecondition, match="in use"):
            unmount(target)
        unmount(target, lazy=True)
    assert mounts_at(str(target)) == []


def test_more_layers_than_a_page_has_room_for(target: Path, tmp_path: Path) -> None:
    root = tmp_path / ("long" * 20)
    layers: list[str] = []
    for number in range(128):
        layer = root / str(number) / "fs"
        layer.mkdir(parents=True)
        (layer / f"file{number}").write_text(str(number))
        layers.append(str(layer))
    options = [f"lowerdir={':'.join(layers)}"]
    assert len(options[0]) > os.sysconf("SC_PAGESIZE")
    mount_all([Mount(type="overlay", source="overlay", options=options)], target)
    assert len(os.listdir(target)) == 128
