# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The services that a transfer works with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pluggd.errors import DataLoss, NotFound, ResourceExhausted
from pluggd.model.digests import split_digest
from pluggd.services.content import Content
from pluggd.services.images import Image, Images
from pluggd.services.leases import Leases
from pluggd.services.metadata import Metadata, Transaction
from pluggd.services.resolver import Resolver
from pluggd.services.unpack import Unpack
from pluggd.struct import Struct

from .config import Config

_FEW = 20
"""Image records that may be stored where requests are served."""


class Backends(Struct, frozen=True):
    """What each of them is given. resolver, unpack: None when nobody provides them."""

    content: Content
    images: Images
    leases: Leases
    metadata: Metadata
    config: Config
    resolver: Resolver | None = None
    unpack: Unpack | None = None

    async def put_images(
        self, records: Sequence[Image], fields: Sequence[str]
    ) -> list[Image]:
        """Create these images, or set these fields of them; all or none."""

        def store(txn: Transaction) -> list[Image]:
            return [txn.run(self._put(image, fields)) for image in records]

        long = len(records) > _FEW
        return await self.metadata.update(store, long=long)

    async def tag(
        self, source: str, names: Sequence[str], *, force: bool
    ) -> list[Image]:
        """Further names for an image; all or none. Raises NotFound, AlreadyExists."""

        def store(txn: Transaction) -> list[Image]:
            image = txn.run(self.images.get(name=source))
            made: list[Image] = []
            for name in dict.fromkeys(names):
                new = Image(name=name, target=image.target, labels=image.labels)
                put = self._put(new, ()) if force else self.images.create(image=new)
                made.append(txn.run(put))
            return made

        return await self.metadata.update(store, long=len(names) > _FEW)

    async def _put(self, image: Image, fields: Sequence[str]) -> Image:
        try:
            return await self.images.update(image=image, fields=fields)
        except NotFound:
            return await self.images.create(image=image)

    async def read_blob(self, digest: str, what: str) -> bytes:
        """A small blob, whole, and what its digest says.

        Raises NotFound, ResourceExhausted over `max_manifest`, DataLoss.
        """
        info = await self.content.info(digest=digest)
        if info.size > self.config.max_manifest:
            raise ResourceExhausted(
                f"{what} {digest} has {info.size} bytes, over the limit of "
                f"{self.config.max_manifest} (max_manifest): resource exhausted"
            )
        parts: list[bytes] = []
        offset = 0
        while offset < info.size:
            chunk = await self.content.read(digest=digest, offset=offset)
            if not chunk.data:
                raise DataLoss(
                    f"content {digest} ends at {offset} of {info.size} bytes"
                )
            parts.append(chunk.data)
            offset += len(chunk.data)
        data = b"".join(parts)
        algorithm, value = split_digest(digest)
        if hashlib.new(algorithm, data).hexdigest() != value:
            raise DataLoss(
                f"{what} {digest} is damaged: its bytes have another digest; delete it "
                "and import it again: data loss"
            )
        return data
