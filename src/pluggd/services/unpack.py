# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Unpacking: the layers of an image become a chain of snapshots.

A chain ID names a layer together with all below it; the snapshot of that name is
what a container's root is prepared from.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Descriptor
from pluggd.services.kind import Kind
from pluggd.services.rpc import Send, rpc
from pluggd.services.transfer import Progress


class Unpacked(Record, frozen=True):
    """Where an image lies ready. chain_id: the committed snapshot of the top layer, ""
    for an image without layers. layers: how many it has; skipped: how many of them
    were there before."""

    chain_id: str = ""
    snapshotter: str = ""
    layers: int = 0
    skipped: int = 0


class ImageState(Record, frozen=True):
    """What of an image is here, for one platform.

    status: `complete`, `incomplete`, `unavailable` (its manifest is missing, so that
        nobody knows what else is) or `error`, with the reason in `error`.
    required: how many blobs the manifest names, configuration and layers; 0 when
        unavailable. size: their declared bytes. present_size: of those that are here.
    missing: the absent ones, and those whose bytes are gone or known to be damaged; the
        target itself when unavailable.
    manifest: the digest of the manifest for this platform.
    chain_id: as its configuration says; "" without one here.
    unpacked: the snapshotters that have the chain, in order.
    """

    name: str = ""
    target: Descriptor = Descriptor()
    status: str = ""
    error: str = ""
    required: int = 0
    size: int = 0
    present_size: int = 0
    missing: list[Descriptor] = []
    manifest: str = ""
    chain_id: str = ""
    unpacked: list[str] = []


class ImageStates(Record, frozen=True):
    images: list[ImageState] = []


class UsedSnapshot(Record, frozen=True):
    """What one snapshot of a chain takes, those below it not counted. size in bytes."""

    snapshotter: str = ""
    name: str = ""
    size: int = 0
    inodes: int = 0


class ImageUsage(Record, frozen=True):
    """What an image takes on disk. Bytes; each blob and snapshot is counted once.

    content: blobs that are here, of all platforms; blobs: how many. snapshots: of the
    chains that its configurations keep, from the lowest up.
    """

    name: str = ""
    content: int = 0
    blobs: int = 0
    snapshots: list[UsedSnapshot] = []


class Unpacking(Protocol):
    """One chain that is being made while its layers arrive."""

    @property
    def skipped(self) -> int:
        """How many layers, from the lowest, were there before."""
        ...

    def layer_ready(self, index: int) -> None:
        """The blob of this layer is in the content store, of this namespace.

        In any order, and more than once if you like. Never waits.
        """
        ...

    async def finish(self) -> Unpacked:
        """Wait for the chain, and make the configuration blob keep it.

        All layers must be ready, or become so. Raises as `Unpack.image`.
        """
        ...


class Unpack(Protocol):
    """Two unpacks of the same layer wait for one another; the second finds it done."""

    @rpc()
    async def image(
        self,
        *,
        name: str,
        snapshotter: str = "",
        platform: str = "",
        progress: Send[Progress],
    ) -> Unpacked:
        """Make the chain of snapshots of an image whose blobs are here.

        snapshotter: "" for that of the namespace (its label
        `containerd.io/defaults/snapshotter`), or else the daemon's. platform: of an
        index; "" for the daemon's. Progress is by digest of the layer: `extracting`
        with bytes of the stored blob, `extracted`, `exists` for what was there before.
        A layer that a failed or cancelled call has finished stays for the next.
        Raises NotFound (image, platform, blob), NotFound or InvalidArgument
        (snapshotter), FailedPrecondition (the layers are not those that the
        configuration names), and what `diff.v1.apply` raises.
        """
        ...

    @rpc()
    async def check(
        self, *, names: Sequence[str] = (), platform: str = ""
    ) -> ImageStates:
        """What of these images, or of all, is here and unpacked, in order of the name.

        Raises NotFound for a name that is no image; what is wrong with an image itself
        is its status.
        """
        ...

    @rpc(result="usage")
    async def usage(self, *, name: str) -> ImageUsage:
        """What an image takes on disk, shared parts included. Raises NotFound."""
        ...

    def begin(
        self,
        *,
        config: Descriptor,
        layers: Sequence[Descriptor],
        snapshotter: str = "",
        progress: Send[Progress] | None = None,
    ) -> AbstractAsyncContextManager[Unpacking]:
        """Unpack while blobs still arrive; in process only.

        The blob of `config` must be here; `layers` are those of the manifest, in
        order. Works in the namespace and under the lease of the call, or under one of
        its own without any. Use it so:

            async with unpack.begin(config=config, layers=layers) as unpacking:
                async with trio.open_nursery() as nursery:
                    for index, layer in enumerate(layers):
                        nursery.start_soon(download, layer, unpacking, index)
                unpacked = await unpacking.finish()

        where `download` ends with `unpacking.layer_ready(index)`. When an extraction
        fails, the block is cancelled and the error is raised from the `async with`.
        Leaving the block without `finish` cancels the unpacking. Raises, on entry,
        NotFound and InvalidArgument (configuration, snapshotter), FailedPrecondition
        (the number of layers).
        """
        ...


UNPACK = Kind("pluggd.unpack.v1", Unpack)
