# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Moving whole images in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.services.images import Image
from pluggd.services.kind import Kind
from pluggd.services.rpc import Fd, Receive, Send, rpc


class Progress(Record, frozen=True):
    """How far a transfer is. event: what happens now; name: the image or blob.

    progress and total in bytes, total 0 when unknown.
    """

    event: str = ""
    name: str = ""
    progress: int = 0
    total: int = 0


class Transferring(Record, frozen=True):
    """A transfer under way. operation: import or export."""

    id: str = ""
    operation: str = ""
    started_at: int = 0
    progress: list[Progress] = []


class TransferList(Record, frozen=True):
    transfers: list[Transferring] = []


class Imported(Record, frozen=True):
    """The images that now exist. skipped: entries of the index that have no name."""

    images: list[Image] = []
    skipped: int = 0


class ExportItem(Record, frozen=True):
    """One item of an export: bytes of the archive (none when it goes to a descriptor),
    or how far it is."""

    data: bytes = b""
    progress: Progress | None = None


class ExportResult(Record, frozen=True):
    """size: bytes of the archive."""

    size: int = 0


class Transfer(Protocol):
    """Works under a lease of its own until the image records exist."""

    @rpc()
    async def import_(
        self,
        *,
        base_name: str = "",
        index_name: str = "",
        digests: bool = False,
        platforms: Sequence[str] = (),
        all_platforms: bool = False,
        labels: dict[str, str] = {},
        fd: Fd | None = None,
        source: Receive[bytes],
        progress: Send[Progress],
    ) -> Imported:
        """Take an OCI layout or docker archive (tar) from `fd`, or else from the stream.

        base_name: prefix for entries that carry only a tag; without it,
        `import-<date>`. index_name: also keep the index under this name.
        digests: also name each image `<base>@<digest>`. platforms: keep only
        these; without, the daemon's; all_platforms: keep all that is there.
        Raises InvalidArgument (a bad archive, with the entry), DataLoss (a blob
        that does not match), ResourceExhausted (an entry over a limit).
        """
        ...

    @rpc()
    async def export(
        self,
        *,
        names: Sequence[str],
        platforms: Sequence[str] = (),
        all_platforms: bool = False,
        skip_manifest_json: bool = False,
        skip_non_distributable: bool = False,
        fd: Fd | None = None,
        out: Send[ExportItem],
    ) -> ExportResult:
        """Write images as an OCI layout that docker reads too, into `fd` or the stream.

        Entries are in order of name, with fixed owners and times: the same images
        give the same bytes. Raises NotFound, InvalidArgument, DataLoss.
        """
        ...

    @rpc()
    async def status(self) -> TransferList:
        """The transfers of this namespace that are under way."""
        ...


TRANSFER = Kind("pluggd.transfer.v1", Transfer)
