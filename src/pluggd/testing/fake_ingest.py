# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One ingest of the fake content store: a file in memory, and who may write to it.

It knows neither the store nor the metadata.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import time

from pluggd.errors import FailedPrecondition
from pluggd.model.digests import split_digest
from pluggd.services.content import Status


class FakeIngest:
    """One ingest. `adopted`: the blob that stands for its bytes, until it is written to."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.total = 0
        self.expected = ""
        self.adopted: bytes | None = None
        self.given_away = False
        self.started_at = self.updated_at = time.time_ns()
        writer = os.memfd_create("ingest")
        self._reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
        os.close(writer)

    @property
    def data(self) -> bytes:
        if self.adopted is not None:
            return self.adopted
        return os.pread(self._reader, os.fstat(self._reader).st_size, 0)

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> int:
        fd = os.open(f"/proc/self/fd/{self._reader}", os.O_RDWR | os.O_CLOEXEC)
        os.lseek(fd, 0, os.SEEK_END)
        return fd

    def store(self, offset: int, data: bytes) -> None:
        old = self.data if offset else b""
        self.adopted = None
        self.updated_at = time.time_ns()
        fd = self.open()
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, old + data, 0)
        finally:
            os.close(fd)

    def prove_closed(self) -> None:
        fcntl.fcntl(self._reader, fcntl.F_SETSIG, signal.SIGURG)
        try:
            fcntl.fcntl(self._reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            raise FailedPrecondition(
                f'"{self.ref}" is still open for writing: failed precondition'
            ) from None
        fcntl.fcntl(self._reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def status(self) -> Status:
        return Status(
            ref=self.ref,
            offset=self.size,
            total=self.total or (self.size if self.adopted is not None else 0),
            expected=self.expected,
            started_at=self.started_at,
            updated_at=self.updated_at,
        )

    def close(self) -> None:
        os.close(self._reader)


def digest_of(expected: str, data: bytes) -> str:
    algorithm = split_digest(expected)[0] if expected else "sha256"
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
