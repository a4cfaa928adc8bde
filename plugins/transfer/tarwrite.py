# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Entries of an archive that is the same, byte for byte, for the same content."""

from __future__ import annotations

import tarfile

BLOCK = 512


def file_header(name: str, size: int, mode: int = 0o644) -> bytes:
    """The header of a regular file: owner 0, time 0; pax only where ustar is too small."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = mode
    return entry.tobuf(tarfile.PAX_FORMAT)


def directory_header(name: str) -> bytes:
    """The header of a directory, mode 0755."""
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE
    entry.mode = 0o755
    return entry.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """What follows a file of this size."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)
"""The end mark."""
