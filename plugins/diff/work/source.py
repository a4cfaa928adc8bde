# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The uncompressed bytes of a stored layer, with their digest.

One thread reads and decompresses, ahead of the one that extracts: zlib, zstd and
reads spend their time outside the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from pluggd.errors import InvalidArgument, ResourceExhausted

READ = 128 << 10
CHUNK = 512 << 10
AHEAD = 6
"""Chunks between the threads; with CHUNK, the memory that they take."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

NONE, GZIP, ZSTD, SNIFF = "none", "gzip", "zstd", "sniff"


class Source:
    """Iterate once, then ask for `digest` and `size`, which are of all bytes given.

    max_size: of the uncompressed bytes. max_window: of zstd, as a power of two.
    Iteration raises InvalidArgument (damaged data), ResourceExhausted (a limit).
    """

    def __init__(
        self, fd: int, compression: str, *, max_size: int, max_window: int
    ) -> None:
        self._fd = fd
        self._compression = compression
        self._max_size = max_size
        self._max_window = max_window
        self._hash = hashlib.sha256()
        self._chunks: queue.Queue[bytes | Exception | None] = queue.Queue(AHEAD)
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._closed = False
        self.read = 0
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def __iter__(self) -> Iterator[bytes]:
        self._thread.start()
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        """End the thread, wherever the iteration stands."""
        self._closed = True
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._chunks.get(timeout=0.01)

    def _fill(self) -> None:
        try:
            for chunk in self._plain():
                self.size += len(chunk)
                if self.size > self._max_size:
                    raise ResourceExhausted(
                        f"layer: more than {self._max_size} bytes uncompressed, the "
                        "limit max_layer_size: resource exhausted"
                    )
                self._hash.update(chunk)
                self._chunks.put(chunk)
                if self._closed:
                    return
        except Exception as error:  # noqa: BLE001  # raised in the other thread
            self._chunks.put(error)
        else:
            self._chunks.put(None)

    def _plain(self) -> Iterator[bytes]:
        first = self._next(READ)
        kind = self._compression
        if kind == SNIFF:
            kind = sniff(first)
        if kind == NONE:
            if sniff(first) != NONE:
                raise InvalidArgument(
                    f"invalid tar header: the data are {sniff(first)}, and the media "
                    "type says that they are not compressed"
                )
            return self._stored(first)
        if kind == GZIP:
            return self._members(first, _Gzip, b"\0")
        return self._members(first, self._zstd(), b"")

    def _next(self, size: int) -> bytes:
        # Not os.read: the place in the file is shared with whoever has it open, too.
        data = os.pread(self._fd, size, self.read)
        self.read += len(data)
        return data

    def _stored(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield data
            data = self._next(CHUNK)

    def _members(
        self, data: bytes, make: Callable[[], Any], padding: bytes
    ) -> Iterator[bytes]:
        """Gzip members or zstd frames, one after the other."""
        if not data:
            raise InvalidArgument("layer is truncated: it has no bytes")
        while data:
            decompressor = make()
            while not decompressor.eof:
                ended = False
                if decompressor.needs_input and not data:
                    data = self._next(READ)
                    ended = not data
                try:
                    chunk = decompressor.decompress(data, CHUNK)
                except Exception as error:  # noqa: BLE001  # each library has its own
                    raise InvalidArgument(f"layer is damaged: {error}") from None
                data = b""
                if chunk:
                    yield chunk
                elif ended and not decompressor.eof:
                    raise InvalidArgument(
                        "layer is truncated: it ends in the middle of its "
                        "compressed data"
                    )
            data = decompressor.unused_data or self._next(READ)
            while padding and data and not (data := data.lstrip(padding)):
                data = self._next(READ)

    def _zstd(self) -> Callable[[], Any]:
        from .zstd import DecompressionParameter, ZstdDecompressor

        options: dict[int, int] = {
            DecompressionParameter.window_log_max: self._max_window
        }
        return lambda: ZstdDecompressor(options=options)


class _Gzip:
    """zlib with the interface that the standard library's other decompressors have."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail or data, size)


def sniff(data: bytes) -> str:
    """The compression that the first bytes tell."""
    if data.startswith(GZIP_MAGIC):
        return GZIP
    if data.startswith(ZSTD_MAGIC):
        return ZSTD
    return NONE
