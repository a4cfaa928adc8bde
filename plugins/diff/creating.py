# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Making a layer: a worker writes into an ingest, which then becomes a blob."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import trio

from pluggd.errors import AlreadyExists, NotFound, PluggdError
from pluggd.model.labels import validate_labels
from pluggd.model.types import Descriptor, Mount
from pluggd.services.content import Content, Info

from .mediatypes import created
from .pool import Pool
from .targets import open_directory, seen

UNCOMPRESSED = "containerd.io/uncompressed"


class Creation:
    """One `create`; `run` it once."""

    def __init__(
        self,
        content: Content,
        pool: Pool,
        media_type: str,
        ref: str,
        labels: dict[str, str],
    ) -> None:
        self._compression = created(media_type)
        validate_labels(labels, "diff.Labels")
        self._content = content
        self._pool = pool
        self._media_type = media_type
        self._ref = ref or f"diff-{time.time_ns()}-{secrets.token_hex(4)}"
        self._labels = labels

    async def run(self, lower: Sequence[Mount], upper: Sequence[Mount]) -> Descriptor:
        async with AsyncExitStack() as stack:
            fds: list[int] = []
            for mounts in (upper, lower) if lower else (upper,):
                path = await stack.enter_async_context(seen(mounts, reading=True))
                fds.append(open_directory(path))
                stack.callback(os.close, fds[-1])
            with suppress(NotFound):
                await self._content.abort(ref=self._ref)
            try:
                return await self._write(fds)
            except BaseException:
                with trio.CancelScope(shield=True), suppress(PluggdError):
                    await self._content.abort(ref=self._ref)
                raise

    async def _write(self, fds: list[int]) -> Descriptor:
        opened = await self._content.ingest_open(ref=self._ref)
        try:
            job = {"job": "create", "compression": self._compression}
            done = await self._pool.run(job, [opened.fd, *fds], lambda _: None)
        finally:
            os.close(opened.fd)
        labels = {**self._labels, UNCOMPRESSED: done["diff_id"]}
        digest = done["digest"]
        try:
            await self._content.write(
                ref=self._ref,
                action="commit",
                offset=done["size"],
                total=done["size"],
                expected=digest,
                labels=labels,
            )
        except AlreadyExists:
            with suppress(NotFound):
                await self._content.abort(ref=self._ref)
            await self._content.update(
                info=Info(digest=digest, labels=labels),
                fields=[f"labels.{key}" for key in labels],
            )
        return Descriptor(
            media_type=self._media_type,
            digest=digest,
            size=done["size"],
            annotations={UNCOMPRESSED: done["diff_id"]},
        )
