# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a received archive to image records.

Under one lease: receive, find out what the archive describes, label every parent
with its children so that the collector keeps them, and create all records in one
transaction. Until then no image is visible; whatever fails leaves nothing but
blobs that the next collection takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.model import oci
from pluggd.model.labels import validate_labels
from pluggd.model.platforms import candidates, default, describe, parse, rank
from pluggd.model.record import encode_json
from pluggd.model.types import Descriptor, Platform
from pluggd.services.content import Info
from pluggd.services.images import Image
from pluggd.services.transfer import Imported

from .archive import Archive, Blob, Receiver
from .backends import Backends
from .layout import (
    DOCKER_FILE,
    INDEX_FILE,
    LAYOUT_FILE,
    check_layout,
    docker_name,
    image_name,
    read_docker,
    read_index,
)
from .limits import check_depth
from .progress import Reporter


@dataclass(frozen=True)
class Options:
    """What the caller of an import asked for."""

    base_name: str = ""
    index_name: str = ""
    digests: bool = False
    platforms: Sequence[str] = ()
    all_platforms: bool = False
    labels: dict[str, str] | None = None

    def wanted(self) -> list[Platform] | None:
        """The acceptable platforms, best first; None for all."""
        if self.all_platforms:
            return None
        asked = [parse(text) for text in self.platforms] or [default()]
        return [each for platform in asked for each in candidates(platform)]


@dataclass(frozen=True)
class _Entry:
    """An image of the archive that is kept, and the names it gets."""

    descriptor: Descriptor
    names: tuple[str, ...]


class Importer:
    """One import; `ref` distinguishes its ingests from those of others."""

    def __init__(
        self, backends: Backends, options: Options, reporter: Reporter, ref: str
    ) -> None:
        validate_labels(options.labels or {}, "image.Labels")
        self._backends = backends
        self._options = options
        self._wanted = options.wanted()
        self._reporter = reporter
        self._ref = ref
        self._kept: dict[str, bool] = {}
        self._unfit: set[str] = set()  # platforms of what was left out
        self._unnamed = 0
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        self._prefix = options.base_name or f"import-{today}"

    async def run(self, chunks: AsyncIterator[bytes]) -> Imported:
        """Import what the chunks hold. Must run under a lease."""
        receiver = Receiver(self._backends, self._reporter, self._ref)
        archive = await receiver.receive(chunks)
        if LAYOUT_FILE in archive.describing:
            entries, skipped = await self._oci(archive)
        elif DOCKER_FILE in archive.describing:
            entries, skipped = await self._docker(archive)
        else:
            raise InvalidArgument(
                f"unrecognized image format: the archive has neither {LAYOUT_FILE} "
                f"nor {DOCKER_FILE}: invalid argument"
            )
        records = self._records(entries)
        fields = ["target", "labels"] if self._options.labels else ["target"]
        images = await self._backends.put_images(records, fields)
        for image in images:
            self._reporter.set("saved", image.name, 1, 1)
        return Imported(images=images, skipped=skipped)

    # --- what the archive describes

    async def _oci(self, archive: Archive) -> tuple[list[_Entry], int]:
        check_layout(archive.describing[LAYOUT_FILE])
        index = archive.describing.get(INDEX_FILE)
        if index is None:
            raise InvalidArgument(f"archive has no {INDEX_FILE}: invalid argument")
        entries: list[_Entry] = []
        kept: list[Descriptor] = []
        skipped = 0
        for child in read_index(index):
            descriptor = child.descriptor
            if not self._fits(child.platform) or not await self._keep(descriptor):
                skipped += 1
                continue
            kept.append(descriptor)
            name = image_name(
                descriptor.annotations, self._options.base_name, self._prefix
            )
            names = [name] if name else []
            if self._options.digests:
                names.append(f"{self._prefix}@{descriptor.digest}")
            if names:
                entries.append(_Entry(descriptor, tuple(names)))
            else:
                skipped += 1
                self._unnamed += 1
        if self._options.index_name and kept:
            descriptor = await self._write_json(index, oci.OCI_INDEX)
            await self._label(descriptor.digest, kept)
            entries.append(_Entry(descriptor, (self._options.index_name,)))
        return entries, skipped

    async def _docker(self, archive: Archive) -> tuple[list[_Entry], int]:
        entries: list[_Entry] = []
        skipped = 0
        for image in read_docker(archive.describing[DOCKER_FILE]):
            config = archive.find(image.config)
            data = await self._backends.read_blob(config.digest, "config")
            if not self._fits(oci.read_platform(data, config.digest)):
                skipped += 1
                continue
            layers = [archive.find(path) for path in image.layers or ()]
            manifest = {
                "schemaVersion": 2,
                "mediaType": oci.DOCKER_MANIFEST,
                "config": _json_descriptor(config, oci.DOCKER_CONFIG),
                "layers": [
                    _json_descriptor(each, _layer_type(each)) for each in layers
                ],
            }
            descriptor = await self._write_json(
                encode_json(manifest), oci.DOCKER_MANIFEST
            )
            await self._keep(descriptor)
            names = [docker_name(tag) for tag in image.repo_tags or ()]
            if self._options.digests:
                names.append(f"{self._prefix}@{descriptor.digest}")
            if names:
                entries.append(_Entry(descriptor, tuple(names)))
            else:
                skipped += 1
                self._unnamed += 1
        return entries, skipped

    def _fits(self, platform: Platform | None) -> bool:
        if self._wanted is None or rank(platform, self._wanted) is not None:
            return True
        if platform is not None:
            self._unfit.add(describe(platform))
        return False

    # --- keeping what belongs to an image

    async def _keep(self, descriptor: Descriptor, depth: int = 0) -> bool:
        """Label this blob and all below it; False when nothing of an index is kept.

        Raises InvalidArgument for a part that the archive should have and has not,
        ResourceExhausted for indexes in indexes in indexes.
        """
        kept = self._kept.get(descriptor.digest)
        if kept is None:
            check_depth("archive", depth)
            kept = await self._keep_new(descriptor, depth)
            self._kept[descriptor.digest] = kept
        return kept

    async def _keep_new(self, descriptor: Descriptor, depth: int) -> bool:
        media_type = descriptor.media_type
        if not oci.is_index(media_type) and not oci.is_manifest(media_type):
            raise InvalidArgument(
                f'{INDEX_FILE}: {descriptor.digest} is of type "{media_type}"; only '
                "manifests and indexes can be images: invalid argument"
            )
        await self._require(descriptor, INDEX_FILE)
        data = await self._backends.read_blob(descriptor.digest, "manifest")
        found = oci.children(data, media_type, descriptor.digest)
        kept: list[Descriptor] = []
        for child in found:
            if oci.is_index(media_type):
                if not self._fits(child.platform):
                    continue
                # An index may name what was never fetched, for other platforms.
                if await self._has(child.descriptor) and await self._keep(
                    child.descriptor, depth + 1
                ):
                    kept.append(child.descriptor)
            elif not oci.is_non_distributable(
                child.descriptor.media_type
            ) or await self._has(child.descriptor):
                await self._require(child.descriptor, f"manifest {descriptor.digest}")
                kept.append(child.descriptor)
        if oci.is_index(media_type) and found and not kept:
            return False
        await self._label(descriptor.digest, kept)
        return True

    async def _has(self, descriptor: Descriptor) -> bool:
        try:
            await self._backends.content.info(digest=descriptor.digest)
        except NotFound:
            return False
        return True

    async def _require(self, descriptor: Descriptor, parent: str) -> None:
        try:
            info = await self._backends.content.info(digest=descriptor.digest)
        except NotFound:
            raise InvalidArgument(
                f"archive is incomplete: {parent} names {descriptor.digest}, which is "
                "not in it: invalid argument"
            ) from None
        if info.size != descriptor.size:
            raise InvalidArgument(
                f"{parent} says that {descriptor.digest} has {descriptor.size} bytes, "
                f"it has {info.size}: invalid argument"
            )

    async def _label(self, digest: str, kept: Sequence[Descriptor]) -> None:
        labels = oci.child_labels(kept)
        if labels:
            await self._backends.content.update(
                info=Info(digest=digest, labels=labels),
                fields=[f"labels.{key}" for key in labels],
            )

    async def _write_json(self, data: bytes, media_type: str) -> Descriptor:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with suppress(AlreadyExists):
            await self._backends.content.write(
                ref=f"{self._ref}-{digest}",
                action="commit",
                data=data,
                total=len(data),
                expected=digest,
            )
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    # --- the records

    def _records(self, entries: Sequence[_Entry]) -> list[Image]:
        records: dict[str, Image] = {}
        for entry in entries:
            for name in entry.names:
                known = records.get(name)
                if known is not None and known.target.digest != entry.descriptor.digest:
                    raise InvalidArgument(
                        f'archive names two images "{name}": {known.target.digest} and '
                        f"{entry.descriptor.digest}: invalid argument"
                    )
                records[name] = Image(
                    name=name,
                    target=entry.descriptor,
                    labels=self._options.labels or {},
                )
        if records:
            return list(records.values())
        if self._unnamed:
            raise InvalidArgument(
                f"no image in the archive has a name (annotation {oci.REF_NAME}); "
                "import it by digest, or give the index a name: invalid argument"
            )
        if self._wanted and self._unfit:
            raise InvalidArgument(
                f"no image in the archive is for {describe(self._wanted[0])}; it has "
                f"{', '.join(sorted(self._unfit))}: choose one of these platforms, or "
                "all: invalid argument"
            )
        raise InvalidArgument("archive has no image: invalid argument")


def _json_descriptor(blob: Blob, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}


def _layer_type(blob: Blob) -> str:
    if blob.head.startswith(b"\x1f\x8b"):
        return f"{oci.DOCKER_LAYER}.gzip"
    if blob.head.startswith(b"\x28\xb5\x2f\xfd"):
        return f"{oci.DOCKER_LAYER}.zstd"
    return oci.DOCKER_LAYER
