# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of the content store: where they lie and how they get there safely.

    <root>/blobs/<algorithm>/<hex>   a blob, mode 0444
    <root>/ingest/<name>             the bytes of an unfinished ingest, mode 0600

Everything here blocks and runs in a thread; nothing here knows records. A blob gets
in place by write, fdatasync, rename, fsync of the directory, and a failed sync is
final: the kernel may have dropped what it could not write and report success the
next time, so the file is removed and its bytes have to be sent again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from pluggd.errors import (
    DataLoss,
    FailedPrecondition,
    Internal,
    NotImplemented_,
    PluggdError,
    ResourceExhausted,
)
from pluggd.model.digests import HEX_LENGTH, split_digest

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE}
_DAMAGED = {errno.EIO, errno.EBADMSG, errno.EUCLEAN}
_BUFFER = 4 << 20
_hex = re.compile("[0-9a-f]+")


def disk_error(error: OSError, doing: str) -> PluggdError:
    """The class that says whose matter a failed file operation is."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return ResourceExhausted(f"{doing}: {reason.lower()}: resource exhausted")
    if error.errno in _DAMAGED:
        return DataLoss(f"{doing}: {reason.lower()}: data loss")
    return Internal(f"{doing}: {reason.lower()}")


@contextmanager
def failing_as(doing: str) -> Generator[None]:
    """Turn an OSError of the block into an error that says what was being done."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, doing) from error


class SyncFailed(DataLoss):
    """The disk did not take the bytes; the file is gone, or poisoned if it could not go."""


def hash_descriptor(
    fd: int, algorithm: str, pause: Callable[[], None] = lambda: None
) -> str:
    """The digest of a whole file. `pause` is called between pieces and may raise.

    Read and not mapped, though that is a tenth slower: a bad sector or a full tmpfs
    under a mapping is SIGBUS, which ends the daemon; here it is an OSError.
    """
    hasher = hashlib.new(algorithm)
    size = os.fstat(fd).st_size
    buffer = bytearray(min(_BUFFER, size) or 1)
    view = memoryview(buffer)
    offset = 0
    while count := os.preadv(fd, [buffer], offset):
        hasher.update(view[:count])
        offset += count
        pause()
    return f"{algorithm}:{hasher.hexdigest()}"


def write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view = view[count:]
        offset += count


class Disk:
    """The directories of one store."""

    def __init__(self, root: Path) -> None:
        self._blobs = str(root / "blobs")
        self._ingest = str(root / "ingest")
        self._temporary = f"new-{os.getpid()}-{os.urandom(6).hex()}-"
        self._count = 0
        self.poisoned: set[str] = set()

    def prepare(self) -> None:
        for algorithm in HEX_LENGTH:
            os.makedirs(f"{self._blobs}/{algorithm}", mode=0o755, exist_ok=True)
        os.makedirs(self._ingest, mode=0o700, exist_ok=True)
        _sync_directory(self._blobs)
        _sync_directory(os.path.dirname(self._blobs))

    def blob_path(self, digest: str) -> str:
        algorithm, value = split_digest(digest)
        return f"{self._blobs}/{algorithm}/{value}"

    def ingest_path(self, file: str) -> str:
        return f"{self._ingest}/{file}"

    # --- ingests

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

    def sync_ingest(self, fd: int, file: str) -> None:
        """Make the bytes of an ingest durable. Raises SyncFailed; the file is gone."""
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

    def write_once(self, data: bytes) -> str:
        """A new file with these bytes, durable; its name for `publish`."""
        self._count += 1
        file = f"{self._temporary}{self._count}"
        path = self.ingest_path(file)
        with failing_as(f"write {len(data)} bytes to {path}"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(path, flags, 0o444)
            try:
                write_all(fd, data, 0)
                os.fdatasync(fd)
            except OSError:
                os.unlink(path)
                raise
            finally:
                os.close(fd)
        return file

    def remove_ingest(self, file: str) -> int:
        """Bytes freed; 0 when there is no such file."""
        self.poisoned.discard(file)
        return _unlink(self.ingest_path(file))

    def is_temporary(self, file: str) -> bool:
        """Whether this process made it for a blob that comes in one piece."""
        return file.startswith(self._temporary)

    # --- blobs

    def publish(self, file: str, digest: str) -> None:
        """Put a durable file in place as a blob, durably."""
        path = self.blob_path(digest)
        with failing_as(f"put {path} in place"):
            os.chmod(self.ingest_path(file), 0o444)
            os.rename(self.ingest_path(file), path)
            try:
                _sync_directory(os.path.dirname(path))
            except OSError:
                os.unlink(path)
                raise

    def withdraw(self, digest: str, file: str) -> None:
        """Undo `publish` for a blob that could not be recorded."""
        path = self.blob_path(digest)
        with failing_as(f"take {path} back"):
            os.rename(path, self.ingest_path(file))
            os.chmod(self.ingest_path(file), 0o600)

    def blob_size(self, digest: str) -> int | None:
        try:
            return os.stat(self.blob_path(digest)).st_size
        except FileNotFoundError:
            return None

    def open_blob(self, digest: str) -> int:
        """A read-only descriptor. Raises FileNotFoundError."""
        return os.open(self.blob_path(digest), os.O_RDONLY | os.O_CLOEXEC)

    def copy_blob(self, digest: str, file: str) -> None:
        """Make an ingest's file from a blob's bytes."""
        target = self.ingest_path(file)
        with failing_as(f"copy {digest} to {target}"):
            source = self.open_blob(digest)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                out = os.open(target, flags, 0o600)
                try:
                    while os.copy_file_range(source, out, 1 << 30):
                        pass
                finally:
                    os.close(out)
            finally:
                os.close(source)

    def remove_blob(self, digest: str) -> int:
        """Bytes freed; 0 when there is no such file."""
        return _unlink(self.blob_path(digest))

    # --- what is there

    def list_blobs(self) -> Iterator[str]:
        for algorithm, length in HEX_LENGTH.items():
            for name in os.listdir(f"{self._blobs}/{algorithm}"):
                if len(name) == length and _hex.fullmatch(name):
                    yield f"{algorithm}:{name}"

    def list_ingests(self) -> list[str]:
        return os.listdir(self._ingest)

    def list_strangers(self) -> list[str]:
        """Paths below the root that no blob, ingest or file of the store can have."""
        root = os.path.dirname(self._blobs)
        own = {"blobs", "ingest", "id", "id.new"}
        found = [f"{root}/{name}" for name in os.listdir(root) if name not in own]
        for algorithm in os.listdir(self._blobs):
            path = f"{self._blobs}/{algorithm}"
            length = HEX_LENGTH.get(algorithm)
            if length is None:
                found.append(path)
                continue
            found += [
                f"{path}/{name}"
                for name in os.listdir(path)
                if len(name) != length or not _hex.fullmatch(name)
            ]
        return sorted(found)


@contextmanager
def without_writers(path: str, ref: str) -> Generator[int]:
    """A read-only descriptor of a file that nobody can write to in this block.

    A read lease is granted only while no descriptor and no mapping for writing
    exists anywhere (fcntl(2)). Raises FailedPrecondition when there is one, or
    when one came up meanwhile (the lease is then broken by the kernel).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        take_lease(fd, ref)
        yield fd
        if fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            raise still_open(ref)
    finally:
        os.close(fd)


def take_lease(fd: int, ref: str) -> None:
    # A broken lease is announced by SIGIO, which would end the daemon; SIGURG is
    # ignored unless somebody asks for it.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        raise still_open(ref) from None
    except OSError as error:
        raise NotImplemented_(
            f'ref "{ref}": the file system cannot tell whether a descriptor is open '
            f"for writing ({os.strerror(error.errno or 0).lower()}); write the bytes by "
            f"messages: not implemented"
        ) from error


def still_open(ref: str) -> FailedPrecondition:
    return FailedPrecondition(
        f'"{ref}" is still open for writing through a descriptor; close it first: '
        f"failed precondition"
    )


def _unlink(path: str) -> int:
    try:
        size = os.stat(path).st_size
        os.unlink(path)
    except FileNotFoundError:
        return 0
    return size


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
