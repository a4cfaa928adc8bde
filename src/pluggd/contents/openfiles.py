# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of running ingests, kept open between calls with a running hash.

A cache and nothing more: an ingest that is not in it is opened and hashed again, as
after a restart. Whoever uses an entry holds the lock of its ref.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from typing import Protocol

import trio
import trio.from_thread

from pluggd.contents.files import failing_as
from pluggd.contents.spool import Spool
from pluggd.errors import FailedPrecondition

MAX_OPEN = 128
_BUFFER = 4 << 20


class Hasher(Protocol):
    """What `hashlib.new` makes."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class OpenFile:
    """An ingest's file, its size and the hash of its bytes. All methods but the
    properties block."""

    def __init__(self, spool: Spool, file: str, algorithm: str) -> None:
        self.file = file
        self.algorithm = algorithm
        self.offset = 0
        self._spool = spool
        self._hasher: Hasher = hashlib.new(algorithm)
        self.fd = spool.open_ingest(file)
        try:
            self._catch_up()
        except BaseException:
            os.close(self.fd)
            raise

    @property
    def digest(self) -> str:
        """Of the bytes so far."""
        return f"{self.algorithm}:{self._hasher.hexdigest()}"

    def append(self, data: bytes) -> None:
        """Write at the end; on failure the file is as it was."""
        self._spool.append(self.fd, self.file, data, self.offset)
        self._hasher.update(data)
        self.offset += len(data)

    def truncate(self) -> None:
        path = self._spool.ingest_path(self.file)
        with failing_as(f"truncate {path}"):
            os.ftruncate(self.fd, 0)
        self.offset = 0
        self._hasher = hashlib.new(self.algorithm)

    def close(self) -> None:
        os.close(self.fd)

    def _catch_up(self) -> None:
        buffer = bytearray(min(_BUFFER, os.fstat(self.fd).st_size) or 1)
        view = memoryview(buffer)
        with failing_as(f"read {self._spool.ingest_path(self.file)}"):
            while count := os.preadv(self.fd, [buffer], self.offset):
                self._hasher.update(view[:count])
                self.offset += count
                trio.from_thread.check_cancelled()


class OpenFiles:
    """The least recently used is closed when there are more than MAX_OPEN."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._busy: set[str] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def get(self, file: str, ref: str, algorithm: str) -> OpenFile:
        """The open file of an ingest, busy until `rest` or `forget`."""
        if file in self._spool.poisoned:
            raise FailedPrecondition(
                f'"{ref}" could not be synced to disk; abort it and send its bytes '
                f"again: failed precondition"
            )
        found = self._open.get(file)
        if found is None or (found.algorithm != algorithm and found.offset == 0):
            self.forget(file)
            found = await trio.to_thread.run_sync(
                OpenFile, self._spool, file, algorithm
            )
            self._open[file] = found
        self._open.move_to_end(file)
        self._busy.add(file)
        return found

    def rest(self, file: str) -> None:
        """The call that used it is over; it may be closed when others need room."""
        self._busy.discard(file)
        excess = len(self._open) - MAX_OPEN
        if excess > 0:
            idle = [name for name in self._open if name not in self._busy]
            for name in idle[:excess]:
                self.forget(name)

    def forget(self, file: str) -> None:
        self._busy.discard(file)
        found = self._open.pop(file, None)
        if found is not None:
            found.close()

    def close(self) -> None:
        for file in list(self._open):
            self.forget(file)
