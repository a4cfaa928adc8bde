# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The services that a transfer works with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pluggd.errors import DataLoss, ResourceExhausted
from pluggd.model.digests import split_digest
from pluggd.services.content import Content
from pluggd.services.images import Images
from pluggd.services.leases import Leases
from pluggd.services.metadata import Metadata
from plugins.transfer.config import Config


@dataclass(frozen=True)
class Backends:
    """What the importer and the exporter are given."""

    content: Content
    images: Images
    leases: Leases
    metadata: Metadata
    config: Config

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
