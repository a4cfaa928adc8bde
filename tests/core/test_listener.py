# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The socket file: whose it is, what was there before, what is left."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from pluggd.core.listener import MAX_PATH, open_listener, validate_address
from pluggd.errors import FailedPrecondition, InvalidArgument


async def test_the_socket_has_its_mode_and_is_removed(tmp_path: Path) -> None:
    address = tmp_path / "s"
    async with open_listener(address, mode=0o620):
        status = os.lstat(address)
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o620
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(address))
    assert not address.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_the_socket_has_its_owner_and_group(tmp_path: Path) -> None:
    async with open_listener(tmp_path / "s", uid=1234, gid=5678):
        status = os.lstat(tmp_path / "s")
        assert (status.st_uid, status.st_gid) == (1234, 5678)


async def test_nobody_can_connect_before_owner_and_mode_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "s"
    refused: list[int] = []
    chmod = os.chmod

    def chmod_and_try(path: Path, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            refused.append(client.connect_ex(str(address)))
        chmod(path, mode)

    monkeypatch.setattr(os, "chmod", chmod_and_try)
    async with open_listener(address):
        pass
    assert refused == [111]


async def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    address = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(address))
    dead.listen()
    dead.close()
    async with open_listener(address):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(address))


async def test_the_socket_of_another_program_is_refused(tmp_path: Path) -> None:
    address = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(address))
        other.listen(0)
        with pytest.raises(FailedPrecondition, match="another program listens on"):
            async with open_listener(address):
                pass
    assert address.exists()


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    address = tmp_path / "s"
    address.write_text("precious")
    with pytest.raises(FailedPrecondition, match="exists and is no socket"):
        async with open_listener(address):
            pass
    assert address.read_text() == "precious"


async def test_the_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    address = tmp_path / "s"
    async with open_listener(address):
        address.unlink()
        address.write_text("somebody else's")
    assert address.exists()


def test_a_path_that_is_too_long_is_told_with_the_limit() -> None:
    with pytest.raises(
        InvalidArgument, match=f"has 108 bytes, the system allows {MAX_PATH}"
    ):
        validate_address(Path("/" + "x" * 107))
    validate_address(Path("/" + "x" * 106))
