# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A daemon with images in it, its services in process, and what they say."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from pluggd.model.record import replace
from pluggd.model.types import Descriptor
from pluggd.plugin import Context, NoConfig, Registration
from pluggd.services import call
from pluggd.services.content import CONTENT, Content
from pluggd.services.diff import DIFF, Diff
from pluggd.services.gc import GC, Gc
from pluggd.services.images import IMAGES, Image, Images
from pluggd.services.kind import Kind
from pluggd.services.leases import LEASES, Leases
from pluggd.services.snapshots import SNAPSHOTS, Snapshots
from pluggd.services.transfer import Progress
from pluggd.services.unpack import UNPACK, Unpack, Unpacked
from pluggd.testing import running_daemon
from pluggd.testing.images import Layout

NAME = "docker.io/library/made:latest"


@dataclass
class Stand:
    """The services of a running daemon, to be called in the namespace `default`."""

    content: Content
    diff: Diff
    gc: Gc
    images: Images
    leases: Leases
    snapshots: Snapshots
    unpack: Unpack

    async def blob(self, data: bytes, digest: str, *, keep: bool = True) -> None:
        """Store a blob; nothing else needs to keep it."""
        await self.content.write(
            ref=digest,
            action="commit",
            data=data,
            total=len(data),
            expected=digest,
            labels={"containerd.io/gc.root": "test"} if keep else {},
        )

    async def load(
        self, layout: Layout, target: dict[str, Any], *, without: Sequence[str] = ()
    ) -> Image:
        """Store an image and what it needs, but not the blobs of `without`; its
        manifest keeps its parts."""
        lease = (await self.leases.create()).id
        with call.using(lease=lease):
            for digest, data in layout.blobs.items():
                if digest not in without:
                    await self.blob(data, digest, keep=False)
            manifest = json.loads(layout.blobs[target["digest"]])
            keeps = {
                f"containerd.io/gc.ref.content.{n}": one["digest"]
                for n, one in enumerate([manifest["config"], *manifest["layers"]])
            }
            info = await self.content.info(digest=target["digest"])
            await self.content.update(info=replace(info, labels=keeps))
            image = await self.images.create(
                image=Image(name=NAME, target=descriptor(target))
            )
        await self.leases.delete(id=lease)
        return image

    async def run(
        self, snapshotter: str = "", name: str = NAME
    ) -> tuple[Unpacked, list[Progress]]:
        """Unpack an image; the result and all progress."""
        send, receive = trio.open_memory_channel[Progress](float("inf"))
        unpacked = await self.unpack.image(
            name=name, snapshotter=snapshotter, progress=send
        )
        await send.aclose()
        return unpacked, [one async for one in receive]

    async def leftovers(self) -> list[str]:
        """Active snapshots and leases: what a finished call must not leave."""
        found = [lease.id for lease in (await self.leases.list()).leases]
        for name in (await self.snapshots.snapshotters()).snapshotters:
            listed = await self.snapshots.list(snapshotter=name)
            found += [one.name for one in listed.snapshots if one.kind != "committed"]
        return found


def descriptor(one: dict[str, Any]) -> Descriptor:
    return Descriptor(
        media_type=one["mediaType"], digest=one["digest"], size=one["size"]
    )


def parts(
    layout: Layout, target: dict[str, Any]
) -> tuple[Descriptor, list[Descriptor]]:
    """Configuration and layers of a manifest."""
    manifest = json.loads(layout.blobs[target["digest"]])
    return descriptor(manifest["config"]), [
        descriptor(one) for one in manifest["layers"]
    ]


KINDS: tuple[Kind[Any], ...] = (CONTENT, DIFF, GC, IMAGES, LEASES, SNAPSHOTS, UNPACK)


@asynccontextmanager
async def standing(tmp_path: Path, config: str = "") -> AsyncGenerator[Stand]:
    """A stand, and the namespace `default` for the block."""
    found: list[Stand] = []

    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Stand]:
        stand = Stand(*(ctx.get(kind) for kind in KINDS))
        found.append(stand)
        yield stand

    registration: Registration[Any, Any] = Registration(
        provides=Kind("test.stand.v1", Stand), id="stand", start=start, requires=KINDS
    )
    async with running_daemon(tmp_path / "daemon", config, plugins=[registration]):
        with call.using(namespace="default"):
            yield found[0]
