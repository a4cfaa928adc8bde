# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One entry of a layer's tar, and how it is named in messages.

Names are bytes: a layer may hold names that are no UTF-8, and the file system takes
them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FILE = b"0"
HARDLINK = b"1"
SYMLINK = b"2"
CHAR_DEVICE = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"

DATALESS = frozenset((HARDLINK, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO))
"""Kinds that have no data, whatever size their header states."""

Segments = list[tuple[int, int]]
"""Where the data of a sparse file lie: offset and length, in order."""


@dataclass(slots=True)
class Entry:
    """kind: one of the above. size: bytes of data that follow in the archive.

    mtime in ns. sparse: None for an ordinary file; then `apparent` is its size.
    """

    name: bytes
    kind: bytes = FILE
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    sparse: Segments | None = None
    apparent: int = 0


def shown(name: bytes) -> str:
    """A name for a message: in quotes, on one line, cut when it is long."""
    text = name.decode("utf-8", "backslashreplace")
    if len(text) > 200:
        text = f"{text[:200]}…"
    return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) + '"'
