# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the snapshot service, as an operator writes them."""

from __future__ import annotations

from pluggd.model.record import Record


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.snapshots.v1.store"]` of config.toml."""

    default: str = ""
    """The snapshotter of calls that name none, in namespaces without the label
    `containerd.io/defaults/snapshotter`. Default "": "overlayfs" where it works, else
    "native", else the first in byte order."""
