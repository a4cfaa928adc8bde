# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What of an image is here, and in which snapshotters it lies ready."""

from __future__ import annotations

from pluggd.errors import DataLoss, InvalidArgument, NotFound
from pluggd.model import oci
from pluggd.model.types import Descriptor
from pluggd.services.images import Image
from pluggd.services.unpack import ImageState

from .backends import Backends
from .chain import chain_ids
from .reading import Reader


class Checker:
    """`prepare` once, then `check` as many images as you like."""

    def __init__(self, backends: Backends, reader: Reader) -> None:
        self._backends = backends
        self._reader = reader
        self._snapshotters: list[str] = []
        self._present: dict[str, bool] = {}

    async def prepare(self) -> None:
        found = await self._backends.snapshots.snapshotters()
        self._snapshotters = found.snapshotters

    async def check(self, image: Image) -> ImageState:
        """Raises nothing: what is wrong with an image is its status."""
        target, info = image.target, self._reader.info
        try:
            manifest = await self._reader.ask(lambda: info.best(target))
            children = await self._reader.ask(lambda: info.children(manifest))
        except NotFound:
            return ImageState(
                name=image.name, target=target, status="unavailable", missing=[target]
            )
        except (InvalidArgument, DataLoss) as error:
            return ImageState(
                name=image.name, target=target, status="error", error=str(error)
            )
        required = [child.descriptor for child in children]
        missing = [one for one in required if not await self._has(one.digest)]
        lost = {one.digest for one in missing}
        chain_id, error_text = await self._chain_id(required)
        return ImageState(
            name=image.name,
            target=target,
            status="incomplete" if missing else "error" if error_text else "complete",
            error=error_text,
            required=len(required),
            size=sum(one.size for one in required),
            present_size=sum(one.size for one in required if one.digest not in lost),
            missing=missing,
            manifest=manifest.digest,
            chain_id=chain_id,
            unpacked=await self._unpacked(chain_id),
        )

    async def _has(self, digest: str) -> bool:
        if digest not in self._present:
            content = self._backends.content
            try:
                size = (await content.info(digest=digest)).size
                # No byte of it, but it is opened: a record is not yet a blob.
                await content.read(digest=digest, offset=size)
                self._present[digest] = True
            except (NotFound, DataLoss):
                self._present[digest] = False
        return self._present[digest]

    async def _chain_id(self, required: list[Descriptor]) -> tuple[str, str]:
        """The chain ID, "" where none is to be known; and what is wrong."""
        configs = [one for one in required if one.media_type in oci.CONFIGS]
        if not configs:
            return "", ""
        try:
            diff_ids = await self._reader.diff_ids(configs[0])
        except (NotFound, DataLoss):
            return "", ""  # it is among the missing
        except InvalidArgument as error:
            return "", str(error)
        return chain_ids(diff_ids)[-1] if diff_ids else "", ""

    async def _unpacked(self, chain_id: str) -> list[str]:
        found: list[str] = []
        for name in self._snapshotters if chain_id else ():
            try:
                here = await self._backends.snapshots.stat(
                    key=chain_id, snapshotter=name
                )
            except NotFound:
                continue
            if here.kind == "committed":
                found.append(name)
        return found
