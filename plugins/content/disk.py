# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of the content store: where they lie and how they get there safely.

    <root>/blobs/<algorithm>/<hex>   a blob, mode 0444
    <root>/ingest/<name>             the bytes of an unfinished ingest, mode 0600

Everything here blocks and runs in a thread; nothing here knows records. An ingest's
file gets in place by fdatasync, rename, fsync of the directory; bytes from memory by write,
rename, and then the two syncs, which are one commit of the file system's journal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pluggd.contents.files import failing_as, sync_directory, unlink, write_new
from pluggd.contents.spool import Spool
from pluggd.errors import PluggdError
from pluggd.model.digests import HEX_LENGTH, split_digest

_hex = re.compile("[0-9a-f]+")


class Disk(Spool):
    """The directories of one store."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._blobs = str(root / "blobs")

    def prepare(self) -> None:
        for algorithm in HEX_LENGTH:
            os.makedirs(f"{self._blobs}/{algorithm}", mode=0o755, exist_ok=True)
        sync_directory(self._blobs)
        super().prepare()

    def blob_path(self, digest: str) -> str:
        algorithm, value = split_digest(digest)
        return f"{self._blobs}/{algorithm}/{value}"

    def publish(self, file: str, digest: str) -> None:
        """Put a durable file in place as a blob, durably."""
        path = self.blob_path(digest)
        with failing_as(f"put {path} in place"):
            os.chmod(self.ingest_path(file), 0o444)
            os.rename(self.ingest_path(file), path)
            try:
                sync_directory(os.path.dirname(path))
            except OSError:
                os.unlink(path)
                raise

    def put(self, digest: str, data: bytes, *, known: bool) -> None:
        """Put bytes in place as a blob, durably; on failure they are gone.

        A loss of power before the syncs may leave a file under the digest whose bytes are
        not there. Nobody takes it for the blob as long as no record names it. known:
        one does, since what was there is missing or bad; then the bytes are synced
        before they get its name, so that the record never names less than it did.
        """
        file = self.ingest_path(self.new_file())
        path = self.blob_path(digest)
        fd = write_new(file, data)
        try:
            with failing_as(f"put {path} in place"):
                os.fchmod(fd, 0o444)
                if known:
                    os.fdatasync(fd)
                os.rename(file, path)
                file = path
                if not known:
                    os.fdatasync(fd)
                sync_directory(os.path.dirname(path))
        except PluggdError as error:
            # A sync that failed is final: the next may report success for bytes that
            # the kernel has thrown away.
            try:
                os.unlink(file)
            except OSError as second:
                reason = os.strerror(second.errno or 0).lower()
                error.add_note(f"and {file} cannot be removed: {reason}")
            raise
        finally:
            os.close(fd)

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
        return unlink(self.blob_path(digest))

    # --- what is there

    def has_blobs(self) -> bool:
        """Whether there is one; looks no further than that, however many there are."""
        for algorithm, length in HEX_LENGTH.items():
            with os.scandir(f"{self._blobs}/{algorithm}") as entries:
                if any(
                    len(entry.name) == length and _hex.fullmatch(entry.name)
                    for entry in entries
                ):
                    return True
        return False

    def list_blobs(self) -> Iterator[str]:
        for algorithm, length in HEX_LENGTH.items():
            for name in os.listdir(f"{self._blobs}/{algorithm}"):
                if len(name) == length and _hex.fullmatch(name):
                    yield f"{algorithm}:{name}"

    def list_strangers(self) -> list[str]:
        """Paths below the root that no blob, ingest or file of the store can have."""
        root = self._root
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
