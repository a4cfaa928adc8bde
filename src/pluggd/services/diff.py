# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Diffs: a layer becomes files below a mount, and two trees become a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.oci import OCI_LAYER
from pluggd.model.record import Record
from pluggd.model.types import Descriptor, Mount
from pluggd.services.kind import Kind
from pluggd.services.rpc import Send, rpc


class Applying(Record, frozen=True):
    """How far an apply is. read: bytes of the layer as it is stored, of `total`.
    written: bytes of the uncompressed layer that were extracted. entries: of the tar."""

    read: int = 0
    total: int = 0
    written: int = 0
    entries: int = 0


class Diff(Protocol):
    """The mounts are those of a snapshotter; they need not be mounted anywhere.

    One bind mount, and one overlay mount with an upper directory, are used where they
    lie, without mounting. Any other list is mounted for the time of the call.
    """

    @rpc(result="applied")
    async def apply(
        self,
        *,
        diff: Descriptor,
        mounts: Sequence[Mount],
        progress: Send[Applying],
    ) -> Descriptor:
        """Extract a layer of the content store onto the mounts.

        Returns the descriptor of the uncompressed layer: its digest is the diff ID.
        Nothing is written outside the mounts, whatever the layer holds; what was
        extracted before an error, or before a cancellation, stays.
        Raises NotFound (blob), NotImplemented (media type), InvalidArgument (mounts;
        a layer that is damaged or hostile, naming the entry), ResourceExhausted (a
        limit of the configuration, or the disk), PermissionDenied (an owner or a device
        that this daemon may not make, where the configuration refuses that).
        """
        ...

    @rpc(result="diff")
    async def create(
        self,
        *,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        media_type: str = f"{OCI_LAYER}+gzip",
        ref: str = "",
        labels: dict[str, str] = {},
    ) -> Descriptor:
        """Write what turns `lower` into `upper` into the content store, as a layer.

        lower: empty for nothing. media_type: an OCI layer, plain, `+gzip` or `+zstd`.
        ref: of the ingest; one that exists is begun anew. The blob gets `labels`, and
        the label `containerd.io/uncompressed` with its diff ID. The same two trees give
        the same layer. Raises InvalidArgument (mounts, labels), NotImplemented (media
        type), PermissionDenied (mounts that this daemon may not mount),
        ResourceExhausted (disk).
        """
        ...


DIFF = Kind("pluggd.diff.v1", Diff)
