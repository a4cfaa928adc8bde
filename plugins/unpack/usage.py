# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an image takes on disk: its blobs, and the snapshots that they keep."""

from __future__ import annotations

from functools import partial

from pluggd.errors import InvalidArgument, NotFound
from pluggd.model.imageinfo import MAX_DEPTH
from pluggd.model.types import Descriptor
from pluggd.services.content import Info
from pluggd.services.images import Image
from pluggd.services.unpack import ImageUsage, UsedSnapshot

from .backends import Backends
from .reading import Reader
from .unpacking import SNAPSHOT_LABEL


async def measure(backends: Backends, image: Image) -> ImageUsage:
    """All that is here, of all platforms, each thing once."""
    reader = Reader(backends.content)
    blobs: dict[str, Info] = {}
    pending: list[tuple[Descriptor, int]] = [(image.target, 0)]
    while pending:
        target, depth = pending.pop()
        if target.digest in blobs or depth > MAX_DEPTH:
            continue
        try:
            blobs[target.digest] = await backends.content.info(digest=target.digest)
            children = await reader.ask(partial(reader.info.children, target))
        except (NotFound, InvalidArgument):
            continue  # not here, or not what it says it is
        pending += [(child.descriptor, depth + 1) for child in children]
    snapshots: dict[tuple[str, str], UsedSnapshot] = {}
    for info in blobs.values():
        for label, name in sorted(info.labels.items()):
            if label.startswith(SNAPSHOT_LABEL):
                snapshotter = label[len(SNAPSHOT_LABEL) :].partition("/")[0]
                await _chain(backends, snapshotter, name, snapshots)
    return ImageUsage(
        name=image.name,
        content=sum(info.size for info in blobs.values()),
        blobs=len(blobs),
        snapshots=list(snapshots.values()),
    )


async def _chain(
    backends: Backends,
    snapshotter: str,
    name: str,
    into: dict[tuple[str, str], UsedSnapshot],
) -> None:
    """A snapshot and those below it, the lowest first."""
    found: list[UsedSnapshot] = []
    while name and (snapshotter, name) not in into:
        try:
            info = await backends.snapshots.stat(key=name, snapshotter=snapshotter)
            usage = await backends.snapshots.usage(key=name, snapshotter=snapshotter)
        except (NotFound, InvalidArgument):
            break  # the label outlived it, or its snapshotter
        found.append(
            UsedSnapshot(
                snapshotter=snapshotter,
                name=name,
                size=usage.size,
                inodes=usage.inodes,
            )
        )
        name = info.parent
    for one in reversed(found):
        into[one.snapshotter, one.name] = one
