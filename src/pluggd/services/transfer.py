# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Moving whole images in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Descriptor, Time
from pluggd.services.images import Image
from pluggd.services.kind import Kind
from pluggd.services.rpc import Fd, Receive, Send, rpc


class Progress(Record, frozen=True):
    """How far a transfer is. event: what happens now; name: the image or blob.

    progress and total in bytes, total 0 when unknown. Of a pull, the image is
    `resolving`, `resolved` and `saved`; a blob, whose name is its kind and digest
    (`layer-sha256:...`), is `waiting`, `downloading`, then `done` or, when no byte of it
    was needed, `exists`, and then `extracting` and `extracted`. Of a push, a blob is
    `waiting`, `uploading`, then `done` or `exists`; or `skipped`, of a layer whose type
    says that registries may not serve it.
    """

    event: str = ""
    name: str = ""
    progress: int = 0
    total: int = 0


class Transferring(Record, frozen=True):
    """A transfer under way. operation: import, export, pull or
    push."""

    id: str = ""
    operation: str = ""
    started_at: Time = 0
    progress: list[Progress] = []


class TransferList(Record, frozen=True):
    transfers: list[Transferring] = []


class Imported(Record, frozen=True):
    """The images that now exist. skipped: entries of the index that have no name."""

    images: list[Image] = []
    skipped: int = 0


class PulledSnapshot(Record, frozen=True):
    """What an unpacked manifest became. chain_id: the name of the snapshot, "" for an
    image without layers."""

    manifest: str = ""
    snapshotter: str = ""
    chain_id: str = ""


class Pulled(Record, frozen=True):
    """The image that now exists. size: bytes of the blobs that were asked for;
    downloaded: of those that came over the network now."""

    image: Image = Image()
    size: int = 0
    downloaded: int = 0
    snapshots: list[PulledSnapshot] = []


class Pushed(Record, frozen=True):
    """What the registry has now. size: bytes of all blobs; uploaded: of those that it
    had not."""

    target: Descriptor = Descriptor()
    size: int = 0
    uploaded: int = 0


class Tagged(Record, frozen=True):
    """The images of the new names, in the order in which they were given."""

    images: list[Image] = []


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
    async def pull(
        self,
        *,
        name: str,
        platforms: Sequence[str] = (),
        all_platforms: bool = False,
        unpack: bool = False,
        snapshotter: str = "",
        labels: dict[str, str] = {},
        plain_http: bool = False,
        username: str = "",
        password: str = "",
        hosts_dir: str = "",
        progress: Send[Progress],
    ) -> Pulled:
        """Fetch an image from its registry, or from a mirror of it.

        name: in full, `host[:port]/path:tag` or `@digest`. platforms: of an index, the
        best manifest for each of these; without, for the daemon's. unpack: also make
        the snapshots, for the platforms asked for (of all: for the daemon's).
        labels: on the image. plain_http, hosts_dir: see the resolver's options;
        username, password: for the registry, not for its mirrors; a password alone is
        an identity token. What is here already is not fetched; a blob that another
        pull is fetching is waited for; an interrupted one goes on where it ended.
        Raises InvalidArgument (name, manifest), NotFound (image, platform),
        Unauthenticated, PermissionDenied, Unavailable (registry, no unpack plugin),
        NotImplemented_ (schema 1), DataLoss (a registry that sends something else than
        it says), ResourceExhausted (a limit, the disk), and as `unpack.v1.image`.
        """
        ...

    @rpc()
    async def push(
        self,
        *,
        name: str,
        source: str = "",
        platform: str = "",
        plain_http: bool = False,
        username: str = "",
        password: str = "",
        hosts_dir: str = "",
        progress: Send[Progress],
    ) -> Pushed:
        """Send an image to the registry that `name` begins with.

        source: the image that is sent; without, the one called `name`. platform: of
        an index, send the manifest for it in place of the index. What the registry
        has is not sent again. Raises NotFound (image, platform), FailedPrecondition
        (a part of the image is not here), and of the registry as `pull`.
        """
        ...

    @rpc()
    async def tag(
        self, *, source: str, names: Sequence[str], force: bool = False
    ) -> Tagged:
        """Give an image further names in this namespace; all of them or none.

        The new ones have its target and labels. force: let a name that exists point
        there. Raises NotFound (source), AlreadyExists, InvalidArgument.
        """
        ...

    @rpc()
    async def status(self) -> TransferList:
        """The transfers of this namespace that are under way."""
        ...


TRANSFER = Kind("pluggd.transfer.v1", Transfer)
