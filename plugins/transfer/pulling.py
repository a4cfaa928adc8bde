# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a name to an image: what to fetch, in which order, and what keeps it.

Under one lease: the manifest, for an index those of the platforms asked for, then
configuration and layers at once, with the extraction of a layer as soon as it and
those below it are there. The record of the image comes last; until then nothing is
visible, and what fails leaves only what the next collection takes, and where it can go
on the next time, its begun blobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from pluggd.errors import (
    DataLoss,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from pluggd.model import oci
from pluggd.model.labels import validate_labels
from pluggd.model.record import replace
from pluggd.model.types import Descriptor, Platform
from pluggd.services.images import Image
from pluggd.services.resolver import NO_ACCESS, Access, Remote, Resolver
from pluggd.services.transfer import Progress, Pulled, PulledSnapshot
from pluggd.services.unpack import Unpack

from .backends import Backends
from .choosing import Platforms
from .downloads import Downloads
from .limits import check_count, check_depth
from .progress import Reporter
from .tasks import Job, together


@dataclass(frozen=True)
class Options:
    """What the caller of a pull asked for."""

    name: str
    platforms: Sequence[str] = ()
    all_platforms: bool = False
    unpack: bool = False
    snapshotter: str = ""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    access: Access = NO_ACCESS


@dataclass(frozen=True)
class _Manifest:
    """A manifest that is wanted; unpack: whether its platform was asked for."""

    descriptor: Descriptor
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    unpack: bool


class Puller:
    """One pull."""

    def __init__(
        self,
        backends: Backends,
        downloads: Downloads,
        options: Options,
        reporter: Reporter,
    ) -> None:
        validate_labels(options.labels, "image.Labels")
        self._backends = backends
        self._downloads = downloads
        self._options = options
        self._reporter = reporter
        self._platforms = Platforms(
            options.name, options.platforms, every=options.all_platforms
        )
        self._resolver = required(backends.resolver)
        self._unpack = self._find_unpack()
        self._seen: set[str] = set()
        self._ready: dict[str, trio.Event] = {}
        self._manifests: dict[str, bytes] = {}
        self._urls: dict[str, list[str]] = {}
        self._refs: list[str] = []
        self._size = 0
        self._downloaded = 0
        self._snapshots: list[PulledSnapshot] = []

    def _find_unpack(self) -> Unpack | None:
        if not self._options.unpack:
            return None
        if self._backends.unpack is None:
            raise Unavailable(
                "unpack: no plugin provides pluggd.unpack.v1, see `pluggctl plugins ls`; "
                "pull without unpacking: unavailable"
            )
        return self._backends.unpack

    async def run(self) -> Pulled:
        """Pull. Must run under a lease."""
        name = self._options.name
        async with self._resolver.open(name, self._options.access) as remote:
            self._reporter.set("resolving", name)
            target = await remote.resolve()
            self._reporter.set("resolved", name, 1, 1)
            try:
                found = await self._collect(remote, target, unpack=True, depth=0)
                await together(*(partial(self._image, remote, one) for one in found))
            except (DataLoss, InvalidArgument):
                # It is not to be trusted, so neither is what it sent half of.
                await self._downloads.drop(self._refs)
                raise
        image = Image(name=name, target=target, labels=self._options.labels)
        fields = ["target", "labels"] if self._options.labels else ["target"]
        (image,) = await self._backends.put_images([image], fields)
        self._reporter.set("saved", name, 1, 1)
        return Pulled(
            image=image,
            size=self._size,
            downloaded=self._downloaded,
            snapshots=self._snapshots,
        )

    # --- which manifests

    async def _collect(
        self, remote: Remote, target: Descriptor, *, unpack: bool, depth: int
    ) -> list[_Manifest]:
        """The wanted manifests at and below this one, which is fetched."""
        media_type = target.media_type
        if not oci.is_index(media_type) and not oci.is_manifest(media_type):
            raise InvalidArgument(
                f'image "{self._options.name}": {target.digest} is of type '
                f'"{media_type}"; only manifests and indexes can be images: invalid '
                "argument"
            )
        if target.digest in self._seen:
            return []
        self._seen.add(target.digest)
        check_count(self._what, len(self._seen))
        check_depth(self._what, depth)
        data = await self._manifest(remote, target)
        children = oci.children(data, media_type, target.digest)
        if oci.is_manifest(media_type):
            return [self._parts(target, data, children, unpack=unpack)]
        found: list[_Manifest] = []
        children = await self._looked_up(remote, children)
        for descriptor, asked in self._platforms.choose(children):
            if oci.is_index(descriptor.media_type) or oci.is_manifest(
                descriptor.media_type
            ):
                found += await self._collect(
                    remote, descriptor, unpack=unpack and asked, depth=depth + 1
                )
        return found

    @property
    def _what(self) -> str:
        return f'image "{self._options.name}"'

    def _parts(
        self,
        target: Descriptor,
        data: bytes,
        children: Sequence[oci.Child],
        *,
        unpack: bool,
    ) -> _Manifest:
        parts = [child.descriptor for child in children]
        for part in parts:
            if part.size == 0:
                raise InvalidArgument(
                    f"manifest {target.digest}: {part.digest} has 0 bytes: invalid "
                    "argument"
                )
        self._urls |= {one.descriptor.digest: one.urls for one in children if one.urls}
        found = oci.read_manifest(data, target.media_type, target.digest)
        config = None if found.config is None else parts.pop(0)
        return _Manifest(target, config, tuple(parts), unpack)

    async def _manifest(self, remote: Remote, descriptor: Descriptor) -> bytes:
        kind = "index" if oci.is_index(descriptor.media_type) else "manifest"
        ref = f"{kind}-{descriptor.digest}"

        def labels(data: bytes) -> dict[str, str]:
            # All children, also those of other platforms: a later pull may bring them.
            found = oci.children(data, descriptor.media_type, descriptor.digest)
            return oci.child_labels(child.descriptor for child in found)

        if descriptor.digest in self._manifests:
            return self._manifests[descriptor.digest]
        data, fetched = await self._downloads.manifest(
            remote,
            descriptor,
            ref,
            partial(self._report, ref),
            partial(self._backends.read_blob, what=kind),
            labels,
        )
        self._manifests[descriptor.digest] = data
        self._downloaded += fetched
        self._size += descriptor.size
        return data

    async def _looked_up(
        self, remote: Remote, children: Sequence[oci.Child]
    ) -> list[oci.Child]:
        """The entries of an index, with the platforms that some of them leave to their
        configurations, where those can make a difference."""
        if not self._platforms.unsettled(children):
            return [*children]
        check_count(self._what, len(children) + len(self._seen))
        return [
            replace(child, platform=await self._platform(remote, child.descriptor))
            if child.platform is None and oci.is_manifest(child.descriptor.media_type)
            else child
            for child in children
        ]

    async def _platform(self, remote: Remote, target: Descriptor) -> Platform | None:
        """What the configuration of a manifest says."""
        try:
            data = await self._manifest(remote, target)
            children = oci.children(data, target.media_type, target.digest)
            config = self._parts(target, data, children, unpack=False).config
            if config is None or config.media_type not in oci.CONFIGS:
                return None
            if config.digest not in self._ready:
                self._ready[config.digest] = trio.Event()
                await self._fetch(remote, config)
        except NotFound:
            return None  # not there, so not to be chosen unless nothing else is
        read = await self._backends.read_blob(config.digest, "config")
        return oci.read_platform(read, config.digest)

    # --- configuration and layers

    async def _image(self, remote: Remote, manifest: _Manifest) -> None:
        config = manifest.config
        parts = [*([] if config is None else [config]), *manifest.layers]
        jobs: list[Job] = []
        for part in parts:
            # Manifests for several platforms often share layers.
            if part.digest not in self._ready:
                self._ready[part.digest] = trio.Event()
                jobs.append(partial(self._fetch, remote, part))
        if self._unpack is not None and manifest.unpack and _is_image(manifest):
            jobs.append(partial(self._extract, self._unpack, manifest))
        await together(*jobs)

    async def _fetch(self, remote: Remote, descriptor: Descriptor) -> None:
        ref = f"{_kind(descriptor)}-{descriptor.digest}"
        self._refs.append(ref)
        # Not in one statement: it would add to what was there before the wait.
        fetched = await self._downloads.get(
            remote,
            descriptor,
            ref,
            partial(self._report, ref),
            urls=self._urls.get(descriptor.digest, ()),
        )
        self._downloaded += fetched
        self._size += descriptor.size
        self._ready[descriptor.digest].set()

    async def _extract(self, unpack: Unpack, manifest: _Manifest) -> None:
        assert manifest.config is not None
        await self._ready[manifest.config.digest].wait()
        async with unpack.begin(
            config=manifest.config,
            layers=manifest.layers,
            snapshotter=self._options.snapshotter,
            progress=_Extracting(self._reporter),
        ) as unpacking:

            async def tell(index: int, layer: Descriptor) -> None:
                await self._ready[layer.digest].wait()
                unpacking.layer_ready(index)

            await together(
                *(
                    partial(tell, index, one)
                    for index, one in enumerate(manifest.layers)
                )
            )
            unpacked = await unpacking.finish()
        self._snapshots.append(
            PulledSnapshot(
                manifest=manifest.descriptor.digest,
                snapshotter=unpacked.snapshotter,
                chain_id=unpacked.chain_id,
            )
        )

    def _report(self, name: str, event: str, progress: int, total: int) -> None:
        self._reporter.set(event, name, progress, total)


class _Extracting:
    """Progress of an unpack, which names layers by digest, under the names of a pull."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    async def send(self, value: Progress, /) -> None:
        if value.event == "exists":
            return  # the snapshot; the line of the layer says how its blob came
        self._reporter.set(
            value.event, f"layer-{value.name}", value.progress, value.total
        )


def required(resolver: Resolver | None) -> Resolver:
    """It, or Unavailable with the way to find out why it is not there."""
    if resolver is None:
        raise Unavailable(
            "no plugin provides pluggd.resolver.v1, see `pluggctl plugins ls`: "
            "unavailable"
        )
    return resolver


def _kind(descriptor: Descriptor) -> str:
    """The first part of the name of a blob's ingest, as the ecosystem has it."""
    if oci.is_layer(descriptor.media_type):
        return "layer"
    return "config" if descriptor.media_type in oci.CONFIGS else "unknown"


def _is_image(manifest: _Manifest) -> bool:
    """Whether it has a root file system; an artifact or an attestation has not."""
    config = manifest.config
    return (
        config is not None
        and config.media_type in oci.CONFIGS
        and all(oci.is_layer(layer.media_type) for layer in manifest.layers)
    )
