# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the overlayfs snapshotter, as an operator writes them."""

from __future__ import annotations

from pluggd.model.record import Record


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.snapshotter.v1.overlayfs"]` of config.toml."""

    sync: bool = True
    """Whether a commit waits until all bytes of the snapshot are on the disk. Without,
    a power failure soon after may leave empty files in it. Default true."""

    mount_options: list[str] = []
    """Options that every overlay mount gets besides, such as "volatile" or
    "metacopy=on". Tried at the start with all others. Default []."""
