# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of unfinished ingests: `<root>/ingest/<name>`, mode 0600, on a local disk.

Wherever blobs lie in the end, an ingest is a file until its bytes are checked: it can
be continued after a restart, and written to through a descriptor. Everything here
blocks and runs in a thread; nothing here knows records or blobs.

A failed sync is final: the kernel may have dropped what it could not write and report
success the next time, so the file is removed and its bytes have to be sent again.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from pluggd.contents.files import (
    SyncFailed,
    disk_error,
    failing_as,
    sync_directory,
    unlink,
    write_all,
)
from pluggd.contents.writers import take_lease


class Spool:
    """The directory `ingest` of one store."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        """durable: a blob is made of the file itself, so its bytes are synced before."""
        self._durable = durable
        self._root = str(root)
        self._ingest = str(root / "ingest")
        self._temporary = f"new-{os.getpid()}-{os.urandom(6).hex()}-"
        self._numbers = count(1)
        self.poisoned: set[str] = set()

    def prepare(self) -> None:
        os.makedirs(self._ingest, mode=0o700, exist_ok=True)
        sync_directory(self._root)

    def ingest_path(self, file: str) -> str:
        return f"{self._ingest}/{file}"

    def open_ingest(self, file: str) -> int:
        """A descriptor for reading and writing; an empty file if there is none."""
        path = self.ingest_path(file)
        with failing_as(f"open {path}"):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def check_leases(self, fd: int, ref: str) -> None:
        """Close a descriptor of an empty file; raises NotImplemented_ when the file
        system could not say later that a writer is gone."""
        path = f"/proc/self/fd/{fd}"
        reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.close(fd)
        try:
            take_lease(reader, ref)
        finally:
            os.close(reader)

    def ingest_state(self, file: str) -> tuple[int, int]:
        """Bytes and time of the last write (ns); zeros when there is no file yet."""
        try:
            status = os.stat(self.ingest_path(file))
        except FileNotFoundError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def append(self, fd: int, file: str, data: bytes, offset: int) -> None:
        """Write all of `data`, or leave the file as it was and raise."""
        path = self.ingest_path(file)
        with failing_as(f"write {len(data)} bytes to {path}"):
            try:
                write_all(fd, data, offset)
            except OSError:
                os.ftruncate(fd, offset)
                raise

    def write_ingest(self, file: str, data: bytes) -> None:
        """Make an ingest's file of these bytes."""
        fd = self.open_ingest(file)
        try:
            self.append(fd, file, data, 0)
        finally:
            os.close(fd)

    def sync_ingest(self, fd: int, file: str) -> None:
        """Make the bytes of an ingest durable. Raises SyncFailed; the file is gone."""
        if not self._durable:
            return
        try:
            os.fdatasync(fd)
        except OSError as error:
            path = self.ingest_path(file)
            problem = disk_error(error, f"sync {path}").message
            self.poisoned.add(file)
            try:
                os.unlink(path)
            except OSError as second:
                raise SyncFailed(
                    f"{problem}, and it cannot be removed "
                    f"({os.strerror(second.errno or 0).lower()}); abort the ingest"
                ) from error
            self.poisoned.discard(file)
            raise SyncFailed(
                f"{problem}; send the bytes again from offset 0"
            ) from error

    def new_file(self) -> str:
        """The name of a file for a blob that comes in one piece, used once."""
        return f"{self._temporary}{next(self._numbers)}"

    def remove_ingest(self, file: str) -> int:
        """Bytes freed; 0 when there is no such file."""
        self.poisoned.discard(file)
        return unlink(self.ingest_path(file))

    def is_temporary(self, file: str) -> bool:
        """Whether this process made it for a blob that comes in one piece."""
        return file.startswith(self._temporary)

    # --- what is there

    def list_ingests(self) -> list[str]:
        return os.listdir(self._ingest)
