# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The job `apply`: a stored layer, decompressed and hashed, becomes files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .archive import Archive
from .attributes import Attributes
from .extract import Extractor
from .limits import Limits
from .lowers import Lowers
from .source import Source
from .tree import Tree

Message = dict[str, Any]


def apply(job: Message, fds: list[int], progress: Callable[[Message], None]) -> Message:
    """fds: the blob, where it is to be read from, and the directory.

    job: compression, limits, refuse (what only root may do), and for an overlay's
    upper directory `lowers`, the nearest first, and `opaque`.
    """
    limits = Limits(**job["limits"])
    source = Source(
        fds[0],
        job["compression"],
        max_size=limits.max_layer_size,
        max_window=limits.max_window,
    )
    attributes = Attributes(refuse=job["refuse"])
    lowers = None
    if job["lowers"] is not None:
        lowers = Lowers(job["lowers"], job["opaque"])

    def chunks() -> Iterator[bytes]:
        for chunk in source:
            progress(
                {
                    "read": source.read,
                    "written": source.size,
                    "entries": archive.entries,
                }
            )
            yield chunk

    archive = Archive(chunks())
    tree = Tree(fds[1], lowers)
    try:
        Extractor(archive, tree, attributes, limits).run()
        archive.drain()
    finally:
        source.close()
        tree.close()
        if lowers is not None:
            lowers.close()
    return {
        "digest": source.digest,
        "size": source.size,
        "entries": archive.entries,
        "skipped": dict(attributes.skipped),
    }
