# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an image is, worked out from its manifests.

The image store has names and the content store blobs; sizes, platforms and completeness
follow from the manifests, which this module reads through a function. It knows no
connection, so clients use it as well as plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pluggd.errors import InvalidArgument, NotFound
from pluggd.model import oci, platforms
from pluggd.model.types import Descriptor, Platform
from pluggd.struct import Struct

MAX_MANIFEST = 8 << 20
"""Bytes of a manifest, index or config that is read; registries accept 4 MiB."""

MAX_DEPTH = 8
"""Of indexes in indexes; an index cannot hold itself, but it can be long."""

Read = Callable[[str, int], bytes]
"""The whole blob of a digest and a size; raises NotFound."""


class Check(Struct, frozen=True):
    """Whether an image can be used here; `required` is what its manifest names."""

    available: bool
    required: list[Descriptor]
    missing: list[Descriptor]

    @property
    def complete(self) -> bool:
        return self.available and not self.missing


class Node(Struct, frozen=True):
    """One blob of an image as a tree shows it. here: whether it is in the store, as
    far as the walk had to know."""

    descriptor: Descriptor
    platform: Platform | None
    depth: int
    here: bool


class ImageInfo:
    """Answers about images; keeps what it has read, so ask one object many times.

    platform: the machine that images shall run on; None for this one. What `read` raises
    reaches the caller; one that is NotFound means a blob that is not here.
    """

    def __init__(self, read: Read, platform: Platform | None = None) -> None:
        self._read = read
        self._wanted = platforms.candidates(platform or platforms.default())
        self._children: dict[str, list[oci.Child]] = {}
        self._configs: dict[str, Platform] = {}
        self._best: dict[tuple[str, int], Descriptor | None] = {}

    def children(self, target: Descriptor) -> list[oci.Child]:
        """What a manifest or an index names; nothing for other types.

        Raises NotFound when it is not here, InvalidArgument when it is not what its
        type says.
        """
        if not (oci.is_index(target.media_type) or oci.is_manifest(target.media_type)):
            return []
        found = self._children.get(target.digest)
        if found is None:
            data = self.blob(target)
            found = oci.children(data, target.media_type, target.digest)
            self._children[target.digest] = found
        return found

    def platforms(self, target: Descriptor) -> list[Platform]:
        """Those an image is for, in its own order, without unknown ones.

        What an index says is believed without a look at the manifest, so that an
        image of which only some platforms are here shows them all.
        """
        if oci.is_index(target.media_type):
            entries = self.children(target)
        else:
            entries = [oci.Child(descriptor=target)]
        found: list[Platform] = []
        for entry in entries:
            try:
                platform = self._platform(entry)
            except NotFound:
                continue  # not kept here, and the index does not say it
            if platform is None or "unknown" in (platform.os, platform.architecture):
                continue
            if platform.os and platform not in found:
                found.append(platform)
        return found

    def best(self, target: Descriptor, depth: int = 0) -> Descriptor:
        """The manifest for this platform; a manifest itself is taken as it is.

        Raises NotFound when there is none.
        """
        if oci.is_manifest(target.media_type):
            return target
        # Indexes may name each other's parts over and over.
        key = target.digest, depth
        if key not in self._best:
            self._best[key] = self._best_entry(target, depth)
        found = self._best[key]
        if found is None:
            raise NotFound(
                f"no match for platform in manifest {target.digest}: not found"
            )
        return found

    def _best_entry(self, target: Descriptor, depth: int) -> Descriptor | None:
        best: tuple[int, Descriptor] | None = None
        for entry in self.children(target) if depth < MAX_DEPTH else []:
            manifest = entry.descriptor
            if oci.is_index(manifest.media_type):
                try:
                    manifest = self.best(manifest, depth + 1)
                except NotFound:
                    continue
            elif not oci.is_manifest(manifest.media_type):
                continue
            try:
                platform = self._platform(
                    oci.Child(descriptor=manifest, platform=entry.platform)
                )
            except NotFound:
                platform = None
            rank = platforms.rank(platform, self._wanted)
            if rank is not None and (best is None or rank < best[0]):
                best = (rank, manifest)
        return None if best is None else best[1]

    def size(self, target: Descriptor) -> int:
        """Declared bytes of the target and of one manifest with what it names.

        As far as the manifests that are here tell: an image is listed also when
        some of it is missing, or is not what it says it is.
        """
        total = target.size
        try:
            manifest = self.best(target)
            if manifest.digest != target.digest:
                total += manifest.size
            total += sum(child.descriptor.size for child in self.children(manifest))
        except (NotFound, InvalidArgument):
            return total
        return total

    def check(self, target: Descriptor, exists: Callable[[str], bool]) -> Check:
        """Whether the blobs of this platform's manifest are here.

        Raises InvalidArgument for a target that is no image.
        """
        try:
            children = self.children(self.best(target))
        except NotFound:
            return Check(available=False, required=[target], missing=[target])
        required = [child.descriptor for child in children]
        missing = [one for one in required if not exists(one.digest)]
        return Check(available=True, required=required, missing=missing)

    def walk(
        self, target: Descriptor, platform: Platform | None = None, depth: int = 0
    ) -> Iterator[Node]:
        """Every node, parents first, a digest as often as it is named. A leaf counts
        as here without being asked for."""
        try:
            children = self.children(target) if depth < MAX_DEPTH else []
        except NotFound:
            yield Node(target, platform, depth, here=False)
            return
        yield Node(target, platform, depth, here=True)
        for child in children:
            yield from self.walk(child.descriptor, child.platform, depth + 1)

    def _platform(self, entry: oci.Child) -> Platform | None:
        """What the index says, or else the configuration."""
        if entry.platform is not None:
            return entry.platform
        for child in self.children(entry.descriptor):
            config = child.descriptor
            if config.media_type in oci.CONFIGS:
                found = self._configs.get(config.digest)
                if found is None:
                    found = oci.read_platform(self.blob(config), config.digest)
                    self._configs[config.digest] = found
                return found
        return None

    def blob(self, target: Descriptor) -> bytes:
        """A manifest or a configuration. Raises NotFound, InvalidArgument (size)."""
        if target.size > MAX_MANIFEST:
            raise InvalidArgument(
                f"content {target.digest}: {target.size} bytes are more than the "
                f"{MAX_MANIFEST} that a manifest may have: invalid argument"
            )
        return self._read(target.digest, target.size)
