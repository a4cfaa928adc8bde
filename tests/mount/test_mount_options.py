# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options as text, and long lists of layers; no privilege needed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.types import Mount
from pluggd.mount import mount_all, mounted
from pluggd.mount.lowerdirs import PAGE, in_directory, shortened
from pluggd.mount.options import parse_options


def test_options_become_flags_and_data() -> None:
    parsed = parse_options(
        ["rbind", "ro", "nosuid", "rslave", "size=1m", "defaults", ""]
    )
    assert parsed.flags == 4096 | 16384 | 1 | 2
    assert parsed.propagation == 1 << 19 | 16384
    assert parsed.data == ("size=1m",)


def test_a_later_option_overrides() -> None:
    assert parse_options(["ro", "rw"]).flags == 0
    assert parse_options(["rw", "ro"]).flags == 1


def test_a_loop_device_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match='"loop"'):
        parse_options(["loop"])


def test_a_bind_mount_is_its_source_without_privilege(tmp_path: Path) -> None:
    write = Mount(type="bind", source=str(tmp_path), options=["rbind", "rw"])
    with mounted([write]) as path:
        assert path == str(tmp_path)
    read = Mount(type="bind", source=str(tmp_path), options=["ro", "rbind"])
    with mounted([read], reading=True) as path:
        assert path == str(tmp_path)


def test_no_mounts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no mounts"):
        mount_all([], tmp_path)


def test_short_options_stay_as_they_are() -> None:
    options = ["index=off", "lowerdir=/a/1/fs:/a/2/fs"]
    assert shortened(options) == ("", tuple(options))


def test_long_options_become_relative_to_what_the_layers_share() -> None:
    root = "/a/rather/long/path/to/where/the/snapshots/are"
    layers = [f"{root}/{number}/fs" for number in range(200)]
    options = ["workdir=/w", f"lowerdir={':'.join(layers)}"]
    assert len(options[1]) > PAGE
    directory, short = shortened(options)
    assert directory == root
    assert short[0] == "workdir=/w"
    assert short[1] == "lowerdir=" + ":".join(f"{n}/fs" for n in range(200))


def test_options_that_never_fit_say_so() -> None:
    layers = ":".join(f"/x/{number:0100d}/fs" for number in range(200))
    with pytest.raises(InvalidArgument, match="for 200 layers, and the kernel takes"):
        shortened([f"lowerdir={layers}"])


def test_the_working_directory_is_that_of_one_thread(tmp_path: Path) -> None:
    seen: list[str] = []
    before = os.getcwd()
    in_directory(str(tmp_path), lambda: seen.append(os.getcwd()))
    assert seen == [str(tmp_path)]
    assert os.getcwd() == before
    other: list[str] = []
    thread = threading.Thread(target=lambda: other.append(os.getcwd()))
    thread.start()
    thread.join()
    assert other == [before]


def test_an_error_in_another_directory_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        in_directory(str(tmp_path / "no"), lambda: None)
