# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a new layer goes: hashed, compressed, hashed again, written."""

from __future__ import annotations

import hashlib
import os
import zlib
from typing import Protocol

GZIP_LEVEL = 6
ZSTD_LEVEL = 3
PIECE = 256 << 10
"""Bytes that are collected before they are compressed: headers are small."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class Sink:
    """`write`, then `close`; then diff_id, digest and size are of the whole."""

    def __init__(self, fd: int, compression: str) -> None:
        self._fd = fd
        self._compressor = _compressor(compression)
        self._plain = hashlib.sha256()
        self._stored = hashlib.sha256()
        self._pieces = bytearray()
        self.size = 0
        self.written = 0

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._plain.hexdigest()}"

    @property
    def digest(self) -> str:
        return f"sha256:{self._stored.hexdigest()}"

    def write(self, data: bytes) -> None:
        self._pieces += data
        if len(self._pieces) >= PIECE:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._store(self._compressor.flush())

    def _flush(self) -> None:
        data = bytes(self._pieces)
        self._pieces.clear()
        self.written += len(data)
        self._plain.update(data)
        self._store(self._compressor.compress(data))

    def _store(self, data: bytes) -> None:
        self._stored.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def _compressor(compression: str) -> _Compressor:
    if compression == "gzip":
        # Its header has no name and no time.
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    if compression == "zstd":
        from .zstd import ZstdCompressor

        return ZstdCompressor(level=ZSTD_LEVEL)
    return _Plain()
