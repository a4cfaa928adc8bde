# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The diff service: blobs and mounts become descriptors for a worker, and back."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from pluggd.model import oci
from pluggd.model.types import Descriptor, Mount
from pluggd.services.content import Content
from pluggd.services.diff import Applying
from pluggd.services.rpc import Send

from .config import Config
from .pool import Pool

Logger = logging.LoggerAdapter[logging.Logger]


class DiffService:
    """Knows no snapshots: mounts are what it is given."""

    def __init__(
        self, content: Content, pool: Pool, config: Config, log: Logger
    ) -> None:
        self._content = content
        self._pool = pool
        self._config = config
        self._log = log
        self._told = False

    async def apply(
        self,
        *,
        diff: Descriptor,
        mounts: Sequence[Mount],
        progress: Send[Applying],
    ) -> Descriptor:
        # Here and below: with the first layer, not at the start of the daemon.
        from .mediatypes import compression_of
        from .progress import latest
        from .targets import writable

        job: dict[str, Any] = {
            "job": "apply",
            "compression": compression_of(diff.media_type),
            "limits": {
                "max_layer_size": self._config.max_layer_size,
                "max_entries": self._config.max_entries,
                "max_window": self._config.max_window,
            },
            "refuse": self._config.unprivileged == "refuse",
        }
        async with writable(mounts) as (target, directory):
            job["lowers"] = target.lowers
            job["opaque"] = target.opaque
            opened = await self._content.open(digest=diff.digest)
            total = opened.info.size
            try:
                async with latest(progress) as put:
                    done = await self._pool.run(
                        job,
                        [opened.fd, directory],
                        lambda state: put(Applying(**state, total=total)),
                    )
            finally:
                os.close(opened.fd)
        if done["skipped"]:
            skipped = ", ".join(f"{n} {what}" for what, n in done["skipped"].items())
            # Once as a warning: without privileges it is so with nearly every layer.
            self._log.log(
                logging.DEBUG if self._told else logging.WARNING,
                "layer %s: not set, because this daemon is not root: %s%s",
                diff.digest,
                skipped,
                "" if self._told else "; of further layers at level debug",
            )
            self._told = True
        return Descriptor(
            media_type=oci.OCI_LAYER, digest=done["digest"], size=done["size"]
        )

    async def create(
        self,
        *,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        media_type: str = f"{oci.OCI_LAYER}+gzip",
        ref: str = "",
        labels: dict[str, str] = {},
    ) -> Descriptor:
        from .creating import Creation

        creation = Creation(self._content, self._pool, media_type, ref, labels)
        return await creation.run(lower, upper)
