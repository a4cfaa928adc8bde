# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What images are, read from the content store.

`pluggd.model.imageinfo` asks for one blob after the other and does not wait; here a
question is asked anew each time that a blob it lacked has been read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pluggd.errors import InvalidArgument, NotFound
from pluggd.model.digests import check_digest
from pluggd.model.imageinfo import ImageInfo
from pluggd.model.record import Record, decode_json
from pluggd.model.types import Descriptor, Platform
from pluggd.services.content import Content

T = TypeVar("T")


class Rootfs(Record, frozen=True):
    diff_ids: list[str] = []


class JsonConfig(Record, frozen=True):
    """The part of an image configuration that says what its layers are."""

    rootfs: Rootfs = Rootfs()


class _Lacking(Exception):
    def __init__(self, digest: str, size: int) -> None:
        super().__init__(digest)
        self.digest = digest
        self.size = size


class Reader:
    """Keeps what it has read: use one for all questions of a call."""

    def __init__(self, content: Content, platform: Platform | None = None) -> None:
        self._content = content
        self._blobs: dict[str, bytes | None] = {}
        self.info = ImageInfo(self._read, platform)

    async def ask(self, question: Callable[[], T]) -> T:
        """The answer of a function that uses `info`. Raises what it raises."""
        while True:
            try:
                return question()
            except _Lacking as lacking:
                self._blobs[lacking.digest] = await self._fetch(
                    lacking.digest, lacking.size
                )

    async def diff_ids(self, config: Descriptor) -> list[str]:
        """Those of a configuration. Raises NotFound, InvalidArgument."""
        data = await self.ask(lambda: self.info.blob(config))
        what = f"config {config.digest}"
        found = decode_json(data, JsonConfig, what).rootfs.diff_ids
        for digest in found:
            reason = check_digest(digest)
            if reason is not None:
                raise InvalidArgument(f'{what}: diff ID "{digest}": {reason}')
        return found

    def _read(self, digest: str, size: int) -> bytes:
        if digest not in self._blobs:
            raise _Lacking(digest, size)
        data = self._blobs[digest]
        if data is None:
            raise NotFound(f"content digest {digest}: not found")
        return data

    async def _fetch(self, digest: str, size: int) -> bytes | None:
        data = b""
        while True:
            try:
                chunk = await self._content.read(
                    digest=digest, offset=len(data), size=size - len(data)
                )
            except NotFound:
                return None
            data += chunk.data
            if not chunk.data or len(data) >= size:
                return data
