# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The name of the store as a file beside its blobs (`pluggd.contents.identity`)."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from .disk import Disk

_FILE = "id"


class FileMark:
    """A `Mark` of a directory."""

    place = ""
    way_out = "move the directory away"

    def __init__(self, root: Path, disk: Disk) -> None:
        self.where = str(root)
        self._file = root / _FILE
        self._disk = disk

    async def read(self) -> str | None:
        return await trio.to_thread.run_sync(_read, self._file)

    async def write(self, name: str) -> None:
        await trio.to_thread.run_sync(_write, self._file, name)

    async def is_empty(self) -> bool:
        return not await trio.to_thread.run_sync(self._disk.has_blobs)


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        return None


def _write(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
