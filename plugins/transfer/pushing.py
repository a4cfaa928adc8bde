# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From an image to a registry: first what others name, last what names them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from functools import partial

import trio

from pluggd.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from pluggd.model import oci
from pluggd.model.image_names import parse_image_name
from pluggd.model.types import Descriptor
from pluggd.services.content import Info
from pluggd.services.resolver import Access, Remote
from pluggd.services.transfer import Pushed

from .backends import Backends
from .choosing import Platforms
from .origin import sources
from .progress import Reporter
from .pulling import required
from .tasks import together


class Pushing:
    """One push."""

    def __init__(
        self, backends: Backends, name: str, access: Access, reporter: Reporter
    ) -> None:
        self._backends = backends
        self._name = parse_image_name(name)
        self._access = access
        self._reporter = reporter
        self._resolver = required(backends.resolver)
        self._limit = trio.CapacityLimiter(backends.config.max_concurrent_uploads)
        self._blobs: dict[str, tuple[Descriptor, Info]] = {}
        self._manifests: list[tuple[Descriptor, bytes]] = []  # children before parents
        self._size = 0
        self._uploaded = 0

    async def run(self, source: str, platform: str) -> Pushed:
        """Push the image of the name `source`."""
        image = await self._backends.images.get(name=source)
        target = image.target
        if platform:
            target = await self._manifest_for(target, platform, source)
        await self._collect(target, source, {})
        async with self._resolver.open(
            str(self._name), self._access, push=True
        ) as remote:
            await together(
                *(partial(self._blob, remote, *one) for one in self._blobs.values())
            )
            for descriptor, data in self._manifests:
                tagged = descriptor.digest == target.digest
                await self._manifest(remote, descriptor, data, tagged=tagged)
        self._reporter.set("pushed", str(self._name), 1, 1)
        return Pushed(target=target, size=self._size, uploaded=self._uploaded)

    # --- what is pushed

    async def _manifest_for(
        self, target: Descriptor, platform: str, source: str
    ) -> Descriptor:
        """The best manifest of an index for a platform."""
        if not oci.is_index(target.media_type):
            return target
        data = await self._read(target, source)
        children = oci.children(data, target.media_type, target.digest)
        ((descriptor, _),) = Platforms(source, [platform]).choose(children)
        return descriptor

    async def _collect(
        self, target: Descriptor, source: str, inherited: Mapping[str, str]
    ) -> None:
        media_type = target.media_type
        if not oci.is_index(media_type) and not oci.is_manifest(media_type):
            raise InvalidArgument(
                f'image "{source}": {target.digest} is of type "{media_type}": only '
                "manifests and indexes may be pushed: invalid argument"
            )
        if any(target.digest == known.digest for known, _ in self._manifests):
            return
        data = await self._read(target, source)
        info = await self._backends.content.info(digest=target.digest)
        labels = {**inherited, **info.labels}
        for child in oci.children(data, media_type, target.digest):
            descriptor = child.descriptor
            if oci.is_index(media_type):
                await self._collect(descriptor, source, labels)
                continue
            if oci.is_non_distributable(descriptor.media_type):
                size = descriptor.size
                self._reporter.set("skipped", f"layer-{descriptor.digest}", size, size)
                continue
            found = await self._info(descriptor, source)
            self._blobs[descriptor.digest] = (
                descriptor,
                Info(
                    digest=found.digest,
                    size=found.size,
                    labels={**labels, **found.labels},
                ),
            )
        self._manifests.append((target, data))

    async def _read(self, descriptor: Descriptor, source: str) -> bytes:
        await self._info(descriptor, source)
        return await self._backends.read_blob(descriptor.digest, "manifest")

    async def _info(self, descriptor: Descriptor, source: str) -> Info:
        try:
            return await self._backends.content.info(digest=descriptor.digest)
        except NotFound:
            raise FailedPrecondition(
                f'image "{source}" is incomplete: {descriptor.digest} is not here; pull '
                "it for all platforms, or push it for one: failed precondition"
            ) from None

    # --- pushing it

    async def _blob(self, remote: Remote, descriptor: Descriptor, info: Info) -> None:
        name = f"blob-{descriptor.digest}"
        if oci.is_layer(descriptor.media_type):
            name = f"layer-{descriptor.digest}"
        elif descriptor.media_type in oci.CONFIGS:
            name = f"config-{descriptor.digest}"
        self._reporter.set("waiting", name, 0, descriptor.size)
        others = sources(info.labels, *remote.source)
        async with self._limit:
            sent = await remote.push_blob(
                descriptor,
                partial(self._bytes, descriptor, name),
                mount_from=others[:2],
            )
        self._count(descriptor, name, sent=sent)

    async def _manifest(
        self, remote: Remote, descriptor: Descriptor, data: bytes, *, tagged: bool
    ) -> None:
        kind = "index" if oci.is_index(descriptor.media_type) else "manifest"
        sent = await remote.push_manifest(descriptor, data, tagged=tagged)
        self._count(descriptor, f"{kind}-{descriptor.digest}", sent=sent)

    def _count(self, descriptor: Descriptor, name: str, *, sent: bool) -> None:
        self._size += descriptor.size
        self._uploaded += descriptor.size if sent else 0
        event = "done" if sent else "exists"
        self._reporter.set(event, name, descriptor.size, descriptor.size)

    async def _bytes(self, descriptor: Descriptor, name: str) -> AsyncGenerator[bytes]:
        opened = await self._backends.content.open(digest=descriptor.digest)
        chunk = self._backends.config.chunk_size
        offset, size = 0, descriptor.size
        try:
            while offset < size:
                wanted = min(chunk, size - offset)
                data = await trio.to_thread.run_sync(
                    os.pread, opened.fd, wanted, offset
                )
                if not data:
                    raise DataLoss(
                        f"content {descriptor.digest} ends at {offset} of {size} bytes"
                    )
                offset += len(data)
                yield data
                self._reporter.set("uploading", name, offset, size)
        finally:
            os.close(opened.fd)
