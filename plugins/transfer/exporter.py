# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From image records to an archive: an OCI layout that docker reads too.

First everything is looked up, so that a missing blob is an error before the first
byte; then the entries are written in order of name. Every blob is hashed on its way
out: an archive with a broken layer is worse than none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from pluggd.errors import DataLoss, InvalidArgument, NotFound
from pluggd.model import oci
from pluggd.model.platforms import candidates, default, describe, parse
from pluggd.model.record import encode_json
from pluggd.model.types import Descriptor
from pluggd.services.images import Image

from .backends import Backends
from .choosing import best_entry
from .layout import DOCKER_FILE, INDEX_FILE, LAYOUT_FILE, familiar_name
from .limits import check_depth
from .progress import Reporter
from .tarwrite import END, directory_header, file_header, padding

Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Options:
    """What the caller of an export asked for."""

    platforms: Sequence[str] = ()
    all_platforms: bool = False
    skip_manifest_json: bool = False
    skip_non_distributable: bool = False


@dataclass
class _Contents:
    """What goes into the archive."""

    blobs: dict[str, int] = field(default_factory=dict[str, int])
    index: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    docker: dict[str, dict[str, object]] = field(
        default_factory=dict[str, dict[str, object]]
    )


class Exporter:
    """One export."""

    def __init__(
        self, backends: Backends, options: Options, reporter: Reporter
    ) -> None:
        self._backends = backends
        self._options = options
        self._reporter = reporter
        asked = [parse(text) for text in options.platforms] or [default()]
        self._platform = asked[0]
        self._wanted = [candidates(platform) for platform in asked]

    async def run(self, names: Sequence[str], write: Write) -> int:
        """Write the archive; its size in bytes."""
        if not names:
            raise InvalidArgument("export: no image is named: invalid argument")
        contents = _Contents()
        for name in dict.fromkeys(names):
            await self._add(contents, await self._backends.images.get(name=name))
        return await self._write(contents, write)

    # --- looking up

    async def _add(self, contents: _Contents, image: Image) -> None:
        target = image.target
        media_type = target.media_type
        if not oci.is_index(media_type) and not oci.is_manifest(media_type):
            raise InvalidArgument(
                f'image "{image.name}" is of type "{media_type}": only manifests may '
                "be exported: invalid argument"
            )
        manifests = await self._collect(contents, target, image.name, {}, 0)
        contents.index.append(
            {
                "mediaType": media_type,
                "digest": target.digest,
                "size": target.size,
                "annotations": {
                    **target.annotations,
                    oci.IMAGE_NAME: image.name,
                    oci.REF_NAME: _reference(image.name),
                },
            }
        )
        if manifests and not self._options.skip_manifest_json:
            await self._add_docker(contents, manifests[0], image.name)

    async def _collect(
        self,
        contents: _Contents,
        target: Descriptor,
        name: str,
        known: dict[str, list[Descriptor]],
        depth: int,
    ) -> list[Descriptor]:
        """Add the target and what it needs; its manifests, best platform first.

        known: what was found for this image so far, by digest.
        """
        if target.digest not in known:
            check_depth(f'image "{name}"', depth)
            found = await self._collect_new(contents, target, name, known, depth)
            known[target.digest] = found
        return known[target.digest]

    async def _collect_new(
        self,
        contents: _Contents,
        target: Descriptor,
        name: str,
        known: dict[str, list[Descriptor]],
        depth: int,
    ) -> list[Descriptor]:
        data = await self._require(contents, target, name)
        found = oci.children(data, target.media_type, target.digest)
        if oci.is_manifest(target.media_type):
            for child in found:
                foreign = oci.is_non_distributable(child.descriptor.media_type)
                if foreign and self._options.skip_non_distributable:
                    continue
                await self._size(contents, child.descriptor, name)
            return [target]
        # The best entry for each platform, as a pull brings no other.
        chosen = [best_entry(found, wanted) for wanted in self._wanted]
        ordered = {one.digest: one for one in chosen if one is not None}
        if self._options.all_platforms:
            for child in found:
                ordered.setdefault(child.descriptor.digest, child.descriptor)
        manifests: list[Descriptor] = []
        for descriptor in ordered.values():
            if oci.is_index(descriptor.media_type) or oci.is_manifest(
                descriptor.media_type
            ):
                manifests += await self._collect(
                    contents, descriptor, name, known, depth + 1
                )
            else:
                await self._size(contents, descriptor, name)
        if not manifests:
            raise NotFound(
                f'image "{name}": no manifest found for platform '
                f"{describe(self._platform)}: not found"
            )
        return list({one.digest: one for one in manifests}.values())

    async def _require(
        self, contents: _Contents, descriptor: Descriptor, name: str
    ) -> bytes:
        await self._size(contents, descriptor, name)
        return await self._backends.read_blob(descriptor.digest, "manifest")

    async def _size(
        self, contents: _Contents, descriptor: Descriptor, name: str
    ) -> None:
        try:
            info = await self._backends.content.info(digest=descriptor.digest)
        except NotFound as error:
            raise NotFound(f'image "{name}" is incomplete: {error}') from error
        contents.blobs[descriptor.digest] = info.size

    async def _add_docker(
        self, contents: _Contents, manifest: Descriptor, name: str
    ) -> None:
        data = await self._backends.read_blob(manifest.digest, "manifest")
        found = oci.read_manifest(data, manifest.media_type, manifest.digest)
        if found.config is None:
            return  # an artifact; docker has no form for it
        entry = contents.docker.setdefault(
            manifest.digest,
            {
                "Config": _path(found.config.digest),
                "RepoTags": [],
                "Layers": [_path(layer.digest) for layer in found.layers or ()],
            },
        )
        tags = entry["RepoTags"]
        if isinstance(tags, list) and "@" not in name:
            tags.append(familiar_name(name))  # pyright: ignore[reportUnknownMemberType]

    # --- writing

    async def _write(self, contents: _Contents, write: Write) -> int:
        size = 0

        async def put(data: bytes) -> None:
            nonlocal size
            size += len(data)
            await write(data)

        directories = {"blobs/"} | {
            f"blobs/{digest.partition(':')[0]}/" for digest in contents.blobs
        }
        documents = {
            INDEX_FILE: (
                encode_json(
                    {
                        "schemaVersion": 2,
                        "mediaType": oci.OCI_INDEX,
                        "manifests": contents.index,
                    }
                ),
                0o644,
            ),
            LAYOUT_FILE: (b'{"imageLayoutVersion":"1.0.0"}', 0o444),
        }
        if contents.docker:
            documents[DOCKER_FILE] = (
                encode_json(list(contents.docker.values())),
                0o644,
            )
        blobs = {_path(digest): digest for digest in contents.blobs}
        for name in sorted({*directories, *documents, *blobs}):
            if name in directories:
                await put(directory_header(name))
            elif name in documents:
                data, mode = documents[name]
                await put(file_header(name, len(data), mode) + data)
                await put(padding(len(data)))
            else:
                digest = blobs[name]
                length = contents.blobs[digest]
                await put(file_header(name, length, 0o444))
                await self._copy(digest, length, put)
                await put(padding(length))
        await put(END)
        return size

    async def _copy(self, digest: str, size: int, put: Write) -> None:
        opened = await self._backends.content.open(digest=digest)
        chunk_size = self._backends.config.chunk_size
        hasher = hashlib.new(digest.partition(":")[0])
        offset = 0
        try:
            while offset < size:
                wanted = min(chunk_size, size - offset)
                data = await trio.to_thread.run_sync(
                    os.pread, opened.fd, wanted, offset
                )
                if not data:
                    break
                hasher.update(data)
                offset += len(data)
                await put(data)
                self._reporter.set("exporting", digest, offset, size)
        finally:
            os.close(opened.fd)
        if offset < size or hasher.hexdigest() != digest.partition(":")[2]:
            raise DataLoss(
                f"content {digest} is damaged: {offset} of {size} bytes read, "
                f"their digest is {hasher.hexdigest()}; the archive is not usable"
            )
        self._reporter.set("exported", digest, size, size)


def _path(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _reference(name: str) -> str:
    """The tag of a name, or the whole name where there is none."""
    last = name.rpartition("/")[2]
    if "@" in name or ":" not in last:
        return name
    return last.partition(":")[2]
