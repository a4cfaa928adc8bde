# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much is stored and what is on its way, for monitoring."""

from __future__ import annotations

from pluggd.contents.openfiles import OpenFiles
from pluggd.contents.records import BLOBS, FILES, INGESTS, TRASH
from pluggd.model.figures import Figure, gauge
from pluggd.services.metadata import Metadata


async def content_figures(metadata: Metadata, files: OpenFiles) -> list[Figure]:
    records = (await metadata.statistics()).entries
    return [
        gauge("content_blobs", "Blobs that are stored.", records.get(FILES, 0)),
        gauge(
            "content_names",
            "Blobs as namespaces see them: a shared one counts for each.",
            records.get(BLOBS, 0),
        ),
        gauge("content_ingests", "Unfinished ingests.", records.get(INGESTS, 0)),
        gauge(
            "content_open_ingests",
            "Ingests whose file is kept open for more.",
            len(files),
        ),
        gauge("content_trash", "Files that wait to be removed.", records.get(TRASH, 0)),
    ]
