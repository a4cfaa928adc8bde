# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of the store, and that of LMDB's map."""

from __future__ import annotations

from pluggd.metastore.figures import metadata_figures
from pluggd.model.figures import Figure, gauge

from .store import LmdbMetadata


async def lmdb_figures(store: LmdbMetadata) -> list[Figure]:
    return [
        *await metadata_figures(store),
        gauge(
            "metadata_map_bytes",
            "Size of the map, a bound of the file.",
            store.environment.map_size,
        ),
    ]
